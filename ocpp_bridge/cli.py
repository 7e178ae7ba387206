"""The subcommands of `ocpp-bridge`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

from pydantic import ValidationError

from . import logs
from .settings import explain, load

EPILOG = """Settings are environment variables or lines of a .env file: SUPABASE_URL, SUPABASE_ANON_KEY, BRIDGE_EMAIL
and BRIDGE_PASSWORD, or SUPABASE_SERVICE_ROLE_KEY. All of them with their defaults: .env.example."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code: 0 ended in order, 1 failed, 2 wrong usage or settings."""
    parser = argparse.ArgumentParser(
        prog="ocpp-bridge", description="Connects OCPP 1.6 charging stations to Supabase.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"ocpp-bridge {version('evpower-ocpp-bridge')}")
    commands = parser.add_subparsers(dest="command", metavar="{serve,simulate}")
    commands.add_parser("serve", help="run the bridge (the default)", description="Run the bridge.", epilog=EPILOG)
    from .simulator import prompt

    prompt.add_arguments(
        commands.add_parser("simulate", help="play a charging station by hand", description=prompt.__doc__)
    )
    args = parser.parse_args(argv)
    if args.command == "simulate":
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return prompt.main(args)
    return serve()


def serve() -> int:
    """Read the settings and run the bridge until it is told to stop."""
    try:
        settings = load()
    except ValidationError as exc:
        for line in explain(exc):
            print(line, file=sys.stderr)
        return 2
    logs.configure(settings)
    from . import bridge

    return asyncio.run(bridge.serve(settings))
