"""Rounding, currencies, and what a receipt adds up to."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest

from tests.sql.tariff_world import COMPANY, PLAN, STATION, Period, World, lines, utc

START = utc("2026-05-06T06:00")
HOUR = timedelta(hours=1)


@pytest.fixture
def world(undone: psycopg.Connection) -> World:
    return World(undone)


@pytest.mark.parametrize(
    ("currency", "kwh", "price", "amount"),
    [
        ("KGS", "1", "0.125", "0.13"),  # half up, not to even
        ("KGS", "1", "0.135", "0.14"),
        ("KGS", "1", "0.1249", "0.12"),
        ("KGS", "0.333333", "15", "5"),
        ("JPY", "1", "30.5", "31"),
        ("JPY", "1", "30.4999", "30"),
        ("KWD", "1", "0.0625", "0.063"),
        ("CLF", "1", "0.0625", "0.0625"),
        ("XXX", "1", "0.125", "0.13"),  # ISO 4217 for no currency: a code without decimals of its own
    ],
)
def test_amounts_are_rounded_half_up_to_the_minor_unit(
    world: World, currency: str, kwh: str, price: str, amount: str
) -> None:
    world.rule("per_kwh", price, currency=currency)
    result = world.quote(kwh)
    assert (result["cost"], result["currency"]) == (Decimal(amount), currency)


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("KGS", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("TND", 3), ("CLF", 4), (None, 2)],
)
def test_minor_units_are_those_of_iso_4217(undone: psycopg.Connection, currency: str | None, digits: int) -> None:
    assert undone.execute("select private.currency_digits(%s)", [currency]).fetchone() == (digits,)


def test_every_line_is_rounded_and_the_cost_is_their_sum(world: World) -> None:
    world.rule("per_kwh", "0.015", "a", max_duration_minutes=60)
    world.rule("per_kwh", "0.025", "b", min_duration_minutes=60)
    world.rule("session_fee", "0.005")
    result = world.price([Period(START, START + 2 * HOUR, Decimal(2000))])
    assert [x["amount"] for x in result["lines"]] == [Decimal("0.02"), Decimal("0.03"), Decimal("0.01")]
    assert result["cost"] == Decimal("0.06")  # 0.045 if rounded once


def test_one_line_per_rule_however_often_it_wins(world: World) -> None:
    world.rule("per_kwh", "0.01", "day", time_start="07:00", time_end="23:00")
    world.rule("per_kwh", "0.02", "night", time_start="23:00", time_end="07:00")
    result = world.price([Period(START, START + 72 * HOUR, Decimal(72_000))])
    assert lines(result) == [("per_kwh", "day", 48, Decimal("0.48")), ("per_kwh", "night", 24, Decimal("0.48"))]


def test_lines_stand_in_the_order_in_which_their_rules_first_counted(world: World) -> None:
    world.rule("parking_fee", 1, "all day")
    world.rule("parking_fee", 2, "while charging, and at night", priority=1, time_start="22:00", time_end="13:00")
    start, parked = START, START + HOUR  # 12:00 to 13:00
    result = world.price([Period(start, parked), Period(parked, parked + 10 * HOUR, parking=True)])
    assert [name for _, name, _, _ in lines(result)] == ["all day", "while charging, and at night"]


def test_the_quantities_of_a_type_add_up_to_the_whole(world: World) -> None:
    for n in range(3):
        world.rule("per_kwh", 15, f"third {n + 1}", min_duration_minutes=60 * n, max_duration_minutes=60 * n + 60)
    result = world.price([Period(START, START + 3 * HOUR, Decimal(10_000))])
    quantities = [x["quantity"] for x in result["lines"]]
    assert sum(quantities) == 10
    assert all(abs(q - Decimal(10) / 3) < Decimal("0.000001") for q in quantities)


def test_quantity_times_price_is_the_amount(world: World) -> None:
    world.rule("per_minute", "0.015")
    result = world.price([Period(START, START + timedelta(seconds=20))])  # a third of a minute
    (line,) = result["lines"]
    assert (line["quantity"], line["amount"]) == (Decimal("0.333333"), 0)
    assert round(line["quantity"] * line["price"], 2) == line["amount"]


def test_thirds_that_make_a_whole_are_the_whole(world: World) -> None:
    """Half a minor unit exactly: a sum of rounded thirds would fall below it."""
    world.rule("per_kwh", "0.005", "a", time_start="00:00", time_end="12:40")
    world.rule("per_kwh", "0.005", "b", time_start="12:40", time_end="24:00")
    # 12:00 to 13:00 and on: two thirds of 1.5 kWh before 12:40, in one period and in three
    whole = world.price([Period(START, START + HOUR, Decimal(1500))])
    pieces = [Period(START + HOUR / 3 * n, START + HOUR / 3 * (n + 1), Decimal(500)) for n in range(3)]
    assert world.price(pieces) == whole
    assert lines(whole)[0] == ("per_kwh", "a", 1, Decimal("0.01"))


def test_prices_with_four_decimals_and_tiny_energies_count(world: World) -> None:
    world.rule("per_kwh", "9999.9999")
    assert world.quote("0.000001")["cost"] == Decimal("0.01")
    assert world.quote("0.0000001")["lines"] == []


def test_a_price_of_zero_is_on_the_receipt(world: World) -> None:
    world.rule("per_kwh", 0, "free")
    assert lines(world.quote(5)) == [("per_kwh", "free", 5, 0)]


@pytest.mark.parametrize(("vat", "least"), [(None, "min_price_incl_vat"), (0, "min_price"), (10, "min_price")])
def test_a_most_price_goes_before_a_least_one(world: World, vat: int | None, least: str) -> None:
    world.rule("per_kwh", 15, vat=vat)
    most = "max_price_incl_vat" if least == "min_price" else "max_price"
    world.db.execute(f"update tariff_plans set {least} = 5, {most} = 0")
    for kwh in (0, 1):
        result = world.quote(kwh)
        assert result["cost"] == sum(x["amount"] for x in result["lines"]) == 0


# One currency ---------------------------------------------------------------------------------------------------------
def test_a_plan_refuses_a_rule_in_another_currency(world: World) -> None:
    world.rule("per_kwh", 15)
    with pytest.raises(psycopg.Error, match='"Plan" would mix currencies: KGS, USD') as caught:
        world.rule("session_fee", 1, currency="USD")
    assert caught.value.sqlstate == "OCTRF"
    world.rule("session_fee", 1)
    with pytest.raises(psycopg.Error, match="mix currencies"), world.db.transaction():
        world.db.execute("update tariff_rules set currency = 'USD' where tariff_type = 'session_fee'")


def test_a_plan_changes_its_currency_in_one_statement_or_behind_inactive_rules(world: World) -> None:
    world.rule("per_kwh", 15)
    world.rule("session_fee", 20)
    world.db.execute("update tariff_rules set currency = 'EUR', price = price / 100")
    assert world.quote(100)["currency"] == "EUR"
    world.db.execute("update tariff_rules set is_active = false")
    world.rule("per_kwh", 15)
    assert world.quote(100)["currency"] == "KGS"
    with pytest.raises(psycopg.Error, match="mix currencies"), world.db.transaction():
        world.db.execute("update tariff_rules set is_active = true")


def test_two_who_add_rules_at_once_cannot_mix_currencies(db: psycopg.Connection) -> None:
    world = World(db)
    with psycopg.connect(world.db.info.dsn, password=world.db.info.password) as other:
        world.db.execute("begin")
        world.rule("per_kwh", 15)
        other.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute(
                "insert into tariff_rules (tariff_plan_id, name, tariff_type, price, currency)"
                " values (%s, 'x', 'per_kwh', 1, 'USD')",
                [PLAN],
            )
        world.db.execute("commit")


def test_own_prices_are_in_the_currency_of_the_plan(world: World) -> None:
    world.rule("per_minute", 1)
    refusal = 'station "ST-1" has a price of its own in USD, its tariff plan "Plan" is in KGS'
    with pytest.raises(psycopg.Error, match=refusal) as caught, world.db.transaction():
        world.db.execute("update stations set price_per_kwh = 1, currency = 'USD'")
    assert caught.value.sqlstate == "OCTRF"
    world.db.execute("update stations set currency = 'USD'")  # says nothing without a price
    assert world.quote(0, 10)["currency"] == "KGS"
    world.db.execute("update stations set currency = 'KGS', price_per_kwh = 1")
    with pytest.raises(psycopg.Error, match='its tariff plan "Plan" is in USD'), world.db.transaction():
        world.db.execute("update tariff_rules set currency = 'USD'")


def refused(world: World, statement: str, *values: object) -> None:
    """OCTRF, because a station's own price and the plan that holds would be in two currencies."""
    with pytest.raises(psycopg.Error, match="has a price of its own in") as caught, world.db.transaction():
        world.db.execute(statement, values)
    assert caught.value.sqlstate == "OCTRF"


def default_plan(world: World, currency: str, client: object, **columns: object) -> UUID:
    row = {"client_id": client, "name": f"Default {currency}", "is_default": True, **columns}
    plan = world._insert("tariff_plans", row)
    world.rule("parking_fee", 1, f"Parking {currency}", tariff_plan_id=plan, currency=currency)
    return plan


DOLLARS = "update stations set session_fee = 5, currency = 'USD' where id = %s"


def test_own_prices_are_in_the_currency_of_the_default_plan_that_holds(world: World) -> None:
    """A session fee in USD beside a plan in KGS would give the energy away."""
    world.station(tariff_plan_id=None)
    world.db.execute("update tariff_plans set is_default = true where id = %s", [PLAN])
    world.rule("per_kwh", 15)
    refused(world, DOLLARS, STATION)
    world.station(tariff_plan_id=default_plan(world, "USD", COMPANY, is_default=False))
    world.db.execute(DOLLARS, [STATION])
    refused(world, "update stations set tariff_plan_id = null where id = %s", STATION)
    world.station(session_fee=None)
    world.station(tariff_plan_id=None)
    assert world.quote(10)["cost"] == 150


def test_a_station_without_any_plan_has_prices_in_any_currency(world: World) -> None:
    world.station(tariff_plan_id=None)
    world.db.execute(DOLLARS, [STATION])
    refused(
        world,
        "update stations set tariff_plan_id = %s",
        default_plan(world, "KGS", COMPANY, is_default=False),
    )


@pytest.mark.parametrize(
    "change",
    [
        "update tariff_plans set is_default = false where name = 'Default USD'",
        "update tariff_plans set is_active = false where name = 'Default USD'",
        "update tariff_plans set valid_until = now() + interval '1 day' where name = 'Default USD'",
        "update tariff_plans set valid_from = now() + interval '1 day' where name = 'Default USD'",
        "update tariff_plans set client_id = null, is_default = false where name = 'Default USD'",
        "delete from tariff_plans where name = 'Default USD'",
        "update locations set client_id = null",
        "update stations set location_id = null",
        "update tariff_rules set currency = 'KGS' where name = 'Parking USD'",
    ],
)
def test_no_change_elsewhere_brings_own_prices_under_another_currency(world: World, change: str) -> None:
    world.station(tariff_plan_id=None)
    default_plan(world, "KGS", None)
    default_plan(world, "USD", COMPANY)
    world.db.execute(DOLLARS, [STATION])
    refused(world, change)
    world.station(session_fee=None)
    with world.db.transaction():
        world.db.execute(change)


def test_a_plan_that_comes_into_force_is_in_the_currency_of_own_prices(world: World) -> None:
    world.station(tariff_plan_id=None)
    default_plan(world, "USD", None)
    plan = default_plan(world, "KGS", COMPANY, is_active=False)
    world.db.execute(DOLLARS, [STATION])
    refused(world, "update tariff_plans set is_active = true where id = %s", plan)
    world.db.execute("update tariff_plans set is_default = false, is_active = true where id = %s", [plan])
    refused(world, "update tariff_plans set is_default = true where id = %s", plan)
    rule = "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values (%s, 'x', 'per_kwh', 15)"
    world.db.execute("delete from tariff_rules where tariff_plan_id = %s", [plan])
    world.db.execute("update tariff_plans set is_default = true where id = %s", [plan])
    refused(world, rule, plan)


def test_an_own_price_and_a_rule_of_the_default_plan_at_once_cannot_mix_currencies(db: psycopg.Connection) -> None:
    world = World(db)
    world.station(tariff_plan_id=None)
    db.execute("update tariff_plans set is_default = true where id = %s", [PLAN])
    with psycopg.connect(db.info.dsn, password=db.info.password) as other:
        db.execute("begin")
        db.execute(DOLLARS, [STATION])
        other.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute(
                "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values (%s, 'x', 'per_kwh', 1)",
                [PLAN],
            )
        db.execute("commit")


@pytest.mark.parametrize(
    "columns",
    [
        {"price": "NaN"},
        {"price": 1, "power_range_max": "NaN"},
        {"price": 1, "max_duration_minutes": "Infinity"},
        {"price": 1, "min_duration_minutes": "NaN"},
        {"price": 1, "valid_from": "infinity"},
        {"price": 1, "valid_until": "infinity"},
        {"price": 1, "date_from": "-infinity"},
    ],
)
def test_numbers_that_are_none_are_refused(world: World, columns: dict[str, object]) -> None:
    with pytest.raises(psycopg.Error) as caught:
        world.rule("per_kwh", columns.pop("price"), **columns)
    assert caught.value.sqlstate == "OCTRF"
    with pytest.raises(psycopg.Error) as caught, world.db.transaction():
        world.db.execute("update stations set session_fee = 'NaN' where id = %s", [STATION])
    assert caught.value.sqlstate == "OCTRF"
