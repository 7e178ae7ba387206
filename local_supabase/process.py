"""Long-lived child programs: start, recognise after a restart of ours, stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import LocalSupabaseError

Identity = str | tuple[int, int] | None
MAX_LOG_BYTES = 5_000_000
SPAWN = Path(__file__).with_name("spawn.py")


def _stat(pid: int) -> tuple[str, str] | None:
    """State and start time of a process, None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        if sys.platform == "linux":
            return None
        out = subprocess.run(
            ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state, _, started = out.stdout.strip().partition(" ")
        return (state[:1], started.strip()) if state else None
    fields = text.rpartition(")")[2].split()  # the command name before it may contain anything
    state, threads, started = fields[0], int(fields[17]), fields[19]
    # a zombie whose other threads are still ending keeps its sockets, so its ports, for that moment
    return ("ending" if state in "ZX" and threads > 1 else state), started


def birth(pid: int) -> str | None:
    """What tells this process from a later one with the same number; None when it is gone or a zombie."""
    found = _stat(pid)
    return None if found is None or found[0] in ("Z", "X") else found[1]


def run(argv: Sequence[str | Path], *, identity: Identity = None, cwd: Path, timeout_s: float = 120) -> str:
    """Output of a short command. Raises LocalSupabaseError with what it printed when it fails."""
    command = [os.fspath(word) for word in argv]
    job = {"argv": command, "identity": identity, "cwd": os.fspath(cwd), "wait": True}
    done = subprocess.run(
        [sys.executable, "-I", SPAWN, json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=clean_environment(),
    )
    if done.returncode != 0:
        raise LocalSupabaseError(
            f"{Path(command[0]).name} failed ({done.returncode}): {(done.stderr or done.stdout).strip()}"
        )
    return done.stdout


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would silently point PostgreSQL's programs elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PG", "PGRST_", "LC_", "LANG"))}


@dataclass(frozen=True)
class Service:
    """One long-lived program with its pid file and its log."""

    name: str
    pid_file: Path
    log: Path

    def pid(self) -> int | None:
        """The process id while it runs. A stale file (another process took the number) counts as not running."""
        try:
            noted = json.loads(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return noted["pid"] if birth(noted["pid"]) == noted["birth"] else None

    def start(
        self, argv: Sequence[str | Path], *, cwd: Path, identity: Identity = None, env: dict[str, str] | None = None
    ) -> int:
        """Process id of the program, which outlives the caller. Raises LocalSupabaseError if it cannot be executed."""
        self.open_log().close()
        job = {
            "argv": [os.fspath(word) for word in argv],
            "identity": identity,
            "cwd": os.fspath(cwd),
            "log": os.fspath(self.log),
        }
        done = subprocess.run(
            [sys.executable, "-I", SPAWN, json.dumps(job)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**clean_environment(), **(env or {})},
        )
        if done.returncode != 0:
            raise LocalSupabaseError(f"{self.name} could not be started: {done.stderr.strip()}")
        pid = int(done.stdout)
        self.note(pid)
        return pid

    def note(self, pid: int) -> None:
        """Write the pid file; a process that is already gone leaves a file that counts as not running."""
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.pid_file.with_suffix(".new")
        temporary.write_text(json.dumps({"pid": pid, "birth": birth(pid) or "gone"}))
        temporary.replace(self.pid_file)

    def open_log(self) -> BinaryIO:
        """The log, the owner's only, to be appended to. A large one is put aside, so that the disk does not fill."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > MAX_LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
        return open(self.log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))

    def wait_ready(self, ready: Callable[[], bool], *, timeout_s: float = 30) -> None:
        """Return once ready() is true. Raises LocalSupabaseError with the end of the log if it ends or time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.pid() is None:
                raise LocalSupabaseError(
                    f"{self.name} ended while starting. Its log {self.log} ends with:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise LocalSupabaseError(
                    f"{self.name} is not ready after {timeout_s:.0f} s; see {self.log}:\n{self.tail()}"
                )
            time.sleep(0.02)

    def tail(self, lines: int = 8) -> str:
        """The last lines of the log, indented."""
        try:
            text = self.log.read_text(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            text = ["(no log)"]
        return "\n".join(f"    {line}" for line in text)

    def stop(self, sig: int = signal.SIGTERM, *, timeout_s: float = 20) -> bool:
        """Whether it ran. Returns when it is gone; after timeout_s it is killed."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
            self._wait_gone(pid, timeout_s)
        self.pid_file.unlink(missing_ok=True)
        return pid is not None

    def kill(self) -> None:
        """End it with SIGKILL and leave the pid file behind, as a crash does."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self._wait_gone(pid, 10)

    def _wait_gone(self, pid: int, timeout_s: float) -> None:
        born = birth(pid)
        deadline = time.monotonic() + timeout_s
        while born is not None and birth(pid) == born:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                deadline = time.monotonic() + 5
            time.sleep(0.01)
