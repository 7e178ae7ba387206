from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.fakes.station import FakeStation
from tests.fakes.supabase import FakeSupabase
from tests.unit.conftest import LogWatch, running


def command(connection_id: str, action: str = "Reset", **changes: Any) -> dict[str, Any]:
    return {
        "command_id": str(uuid.uuid4()),
        "station_id": "TEST-001",
        "connection_id": connection_id,
        "action": action,
        "payload": {"type": "Soft"},
        "timeout_s": 10,
        "expires_at": "2030-01-01T00:00:00Z",
        **changes,
    }


async def connection(supabase: FakeSupabase) -> str:
    name: str = (await supabase.event("connect"))["connection_id"]
    return name


async def test_a_wake_up_brings_the_command_to_the_station_and_its_answer_back(supabase: FakeSupabase) -> None:
    async with (
        running(supabase, claim_interval=3600) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        await supabase.joined.wait()
        waiting = command(await connection(supabase))
        supabase.commands = [waiting]
        supabase.topics[0].send("command", {"command_id": waiting["command_id"], "station_id": "TEST-001"})
        assert await station.next_call() == [2, waiting["command_id"], "Reset", {"type": "Soft"}]
        await station.send([3, waiting["command_id"], {"status": "Accepted"}])
        answer = await supabase.event("answer")
    assert {key: answer[key] for key in ("command_id", "outcome", "payload", "station_id")} == {
        "command_id": waiting["command_id"],
        "outcome": "result",
        "payload": {"status": "Accepted"},
        "station_id": "TEST-001",
    }


async def test_after_a_lost_wake_up_the_bridge_looks_more_often_for_a_while(supabase: FakeSupabase) -> None:
    """Realtime drops what the database sends while a project is above its rate: the next one may be lost as well."""
    async with (
        running(supabase, claim_interval=1) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
        asyncio.timeout(20),  # 30 commands, a second each, would not end before
    ):
        await supabase.joined.wait()
        for _ in range(30):
            waiting = command(await connection(supabase))
            supabase.commands = [waiting]
            assert (await station.next_call())[1] == waiting["command_id"]
            await station.send([3, waiting["command_id"], {"status": "Accepted"}])


async def test_commands_are_found_without_realtime(supabase: FakeSupabase) -> None:
    supabase.realtime_down = True
    async with (
        running(supabase, claim_interval=0.05) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        supabase.commands = [command(await connection(supabase))]
        assert (await station.next_call())[2] == "Reset"
        assert bridge.readiness()["commands"] == "polling"
        assert bridge.readiness()["ready"]


async def test_a_reply_that_says_more_makes_the_bridge_look(supabase: FakeSupabase) -> None:
    async with (
        running(supabase, claim_interval=3600) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        supabase.commands = [command(await connection(supabase))]
        await station.result("BootNotification", {"chargePointModel": "M", "chargePointVendor": "V"})
        assert (await station.next_call())[2] == "Reset"


async def test_a_command_whose_connection_is_gone_is_left_to_the_database(
    supabase: FakeSupabase, log_watch: LogWatch
) -> None:
    """It was released by the disconnect, or by the connect that followed; an answer would overwrite that."""
    async with (
        running(supabase, claim_interval=0.05) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        supabase.commands = [command("gone")]
        await log_watch.line("Command not answered, the connection is gone")
        supabase.commands = [command(await connection(supabase))]
        await station.next_call()
        await station.socket.close()
        await supabase.event("disconnect")
    assert [event for event in supabase.events if event["kind"] == "answer"] == []


async def test_a_command_whose_connection_is_gone_is_held_until_the_database_knows(
    supabase: FakeSupabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named too long it would be lost where SQL hands it out again and that reply does not arrive."""
    monkeypatch.setattr("ocpp_bridge.commands._RELEASE_S", 0.05)
    async with running(supabase, claim_interval=0.01):
        gone = command("gone")
        supabase.commands = [gone, {"command_id": "unusable"}]
        await supabase.until(lambda: supabase.holding == sorted([gone["command_id"], "unusable"]))
        await supabase.until(lambda: supabase.holding == [])


async def test_an_unanswered_command_has_timed_out_and_its_late_answer_follows(supabase: FakeSupabase) -> None:
    async with (
        running(supabase, claim_interval=0.05) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        waiting = command(await connection(supabase), timeout_s=0.05)
        supabase.commands = [waiting]
        await station.next_call()
        assert (await supabase.event("answer"))["outcome"] == "timeout"
        await station.send([4, waiting["command_id"], "GenericError", "slow", {}])
        late = await supabase.event("answer", outcome="error")
    assert late["error"]["description"] == "slow"


async def test_an_answer_is_delivered_when_supabase_is_back(supabase: FakeSupabase) -> None:
    async with (
        running(supabase, claim_interval=0.05) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        waiting = command(await connection(supabase))
        supabase.commands = [waiting]
        await station.next_call()
        supabase.unavailable = True
        await station.send([3, waiting["command_id"], {"status": "Accepted"}])
        await supabase.until(lambda: any(event["kind"] == "answer" for event in supabase.batches[-1]))
        supabase.unavailable = False
        assert (await supabase.event("answer"))["outcome"] == "result"


async def test_an_unusable_command_is_logged_and_the_others_go_on(supabase: FakeSupabase, log_watch: LogWatch) -> None:
    async with (
        running(supabase, claim_interval=0.05) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        supabase.commands = [{"command_id": "x"}, command(await connection(supabase))]
        assert (await station.next_call())[2] == "Reset"
        await log_watch.line("claim_commands gave an unusable command")
