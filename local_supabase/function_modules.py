"""What Edge Functions import from npm, downloaded before the first request needs it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from .tools import Tools

DOWNLOADED = re.compile(rb"""["'](?:npm|jsr|https?):""")
TIMEOUT_S = 120.0  # a slow line; the gateway would give up after 60 s, in the middle of a request


def environment(tools_folder: Path) -> dict[str, str]:
    """Where Deno keeps its downloads: beside the other tools, unless DENO_DIR says where."""
    return {"DENO_DIR": os.environ.get("DENO_DIR", os.fspath(tools_folder / "deno"))}


def download(tools: Tools, functions: Path, say: Callable[[str], None]) -> None:
    """Download the imports of every function, once per version of its files. Safe to call side by side.

    Without a network the stack is of use all the same: then it says so and leaves it to the first request.
    """
    for entry in sorted(functions.glob("*/index.ts")):
        sources = [path for folder in (entry.parent, functions / "_shared") for path in sorted(folder.glob("*.*"))]
        texts = [path.read_bytes() for path in sources]
        if not any(DOWNLOADED.search(text) for text in texts):
            continue
        folder = tools.folder / "deno-downloads"
        folder.mkdir(exist_ok=True)
        stamp = folder / hashlib.sha256(b"\0".join(texts)).hexdigest()
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not stamp.exists():
                say(f"  Downloading what the Edge Function {entry.parent.name} imports")
                problem = _cache(tools, entry)
                if problem:
                    say(f"  That failed; its first request will try again. Is the npm registry reachable?\n{problem}")
                else:
                    stamp.touch()


def _cache(tools: Tools, entry: Path) -> str:
    """What went wrong, empty when nothing did."""
    try:
        done = subprocess.run(
            [tools.deno, "cache", "--quiet", entry.name],
            cwd=entry.parent,
            env={**os.environ, **environment(tools.folder), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"deno cache did not end within {TIMEOUT_S:.0f} s"
    return done.stderr[-1000:] if done.returncode else ""
