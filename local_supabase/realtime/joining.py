"""Admission of a channel: limits, token, row level security, replay; in the server's order."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeGuard

from . import frames
from .broker import PREFIX
from .channel import Channel, JoinConfig, Line, Replay
from .database import DatabaseUnavailable, Message
from .frames import Frame, as_map
from .project import Project
from .tokens import Token, TokenError, verify

_MAX_REPLAY = 25
_YEAR_10000_MS = 253_402_300_800_000
_NO_POSTGRES_CHANGES = (
    "Unable to subscribe to changes with given parameters. The local stack does not serve postgres_changes: "
    "use broadcast, for instance realtime.broadcast_changes() in a trigger"
)


class Refused(Exception):
    """A join that is answered with an error after the delay. `close`: the socket is closed as well."""

    def __init__(self, code: str, message: str, *, close: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.close = close


class Joiner(Line, Protocol):
    """What a join asks of its socket: the apikey of the handshake, and the channels by wire topic."""

    @property
    def apikey(self) -> str: ...

    @property
    def channels(self) -> dict[str, Channel]: ...


@dataclass(slots=True)
class Joined:
    """An admitted channel, the filters its reply echoes, and what follows the reply."""

    channel: Channel
    postgres_changes: list[dict[str, Any]]
    replayed: list[Message] = field(default_factory=list)

    def after_reply(self) -> None:
        """Send what the client expects once its join is answered: the past, who is there, when messages arrive."""
        for message in self.replayed:
            if message.event is not None and message.payload is not None:
                meta = {"id": str(message.id), "replayed": True}
                payload = {"event": message.event, "meta": meta, "payload": frames.loads(message.payload)}
                self.channel.push("broadcast", payload | {"type": "broadcast"})
        self.channel.announce_presences()
        if self.postgres_changes:
            self.channel.system(_NO_POSTGRES_CHANGES, status="error", extension="postgres_changes")
        self.channel.announce_replication()


async def admit(project: Project, socket: Joiner, frame: Frame, payload: dict[str, Any]) -> Joined:
    """The channel, not yet a member of its topic. Raises Refused."""
    name = frame.topic.removeprefix(PREFIX)
    config = JoinConfig.of(as_map(payload.get("config")))
    if not name:
        raise Refused("TopicNameRequired", "You must provide a topic name")
    if project.settings.private_only and not config.private:
        raise Refused("PrivateOnly", "This project only allows private channels")
    _check_limits(project, socket)
    changes = _postgres_changes(name, payload)
    token = _token(project, socket, payload)
    replay = _replay(config)
    readable: set[str] = set()
    replayed: list[Message] = []
    if config.private:
        try:
            readable = await _may_read(project, socket, name, config, token)
            if replay:
                since = datetime.fromtimestamp(replay.since_ms / 1000, UTC).replace(tzinfo=None)
                replayed = await project.database.replay(name, since, replay.limit)
        except DatabaseUnavailable as exc:
            raise Refused("IncreaseConnectionPool", "Please increase your connection pool size") from exc
    return Joined(Channel(project, socket, frame, config, token, readable), changes, replayed)


def _check_limits(project: Project, socket: Joiner) -> None:
    project.broker.joins.add()
    if project.broker.joins.exceeded:
        raise Refused("ClientJoinRateLimitReached", "Too many joins per second", close=True)
    if len(socket.channels) >= project.settings.max_channels_per_client:
        raise Refused("ChannelRateLimitReached", "Too many channels")
    if not socket.channels and project.users() >= project.settings.max_concurrent_users:
        raise Refused("ConnectionRateLimitReached", "Too many connected users")


def _postgres_changes(name: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
    """The filters with an id each, as the reply echoes them. Without config it is the old API: schema:table:filter."""
    if "config" not in payload:
        names = ("schema", "table", "filter")
        filters: Any = [dict(zip(names, name.split(":", 2), strict=False))]
    else:
        filters = as_map(payload["config"]).get("postgres_changes")
    if filters is None:
        return []
    if not isinstance(filters, list):
        raise Refused("UnknownErrorOnChannel", "no function clause matching in Access.get/3")
    wanted = [filter_ for filter_ in filters if isinstance(filter_, dict)]
    return [{"id": zlib.crc32(frames.dumps(filter_).encode()) >> 5} | filter_ for filter_ in wanted]


def _token(project: Project, socket: Joiner, payload: dict[str, Any]) -> Token:
    """access_token (or user_token); the apikey of the handshake if that is absent or is a publishable or secret key."""
    text = payload.get("access_token", payload.get("user_token"))
    if not isinstance(text, str) or text.startswith("sb_"):
        text = socket.apikey
    try:
        return verify(text, project.jwt_secret)
    except TokenError as exc:
        raise Refused(exc.code, exc.message) from exc


def _replay(config: JoinConfig) -> Replay | None:
    if config.replay is None:
        return None
    if not config.private:
        raise Refused("UnableToReplayMessages", "Replay is not allowed for public channels")
    since, limit = as_map(config.replay).get("since"), as_map(config.replay).get("limit", _MAX_REPLAY)
    if not _is_count(since) or not _is_count(limit) or limit > _MAX_REPLAY:
        raise Refused("UnableToReplayMessages", "Replay params are not valid")
    return Replay(since, limit)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _YEAR_10000_MS


async def _may_read(project: Project, socket: Joiner, name: str, config: JoinConfig, token: Token) -> set[str]:
    extensions = ["broadcast", "presence"] if config.presence_enabled else ["broadcast"]
    readable = await project.database.may_read(name, token, socket.headers, extensions)
    if "broadcast" not in readable:
        raise Refused("Unauthorized", f"You do not have permissions to read from this Channel topic: {name}")
    return readable
