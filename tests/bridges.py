"""The bridge as it runs in production: a process of its own, signed in as the user whose role is bridge."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local_supabase import LocalSupabase
from local_supabase.process import birth

PATIENCE_S = 40
RUNNING = Path(__file__).resolve().parent.parent / ".local" / "test-stacks" / "bridges"
SIGN_IN = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "BRIDGE_EMAIL", "BRIDGE_PASSWORD")
LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<logger>\S+) - (?P<level>[A-Z]+) - (?P<text>.*)$")


class BridgeProcess:
    """`ocpp-bridge serve` on a free port, which it keeps when it is started again. Its log is a file."""

    def __init__(self, env: Mapping[str, str], folder: Path, **settings: object) -> None:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "BRIDGE_", "OCPP_"))
        }
        self.log_path = folder / f"bridge-{id(self):x}.log"
        self._environment = {
            **inherited,
            **{name: env[name] for name in SIGN_IN},
            "OCPP_HOST": "127.0.0.1",
            **{name.upper(): str(value) for name, value in settings.items()},
        }
        self._folder = folder  # the process is started there, so that no .env of ours is read
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """What comes before the station's id."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """All that it has logged, over all its lives."""
        return self.log_path.read_text()

    def lines(self, level: str = "") -> list[str]:
        """The texts of its log lines, with that level if one is given; a line in another form fails the test."""
        found = []
        for line in self.log().splitlines():
            match = LINE.match(line)
            assert match is not None, f"not a log line: {line!r}"
            if level in ("", match["level"]):
                found.append(match["text"])
        return found

    def launch(self) -> None:
        """Start it, and do not wait for it."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ocpp_bridge"],
                env={**self._environment, "OCPP_PORT": str(self.port)},
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        RUNNING.mkdir(parents=True, exist_ok=True)
        owner = os.getpid()
        note = {"birth": birth(self.pid), "owner": owner, "owner_birth": birth(owner)}
        (RUNNING / f"{self.pid}.json").write_text(json.dumps(note))

    def start(self) -> None:
        """Start it; returns when stations may come and it listens for commands."""
        before = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.launch()
        deadline = time.monotonic() + PATIENCE_S
        while not self._ready(before):
            assert self.alive, f"the bridge ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"the bridge is not ready:\n{self.log()}"
            time.sleep(0.02)

    def _ready(self, before: int) -> bool:
        if self.port == 0:
            listening = re.search(r"Bridge listens .*\bport=(\d+)", self.log()[before:])
            if listening is None:
                return False
            self.port = int(listening[1])
        state = self.state()
        return bool(state.get("ready")) and state.get("commands") == "realtime"

    def state(self) -> dict[str, Any]:
        """What /ready says; empty while nobody listens."""
        try:
            found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/ready", timeout=5).json()
        except httpx.TransportError:
            return {}
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; returns its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(timeout=30)
        (RUNNING / f"{self.pid}.json").unlink(missing_ok=True)
        return code

    def kill(self) -> None:
        """End it as a crash does."""
        self.end(signal.SIGKILL)


def stop_leftover_bridges() -> None:
    """Stop the bridges of a test run that was killed."""
    for path in RUNNING.glob("*.json"):
        note = json.loads(path.read_text())
        if birth(note["owner"]) != note["owner_birth"]:
            if birth(int(path.stem)) == note["birth"]:
                os.kill(int(path.stem), signal.SIGTERM)
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class System:
    """Supabase, a bridge, and the lines of .local/env."""

    stack: LocalSupabase
    bridge: BridgeProcess
    env: Mapping[str, str]
