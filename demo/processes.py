"""The bridge as a process of its own, and the note that says who runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import httpx

from local_supabase.process import birth

READY_TIMEOUT = 30.0  # seconds; it takes about two


class DemoError(Exception):
    """Something the person at the terminal can mend; the message says how."""


def port(name: str, default: int) -> int:
    """The port that an environment variable names. Raises DemoError when it is none."""
    text = os.environ.get(name) or str(default)
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise DemoError(f"{name} must be a port number, and {text!r} is none.")
    return int(text)


def _living(pid_file: Path) -> int | None:
    """The process that a file `PID BIRTH` names, if it is still that one."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid, born = pid_file.read_text().split()
        if birth(int(pid)) == born:
            return int(pid)
    return None


class RunNote:
    """`.local/run.pid`: process id and start time, so that a recycled id is not taken for ours."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def owner(self) -> int | None:
        """The process id of a `make run` that lives, else None."""
        return _living(self.path)

    def take(self) -> None:
        """Write our own note. Raises DemoError when another run lives."""
        if (pid := self.owner()) is not None:
            raise DemoError(
                f"`make run` is up already (process {pid}). Stop it with Ctrl-C there, or with `make stop`."
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(f"{os.getpid()} {birth(os.getpid())}\n")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)


class BridgeProcess:
    """`ocpp-bridge serve` with the settings of the environment file; its log goes to a file."""

    def __init__(self, env: dict[str, str], port: int, log: Path, pid_file: Path) -> None:
        self._env = env
        self.port = port
        self.log = log
        self._pid_file = pid_file
        self._process: asyncio.subprocess.Process | None = None
        self.http_url = f"http://127.0.0.1:{port}"

    async def start(self) -> None:
        """Started, signed in and ready for stations. Raises DemoError with the end of its log."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", self.port))
            except OSError as exc:
                raise DemoError(
                    f"port {self.port}, where stations connect, is in use. Stop the program that listens there "
                    f"(`ss -ltnp` or `lsof -i :{self.port}` names it), or choose another: OCPP_PORT=8001 make run"
                ) from exc
        self.log.parent.mkdir(parents=True, exist_ok=True)
        names = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "BRIDGE_EMAIL", "BRIDGE_PASSWORD")
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ocpp_bridge",
                "serve",
                env={**os.environ, **{name: self._env[name] for name in names}, "OCPP_PORT": str(self.port)},
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to pass on, in order
            )
        self._pid_file.write_text(f"{self._process.pid} {birth(self._process.pid)}\n")
        try:
            async with asyncio.timeout(READY_TIMEOUT), httpx.AsyncClient() as client:
                while not await self._ready(client):
                    if self._process.returncode is not None:
                        raise DemoError(f"the bridge ended at its start:\n{self._tail()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            await self.stop()
            raise DemoError(f"the bridge was not ready after {READY_TIMEOUT:.0f} s:\n{self._tail()}") from None

    async def wait(self) -> int:
        """Until it ends; returns its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end in order, and wait for that."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(15):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._pid_file.unlink(missing_ok=True)

    @staticmethod
    def stop_leftover(pid_file: Path) -> None:
        """Stop the bridge of a run that was killed before it could."""
        if (pid := _living(pid_file)) is not None:
            os.kill(pid, signal.SIGTERM)
            for _ in range(150):
                if _living(pid_file) is None:
                    break
                time.sleep(0.1)
            else:
                os.kill(pid, signal.SIGKILL)
        pid_file.unlink(missing_ok=True)

    async def _ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.http_url}/ready")).status_code == 200
        except httpx.TransportError:
            return False

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])
