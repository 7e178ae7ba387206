"""Accounts in transactions that run at the same time: nothing is spent twice, and nobody waits in a circle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.sql.test_accounts import give, money
from tests.sql.test_concurrency import at_once, behind
from tests.sql.world import (
    ACCOUNT,
    ADMIN,
    DRIVER,
    LOCATION,
    OPERATOR,
    OTHER_ACCOUNT,
    OTHER_DRIVER,
    PLAN,
    STATION,
    World,
    iso,
    populate,
    refused,
)

ACCOUNTS = (ACCOUNT, OTHER_ACCOUNT)
STATIONS = [f"FLEET-{n}" for n in range(8)]
CARDS = {ACCOUNT: "FLEET-CARD-1", OTHER_ACCOUNT: "FLEET-CARD-2"}


@pytest.fixture
def worlds(cluster: LocalSupabase, template: str) -> Iterator[tuple[World, World]]:
    """Two connections to one database; eight stations at which the cards of two fleets charge."""
    with cluster.fresh_database(template) as url, ExitStack() as stack:
        one, two = (World(stack.enter_context(psycopg.connect(url, autocommit=True))) for _ in range(2))
        populate(one.db)
        one.heartbeat()
        for account, card in CARDS.items():
            one.sql("insert into id_tags (id_tag, client_id) values (%s, %s)", card, account)
        for station in (STATION, *STATIONS):
            if station != STATION:
                one.sql(
                    "insert into stations (id, location_id, tariff_plan_id, power_capacity) values (%s, %s, %s, 22)",
                    station,
                    LOCATION,
                    PLAN,
                )
                one.sql("insert into connectors (station_id, number) values (%s, 1)", station)
            one.connect(station)
        one.sql("update private.station_connections set booted_at = now()")
        two.now, two.connections = one.now, one.connections
        yield one, two


def deadlocks(world: World) -> int:
    return int(world.one("select deadlocks from pg_stat_database where datname = current_database()"))


def test_batches_with_starts_and_stops_of_the_same_fleets_do_not_dead_lock(worlds: tuple[World, World]) -> None:
    """Each batch has sessions of both accounts, in opposite order; nothing else is shared."""
    one, two = worlds
    registers = count(1000, 100)

    def start(world: World, station: str, card: str) -> dict[str, Any]:
        payload = {"connectorId": 1, "idTag": card, "meterStart": next(registers), "timestamp": iso(world.at(-60))}
        return world.call("StartTransaction", payload, station, -60)

    def stop(world: World, station: str, reply: dict[str, Any]) -> dict[str, Any]:
        payload = {
            "transactionId": reply["result"]["transactionId"],
            "meterStop": next(registers),
            "timestamp": iso(world.at()),
        }
        return world.call("StopTransaction", payload, station)

    def rounds(world: World, stations: list[str], cards: list[str]) -> None:
        for n in range(15):
            replies = world.ingest(*(start(world, s, cards[i % 2]) for i, s in enumerate(stations)))
            bad = [world.event("answer", command_id="nonsense", outcome="result")] if n % 3 == 0 else []
            assert all("result" in r for r in world.ingest(*map(stop, [world] * 4, stations, replies), *bad)[:4])

    cards = list(CARDS.values())
    at_once(lambda: rounds(one, STATIONS[:4], cards), lambda: rounds(two, STATIONS[4:], cards[::-1]))
    assert one.count("charging_sessions", "settled_at is not null and held_amount = 0") == 120
    assert all(money(one, account)[1] == 0 for account in ACCOUNTS)
    assert deadlocks(one) == 0


def test_meter_values_that_hold_more_do_not_dead_lock(worlds: tuple[World, World]) -> None:
    one, two = worlds
    one.sql("update private.settings set open_hold_energy_kwh = 0.1")
    cards = [*CARDS.values(), *CARDS.values()]
    transactions = {
        s: one.begin(tag=card, station=s, meter=1000) for s, card in zip(STATIONS, cards + cards[::-1], strict=True)
    }

    def rounds(world: World, stations: list[str]) -> None:
        for n in range(1, 25):
            values = []
            for station in stations:
                sample = {"timestamp": iso(world.at(n - 60)), "sampledValue": [{"value": str(1000 + n * 300)}]}
                payload = {"connectorId": 1, "transactionId": transactions[station], "meterValue": [sample]}
                values.append(world.call("MeterValues", payload, station, n - 60))
            assert all("result" in reply for reply in world.ingest(*values))

    at_once(lambda: rounds(one, STATIONS[:4]), lambda: rounds(two, STATIONS[:3:-1]))
    assert one.count("ledger_entries", "kind = 'hold'") > 20
    assert deadlocks(one) == 0
    for station, transaction in transactions.items():
        one.stop(transaction, 9000, station=station)
    assert all(money(one, account)[1] == 0 for account in ACCOUNTS)


def test_two_drivers_of_a_fleet_who_press_together_spend_its_money_once(worlds: tuple[World, World]) -> None:
    one, two = worlds
    one.sql("update users set client_id = %s where id = %s", ACCOUNT, OTHER_DRIVER)
    give(one, 100)

    def press(world: World, who: Any, station: str) -> str:
        try:
            world.rpc(who, "start_charge", station_id=station, limit_amount=60)
        except psycopg.ProgrammingError as error:
            return str(json.loads(error.diag.message_primary or "")["code"])
        return "held"

    outcomes = at_once(lambda: press(one, DRIVER, STATIONS[0]), lambda: press(two, OTHER_DRIVER, STATIONS[1]))
    assert sorted(outcomes) == ["OCBAL", "held"]
    assert money(one) == (40, 60)


def test_the_same_payment_reported_twice_at_once_counts_once(worlds: tuple[World, World]) -> None:
    one, two = worlds
    give(one, 0)
    payment = {"client_id": ACCOUNT, "amount": 50, "reference": "pay-1"}
    first, second = at_once(*(lambda w=w: w.rpc(ADMIN, "top_up_account", **payment) for w in (one, two)))
    assert first == second
    assert money(one) == (50, 0)


def test_one_reference_on_two_accounts_at_once_counts_for_one_and_is_refused_to_the_other(
    worlds: tuple[World, World],
) -> None:
    one, two = worlds

    def pay(world: World, account: object) -> str:
        try:
            world.rpc(ADMIN, "top_up_account", client_id=account, amount=50, reference="pay-2")
        except psycopg.ProgrammingError as error:
            return str(json.loads(error.diag.message_primary or "")["code"])
        return "booked"

    with ThreadPoolExecutor(1) as pool:
        with one.db.transaction():
            assert pay(one, ACCOUNT) == "booked"
            other = behind(one, two, lambda: pay(two, OTHER_ACCOUNT), pool)
        assert other.result() == "OCPMT"


def test_housekeeping_leaves_a_hold_whose_account_is_in_use_for_the_next_time(worlds: tuple[World, World]) -> None:
    one, two = worlds
    session = one.rpc(DRIVER, "start_charge", station_id=STATION, limit_amount=60)
    one.sql("update commands set expires_at = now() - interval '1 s'")
    with one.db.transaction():
        one.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=50, reference="pay-1")
        two.sql("set lock_timeout = '1s'")
        two.heartbeat()
        assert two.session(session["transaction_id"])["status"] == "pending"
    two.heartbeat()
    assert two.session(session["transaction_id"])["status"] == "error"
    assert money(one)[1] == 0


def test_stop_waits_for_a_payment_and_then_has_its_money(worlds: tuple[World, World]) -> None:
    one, two = worlds
    give(one, 30)
    transaction = one.begin(station=STATION)
    with ThreadPoolExecutor(1) as pool:
        with one.db.transaction():
            one.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=50, reference="pay-1")
            future = behind(one, two, lambda: two.stop(transaction, 5000), pool)  # 60 KGS
        future.result()
    row = one.session(transaction)
    assert (row["amount"], row["unpaid_amount"]) == (60, 0)


def test_refund_pressed_twice_at_once_is_one(worlds: tuple[World, World]) -> None:
    one, two = worlds
    transaction = one.begin(station=STATION)
    one.stop(transaction, 5000)  # 60 KGS
    refund = {"session_id": str(one.session(transaction)["id"]), "amount": 30, "reason": "x", "reference": "ticket 7"}
    with ThreadPoolExecutor(1) as pool:
        with one.db.transaction():
            first = one.rpc(OPERATOR, "refund_session", **refund)
            second = behind(one, two, lambda: two.rpc(OPERATOR, "refund_session", **refund), pool)
        assert second.result() == first
    assert one.one("select sum(amount) from ledger_entries where kind = 'refund'") == 30


def test_payment_and_waiver_at_once_close_a_bill_once(worlds: tuple[World, World]) -> None:
    one, two = worlds
    give(one, 20)
    transaction = one.begin(station=STATION)
    one.stop(transaction, 5000)  # 60 KGS, of which 40 are missing
    session_id = str(one.session(transaction)["id"])
    with ThreadPoolExecutor(1) as pool:
        with one.db.transaction():
            one.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=15, reference="pay-1")
            waiver = behind(
                one, two, lambda: two.rpc(OPERATOR, "waive_unpaid", session_id=session_id, reason="x"), pool
            )
        assert waiver.result()["amount"] == 25
    assert one.session(transaction)["unpaid_amount"] == 0
    assert money(one) == (0, 0)


def test_late_stop_and_refund_at_once_give_back_what_was_charged(worlds: tuple[World, World]) -> None:
    """The session was ended without its stop and billed a day later; then the stop comes after all."""
    one, two = worlds
    transaction = one.begin(at=-60 * 30, station=STATION)
    one.meter(-60 * 29, 3000, transaction=transaction)
    one.sql(
        "update charging_sessions set status = 'stopped', stop_time = now() - interval '29 h',"
        " provisional_at = now() - interval '25 h'"
    )
    with ThreadPoolExecutor(1) as pool:
        with one.db.transaction():
            one.heartbeat()
            charged = one.session(transaction)["amount"]
            late = behind(one, two, lambda: two.stop(transaction, 9000), pool)
            refund = {"session_id": one.session(transaction)["id"], "amount": charged, "reason": "x"}
            one.rpc(OPERATOR, "refund_session", **refund)
        assert late.result() == {}
    assert one.session(transaction)["amount"] == charged == 30
    assert "stop_differs" in one.session(transaction)["flags"]
    assert money(one)[1] == 0


def test_batch_that_waits_in_a_circle_with_a_change_of_accounts_loses_nothing(worlds: tuple[World, World]) -> None:
    """Rows of clients changed one by one, in the order that ingest does not take; the database ends one of both."""
    one, two = worlds
    for account, station, meter in zip(ACCOUNTS, STATIONS, (1, 2), strict=False):
        one.begin(tag=CARDS[account], station=station, meter=meter * 1000)
    stops = [
        two.call(
            "StopTransaction",
            {"transactionId": s["transaction_id"], "meterStop": 9000, "timestamp": iso(two.at())},
            s["station_id"],
        )
        for s in one.sessions()
    ]
    change = "update clients set credit_limit = 5 where id = %s"
    with ThreadPoolExecutor(1) as pool:
        try:
            with one.db.transaction():
                one.sql(change, max(ACCOUNTS))
                batch = behind(one, two, lambda: two.ingest(*stops), pool)
                one.sql(change, min(ACCOUNTS))
        except psycopg.errors.DeadlockDetected:
            pass  # then PostgREST says 40P01: send it again
        replies = batch.result()
    assert all("result" in reply for reply in replies), replies
    assert one.count("charging_sessions", "settled_at is not null and held_amount = 0") == 2


def test_waiver_and_closing_of_a_session_that_runs_do_not_dead_lock(worlds: tuple[World, World]) -> None:
    """Nothing of it is unpaid, which is no reason to wait for it."""
    one, two = worlds
    session_id = str(one.session(one.begin(station=STATION))["id"])
    with ThreadPoolExecutor(1) as pool, one.db.transaction():
        one.sql("select from charging_sessions where id = %s for update", session_id)  # as close_session()
        waiver = pool.submit(two.rpc, OPERATOR, "waive_unpaid", session_id=session_id, reason="x")
        with refused("OCPAI"):
            waiver.result(5)
        one.sql("select private.lock_accounts(%s)", [ACCOUNT])
    assert deadlocks(one) == 0
