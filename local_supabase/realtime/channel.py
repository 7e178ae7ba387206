"""One topic joined on one socket: what its client may do there, until the token ends."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from . import frames
from .broker import PREFIX, Topic
from .database import DatabaseUnavailable
from .frames import BinaryPush, FanOut, Frame, UserBroadcast, Version, as_map
from .project import Project
from .rates import CallWindow
from .tokens import Token, TokenError, verify

logger = logging.getLogger(__name__)

_EXPIRY_CHECK_S = 300.0  # the server looks at least this often
_MAX_INBOX = 1000  # frames waiting for the database


class Line(Protocol):
    """What a channel needs of its socket."""

    @property
    def version(self) -> Version: ...

    @property
    def headers(self) -> dict[str, str]:
        """What policies may read as request.headers."""

    def send(self, frame: str | bytes) -> None:
        """Queue a frame."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that ends with the socket at the latest."""

    def forget(self, channel: Channel) -> None:
        """The channel has ended."""


class Replay(NamedTuple):
    """Which messages of the past a join asks for: since then (ms since 1970), so many at most."""

    since_ms: int
    limit: int


def _flag(value: Any) -> bool:
    return value is True or value in ("true", "1")


@dataclass(frozen=True, slots=True)
class JoinConfig:
    """payload.config of phx_join; what has a wrong type counts as absent."""

    private: bool
    ack: bool
    own: bool
    replication_ready: bool
    replay: Any
    presence_key: str
    presence_enabled: bool

    @classmethod
    def of(cls, config: dict[str, Any]) -> JoinConfig:
        broadcast, presence = as_map(config.get("broadcast")), as_map(config.get("presence"))
        key = presence.get("key")
        return cls(
            private=_flag(config.get("private")),
            ack=_flag(broadcast.get("ack")),
            own=_flag(broadcast.get("self")),
            replication_ready=_flag(broadcast.get("replication_ready")),
            replay=broadcast.get("replay"),
            presence_key=key if isinstance(key, str) and key else str(uuid.uuid1()),
            presence_enabled=_flag(presence.get("enabled")),
        )


class Channel:
    """A member of a topic. Frames are handled in order; those that must ask the database do not hold up the socket."""

    def __init__(
        self,
        project: Project,
        socket: Line,
        frame: Frame,
        config: JoinConfig,
        token: Token,
        readable: set[str],
    ) -> None:
        self.wire_topic = frame.topic
        self.topic = Topic(frame.topic.removeprefix(PREFIX), config.private)
        self.join_ref = frame.join_ref
        self.open = True
        self._project = project
        self._socket = socket
        self._config = config
        self._token = token
        self._presence = config.presence_enabled
        self._readable = readable  # extensions; asked on private topics only
        self._writable: dict[str, bool] = {}  # asked at the first use, kept until the token changes
        self._presence_calls = CallWindow(project.settings.max_presence_calls, project.settings.presence_window_s)
        self._inbox: deque[Frame] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._waiter: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watch_expiry()

    @property
    def follows_presence(self) -> bool:
        return self._presence and (not self.topic.private or "presence" in self._readable)

    # Towards the client

    def send(self, message: FanOut) -> bool:
        """False if the socket's serializer cannot carry it and somebody should know."""
        frame = message.frame(self._socket.version)
        if frame is None:
            return self._socket.version is frames.Version.V1  # bytes are simply not for 1.0.0
        self._socket.send(frame)
        return True

    def push(self, event: str, payload: Any) -> None:
        self._socket.send(frames.push(self._socket.version, self.wire_topic, event, payload, join_ref=self.join_ref))

    def system(self, message: str, *, status: str, extension: str = "system") -> None:
        self.push("system", {"channel": self.topic.name, "extension": extension, "message": message, "status": status})

    def shut_down(self, message: str) -> None:
        """End the channel with a reason; the socket and its other channels live on."""
        if self.open:
            logger.info("channel closed", extra={"topic": self.topic.name, "reason": message})
            self.system(message, status="error")
            self.finish("phx_close")

    def finish(self, event: str) -> None:
        """End the channel and say so: phx_close, or phx_error after a failure of ours."""
        self.end()
        self._socket.send(frames.ending(self._socket.version, self.wire_topic, event, join_ref=self.join_ref))

    def end(self) -> None:
        """End the channel without a word to its client. Safe to repeat."""
        self.open = False
        self._project.broker.remove(self)
        self._socket.forget(self)
        self._inbox.clear()
        if self._timer:
            self._timer.cancel()
        current = asyncio.current_task()
        for task in (self._worker, self._waiter):
            if task and task is not current:
                task.cancel()

    # After the join

    def announce_presences(self) -> None:
        if self.follows_presence:
            self.push("presence_state", self._project.broker.presence_state(self.topic))

    def announce_replication(self) -> None:
        """Tell when messages of the database arrive: at once, or when the listener is connected."""
        if self._config.replication_ready:
            if self._project.listener.ready.is_set():
                self._replication_ready()
            else:
                self._waiter = self._socket.spawn(self._wait_for_replication())

    def _replication_ready(self) -> None:
        self.system("Replication connection established", status="ok")

    async def _wait_for_replication(self) -> None:
        try:
            async with asyncio.timeout(self._project.settings.replication_ready_timeout_s):
                await self._project.listener.ready.wait()
        except TimeoutError:
            self.shut_down("Replication connection timed out")
        else:
            self._replication_ready()

    # From the client

    def receive(self, frame: Frame) -> None:
        """Handle one frame, at once or after the database has answered the ones before it."""
        if self._worker is None and not self._must_ask(frame):
            self._handle(frame)
        elif len(self._inbox) < _MAX_INBOX:
            self._inbox.append(frame)
            if self._worker is None:
                self._worker = self._socket.spawn(self._work())

    def _must_ask(self, frame: Frame) -> bool:
        if not self.topic.private:
            return False
        return frame.event == "access_token" or (
            frame.event in ("broadcast", "presence") and frame.event not in self._writable
        )

    async def _work(self) -> None:
        try:
            while self._inbox and self.open:
                frame = self._inbox.popleft()
                if frame.event == "access_token":
                    await self._change_token(frame)
                    continue
                if self._must_ask(frame):
                    await self._ask_write(frame.event)
                self._handle(frame)
        except Exception:
            self._crash()
        finally:
            self._worker = None

    async def _ask_write(self, extension: str) -> None:
        try:
            self._writable[extension] = await self._project.database.may_write(
                self.topic.name, self._token, self._socket.headers, extension
            )
            if extension == "presence" and not self._presence:
                self._readable |= await self._project.database.may_read(
                    self.topic.name, self._token, self._socket.headers, ["presence"]
                )
        except DatabaseUnavailable as exc:  # asked again with the next frame
            logger.warning("write permission unknown", extra={"topic": self.topic.name, "error": str(exc).strip()})

    def _may_write(self, extension: str) -> bool:
        return not self.topic.private or self._writable.get(extension, False)

    def _handle(self, frame: Frame) -> None:
        try:
            if frame.event == "broadcast":
                self._broadcast(frame)
            elif frame.event == "presence":
                self._call_presence(frame)
            elif frame.event == "access_token" and (token := self._new_token(frame)):
                self._use(token)
        except Exception:
            self._crash()

    def _crash(self) -> None:
        """A fault of ours ends this channel only, as a crashed channel process does."""
        logger.exception("channel failed", extra={"topic": self.topic.name})
        self.finish("phx_error")

    def _reply(self, frame: Frame, status: str, response: Any) -> None:
        self._socket.send(frames.reply(self._socket.version, frame, status, response, join_ref=self.join_ref))

    # Broadcast

    def _broadcast(self, frame: Frame) -> None:
        """Without write permission: dropped without a reply, also with ack."""
        broker = self._project.broker
        broker.events.add()
        if not self._may_write("broadcast"):
            return
        if frame.size > self._project.settings.max_payload_bytes:
            if self._config.ack:
                self._reply(frame, "error", "payload_size_exceeded")
            return
        if isinstance(frame.payload, BinaryPush):
            push = frame.payload
            message: FanOut = UserBroadcast(self.wire_topic, push.event, push.body, push.meta)
        else:
            message = FanOut(self.wire_topic, "broadcast", frame.payload)
        if self._config.ack:
            self._reply(frame, "ok", {})
        broker.broadcast(self.topic, message, skip=None if self._config.own else self)

    # Presence

    def _call_presence(self, frame: Frame) -> None:
        if not self._presence_calls.allow():
            self.shut_down("Client presence rate limit exceeded")
        elif self._project.broker.presence_events.exceeded:
            self.shut_down("Too many presence messages per second")
        elif not self._may_write("presence"):
            self._reply(frame, "error", {})
        else:
            self._reply(frame, *self._apply_presence(as_map(frame.payload)))

    def _apply_presence(self, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        event = payload.get("event")
        if event is None:
            return "ok", {}
        action = event.lower() if isinstance(event, str) else ""
        if action == "untrack":
            self._project.broker.untrack(self)
            return "ok", {}
        if action != "track":
            return "error", {}
        meta = payload.get("payload", {})
        if not isinstance(meta, dict):
            return "error", {"reason": "Presence track payload must be a map"}
        self._presence = True
        self._project.broker.track(self, self._config.presence_key, meta)
        return "ok", {}

    # Token

    def _watch_expiry(self) -> None:
        if self._timer:
            self._timer.cancel()
        left_s = max(self._token.expires_at - time.time(), 0.005)  # asyncio's clock may be a tick early
        self._timer = asyncio.get_running_loop().call_later(min(left_s, _EXPIRY_CHECK_S), self._check_expiry)

    def _check_expiry(self) -> None:
        try:
            self._token.check_expiry()
        except TokenError as exc:
            self.shut_down(exc.message)
        else:
            self._watch_expiry()

    def _new_token(self, frame: Frame) -> Token | None:
        """The token of an access_token event; None if there is nothing to do or it ended the channel."""
        text = as_map(frame.payload).get("access_token")
        if not isinstance(text, str) or text.startswith("sb_") or text == self._token.text:
            return None
        try:
            return verify(text, self._project.jwt_secret)
        except TokenError as exc:
            self.shut_down(exc.on_open_channel)
            return None

    def _use(self, token: Token) -> None:
        self._token = token
        self._writable.clear()
        self._watch_expiry()

    async def _change_token(self, frame: Frame) -> None:
        token = self._new_token(frame)
        if token is None:
            return
        extensions = ["broadcast", "presence"] if self._presence else ["broadcast"]
        try:
            readable = await self._project.database.may_read(self.topic.name, token, self._socket.headers, extensions)
        except DatabaseUnavailable:
            self.shut_down(":increase_connection_pool")
            return
        if "broadcast" not in readable:
            self.shut_down(f"You do not have permissions to read from this Channel topic: {self.topic.name}")
            return
        self._readable = readable
        self._use(token)
