"""A local Supabase without Docker: PostgreSQL, PostgREST and an API gateway, with the project's migrations and seed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

from . import generated, supabase_cli
from .errors import LocalSupabaseError
from .stack import API_PORT, DB_PORT, PARTS, PROJECT, LocalSupabase


def say(line: str) -> None:
    print(line, flush=True)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m local_supabase", description=__doc__)
    top.add_argument("--dir", type=Path, default=PROJECT / ".local", help="where data, keys and logs are kept (.local)")
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="install, create, start, migrate, seed; safe to repeat")
    up.add_argument("--api-port", type=_port, help=f"of the API; 0 takes a free one (the last one, else {API_PORT})")
    up.add_argument("--db-port", type=_port, help=f"of PostgreSQL; 0 takes a free one (the last one, else {DB_PORT})")
    up.add_argument("--no-seed", action="store_true", help="apply migrations only")
    commands.add_parser("down", help="stop every part; data stays")
    commands.add_parser("status", help="every part with its process and port")
    reset = commands.add_parser("reset", help="stop and delete all data; installed tools stay")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    for name in ("start", "stop", "restart"):
        part = commands.add_parser(name, help=f"{name} one part")
        part.add_argument("part", choices=PARTS)
    commands.add_parser(
        "advisors", help="the dashboard's linter; fails on findings that advisors.json does not explain"
    )
    commands.add_parser("types", help="TypeScript types of the public schema, to standard output")
    commands.add_parser("generate", help="write types/ anew, from the migrations alone")
    return top


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port number")


def up(stack: LocalSupabase, *, seed: bool) -> None:
    started = time.monotonic()
    say(f"Starting the local Supabase in {stack.folder}")
    stack.up(seed=seed)
    say(f"Up after {time.monotonic() - started:.1f} s")
    say(f"  API       {stack.url}")
    say(f"  Database  postgresql://postgres:…@127.0.0.1:{stack.db_port}/postgres")
    say(f"  Keys      {stack.env_path}")


def status(stack: LocalSupabase) -> int:
    rows = stack.status()
    say(f"{'PART':<12}{'PID':>8}{'PORT':>8}  STATE")
    for row in rows:
        say(f"{row.part:<12}{row.pid or '-':>8}{row.port:>8}  {row.state}")
    return 0 if all(row.state == "running" for row in rows) else 1


def reset(stack: LocalSupabase, *, sure: bool) -> int:
    if not sure and input(f"Delete all data in {stack.folder}? [y/N] ").strip().lower() != "y":
        say("Nothing was deleted.")
        return 1
    stack.reset()
    say("Deleted. `python -m local_supabase up` starts anew.")
    return 0


def advisors(stack: LocalSupabase) -> int:
    explained: dict[str, str] = json.loads((stack.project / "supabase" / "advisors.json").read_text())
    findings = supabase_cli.advisors(stack.tools, stack.project, stack.db_url)
    new = [found for found in findings if not any(fnmatch(found.key, pattern) for pattern in explained)]
    for found in new:
        say(f"{found.level:<6}{found.name}: {found.detail}\n      {found.key}")
    gone = [key for key in explained if "*" not in key and key not in {found.key for found in findings}]
    for key in gone:
        say(f"No longer found, remove it from supabase/advisors.json: {key}")
    say(f"{len(findings)} findings, {len(findings) - len(new)} explained, {len(new)} unexplained")
    return 1 if new or gone else 0


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    stack = LocalSupabase(
        options.dir,
        api_port=getattr(options, "api_port", None),
        db_port=getattr(options, "db_port", None),
        say=say,
    )
    try:
        match options.command:
            case "up":
                up(stack, seed=not options.no_seed)
            case "down":
                stopped = stack.down()
                say(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")
            case "status":
                return status(stack)
            case "reset":
                return reset(stack, sure=options.yes)
            case "start":
                stack.start(options.part)
            case "stop":
                stack.stop(options.part)
            case "restart":
                stack.restart(options.part)
            case "advisors":
                return advisors(stack)
            case "generate":
                generated.write(stack.project)
            case "types":
                sys.stdout.write(supabase_cli.types(stack.tools, stack.project, stack.db_url))
    except LocalSupabaseError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
