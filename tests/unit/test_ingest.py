from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ocpp_bridge.errors import NotStored, SupabaseError, SupabaseRejected, SupabaseUnavailable
from ocpp_bridge.ingest import Ingest
from ocpp_bridge.metrics import Metrics
from tests.fakes.supabase import FakeSupabase
from tests.unit.conftest import make_settings


def event(station: str, name: str = "1") -> dict[str, Any]:
    return {"kind": "call", "station_id": station, "action": "Heartbeat", "message_id": name}


def make(supabase: FakeSupabase, **changes: Any) -> Ingest:
    return Ingest(supabase, make_settings(**changes), Metrics())


async def test_an_idle_ingest_sends_at_once(supabase: FakeSupabase) -> None:
    ingest = make(supabase)
    reply = await ingest.submit(event("A"))
    assert "currentTime" in reply["result"]
    assert [len(batch) for batch in supabase.batches] == [1]


async def test_events_gather_while_requests_are_under_way(supabase: FakeSupabase) -> None:
    ingest = make(supabase)
    supabase.hold = asyncio.Event()
    calls = [asyncio.create_task(ingest.submit(event(f"S{number}"))) for number in range(150)]
    await supabase.until(lambda: len(supabase.batches) == 3)
    supabase.hold.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in supabase.batches] == [1, 60, 60, 29]


async def test_a_request_that_takes_long_is_joined_by_another_that_is_not_full(supabase: FakeSupabase) -> None:
    """Towards a database far away requests overlap, so that one event does not wait for two journeys."""
    ingest = make(supabase, ingest_spacing=0.02)
    supabase.hold = asyncio.Event()
    calls = [asyncio.create_task(ingest.submit(event(f"S{number}"))) for number in range(3)]
    await supabase.until(lambda: len(supabase.batches) == 2)
    assert [len(batch) for batch in supabase.batches] == [1, 2]
    supabase.hold.set()
    await asyncio.gather(*calls)


async def test_under_load_a_request_waits_for_the_stations_that_were_just_answered(supabase: FakeSupabase) -> None:
    """They come one after the other; the first of them alone would make the others wait for a request of its own."""
    ingest = make(supabase, ingest_linger=1, ingest_spacing=0.5)  # longer than a busy machine stalls

    async def station(number: int, messages: int) -> None:
        for message in range(messages):
            await ingest.submit(event(f"S{number}", str(message)))
            for _ in range(number):  # each a little later than the one before
                await asyncio.sleep(0)

    supabase.hold = asyncio.Event()
    stations = [asyncio.create_task(station(number, 3)) for number in range(20)]
    await supabase.until(lambda: len(supabase.batches) == 2)
    supabase.hold.set()
    await asyncio.gather(*stations)
    sizes = [len(batch) for batch in supabase.batches]
    assert sizes[:2] == [1, 19]
    assert sizes[2] >= 19, "not the first of them alone"
    assert sizes[3] >= 19


async def test_under_load_two_requests_overlap_each_with_half_of_the_stations(supabase: FakeSupabase) -> None:
    """So that the bridge parses answers and stations' messages while the database stores the other half."""
    ingest = make(supabase, ingest_linger=1, ingest_spacing=0.5)  # longer than a busy machine stalls

    async def station(number: int) -> None:
        for message in range(3):
            await ingest.submit(event(f"S{number}", str(message)))

    supabase.hold = asyncio.Event()
    stations = [asyncio.create_task(station(number)) for number in range(48)]
    await supabase.until(lambda: len(supabase.batches) == 2)
    held, supabase.hold = supabase.hold, asyncio.Event()
    held.set()  # the first two are answered, those that follow are not
    await supabase.until(lambda: len(supabase.batches) == 4)
    assert [len(batch) for batch in supabase.batches] == [1, 47, 24, 24]
    supabase.hold.set()
    await asyncio.gather(*stations)


async def test_under_load_nobody_waits_for_stations_that_stay_silent(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_linger=0.01)
    await asyncio.gather(*(ingest.submit(event(f"S{number}")) for number in range(20)))
    await ingest.submit(event("S0", "2"))
    assert [len(batch) for batch in supabase.batches] == [1, 19, 1]


async def test_events_of_one_station_never_overtake_each_other(supabase: FakeSupabase) -> None:
    """Its id may be spelled differently in the URL; the order holds all the same."""
    ingest = make(supabase, ingest_in_flight=4)
    supabase.hold = asyncio.Event()
    calls = [asyncio.create_task(ingest.submit(event("a" if number % 2 else "A", str(number)))) for number in range(10)]
    other = asyncio.create_task(ingest.submit(event("B")))
    await supabase.until(lambda: len(supabase.batches) == 2)
    assert [[entry["station_id"] for entry in batch] for batch in supabase.batches] == [["A"], ["B"]]
    supabase.hold.set()
    await asyncio.gather(*calls, other)
    stored = [entry["message_id"] for entry in supabase.events if entry["station_id"] != "B"]
    assert stored == [str(number) for number in range(10)]


async def test_a_large_event_does_not_share_its_request(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_in_flight=1, ingest_batch_bytes=100_000)
    supabase.hold = asyncio.Event()
    sizes = [300, 300, 90_000, 20_000, 5_000_000, 300]
    calls = [asyncio.create_task(ingest.submit(event(f"S{number}"), size)) for number, size in enumerate(sizes)]
    await supabase.until(lambda: supabase.batches)
    supabase.hold.set()
    await asyncio.gather(*calls)
    assert [[entry["station_id"] for entry in batch] for batch in supabase.batches] == [
        ["S0"], ["S1", "S2"], ["S3"], ["S4"], ["S5"]
    ]  # fmt: skip


async def test_a_short_absence_of_supabase_goes_unnoticed(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_retry_window=10)
    failures = iter([SupabaseUnavailable("once"), SupabaseUnavailable("twice")])
    supabase.poison = lambda _: next(failures, None)
    assert "result" in await ingest.submit(event("A"))
    assert len(supabase.batches) == 3


async def test_after_the_retry_window_the_event_is_not_stored(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_retry_window=0.3)
    supabase.unavailable = True
    with pytest.raises(NotStored):
        await ingest.submit(event("A"))
    assert len(supabase.batches) == 2
    supabase.unavailable = False
    assert "result" in await ingest.submit(event("A"))


async def test_while_supabase_is_away_one_request_tries(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_retry_window=0)
    supabase.unavailable = True
    with pytest.raises(NotStored):
        await ingest.submit(event("A"))
    supabase.batches.clear()
    supabase.hold = asyncio.Event()
    calls = [asyncio.create_task(ingest.submit(event(f"S{number}"))) for number in range(5)]
    await supabase.until(lambda: supabase.batches)
    supabase.unavailable = False
    supabase.hold.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in supabase.batches] == [1, 4]


async def test_a_refused_request_is_halved_until_the_guilty_event_stands_alone(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_in_flight=1)
    supabase.poison = lambda entry: SupabaseError("400") if entry["station_id"] in ("S3", "S7") else None
    supabase.hold = asyncio.Event()
    calls = [asyncio.create_task(ingest.submit(event(f"S{number}"))) for number in range(20)]
    await supabase.until(lambda: supabase.batches)
    supabase.hold.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, NotStored)] == [3, 7]
    assert len({entry["station_id"] for entry in supabase.events}) == 18


async def test_a_bridge_that_is_rejected_stores_nothing(supabase: FakeSupabase) -> None:
    ingest = make(supabase)
    supabase.poison = lambda _: SupabaseRejected("OCBRG")
    with pytest.raises(NotStored, match="OCBRG"):
        await ingest.submit(event("A"))


async def test_the_queue_is_bounded(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_queue=100, ingest_in_flight=1)
    supabase.hold = asyncio.Event()
    calls = [asyncio.create_task(ingest.submit(event(f"S{number}"))) for number in range(102)]
    await supabase.until(lambda: supabase.batches)
    with pytest.raises(NotStored, match="too many"):
        await ingest.submit(event("late"))
    supabase.hold.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, NotStored) for outcome in outcomes) == 1


async def test_a_cancelled_submitter_harms_nobody(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_in_flight=1)
    supabase.hold = asyncio.Event()
    calls = [asyncio.create_task(ingest.submit(event(f"S{number}"))) for number in range(4)]
    await supabase.until(lambda: supabase.batches)
    calls[0].cancel()
    calls[2].cancel()
    supabase.hold.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(outcome, dict) for outcome in outcomes] == [False, True, False, True]
    assert [entry["station_id"] for entry in supabase.events] == ["S0", "S1", "S3"]


async def test_close_waits_for_what_is_under_way_and_refuses_the_rest(supabase: FakeSupabase) -> None:
    ingest = make(supabase, ingest_in_flight=1)
    supabase.hold = asyncio.Event()
    first, second = (asyncio.create_task(ingest.submit(event(name))) for name in ("A", "B"))
    await supabase.until(lambda: supabase.batches)
    closing = asyncio.create_task(ingest.close())
    supabase.hold.set()
    await closing
    assert "result" in await first
    with pytest.raises(NotStored, match="shutting down"):
        await second
    with pytest.raises(NotStored, match="shutting down"):
        await ingest.deliver(event("C"))
