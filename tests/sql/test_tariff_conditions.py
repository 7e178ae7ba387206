"""Energy, power, current, dates, steps, VAT, least and most price: each by itself, in numbers to check by hand."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.sql.tariff_world import PLAN, Period, World, lines, utc

START = utc("2026-05-06T06:00")  # Wednesday 12:00 in Bishkek
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def world(undone: psycopg.Connection[Any]) -> World:
    return World(undone)


def hour(wh: int, hours: int = 1) -> list[Period]:
    return [Period(START, START + hours * HOUR, Decimal(wh))]


def test_energy_is_cut_where_the_price_changes(world: World) -> None:
    world.rule("per_kwh", 10, "usual")
    world.rule("per_kwh", 5, "first five", max_kwh=5, priority=1)
    world.rule("per_kwh", 20, "beyond ten", min_kwh=10, priority=1)
    assert lines(world.price(hour(4000))) == [("per_kwh", "first five", 4, 20)]
    expected = [("per_kwh", "first five", 5, 25), ("per_kwh", "usual", 5, 50), ("per_kwh", "beyond ten", 2, 40)]
    assert lines(world.price(hour(12_000))) == expected
    assert lines(world.quote(12)) == expected  # in no time


def test_time_is_cut_where_the_energy_reaches_a_bound(world: World) -> None:
    world.rule("per_minute", 1, "slow", max_kwh=5)
    world.rule("per_minute", 3, "then", min_kwh=5)
    assert lines(world.price(hour(20_000))) == [("per_minute", "slow", 15, 15), ("per_minute", "then", 45, 135)]


def test_where_the_meter_saw_the_energy_counts_for_the_time(world: World) -> None:
    world.rule("per_minute", 1, "slow", max_kwh=5)
    world.rule("per_minute", 3, "then", min_kwh=5)
    session = world.session(START, START + HOUR, 20_000, [(START + 30 * MINUTE, 6000), (START + 45 * MINUTE, 20_500)])
    assert lines(world.bill(session)) == [("per_minute", "slow", 30, 30), ("per_minute", "then", 30, 90)]


def test_power_is_that_of_the_car_not_of_the_connector(world: World) -> None:
    world.rule("per_kwh", 20, "fast", min_power=11)
    world.rule("per_kwh", 10, "slow", max_power=11)
    assert lines(world.price(hour(10_999))) == [("per_kwh", "slow", Decimal("10.999"), Decimal("109.99"))]
    assert lines(world.price(hour(11_000))) == [("per_kwh", "fast", 11, 220)]
    samples = [(START + 30 * MINUTE, 11_000), (START + 60 * MINUTE, 14_000)]
    session = world.session(START, START + 2 * HOUR, 14_000, samples)
    assert lines(world.bill(session)) == [("per_kwh", "fast", 10, 200), ("per_kwh", "slow", 4, 40)]


def test_power_that_the_station_reports_goes_before_the_mean(world: World) -> None:
    world.rule("per_kwh", 20, "fast", min_power=11)
    world.rule("per_kwh", 10, "slow", max_power=11)
    session = world.session(START, START + HOUR, 10_000, [(START + 30 * MINUTE, 6000)])
    world.db.execute("update meter_values set power_w = 22000 where session_id = %s", [session])
    assert [p["power_kw"] for p in _periods(world, session)] == [22]  # between the same bounds: one period
    assert lines(world.bill(session)) == [("per_kwh", "fast", 10, 200)]


def test_current_is_the_sum_over_the_phases(world: World) -> None:
    world.rule("per_minute", 2, "strong", min_current=40)
    world.rule("per_minute", 1, "weak", max_current=40)
    session = world.session(START, START + HOUR, 10_000, [(START + 30 * MINUTE, 6000)])
    assert lines(world.bill(session)) == [("per_minute", "strong", 60, 120)]  # 10 kW are 43.5 A at 230 V
    world.db.execute(
        "update meter_values set current_a = 13, samples = %s where session_id = %s",
        [Jsonb([{"measurand": "Current.Import", "phase": f"L{n}", "value": "13"} for n in (1, 2, 3)]), session],
    )
    assert lines(world.bill(session)) == [("per_minute", "weak", 60, 60)]


def _periods(world: World, session: object) -> Any:
    return world.one("select private.session_periods(s) from charging_sessions as s where id = %s", session)


def test_a_quote_without_minutes_goes_by_the_power_of_the_connector(world: World) -> None:
    world.rule("per_kwh", 20, "fast", min_power=22)
    world.rule("per_kwh", 10, "slow", max_power=22)
    assert world.quote(10)["price_per_kwh"] == 20
    assert world.quote(10, 60)["price_per_kwh"] == 10


def test_a_session_of_no_length_goes_by_the_power_of_the_connector_too(world: World) -> None:
    world.rule("session_fee", 5, "fast", min_power=22)
    assert world.bill(world.session(START, START, 3000)) == world.quote(3, at=START)


def test_dates_are_days_of_the_location(world: World) -> None:
    world.rule("per_kwh", 10, "usual")
    world.rule("per_kwh", 1, "feast", date_from=date(2026, 5, 7), date_until=date(2026, 5, 8), priority=1)
    midnight = utc("2026-05-06T18:00")
    periods = [Period(midnight - HOUR, midnight + 25 * HOUR, Decimal(26_000))]
    assert lines(world.price(periods)) == [("per_kwh", "usual", 2, 20), ("per_kwh", "feast", 24, 24)]


def test_a_price_per_hour_is_that_of_the_exact_time(world: World) -> None:
    world.rule("per_minute", "0.3", "hour", per_hour=True)
    (line,) = world.price([Period(START, START + 5 * MINUTE)])["lines"]
    assert (line["quantity"], line["unit"], line["price"]) == (Decimal("0.083333"), "h", Decimal("0.3"))
    assert line["amount"] == Decimal("0.03")  # 0.025, where 0.083333 x 0.3 would give 0.02


def test_blocks_are_filled_up_once_and_by_the_last_rule_in_force(world: World) -> None:
    world.rule("per_kwh", 10, "before", time_end="12:30", step_size=5000)
    world.rule("per_kwh", 20, "after", time_start="12:30", step_size=1000)
    assert lines(world.price(hour(4200))) == [
        ("per_kwh", "before", Decimal("2.1"), 21),
        ("per_kwh", "after", Decimal("2.9"), 58),
    ]
    world.rule("per_minute", 1, "charging", step_size=900)
    assert lines(world.price([Period(START, START + 31 * MINUTE)]))[-1] == ("per_minute", "charging", 45, 45)
    parked = [Period(START, START + 31 * MINUTE), Period(START + 31 * MINUTE, START + 33 * MINUTE, parking=True)]
    assert lines(world.price(parked))[-1][2] == 45  # parking costs nothing: it fills up nothing
    world.rule("parking_fee", 2, "parking", step_size=600)
    assert [(x[1], x[2]) for x in lines(world.price(parked))] == [("charging", 31), ("parking", 10)]


def test_a_fee_from_ocpi_is_due_when_its_element_first_holds(world: World) -> None:
    world.rule("session_fee", 50, "overstay", min_duration_minutes=60)
    assert world.price(hour(1000, 2))["cost"] == 0  # a fee of a plan made here is that of the start
    world.db.execute("update tariff_plans set ocpi_country_code = 'DE', ocpi_party_id = 'ALL', ocpi_id = '1'")
    assert world.price(hour(1000, 1))["cost"] == 0
    assert world.price(hour(1000, 2))["cost"] == 50


# --- VAT and limits ---------------------------------------------------------------------------------
def plan(world: World, **columns: object) -> None:
    for name, value in columns.items():
        world.db.execute(f"update tariff_plans set {name} = %s where id = %s", [value, PLAN])  # type: ignore[arg-type]


def totals(result: Any) -> tuple[Any, Any, Any]:
    return result["cost_before_vat"], result["vat"], result["cost"]


def test_vat_comes_on_top_unless_the_price_contains_it_or_none_is_due(world: World) -> None:
    world.rule("per_kwh", 10, "Energy", vat=12)
    world.rule("session_fee", 50, "Start")
    assert totals(world.price(hour(10_000))) == (150, 12, 162)
    plan(world, tax_included="YES")
    result = world.price(hour(10_000))
    assert totals(result) == (Decimal("139.29"), Decimal("10.71"), 150)
    assert [x["tariff_type"] for x in result["lines"]] == ["per_kwh", "session_fee"]
    assert result["vat_lines"] == [{"rate": 12, "base": Decimal("89.29"), "vat": Decimal("10.71")}]
    plan(world, tax_included="N/A")
    assert world.price(hour(10_000)).keys() == {"cost", "currency", "lines", "price_per_kwh", "session_fee"}


def test_what_has_no_vat_costs_what_it_costs_also_where_prices_contain_it(world: World) -> None:
    world.rule("per_kwh", 10, "Energy", vat=12)
    world.rule("session_fee", 50, "Start")
    plan(world, tax_included="YES")
    assert totals(world.price([Period(START, START)])) == (50, 0, 50)


def test_without_vat_and_limits_a_receipt_is_what_it_was(world: World) -> None:
    world.rule("per_kwh", 10, "Energy")
    assert world.price(hour(10_000)).keys() == {"cost", "currency", "lines", "price_per_kwh", "session_fee"}


def test_a_least_price_is_due_from_the_first_moment_and_a_most_price_ends_it(world: World) -> None:
    world.rule("per_kwh", 10, "Energy")
    plan(world, min_price=30, max_price=80)
    for wh, cost, last in (
        (0, 30, "min_price"),
        (2000, 30, "min_price"),
        (5000, 50, "per_kwh"),
        (9000, 80, "max_price"),
    ):
        result = world.price(hour(wh))
        assert (result["cost"], result["lines"][-1]["tariff_type"]) == (cost, last)
        assert sum(x["amount"] for x in result["lines"]) == cost


def vat_lines(result: Any) -> list[tuple[Any, ...]]:
    names = ("quantity", "price", "unit", "amount")
    return [tuple(x[name] for name in names) for x in result["lines"] if x["tariff_type"] == "vat"]


def test_the_vat_of_a_limit_is_that_of_what_is_paid(world: World) -> None:
    """The bases shrink with the price, so that anybody can check the line."""
    world.rule("per_kwh", 10, "Energy", vat=12)
    plan(world, max_price="8.3333")
    result = world.price(hour(5312))
    assert totals(result) == (Decimal("8.33"), 1, Decimal("9.33"))
    assert result["vat_lines"] == [{"rate": 12, "base": Decimal("8.33"), "vat": 1}]
    assert vat_lines(result) == [(Decimal("8.33"), 12, "%", 1)]
    plan(world, max_price=None, min_price=100)
    assert vat_lines(world.price(hour(5312))) == [(100, 12, "%", 12)]
    plan(world, min_price=None, max_price_incl_vat=Decimal("11.2"))
    result = world.price(hour(5312))
    assert totals(result) == (10, Decimal("1.2"), Decimal("11.2"))
    assert vat_lines(result) == [(10, 12, "%", Decimal("1.2"))]
    plan(world, max_price_incl_vat=11, max_price=10)  # OCPI's: another VAT than the rate's
    result = world.price(hour(5312))
    assert (totals(result), vat_lines(result)) == ((10, 1, 11), [(1, 1, "session", 1)])


def test_each_rate_bears_its_share_of_a_limit(world: World) -> None:
    world.rule("per_kwh", 10, "Energy", vat=12)
    world.rule("session_fee", 20, "Start", vat=20)
    plan(world, max_price=60)
    result = world.price(hour(10_000))
    assert result["vat_lines"] == [{"rate": 12, "base": 50, "vat": 6}, {"rate": 20, "base": 10, "vat": 2}]
    assert totals(result) == (60, 8, 68)


amounts = st.integers(0, 4000).map(lambda n: Decimal(n).scaleb(-2))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rates=st.lists(st.sampled_from([None, 0, Decimal("5.2"), 12, 20]), min_size=3, max_size=3),
    taxes=st.sampled_from([None, "YES", "NO", "N/A"]),
    limits=st.fixed_dictionaries(
        {}, optional={"min_price": amounts, "min_price_incl_vat": amounts, "max_price": amounts.map(lambda a: a + 40)}
    ),
    most=st.none() | amounts.map(lambda a: a + 40),
    wh=st.integers(0, 9000),
)
def test_totals_agree_whatever_the_rates_and_limits(
    world: World, rates: list[Any], taxes: str | None, limits: dict[str, Decimal], most: Decimal | None, wh: int
) -> None:
    with world.db.transaction(force_rollback=True):
        for kind, price, rate in zip(("per_kwh", "per_minute", "session_fee"), (3, "0.07", "1.5"), rates, strict=True):
            world.rule(kind, price, vat=rate)
        plan(world, tax_included=taxes, max_price_incl_vat=most, **limits)
        result = world.price(hour(wh))
    cost = result["cost"]
    assert cost == sum(x["amount"] for x in result["lines"])
    assert cost >= limits.get("min_price_incl_vat", 0)
    assert most is None or cost <= most
    if "cost_before_vat" in result:
        assert result["cost_before_vat"] + result["vat"] == cost
        assert result["vat"] >= 0
        assert sum(x["vat"] for x in result["vat_lines"]) == result["vat"]
        rates_known = all(rate is not None for rate in rates) or not result["cost_before_vat"]
        bases = sum(x["base"] for x in result["vat_lines"])
        assert bases == result["cost_before_vat"] if rates_known else bases <= result["cost_before_vat"]
        for line in result["lines"]:
            if line["tariff_type"] in ("vat", "min_price", "max_price"):
                exact = Decimal(line["quantity"]) * line["price"] / (100 if line["unit"] == "%" else 1)
                assert exact.quantize(Decimal("0.01"), ROUND_HALF_UP) == line["amount"]
        assert most is not None or result["cost_before_vat"] >= limits.get("min_price", 0)
    else:
        assert taxes == "N/A" or not any(rate is not None for rate in rates)
        assert most is not None or cost >= limits.get("min_price", 0)


def test_a_snapshot_from_before_these_conditions_is_priced_as_then(world: World) -> None:
    """Sessions that were under way when the database was brought up to date."""
    old = {
        "currency": "KGS",
        "time_zone": "Asia/Bishkek",
        "flat": False,
        "rules": [
            {
                "rule_name": "night",
                "tariff_type": "per_kwh",
                "price": 10,
                "time_start": "13:00:00",
                "time_end": "07:00:00",
            },
            {"rule_name": "day", "tariff_type": "per_kwh", "price": 14},
            {"rule_name": "start", "tariff_type": "session_fee", "price": 20},
        ],
    }
    result = world.one(
        "select private.price_periods(%s, %s)", Jsonb(old), Jsonb([p.as_json() for p in hour(12_000, 2)])
    )
    assert lines(result) == [("per_kwh", "day", 6, 84), ("per_kwh", "night", 6, 60), ("session_fee", "start", 1, 20)]
    flat = old | {"flat": True, "rules": old["rules"][1:]}  # type: ignore[index]
    result = world.one(
        "select private.price_periods(%s, %s)", Jsonb(flat), Jsonb([p.as_json() for p in hour(12_000, 2)])
    )
    assert lines(result) == [("per_kwh", "day", 12, 168), ("session_fee", "start", 1, 20)]
