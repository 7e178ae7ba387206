"""Puts the parts together, keeps them running, and takes them down in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from . import ocppj
from .commands import ClaimsCommands, Commands
from .errors import CannotListen
from .ingest import Ingest, IngestsEvents
from .lease import Lease, RenewsLease
from .logs import Throttle
from .metrics import Metrics
from .registry import Registry
from .server import Server
from .settings import Settings
from .station import Surroundings
from .supabase_client import SupabaseClient
from .wake_ups import JoinsTopic, WakeUps

log = logging.getLogger(__name__)


class Supabase(IngestsEvents, RenewsLease, ClaimsCommands, Protocol):
    """What the bridge needs of Supabase; see supabase_client.SupabaseClient."""

    on_token: Callable[[str], None] | None

    @property
    def signed_in(self) -> bool:
        """Whether there is a token to work with."""

    async def start(self) -> None:
        """Begin to sign in."""

    async def wait_signed_in(self) -> None:
        """Wait until there is a token."""

    def topic(self, name: str) -> JoinsTopic:
        """A private Realtime topic, not joined yet."""

    async def close(self) -> None:
        """Close all connections."""


class Bridge:
    """One bridge: `async with Bridge(settings) as bridge` listens; leaving it shuts down in order."""

    def __init__(self, settings: Settings, supabase: Supabase | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.registry = Registry()
        self._supabase: Supabase = supabase if supabase is not None else SupabaseClient(settings)
        self.ingest = Ingest(self._supabase, settings, self.metrics)
        self.commands = Commands(self._supabase, self.ingest, settings, self.metrics, self.registry.find)
        self.wake_ups = WakeUps(
            lambda: self._supabase.topic(f"bridge:{settings.bridge_id}"),
            settings,
            self.metrics,
            self.commands.wake,
            self._close_connection,
        )
        self.lease = Lease(self._supabase, settings, self.metrics, self.registry.seen, self._close_connection)
        around = Surroundings(
            settings=settings,
            ingest=self.ingest,
            metrics=self.metrics,
            throttle=Throttle(),
            wake_commands=self.commands.wake,
            late_answer=self.commands.late_answer,
            may_force_reconnect=self.registry.may_force_reconnect,
        )
        self.server = Server(around, self.registry, self.readiness, lambda: self.lease.held)
        self._tasks: list[asyncio.Task[None]] = []
        self._claims: asyncio.Task[None] | None = None
        self._stopping = False
        self._broken = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that stations connect to."""
        return self.server.port

    def readiness(self) -> dict[str, Any]:
        """What /ready says: stations are served when signed in with a valid lease; Realtime only makes it quicker."""
        return {
            "ready": self._supabase.signed_in and self.lease.held and not self._stopping,
            "signed_in": self._supabase.signed_in,
            "lease": self.lease.held,
            "commands": "realtime" if self.wake_ups.joined else "polling",
            "stations": len(self.registry),
        }

    async def __aenter__(self) -> Bridge:
        ocppj.schemas()
        self._supabase.on_token = self.wake_ups.token_changed
        await self.server.start()
        await self._supabase.start()
        self._claims = self._guarded(self.commands.run, "claims")
        self._tasks = [
            self._claims, self._guarded(self.lease.run, "lease"), self._guarded(self.wake_ups.run, "realtime")
        ]  # fmt: skip
        log.info(
            "Bridge listens",
            extra={"host": self.settings.ocpp_host, "port": self.port, "bridge_id": self.settings.bridge_id},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop accepting, let requests under way finish, close sockets with 1001, close the clients."""
        self._stopping = True
        log.info("Bridge stops", extra={"stations": len(self.registry)})
        await self.server.stop_accepting()
        budget = self.settings.shutdown_timeout
        await self._within(budget * 0.3, self._finish_requests(), "requests under way")
        await self.commands.abandon()
        await self._within(budget * 0.5, self.server.close_stations(), "closing sockets")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._within(budget * 0.2, self.ingest.close(), "last events")
        await self._supabase.close()
        log.info("Bridge stopped")

    async def _finish_requests(self) -> None:
        await self.commands.stop()
        if self._claims is not None and self._supabase.signed_in:  # else it waits for the sign-in, not for a request
            await asyncio.wait({self._claims})
        await asyncio.gather(*(station.drained() for station in list(self.registry)))
        await self.commands.stop()  # those claimed meanwhile

    async def _within(self, seconds: float, work: Coroutine[Any, Any, None], what: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                await work
        except TimeoutError:
            log.warning("Shutdown does not wait any longer", extra={"for": what})

    def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Begin the work once signed in. If it breaks, which is a bug, the process ends, to be started again."""

        async def guard() -> None:
            try:
                await self._supabase.wait_signed_in()
                await work()
            except Exception:
                log.critical("Background task broke, the bridge ends", extra={"task": name}, exc_info=True)
                self._broken.set()

        return asyncio.create_task(guard(), name=name)

    async def broken(self) -> None:
        """Wait until a background task breaks; as a rule for ever."""
        await self._broken.wait()

    def _close_connection(self, connection_id: str, reason: str) -> None:
        station = self.registry.find(connection_id)
        if station is not None:
            station.close(1000, reason)


async def serve(settings: Settings) -> int:
    """Run a bridge until SIGTERM or SIGINT; returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Bridge(settings) as bridge:
            waits = [asyncio.create_task(stop.wait()), asyncio.create_task(bridge.broken())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            return 0 if stop.is_set() else 1
    except CannotListen as exc:
        log.critical(
            "Cannot listen, see OCPP_HOST and OCPP_PORT",
            extra={"host": settings.ocpp_host, "port": settings.ocpp_port, "error": str(exc)},
        )
        return 1
