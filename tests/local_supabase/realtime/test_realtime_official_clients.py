"""The official clients, through the gateway: realtime-py, supabase-py and supabase-js."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from supabase import AsyncClient, acreate_client

from local_supabase import LocalSupabase

USER = "11111111-1111-1111-1111-111111111111"
PATIENCE_S = 30


@pytest.fixture
def project(fresh_stack: LocalSupabase) -> LocalSupabase:
    """A project whose signed-in users read topics room:% and write room:open%."""
    with fresh_stack.connect() as connection:
        connection.execute(
            """
            create policy "test: read rooms" on realtime.messages for select to authenticated
              using (realtime.topic() like 'room:%');
            create policy "test: write open rooms" on realtime.messages for insert to authenticated
              with check (realtime.topic() like 'room:open%');
            """
        )
    return fresh_stack


@pytest.fixture
def owner(project: LocalSupabase) -> Iterator[psycopg.Connection]:
    with project.connect() as connection:
        yield connection


def send(owner: psycopg.Connection, topic: str, payload: Any, private: bool = True) -> None:
    owner.execute("select realtime.send(%s::jsonb, 'ev', %s, %s)", [json.dumps(payload), topic, private])


class Heard:
    """Collects what callbacks are given; a test waits for the next."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, *arguments: Any) -> None:
        self._queue.put_nowait(arguments[0] if len(arguments) == 1 else arguments)

    async def next(self) -> Any:
        return await asyncio.wait_for(self._queue.get(), PATIENCE_S)


async def subscribe(channel: AsyncRealtimeChannel) -> Heard:
    """Join; the states that follow SUBSCRIBED."""
    states = Heard()
    await channel.subscribe(lambda state, error: states((state, error)))
    assert await states.next() == (RealtimeSubscribeStates.SUBSCRIBED, None)
    return states


@asynccontextmanager
async def realtime_py(project: LocalSupabase, token: str | None = None) -> AsyncIterator[AsyncRealtimeClient]:
    client = AsyncRealtimeClient(f"{project.url}/realtime/v1", project.anon_key)
    await client.connect()
    if token:
        await client.set_auth(token)
    try:
        yield client
    finally:
        await client.close()


async def test_realtime_py_public_channel(project: LocalSupabase, owner: psycopg.Connection) -> None:
    async with realtime_py(project) as one, realtime_py(project) as two:
        heard, own = Heard(), Heard()
        config: Any = {"config": {"broadcast": {"ack": True, "self": True}, "presence": {"key": ""}, "private": False}}
        sender = one.channel("public", config)
        sender.on_broadcast("cursor", own)
        await subscribe(sender)
        await subscribe(two.channel("public").on_broadcast("*", heard))
        await sender.send_broadcast("cursor", {"x": 1})
        assert (await heard.next())["payload"] == {"x": 1}
        assert (await own.next())["payload"] == {"x": 1}
        send(owner, "public", {"id": "mine"}, private=False)
        message = await heard.next()
        assert message["payload"] == {"id": "mine"}
        assert message["meta"]["id"]


async def test_realtime_py_private_channel(project: LocalSupabase, owner: psycopg.Connection) -> None:
    token = project.mint("authenticated", USER)
    async with realtime_py(project, token) as client:
        heard = Heard()
        channel = client.channel("room:open", {"config": {"private": True}})  # type: ignore[typeddict-item]
        await subscribe(channel.on_broadcast("ev", heard))
        send(owner, "room:open", {"n": 1})
        assert (await heard.next())["payload"]["n"] == 1
        await client.set_auth(project.mint("authenticated", USER, session_id="refreshed"))
        send(owner, "room:open", {"n": 2})
        assert (await heard.next())["payload"]["n"] == 2


async def test_realtime_py_is_told_when_its_token_expires(project: LocalSupabase) -> None:
    token = project.mint("authenticated", USER, expires_in_s=2)
    async with realtime_py(project, token) as client:
        states = await subscribe(client.channel("room:open", {"config": {"private": True}}))  # type: ignore[typeddict-item]
        state, error = await states.next()
        assert state is RealtimeSubscribeStates.CHANNEL_ERROR
        assert "Token has expired" in str(error)
        assert (await states.next())[0] is RealtimeSubscribeStates.CLOSED


async def test_realtime_py_presence(project: LocalSupabase) -> None:
    async with realtime_py(project) as one, realtime_py(project) as two:
        joined, left = Heard(), Heard()
        watched = two.channel("lobby").on_presence_join(lambda key, _, new: joined((key, new)))
        await subscribe(watched.on_presence_leave(lambda key, _, old: left((key, old))))
        config: Any = {"config": {"broadcast": None, "presence": {"key": "alice", "enabled": True}, "private": False}}
        tracked = one.channel("lobby", config)
        await subscribe(tracked)
        await tracked.track({"name": "Alice"})
        key, new = await joined.next()
        assert (key, new[0]["name"]) == ("alice", "Alice")
        assert list(watched.presence_state()) == ["alice"]
        await tracked.untrack()
        assert (await left.next())[0] == "alice"


# realtime-py 2.34.1 logs ConnectionClosed.code and .reason; as errors these warnings end its listening task
@pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")
async def test_realtime_py_rejoins_after_a_restart_of_the_server(
    project: LocalSupabase, owner: psycopg.Connection
) -> None:
    async with realtime_py(project, project.mint("authenticated", USER)) as client:
        heard = Heard()
        channel = client.channel("room:open", {"config": {"private": True}})  # type: ignore[typeddict-item]
        states = await subscribe(channel.on_broadcast("ev", heard))
        await asyncio.to_thread(project.restart, "gateway")
        state, error = await states.next()
        assert state is RealtimeSubscribeStates.CHANNEL_ERROR
        assert "1012" in str(error)
        assert (await states.next())[0] is RealtimeSubscribeStates.SUBSCRIBED
        send(owner, "room:open", {"n": 3})
        assert (await heard.next())["payload"]["n"] == 3


async def test_supabase_py_with_a_publishable_key(project: LocalSupabase, owner: psycopg.Connection) -> None:
    client: AsyncClient = await acreate_client(project.url, project.publishable_key)
    try:
        await client.realtime.set_auth(project.mint("authenticated", USER))
        heard = Heard()
        channel = client.channel("room:open", {"config": {"private": True}})  # type: ignore[typeddict-item]
        await subscribe(channel.on_broadcast("ev", heard))
        send(owner, "room:open", {"n": 1})
        assert (await heard.next())["payload"]["n"] == 1
    finally:
        await client.realtime.close()


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_supabase_js(project: LocalSupabase, owner: psycopg.Connection, vsn: str, tmp_path: Path) -> None:
    """The script subscribes, asks for messages of the database on its standard output, and prints what it heard."""
    script = Path(__file__).with_name("supabase_js.mjs")
    process = await asyncio.create_subprocess_exec(
        str(project.tools.node),
        str(script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "NODE_MODULES": str(project.tools.node_modules),
            "SUPABASE_URL": project.url,
            "SUPABASE_KEY": project.publishable_key,
            "TOKEN": project.mint("authenticated", USER),
            "TOKEN_2": project.mint("authenticated", USER, session_id="refreshed"),
            "VSN": vsn,
        },
    )
    assert process.stdout is not None
    heard: dict[str, Any] = {}
    async with asyncio.timeout(60):
        async for line in process.stdout:
            told = json.loads(line)
            if "send" in told:
                send(owner, **told["send"])
            else:
                heard |= told
        assert await process.wait() == 0
    assert heard["public"] == [{"x": 1}]
    assert heard["own"] == [{"x": 1}]
    assert heard["ack"] == "ok"
    assert [payload["n"] for payload in heard["private"]] == [1, 2]
    assert heard["presence"] == [["js", "Node"]]
    assert heard["http"] == [{"via": "http"}]
    assert heard["refused"] == "CHANNEL_ERROR"
