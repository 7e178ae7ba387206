"""Who is on which topic, and what reaches them. A private and a public topic of one name are two topics."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from .database import Message
from .frames import FanOut, UserBroadcast, dumps
from .listener import Announced
from .rates import RollingRate
from .settings import RealtimeSettings

logger = logging.getLogger(__name__)

PREFIX = "realtime:"


class Topic(NamedTuple):
    """Bare name, without the prefix of the wire."""

    name: str
    private: bool


class Member(Protocol):
    """A channel, as far as its topic is concerned."""

    topic: Topic

    @property
    def follows_presence(self) -> bool: ...

    def send(self, message: FanOut) -> bool:
        """False if its socket cannot carry it."""

    def shut_down(self, message: str) -> None:
        """End it with a reason."""


@dataclass(slots=True)
class Tracked:
    """What one channel tells of itself; phx_ref names this version of it."""

    key: str
    meta: dict[str, Any]


def _metas(key: str, metas: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {key: {"metas": list(metas)}}


class Broker:
    """The members of every topic with their presences, and the rate limits, which are the project's."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._members: dict[Topic, dict[Member, None]] = {}
        self._tracked: dict[Topic, dict[Member, Tracked]] = {}

        def rate(limit: float) -> RollingRate:
            return RollingRate(limit, settings.rate_bucket_s, settings.rate_buckets)

        self.events = rate(settings.max_events_per_second)
        self.joins = rate(settings.max_joins_per_second)
        self.presence_events = rate(settings.max_presence_events_per_second)

    def add(self, channel: Member) -> None:
        """Have the topic's messages reach it."""
        self._members.setdefault(channel.topic, {})[channel] = None

    def remove(self, channel: Member) -> None:
        """Safe to repeat. Others see the channel's presence leave."""
        members = self._members.get(channel.topic)
        if members is None or channel not in members:
            return
        del members[channel]
        if not members:
            del self._members[channel.topic]
        self.untrack(channel)

    def broadcast(self, topic: Topic, message: FanOut, *, skip: Member | None = None) -> None:
        """Send to all members but `skip`. Each delivery counts; beyond the limit it is the receiver's last."""
        for channel in list(self._members.get(topic, ())):
            if channel is skip:
                continue
            if not channel.send(message):
                logger.error("message cannot be sent to a socket of this serializer", extra={"topic": topic.name})
                continue
            self.events.add()
            if self.events.exceeded:
                channel.shut_down("Too many messages per second")

    def wanted(self, announced: Announced) -> bool:
        """Counts a message of the database. False: not to be fetched, over the rate limit or nobody is there."""
        if self.events.exceeded:
            return False
        self.events.add()
        return announced.topic is None or Topic(announced.topic, announced.private) in self._members

    def deliver(self, row: Message) -> None:
        """Broadcast a message of the database. Without an event, or too large, it is stored and no more."""
        body = row.payload if row.binary_payload is None else row.binary_payload
        if row.event is None or body is None:
            logger.warning("message of the database not sent", extra={"topic": row.topic, "message_id": str(row.id)})
            return
        message = UserBroadcast(PREFIX + row.topic, row.event, body, dumps({"id": str(row.id)}))
        self.broadcast(Topic(row.topic, row.private), message)

    def presence_state(self, topic: Topic) -> dict[str, Any]:
        """Who is there: {key: {"metas": [one per channel]}}."""
        state: dict[str, Any] = {}
        for tracked in self._tracked.get(topic, {}).values():
            state.setdefault(tracked.key, {"metas": []})["metas"].append(tracked.meta)
        return state

    def track(self, channel: Member, key: str, payload: dict[str, Any]) -> None:
        """Show the channel's presence, or a new version of it, to all who follow presence on the topic."""
        before = self._tracked.setdefault(channel.topic, {}).get(channel)
        meta = {"phx_ref": secrets.token_urlsafe(12)}
        if before:
            meta["phx_ref_prev"] = before.meta["phx_ref"]
        now = Tracked(key, {**payload, **meta})
        self._tracked[channel.topic][channel] = now
        self._tell(channel.topic, _metas(key, [now.meta]), _metas(key, [before.meta]) if before else {})

    def untrack(self, channel: Member) -> None:
        """Let the channel's presence leave. Safe to repeat."""
        tracked = self._tracked.get(channel.topic, {})
        before = tracked.pop(channel, None)
        if before is None:
            return
        if not tracked:
            del self._tracked[channel.topic]
        self._tell(channel.topic, {}, _metas(before.key, [before.meta]))

    def _tell(self, topic: Topic, joins: dict[str, Any], leaves: dict[str, Any]) -> None:
        diff = FanOut(PREFIX + topic.name, "presence_diff", {"joins": joins, "leaves": leaves})
        for channel in list(self._members.get(topic, ())):
            if channel.follows_presence:
                channel.send(diff)
                self.presence_events.add()
