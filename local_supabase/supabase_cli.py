"""The official Supabase CLI, pointed at the local database."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import LocalSupabaseError
from .tools import Tools

# not the project's: what a hosted project has there comes from Supabase, what the local one has from bootstrap/
SUPABASE_SCHEMAS = ("auth", "extensions", "realtime", "_realtime")


@dataclass(frozen=True)
class Finding:
    """One finding; key names it and its object."""

    key: str
    level: str
    name: str
    detail: str


def push(tools: Tools, project: Path, database_url: str, *, seed: bool) -> list[str]:
    """Apply migrations not applied yet, then seed files not applied yet; the names of what was applied."""
    output = _run(tools, project, "db", "push", *_target(database_url), "--yes", *(["--include-seed"] if seed else []))
    lines = (line.strip() for line in output.splitlines())
    return [
        line.split()[-1].rstrip(".") for line in lines if line.startswith(("Applying migration ", "Seeding data from "))
    ]


def advisors(tools: Tools, project: Path, database_url: str) -> list[Finding]:
    """What the dashboard's linter finds in the project's own schemas, of every level."""
    output = _run(
        tools, project, "db", "advisors", *_target(database_url), "--level", "info", "--output-format", "json"
    )
    return [
        Finding(found["cacheKey"], found["level"], found["name"], found["detail"])
        for found in json.loads(output)["results"]
        if found["metadata"].get("schema") not in SUPABASE_SCHEMAS
    ]


def types(tools: Tools, project: Path, database_url: str) -> str:
    """TypeScript types of schema public."""
    return _run(tools, project, "gen", "types", *_target(database_url), "--lang", "typescript", "--schema", "public")


def _target(database_url: str) -> list[str]:
    # the embedded server has no TLS; --remote also takes a URL, the older --db-url goes away in version 4
    return [f"--remote={database_url}?sslmode=disable"]


def _run(tools: Tools, project: Path, *arguments: str) -> str:
    env = {
        **os.environ,
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        [tools.supabase, *arguments, "--workdir", project, "--agent", "no"],
        capture_output=True,
        text=True,
        env=env,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise LocalSupabaseError(f"supabase {' '.join(arguments[:2])} failed:\n{(done.stdout + done.stderr).strip()}")
    return done.stdout if arguments[0] == "gen" or "json" in arguments else done.stdout + done.stderr
