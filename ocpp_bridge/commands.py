"""Carries commands to stations: claim -> call -> result.

The truth is in table `commands`. Realtime only says when to look (wake_ups.py); the bridge also looks after every
answer that says there is more, and every few seconds, so a lost broadcast costs seconds and never a command.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from . import events
from .errors import BridgeError, ConnectionGone, NotStored, SupabaseUnavailable
from .ingest import Ingest
from .metrics import Metrics
from .settings import Settings
from .station import Answer, Station, refused
from .tasks import Tasks

log = logging.getLogger(__name__)

_HURRY = 20  # looks in the time of one, for _HURRY_S after a command of which no wake-up told
_HURRY_S = 30.0
_MAX_CLAIM = 100
# How long a command without an answer counts as held: for the end of its connection to reach the database, also
# through an outage. Until then SQL would take it for one that got lost on its way here, and hand it out again.
_RELEASE_S = 60.0


class ClaimsCommands(Protocol):
    """What the commands need of Supabase."""

    async def claim_commands(self, bridge_id: str, max_commands: int, holding: list[str]) -> list[dict[str, Any]]:
        """Commands for this bridge's stations, besides those it holds."""


FindStation = Callable[[str], Station | None]  # by connection_id


class Commands:
    """Claims this bridge's commands and calls the stations, each in a task of its own."""

    def __init__(
        self,
        supabase: ClaimsCommands,
        ingest: Ingest,
        settings: Settings,
        metrics: Metrics,
        find: FindStation,
    ) -> None:
        self._supabase = supabase
        self._ingest = ingest
        self._settings = settings
        self._metrics = metrics
        self._find = find
        self._woken = asyncio.Event()
        self._tasks = Tasks()
        self._held: dict[str, str] = {}  # connection_id by command_id: claimed, and their end is not stored yet
        self._stopped = False

    def wake(self) -> None:
        """Look for commands now. Many wake-ups make one look."""
        self._woken.set()

    async def run(self) -> None:
        """Claim until cancelled."""
        failing = False
        hurry_until = 0.0
        while True:
            hurry = time.monotonic() < hurry_until
            interval = self._settings.claim_interval / (_HURRY if hurry else 1)
            woken = True
            try:
                async with asyncio.timeout(interval):
                    await self._woken.wait()
            except TimeoutError:
                woken = False
            self._woken.clear()
            if self._stopped:
                return
            try:
                claimed = await self._supabase.claim_commands(self._settings.bridge_id, _MAX_CLAIM, sorted(self._held))
            except BridgeError as exc:
                if not failing:
                    level = logging.WARNING if isinstance(exc, SupabaseUnavailable) else logging.ERROR
                    log.log(level, "Commands cannot be claimed at present", extra={"error": str(exc)})
                failing = True
                await asyncio.sleep(min(1.0, self._settings.claim_interval))
                continue
            if failing:
                failing = False
                log.info("Commands are claimed again")
            if claimed and not woken:  # found by chance: Realtime drops wake-ups while a project sends too much
                hurry_until = time.monotonic() + _HURRY_S
            for command in claimed:
                # before the next claim names them
                self._held[str(command.get("command_id"))] = str(command.get("connection_id"))
                self._tasks.start(self._carry_out(command))
            if len(claimed) >= _MAX_CLAIM:
                self.wake()

    def late_answer(self, station: Station, command_id: str, answer: Answer) -> None:
        """Store the answer to a call that had timed out; SQL marks the command late."""
        log.info("Late answer to a command", extra={"station_id": station.id, "command_id": command_id})
        self._metrics.commands.labels(outcome="late").inc()
        self._tasks.start(self._store(station.id, station.connection_id, command_id, answer))

    async def stop(self) -> None:
        """Claim no more; let the calls under way end. Cancel it to give them up."""
        self._stopped = True
        self.wake()
        await self._tasks.join()

    async def abandon(self) -> None:
        """End the calls under way now."""
        await self._tasks.cancel()

    def _release(self, command_id: str, connection_id: str) -> None:
        """Hold a command no more, unless it was handed out anew for another connection."""
        if self._held.get(command_id) == connection_id:
            del self._held[command_id]

    def _release_later(self, command_id: str, connection_id: str) -> None:
        asyncio.get_running_loop().call_later(_RELEASE_S, self._release, command_id, connection_id)

    async def _carry_out(self, command: dict[str, Any]) -> None:
        try:
            command_id, station_id, connection_id = (
                str(command[key]) for key in ("command_id", "station_id", "connection_id")
            )
            action = str(command["action"])
            payload = command.get("payload") or {}
            timeout_s = float(command.get("timeout_s") or self._settings.call_timeout)
        except (KeyError, TypeError, ValueError) as exc:
            log.error("claim_commands gave an unusable command", extra={"error": repr(exc)})
            self._release_later(str(command.get("command_id")), str(command.get("connection_id")))
            return
        station = self._find(connection_id)
        try:
            if station is None:
                raise ConnectionGone("the station is not connected to this bridge any more")
            answer = await station.call(command_id, action, payload, timeout_s)
        except ConnectionGone as exc:
            # No answer: the end of the connection, or its successor, releases the command in SQL, which knows whether
            # it may be sent again. An answer of ours would come after that and overwrite it.
            self._release_later(command_id, connection_id)
            self._metrics.commands.labels(outcome="connection gone").inc()
            log.warning(
                "Command not answered, the connection is gone",
                extra={"station_id": station_id, "command_id": command_id, "action": action, "error": str(exc)},
            )
            return
        except (TypeError, ValueError) as exc:  # not JSON
            answer = Answer("failed", error=refused("InternalError", f"the command cannot be sent: {exc}"))
        self._metrics.commands.labels(outcome=answer.outcome).inc()
        log.log(
            logging.INFO if answer.outcome in ("result", "error") else logging.WARNING,
            "Command",
            extra={
                "station_id": station_id,
                "command_id": command_id,
                "action": action,
                "outcome": answer.outcome,
                "status": (answer.payload or {}).get("status"),
                "error": (answer.error or {}).get("code"),
            },
        )
        try:
            await self._store(station_id, connection_id, command_id, answer)
        finally:
            self._release(command_id, connection_id)

    async def _store(self, station_id: str, connection_id: str, command_id: str, answer: Answer) -> None:
        event = events.answer(
            station_id,
            connection_id,
            command_id,
            answer.outcome,
            received_at=answer.received_at,
            payload=answer.payload,
            error=answer.error,
        )
        try:
            reply = await self._ingest.deliver(event)
        except NotStored as exc:
            log.warning("Answer to a command not stored", extra={"command_id": command_id, "error": str(exc)})
            return
        if reply.get("more"):
            self.wake()
