"""One WebSocket: reads frames in order, joins and leaves channels, writes what they send."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import WSMsgType, web

from . import frames
from .broker import PREFIX
from .channel import Channel
from .frames import BadFrame, Frame, Version
from .joining import Refused, admit
from .project import Project

logger = logging.getLogger(__name__)

_YIELD_EVERY = 100  # frames of a burst, then others get their turn
_CLOSE_TIMEOUT_S = 2.0  # for a client that is slow to read


def _as_elixir(value: Any) -> str:
    """A payload that is not an object, as the server prints it in its error."""
    return "nil" if value is None else json.dumps(value, ensure_ascii=False)


class Socket:
    """A connected client."""

    def __init__(
        self,
        project: Project,
        ws: web.WebSocketResponse,
        version: Version,
        apikey: str,
        headers: dict[str, str],
        abort: Callable[[], None],
    ) -> None:
        self.version = version
        self.apikey = apikey
        self.headers = headers  # what policies may read as request.headers
        self.channels: dict[str, Channel] = {}
        self.last_channel_at = time.monotonic()
        self._project = project
        self._ws = ws
        self._abort = abort  # drops the connection without a closing handshake
        self._cut_off: asyncio.TimerHandle | None = None
        self._outbox: deque[str | bytes] = deque()
        self._outbox_bytes = 0
        self._held: deque[str | bytes] | None = None
        self._wake = asyncio.Event()
        self._close_code: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the client until one side closes."""
        reader, writer = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        try:
            await asyncio.wait([reader, writer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for channel in list(self.channels.values()):
                channel.end()
            tasks = [reader, writer, *self._tasks]
            for task in tasks:
                task.cancel()
            for failure in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(failure, Exception):
                    logger.error("socket failed", exc_info=failure)
            # only now, without a reader, does aiohttp wait for the client's part of the closing handshake
            await self._ws.close(code=self._close_code or 1000)
            if self._cut_off:
                self._cut_off.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work of a channel that ends with the socket at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def send(self, frame: str | bytes) -> None:
        """Queue a frame; while a join is under way it waits, as the server's socket process does."""
        if self._held is not None:
            self._held.append(frame)
        else:
            self._queue(frame)

    def _queue(self, frame: str | bytes) -> None:
        self._outbox.append(frame)
        self._outbox_bytes += len(frame)
        self._wake.set()
        if self._outbox_bytes > self._project.settings.max_outbox_bytes and self._close_code is None:
            logger.warning("socket cut: its client does not read")
            self._close_code = 1011
            self._abort()

    def close(self, code: int) -> None:
        """Close after what is queued was written, or without that if the client does not take it in time."""
        if self._close_code is None:
            self._close_code = code
            self._cut_off = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT_S, self._abort)
            self._wake.set()

    def forget(self, channel: Channel) -> None:
        """Drop a channel that has ended, unless another one has its topic by now."""
        if self.channels.get(channel.wire_topic) is channel:
            del self.channels[channel.wire_topic]
            self.last_channel_at = time.monotonic()

    async def _write(self) -> None:
        written = 0
        try:
            while self._close_code is None or self._outbox:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    frame = self._outbox.popleft()
                    self._outbox_bytes -= len(frame)
                    if isinstance(frame, bytes):
                        await self._ws.send_bytes(frame)
                    else:
                        await self._ws.send_str(frame)
                    written += 1
                    if written % _YIELD_EVERY == 0:
                        await asyncio.sleep(0)
        except ConnectionError:
            logger.debug("socket went away while frames were waiting")

    async def _read(self) -> None:
        while True:
            try:
                message = await self._ws.receive(timeout=self._project.settings.idle_timeout_s)
            except TimeoutError:
                return  # idle: closed with 1000
            if message.type is WSMsgType.PING:
                await self._ws.pong(message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                if len(message.data) > self._project.settings.max_frame_bytes:
                    self._close_code = 1009
                    return
                try:
                    if message.type is WSMsgType.TEXT:
                        frame = frames.parse_text(self.version, message.data)
                    else:
                        frame = frames.parse_binary(self.version, message.data)
                except BadFrame as exc:
                    logger.debug("frame ignored", extra={"error": str(exc)})
                else:
                    await self._dispatch(frame)
            elif message.type is not WSMsgType.PONG:
                return

    async def _dispatch(self, frame: Frame) -> None:
        channel = self.channels.get(frame.topic)
        if frame.topic == "phoenix" and frame.event == "heartbeat":
            self._reply(frame, "ok", {}, join_ref=None)
        elif frame.event == "phx_join" and frame.topic.startswith(PREFIX):
            await self._join(frame)
        elif frame.event == "phx_leave":
            self._leave(frame, channel)
        elif channel is not None:
            channel.receive(frame)
        else:
            self._reply(frame, "error", {"reason": "unmatched topic"}, join_ref=None)

    def _reply(self, frame: Frame, status: str, response: Any, *, join_ref: str | None) -> None:
        self.send(frames.reply(self.version, frame, status, response, join_ref=join_ref))

    def _leave(self, frame: Frame, channel: Channel | None) -> None:
        if channel is not None and frame.join_ref not in (None, channel.join_ref):
            return  # a leave of an earlier join of this topic, which has ended already
        self._reply(frame, "ok", {}, join_ref=frame.join_ref if channel is None else channel.join_ref)
        if channel is not None:
            channel.finish("phx_close")

    async def _join(self, frame: Frame) -> None:
        """Nothing else is read or written on this socket until the join is answered."""
        replaced = self.channels.get(frame.topic)
        if replaced:
            replaced.end()
        self._held = deque()
        try:
            try:
                if not isinstance(frame.payload, dict):
                    raise Refused(
                        "UnknownErrorOnChannel", f"expected params to be a :map, got: `{_as_elixir(frame.payload)}`"
                    )
                joined = await admit(self._project, self, frame, frame.payload)
            except Refused as exc:
                logger.info("join refused", extra={"topic": frame.topic, "reason": str(exc)})
                await asyncio.sleep(self._project.settings.refused_join_delay_s)
                self._answer_join(frame, "error", {"reason": str(exc)}, replaced)
                if exc.close:
                    self.close(1000)
            else:
                self.channels[frame.topic] = joined.channel
                self._project.broker.add(joined.channel)
                self._answer_join(frame, "ok", {"postgres_changes": joined.postgres_changes}, replaced)
                joined.after_reply()
        finally:
            held, self._held = self._held, None
            for waiting in held or ():
                self._queue(waiting)

    def _answer_join(self, frame: Frame, status: str, response: Any, replaced: Channel | None) -> None:
        """First the reply, then the end of the channel that this join replaced, then what was held back."""
        self._queue(frames.reply(self.version, frame, status, response, join_ref=frame.join_ref))
        if replaced:
            self._queue(frames.ending(self.version, frame.topic, "phx_close", join_ref=replaced.join_ref))
