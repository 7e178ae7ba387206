"""``.local/env``: KEY=value lines that every tool of the project reads and adds to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def read(path: Path) -> dict[str, str]:
    """The lines as a dict; empty when there is no file."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def update(path: Path, values: Mapping[str, str]) -> None:
    """Set the given keys and keep every other line. Readable by the owner only: it holds keys and passwords."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in values]
    added = [f"{key}={value}" for key, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text("\n".join([*kept, *added]) + "\n")
    temporary.replace(path)
