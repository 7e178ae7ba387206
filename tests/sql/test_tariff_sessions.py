"""From a session's meter values to its bill."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.tariff_world import STATION, Period, World, lines, second_opinion, utc

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
START = utc("2026-05-06T15:00")  # 21:00 in Bishkek, a Wednesday
WINDOWS = [
    {"tariff_type": "per_kwh", "name": "day", "price": 14, "time_start": "07:00", "time_end": "23:00"},
    {"tariff_type": "per_kwh", "name": "night", "price": 10, "time_start": "23:00", "time_end": "07:00"},
]


@pytest.fixture
def world(undone: psycopg.Connection) -> World:
    return World(undone)


def day_and_night(world: World) -> None:
    for rule in WINDOWS:
        world.rule(**rule)


def energy(periods: list[Period]) -> Decimal:
    return sum((p.wh for p in periods), Decimal(0))


def seamless(periods: list[Period], start: datetime, end: datetime) -> bool:
    return periods[0].start == start and periods[-1].end == end and all(a.end == b.start for a, b in pairwise(periods))


def test_energy_lies_where_the_meter_values_put_it(world: World) -> None:
    day_and_night(world)
    # 10 kWh before 23:00, 2 after; evenly spread it would be 6 and 6
    session = world.session(START, START + 4 * HOUR, 12_000, [(START + 2 * HOUR, 11_000), (START + 3 * HOUR, 12_500)])
    assert lines(world.bill(session)) == [("per_kwh", "day", 10, 140), ("per_kwh", "night", 2, 20)]


def test_without_meter_values_energy_is_spread_evenly(world: World) -> None:
    day_and_night(world)
    session = world.session(START, START + 4 * HOUR, 12_000)
    assert lines(world.bill(session)) == [("per_kwh", "day", 6, 84), ("per_kwh", "night", 6, 60)]


def test_between_two_meter_values_energy_is_spread_evenly(world: World) -> None:
    day_and_night(world)
    around = [(START + 110 * MINUTE, 9000), (START + 130 * MINUTE, 11_000)]  # 22:50 and 23:10
    session = world.session(START, START + 4 * HOUR, 12_000, around)
    assert lines(world.bill(session)) == [("per_kwh", "day", 9, 126), ("per_kwh", "night", 3, 30)]


def test_a_flat_tariff_is_one_period(world: World) -> None:
    world.rule("per_kwh", 15)
    session = world.session(START, START + 4 * HOUR, 25_500, [(START + n * MINUTE, 1000 + n) for n in range(1, 200)])
    assert world.periods(session) == [Period(START, START + 4 * HOUR, Decimal(25_500))]
    assert world.bill(session)["cost"] == Decimal("382.5")


def test_the_register_is_read_next_to_the_edges_only(world: World) -> None:
    for n in range(10):
        world.rule("per_kwh", 10 + n, time_start=f"{2 * n:02}:30", time_end=f"{2 * n + 2:02}:30")
    day = 24 * 60
    session = world.session(
        START, START + day * MINUTE, day * 100, [(START + n * MINUTE, 1000 + n * 100) for n in range(1, day)]
    )
    fetched = (
        "select coalesce(sum(idx_tup_fetch + seq_tup_read), 0) from pg_stat_xact_user_tables"
        " where relname ^@ 'meter_values_'"
    )
    with world.db.transaction():
        before = world.one(fetched)
        bill = world.bill(session)
        assert 0 < world.one(fetched) - before < 100
    assert len(bill["lines"]) == 10


def test_the_bill_is_that_of_all_meter_values(world: World) -> None:
    """Leaving out the samples between the edges changes nothing."""
    day_and_night(world)
    world.rule("per_kwh", 99, "weekend", is_weekend=True, priority=1)
    registers = [1000 + (n * n * 37) % 900 + 900 * n for n in range(1, 300)]
    samples = [(START + 17 * n * MINUTE, register) for n, register in enumerate(registers, 1)]
    end, wh = START + 17 * 300 * MINUTE, 280_000
    session = world.session(START, end, wh, samples)
    points = [(START, 1000), *samples, (end, 1000 + wh)]
    every = [Period(a, b, Decimal(q - p)) for (a, p), (b, q) in pairwise(points)]
    assert world.bill(session) == world.price(every)
    assert len(world.periods(session)) < 40


def test_a_session_across_windows_midnight_and_a_weekend(world: World) -> None:
    rules = [
        *WINDOWS,
        {"tariff_type": "per_kwh", "name": "weekend", "price": 18, "is_weekend": True, "priority": 10},
        {"tariff_type": "per_minute", "name": "time", "price": Decimal("0.25"), "days_of_week": [5]},
        {"tariff_type": "session_fee", "name": "fee", "price": 20},
        {"tariff_type": "parking_fee", "name": "parking", "price": 2, "time_start": "08:00", "time_end": "20:00"},
    ]
    for rule in rules:
        world.rule(**rule)
    start = utc("2026-05-08T13:17")  # a Friday, 19:17 in Bishkek
    parked, stop = start + 20 * HOUR, start + 30 * HOUR
    samples = [(start + n * 30 * MINUTE, 1000 + 550 * n) for n in range(1, 41)]
    session = world.session(start, stop, 22_000, samples, parking_start_time=parked)
    periods = [Period(start, parked, Decimal(22_000)), Period(parked, stop, parking=True)]
    cost, expected = second_opinion(rules, periods, "Asia/Bishkek")
    assert lines(world.bill(session)) == expected
    assert world.bill(session)["cost"] == cost
    assert {name for _, name, _, _ in expected} == {"day", "night", "weekend", "time", "fee", "parking"}


@pytest.mark.parametrize(("start", "hours"), [("2026-03-28T21:13", 9), ("2026-10-24T20:13", 9)])
def test_a_session_across_a_daylight_saving_change(undone: psycopg.Connection, start: str, hours: int) -> None:
    world = World(undone, "Europe/Berlin")
    rules = [
        *WINDOWS,
        {"tariff_type": "per_minute", "name": "small hours", "price": 1, "time_start": "01:40", "time_end": "03:20"},
    ]
    for rule in rules:
        world.rule(**rule)
    begin = utc(start)
    end = begin + hours * HOUR
    session = world.session(
        begin, end, hours * 6000, [(begin + n * MINUTE, 1000 + n * 100) for n in range(1, hours * 60)]
    )
    cost, expected = second_opinion(rules, [Period(begin, end, Decimal(hours * 6000))], "Europe/Berlin")
    assert (world.bill(session)["cost"], lines(world.bill(session))) == (cost, expected)
    assert world.quote(hours * 6, hours * 60, at=begin, connector_id=1) == world.bill(session)


# Parking --------------------------------------------------------------------------------------------------------------
def test_minutes_are_charging_or_parking(world: World) -> None:
    world.rule("per_minute", 1)
    world.rule("parking_fee", 3)
    session = world.session(START, START + HOUR, 5000, parking_start_time=START + 40 * MINUTE)
    assert lines(world.bill(session)) == [("per_minute", "per_minute", 40, 40), ("parking_fee", "parking_fee", 20, 60)]


@pytest.mark.parametrize(
    ("parked", "charging", "parking"), [(-10, 0, 60), (0, 0, 60), (60, 60, 0), (90, 60, 0), (None, 60, 0)]
)
def test_parking_outside_of_the_session_takes_its_nearest_end(
    world: World, parked: int | None, charging: int, parking: int
) -> None:
    world.rule("per_minute", 1)
    world.rule("parking_fee", 1)
    since = None if parked is None else START + parked * MINUTE
    result = world.bill(world.session(START, START + HOUR, 5000, parking_start_time=since))
    assert {kind: quantity for kind, _, quantity, _ in lines(result)} == {
        kind: quantity for kind, quantity in [("per_minute", charging), ("parking_fee", parking)] if quantity
    }


def test_energy_drawn_while_parking_is_paid(world: World) -> None:
    world.rule("per_kwh", 10)
    samples = [(START + 30 * MINUTE, 5000), (START + 50 * MINUTE, 5500)]
    session = world.session(START, START + HOUR, 4600, samples, parking_start_time=START + 30 * MINUTE)
    assert [(p.wh, p.parking) for p in world.periods(session)] == [(4000, False), (600, True)]
    assert world.bill(session)["cost"] == 46


# Running --------------------------------------------------------------------------------------------------------------
def test_a_running_session_is_priced_to_its_last_meter_value(world: World) -> None:
    world.rule("per_kwh", 15)
    world.rule("per_minute", 1)
    session = world.session(START, None, 3000, [(START + 20 * MINUTE, 2000), (START + 30 * MINUTE, 4000)])
    assert world.periods(session) == [Period(START, START + 30 * MINUTE, Decimal(3000))]
    assert world.bill(session)["cost"] == 45 + 30


def test_a_running_session_is_priced_to_the_time_asked_for(world: World) -> None:
    world.rule("per_kwh", 15)
    world.rule("per_minute", 1)
    session = world.session(START, None, 3000, [(START + 20 * MINUTE, 2000), (START + 30 * MINUTE, 4000)])
    assert world.bill(session, START + 45 * MINUTE)["cost"] == 45 + 45
    assert world.bill(session, START + 25 * MINUTE)["cost"] == 30 + 25  # half of the second step
    assert world.bill(session, START - HOUR)["cost"] == 0


def test_a_session_without_meter_values_yet_owes_its_fee(world: World) -> None:
    world.rule("session_fee", 20)
    world.rule("per_kwh", 15)
    session = world.session(START, None, 0)
    assert world.bill(session) == {**world.quote(0, at=START), "cost": 20}


def test_the_running_cost_reaches_the_bill_and_never_falls(world: World) -> None:
    day_and_night(world)
    world.rule("parking_fee", 2)
    samples = [(START + n * 10 * MINUTE, 1000 + n * 500) for n in range(1, 31)]
    parked = START + 300 * MINUTE
    costs = []
    for n in range(1, 31):
        session = world.session(START, None, n * 500, samples[:n])
        costs.append(world.bill(session)["cost"])
        world.db.execute("delete from meter_values")
    assert costs == sorted(costs)
    stopped = world.session(START, parked + HOUR, 15_000, samples, parking_start_time=parked)
    assert world.bill(stopped)["cost"] == costs[-1] + 120


# Odd meters -----------------------------------------------------------------------------------------------------------
def test_a_meter_that_restarts_loses_nothing(world: World) -> None:
    day_and_night(world)
    # 5 kWh, restart at 22:30, 1.5 kWh more before 23:00, 2.5 after
    samples = [(START + HOUR, 6000), (START + 90 * MINUTE, 0), (START + 2 * HOUR, 1500), (START + 3 * HOUR, 3000)]
    session = world.session(START, START + 4 * HOUR, 9000, samples, meter_restarted=True, register_end=4000)
    assert energy(world.periods(session)) == 9000
    assert lines(world.bill(session)) == [
        ("per_kwh", "day", Decimal("6.5"), 91),
        ("per_kwh", "night", Decimal("2.5"), 25),
    ]


def test_a_restart_that_nobody_marked_shows_in_the_registers(world: World) -> None:
    day_and_night(world)
    samples = [(START + HOUR, 6000), (START + 90 * MINUTE, 0), (START + 2 * HOUR, 1500), (START + 3 * HOUR, 3000)]
    session = world.session(START, START + 4 * HOUR, 9000, samples, register_end=4000)
    assert lines(world.bill(session)) == [
        ("per_kwh", "day", Decimal("6.5"), 91),
        ("per_kwh", "night", Decimal("2.5"), 25),
    ]


def test_one_low_reading_bends_nothing(world: World) -> None:
    day_and_night(world)
    samples = [
        (START + 110 * MINUTE, 10_800),
        (START + 2 * HOUR, 0),
        (START + 130 * MINUTE, 11_200),
        (START + 3 * HOUR, 12_500),
    ]
    session = world.session(START, START + 4 * HOUR, 12_000, samples)
    assert lines(world.bill(session)) == [("per_kwh", "day", 10, 140), ("per_kwh", "night", 2, 20)]


def test_a_register_out_of_range_is_another_meters(world: World) -> None:
    day_and_night(world)
    samples = [(START + n * HOUR, 7_930_000 + n) for n in range(1, 4)]
    session = world.session(START, START + 4 * HOUR, 12_000, samples)
    assert lines(world.bill(session)) == [("per_kwh", "day", 6, 84), ("per_kwh", "night", 6, 60)]


def test_meter_values_outside_of_the_session_do_not_count(world: World) -> None:
    day_and_night(world)
    samples = [(START - HOUR, 1000), (utc("1970-01-01T00:00"), 5000), (START + 5 * HOUR, 13_000)]
    session = world.session(START, START + 4 * HOUR, 12_000, samples)
    assert lines(world.bill(session)) == [("per_kwh", "day", 6, 84), ("per_kwh", "night", 6, 60)]


def test_meter_values_by_a_wrong_clock_are_put_right(world: World) -> None:
    day_and_night(world)
    off = timedelta(days=-20000, seconds=7)  # what the station's clock is behind
    samples = [(START + off + 2 * HOUR, 11_000), (START + off + 3 * HOUR, 12_500)]
    stopped = world.session(START, START + 4 * HOUR, 12_000, samples, clock_offset=-off)
    assert lines(world.bill(stopped)) == [("per_kwh", "day", 10, 140), ("per_kwh", "night", 2, 20)]
    running = world.session(START, None, 11_500, samples, clock_offset=-off)
    assert world.periods(running)[-1].end == START + 3 * HOUR


def test_meter_values_without_a_register_are_passed_over(world: World) -> None:
    day_and_night(world)
    samples = [
        (START + 115 * MINUTE, None),
        (START + 2 * HOUR, 11_000),
        (START + 121 * MINUTE, None),
        (START + 3 * HOUR, 12_500),
    ]
    session = world.session(START, START + 4 * HOUR, 12_000, samples)
    assert lines(world.bill(session)) == [("per_kwh", "day", 10, 140), ("per_kwh", "night", 2, 20)]


def test_a_session_of_no_length_sells_its_energy_at_its_instant(world: World) -> None:
    day_and_night(world)
    session = world.session(START + 2 * HOUR, START + 2 * HOUR, 3000)
    assert lines(world.bill(session)) == [("per_kwh", "night", 3, 30)]


def test_a_lost_start_register_is_reckoned_from_the_end(world: World) -> None:
    day_and_night(world)
    session = world.session(
        START, START + 4 * HOUR, 12_000, [(START + 2 * HOUR, 10_000)], meter_start=None, register_end=12_000
    )
    assert lines(world.bill(session)) == [("per_kwh", "day", 10, 140), ("per_kwh", "night", 2, 20)]


def test_periods_are_seamless_and_hold_all_energy(world: World) -> None:
    day_and_night(world)
    samples = [(START + n * 7 * MINUTE, 1000 + n * 333) for n in range(1, 100)]
    end = START + 12 * HOUR
    session = world.session(START, end, 33_333, samples, parking_start_time=START + 301 * MINUTE)
    periods = world.periods(session)
    assert seamless(periods, START, end)
    assert energy(periods) == 33_333
    assert {p.parking for p in periods if p.start < START + 301 * MINUTE} == {False}


def test_a_quote_with_the_facts_of_a_session_is_its_bill(world: World) -> None:
    day_and_night(world)
    for kind, price in [("per_minute", "0.35"), ("session_fee", 20), ("parking_fee", "1.75")]:
        world.rule(kind, price)
    parked = START + 197 * MINUTE
    session = world.session(START, parked + 53 * MINUTE, 25_500, [(parked, 26_500)], parking_start_time=parked)
    assert world.bill(session) == world.quote("25.5", 197, at=START, parking_minutes=53, connector_id=1)


def test_price_session_takes_a_row_as_it_stands_in_memory(world: World) -> None:
    """The ingest prices the row that it is about to write."""
    world.rule("per_kwh", 15)
    session = world.session(START, None, 0)
    result = world.one(
        "select private.price_session(jsonb_populate_record(s, %s)) from charging_sessions as s where id = %s",
        Jsonb({"energy_wh": 2000, "meter_last_wh": 3000, "meter_last_at": (START + HOUR).isoformat()}),
        session,
    )
    assert result["cost"] == 30
    assert world.one("select count(*) from charging_sessions where station_id = %s", STATION) == 1
