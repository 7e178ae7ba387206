"""What holds for every tariff and every session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.sql.tariff_world import LOCATION, Period, World, lines, second_opinion, utc

MINUTE = timedelta(minutes=1)
# One database serves all examples of a test: each example runs in a transaction that is rolled back.
examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

clocks = st.integers(0, 48).map(lambda n: f"{n // 2:02}:{n % 2 * 30:02}")
zones = st.sampled_from(["Asia/Bishkek", "Europe/Berlin"])
starts = st.builds(
    lambda day, minute: day + minute * MINUTE,
    # around both changes of the clock in Berlin, and around any weekend
    st.sampled_from(
        [utc("2026-03-28T12:00"), utc("2026-10-24T12:00"), utc("2026-05-08T00:00"), utc("2026-12-31T06:00")]
    ),
    st.integers(0, 24 * 60),
)


def bounds(draw: st.DrawFn, rule: dict[str, Any], name: str, most: int) -> None:
    """min_ or max_ of what is measured, or both, in thousandths."""
    least = draw(st.integers(0, most))
    which = draw(st.sampled_from(["min", "max", "both"]))
    if which != "max":
        rule[f"min_{name}"] = Decimal(least).scaleb(-3)
    if which != "min":
        rule[f"max_{name}"] = Decimal(least + draw(st.integers(1, most))).scaleb(-3)


@st.composite
def rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Columns of tariff_rules in the order of their insertion."""
    found = []
    for n in range(draw(st.integers(1, 7))):
        rule: dict[str, Any] = {
            "name": f"rule {n}",
            "tariff_type": draw(st.sampled_from(["per_kwh", "per_kwh", "per_minute", "session_fee", "parking_fee"])),
            "price": Decimal(draw(st.integers(0, 300_000))).scaleb(-4),
            "priority": draw(st.integers(-1, 1)),
            "created_at": utc("2026-01-01T00:00") + n * MINUTE,
        }
        if draw(st.booleans()):
            rule["time_start"], rule["time_end"] = draw(clocks), draw(clocks)
        if draw(st.integers(0, 3)) == 0:
            rule["is_weekend"] = True
        if draw(st.integers(0, 3)) == 0:
            rule["days_of_week"] = sorted(draw(st.sets(st.integers(1, 7), min_size=1)))
        if draw(st.integers(0, 3)) == 0:
            rule["min_duration_minutes"] = draw(st.integers(0, 600))
        if draw(st.integers(0, 3)) == 0:
            rule["max_duration_minutes"] = rule.get("min_duration_minutes", 0) + draw(st.integers(1, 600))
        if rule["tariff_type"] == "per_kwh" and draw(st.integers(0, 2)) == 0:
            bounds(draw, rule, "kwh", 40_000)
        if draw(st.integers(0, 5)) == 0:
            bounds(draw, rule, "power", 25_000)
        if draw(st.integers(0, 7)) == 0:
            bounds(draw, rule, "current", 100_000)
        if draw(st.integers(0, 7)) == 0:
            rule["date_from"] = draw(starts).date()
        if draw(st.integers(0, 7)) == 0:
            rule["date_until"] = rule.get("date_from", draw(starts).date()) + timedelta(days=draw(st.integers(1, 3)))
        if rule["tariff_type"] in ("per_minute", "parking_fee"):
            rule["per_hour"] = draw(st.booleans())
            rule["step_size"] = draw(st.sampled_from([None, None, 1, 60, 900, 1700]))
        elif rule["tariff_type"] == "per_kwh":
            rule["step_size"] = draw(st.sampled_from([None, None, 1, 7, 500]))
        if draw(st.integers(0, 5)) == 0:
            rule["valid_from"] = draw(starts)
        if draw(st.integers(0, 5)) == 0:
            rule["valid_until"] = rule.get("valid_from", draw(starts)) + draw(st.integers(1, 3000)) * MINUTE
        found.append(rule)
    return found


@st.composite
def sessions(draw: st.DrawFn) -> list[Period]:
    """Seamless periods at whole minutes, the last of them parked; whole Wh, mostly not divisible by the minutes."""
    at, found = draw(starts), []
    pieces = draw(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 60_000)), min_size=1, max_size=4))
    parked = draw(st.integers(0, len(pieces)))
    for n, (length, wh) in enumerate(pieces):
        found.append(Period(at, at + length * MINUTE, Decimal(wh), parking=n >= parked))
        at += length * MINUTE
    return found


@contextmanager
def example(world: World, zone: str, tariff: list[dict[str, Any]], currency: str = "KGS") -> Iterator[None]:
    with world.db.transaction(force_rollback=True):
        world.db.execute("update locations set time_zone = %s where id = %s", [zone, LOCATION])
        for rule in tariff:
            world.rule(**rule, currency=currency)
        yield


@pytest.fixture
def world(db: psycopg.Connection) -> World:
    return World(db)


@examples
@given(zone=zones, tariff=rules(), periods=sessions(), currency=st.sampled_from([("KGS", 2), ("JPY", 0), ("KWD", 3)]))
def test_the_cost_is_that_of_pricing_minute_by_minute(
    world: World, zone: str, tariff: list[dict[str, Any]], periods: list[Period], currency: tuple[str, int]
) -> None:
    with example(world, zone, tariff, currency[0]):
        result = world.price(periods)
    cost, expected = second_opinion(tariff, periods, zone, currency[1])
    note(str(result))
    assert lines(result) == expected
    assert result["cost"] == cost


@examples
@given(zone=zones, tariff=rules(), periods=sessions())
def test_the_lines_add_up(world: World, zone: str, tariff: list[dict[str, Any]], periods: list[Period]) -> None:
    with example(world, zone, tariff):
        result = world.price(periods)
    assert result["cost"] == sum(x["amount"] for x in result["lines"])
    for line in result["lines"]:
        by_hand = Decimal(line["quantity"]) * line["price"]
        if line["unit"] == "h":  # the exact time counts: within half of the sixth decimal of an hour
            assert abs(line["amount"] - by_hand) <= Decimal("0.005") + line["price"] * Decimal("0.000001")
        else:
            assert line["amount"] == by_hand.quantize(Decimal("0.01"), "ROUND_HALF_UP")
        assert line["quantity"] > 0
    assert len({x["rule_id"] for x in result["lines"]}) == len(result["lines"])
    sold = sum(x["quantity"] for x in result["lines"] if x["tariff_type"] == "per_kwh")
    assert sold <= sum(p.wh for p in periods) / 1000 + max(Decimal(r.get("step_size") or 0) for r in tariff) / 1000


@examples
@given(data=st.data(), zone=zones, tariff=rules(), start=starts, minutes=st.integers(2, 2000), wh=st.integers(0, 90))
def test_splitting_a_period_never_changes_the_cost(
    world: World, data: st.DataObject, zone: str, tariff: list[dict[str, Any]], start: Any, minutes: int, wh: int
) -> None:
    each = Decimal(wh) / 7  # Wh in a minute; not a number that ends
    each = each.quantize(Decimal("1e-9"))
    cuts = sorted(data.draw(st.sets(st.integers(1, minutes - 1), max_size=8)))
    edges = [start + n * MINUTE for n in [0, *cuts, minutes]]
    with example(world, zone, tariff):
        whole = world.price([Period(edges[0], edges[-1], each * minutes)])
        pieces = world.price([Period(a, b, each * ((b - a) // MINUTE)) for a, b in pairwise(edges)])
    assert pieces == whole


@examples
@given(
    zone=zones,
    tariff=rules(),
    start=starts,
    minutes=st.decimals(0, 1500, places=3),
    parking=st.decimals(0, 600, places=3),
    wh=st.integers(0, 90_000),
)
def test_a_quote_equals_the_bill(
    world: World, zone: str, tariff: list[dict[str, Any]], start: Any, minutes: Decimal, parking: Decimal, wh: int
) -> None:
    parked = start + timedelta(microseconds=int(minutes * 60_000_000))
    stop = parked + timedelta(microseconds=int(parking * 60_000_000))
    with example(world, zone, tariff):
        samples = [(parked, 1000 + wh)] if start < parked < stop else []
        # parked at once: the energy came in no time
        session = world.session(start, stop, wh, samples, parking_start_time=parked if parking else None)
        quote = world.quote(Decimal(wh) / 1000, minutes, at=start, parking_minutes=parking, connector_id=1)
        bill = world.bill(session)
    if minutes or not parking or not wh:
        assert bill == quote


@examples
@given(data=st.data(), zone=zones, tariff=rules(), start=starts, restarts=st.booleans())
def test_the_samples_next_to_the_edges_tell_as_much_as_all(
    world: World, data: st.DataObject, zone: str, tariff: list[dict[str, Any]], start: Any, restarts: bool
) -> None:
    steps = data.draw(st.lists(st.tuples(st.integers(1, 90), st.integers(0, 4000)), min_size=1, max_size=60))
    at, register, grown, samples, every = start, 1000, 0, [], []
    for n, (minutes, wh) in enumerate(steps):
        if restarts and n == len(steps) // 2:
            every.append(Period(at, at + MINUTE))
            at, register = at + MINUTE, 0
            samples.append((at, register))
        every.append(Period(at, at + minutes * MINUTE, Decimal(wh)))
        at, register, grown = at + minutes * MINUTE, register + wh, grown + wh
        samples.append((at, register))
    with example(world, zone, tariff):
        session = world.session(start, at, grown, samples[:-1], register_end=register, meter_restarted=restarts)
        bill, periods, expected = world.bill(session), world.periods(session), world.price(every)
    assert bill == expected
    assert sum(p.wh for p in periods) == grown
    assert (periods[0].start, periods[-1].end) == (start, at)
    assert all(a.end == b.start for a, b in pairwise(periods))
