from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.station import FakeStation
from tests.fakes.supabase import FakeSupabase, FakeTopic
from tests.unit.conftest import running
from tests.unit.test_commands import command, connection


async def test_a_lost_topic_is_joined_again_and_commands_are_claimed(supabase: FakeSupabase) -> None:
    async with (
        running(supabase, claim_interval=3600) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        await supabase.joined.wait()
        waiting = command(await connection(supabase))
        supabase.joined.clear()
        supabase.commands = [waiting]
        supabase.topics[0].lose("phx_close")
        assert (await station.next_call())[1] == waiting["command_id"]
        await supabase.joined.wait()
        assert supabase.topics[0].closed
        assert len(supabase.topics) == 2


async def test_a_topic_that_does_not_answer_is_joined_again(supabase: FakeSupabase) -> None:
    """A half-open socket: the library would not notice."""
    async with running(supabase, realtime_probe_interval=0.05):
        await supabase.joined.wait()
        supabase.joined.clear()
        supabase.topics[0].alive = False
        async with asyncio.timeout(10):
            await supabase.joined.wait()
        assert supabase.topics[0].closed


async def test_a_fresh_token_is_carried_to_realtime(supabase: FakeSupabase) -> None:
    async with running(supabase) as bridge:
        await supabase.joined.wait()
        assert supabase.on_token is not None
        async with asyncio.timeout(10):
            while not supabase.topics[0].tokens:
                supabase.on_token("fresh")
                await asyncio.sleep(0)
        assert supabase.topics[0].tokens[0] == "fresh"
        assert bridge.wake_ups.joined


async def test_the_database_can_disconnect_a_station_by_realtime(supabase: FakeSupabase) -> None:
    async with running(supabase) as bridge, FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station:
        await supabase.joined.wait()
        await station.result("Heartbeat")
        supabase.topics[0].send("disconnect", {"connection_id": await connection(supabase), "station_id": "TEST-001"})
        assert await station.closed() == 1000


async def test_a_token_that_comes_while_the_topic_is_joined_is_not_forgotten(
    supabase: FakeSupabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic would be closed when the former token expires."""
    join = FakeTopic.join

    async def slow_join(topic: FakeTopic, on_message: Callable[[str, dict[str, Any]], None]) -> None:
        assert supabase.on_token is not None
        supabase.on_token("fresh")
        await join(topic, on_message)

    monkeypatch.setattr(FakeTopic, "join", slow_join)
    async with running(supabase):
        await supabase.joined.wait()
        async with asyncio.timeout(10):
            await supabase.topics[0].carried.wait()
        assert supabase.topics[0].tokens == ["fresh"]
