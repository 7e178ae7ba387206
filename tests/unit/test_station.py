"""One connected station: order, repeats, refusals, calls in both directions."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from ocpp_bridge.bridge import Bridge
from ocpp_bridge.errors import ConnectionGone, SupabaseError
from ocpp_bridge.station import Station
from tests.fakes.station import FakeStation
from tests.fakes.supabase import FakeSupabase
from tests.unit.conftest import LogWatch, running

START = {"connectorId": 1, "idTag": "04A1", "meterStart": 120, "timestamp": "2025-01-01T10:00:00Z"}


def connected(bridge: Bridge) -> Station:
    (station,) = bridge.registry
    return station


async def test_a_message_is_answered_with_what_the_database_says(
    bridge: Bridge, supabase: FakeSupabase, station: FakeStation
) -> None:
    supabase.replies["StartTransaction"] = {"result": {"transactionId": 99, "idTagInfo": {"status": "Invalid"}}}
    assert await station.call("StartTransaction", START, message_id="abc") == [
        3, "abc", {"transactionId": 99, "idTagInfo": {"status": "Invalid"}}
    ]  # fmt: skip
    event = await supabase.event("call")
    assert (event["message_id"], event["action"], event["payload"], event["violations"]) == (
        "abc", "StartTransaction", START, []
    )  # fmt: skip
    assert event["received_at"].endswith("+00:00")


async def test_an_error_of_the_database_is_passed_on(supabase: FakeSupabase, station: FakeStation) -> None:
    supabase.replies["Authorize"] = {"error": {"code": "GenericError", "description": "no", "details": {"a": 1}}}
    assert (await station.call("Authorize", {"idTag": "A"}, message_id="x")) == [4, "x", "GenericError", "no", {"a": 1}]


async def test_what_is_not_stored_is_answered_with_internal_error(
    bridge: Bridge, supabase: FakeSupabase, station: FakeStation
) -> None:
    """OCPP 1.6 §3.7.1: a CALLERROR makes the station send a transaction message again."""
    supabase.unavailable = True
    refused = await station.call("StartTransaction", START)
    assert (refused[0], refused[2]) == (4, "InternalError")
    supabase.unavailable = False
    assert (await station.result("StartTransaction", START))["transactionId"] == 7


async def test_messages_of_a_station_are_stored_in_their_order(supabase: FakeSupabase, station: FakeStation) -> None:
    for number in range(20):
        await station.send([2, f"n{number}", "Heartbeat", {}])
    answers = [(await station.next_other())[1] for _ in range(20)]
    assert answers == [f"n{number}" for number in range(20)]
    assert [event["message_id"] for event in supabase.events if event["kind"] == "call"] == answers
    assert all(len([event for event in batch if event["kind"] == "call"]) <= 1 for batch in supabase.batches)


async def test_a_repeat_while_the_first_is_under_way_is_stored_once_and_answered_twice(
    supabase: FakeSupabase, station: FakeStation
) -> None:
    supabase.hold = asyncio.Event()
    frame = [2, "same", "StartTransaction", START]
    await station.send(frame)
    await station.send(frame)
    await station.send([2, "last", "Heartbeat", {}])
    await supabase.until(lambda: supabase.batches[-1][0].get("action") == "StartTransaction")
    supabase.hold.set()
    answers = [await station.next_other() for _ in range(3)]
    assert [answer[1] for answer in answers] == ["same", "same", "last"]
    assert answers[0] == answers[1]
    assert len([event for event in supabase.events if event.get("action") == "StartTransaction"]) == 1


async def test_the_same_id_with_another_content_is_another_message(
    supabase: FakeSupabase, station: FakeStation
) -> None:
    """Stations that number every message 1."""
    supabase.hold = asyncio.Event()
    await station.send([2, "1", "Heartbeat", {}])
    await station.send([2, "1", "StartTransaction", START])
    supabase.hold.set()
    answers = [await station.next_other() for _ in range(2)]
    assert [sorted(answer[2]) for answer in answers] == [["currentTime"], ["idTagInfo", "transactionId"]]


async def test_violations_are_listed_and_tolerated(supabase: FakeSupabase, station: FakeStation) -> None:
    await station.result("StartTransaction", {**START, "idTag": "X" * 30, "extra": True})
    event = await supabase.event("call")
    assert sorted((violation["code"], violation["path"]) for violation in event["violations"]) == [
        ("PropertyConstraintViolation", ""),
        ("PropertyConstraintViolation", "idTag"),
    ]


async def test_a_strict_station_is_refused_what_violates_the_schema(supabase: FakeSupabase, bridge: Bridge) -> None:
    supabase.stations["TEST-001"] = {"strict": True}
    async with FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station:
        answer = await station.call("StartTransaction", {**START, "connectorId": "one"})
        assert (answer[0], answer[2]) == (4, "TypeConstraintViolation")
        await station.result("StartTransaction", START)
    assert len([event for event in supabase.events if event["kind"] == "call"]) == 1
    assert (await supabase.event("anomaly"))["code"] == "TypeConstraintViolation"


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        ("not json", [4, "-1", "FormationViolation"]),
        ('[2,"9","Heartbeat",{]', [4, "9", "FormationViolation"]),
        ('[2,"9"]', [4, "9", "ProtocolError"]),
        ('[2,"9","Heartbeat","x"]', [4, "9", "FormationViolation"]),
        ('[2,"9","MakeCoffee",{}]', [4, "9", "NotImplemented"]),
        ('[2,"9","Reset",{"type":"Soft"}]', [4, "9", "NotSupported"]),
        (b'[2,"9","Heartbeat",{}]', [3, "9", {"currentTime": "2025-01-01T00:00:00Z"}]),
        (b"\xff\xfe", [4, "-1", "FormationViolation"]),
        ('[2,9,"Heartbeat",null]', [3, 9, {"currentTime": "2025-01-01T00:00:00Z"}]),
    ],
)
async def test_odd_frames_get_the_right_answer_and_the_connection_lives(
    supabase: FakeSupabase, station: FakeStation, frame: Any, answer: list[Any]
) -> None:
    await station.send(frame)
    assert (await station.next_other())[:3] == answer
    await station.result("Heartbeat")
    if answer[0] == 4:
        noted = await supabase.event("anomaly")
        assert noted["code"] == answer[2]


@pytest.mark.parametrize(
    "frame", ["", "  ", '[7,"1","x",{}]', '[3,"nothing",{}]', '[4,"nothing","x","",{}]', '[3,"1","x"]']
)
async def test_frames_that_want_no_answer_get_none(supabase: FakeSupabase, station: FakeStation, frame: str) -> None:
    await station.send(frame)
    await station.result("Heartbeat")
    assert station.others.empty()
    assert (await supabase.event("anomaly"))["frame"] == frame


async def test_anomalies_of_a_station_are_rate_limited(supabase: FakeSupabase, station: FakeStation) -> None:
    for _ in range(50):
        await station.send("rubbish")
    for _ in range(50):
        await station.next_other()
    await station.result("Heartbeat")
    assert len([event for event in supabase.events if event["kind"] == "anomaly"]) == 1


async def test_more_calls_than_the_queue_holds_are_refused_at_once(supabase: FakeSupabase) -> None:
    async with (
        running(supabase, max_queued_calls=3) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        supabase.hold = asyncio.Event()
        await station.send([2, "0", "Heartbeat", {}])
        await supabase.until(lambda: supabase.batches[-1][0].get("message_id") == "0")
        for number in range(1, 6):
            await station.send([2, str(number), "Heartbeat", {}])
        supabase.hold.set()
        answers = [await station.next_other() for _ in range(6)]
    assert {answer[1]: answer[0] for answer in answers} == {"0": 3, "1": 3, "2": 3, "3": 3, "4": 4, "5": 4}


async def test_the_log_line_of_the_database_appears_under_the_stations_name(
    supabase: FakeSupabase, station: FakeStation, log_watch: LogWatch
) -> None:
    supabase.replies["StopTransaction"] = {
        "result": {},
        "log": {
            "level": "INFO",
            "message": "StopTransaction: energy=25.5kWh, amount=382.5 KGS",
            "extra": {"amount": "382.5", "message": "x"},
        },
    }
    await station.result("StopTransaction", {"transactionId": 7, "meterStop": 1, "timestamp": "2025-01-01T10:00:00Z"})
    record = await log_watch.line("StopTransaction: energy=25.5kWh, amount=382.5 KGS")
    assert (record.name, record.levelname, record.__dict__["amount"]) == ("ChargePoint.TEST-001", "INFO", "382.5")


async def test_a_stations_endless_text_does_not_fill_the_log(
    supabase: FakeSupabase, station: FakeStation, log_watch: LogWatch
) -> None:
    line = {"level": "INFO", "message": f"BootNotification: vendor={'x' * 5000}"}
    supabase.replies["Heartbeat"] = {"result": {}, "log": line}
    await station.result("Heartbeat", {})
    await log_watch.line(line["message"][:300])


async def test_one_poisoned_event_does_not_touch_the_others(bridge: Bridge, supabase: FakeSupabase) -> None:
    supabase.stations = {f"S{number}": {} for number in range(8)}
    supabase.poison = lambda event: SupabaseError("400") if event.get("message_id") == "bad" else None
    url = f"ws://127.0.0.1:{bridge.port}/ws/"
    stations = [await FakeStation(f"{url}S{number}").__aenter__() for number in range(8)]
    supabase.hold = asyncio.Event()
    calls = [
        asyncio.create_task(station.call("Heartbeat", message_id="bad" if number == 5 else f"ok{number}"))
        for number, station in enumerate(stations)
    ]
    await supabase.until(lambda: supabase.batches and bridge.ingest._pending)
    supabase.hold.set()
    answers = await asyncio.gather(*calls)
    assert [answer[0] for answer in answers] == [3, 3, 3, 3, 3, 4, 3, 3]
    for station in stations:
        await station.__aexit__(None, None, None)


# --- calls to the station ---


async def test_calls_of_both_directions_may_cross(bridge: Bridge, supabase: FakeSupabase, station: FakeStation) -> None:
    """OCPP-J 1.6 §4.1.1: a station may send its own CALL before it answers ours."""
    await station.result("Heartbeat")
    calling = asyncio.create_task(connected(bridge).call("c1", "RemoteStartTransaction", {"idTag": "A"}, 10))
    assert await station.next_call() == [2, "c1", "RemoteStartTransaction", {"idTag": "A"}]
    assert (await station.result("Authorize", {"idTag": "A"}))["idTagInfo"]["status"] == "Accepted"
    await station.send([3, "c1", {"status": "Accepted"}])
    answer = await calling
    assert (answer.outcome, answer.payload) == ("result", {"status": "Accepted"})


async def test_one_call_is_outstanding_at_a_time(bridge: Bridge, station: FakeStation) -> None:
    await station.result("Heartbeat")
    calls = [asyncio.create_task(connected(bridge).call(f"c{number}", "ClearCache", {}, 10)) for number in range(2)]
    assert (await station.next_call())[1] == "c0"
    await station.result("Heartbeat")  # what the bridge sends comes in order: a second call would be here by now
    assert station.calls.empty()
    await station.send([3, "c0", {}])
    assert (await station.next_call())[1] == "c1"
    await station.send([3, "c1", {}])
    assert [(await call).outcome for call in calls] == ["result", "result"]


@pytest.mark.parametrize("name", ["c1", "-1", ""])
async def test_a_callerror_ends_the_call_also_without_its_id(bridge: Bridge, station: FakeStation, name: str) -> None:
    await station.result("Heartbeat")
    calling = asyncio.create_task(connected(bridge).call("c1", "Reset", {"type": "Soft"}, 10))
    await station.next_call()
    await station.send([4, name, "NotSupported", "no", {}])
    answer = await calling
    assert (answer.outcome, answer.error) == ("error", {"code": "NotSupported", "description": "no", "details": {}})


async def test_an_unusable_answer_ends_the_call(bridge: Bridge, station: FakeStation) -> None:
    await station.result("Heartbeat")
    calling = asyncio.create_task(connected(bridge).call("c1", "Reset", {"type": "Soft"}, 10))
    await station.next_call()
    await station.send([3, "c1", "yes"])
    answer = await calling
    assert answer.outcome == "error"
    assert answer.error is not None
    assert answer.error["code"] == "FormationViolation"


async def test_a_late_answer_is_stored_as_a_further_answer(
    bridge: Bridge, supabase: FakeSupabase, station: FakeStation
) -> None:
    await station.result("Heartbeat")
    assert (await connected(bridge).call("c1", "Reset", {"type": "Soft"}, 0.01)).outcome == "timeout"
    await station.next_call()
    await station.send([3, "c1", {"status": "Accepted"}])
    event = await supabase.event("answer")
    assert (event["command_id"], event["outcome"], event["payload"]) == ("c1", "result", {"status": "Accepted"})


async def test_a_call_ends_when_the_connection_does(bridge: Bridge, station: FakeStation) -> None:
    await station.result("Heartbeat")
    link = connected(bridge)
    calling = asyncio.create_task(link.call("c1", "Reset", {"type": "Soft"}, 10))
    await station.next_call()
    await station.socket.close()
    with pytest.raises(ConnectionGone):
        await calling
    with pytest.raises(ConnectionGone):
        await link.call("c2", "Reset", {"type": "Soft"}, 10)


async def test_a_station_alive_but_deaf_is_made_to_reconnect_once(
    bridge: Bridge, supabase: FakeSupabase, station: FakeStation
) -> None:
    """Field notes 5: heartbeats come, every CALL times out until the station reconnects."""

    async def two_calls_without_answer(link: FakeStation) -> Station:
        await link.result("Heartbeat")
        this = connected(bridge)
        for number in range(2):
            calling = asyncio.create_task(this.call(f"c{number}", "ClearCache", {}, 0.2))
            await link.next_call()
            await link.result("Heartbeat")
            assert (await calling).outcome == "timeout"
        return this

    await two_calls_without_answer(station)
    assert await station.closed() == 1000
    await supabase.event("disconnect")
    async with FakeStation(station.url) as again:
        this = await two_calls_without_answer(again)
        await again.result("Heartbeat")  # a reconnect did not help: not done again
        assert this._closing is None


# --- signs of life ---


async def silent(url: str, **options: Any) -> FakeStation:
    return await FakeStation(url, **options).__aenter__()


async def test_a_station_that_answered_a_ping_once_and_no_more_is_closed(supabase: FakeSupabase) -> None:
    supabase.stations["TEST-001"] = {"ping_interval_s": 0.05, "ping_timeout_s": 0.05}
    async with running(supabase, close_timeout=0.1) as bridge:
        station = await silent(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001")
        link = connected(bridge)
        pong = await link.socket.ping()
        async with asyncio.timeout(10):
            await pong  # pongs come in order: the one before has been seen
        station.socket.transport.pause_reading()
        assert (await supabase.event("disconnect"))["reason"] == "no pong"
        station.socket.transport.abort()
        await station.__aexit__(None, None, None)


async def test_a_station_that_never_pongs_but_sends_stays(supabase: FakeSupabase) -> None:
    """EVduty and EN+ know no ping (field notes 5)."""
    supabase.stations["TEST-001"] = {"ping_interval_s": 0.02, "ping_timeout_s": 0.02}
    async with running(supabase) as bridge:
        reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
        writer.write(
            b"GET /ws/TEST-001 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        pings = 0
        async with asyncio.timeout(10):
            while pings < 5:
                head = await reader.readexactly(2)
                await reader.readexactly(head[1])
                pings += head[0] == 0x89
        assert connected(bridge).socket.state.name == "OPEN"
        assert len(connected(bridge).socket.pong_waiters) <= 1
        writer.close()
        await writer.wait_closed()
        await supabase.event("disconnect")


async def test_a_station_silent_for_three_heartbeats_is_closed(supabase: FakeSupabase) -> None:
    supabase.stations["TEST-001"] = {"ping_interval_s": None, "ping_timeout_s": None}
    unchecked = {"heartbeat_interval": 0.02}  # shorter than the settings allow
    async with (
        running(supabase, unchecked=unchecked) as bridge,
        FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station,
    ):
        assert await station.closed() == 1001
        assert (await supabase.event("disconnect"))["reason"] == "no sign of life"


async def test_json_of_the_wire_is_compact_ascii(station: FakeStation, supabase: FakeSupabase) -> None:
    supabase.replies["DataTransfer"] = {"result": {"status": "Accepted", "data": "Бишкек"}}
    await station.send(json.dumps([2, "1", "DataTransfer", {"vendorId": "v"}]))
    assert (await station.next_other())[2]["data"] == "Бишкек"


async def test_a_bug_in_a_task_of_a_connection_is_logged(
    bridge: Bridge, log_watch: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Station) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Station, "_keep_alive", broken)
    async with FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station:
        await station.result("Heartbeat")  # it is served all the same
    line = await log_watch.line("Task of a connection broke")
    assert (line.levelname, line.station_id) == ("ERROR", "TEST-001")  # type: ignore[attr-defined]


async def test_a_connection_that_ends_while_a_pong_is_awaited_is_no_error(
    supabase: FakeSupabase, log_watch: LogWatch
) -> None:
    supabase.stations["TEST-001"] = {"ping_interval_s": 0.01, "ping_timeout_s": 20}
    async with running(supabase) as bridge, FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station:
        await station.result("Heartbeat")
        station.socket.transport.pause_reading()  # so no pong
        async with asyncio.timeout(10):
            while not connected(bridge).socket.pong_waiters:  # noqa: ASYNC110 - websockets tells nobody
                await asyncio.sleep(0)
        station.socket.transport.abort()
        await log_watch.line("Station disconnected")
    assert [record.message for record in log_watch.records if record.levelno >= logging.ERROR] == []
