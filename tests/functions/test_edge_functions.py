"""Every Edge Function's own tests, types and style, run by Deno; and what is made from them is current."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from local_supabase.function_modules import environment
from local_supabase.tools import Tools

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ROOT / "supabase" / "functions"
NAMES = sorted(path.parent.name for path in FUNCTIONS.glob("*/index.ts"))


def deno(tools: Tools, function: str, *arguments: str | Path) -> str:
    """What it prints; fails with it."""
    done = subprocess.run(
        [tools.deno, *arguments],
        cwd=FUNCTIONS / function,
        env={**os.environ, **environment(tools.folder), "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "command",
    [
        ["fmt", "--check", ".", "../_shared"],
        ["lint", ".", "../_shared"],
        ["check", "."],
        ["test", "--quiet", "--allow-net=127.0.0.1", ".", "../_shared"],
    ],
    ids=lambda command: command[0],
)
def test_deno_finds_nothing_wrong(tools: Tools, name: str, command: list[str]) -> None:
    deno(tools, name, *command)


def test_the_page_in_docs_is_made_of_the_document_as_it_is(tools: Tools, tmp_path: Path) -> None:
    """Make it anew: `cd supabase/functions/ocpp && deno task page`."""
    made = tmp_path / "page.html"
    deno(tools, "ocpp", "run", f"--allow-write={tmp_path}", "page.ts", made)
    assert made.read_text() == (ROOT / "docs" / "http-api.html").read_text()


def test_imports_are_pinned_to_one_version() -> None:
    imports = [
        specifier
        for path in FUNCTIONS.rglob("*.ts")
        for specifier in re.findall(r"""from ["']((?:npm|jsr|https?):[^"']*)["']""", path.read_text())
    ]
    assert imports
    for specifier in imports:
        assert re.fullmatch(r"npm:(@[\w-]+/)?[\w-]+@\d+\.\d+\.\d+(/.*)?", specifier), specifier
