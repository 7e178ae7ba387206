"""Conversations recorded with supabase/realtime 2.128 are held again, word by word, with the stand-in.

What a client did is done again in the same order; between two actions every socket must receive what it received then.
Masked: uuids, references of presences, seconds since an expiry. Tokens are minted anew from their description (role,
lifetime, good or forged). Left out: a second phx_leave in 18 that raced the first and got no answer that time.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, ClientWSTimeout, WSMsgType

from .world import SECRET, Running, decode_broadcast, mint

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.jsonl"))
PATIENCE_S = 20
FORGED = "another-secret-of-the-tests-with-32-characters"


def with_tokens(value: Any) -> Any:
    """Mint the tokens that the recording describes."""

    def token(found: re.Match[str]) -> str:
        role, lifetime, kind = found.groups()
        return mint(
            None if role == "none" else role,
            None if lifetime == "none" else int(lifetime),
            SECRET if kind == "good" else FORGED,
        )

    return json.loads(re.sub(r"token:(\w+):(none|[+-]\d+):(good|forged)", token, json.dumps(value)))


def masked(value: Any) -> Any:
    """What must be equal in both conversations."""
    text = json.dumps(value, sort_keys=True)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>", text)
    text = re.sub(r'("phx_ref(?:_prev)?": )"[^"]{16}"', r'\1"<ref>"', text)
    text = re.sub(r"expired \d+ seconds ago", "expired <n> seconds ago", text)
    text = re.sub(r'"postgres_changes": \[\{"id": \d+', '"postgres_changes": [{"id": "<n>"', text)
    # the server says why it found no such table; the stand-in says that it has no postgres_changes at all
    text = re.sub(r"(Unable to subscribe to changes with given parameters\.)[^\"]*", r"\1", text)
    return json.loads(text)


def is_fan_out(frame: Any) -> bool:
    """Frames to all members of a topic; the recordings show them before or after a reply of the same moment."""
    if "decoded" in frame:
        return True
    data = frame["data"]
    event = data[3] if isinstance(data, list) else data["event"]
    return event in ("broadcast", "presence_diff")


class Replay:
    """One conversation with a running server."""

    def __init__(self, running: Running, stack: AsyncExitStack) -> None:
        self.running = running
        self.stack = stack
        self.sockets: dict[str, ClientWebSocketResponse] = {}
        self.versions: dict[str, int] = {}
        self.notices: list[tuple[str, str]] = []
        running.admin.add_notice_handler(
            lambda notice: self.notices.append((str(notice.severity), str(notice.message_primary)))
        )

    async def act(self, step: dict[str, Any]) -> None:
        await getattr(self, f"do_{step['do']}")(step)

    async def do_connect(self, step: dict[str, Any]) -> None:
        url = f"{self.running.url}/realtime/v1/websocket?{with_tokens(step['query'])}"
        headers = with_tokens(step["headers"])
        if refused := step.get("refused"):
            upgrade = {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            }
            async with self.running.http.get(url, headers=headers | upgrade) as response:
                assert {"status": response.status, "body": await response.text()} == refused
            return
        self.sockets[step["conn"]] = await self.stack.enter_async_context(
            self.running.http.ws_connect(url, headers=headers, max_msg_size=0, timeout=ClientWSTimeout(ws_close=5))
        )
        self.versions[step["conn"]] = 2 if "vsn=2" in step["query"] else 1

    async def do_send(self, step: dict[str, Any]) -> None:
        socket = self.sockets[step["conn"]]
        if "binary" in step:
            await socket.send_bytes(bytes.fromhex(step["binary"]))
        elif isinstance(step["data"], str):
            await socket.send_str(step["data"])
        else:
            await socket.send_str(json.dumps(with_tokens(step["data"])))

    async def do_drop(self, step: dict[str, Any]) -> None:
        """The client vanishes without a closing handshake."""
        response = self.sockets.pop(step["conn"])._response
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.abort()

    async def do_close(self, step: dict[str, Any]) -> None:
        await self.sockets.pop(step["conn"]).close()

    async def do_sql(self, step: dict[str, Any]) -> None:
        today = datetime.datetime.now(datetime.UTC)
        await self.running.admin.execute(
            re.sub(r"messages_\d{4}_\d\d_\d\d", f"messages_{today:%Y_%m_%d}", step["query"])
        )

    async def do_notice(self, step: dict[str, Any]) -> None:
        assert self.notices.pop(0) == (step["severity"], step["message"])

    async def do_http(self, step: dict[str, Any]) -> None:
        body = step["raw"].encode() if "raw" in step else json.dumps(step["json"]).encode() if "json" in step else None
        headers = with_tokens(step["headers"])
        url = f"{self.running.url}/realtime/v1{step['path']}"
        skip = ["Content-Type"] if "content-type" not in headers else []
        async with self.running.http.request(
            step["method"], url, data=body, headers=headers, skip_auto_headers=skip
        ) as response:
            answer = {"status": response.status, "body": await response.text()}
            if answer["body"]:
                answer["content_type"] = response.headers["Content-Type"]
        assert answer == {name: value for name, value in step["response"].items() if value is not None}, step

    async def expect(self, conn: str, frames: list[Any]) -> None:
        """As many frames as were recorded, the same, each kind in the same order."""
        received = [await self.receive(conn) for _ in frames]
        for fan_out in (False, True):
            assert [masked(f) for f in received if is_fan_out(f) is fan_out] == [
                masked(f) for f in frames if is_fan_out(f) is fan_out
            ]

    async def receive(self, conn: str) -> dict[str, Any]:
        message = await asyncio.wait_for(self.sockets[conn].receive(), PATIENCE_S)
        if message.type is WSMsgType.BINARY:
            return {"decoded": decode_broadcast(message.data)}
        assert message.type is WSMsgType.TEXT, message
        return {"data": json.loads(message.data)}

    async def expect_silence(self) -> None:
        """Nothing came on any socket that was not recorded: the next frame answers a heartbeat sent now."""
        for conn, socket in self.sockets.items():
            frame = [None, "end", "phoenix", "heartbeat", {}]
            names = ("join_ref", "ref", "topic", "event", "payload")
            await socket.send_str(
                json.dumps(frame if self.versions[conn] == 2 else dict(zip(names, frame, strict=True)))
            )
            data = (await self.receive(conn))["data"]
            assert "end" in (data if isinstance(data, list) else data.values()), data


def moments(steps: list[dict[str, Any]]) -> Iterator[tuple[list[dict[str, Any]], dict[str, list[Any]]]]:
    """Actions without an answer between them, and what each socket received after them."""
    actions: list[dict[str, Any]] = []
    received: dict[str, list[Any]] = defaultdict(list)
    for step in steps:
        if step["do"] == "recv":
            received[step["conn"]].append({name: step[name] for name in ("data", "decoded") if name in step})
            continue
        if received:
            yield actions, received
            actions, received = [], defaultdict(list)
        actions.append(step)
    yield actions, received


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.stem)
def steps(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return [json.loads(line) for line in request.param.read_text().splitlines()]


async def test_recorded_conversation_is_held_again(steps: list[dict[str, Any]], serve: Any) -> None:
    async with AsyncExitStack() as stack:
        replay = Replay(await serve(max_events_per_second=100), stack)
        for actions, received in moments(steps):
            for action in actions:
                await replay.act(action)
            for conn, frames in received.items():
                await replay.expect(conn, frames)
        await replay.expect_silence()
        assert replay.notices == []


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) == 38
