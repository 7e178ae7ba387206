"""Frames of Phoenix channels: serializer 1.0.0 (JSON objects) and 2.0.0 (JSON arrays and binary broadcasts).

The server never sends join_ref in 1.0.0, and null for it in what it fans out in 2.0.0.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn

_PUSH = 3  # client to server
_BROADCAST = 4  # server to client
_BINARY, _JSON = 0, 1
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Version(Enum):
    """Serializer of a socket, the query parameter vsn of the handshake."""

    V1 = "1"
    V2 = "2"

    @classmethod
    def of(cls, vsn: str | None) -> Version | None:
        """The serializer for vsn (absent: 1.0.0), None if there is none."""
        if vsn is None or re.fullmatch(r"1\.0\.\d+", vsn):
            return cls.V1
        return cls.V2 if re.fullmatch(r"2\.0\.\d+", vsn) else None


class BadFrame(Exception):
    """Not a frame of the protocol. The server ignores such frames silently."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a client sent."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: Any
    size: int = 0  # bytes on the wire


@dataclass(frozen=True, slots=True)
class BinaryPush:
    """Payload of a binary broadcast push of a 2.0.0 client."""

    event: str
    meta: str
    body: str | bytes  # JSON text, or bytes


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def loads(text: str | bytes) -> Any:
    """Strict JSON; raises ValueError, also for NaN, lone surrogates and nesting beyond the interpreter's stack."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
        if isinstance(text, bytes):
            text = text.decode()
        if _SURROGATE.search(text):
            dumps(value).encode()
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    return value


def as_map(value: Any) -> dict[str, Any]:
    """A JSON object; what is none counts as empty, as the server's lenient parsing of options does."""
    return value if isinstance(value, dict) else {}


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _ref(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise BadFrame("ref is neither a string nor null")


def parse_text(version: Version, text: str) -> Frame:
    """Raises BadFrame."""
    try:
        value = loads(text)
    except ValueError as exc:
        raise BadFrame(str(exc)) from exc
    if version is Version.V1 and isinstance(value, dict) and {"topic", "event", "payload"} <= value.keys():
        fields = [value.get("join_ref"), value.get("ref"), value["topic"], value["event"], value["payload"]]
    elif version is Version.V2 and isinstance(value, list) and len(value) == 5:
        fields = value
    else:
        raise BadFrame("wrong shape")
    join_ref, ref, topic, event, payload = fields
    if not isinstance(topic, str) or not isinstance(event, str):
        raise BadFrame("topic and event must be strings")
    return Frame(_ref(join_ref), _ref(ref), topic, event, payload, len(text))


def parse_binary(version: Version, data: bytes) -> Frame:
    """The broadcast push of a 2.0.0 client. Raises BadFrame.

    Bytes: 3, five lengths, encoding, join_ref, ref, topic, event, meta, payload.
    """
    if version is not Version.V2 or len(data) < 7 or data[0] != _PUSH:
        raise BadFrame("not a broadcast push")
    position, parts = 7, []
    for length in data[1:6]:
        parts.append(data[position : position + length])
        position += length
    if position > len(data):
        raise BadFrame("shorter than its lengths say")
    try:
        join_ref, ref, topic, event, meta = (part.decode() for part in parts)
        body: str | bytes = data[position:]
        if data[6] == _JSON:
            body = data[position:].decode()
            loads(body)
        if meta:
            loads(meta)
    except ValueError as exc:
        raise BadFrame(str(exc)) from exc
    return Frame(join_ref or None, ref or None, topic, "broadcast", BinaryPush(event, meta, body), len(data))


def reply(version: Version, frame: Frame, status: str, response: Any, *, join_ref: str | None) -> str:
    """phx_reply to a frame."""
    body = {"response": response, "status": status}
    if version is Version.V1:
        return dumps({"event": "phx_reply", "payload": body, "ref": frame.ref, "topic": frame.topic})
    return dumps([join_ref, frame.ref, frame.topic, "phx_reply", body])


def push(version: Version, topic: str, event: str, payload: Any, *, join_ref: str | None) -> str:
    """A push of one channel: system, presence_state, replayed broadcasts."""
    if version is Version.V1:
        return dumps({"event": event, "payload": payload, "ref": None, "topic": topic})
    return dumps([join_ref, None, topic, event, payload])


def ending(version: Version, topic: str, event: str, *, join_ref: str | None) -> str:
    """phx_close or phx_error: ref is the join_ref of the channel that ends."""
    if version is Version.V1:
        return dumps({"event": event, "payload": {}, "ref": join_ref, "topic": topic})
    return dumps([join_ref, join_ref, topic, event, {}])


class FanOut:
    """A frame for all members of a topic, the same for each; encoded once per serializer."""

    def __init__(self, topic: str, event: str, payload: Any) -> None:
        self.topic = topic
        self._event = event
        self._payload = payload
        self._frames: dict[Version, str | bytes | None] = {}

    def frame(self, version: Version) -> str | bytes | None:
        """None: sockets of this serializer cannot get it."""
        if version not in self._frames:
            self._frames[version] = self._encode(version)
        return self._frames[version]

    def _encode(self, version: Version) -> str | bytes | None:
        return push(version, self.topic, self._event, self._payload, join_ref=None)


class UserBroadcast(FanOut):
    """A broadcast from the database, the single-message HTTP endpoint or a binary push: binary (type 4) in 2.0.0.

    `body` is JSON text, passed on as it is, or bytes, which 1.0.0 cannot carry. `meta` is JSON text or empty.
    """

    def __init__(self, topic: str, event: str, body: str | bytes, meta: str = "") -> None:
        super().__init__(topic, event, body)
        self._body = body
        self._meta = meta

    def _encode(self, version: Version) -> str | bytes | None:
        return self._as_text() if version is Version.V1 else self._as_binary()

    def _as_text(self) -> str | None:
        if isinstance(self._body, bytes):
            return None
        meta = f'"meta":{self._meta},' if self._meta else ""
        return (
            f'{{"event":"broadcast","payload":{{"event":{dumps(self._event)},{meta}"payload":{self._body},"type":"broadcast"}},'
            f'"ref":null,"topic":{dumps(self.topic)}}}'
        )

    def _as_binary(self) -> bytes | None:
        head = [part.encode() for part in (self.topic, self._event, self._meta)]
        if any(len(part) > 255 for part in head):
            return None  # lengths are one byte
        encoding, body = (_BINARY, self._body) if isinstance(self._body, bytes) else (_JSON, self._body.encode())
        return bytes([_BROADCAST, *map(len, head), encoding]) + b"".join(head) + body
