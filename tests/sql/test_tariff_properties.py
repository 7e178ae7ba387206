"""What holds for every tariff and every session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.sql.tariff_world import LOCATION, PLAN, Period, World, dumps, half_up, lines, second_opinion, utc

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


rates = st.sampled_from([None, Decimal(0), Decimal("5.2"), Decimal(10), Decimal(12), Decimal(20), Decimal("99.9999")])


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Decimal]:
    """Columns of tariff_plans: least and most price before and with VAT, any of them, a most never below its least."""
    found: dict[str, Decimal] = {}
    for side in ("", "_incl_vat"):
        amounts = st.integers(0, 4_000_000) | st.integers(0, 30_000)
        least, more = (Decimal(draw(amounts)).scaleb(-4) for _ in range(2))
        if draw(st.integers(0, 2)) == 0:
            found["min_price" + side] = least
        if draw(st.integers(0, 2)) == 0:
            found["max_price" + side] = least + more
    return found


def columns(world: World, values: dict[str, Any]) -> None:
    for name, value in values.items():
        change = sql.SQL("update tariff_plans set {} = %s where id = %s").format(sql.Identifier(name))
        world.db.execute(change, [value, PLAN])


def taxed(result: Any, included: bool, digits: int) -> tuple[Decimal, Decimal]:
    """(before VAT, VAT) of the lines of what was used: VAT on the sum of each rate, its sum rounded once."""
    sums: dict[Decimal, Fraction] = {}
    for line in result["lines"]:
        if line["tariff_type"] != "vat":
            rate = Decimal(str(line.get("vat", 0)))
            sums[rate] = sums.get(rate, Fraction(0)) + Fraction(Decimal(str(line["amount"])))
    share = (s * Fraction(rate) / (100 + (Fraction(rate) if included else 0)) for rate, s in sums.items())
    vat = half_up(sum(share, Fraction(0)), digits)
    whole = Decimal(str(float(sum(sums.values(), Fraction(0))))).quantize(Decimal(1).scaleb(-digits))
    return (whole - vat if included else whole), vat


@examples
@given(
    data=st.data(),
    zone=zones,
    tariff=rules(),
    taxes=st.sampled_from([None, "NO", "YES", "N/A"]),
    bounds=limits(),
    discount=st.sampled_from([Decimal(0), Decimal("12.5"), Decimal("33.33"), Decimal(100)]),
    periods=sessions(),
    currency=st.sampled_from([("KGS", 2), ("JPY", 0), ("KWD", 3)]),
)
def test_vat_limits_and_discounts_add_up_in_quote_and_bill(
    world: World,
    data: st.DataObject,
    zone: str,
    tariff: list[dict[str, Any]],
    taxes: str | None,
    bounds: dict[str, Decimal],
    discount: Decimal,
    periods: list[Period],
    currency: tuple[str, int],
) -> None:
    cent = Decimal(1).scaleb(-currency[1])
    for rule in tariff:
        rule["vat"] = data.draw(rates)
    with example(world, zone, tariff, currency[0]):
        payer = world.one("insert into clients (kind, name) values ('account', 'Payer') returning id")
        if discount:
            granted = "insert into client_tariffs (client_id, discount_percent) values (%s, %s)"
            world.db.execute(granted, [payer, discount])
        columns(world, {"tax_included": taxes})
        plain = world.price(periods, payer)
        columns(world, bounds)
        result = world.price(periods, payer)
        snapshot = world.snapshot(periods[0].start, payer=payer)
        at, register, samples = periods[0].start, Decimal(1000), []
        for period in periods:
            at, register = period.end, register + period.wh
            samples.append((at, register))
        parked = [p.start for p in periods if p.parking]
        session = world.session(
            periods[0].start,
            at,
            register - 1000,
            samples[:-1],
            parking_start_time=parked[0] if parked else None,
            tariff=Jsonb(snapshot, dumps=dumps),
        )
        bill = world.bill(session)
    note(str(plain))
    note(str(result))
    if all(p.start < p.end for p in periods):
        assert bill == result

    for each in (plain, result):
        assert each["cost"] == sum(x["amount"] for x in each["lines"]) >= 0
        if "vat" in each:
            assert each["cost_before_vat"] + each["vat"] == each["cost"]
            assert min(each["cost_before_vat"], each["vat"]) >= 0
            assert sum(x["vat"] for x in each["vat_lines"]) == each["vat"]
            assert all(abs(x["amount"]) >= cent for x in each["lines"] if x["tariff_type"] in ("vat", "min_price"))
        for line in each["lines"]:
            if discount and "list_price" in line:
                assert Decimal(str(line["price"])) == Decimal(str(line["list_price"])) * (100 - discount) / 100
            if line["unit"] != "h":
                by_hand = (
                    Decimal(str(line["quantity"])) * Decimal(str(line["price"])) / (100 if line["unit"] == "%" else 1)
                )
                assert line["amount"] == by_hand.quantize(cent, "ROUND_HALF_UP")
    if "vat" in plain:
        assert (plain["cost_before_vat"], plain["vat"]) == taxed(plain, taxes == "YES", currency[1])

    untold = taxes if "vat" not in result and taxes in ("YES", "NO") else None
    totals = {"": result.get("cost_before_vat", result["cost"]), "_incl_vat": result["cost"]}
    for side, total in totals.items():
        least, most = bounds.get("min_price" + side), bounds.get("max_price" + side)
        other = "_incl_vat" if side == "" else ""
        if most is not None and not (untold == ("YES" if side == "" else "NO") and "max_price" + other in bounds):
            assert total <= most.quantize(cent, "ROUND_HALF_UP")
        if least is not None and not (untold == ("YES" if side == "" else "NO") and "min_price" + other in bounds):
            assert total >= least.quantize(cent, "ROUND_HALF_UP") or any(name.startswith("max") for name in bounds)
    fits = all(
        (total >= bounds.get("min_price" + side, 0)) and total <= bounds.get("max_price" + side, Decimal("Infinity"))
        for side, total in {"": plain.get("cost_before_vat", plain["cost"]), "_incl_vat": plain["cost"]}.items()
    )
    if fits:
        assert result == plain
