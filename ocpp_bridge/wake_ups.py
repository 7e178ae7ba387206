"""The bridge's Realtime topic, joined as long as the bridge runs: says when to look for commands, and what to close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from .errors import RealtimeUnavailable
from .metrics import Metrics
from .settings import Settings

log = logging.getLogger(__name__)

_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class JoinsTopic(Protocol):
    """One life of the bridge's Realtime topic; see topic.Topic."""

    lost: asyncio.Event
    why_lost: str

    async def join(self, on_message: Callable[[str, dict[str, Any]], None]) -> None:
        """Join; raises RealtimeUnavailable."""

    async def answers(self) -> bool:
        """Whether the server still replies."""

    async def set_auth(self, token: str) -> None:
        """Carry a fresh token."""

    async def close(self) -> None:
        """Give it up."""


class WakeUps:
    """Joins the topic, joins it again whenever it is lost, and passes on what arrives. `joined` says whether it is."""

    def __init__(
        self,
        make_topic: Callable[[], JoinsTopic],
        settings: Settings,
        metrics: Metrics,
        wake: Callable[[], None],
        close_connection: Callable[[str, str], None],
    ) -> None:
        self._make_topic = make_topic
        self._settings = settings
        self._metrics = metrics
        self._wake = wake
        self._close_connection = close_connection  # connection_id, reason
        self._new_token = asyncio.Event()
        self._token = ""
        self.joined = False

    def token_changed(self, token: str) -> None:
        """Carry the fresh token to Realtime."""
        self._token = token
        self._new_token.set()

    async def run(self) -> None:
        """Keep the bridge's topic joined until cancelled. Without Realtime commands are still found, only later."""
        failures = 0
        while True:
            self._new_token.clear()  # before the topic takes the token of this moment: a later one is carried to it
            topic = self._make_topic()
            try:
                await topic.join(self._on_message)
                self.joined = True
                self._metrics.realtime_joined.set(1)
                self._metrics.realtime_joins.inc()
                log.info("Realtime joined", extra={"bridge_id": self._settings.bridge_id})
                failures = 0
                self._wake()  # what was sent while nobody listened
                reason = await self._watch(topic)
                log.warning("Realtime lost, joining again", extra={"reason": reason})
            except RealtimeUnavailable as exc:
                failures += 1
                if failures == 1:
                    log.warning("Realtime is away; commands are found by polling", extra={"error": str(exc)})
            finally:
                self.joined = False
                self._metrics.realtime_joined.set(0)
                await topic.close()
            await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])

    async def _watch(self, topic: JoinsTopic) -> str:
        """Return, with the reason, when the topic is lost; carry fresh tokens to it until then."""
        lost = asyncio.create_task(topic.lost.wait())
        try:
            while True:
                token = asyncio.create_task(self._new_token.wait())
                try:
                    await asyncio.wait(
                        {lost, token},
                        timeout=self._settings.realtime_probe_interval,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                finally:
                    token.cancel()
                    await asyncio.gather(token, return_exceptions=True)
                if topic.lost.is_set():
                    return topic.why_lost
                if self._new_token.is_set():
                    self._new_token.clear()
                    await topic.set_auth(self._token)
                elif not await topic.answers():
                    return topic.why_lost or "no reply to a heartbeat"
        finally:
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)

    def _on_message(self, event: str, payload: dict[str, Any]) -> None:
        if event == "disconnect":
            self._close_connection(str(payload.get("connection_id")), "disconnected by the central system")
        else:
            self._wake()
