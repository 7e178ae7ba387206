"""What happens at the same time: two connections, real transactions, nobody waits for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.sql.world import DRIVER, OTHER_DRIVER, OTHER_STATION, STATION, World, iso, populate

BOTH = (STATION, OTHER_STATION)


@pytest.fixture
def worlds(cluster: LocalSupabase, template: str) -> Iterator[tuple[World, World]]:
    """Two connections to one database; both stations are online."""
    with cluster.fresh_database(template) as url, ExitStack() as stack:
        one, two = (World(stack.enter_context(psycopg.connect(url, autocommit=True))) for _ in range(2))
        populate(one.db)
        one.heartbeat()
        for station in BOTH:
            one.connect(station)
            one.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}, station, -60)
        two.now, two.connections = one.now, one.connections
        yield one, two


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def behind(holder: World, waiter: World, call: Callable[[], Any], pool: ThreadPoolExecutor) -> Future[Any]:
    """Begin `call` on the waiter's connection; returns once it waits for a lock that the holder's transaction has."""
    future = pool.submit(call)
    pid = waiter.db.info.backend_pid
    while not holder.one("select %s = any (array(select pid from pg_locks where not granted))", pid):
        assert not future.done(), future.result()
    return future


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Results of the calls, begun together, each in a thread of its own."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def stop_event(world: World, transaction: int, meter: int = 3000, station: str = STATION) -> dict[str, Any]:
    payload = {"transactionId": transaction, "meterStop": meter, "timestamp": iso(world.at())}
    return world.call("StopTransaction", payload, station)


def test_stop_that_two_connections_report_at_the_same_time_is_settled_once(
    worlds: tuple[World, World], pool: ThreadPoolExecutor
) -> None:
    one, two = worlds
    transaction = one.begin()
    with one.db.transaction():
        (first,) = one.ingest(stop_event(one, transaction))
        future = behind(one, two, lambda: two.ingest(stop_event(two, transaction)), pool)
    (second,) = future.result()
    assert first["result"] == second["result"]
    assert first["log"] == second["log"]
    assert one.count("realtime.messages", "topic like 'session:%%' and payload ->> 'status' = 'stopped'") == 1


def test_start_that_two_connections_report_at_the_same_time_is_one_transaction(worlds: tuple[World, World]) -> None:
    one, two = worlds
    answers = at_once(one.start, two.start)
    assert answers[0] == answers[1]
    assert one.count("charging_sessions") == 1


def test_stop_from_the_station_and_stop_charge_at_the_same_time(
    worlds: tuple[World, World], pool: ThreadPoolExecutor
) -> None:
    one, two = worlds
    transaction = one.begin()
    session_id = one.session(transaction)["id"]
    with one.db.transaction():
        one.ingest(stop_event(one, transaction))
        future = behind(one, two, lambda: two.rpc(DRIVER, "stop_charge", session_id=session_id), pool)
    assert future.result()["status"] == "stopped"
    assert one.count("commands") == 0


def test_batches_in_opposite_order_do_not_dead_lock(worlds: tuple[World, World]) -> None:
    one, two = worlds
    for n in range(15):
        transactions = {s: one.begin(at=-60 + n, station=s, meter=n) for s in BOTH}

        def batch(world: World, stations: tuple[str, ...], ids: dict[str, int] = transactions, n: int = n) -> list[Any]:
            first, last = stations
            values = [{"timestamp": iso(world.at(n)), "sampledValue": [{"value": str(n + 100)}]}]
            meter = {"connectorId": 1, "transactionId": ids[first], "meterValue": values}
            return world.ingest(world.call("MeterValues", meter, first), stop_event(world, ids[last], n + 200, last))

        for replies in at_once(lambda: batch(one, BOTH), lambda: batch(two, BOTH[::-1])):
            assert all("result" in reply for reply in replies), replies
        assert one.count("charging_sessions", "settled_at is null") == 0
    assert one.one("select deadlocks from pg_stat_database where datname = current_database()") == 0


def test_batches_with_a_bad_event_in_opposite_order_do_not_dead_lock(worlds: tuple[World, World]) -> None:
    one, two = worlds
    transactions = {s: one.begin(station=s) for s in BOTH}

    def batch(world: World, stations: tuple[str, ...]) -> list[Any]:
        bad = world.event("answer", command_id="not a uuid", outcome="result")
        return world.ingest(bad, *(stop_event(world, transactions[s], station=s) for s in stations))

    for replies in at_once(lambda: batch(one, BOTH), lambda: batch(two, BOTH[::-1])):
        assert ["error" in reply for reply in replies] == [True, False, False]
    assert one.count("charging_sessions", "settled_at is not null") == 2


def test_housekeeping_waits_for_nobody(worlds: tuple[World, World]) -> None:
    """What another transaction works on is left for the next time."""
    one, two = worlds
    pending = one.rpc(DRIVER, "start_charge", station_id=STATION)
    one.sql("update commands set expires_at = now() - interval '1 s'")
    with one.db.transaction():
        one.sql("select from charging_sessions for update")
        one.sql("select from commands for update")
        one.sql("select from private.station_connections for update")
        two.sql("set lock_timeout = '1s'")
        assert two.heartbeat()["close"] == []
        assert one.session(pending["transaction_id"])["status"] == "pending"
    two.heartbeat()
    assert one.session(pending["transaction_id"])["status"] == "error"
    assert one.one("select status from commands") == "expired"


def test_two_who_start_at_the_same_time_get_two_connectors(worlds: tuple[World, World]) -> None:
    one, two = worlds
    sessions = at_once(
        lambda: one.rpc(DRIVER, "start_charge", station_id=STATION),
        lambda: two.rpc(OTHER_DRIVER, "start_charge", station_id=STATION),
    )
    assert {s["connector_id"] for s in sessions} == {1, 2}


def test_who_presses_twice_at_the_same_time_gets_one_session(worlds: tuple[World, World]) -> None:
    one, _ = worlds
    sessions = at_once(*(lambda w=w: w.rpc(DRIVER, "start_charge", station_id=STATION) for w in worlds))
    assert sessions[0]["id"] == sessions[1]["id"]
    assert one.count("commands") == 1


def test_two_claims_at_the_same_time_give_each_command_once(worlds: tuple[World, World]) -> None:
    one, two = worlds
    for n in range(10):
        for station in BOTH:
            one.rpc("service_role", "send_command", station_id=station, action="ClearCache")
        claimed = [command["command_id"] for claim in at_once(one.claim, two.claim) for command in claim]
        assert len(claimed) == len(set(claimed)) == 2, n
        for command_id in claimed:
            one.answer(command_id, "result", payload={"status": "Accepted"})
    assert one.count("commands", "status = 'accepted' and attempts = 1") == 20


def test_claim_skips_a_command_that_is_being_called_off(worlds: tuple[World, World]) -> None:
    one, two = worlds
    pending = one.rpc(DRIVER, "start_charge", station_id=STATION)
    with one.db.transaction():
        one.rpc(DRIVER, "stop_charge", session_id=pending["id"])
        two.sql("set lock_timeout = '1s'")
        assert two.claim() == []
    assert two.claim() == []
