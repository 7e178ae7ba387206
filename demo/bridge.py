"""The bridge as it runs in production: a process of its own. Tests and benches start it the same way."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from local_supabase import ports
from local_supabase.process import Service
from local_supabase.stack import PROJECT

SIGN_IN = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "BRIDGE_EMAIL", "BRIDGE_PASSWORD")
READY_S = 40.0  # it takes about two
END_S = 30.0  # more than its shutdown_timeout


class BridgeProcess:
    """`ocpp-bridge serve` on a port that it keeps when it is started again; a free one unless one is given.

    settings are its environment variables. Of these, what concerns Supabase, the bridge's identity and its port never
    comes from the caller's environment, and no .env is read.
    """

    def __init__(self, settings: Mapping[str, str], service: Service, port: int | None = None) -> None:
        self.service = service
        self.port = ports.free() if port is None else port
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What comes before the station's id."""
        return f"ws://{ports.HOST}:{self.port}/ws"

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it, and do not wait for it."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "BRIDGE_", "OCPP_"))
        }
        with self.service.open_log() as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ocpp_bridge", "serve"],
                env={**inherited, "PYTHONPATH": str(PROJECT), **self._settings, "OCPP_PORT": str(self.port)},
                cwd=self.service.log.parent,  # where no .env is
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is the caller's to pass on, in order
            )
        self.service.note(self.pid)

    def start(self) -> None:
        """Start it; returns when stations may come and it listens for commands.

        Raises LocalSupabaseError with the end of its log.
        """
        self.launch()
        try:
            self.service.wait_ready(self._ready, timeout_s=READY_S)
        except BaseException:
            self.end()
            raise

    def state(self) -> dict[str, Any]:
        """What /ready says; empty while nobody listens."""
        connection = http.client.HTTPConnection(ports.HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/ready")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            connection.close()
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; its exit code. One that does not end is killed: -9."""
        assert self._process is not None
        if self.alive:
            self._process.send_signal(number)
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.service.pid_file.unlink(missing_ok=True)
        return code

    def kill(self) -> None:
        """End it as a crash does."""
        self.end(signal.SIGKILL)

    def _ready(self) -> bool:
        state = self.state()
        return bool(state.get("ready")) and state.get("commands") == "realtime"
