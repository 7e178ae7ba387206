"""PostgREST of one local stack, set up as a hosted project's data API."""

from __future__ import annotations

import http.client
import json
import os
from dataclasses import dataclass
from pathlib import Path

from . import ports
from .process import Service
from .tools import Tools

MAX_ROWS = 1000  # a hosted project's default
POOL = 10  # connections; two cores are busy with fewer, the rest covers statements that wait for a lock


@dataclass(frozen=True)
class Postgrest:
    """One PostgREST process in front of one database."""

    tools: Tools
    service: Service
    config: Path
    database_url: str
    jwt_secret: str
    port: int
    admin_port: int

    def start(self) -> None:
        """Return when it has read the schema. Nothing to do when it runs already."""
        if self.service.pid() is not None:
            return
        self._write_config()
        self.service.start([self.tools.postgrest, self.config], cwd=self.config.parent)
        self.service.wait_ready(self.ready)

    def stop(self) -> bool:
        return self.service.stop()

    def ready(self) -> bool:
        """Whether it is connected and has the schema in memory."""
        connection = http.client.HTTPConnection(ports.HOST, self.admin_port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _write_config(self) -> None:
        settings = {
            "db-uri": self.database_url,
            "db-schemas": "public",
            "db-extra-search-path": "public, extensions",
            "db-anon-role": "anon",
            "db-max-rows": MAX_ROWS,
            "db-pool": POOL,
            "db-tx-end": "commit",
            "jwt-secret": self.jwt_secret,
            "server-host": ports.HOST,
            "server-port": self.port,
            "admin-server-port": self.admin_port,
            "log-level": "warn",
        }
        # a JSON string is a valid string of PostgREST's configuration language
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        self.config.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
