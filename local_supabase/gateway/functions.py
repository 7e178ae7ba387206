"""Edge Functions: one Deno process each, started at the first request and again when its files change."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import env_file, ports
from ..process import Service
from .config import GatewayConfig

log = logging.getLogger(__name__)
BOOT_TIMEOUT_S = 60.0  # the first start downloads imports
LOOK_AGAIN_S = 1.0  # files are looked at for changes at most this often
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# A hosted function sees its secrets and nothing of the developer's shell; these only tell Deno where to download from.
PASSED_ON = re.compile(r"PATH|HOME|TMPDIR|DENO_.*|.*_proxy|npm_config_registry|SSL_CERT_FILE|NODE_EXTRA_CA_CERTS", re.I)
DEFAULT_EXPORT = re.compile(r"^export\s+default\b", re.M)


class BootError(Exception):
    """The function's process ended, or did not listen in time."""


@dataclass(frozen=True)
class FunctionSettings:
    """[functions.NAME] of config.toml."""

    verify_jwt: bool
    entrypoint: Path
    import_map: Path | None


@dataclass
class _Running:
    process: asyncio.subprocess.Process
    port: int
    version: float  # newest modification time of the files it was started from
    looked_at: float


class Functions:
    """All functions of a project's supabase/functions folder."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._supabase = Path(config.project) / "supabase"
        self._folder = self._supabase / "functions"
        self._running: dict[str, _Running] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def start(self) -> None:
        """End processes that a killed gateway left behind."""
        for note in (Path(self._config.folder) / "run").glob("function-*.json"):
            await asyncio.to_thread(self._service(note.stem.removeprefix("function-")).stop, signal.SIGKILL)

    async def stop(self) -> None:
        for name in list(self._running):
            await self._end(name)

    def settings(self, name: str) -> FunctionSettings | None:
        """The function's settings; None when there is no such function."""
        if not NAME.fullmatch(name):
            return None
        path = self._supabase / "config.toml"
        tables = tomllib.loads(path.read_text()).get("functions", {}) if path.exists() else {}
        table: dict[str, Any] = tables.get(name, {})
        entrypoint = self._supabase / table.get("entrypoint", f"functions/{name}/index.ts")
        if not entrypoint.is_file() or not table.get("enabled", True):
            return None
        import_map = self._supabase / table["import_map"] if table.get("import_map") else None
        return FunctionSettings(table.get("verify_jwt", True), entrypoint, import_map)

    async def port(self, name: str, settings: FunctionSettings) -> int:
        """Where the function listens; starts it first if need be. Raises BootError."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            running = self._running.get(name)
            now = time.monotonic()
            if running is not None and running.process.returncode is None:
                if now - running.looked_at < LOOK_AGAIN_S:
                    return running.port
                running.looked_at = now
                if self._version(settings) == running.version:
                    return running.port
            await self._end(name)
            self._running[name] = running = await self._boot(name, settings)
            return running.port

    async def _boot(self, name: str, settings: FunctionSettings) -> _Running:
        port = ports.free()
        version = self._version(settings)
        serves = DEFAULT_EXPORT.search(settings.entrypoint.read_text()) is not None
        command = ["serve", "--host", ports.HOST, "--port", str(port)] if serves else ["run"]
        options = ["--no-prompt", "--allow-net", "--allow-env", "--allow-read", "--allow-sys"]
        if settings.import_map:
            options += ["--import-map", os.fspath(settings.import_map)]
        service = self._service(name)
        with service.open_log() as output:
            process = await asyncio.create_subprocess_exec(
                self._config.deno,
                *command,
                *options,
                settings.entrypoint,
                cwd=settings.entrypoint.parent,
                env=self._environment(port),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        service.note(process.pid)
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while not await asyncio.to_thread(ports.answers, port):
            if process.returncode is not None or time.monotonic() > deadline:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
                raise BootError(f"function {name} did not start; see {service.log}:\n{service.tail()}")
            await asyncio.sleep(0.05)
        log.info("function started", extra={"function": name, "port": port})
        return _Running(process, port, version, time.monotonic())

    def _environment(self, port: int) -> dict[str, str]:
        keys = self._config.keys()
        passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        return {
            "DENO_DIR": self._config.deno_dir,
            **passed,
            **env_file.read(self._folder / ".env"),  # the project's own secrets; `supabase functions serve` reads it
            "DENO_SERVE_ADDRESS": f"tcp:{ports.HOST}:{port}",
            "DENO_NO_UPDATE_CHECK": "1",
            "SUPABASE_URL": self._config.url,
            "SUPABASE_ANON_KEY": keys.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": keys.service_role_key,
            "SUPABASE_PUBLISHABLE_KEYS": json.dumps({"default": keys.publishable_key}),
            "SUPABASE_SECRET_KEYS": json.dumps({"default": keys.secret_key}),
            "SUPABASE_DB_URL": self._config.functions_database_url,
        }

    def _version(self, settings: FunctionSettings) -> float:
        """Changes with every file that the function may import."""
        folders = (settings.entrypoint.parent, self._folder / "_shared")
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        files += [path for path in (self._folder / ".env", settings.import_map) if path and path.exists()]
        return max(path.stat().st_mtime for path in files)

    async def _end(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            if running.process.returncode is None:
                running.process.terminate()
                try:
                    await asyncio.wait_for(running.process.wait(), 5)
                except TimeoutError:
                    running.process.kill()
                    await running.process.wait()
            self._service(name).pid_file.unlink(missing_ok=True)

    def _service(self, name: str) -> Service:
        folder = Path(self._config.folder)
        return Service(
            f"function {name}", folder / "run" / f"function-{name}.json", folder / "log" / f"function-{name}.log"
        )
