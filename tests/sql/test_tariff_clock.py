"""When a rule holds: local windows, midnight, weekdays, validity, duration, daylight-saving time."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from tests.sql.tariff_world import Period, World, lines, utc

BISHKEK = timedelta(hours=6)  # ahead of UTC, all year
HOUR = timedelta(hours=1)
KW = 1000  # Wh in an hour


@pytest.fixture
def world(undone: psycopg.Connection) -> World:
    return World(undone)


def local(text: str) -> datetime:
    """A time in Bishkek."""
    return utc(text) - BISHKEK


def kwh(world: World, start: datetime, hours: float) -> dict[str, Decimal]:
    """kWh by rule name of a session that draws 1 kW."""
    result = world.price([Period(start, start + hours * HOUR, Decimal(str(hours * KW)))])
    return {name: quantity for _, name, quantity, _ in lines(result)}


def winner(world: World, at: datetime) -> str | None:
    """Name of the rule that prices energy at an instant."""
    found = [name for _, name, _, _ in lines(world.price([Period(at, at, Decimal(1000))]))]
    return found[0] if found else None


def test_windows_are_half_open_in_local_time(world: World) -> None:
    world.rule("per_kwh", 10, "day", time_start="07:00", time_end="23:00")
    world.rule("per_kwh", 5, "night", time_start="23:00", time_end="07:00")
    second = timedelta(microseconds=1)
    for at, name in [(local("2026-05-06T07:00"), "day"), (local("2026-05-06T23:00"), "night")]:
        assert winner(world, at) == name
        assert winner(world, at - second) == ({"day": "night", "night": "day"}[name])


def test_energy_is_split_at_the_edge_of_a_window(world: World) -> None:
    world.rule("per_kwh", 10, "day", time_start="07:00", time_end="23:00")
    world.rule("per_kwh", 5, "night", time_start="23:00", time_end="07:00")
    assert kwh(world, local("2026-05-06T22:30"), 2) == {"day": Decimal("0.5"), "night": Decimal("1.5")}


def test_a_window_wraps_midnight_and_a_long_session_meets_it_each_night(world: World) -> None:
    world.rule("per_kwh", 5, "night", time_start="23:00", time_end="07:00")
    world.rule("per_kwh", 10, "else", priority=-1)
    assert kwh(world, local("2026-05-06T12:00"), 48) == {"else": 32, "night": 16}


def test_time_without_a_rule_is_free(world: World) -> None:
    world.rule("per_kwh", 10, "office hours", time_start="08:00", time_end="18:00")
    assert kwh(world, local("2026-05-06T17:00"), 3) == {"office hours": 1}


@pytest.mark.parametrize(
    ("start", "end"), [("00:00", "24:00"), ("00:00", "00:00"), ("09:30", "09:30"), ("00:00", "23:59:59")]
)
def test_equal_ends_and_the_old_default_mean_the_whole_day(world: World, start: str, end: str) -> None:
    world.rule("per_kwh", 15, "all day", time_start=start, time_end=end)
    assert world.snapshot(local("2026-05-06T12:00"))["flat"] is True
    assert kwh(world, local("2026-05-06T12:00"), 24) == {"all day": 24}


@pytest.mark.parametrize("end", ["23:59:59", "23:59:59.9"])
def test_a_window_to_23_59_59_is_stored_to_24_00(world: World, end: str) -> None:
    rule = world.rule("per_kwh", 15, "evening", time_start="18:00", time_end=end)
    assert world.one("select time_end::text from tariff_rules where id = %s", rule) == "24:00:00"
    assert kwh(world, local("2026-05-06T22:00"), 3) == {"evening": 2}
    world.db.execute("update tariff_rules set time_end = '22:30'")
    world.db.execute("update tariff_rules set time_end = %s", [end])
    assert world.one("select time_end::text from tariff_rules where id = %s", rule) == "24:00:00"


def test_a_window_that_ends_at_00_00_ends_at_midnight(world: World) -> None:
    world.rule("per_kwh", 15, "evening", time_start="18:00", time_end="00:00")
    assert kwh(world, local("2026-05-06T22:00"), 4) == {"evening": 2}


def test_weekend_is_saturday_and_sunday_of_the_location(world: World) -> None:
    world.rule("per_kwh", 20, "weekend", is_weekend=True, priority=1)
    world.rule("per_kwh", 10, "week")
    friday_noon = local("2026-05-08T12:00")
    assert kwh(world, friday_noon, 72) == {"week": 24, "weekend": 48}
    assert winner(world, local("2026-05-09T00:00")) == "weekend"  # still Friday in UTC
    assert winner(world, local("2026-05-11T00:00")) == "week"


def test_days_of_week_are_iso_days_of_the_instant_also_behind_midnight(world: World) -> None:
    world.rule("per_kwh", 5, "Friday night", time_start="22:00", time_end="06:00", days_of_week=[5])
    assert winner(world, local("2026-05-08T23:00")) == "Friday night"
    assert winner(world, local("2026-05-09T01:00")) is None  # a Saturday
    assert winner(world, local("2026-05-08T01:00")) == "Friday night"  # the early hours of Friday
    assert kwh(world, local("2026-05-07T20:00"), 48) == {"Friday night": 8}


def test_weekend_and_days_of_week_must_both_hold(world: World) -> None:
    world.rule("per_kwh", 5, "Sunday", is_weekend=True, days_of_week=[1, 7])
    assert winner(world, local("2026-05-10T12:00")) == "Sunday"
    assert winner(world, local("2026-05-11T12:00")) is None
    assert winner(world, local("2026-05-09T12:00")) is None


def test_all_seven_days_are_no_condition(world: World) -> None:
    world.rule("per_kwh", 5, days_of_week=[1, 2, 3, 4, 5, 6, 7])
    assert world.snapshot(local("2026-05-10T12:00"))["flat"] is True


def test_validity_is_half_open_and_splits(world: World) -> None:
    change = local("2026-05-06T12:20")
    world.rule("per_kwh", 10, "old", valid_until=change)
    world.rule("per_kwh", 20, "new", valid_from=change)
    assert winner(world, change) == "new"
    assert winner(world, change - timedelta(microseconds=1)) == "old"
    assert kwh(world, change - HOUR, 3) == {"old": 1, "new": 2}


@pytest.mark.parametrize("bound", ["2300-01-01Z", "9999-12-31Z"])
def test_a_far_bound_changes_nothing(world: World, bound: str) -> None:
    world.rule("per_kwh", 10, "rule", valid_until=bound, valid_from="0001-01-01Z")
    assert kwh(world, local("2026-05-06T12:00"), 30) == {"rule": 30}


def test_a_duration_band_counts_from_the_start_of_the_session(world: World) -> None:
    world.rule("per_kwh", 10, "first hour", max_duration_minutes=60)
    world.rule("per_kwh", 8, "then", min_duration_minutes=60, max_duration_minutes=Decimal("150"))
    start = local("2026-05-06T12:13:47")
    assert kwh(world, start, 4) == {"first hour": 1, "then": Decimal("1.5")}
    # also where the periods come in pieces, and parking goes on counting
    world.db.execute("delete from tariff_rules")
    world.rule("parking_fee", 5, "after the third hour", min_duration_minutes=180)
    result = world.price([Period(start, start + 2 * HOUR), Period(start + 2 * HOUR, start + 4 * HOUR, parking=True)])
    assert lines(result) == [("parking_fee", "after the third hour", 60, 300)]


def test_all_conditions_together(world: World) -> None:
    world.rule(
        "per_kwh",
        5,
        "narrow",
        priority=1,
        time_start="22:00",
        time_end="02:00",
        days_of_week=[5, 6],
        valid_from=local("2026-05-08T23:00"),
        valid_until=local("2026-05-09T23:30"),
        min_duration_minutes=120,
        max_duration_minutes=2000,
    )
    world.rule("per_kwh", 10, "else")
    # from Friday 21:30: the third hour begins at 23:30; to 02:00, then from Saturday 22:00 until 23:30
    assert kwh(world, local("2026-05-08T21:30"), 30) == {"else": 26, "narrow": 4}


# Daylight-saving time -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("Asia/Bishkek", []),
        ("Europe/Berlin", ["2026-03-29T01:00", "2026-10-25T01:00"]),
        ("Australia/Lord_Howe", ["2026-04-04T15:00", "2026-10-03T15:30"]),  # by half an hour
        ("America/St_Johns", ["2026-03-08T05:30", "2026-11-01T04:30"]),
        ("UTC", []),
    ],
)
def test_zone_changes_are_found_to_the_second(undone: psycopg.Connection, zone: str, changes: list[str]) -> None:
    found = undone.execute(
        "select private.zone_changes(%s, '2026-01-01 00:00:00.123456Z', '2026-12-31Z')", [zone]
    ).fetchone()
    assert found == ([utc(c) for c in changes],)


@pytest.fixture
def berlin(undone: psycopg.Connection) -> World:
    return World(undone, "Europe/Berlin")


def test_a_night_in_spring_has_an_hour_less(berlin: World) -> None:
    berlin.rule("per_kwh", 5, "night", time_start="22:00", time_end="06:00")
    berlin.rule("per_kwh", 10, "day", time_start="06:00", time_end="22:00")
    assert kwh(berlin, utc("2026-03-28T20:00"), 10) == {"day": 3, "night": 7}  # 21:00 CET to 07:00 CEST


def test_a_night_in_autumn_has_an_hour_more(berlin: World) -> None:
    berlin.rule("per_kwh", 5, "night", time_start="22:00", time_end="06:00")
    berlin.rule("per_kwh", 10, "day", time_start="06:00", time_end="22:00")
    assert kwh(berlin, utc("2026-10-24T19:00"), 11) == {"day": 2, "night": 9}  # 21:00 CEST to 07:00 CET


def test_a_window_that_the_spring_skips_into_begins_at_the_jump(berlin: World) -> None:
    berlin.rule("per_kwh", 5, "from half past two", time_start="02:30", time_end="04:00")
    # 02:00 CET is 03:00 CEST: there is no 02:30, and at 03:00 it is behind it
    assert kwh(berlin, utc("2026-03-29T00:00"), 4) == {"from half past two": 1}
    assert winner(berlin, utc("2026-03-29T00:59:59")) is None
    assert winner(berlin, utc("2026-03-29T01:00")) == "from half past two"


def test_a_window_within_the_skipped_hour_does_not_happen(berlin: World) -> None:
    berlin.rule("per_kwh", 5, "gone", time_start="02:10", time_end="02:50")
    assert kwh(berlin, utc("2026-03-29T00:00"), 4) == {}


def test_a_window_in_the_repeated_hour_happens_twice(berlin: World) -> None:
    berlin.rule("per_kwh", 5, "half past two", time_start="02:30", time_end="02:45")
    assert kwh(berlin, utc("2026-10-25T00:00"), 3) == {"half past two": Decimal("0.5")}
    assert kwh(berlin, utc("2026-10-24T00:00"), 3) == {"half past two": Decimal("0.25")}


def test_a_window_to_half_past_two_holds_again_after_the_clock_went_back(berlin: World) -> None:
    berlin.rule("per_kwh", 5, "early", time_start="00:00", time_end="02:30")
    # 00:00 to 02:30 CEST, then 02:00 to 02:30 CET
    assert kwh(berlin, utc("2026-10-24T22:00"), 6) == {"early": 3}


def test_the_weekend_of_the_change_is_as_long_as_it_is(berlin: World) -> None:
    berlin.rule("per_kwh", 20, "weekend", is_weekend=True)
    assert kwh(berlin, utc("2026-03-27T12:00"), 96) == {"weekend": 47}
    assert kwh(berlin, utc("2026-10-23T12:00"), 96) == {"weekend": 49}


def test_a_duration_is_real_time_across_a_change(berlin: World) -> None:
    berlin.rule("per_kwh", 5, "first two hours", max_duration_minutes=120)
    assert kwh(berlin, utc("2026-03-29T00:30"), 4) == {"first two hours": 2}
