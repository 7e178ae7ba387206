"""StopTransaction (OCPP 1.6 §4.10; errata E3.18; field notes 15, 16, 18, 22 to 24)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.sql.world import CARD, DRIVER, OTHER_STATION, STATION, World, iso, sampled

STRANGE_IDS = [0, -1, -16, 9223372036854775807, 2**31, 10**25, "abc", "", None, [], {}, True]


def orphans(world: World) -> list[dict[str, object]]:
    return world.sql("select * from transaction_orphans order by received_at, id")


def test_stop_closes_prices_and_settles_in_one_step(world: World) -> None:
    transaction = world.begin(at=-70)
    assert world.stop(transaction, 26500, idTag=CARD, reason="EVDisconnected") == {"idTagInfo": {"status": "Accepted"}}
    session = world.session(transaction)
    assert (session["status"], session["energy"], session["amount"], session["currency"]) == (
        "stopped",
        Decimal("25.500"),
        Decimal("382.50"),
        "KGS",
    )
    assert (session["stop_time"], session["meter_stop_wh"], session["stop_reason"]) == (
        world.at(0),
        26500,
        "EVDisconnected",
    )
    assert session["receipt"]["cost"] == 382.5
    assert session["settled_at"] is not None


def test_stop_says_in_the_log_what_was_charged(world: World) -> None:
    transaction = world.begin(at=-70)
    payload = {"transactionId": transaction, "meterStop": 26500, "timestamp": iso(world.at(0))}
    (reply,) = world.ingest(world.call("StopTransaction", payload))
    assert reply["log"]["message"] == "StopTransaction: energy=25.5kWh, amount=382.5 KGS"
    assert reply["log"]["extra"]["transaction_id"] == transaction


def test_reason_that_is_absent_is_local(world: World) -> None:
    transaction = world.begin()
    world.stop(transaction, 2000)
    assert world.session(transaction)["stop_reason"] == "Local"


@pytest.mark.parametrize("received", [0, 1, 24 * 60])
def test_repeated_stop_settles_once(world: World, received: float) -> None:
    transaction = world.begin(at=-60)
    first = world.stop(transaction, 3000, idTag=CARD)
    settled = world.session(transaction)
    assert world.stop(transaction, 3000, idTag=CARD, received=received) == first
    assert world.session(transaction) | {"updated_at": 0} == settled | {"updated_at": 0}


def test_second_stop_that_says_otherwise_changes_nothing_but_a_flag(world: World) -> None:
    transaction = world.begin(at=-60)
    world.stop(transaction, 3000)
    world.stop(transaction, 9000, at=5, received=5)
    session = world.session(transaction)
    assert (session["energy"], session["amount"], session["flags"]) == (2, 30, ["stop_differs"])


def test_stop_that_was_queued_for_days_is_priced_by_its_own_time(world: World) -> None:
    transaction = world.begin(at=-3 * 24 * 60)
    world.stop(transaction, 3000, at=-3 * 24 * 60 + 30, received=0)
    assert world.session(transaction)["stop_time"] == world.at(-3 * 24 * 60 + 30)


@pytest.mark.parametrize("strange", STRANGE_IDS)
def test_stop_with_an_id_that_is_none_ends_the_only_open_session_of_the_station(world: World, strange: object) -> None:
    transaction = world.begin(at=-60)
    assert world.stop(strange, 3000) == {}
    assert world.session(transaction)["amount"] == 30
    assert world.stop(strange, 3000, received=1) == {}  # and its repeat settles nothing again
    assert world.session(transaction)["flags"] == []
    assert orphans(world) == []


def test_missing_id_ends_the_only_open_session(world: World) -> None:
    transaction = world.begin(at=-60)
    world.send("StopTransaction", {"meterStop": 3000, "timestamp": iso(world.at(0))})
    assert world.session(transaction)["status"] == "stopped"


def test_repeat_of_a_stop_without_an_id_does_not_end_the_session_that_began_meanwhile(world: World) -> None:
    first = world.begin(at=-60)
    world.stop(0, 3000, at=-10)
    second = world.begin(at=-9.5, meter=3000)
    world.stop(0, 3000, at=-10, received=0)
    assert (world.session(first)["status"], world.session(second)["status"]) == ("stopped", "started")


@pytest.mark.parametrize("number", [lambda i: str(i), lambda i: float(i)])
def test_id_as_text_or_with_a_decimal_point_is_the_id(world: World, number: object) -> None:
    first, second = world.begin(at=-60), world.begin(at=-60, connector=2)
    world.stop(number(first), 3000)  # type: ignore[operator]
    assert (world.session(first)["status"], world.session(second)["status"]) == ("stopped", "started")


def test_fractional_id_is_not_rounded_to_one_of_ours(world: World) -> None:
    first, second = world.begin(at=-60), world.begin(at=-60, connector=2)
    assert world.stop(first + 0.4, 3000) == {}
    assert (world.session(first)["status"], world.session(second)["status"]) == ("started", "started")
    assert len(orphans(world)) == 1


def test_strange_id_with_two_open_sessions_goes_by_the_tag(world: World) -> None:
    first, second = world.begin(at=-60), world.begin(at=-60, connector=2, tag="OTHER")
    world.stop(-1, 3000, idTag="other")
    assert (world.session(first)["status"], world.session(second)["status"]) == ("started", "stopped")


def test_strange_id_that_fits_two_open_sessions_is_kept_as_an_orphan(world: World) -> None:
    first, second = world.begin(at=-60), world.begin(at=-60, connector=2, tag="OTHER")
    assert world.stop(-1, 3000) == {}
    assert (world.session(first)["status"], world.session(second)["status"]) == ("started", "started")
    (orphan,) = orphans(world)
    assert (orphan["reported_transaction_id"], orphan["payload"]["meterStop"]) == (-1, 3000)  # type: ignore[index]


@pytest.mark.parametrize("misfit", [{"meter": 500}, {"at": -120}])
def test_strange_id_whose_register_or_time_is_before_the_start_fits_no_session(
    world: World, misfit: dict[str, float]
) -> None:
    transaction = world.begin(at=-60)
    world.stop(**{"transaction": 0, "meter": 3000, "at": 0, "received": 0, **misfit})  # type: ignore[arg-type]
    assert world.session(transaction)["status"] == "started"
    assert len(orphans(world)) == 1


def test_unknown_positive_id_with_another_tag_does_not_stop_the_open_session(world: World) -> None:
    """OCPP.Core#34: a stop with any id stopped whatever was open."""
    transaction = world.begin(at=-60)
    world.stop(2_000_000_000, 3000, idTag="SOMEONE")
    assert world.session(transaction)["status"] == "started"
    assert len(orphans(world)) == 1


def test_stop_of_another_stations_transaction_touches_neither_session(world: World) -> None:
    mine, theirs = world.begin(at=-60), world.begin(at=-60, station=OTHER_STATION)
    assert world.stop(theirs, 3000) == {}
    assert (world.session(mine)["status"], world.session(theirs)["status"]) == ("started", "started")
    assert orphans(world)[0]["station_id"] == STATION


def test_transaction_id_of_a_session_that_never_began_is_unknown(world: World) -> None:
    pending = world.rpc(DRIVER, "start_charge", station_id=STATION)
    assert world.stop(pending["transaction_id"], 3000) == {}
    assert world.session(pending["transaction_id"])["status"] == "pending"
    assert len(orphans(world)) == 1


def test_orphan_is_confirmed_and_kept_once_however_often_it_is_repeated(world: World) -> None:
    for minute in range(3):
        assert world.stop(-1, 3000, at=0, received=minute, idTag=CARD) == {"idTagInfo": {"status": "Accepted"}}
    assert len(orphans(world)) == 1


def test_orphan_is_resolved_when_its_start_arrives_late(world: World) -> None:
    world.stop(-1, 3000, at=-30, received=-30, idTag=CARD)
    answer = world.start(at=-60, received=0)
    session = world.session(answer["transactionId"])
    assert (session["status"], session["stop_time"], session["amount"]) == ("stopped", world.at(-30), 30)
    (orphan,) = orphans(world)
    assert orphan["session_id"] == session["id"]
    assert orphan["resolved_at"] is not None
    world.stop(-1, 3000, at=-30, received=5, idTag=CARD)
    assert len(orphans(world)) == 1


def test_orphan_of_a_station_with_a_dead_clock_is_resolved_too(world: World) -> None:
    world.stop(-1, 3000, timestamp="1970-01-01T01:00:00Z", received=-30)
    transaction = world.begin(timestamp="1970-01-01T00:10:00Z", received=0)
    assert world.session(transaction)["status"] == "stopped"


@pytest.mark.parametrize("misfit", [{"at": -20}, {"meter": 4000}, {"tag": "OTHER"}, {"station": OTHER_STATION}])
def test_orphan_is_not_given_to_a_start_that_it_does_not_fit(world: World, misfit: dict[str, object]) -> None:
    world.stop(-1, 3000, at=-30, received=-30, idTag=CARD)
    answer = world.start(**{"at": -60, "received": 0, **misfit})  # type: ignore[arg-type]
    assert world.session(answer["transactionId"])["status"] == "started"
    assert orphans(world)[0]["resolved_at"] is None


@pytest.mark.parametrize("tag", ["04A1B2C3D4E5F6XXXXXXXXX", "other", "04A1B2C3D4E5F6\x02\x03"])
def test_stop_is_never_refused_for_its_tag(world: World, tag: str) -> None:
    """lbbrhzn#1803, #2030: 21 characters, two bytes too many."""
    transaction = world.begin(at=-60)
    assert "idTagInfo" in world.stop(transaction, 3000, idTag=tag)
    assert world.session(transaction)["status"] == "stopped"


def test_answer_is_about_the_tag_that_stopped(world: World) -> None:
    world.sql("insert into id_tags (id_tag, status, parent_id_tag) values ('BLOCKED', 'Blocked', 'FAMILY')")
    transaction = world.begin(at=-60)
    assert world.stop(transaction, 3000, idTag="BLOCKED") == {
        "idTagInfo": {"status": "Blocked", "parentIdTag": "FAMILY"}
    }


@pytest.mark.parametrize("meter", [None, "much", "NaN", [], {}])
def test_stop_without_a_usable_register_is_billed_at_the_last_one_seen(world: World, meter: object) -> None:
    transaction = world.begin(at=-60)
    world.meter(-30, 4000, transaction=transaction)
    world.stop(transaction, meter)
    session = world.session(transaction)
    assert (session["energy"], session["amount"], session["flags"]) == (3, 45, ["meter_stop_missing"])


@pytest.mark.parametrize("meter", [10**15, -(10**15), 10**18, "12345e9"])
def test_stop_at_a_register_that_no_meter_shows_is_billed_at_the_last_one_seen(world: World, meter: object) -> None:
    transaction = world.begin(at=-60)
    world.meter(-30, 4000, transaction=transaction)
    for _ in range(2):
        world.stop(transaction, meter)
    session = world.session(transaction)
    assert (session["status"], session["energy"], session["amount"], session["held_amount"]) == ("stopped", 3, 45, 0)
    assert session["flags"] == ["meter_stop_missing", "implausible_energy"]


@pytest.mark.parametrize("meter", [10**15, -(10**18), 10**19])
def test_start_and_samples_with_registers_that_no_meter_shows_are_answered_and_count_as_missing(
    world: World, meter: int
) -> None:
    transaction = world.begin(at=-60, meter=meter)
    world.meter(-50, meter, transaction=transaction)
    world.meter(-40, 1000, transaction=transaction)
    world.meter(-30, sampled(meter, unit="kWh"), transaction=transaction)
    world.stop(transaction, 3000, transactionData=[{"timestamp": iso(world.at(-20)), "sampledValue": [sampled(meter)]}])
    session = world.session(transaction)
    assert (session["energy"], session["amount"], session["held_amount"]) == (2, 30, 0)
    assert session["flags"] == ["meter_start_missing", "implausible_energy"]


def test_stop_at_a_register_that_no_meter_shows_is_held_where_the_station_says_so(world: World) -> None:
    world.sql("update stations set hold_implausible = true")
    transaction = world.begin(at=-60)
    world.stop(transaction, 10**15)
    session = world.session(transaction)
    assert (session["settled_at"], session["flags"]) == (None, ["meter_stop_missing", "implausible_energy", "held"])


def test_register_that_swings_between_its_ends_is_billed_all_the_same(world: World) -> None:
    transaction = world.begin(at=-250, meter=-(10**12))
    for minute in range(240):
        world.meter(-240 + minute, (10**12) * (-1) ** minute, transaction=transaction)
    world.stop(transaction, -(10**12) + 5)
    assert world.session(transaction)["status"] == "stopped"


@pytest.mark.parametrize("number", [10**30, -(10**30), 2**31, "NaN", "Infinity", -1, 1.5, [], {}, "", "٣", "\u00a01"])
@pytest.mark.parametrize("timestamp", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "NaN", 10**30, None])
def test_absurd_messages_of_a_transaction_are_answered(world: World, number: object, timestamp: object) -> None:
    world.start(connector=number, meter=number, timestamp=timestamp, reservationId=number)
    transaction = world.begin(at=-60, meter=0)
    sample = {**sampled("1"), "value": number}
    other = sampled("1", "Power.Active.Import", "kW") | {"value": number}
    world.meter(-50, sample, other, connector=number, transaction=number, timestamp=timestamp)
    world.meter(-40, sample, other, transaction=transaction, timestamp=timestamp)
    data = [{"timestamp": timestamp, "sampledValue": [sample, other]}]
    world.stop(number, number, timestamp=timestamp, transactionData=data, reason=number)
    world.stop(transaction, number, timestamp=timestamp, transactionData=data, idTag=number)
    session = world.session(transaction)
    assert (session["status"], session["held_amount"]) == ("stopped", 0)


def test_stop_before_the_start_by_the_stations_clock_ends_at_the_start(world: World) -> None:
    transaction = world.begin(at=-60)
    world.stop(transaction, 3000, at=-61, received=0)
    assert world.session(transaction)["stop_time"] == world.at(-60)


# --- transactionData ------------------------------------------------------------------------------


def data(world: World, *points: tuple[float, int, str]) -> list[dict[str, object]]:
    return [
        {"timestamp": iso(world.at(at)), "sampledValue": [sampled(wh, context=context)]} for at, wh, context in points
    ]


def test_transaction_data_becomes_meter_values_of_the_session(world: World) -> None:
    transaction = world.begin(at=-60)
    points = [(-60.0, 1000, "Transaction.Begin"), (-30.0, 2000, "Sample.Periodic"), (0.0, 3000, "Transaction.End")]
    world.stop(transaction, 3000, transactionData=data(world, *points))
    rows = world.sql("select energy_wh, context, session_id from meter_values order by reported_at")
    assert [(r["energy_wh"], r["context"]) for r in rows] == [(wh, context) for _, wh, context in points]
    assert {r["session_id"] for r in rows} == {world.session(transaction)["id"]}
    assert world.session(transaction)["energy"] == 2


def test_transaction_data_counts_before_the_bill_is_made(world: World) -> None:
    """A meter that restarted is only seen in the samples between."""
    transaction = world.begin(at=-60)
    points = [(-50.0, 3000, "Sample.Periodic"), (-40.0, 100, "Sample.Periodic"), (-30.0, 700, "Sample.Periodic")]
    world.stop(transaction, 900, transactionData=data(world, *points))
    session = world.session(transaction)
    assert (session["energy"], session["flags"]) == (Decimal("2.8"), ["meter_restarted"])


@pytest.mark.parametrize(
    "rubbish",
    [
        {"sampledValue": [{"value": "1500"}]},
        "text",
        5,
        None,
        [],
        [None],
        ["x"],
        [[]],
        [{"sampledValue": None}],
        [{"timestamp": 1}],
    ],
)
def test_stop_is_booked_whatever_its_transaction_data(world: World, rubbish: object) -> None:
    transaction = world.begin(at=-60)
    assert world.stop(transaction, 3000, transactionData=rubbish) == {}
    assert world.session(transaction)["amount"] == 30


def test_transaction_data_of_a_stop_for_a_session_that_is_settled_is_stored(world: World) -> None:
    transaction = world.begin(at=-60)
    world.stop(transaction, 3000)
    world.stop(transaction, 3000, transactionData=data(world, (-30.0, 2000, "Sample.Periodic")))
    assert world.count("meter_values", "session_id is not null") == 1
    assert world.session(transaction)["energy"] == 2


def test_transaction_data_already_sent_as_meter_values_is_stored_once(world: World) -> None:
    transaction = world.begin(at=-60)
    world.meter(-30, sampled(2000, context="Sample.Periodic"), transaction=transaction)
    world.stop(transaction, 3000, transactionData=data(world, (-30.0, 2000, "Sample.Periodic")))
    assert world.count("meter_values") == 1


# --- energy ------------------------------------------------------------------------------------------


def test_hiccup_of_the_meter_is_not_billed(world: World) -> None:
    transaction = world.begin(at=-60)
    for at, wh in ((-50, 2000), (-40, 0), (-30, 3000)):
        world.meter(at, wh, transaction=transaction)
    assert world.session(transaction)["energy"] == 2
    world.stop(transaction, 3500)
    session = world.session(transaction)
    assert (session["energy"], session["flags"]) == (Decimal("2.5"), [])


@pytest.mark.parametrize("last", [3000.6, 3010, 3050])
def test_samples_rounded_up_are_no_restart_of_the_meter(world: World, last: float) -> None:
    """meterStop is whole Wh, samples have decimals or are kWh: the stop may lie a little below the last of them."""
    transaction = world.begin(at=-60)
    for at, wh in ((-40, 2000), (-1, last)):
        world.meter(at, wh, transaction=transaction)
    world.stop(transaction, 3000)
    session = world.session(transaction)
    assert (session["energy"], session["amount"], session["flags"]) == (2, 30, [])
    assert [line["quantity"] for line in session["receipt"]["lines"]] == [2]


def test_small_register_that_began_anew_before_the_stop_is_still_noticed(world: World) -> None:
    transaction = world.begin(meter=0, at=-60)
    for at, wh in ((-50, 3000), (-30, 400)):
        world.meter(at, wh, transaction=transaction)
    world.stop(transaction, 2950)
    session = world.session(transaction)
    assert (session["energy"], session["flags"]) == (Decimal("5.55"), ["meter_restarted"])


def test_meter_that_begins_anew_loses_nothing(world: World) -> None:
    transaction = world.begin(at=-60)
    for at, wh in ((-50, 4000), (-40, 100), (-30, 600), (-20, 1600)):
        world.meter(at, wh, transaction=transaction)
    assert world.session(transaction)["energy"] == Decimal("4.5")
    world.stop(transaction, 1700)
    session = world.session(transaction)
    assert (session["energy"], session["amount"], session["flags"]) == (Decimal("4.6"), 69, ["meter_restarted"])


def test_meter_that_begins_anew_and_climbs_above_its_start_is_still_noticed(world: World) -> None:
    transaction = world.begin(at=-120)
    for at, wh in ((-100, 4000), (-80, 100), (-60, 2600), (-40, 5000), (-20, 8000)):
        world.meter(at, wh, transaction=transaction)
    world.stop(transaction, 8100)
    assert world.session(transaction)["energy"] == 11


def test_samples_relative_to_the_session_between_registers_of_a_lifetime(world: World) -> None:
    transaction = world.begin(at=-60, meter=7_930_000)
    for at, wh in ((-50, 0), (-30, 3000), (-10, 8000)):
        world.meter(at, wh, transaction=transaction)
    world.stop(transaction, 7_940_000)
    assert world.session(transaction)["energy"] == 10


def test_samples_of_a_lifetime_between_registers_relative_to_the_session(world: World) -> None:
    transaction = world.begin(at=-60, meter=0)
    for at, wh in ((-50, 7_930_000), (-30, 7_933_000), (-10, 7_938_000)):
        world.meter(at, wh, transaction=transaction)
    world.stop(transaction, 10_000)
    session = world.session(transaction)
    assert session["energy"] == 10
    assert "implausible_energy" not in session["flags"]


@pytest.mark.parametrize("power", [350, None])
def test_session_relative_samples_are_told_from_a_restart_on_strong_connectors_too(
    world: World, power: float | None
) -> None:
    world.sql("update stations set power_capacity = %s", power)
    transaction = world.begin(at=-60, meter=100_000)
    for at, wh in ((-50, 0), (-30, 3000), (-1, 5000)):
        world.meter(at, wh, transaction=transaction)
    world.stop(transaction, 105_000)
    assert world.session(transaction)["energy"] == 5


def test_lifetime_register_billed_as_a_session_is_flagged(world: World) -> None:
    """evcc#29374: 7,930 kWh."""
    transaction = world.begin(at=-60, meter=0)
    world.stop(transaction, 7_930_000)
    session = world.session(transaction)
    assert (session["energy"], session["amount"], session["flags"]) == (7930, 118950, ["implausible_energy"])
    assert session["settled_at"] is not None


def test_implausible_energy_is_held_where_the_station_says_so(world: World) -> None:
    world.sql("update stations set hold_implausible = true")
    transaction = world.begin(at=-60, meter=0)
    world.stop(transaction, 7_930_000)
    session = world.session(transaction)
    assert (session["flags"], session["settled_at"], session["status"]) == (
        ["implausible_energy", "held"],
        None,
        "stopped",
    )
    world.stop(transaction, 7_930_000)
    world.heartbeat()
    assert world.session(transaction)["settled_at"] is None
    released = world.rpc("service_role", "release_session", session_id=session["id"])
    session = world.session(transaction)
    assert (session["flags"], session["amount"]) == (["implausible_energy"], 118950)
    assert session["settled_at"] is not None
    assert world.rpc("service_role", "release_session", session_id=session["id"]) == released  # billed once


def test_energy_up_to_the_power_of_the_connector_is_plausible(world: World) -> None:
    world.sql("update connectors set power = 150 where number = 1")
    transaction = world.begin(at=-60, meter=0)
    world.stop(transaction, 149_000)
    assert world.session(transaction)["flags"] == []


def test_register_that_fell_below_its_start_without_samples_is_no_negative_bill(world: World) -> None:
    transaction = world.begin(at=-60, meter=5000)
    world.stop(transaction, 4000)
    session = world.session(transaction)
    assert (session["energy"], session["amount"]) == (0, 0)
    assert "meter_restarted" in session["flags"]


def test_missing_start_register_is_taken_from_the_first_sample(world: World) -> None:
    transaction = world.begin(at=-60, meter=None)
    world.meter(-50, 1000, transaction=transaction)
    world.meter(-30, 2500, transaction=transaction)
    world.stop(transaction, 3000)
    session = world.session(transaction)
    assert (session["energy"], session["flags"]) == (2, ["meter_start_missing"])


# --- parking -------------------------------------------------------------------------------------


def status(world: World, status: str, at: float, **more: object) -> None:
    payload = {"connectorId": 1, "status": status, "errorCode": "NoError", "timestamp": iso(world.at(at)), **more}
    world.send("StatusNotification", payload, received=at)


def test_parking_begins_when_the_car_draws_nothing_more(world: World) -> None:
    world.sql(
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, price)"
        " select id, 'Parking', 'parking_fee', 2 from tariff_plans"
    )
    transaction = world.begin(at=-60)
    status(world, "Charging", -59)
    status(world, "SuspendedEV", -30)
    status(world, "Finishing", -10)
    assert world.session(transaction)["parking_start_time"] == world.at(-30)
    world.stop(transaction, 3000)
    session = world.session(transaction)
    assert session["amount"] == 30 + 60
    assert [line["tariff_type"] for line in session["receipt"]["lines"]] == ["per_kwh", "parking_fee"]


def test_car_that_draws_again_does_not_park(world: World) -> None:
    transaction = world.begin(at=-60)
    status(world, "SuspendedEV", -30)
    status(world, "Charging", -20)
    assert world.session(transaction)["parking_start_time"] is None


def test_status_that_arrives_late_does_not_begin_parking(world: World) -> None:
    transaction = world.begin(at=-60)
    status(world, "Charging", -20)
    payload = {"connectorId": 1, "status": "SuspendedEV", "errorCode": "NoError", "timestamp": iso(world.at(-30))}
    world.send("StatusNotification", payload, received=-10)
    assert world.session(transaction)["parking_start_time"] is None
    assert world.one("select status from connectors where station_id = %s and number = 1", STATION) == "Charging"


def test_status_from_before_the_session_does_not_begin_parking(world: World) -> None:
    transaction = world.begin(at=-60, received=-50)
    payload = {"connectorId": 1, "status": "Finishing", "errorCode": "NoError", "timestamp": iso(world.at(-61))}
    world.send("StatusNotification", payload, received=-49)
    assert world.session(transaction)["parking_start_time"] is None
