"""Words of the Realtime tests: tokens, a raw client, a running server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import jwt
import psycopg
from aiohttp import ClientSession, ClientWebSocketResponse, ClientWSTimeout, WSMsgType

from local_supabase.realtime import RealtimeServer

SECRET = "a-secret-of-the-tests-with-more-than-32-characters"
USER = "11111111-1111-1111-1111-111111111111"
_PATIENCE_S = 20  # fails a test that would hang; nothing is measured by it


def mint(role: str | None = "authenticated", expires_in_s: int | None = 3600, secret: str = SECRET) -> str:
    claims: dict[str, Any] = {"sub": USER, "role": role, "exp": int(time.time()) + (expires_in_s or 0)}
    if role is None:
        del claims["role"]
    if expires_in_s is None:
        del claims["exp"]
    return jwt.encode(claims, secret, algorithm="HS256")


class Client:
    """A raw WebSocket of either serializer. Frames are returned as [join_ref, ref, topic, event, payload]."""

    def __init__(self, ws: ClientWebSocketResponse, version: int) -> None:
        self.ws = ws
        self.version = version

    async def send(self, join_ref: str | None, ref: str | None, topic: str, event: str, payload: Any) -> None:
        fields = [join_ref, ref, topic, event, payload]
        names = ("join_ref", "ref", "topic", "event", "payload")
        await self.ws.send_str(json.dumps(fields if self.version == 2 else dict(zip(names, fields, strict=True))))

    async def receive(self) -> list[Any]:
        """The next frame; a binary broadcast as [null, null, topic, "broadcast", {event, meta, payload, type}]."""
        message = await asyncio.wait_for(self.ws.receive(), _PATIENCE_S)
        if message.type is WSMsgType.BINARY:
            decoded = decode_broadcast(message.data)
            meta = {"meta": json.loads(decoded["metadata"])} if decoded["metadata"] else {}
            payload = {"event": decoded["user_event"], "payload": decoded["payload"], "type": "broadcast"} | meta
            return [None, None, decoded["topic"], "broadcast", payload]
        assert message.type is WSMsgType.TEXT, message
        frame = json.loads(message.data)
        if self.version == 2:
            assert isinstance(frame, list)
            return frame
        assert list(frame) == ["event", "payload", "ref", "topic"]
        return [None, frame["ref"], frame["topic"], frame["event"], frame["payload"]]

    async def closed(self) -> int:
        """The code with which the server closes; frames before it are a failure."""
        message = await asyncio.wait_for(self.ws.receive(), _PATIENCE_S)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED), message
        code = message.data or self.ws.close_code
        assert isinstance(code, int)
        return code

    async def join(self, topic: str, token: str | None = None, ref: str = "1", **config: Any) -> dict[str, Any]:
        """Join realtime:topic; payload of the reply."""
        payload = {"config": config} | ({"access_token": token} if token else {})
        await self.send(ref, ref, f"realtime:{topic}", "phx_join", payload)
        reply = await self.receive()
        assert reply[1:4] == [ref, f"realtime:{topic}", "phx_reply"], reply
        result: dict[str, Any] = reply[4]
        return result

    async def broadcast(self, topic: str, payload: Any, event: str = "e", ref: str = "9") -> None:
        body = {"type": "broadcast", "event": event, "payload": payload}
        await self.send("1", ref, f"realtime:{topic}", "broadcast", body)

    async def nothing_waits(self) -> None:
        """The next frame is the answer to a heartbeat sent now: nothing was on its way."""
        await self.send(None, "hb", "phoenix", "heartbeat", {})
        assert await self.receive() == [None, "hb", "phoenix", "phx_reply", {"response": {}, "status": "ok"}]


@dataclass
class Running:
    """A server with its database, `admin` being a superuser's connection."""

    server: RealtimeServer
    url: str
    admin: psycopg.AsyncConnection[Any]
    http: ClientSession

    @asynccontextmanager
    async def client(self, version: int = 1, token: str | None = None) -> AsyncIterator[Client]:
        """A connected socket; the apikey is an anon key unless given."""
        query = {"apikey": token or mint("anon"), "vsn": f"{version}.0.0"}
        async with self.http.ws_connect(
            f"{self.url}/realtime/v1/websocket", params=query, max_msg_size=0, timeout=ClientWSTimeout(ws_close=5)
        ) as ws:
            yield Client(ws, version)

    async def send(self, topic: str, payload: Any, event: str = "e", private: bool = True) -> None:
        """realtime.send()"""
        await self.admin.execute(
            "select realtime.send(%s::jsonb, %s, %s, %s)", (json.dumps(payload), event, topic, private)
        )


def decode_broadcast(data: bytes) -> dict[str, Any]:
    """A binary frame of the server, in the words of the recordings."""
    kind, topic_len, event_len, meta_len, encoding = data[:5]
    assert kind == 4
    position, parts = 5, []
    for length in (topic_len, event_len, meta_len):
        parts.append(data[position : position + length].decode())
        position += length
    body = data[position:]
    return {
        "kind": "user_broadcast(4)",
        "topic": parts[0],
        "user_event": parts[1],
        "metadata": parts[2],
        "encoding": "json" if encoding else "binary",
        "payload": json.loads(body) if encoding else body.hex(),
    }
