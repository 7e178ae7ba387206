"""MeterValues (OCPP 1.6 §4.7, §7.32 to §7.43; field notes 21 to 23) and the running cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.sql.world import CARD, DRIVER, OTHER_STATION, STATION, World, iso, sampled


def stored(world: World) -> dict[str, Any]:
    row: dict[str, Any] = world.one("select * from meter_values")
    return row


# --- which session ---------------------------------------------------------------------------------


def test_value_with_the_transaction_id_belongs_to_the_session(world: World) -> None:
    transaction = world.begin()
    world.meter(-30, 2000, transaction=transaction)
    assert stored(world)["session_id"] == world.session(transaction)["id"]
    assert stored(world)["transaction_id"] == transaction


@pytest.mark.parametrize("strange", [None, 0, -1, 9223372036854775807, 10**25, "abc", 2_000_000_000, 1.5])
def test_value_without_an_id_of_ours_belongs_to_the_session_at_the_connector_at_that_time(
    world: World, strange: object
) -> None:
    world.begin(at=-90, connector=2)
    transaction = world.begin(at=-60, connector=1)
    world.meter(-30, 2000, transaction=strange)
    session = world.session(transaction)
    assert stored(world)["session_id"] == session["id"]
    assert session["energy"] == 1


def test_fractional_id_is_not_rounded_to_one_of_ours(world: World) -> None:
    transaction = world.begin(connector=1)
    world.meter(-30, 2000, transaction=transaction + 0.4, connector=2)
    assert stored(world)["session_id"] is None


def test_value_from_before_the_start_belongs_to_no_session(world: World) -> None:
    world.begin(at=-60)
    world.meter(-61, 900)
    assert stored(world)["session_id"] is None


def test_values_after_the_stop_are_kept_but_not_the_sessions(world: World) -> None:
    transaction = world.begin(at=-60)
    world.stop(transaction, 3000, at=-10)
    world.meter(-5, 3100, transaction=transaction)
    world.meter(-4, 3200)
    assert world.count("meter_values", "session_id is null") == 2
    assert world.session(transaction)["energy"] == 2


def test_value_that_arrives_after_the_stop_but_is_older_belongs_to_the_session_and_changes_nothing(
    world: World,
) -> None:
    transaction = world.begin(at=-60)
    world.stop(transaction, 3000, at=-10)
    world.meter(-20, 2500, transaction=transaction, received=0)
    world.meter(-25, 2400, received=0)
    assert world.count("meter_values", "session_id = %s", world.session(transaction)["id"]) == 2
    assert world.session(transaction)["amount"] == 30


def test_days_old_values_find_the_session_of_their_time(world: World) -> None:
    day = 24 * 60
    old = world.begin(at=-3 * day, received=0)
    world.stop(old, 2000, at=-3 * day + 60, received=0)
    new = world.begin(at=-60, meter=2000)
    world.meter(-3 * day + 30, 1500, received=0)
    assert stored(world)["session_id"] == world.session(old)["id"]
    assert world.session(new)["meter_last_at"] is None


def test_id_of_the_former_session_does_not_feed_the_present_one(world: World) -> None:
    former = world.begin(at=-60)
    world.stop(former, 2000, at=-30)
    present = world.begin(at=-20, meter=2000)
    world.meter(-10, 5000, transaction=former)
    assert stored(world)["session_id"] is None
    assert world.session(present)["energy"] == 0


def test_id_of_another_stations_session_feeds_neither(world: World) -> None:
    mine, theirs = world.begin(), world.begin(station=OTHER_STATION)
    world.meter(-30, 5000, transaction=theirs)
    assert stored(world)["session_id"] is None
    assert (world.session(mine)["energy"], world.session(theirs)["energy"]) == (0, 0)


def test_main_meter_is_kept_apart(world: World) -> None:
    transaction = world.begin()
    world.meter(-30, 99_000, connector=0)
    assert (stored(world)["connector_id"], stored(world)["session_id"]) == (0, None)
    assert world.session(transaction)["energy"] == 0


def test_main_meter_of_a_station_that_names_the_transaction_counts(world: World) -> None:
    transaction = world.begin()
    world.meter(-30, 2000, connector=0, transaction=transaction)
    assert world.session(transaction)["energy"] == 1


@pytest.mark.parametrize("connector", [None, -1, 10**12, "x", 1.5])
def test_impossible_connector_is_stored(world: World, connector: object) -> None:
    world.meter(-30, 2000, connector=connector)
    assert stored(world)["energy_wh"] == 2000


# --- time ------------------------------------------------------------------------------------------


def test_live_state_moves_only_forward_in_time(world: World) -> None:
    transaction = world.begin(at=-60)
    world.meter(-30, 3000, sampled(7, "Power.Active.Import", "kW"), transaction=transaction)
    world.meter(-40, 2000, sampled(3, "Power.Active.Import", "kW"), transaction=transaction, received=-29)
    session = world.session(transaction)
    assert (session["energy"], session["power_w"]) == (2, 7000)
    assert world.count("meter_values", "session_id is not null") == 2


@pytest.mark.parametrize("stamp", ["rubbish", "", 7, [], {}])
def test_unreadable_time_is_that_of_arrival(world: World, stamp: object) -> None:
    world.meter(-30, 2000, timestamp=stamp)
    assert stored(world)["reported_at"] == world.at(-30)


def test_time_is_stored_as_the_station_says_it(world: World) -> None:
    world.meter(-30, 2000, timestamp="1970-01-01T00:00:00+02:00")
    assert iso(stored(world)["reported_at"]) == "1969-12-31T22:00:00Z"
    assert stored(world)["received_at"] == world.at(-30)


def test_value_from_next_year_does_not_block_the_partition_of_that_month(world: World) -> None:
    """A clock that runs ahead fills the default partition; making that month's own must move its rows."""
    ahead = world.at(40 * 24 * 60)
    world.meter(0, 2000, timestamp=iso(ahead))
    assert world.count("private.meter_values_default") == 1
    world.sql("select private.ensure_partitions(%s)", ahead)
    assert world.count("private.meter_values_default") == 0
    assert stored(world)["reported_at"] == ahead
    world.meter(0, 2000, timestamp=iso(ahead))
    assert world.count("meter_values") == 1


# --- once --------------------------------------------------------------------------------------------


def test_repeated_value_is_stored_and_counted_once(world: World) -> None:
    transaction = world.begin()
    for received in (-30, -29, 0):
        world.meter(-30, 3000, transaction=transaction, received=received)
    assert world.count("meter_values") == 1
    assert world.session(transaction)["energy"] == 2


def test_values_of_one_instant_that_differ_are_all_kept(world: World) -> None:
    world.meter(-30, 3000)
    world.meter(-30, sampled(3000, context="Sample.Clock"))
    world.meter(-30, sampled(16, "Current.Import"))
    assert world.count("meter_values") == 3


# --- samples -----------------------------------------------------------------------------------------

FACTS = ["energy_wh", "power_w", "current_a", "voltage_v", "temperature_c", "soc_percent"]
PHASES = ("L1", "L2", "L3")


@pytest.mark.parametrize(
    ("samples", "facts"),
    [
        ([sampled("1500")], {"energy_wh": 1500}),
        ([sampled(1500)], {"energy_wh": 1500}),
        ([sampled("1500.5", "Energy.Active.Import.Register", "Wh")], {"energy_wh": Decimal("1500.5")}),
        ([sampled("1.5", unit="kWh")], {"energy_wh": 1500}),
        ([sampled("1.5", unit="KWH")], {"energy_wh": 1500}),
        ([sampled("7.4", "Power.Active.Import", "kW")], {"power_w": 7400}),
        ([sampled("7400", "Power.Active.Import")], {"power_w": 7400}),
        ([sampled(10 * n, phase=f"L{n}") for n in (1, 2, 3)], {"energy_wh": 60}),
        ([sampled(1000), *(sampled(10, phase=p) for p in PHASES)], {"energy_wh": 1000}),
        ([sampled(230 + n, "Voltage", phase=f"L{n}-N") for n in (1, 2, 3)], {"voltage_v": 232}),
        ([sampled(n, "Current.Import", phase=f"L{n}") for n in (1, 2, 3)], {"current_a": 2}),
        ([sampled(9, "Current.Import", phase="N")], {}),
        ([sampled(100 * n, "Power.Active.Import", phase=f"L{n}") for n in (1, 2, 3)], {"power_w": 600}),
        ([sampled(55, "SoC", "Percent", location="EV")], {"soc_percent": 55}),
        ([sampled("104", "Temperature", "Fahrenheit")], {"temperature_c": 40}),
        ([sampled("300", "Temperature", "K")], {"temperature_c": Decimal("26.85")}),
        ([sampled("25", "Temperature", "Celcius")], {"temperature_c": 25}),  # sic, errata-J
        ([sampled(5, "Frequency", "Hz")], {}),
        ([sampled(5, "Energy.Active.Export.Register")], {}),
        ([sampled(5, "Nonsense.Measurand", "furlongs")], {}),
        ([sampled("4F434D46", format="SignedData")], {}),
        ([sampled("99", location="EV")], {}),
        ([sampled("NaN"), sampled("Infinity"), sampled(""), sampled("1e400"), sampled("0x10")], {}),
        ([sampled("1500 ")], {"energy_wh": 1500}),
        ([sampled(5, context="Transaction.Begin"), sampled(9, context="Transaction.End")], {"energy_wh": 9}),
        ([sampled(9, context="Transaction.End"), sampled(5, context="Transaction.Begin")], {"energy_wh": 9}),
        ([sampled(7, context="Sample.Clock"), sampled(8, context="Sample.Periodic")], {"energy_wh": 8}),
        ([], {}),
        ([None, 5, "x", [], {}, {"value": None}, {"value": {}}], {}),
    ],
)
def test_samples_are_normalised(world: World, samples: list[object], facts: dict[str, object]) -> None:
    payload = {"connectorId": 1, "meterValue": [{"timestamp": iso(world.at()), "sampledValue": samples}]}
    assert world.send("MeterValues", payload) == {}
    row = stored(world)
    assert {fact: row[fact] for fact in FACTS if row[fact] is not None} == facts
    assert row["samples"] == samples


@pytest.mark.parametrize(
    ("meter_value", "rows"),
    [
        ({"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{"value": "5"}]}, 1),  # Huawei: an object, not a list
        ([{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": {"value": "5"}}], 1),
        ([{"timestamp": "2026-01-01T00:00:00Z"}], 1),
        ([], 0),
        (None, 0),
        ("x", 0),
        (5, 0),
        ([None, 5, "x", []], 4),
    ],
)
def test_shapes_that_the_schema_forbids_are_tolerated(world: World, meter_value: object, rows: int) -> None:
    assert world.send("MeterValues", {"connectorId": 1, "meterValue": meter_value}) == {}
    assert world.count("meter_values") <= max(rows, 0)
    assert (world.count("meter_values") > 0) == (rows > 0)
    assert world.count("ocpp_messages", "action = 'MeterValues'") == 1


@pytest.mark.parametrize("payload", [{}, None, {"connectorId": {}}])
def test_empty_payload_is_confirmed(world: World, payload: object) -> None:
    assert world.send("MeterValues", payload) == {}


def test_begin_value_that_arrives_again_does_not_overwrite_the_live_state(world: World) -> None:
    """evcc#33256: 103 sessions of 0 kWh."""
    transaction = world.begin(at=-60)
    world.meter(-30, 3000, transaction=transaction)
    world.meter(-29, sampled(1000, context="Transaction.Begin"), transaction=transaction)
    assert world.session(transaction)["energy"] == 2


def test_first_value_without_energy_and_first_value_below_the_start_are_stored(world: World) -> None:
    transaction = world.begin(at=-60)
    world.meter(-50, sampled(7, "Power.Active.Import", "kW"), transaction=transaction)
    world.meter(-40, 10, transaction=transaction)
    assert world.count("meter_values") == 2
    assert world.session(transaction)["power_w"] == 7000


def test_many_values_in_one_message_count_as_if_sent_one_by_one(world: World) -> None:
    one_by_one, together = world.begin(at=-60, connector=1), world.begin(at=-60, connector=2)
    registers = [1500, 2500, 2500, 100, 900, 1800]
    for n, wh in enumerate(registers):
        world.meter(-50 + n, wh, transaction=one_by_one, connector=1)
    values = [{"timestamp": iso(world.at(-50 + n)), "sampledValue": [sampled(wh)]} for n, wh in enumerate(registers)]
    world.send("MeterValues", {"connectorId": 2, "transactionId": together, "meterValue": values})
    world.stop(one_by_one, 2000)
    world.stop(together, 2000)
    assert world.session(one_by_one)["energy"] == world.session(together)["energy"] == Decimal("3.4")


# --- running cost ---------------------------------------------------------------------------------


def test_running_cost_equals_quote_and_bill(world: World) -> None:
    transaction = world.begin(at=-60)
    for minute, wh in ((-45, 4210), (-30, 9990), (-15, 17003), (0, 26500)):
        world.meter(minute, wh, transaction=transaction)
        quote = world.rpc("anon", "calculate_cost", station_id=STATION, energy_kwh=(Decimal(wh) - 1000) / 1000)
        assert float(world.session(transaction)["amount"]) == quote["cost"]
    running = world.session(transaction)["amount"]
    world.stop(transaction, 26500)
    assert world.session(transaction)["amount"] == running == Decimal("382.50")


def test_tariff_of_the_start_holds_to_the_end(world: World) -> None:
    transaction = world.begin(at=-60)
    world.sql("update tariff_rules set price = 99")
    world.meter(-30, 2000, transaction=transaction)
    assert world.session(transaction)["amount"] == 15
    world.stop(transaction, 3000)
    assert world.session(transaction)["amount"] == 30


def test_cost_that_a_batch_had_no_time_for_follows_with_the_heartbeat(world: World) -> None:
    world.sql("update private.settings set reprice_per_batch = 0")
    world.sql("update users set client_id = null where id = %s", DRIVER)  # a prepaid session is priced at each value
    transaction = world.begin(at=-60)
    world.meter(-30, 2000, transaction=transaction)
    assert (world.session(transaction)["energy"], world.session(transaction)["amount"]) == (1, 0)
    world.heartbeat()
    assert world.session(transaction)["amount"] == 15


def test_topic_of_the_session_gets_one_update_in_the_interval_and_each_change_of_status(world: World) -> None:
    transaction = world.begin(at=-60, tag=CARD)
    topic = f"session:{world.session(transaction)['id']}"
    for n in range(5):
        world.meter(-30 + n, 2000 + n * 100, transaction=transaction)
    (update,) = world.topics(topic)
    assert (update["event"], update["private"]) == ("session", True)
    assert (update["payload"]["status"], update["payload"]["energy"], update["payload"]["amount"]) == ("started", 1, 15)
    world.sql("update private.settings set live_update_interval = '0 s'")
    world.meter(-20, 3000, transaction=transaction)
    assert world.topics(topic)[-1]["payload"]["amount"] == 30
    world.stop(transaction, 3000)
    last = world.topics(topic)[-1]["payload"]
    assert (last["status"], last["receipt"]["cost"]) == ("stopped", 30)


def test_last_update_that_came_too_soon_is_sent_by_the_housekeeping(world: World) -> None:
    transaction = world.begin(at=-60)
    topic = f"session:{world.session(transaction)['id']}"
    world.meter(-30, 2000, transaction=transaction)
    world.meter(-29, 3000, transaction=transaction)
    assert [m["payload"]["amount"] for m in world.topics(topic)] == [15]
    world.heartbeat()
    assert [m["payload"]["amount"] for m in world.topics(topic)] == [15]
    world.sql("update charging_sessions set live_at = live_at - interval '11 s'")
    world.heartbeat()
    assert [m["payload"]["amount"] for m in world.topics(topic)] == [15, 30]
