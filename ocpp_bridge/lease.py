"""The bridge's lease: tells the database every few seconds that the bridge lives and which sockets it holds."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from .errors import BridgeError, SupabaseUnavailable
from .metrics import Metrics
from .settings import LEASE_S, Settings

log = logging.getLogger(__name__)


class RenewsLease(Protocol):
    """What the lease needs of Supabase."""

    async def bridge_heartbeat(
        self, bridge_id: str, settings: dict[str, Any], seen: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Renew the lease; the reply names the connections to close."""


class Lease:
    """Renews the lease; `held` says whether it is valid."""

    def __init__(
        self,
        supabase: RenewsLease,
        settings: Settings,
        metrics: Metrics,
        seen: Callable[[], list[dict[str, Any]]],
        close_connection: Callable[[str, str], None],
    ) -> None:
        self._supabase = supabase
        self._settings = settings
        self._metrics = metrics
        self._seen = seen
        self._close_connection = close_connection
        self._renewed_at: float | None = None
        self._failing = False

    @property
    def held(self) -> bool:
        """Whether the lease was renewed within its life."""
        return self._renewed_at is not None and time.monotonic() - self._renewed_at < LEASE_S

    async def run(self) -> None:
        """Renew until cancelled. Before the first success it tries more often: no station is let in without."""
        while True:
            await self.renew()
            await asyncio.sleep(self._settings.lease_interval if self._renewed_at is not None else 0.5)

    async def renew(self) -> None:
        """Renew once, and close what the database says. A failure is one line in the log, and not raised."""
        settings = {
            "name": socket.gethostname(),
            "heartbeat_interval_s": self._settings.heartbeat_interval,
            "unknown_stations": self._settings.unknown_stations.value,
            "unknown_id_tags": self._settings.unknown_id_tags.value,
        }
        started = time.monotonic()
        try:
            reply = await self._supabase.bridge_heartbeat(self._settings.bridge_id, settings, self._seen())
        except BridgeError as exc:
            self._metrics.lease_renewals.labels(outcome="failed").inc()
            if not self._failing:
                unavailable = isinstance(exc, SupabaseUnavailable)
                log.log(
                    logging.WARNING if unavailable else logging.ERROR,
                    "Lease cannot be renewed" if unavailable else "Database refuses the bridge",
                    extra={"error": str(exc)},
                )
            self._failing = True
            return
        if self._failing or self._renewed_at is None:
            log.info("Lease held", extra={"bridge_id": self._settings.bridge_id})
        self._failing = False
        self._renewed_at = started
        self._metrics.lease_renewals.labels(outcome="renewed").inc()
        closing = reply.get("close")
        for connection_id in closing if isinstance(closing, list) else []:
            self._close_connection(str(connection_id), "replaced by a newer connection, or not registered any more")
