"""What `make run` needs to know of the machine: its ports, and whether another `make run` is up."""

from __future__ import annotations

import os
from pathlib import Path

from local_supabase.process import Service


class DemoError(Exception):
    """Something the person at the terminal can mend; the message says how."""


def port(name: str, default: int) -> int:
    """The port that an environment variable names. Raises DemoError when it is none."""
    text = os.environ.get(name) or str(default)
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise DemoError(f"{name} must be a port number, and {text!r} is none.")
    return int(text)


class RunNote:
    """`.local/run/demo.json`: process id and start time, so that a recycled id is not taken for ours."""

    def __init__(self, folder: Path) -> None:
        self._service = Service("make run", folder / "run" / "demo.json", folder / "log" / "demo.log")

    def owner(self) -> int | None:
        """The process id of a `make run` that lives, else None."""
        return self._service.pid()

    def take(self) -> None:
        """Write our own note. Raises DemoError when another run lives."""
        if (pid := self.owner()) is not None:
            raise DemoError(
                f"`make run` is up already (process {pid}). Stop it with Ctrl-C there, or with `make stop`."
            )
        self._service.note(os.getpid())

    def stop(self, timeout_s: float) -> bool:
        """Have a `make run` that lives stop in order, and kill it when it does not; whether there was one."""
        return self._service.stop(timeout_s=timeout_s)

    def drop(self) -> None:
        """Take our own note away."""
        self._service.pid_file.unlink(missing_ok=True)
