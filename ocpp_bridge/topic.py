"""A private Realtime topic as the bridge needs it. Nothing else imports realtime."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeChannelOptions, RealtimeSubscribeStates
from realtime._async.push import AsyncPush  # the package exports no way to send a heartbeat whose reply can be seen
from realtime.types import RealtimeAcknowledgementStatus

from .errors import RealtimeUnavailable
from .settings import Settings

log = logging.getLogger(__name__)


class Topic:
    """Joined once: from join() until `lost` is set. Whoever owns it makes the next one.

    The client library is not left to reconnect by itself: it gives up after some attempts, does not rejoin after an
    expired token, and does not notice a half-open socket because it never looks at the replies to its heartbeats.
    """

    def __init__(self, settings: Settings, token: str, name: str) -> None:
        self._settings = settings
        self._client = AsyncRealtimeClient(
            f"{settings.url}/realtime/v1",
            token=settings.api_key,
            auto_reconnect=False,
            max_retries=1,
            timeout=max(1, round(settings.realtime_timeout)),
        )
        self._client.access_token = token
        # Messages before the server's replication is up are lost although the join succeeded:
        # the server says in a system message when it is (recorded in tests, 02c_private_join_replication_ready).
        config = {
            "broadcast": {"ack": False, "self": False, "replication_ready": True},
            "presence": {"key": "", "enabled": False},
            "private": True,
        }
        self._channel = self._client.channel(name, cast(RealtimeChannelOptions, {"config": config}))
        self._channel.on_broadcast("*", cast(Any, self._broadcast))
        self._channel.on_system(self._system)
        self._on_message: Callable[[str, dict[str, Any]], None] | None = None
        self._ready = asyncio.Event()
        self._joined = False
        self._phoenix: AsyncRealtimeChannel | None = None
        self.lost = asyncio.Event()
        self.why_lost = ""

    async def join(self, on_message: Callable[[str, dict[str, Any]], None]) -> None:
        """Join, and return once messages are sure to arrive; on_message gets event and payload.

        Raises RealtimeUnavailable.
        """
        self._on_message = on_message
        try:
            # The server answers a refusal after 5 s only; a cold server may need some seconds more.
            async with asyncio.timeout(2 * self._settings.realtime_timeout):
                await self._client.connect()
                await self._channel.subscribe(self._state_changed)
                if not self._joined:
                    raise RealtimeUnavailable(self.why_lost or "the join was refused")
                waits = [asyncio.create_task(self._ready.wait()), asyncio.create_task(self.lost.wait())]
                try:
                    await asyncio.wait(
                        waits, timeout=self._settings.realtime_timeout, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    for task in waits:
                        task.cancel()
                    await asyncio.gather(*waits, return_exceptions=True)
        except TimeoutError as exc:
            raise RealtimeUnavailable("no answer in time") from exc
        except RealtimeUnavailable:
            raise
        except Exception as exc:  # the library raises bare Exceptions besides those of websockets and OSError
            raise RealtimeUnavailable(f"{type(exc).__name__} {exc}".rstrip()) from exc
        if self.lost.is_set():
            raise RealtimeUnavailable(self.why_lost)

    async def answers(self) -> bool:
        """Whether the server still replies to a heartbeat."""
        reply: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._phoenix is None:
            # Messages are routed by topic; a channel object for Phoenix's own topic makes the replies visible.
            self._phoenix = AsyncRealtimeChannel(self._client, "phoenix")
            self._client.channels["phoenix"] = self._phoenix
        push = AsyncPush(self._phoenix, "heartbeat", {}, max(1, round(self._settings.realtime_timeout)))

        def settle(value: bool) -> None:
            if not reply.done():
                reply.set_result(value)

        push.receive(RealtimeAcknowledgementStatus.Ok, lambda _: settle(True))
        try:
            async with asyncio.timeout(self._settings.realtime_timeout):
                await push.send()
                return await reply
        except TimeoutError:
            return False
        finally:
            push.destroy()

    async def set_auth(self, token: str) -> None:
        """Carry a fresh token to the server; without it the topic is closed when the old one expires."""
        await self._client.set_auth(token)

    async def close(self) -> None:
        """Close the socket and every timer of the library."""
        for channel in list(self._client.channels.values()):
            channel.rejoin_timer.reset()
            channel.join_push.destroy()
            for push in list(channel.messages_waiting_for_ack.values()):
                push.destroy()
            channel.messages_waiting_for_ack.clear()
        try:
            async with asyncio.timeout(2):
                await self._client.close()
        except Exception as exc:  # it is given up either way
            log.debug("Closing the Realtime socket failed", extra={"error": repr(exc)})

    def _state_changed(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state is RealtimeSubscribeStates.SUBSCRIBED:
            self._joined = True
            return
        self.why_lost = f"{state.value} {error or ''}".rstrip()[:300]
        self.lost.set()

    def _system(self, payload: Any) -> None:
        if "replication connection established" in str(payload.message).lower():
            self._ready.set()

    def _broadcast(self, message: Any) -> None:
        payload = message.get("payload")
        if self._on_message is not None:
            self._on_message(str(message.get("event")), payload if isinstance(payload, dict) else {})
