"""Limits, and the money of an account, as meter values arrive: a warning at 80 %, a stop before the next one passes."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.sql.test_accounts import entries, give, money, press, run
from tests.sql.world import (
    ACCOUNT,
    ADMIN,
    CARD,
    DRIVER,
    OPENING,
    PLAN,
    World,
    iso,
    sampled,
)

Row = dict[str, Any]


def report(world: World, transaction: int, minutes: float, energy_wh: int, power_w: float = 11_000) -> Row:
    """A meter value so many minutes after the start at -60; the whole reply."""
    value = {
        "timestamp": iso(world.at(-60 + minutes)),
        "sampledValue": [sampled(1000 + energy_wh), sampled(power_w, "Power.Active.Import", "W")],
    }
    payload = {"connectorId": 1, "transactionId": transaction, "meterValue": [value]}
    (reply,) = world.ingest(world.call("MeterValues", payload, received=-60 + minutes))
    return reply


def stops(world: World) -> list[Row]:
    return world.sql("select * from commands where action = 'RemoteStopTransaction' order by created_at")


def warnings(world: World) -> list[Row]:
    return [message["payload"] for message in world.topics("session:") if message["event"] == "limit_warning"]


def begin(world: World, **limits: object) -> int:
    return run(world, press(world, **limits))


# --- the stop -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "before_wh", "at_wh"),
    [
        ({"limit_energy_kwh": 2}, 1800, 1900),  # 11 kW: 183 Wh to the next minute
        ({"limit_amount": 30}, 1800, 1900),
        ({"limit_energy_kwh": 50, "limit_amount": 30}, 1800, 1900),
        ({"limit_energy_kwh": 2, "limit_amount": 500}, 1800, 1900),
    ],
)
def test_station_is_told_to_stop_before_the_next_value_passes_the_limit(
    world: World, limits: Row, before_wh: int, at_wh: int
) -> None:
    transaction = begin(world, **limits)
    report(world, transaction, 1, before_wh - 184)
    assert "more" not in report(world, transaction, 2, before_wh)
    assert stops(world) == []
    assert report(world, transaction, 3, at_wh) == {"result": {}, "more": True}
    (stop,) = stops(world)
    assert (stop["status"], stop["payload"]) == ("queued", {"transactionId": transaction})
    assert world.session(transaction)["limit_reached_at"] is not None
    assert [message["event"] for message in world.topics("bridge:")][-1] == "command"


def test_first_value_looks_no_further_ahead_than_it_is_after_the_start(world: World) -> None:
    """A small limit is not given up at the first sample: 6 s at 11 kW are 18 Wh, a minute would be 183."""
    transaction = begin(world, limit_energy_kwh=Decimal("0.1"))
    report(world, transaction, 0.1, 10)
    assert stops(world) == []


def test_next_value_is_as_far_ahead_as_the_last_was_behind(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=2)
    for seconds in range(10, 70, 10):
        report(world, transaction, seconds / 60, seconds * 31)  # 31 Wh in 10 s
    assert stops(world) == []
    report(world, transaction, 90 / 60, 1960)  # half a minute: 92 Wh more
    assert len(stops(world)) == 1


def test_quarter_of_an_hour_between_values_ends_no_charge_at_its_first(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=3)
    report(world, transaction, 15, 1000, 11_000)  # the next quarter of an hour would give 2.75 kWh
    assert stops(world) == []


def drawing(world: World, energy_wh: int, seconds: int, **limits: object) -> int:
    """Samples every 15 minutes; the last came `seconds` ago with this energy at 11 kW."""
    transaction = begin(world, **limits)
    report(world, transaction, 60 - seconds / 60 - 15, energy_wh // 2)
    report(world, transaction, 60 - seconds / 60, energy_wh)
    assert stops(world) == []
    return transaction


@pytest.mark.parametrize("limits", [{"limit_energy_kwh": 3}, {"limit_amount": 45}])
def test_limit_between_two_values_is_seen_by_the_housekeeping(world: World, limits: Row) -> None:
    transaction = drawing(world, 1000, 600, **limits)  # 2 kWh more in 654 s
    world.heartbeat()
    assert stops(world) == []
    world.sql("update charging_sessions set meter_last_at = meter_last_at - interval '60 s'")
    world.heartbeat()
    assert len(stops(world)) == 1
    assert world.session(transaction)["limit_reached_at"] is not None


def test_value_that_does_not_come_is_not_made_up(world: World) -> None:
    drawing(world, 1000, 20 * 60, limit_energy_kwh=4)  # 15 minutes of it: 2.75 kWh
    world.heartbeat()
    assert stops(world) == []


def test_without_a_limit_and_an_account_nothing_stops(world: World) -> None:
    world.sql("update users set client_id = null where id = %s", DRIVER)
    transaction = begin(world)
    report(world, transaction, 30, 900_000)
    assert stops(world) == []
    assert warnings(world) == []


def test_limit_counts_for_who_pays_later(world: World) -> None:
    world.sql("update users set client_id = null where id = %s", DRIVER)
    transaction = begin(world, limit_amount=30)
    report(world, transaction, 3, 1990)
    assert len(stops(world)) == 1


def test_two_connectors_have_a_limit_each(world: World) -> None:
    first = begin(world, limit_energy_kwh=2)
    second = press(world, connector_id=2, limit_energy_kwh=50)
    (command,) = world.claim()
    world.answer(command["command_id"], "result", payload={"status": "Accepted"})
    world.start(-60, second["id_tag"], 1000, connector=2)
    world.meter(-50, 21_000, transaction=second["transaction_id"], connector=2)
    assert stops(world) == []
    report(world, first, 10, 1990)
    assert [stop["payload"]["transactionId"] for stop in stops(world)] == [first]


def test_limit_is_reached_by_a_batch_of_many(world: World) -> None:
    """Beyond reprice_per_batch, and in one statement with others."""
    world.sql("update private.settings set reprice_per_batch = 0")
    transaction = begin(world, limit_amount=30)
    report(world, transaction, 3, 1990)
    assert world.session(transaction)["amount"] == Decimal("29.85")
    assert len(stops(world)) == 1


def test_dearer_hour_that_begins_before_the_next_value_counts(world: World) -> None:
    zone = world.one("select time_zone from locations where name = 'Place' limit 1")
    at = world.one("select (%s at time zone %s)::time", world.at(-60 + 2.5), zone)
    world.sql(
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, price, time_start, time_end, priority)"
        " values (%s, 'Peak', 'per_kwh', 150, %s, %s::time + interval '1 hour', 9)",
        PLAN,
        at,
        at,
    )
    transaction = begin(world, limit_amount=30)
    report(world, transaction, 1, 500)
    report(world, transaction, 2, 684)  # 10.26; of the next 183 Wh half cost ten times as much: 25.4
    assert stops(world) == []
    report(world, transaction, 2.4, 760)
    report(world, transaction, 3.4, 860, 3_000)
    assert len(stops(world)) == 1


# --- once, and again ------------------------------------------------------------------------------


def test_stop_is_asked_for_once(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=2)
    for n in range(3):
        report(world, transaction, 10 + n, 1950 + n)
    assert len(stops(world)) == 1
    reached = world.session(transaction)["limit_reached_at"]
    report(world, transaction, 14, 1960)
    assert world.session(transaction)["limit_reached_at"] == reached


@pytest.mark.parametrize("outcome", ["failed", "timed_out", "expired"])
def test_stop_that_came_to_nothing_is_asked_for_again(world: World, outcome: str) -> None:
    transaction = begin(world, limit_energy_kwh=2)
    report(world, transaction, 10, 1990)
    world.sql(
        "update commands set status = %s::command_status, created_at = created_at - interval '1 minute'"
        " where action = 'RemoteStopTransaction'",  # a test is one transaction: its rows are of one moment
        outcome,
    )
    report(world, transaction, 11, 1995)
    assert [stop["status"] for stop in stops(world)] == [outcome, "queued"]


@pytest.mark.parametrize("outcome", ["accepted", "rejected"])
def test_station_that_goes_on_is_told_again_after_a_minute(world: World, outcome: str) -> None:
    transaction = begin(world, limit_energy_kwh=2)
    report(world, transaction, 10, 1990)
    answered = (
        "update commands set status = %s::command_status, answered_at = now() - %s"
        " where action = 'RemoteStopTransaction'"
    )
    world.sql(answered, outcome, timedelta(seconds=50))
    report(world, transaction, 11, 1995)
    assert len(stops(world)) == 1
    world.sql(answered, outcome, timedelta(seconds=70))
    report(world, transaction, 12, 2000)
    assert len(stops(world)) == 2


def test_nothing_is_forgotten_when_station_and_bridge_change(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=2)
    report(world, transaction, 1, 1000)
    world.heartbeat("bridge-b", seen=[])
    world.connect(bridge="bridge-b", received=-50)
    report(world, transaction, 12, 1990)
    world.sql("update private.station_connections set booted_at = now()")
    (command,) = world.claim("bridge-b")
    assert (command["action"], command["payload"]) == ("RemoteStopTransaction", {"transactionId": transaction})


# --- the warning ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"limit_energy_kwh": 2}, "energy"),
        ({"limit_amount": 30}, "amount"),
        ({"limit_energy_kwh": 50, "limit_amount": 30}, "amount"),
        ({"limit_energy_kwh": 2, "limit_amount": 500}, "energy"),
    ],
)
def test_at_80_percent_the_topic_of_the_session_is_told_once(world: World, limits: Row, limit: str) -> None:
    transaction = begin(world, **limits)
    report(world, transaction, 1, 1590, 1000)
    assert warnings(world) == []
    for n in range(3):
        report(world, transaction, 2 + n, 1600 + n, 1000)
    (warning,) = warnings(world)
    del warning["id"]  # realtime.send() puts one into each
    session = world.session(transaction)
    assert warning == {
        "session_id": str(session["id"]),
        "limit": limit,
        "share": 0.8,
        "energy": 1.6,
        "amount": 24,
        "currency": "KGS",
        "limit_energy_kwh": limits.get("limit_energy_kwh"),
        "limit_amount": limits.get("limit_amount"),
    }
    assert session["limit_warned_at"] is not None
    assert session["limit_reached_at"] is None


# --- the money ------------------------------------------------------------------------------------


def test_open_session_holds_more_while_there_is_money(world: World) -> None:
    world.sql("update private.settings set open_hold_energy_kwh = 2")
    transaction = begin(world)
    assert money(world) == (OPENING - 30, 30)
    report(world, transaction, 10, 1990)
    assert money(world) == (OPENING - 60, 60)
    assert stops(world) == warnings(world) == []
    world.stop(transaction, 3000)
    assert entries(world) == [("hold", -30), ("hold", -30), ("release", 30), ("release", 30), ("charge", -30)]


@pytest.mark.parametrize("how", ["app", "card"])
def test_open_session_ends_with_the_money(world: World, how: str) -> None:
    give(world, 30)
    transaction = begin(world) if how == "app" else world.begin(at=-60, tag=CARD)
    report(world, transaction, 1, 1590, 1000)
    assert warnings(world) == stops(world) == []
    report(world, transaction, 2, 1600, 1000)
    assert [warning["limit"] for warning in warnings(world)] == ["balance"]
    assert stops(world) == []
    report(world, transaction, 3, 1990)
    assert len(stops(world)) == 1
    world.stop(transaction, 2990)
    assert money(world) == (Decimal("0.15"), 0)


def test_top_up_while_charging_lets_it_go_on(world: World) -> None:
    give(world, 30)
    transaction = begin(world)
    world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=100, reference="pay-1")
    report(world, transaction, 10, 1990)
    assert stops(world) == []
    assert money(world) == (70, 60)


def test_energy_limit_that_costs_more_than_quoted_holds_more(world: World) -> None:
    world.sql(
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values (%s, 'Time', 'per_minute', 1)", PLAN
    )
    transaction = begin(world, limit_energy_kwh=11)  # half an hour at 22 kW: 165 + 30
    assert money(world)[1] == 195
    report(world, transaction, 59, 10_000)  # 150 + 59
    assert money(world)[1] == Decimal("212.75")  # and what comes until the next value: 11 kW, a minute
    assert stops(world) == []


def test_amount_limit_never_holds_more(world: World) -> None:
    transaction = begin(world, limit_amount=30)
    report(world, transaction, 10, 2500)
    assert money(world) == (OPENING - 30, 30)
    assert len(stops(world)) == 1


def test_blocked_card_that_charges_all_the_same_is_stopped(world: World) -> None:
    give(world, 0)
    answer = world.start(-60)
    assert answer["idTagInfo"]["status"] == "Blocked"
    report(world, answer["transactionId"], 1, 100)
    assert len(stops(world)) == 1


def test_free_charging_is_not_stopped_for_want_of_money(world: World) -> None:
    world.sql("update tariff_rules set price = 0 where tariff_plan_id = %s", PLAN)
    give(world, 0)
    transaction = begin(world)
    report(world, transaction, 10, 50_000)
    assert stops(world) == warnings(world) == []


def test_session_that_runs_since_before_there_were_accounts_takes_its_hold_with_the_next_value(world: World) -> None:
    world.sql("update users set client_id = null where id = %s", DRIVER)
    transaction = begin(world)
    world.sql("update charging_sessions set client_id = %s", ACCOUNT)
    report(world, transaction, 10, 1000)
    assert money(world)[1] == Decimal("17.75")  # 15 and a minute at 11 kW
    assert stops(world) == []


# --- samples on another register --------------------------------------------------------------------


def test_samples_on_another_register_do_not_reach_the_limit_at_once(world: World) -> None:
    """Start and stop say the total of the meter, the samples that of the session, or of another meter."""
    transaction = begin(world, limit_energy_kwh=2)
    for n, wh in enumerate((0, 500, 1500)):
        report(world, transaction, 1 + n, 7_000_000 + wh)
        row = world.session(transaction)
        assert (row["energy_wh"], row["amount"]) == (wh, Decimal(wh * 15) / 1000)
    assert stops(world) == []
    report(world, transaction, 4, 7_001_950)
    assert len(stops(world)) == 1
    world.stop(transaction, 3000)
    row = world.session(transaction)
    assert (row["energy"], row["amount"]) == (2, 30)


def test_station_that_was_away_is_on_the_same_register(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=50)
    report(world, transaction, 50, 17_000)
    row = world.session(transaction)
    assert (row["energy"], row["meter_base_wh"]) == (17, None)


# --- time that costs ------------------------------------------------------------------------------


def price(world: World, kind: str, amount: float) -> None:
    world.sql(
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values (%s, %s, %s::tariff_type, %s)",
        PLAN,
        kind,
        kind,
        amount,
    )


def look(world: World) -> None:
    """The housekeeping, half a minute after the costs were last brought up."""
    world.sql("update charging_sessions set priced_at = priced_at - interval '30 s'")
    world.heartbeat()


def park(world: World, minutes_ago: float, status: str = "SuspendedEV") -> None:
    payload = {"connectorId": 1, "status": status, "errorCode": "NoError", "timestamp": iso(world.at(-minutes_ago))}
    world.send("StatusNotification", payload, received=-minutes_ago)


def parking(world: World, minutes: float, **limits: object) -> int:
    """1 kWh (15), then parked for so many minutes at 5 a minute without a word from the station."""
    price(world, "parking_fee", 5)
    transaction = begin(world, **limits)
    report(world, transaction, 50, 500)
    report(world, transaction, 60 - minutes, 1000)
    park(world, minutes)
    return transaction


@pytest.mark.parametrize(
    ("minutes", "warned", "stopped"), [(3, False, False), (5.2, True, False), (6.8, True, True), (7, True, True)]
)
def test_amount_limit_holds_while_the_car_parks(world: World, minutes: float, warned: bool, stopped: bool) -> None:
    transaction = parking(world, minutes, limit_amount=50)
    assert stops(world) == warnings(world) == []
    look(world)
    row = world.session(transaction)
    assert abs(row["amount"] - Decimal(15 + 5 * minutes)) < 1  # a few seconds pass
    assert [warning["limit"] for warning in warnings(world)] == ["amount"] * warned
    assert (len(stops(world)), row["limit_reached_at"] is not None) == (stopped, stopped)
    assert row["energy"] == 1
    messages = [m["payload"] for m in world.topics("session:") if m["event"] == "session"]
    if stopped:
        assert Decimal(str(messages[-1]["amount"])) == row["amount"]
    receipt = world.rpc(DRIVER, "receipt", session_id=row["id"])
    assert Decimal(str(receipt["cost"])) == row["amount"]
    assert abs(receipt["parking_minutes"] - minutes) < 0.2
    assert receipt["final"] is False


def test_limit_while_the_car_parks_is_what_the_bill_comes_to(world: World) -> None:
    transaction = parking(world, 6.8, limit_amount=50)
    look(world)
    assert len(stops(world)) == 1
    world.stop(transaction, 2000, at=0.1)
    assert world.session(transaction)["amount"] <= 50


def test_open_session_that_parks_holds_more_and_ends_with_the_money(world: World) -> None:
    give(world, 60)
    world.sql("update private.settings set open_hold_energy_kwh = 1")
    transaction = parking(world, 6)
    assert money(world) == (30, 30)  # the sample of 1 kWh took as much again
    look(world)
    assert money(world) == (0, 60)
    assert stops(world) == []
    world.sql("update charging_sessions set parking_start_time = parking_start_time - interval '3 minutes'")
    look(world)
    assert len(stops(world)) == 1
    assert world.session(transaction)["limit_reached_at"] is not None


@pytest.mark.parametrize(("limit", "stopped"), [(90, False), (75, True)])
def test_amount_limit_holds_where_time_costs_and_no_value_comes(world: World, limit: int, stopped: bool) -> None:
    price(world, "per_minute", 1)
    transaction = begin(world, limit_amount=limit)
    report(world, transaction, 40, 1000, 0)
    assert (stops(world), world.session(transaction)["amount"]) == ([], 55)
    look(world)  # an hour and 1 kWh: 75
    assert abs(world.session(transaction)["amount"] - 75) < 1
    assert len(stops(world)) == stopped


def test_amount_limit_holds_where_time_costs_and_no_value_ever_came(world: World) -> None:
    price(world, "per_minute", 1)
    begin(world, limit_amount=60)
    look(world)
    assert [warning["limit"] for warning in warnings(world)] == ["amount"]
    assert len(stops(world)) == 1


@pytest.mark.parametrize(
    "change",
    [
        "update private.station_connections set disconnected_at = now(), connection_id = gen_random_uuid()",
        # it sends what it has kept first, perhaps a stop
        "update private.station_connections set connected_at = now() - interval '50 s'",
        # the car has gone, and the StopTransaction is lost
        "update connectors set status = 'Available', status_at = now() - interval '1 minute'",
    ],
)
def test_time_does_not_cost_on_where_the_session_may_have_ended(world: World, change: str) -> None:
    transaction = parking(world, 8, limit_amount=50)
    world.sql(change)
    look(world)
    row = world.session(transaction)
    assert row["amount"] == world.rpc(DRIVER, "receipt", session_id=row["id"])["cost"] == 15
    assert stops(world) == []


def test_housekeeping_leaves_sessions_alone_whose_cost_does_not_grow_with_time(world: World) -> None:
    price(world, "parking_fee", 5)
    transaction = begin(world, limit_amount=50)
    report(world, transaction, 50, 500)
    world.sql("update charging_sessions set priced_at = now() - interval '1 hour'")
    priced_at = world.session(transaction)["priced_at"]
    world.heartbeat()
    assert world.session(transaction)["priced_at"] == priced_at


# --- glitches -------------------------------------------------------------------------------------

SPIKE = 4_294_967_295


@pytest.mark.parametrize("power_w", [7_200_000, 10**12])
@pytest.mark.parametrize("limits", [{"limit_energy_kwh": 20}, {"limit_amount": 300}, {}])
def test_power_beyond_the_connector_ends_nothing_and_holds_nothing(world: World, power_w: float, limits: Row) -> None:
    transaction = begin(world, **limits)
    held = money(world)
    report(world, transaction, 1, 100, power_w)
    assert (stops(world), warnings(world)) == ([], [])
    assert money(world) == held


def test_power_beyond_reason_counts_as_a_megawatt_where_the_connector_is_not_known(world: World) -> None:
    world.sql("update stations set power_capacity = null")
    transaction = begin(world, limit_energy_kwh=20)
    report(world, transaction, 1, 3000, 10**12)  # 16.7 kWh a minute
    assert stops(world) == []
    report(world, transaction, 2, 4000, 10**12)
    assert len(stops(world)) == 1


def test_register_spike_ends_no_charge_and_costs_nothing(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=20)
    held = money(world)
    report(world, transaction, 1, 300)
    report(world, transaction, 2, SPIKE)
    row = world.session(transaction)
    assert (row["energy_wh"], row["amount"], row["meter_last_wh"]) == (300, Decimal("4.5"), 1300)
    assert world.count("meter_values", "energy_wh > %s", SPIKE) == 1  # it is on record
    report(world, transaction, 3, 900)
    row = world.session(transaction)
    assert (row["energy_wh"], row["amount"], row["meter_max_wh"]) == (900, Decimal("13.5"), 1900)
    assert (stops(world), warnings(world), money(world)) == ([], [], held)
    world.stop(transaction, 3000)
    row = world.session(transaction)
    assert (row["energy"], row["amount"], row["flags"]) == (2, 30, [])


def test_spikes_in_a_row_that_do_not_agree_are_all_left_out(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=20)
    for minute, wh in enumerate((300, SPIKE, 1_000_000, 900, 1200)):
        report(world, transaction, 1 + minute, wh)
    assert world.session(transaction)["energy_wh"] == 1200
    assert stops(world) == []


def test_jump_that_the_next_value_confirms_counts(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=200)
    for minute, (wh, counted) in enumerate(((300, 300), (50_000, 300), (50_300, 50_300), (50_600, 50_600))):
        report(world, transaction, 1 + minute, wh)
        assert world.session(transaction)["energy_wh"] == counted


def test_connector_that_gives_far_more_than_its_rating_still_moves(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=500)
    report(world, transaction, 1, 1000)
    for minute in range(1, 10):
        report(world, transaction, 1 + minute, 1000 + 5000 * minute)  # 300 kW at 22
        assert world.session(transaction)["energy_wh"] >= 1000 + 5000 * (minute - 1)


def test_station_that_was_away_for_hours_is_believed(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=50)
    report(world, transaction, 1, 300)
    report(world, transaction, 55, 20_000)
    assert world.session(transaction)["energy_wh"] == 20_000


def test_register_that_comes_more_rarely_than_the_power_is_believed(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=50)
    report(world, transaction, 1, 300)
    for minute in range(2, 16):
        world.meter(-60 + minute, sampled(22_000, "Power.Active.Import", "W"), transaction=transaction)
    report(world, transaction, 16, 5800)
    assert world.session(transaction)["energy_wh"] == 5800


def test_one_low_reading_makes_no_spike_of_the_next(world: World) -> None:
    transaction = begin(world, limit_energy_kwh=50)
    report(world, transaction, 30, 9_000)
    report(world, transaction, 31, -1000)
    report(world, transaction, 32, 9_600)
    assert world.session(transaction)["energy_wh"] == 9_600


@pytest.mark.parametrize(
    ("registers", "counted"),
    [
        ([300, SPIKE, 900], 900),
        ([300, 900, SPIKE], 900),
        ([300, 50_000, 50_300], 50_300),
        ([300, 900, -1000, 1500], 1500),
    ],
)
def test_spike_in_a_message_of_several_values_is_left_out(world: World, registers: list[int], counted: int) -> None:
    transaction = begin(world)
    values = [
        {"timestamp": iso(world.at(-59 + n)), "sampledValue": [sampled(1000 + wh)]} for n, wh in enumerate(registers)
    ]
    world.send("MeterValues", {"connectorId": 1, "transactionId": transaction, "meterValue": values}, received=-50)
    assert world.session(transaction)["energy_wh"] == counted


# --- how far ahead --------------------------------------------------------------------------------


@pytest.mark.parametrize("power_w", [11_000, None])
def test_two_values_at_almost_the_same_time_do_not_hide_the_next(world: World, power_w: float | None) -> None:
    transaction = begin(world, limit_energy_kwh=2)

    def value(at: str, wh: int) -> None:
        power = [sampled(power_w, "Power.Active.Import", "W")] if power_w else []
        world.meter(-55, sampled(1000 + wh), *power, transaction=transaction, timestamp=at)

    value(iso(world.at(-57)), 1500)
    value(iso(world.at(-56)), 1684)
    assert stops(world) == []
    value(iso(world.at(-55)), 1850)
    world.sql("delete from commands where action = 'RemoteStopTransaction'")
    world.sql("update charging_sessions set limit_reached_at = null")
    value(iso(world.at(-55)).replace("Z", ".001Z"), 1850)
    assert len(stops(world)) == 1
