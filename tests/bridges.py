"""Bridge processes of the tests, signed in as the user whose role is bridge."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo import bridge
from local_supabase import LocalSupabase
from local_supabase.process import Service

RUNNING = Path(__file__).resolve().parent.parent / ".local" / "test-stacks" / "bridges"
LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<logger>\S+) - (?P<level>[A-Z]+) - (?P<text>.*)$")


class BridgeProcess(bridge.BridgeProcess):
    """env names the Supabase and the sign-in; settings are the bridge's, in lower case. Its log is a file in folder."""

    def __init__(self, env: Mapping[str, str], folder: Path, **settings: object) -> None:
        name = f"{os.getpid()}-{id(self):x}"
        super().__init__(
            {
                **{name: env[name] for name in bridge.SIGN_IN if name in env},
                "OCPP_HOST": "127.0.0.1",
                **{name.upper(): str(value) for name, value in settings.items()},
            },
            Service("bridge", RUNNING / f"{name}.json", folder / f"bridge-{name}.log"),
        )

    def log(self) -> str:
        """All that it has logged, over all its lives."""
        return self.service.log.read_text()

    def lines(self, level: str = "") -> list[str]:
        """The texts of its log lines, with that level if one is given; a line in another form fails the test."""
        found = []
        for line in self.log().splitlines():
            match = LINE.match(line)
            assert match is not None, f"not a log line: {line!r}"
            if level in ("", match["level"]):
                found.append(match["text"])
        return found


def stop_bridges_of(pid: int) -> None:
    """Stop the bridges that a killed test run has left behind."""
    for note in RUNNING.glob(f"{pid}-*.json"):
        Service("bridge", note, note).stop()


@dataclass(frozen=True)
class System:
    """Supabase, a bridge, and the lines of .local/env."""

    stack: LocalSupabase
    bridge: BridgeProcess
    env: Mapping[str, str]
