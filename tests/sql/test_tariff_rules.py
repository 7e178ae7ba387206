"""Which rule wins: type, connector, power, plan, priority, the station's own price."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from tests.sql.tariff_world import COMPANY, LOCATION, PLAN, STATION, Period, World, lines, utc

NOON = utc("2026-05-06T06:00")  # a Wednesday, 12:00 in Bishkek


@pytest.fixture
def world(undone: psycopg.Connection) -> World:
    return World(undone)


def test_25_5_kwh_at_15_kgs_cost_382_5(world: World) -> None:
    rule = world.rule("per_kwh", 15.0, "Energy")
    assert world.quote(25.5) == {
        "cost": Decimal("382.5"),
        "currency": "KGS",
        "lines": [
            {
                "tariff_type": "per_kwh",
                "rule_id": str(rule),
                "rule_name": "Energy",
                "quantity": Decimal("25.5"),
                "unit": "kWh",
                "price": 15,
                "amount": Decimal("382.5"),
            }
        ],
        "price_per_kwh": 15,
        "session_fee": None,
    }


def test_a_plan_without_rules_costs_nothing(world: World) -> None:
    assert world.quote(25.5, 60) == {
        "cost": 0,
        "currency": "KGS",
        "lines": [],
        "price_per_kwh": None,
        "session_fee": None,
    }


@pytest.mark.parametrize(
    ("tariff_type", "price", "quantity", "unit", "amount"),
    [
        ("per_kwh", 15, Decimal("10.4"), "kWh", 156),
        ("per_minute", "0.75", 50, "min", Decimal("37.5")),
        ("session_fee", 20, 1, "session", 20),
        ("parking_fee", 3, Decimal("12.5"), "min", Decimal("37.5")),
    ],
)
def test_each_type_prices_its_own_quantity(
    world: World, tariff_type: str, price: object, quantity: object, unit: str, amount: object
) -> None:
    world.rule(tariff_type, price)
    result = world.quote("10.4", 50, parking_minutes="12.5")
    assert result["cost"] == amount
    assert [(x["tariff_type"], x["quantity"], x["unit"], x["amount"]) for x in result["lines"]] == [
        (tariff_type, quantity, unit, amount)
    ]


def test_the_types_add_up_one_winner_each(world: World) -> None:
    for tariff_type, price in [("per_kwh", 15), ("per_minute", 1), ("session_fee", 20), ("parking_fee", 3)]:
        world.rule(tariff_type, price)
        world.rule(tariff_type, 99, "beaten", priority=-1)
    result = world.quote(10, 50, parking_minutes=10)
    assert lines(result) == [
        ("per_kwh", "per_kwh", 10, 150),
        ("per_minute", "per_minute", 50, 50),
        ("session_fee", "session_fee", 1, 20),
        ("parking_fee", "parking_fee", 10, 30),
    ]
    assert (result["cost"], result["session_fee"], result["price_per_kwh"]) == (250, 20, 15)


def test_a_rule_for_a_connector_type_holds_for_no_other(world: World) -> None:
    world.rule("per_kwh", 15, "any")
    world.rule("per_kwh", 20, "CCS2", connector_type="CCS2", priority=1)
    world.db.execute("insert into connectors (station_id, number, type, power) values (%s, 2, 'ccs2', 22)", [STATION])
    assert world.quote(1, connector_id=1)["price_per_kwh"] == 15
    assert world.quote(1, connector_id=2)["price_per_kwh"] == 20  # without regard to case


def test_without_a_connector_the_types_of_the_station_decide(world: World) -> None:
    world.rule("per_kwh", 15, "any")
    world.rule("per_kwh", 20, "Type2 only", connector_type="Type2", priority=1)
    world.db.execute("insert into connectors (station_id, number, type) values (%s, 2, 'CCS2')", [STATION])
    world.station(connector_types=["Type2"])
    assert world.quote(1)["price_per_kwh"] == 20
    world.station(connector_types=["Type2", "CCS2"])
    assert world.quote(1)["price_per_kwh"] == 15


def test_without_a_connector_the_only_one_is_meant(world: World) -> None:
    world.station(connector_types=[], power_capacity=300)
    world.rule("per_kwh", 20, "Type2 at 22 kW", connector_type="Type2", power_range_max=22)
    assert world.quote(1)["price_per_kwh"] == 20
    assert world.snapshot(NOON, None)["connector_id"] == 1


@pytest.mark.parametrize(
    ("power", "price"), [(0, 1), (21.9, 1), (22, 2), (49.9, 2), (50, 3), (50.1, None), (100, 4), (1000, 4), (1200, 4)]
)
def test_power_ranges_include_both_ends_and_1000_is_no_bound(world: World, power: float, price: int | None) -> None:
    world.rule("per_kwh", 1, power_range_max=22)
    world.rule("per_kwh", 2, power_range_min=22, power_range_max=50, priority=1)
    world.rule("per_kwh", 3, power_range_min=50, power_range_max=50, priority=2)
    world.rule("per_kwh", 4, power_range_min=60)
    world.db.execute("update connectors set power = %s", [power])
    assert world.quote(1, connector_id=1)["price_per_kwh"] == price


def test_a_connector_without_power_has_that_of_the_station(world: World) -> None:
    world.rule("per_kwh", 15, power_range_min=20, power_range_max=22)
    world.db.execute("update connectors set power = null")
    assert world.quote(1, connector_id=1)["price_per_kwh"] == 15


def test_unknown_power_fits_rules_that_do_not_ask_for_it(world: World) -> None:
    world.rule("per_kwh", 15, "any")
    world.rule("per_kwh", 1, "small", power_range_max=22, priority=1)
    world.rule("per_kwh", 99, "big", power_range_min=1, priority=1)
    world.db.execute("update connectors set power = null")
    world.station(power_capacity=None)
    assert world.quote(1, connector_id=1)["price_per_kwh"] == 15


def test_the_highest_priority_wins(world: World) -> None:
    world.rule("per_kwh", 3, priority=2)
    world.rule("per_kwh", 2, priority=10)
    world.rule("per_kwh", 1, priority=-5)
    assert world.quote(1)["price_per_kwh"] == 2


def test_at_equal_priority_the_newest_rule_wins_then_the_smallest_id(world: World) -> None:
    old, new = "2026-01-01T00:00Z", "2026-02-01T00:00Z"
    world.rule("per_kwh", 1, created_at=old, id="00000000-0000-4000-8000-000000000001")
    world.rule("per_kwh", 3, created_at=new, id="00000000-0000-4000-8000-000000000003")
    world.rule("per_kwh", 2, created_at=new, id="00000000-0000-4000-8000-000000000002")
    assert world.quote(1)["price_per_kwh"] == 2


def test_inactive_rules_and_plans_price_nothing(world: World) -> None:
    world.rule("per_kwh", 15)
    world.rule("per_kwh", 1, is_active=False, priority=9)
    assert world.quote(1)["price_per_kwh"] == 15
    world.db.execute("update tariff_plans set is_active = false")
    assert world.quote(1)["price_per_kwh"] is None


def test_the_plan_of_the_station_then_of_the_company_then_of_the_service(world: World) -> None:
    def default(client: object, price: int) -> None:
        plan = world.one(
            "insert into tariff_plans (client_id, name, is_default) values (%s, 'D', true) returning id", client
        )
        world.rule("per_kwh", price, tariff_plan_id=plan)

    other = world.one("insert into clients (kind, name) values ('operator', 'Other') returning id")
    world.rule("per_kwh", 1)
    default(None, 3)
    default(other, 99)
    assert world.quote(1)["price_per_kwh"] == 1
    world.station(tariff_plan_id=None)
    assert world.quote(1)["price_per_kwh"] == 3
    default(COMPANY, 2)
    assert world.quote(1)["price_per_kwh"] == 2
    world.station(tariff_plan_id=PLAN)
    world.db.execute("update tariff_plans set is_active = false where id = %s", [PLAN])
    assert world.quote(1)["price_per_kwh"] == 2  # a plan out of use is as none
    world.station(location_id=None)
    assert world.quote(1)["price_per_kwh"] == 3


def test_the_stations_own_prices_replace_the_plans(world: World) -> None:
    world.rule("per_kwh", 15, priority=100)
    world.rule("session_fee", 20, priority=100)
    world.rule("per_minute", 1)
    world.station(price_per_kwh="12.5")
    assert lines(world.quote(10, 5)) == [
        ("per_kwh", "Station price", 10, 125),
        ("per_minute", "per_minute", 5, 5),
        ("session_fee", "session_fee", 1, 20),
    ]
    world.station(price_per_kwh=None, session_fee=0)
    result = world.quote(10)
    assert lines(result) == [("per_kwh", "per_kwh", 10, 150), ("session_fee", "Station session fee", 1, 0)]
    assert result["session_fee"] == 0


def test_a_station_with_its_own_price_needs_no_plan(world: World) -> None:
    world.station(tariff_plan_id=None, price_per_kwh=15, currency="USD")
    assert (world.quote(25.5)["cost"], world.quote(25.5)["currency"]) == (Decimal("382.5"), "USD")


def test_the_snapshot_keeps_its_prices_when_the_tables_change(world: World) -> None:
    world.rule("per_kwh", 15, "Energy")
    world.rule("parking_fee", 2, "Parking")
    session = world.session(NOON, NOON + timedelta(hours=1), 10_000, parking_start_time=NOON + timedelta(minutes=30))
    before = world.bill(session)
    assert before["cost"] == 150 + 60
    world.db.execute("delete from tariff_rules")
    world.db.execute("delete from connectors where station_id <> %s", [STATION])
    world.station(tariff_plan_id=None, price_per_kwh=99, power_capacity=1)
    world.db.execute("update locations set time_zone = 'Europe/Berlin' where id = %s", [LOCATION])
    assert world.bill(session) == before


def test_a_rule_that_begins_or_ends_during_the_session_is_in_the_snapshot(world: World) -> None:
    world.rule("per_kwh", 10, "old", valid_until=NOON + timedelta(hours=1))
    world.rule("per_kwh", 20, "new", valid_from=NOON + timedelta(hours=1), priority=-1)
    result = world.price([Period(NOON, NOON + timedelta(hours=2), Decimal(4000))])
    assert lines(result) == [("per_kwh", "old", 2, 20), ("per_kwh", "new", 2, 40)]


def test_the_snapshot_holds_only_rules_that_can_win(world: World) -> None:
    world.rule("per_kwh", 1, "unreachable", priority=-1)
    world.rule("per_kwh", 1, "over", valid_until=NOON - timedelta(days=2), priority=9)
    world.rule("per_kwh", 1, "never", is_weekend=True, days_of_week=[1, 2], priority=9)
    world.rule("per_kwh", 15, "wins", valid_from=NOON - timedelta(days=2))
    tariff = world.snapshot(NOON)
    assert [r["rule_name"] for r in tariff["rules"]] == ["wins"]
    assert tariff["flat"] is True


def test_flat_means_that_no_price_depends_on_the_time(world: World) -> None:
    world.rule("per_kwh", 15)
    world.rule("session_fee", 5, time_start="18:00", time_end="22:00")
    assert world.snapshot(NOON)["flat"] is True
    world.rule("parking_fee", 5, min_duration_minutes=60)
    assert world.snapshot(NOON)["flat"] is False


def test_a_station_that_does_not_exist_has_no_snapshot(world: World) -> None:
    assert world.snapshot(NOON, station="nowhere") is None
    assert world.snapshot(NOON, station="st-1")["station_id"] == STATION


def test_the_session_fee_is_that_of_the_start_and_due_once(world: World) -> None:
    world.rule("session_fee", 10, "day", time_start="06:00", time_end="20:00")
    world.rule("session_fee", 5, "evening", time_start="20:00", time_end="24:00")
    evening, hour = NOON + timedelta(hours=8), timedelta(hours=1)
    assert lines(world.price([Period(evening - hour, evening), Period(evening, evening + hour)])) == [
        ("session_fee", "day", 1, 10)
    ]
    assert lines(world.price([Period(evening, evening + hour)])) == [("session_fee", "evening", 1, 5)]
    night = NOON + timedelta(hours=14)
    assert lines(world.price([Period(night, night + 8 * hour)])) == []  # begun when none was due


def test_a_session_that_has_not_begun_costs_nothing(world: World) -> None:
    world.rule("session_fee", 10)
    session = world.session(NOON, None, 0)
    world.db.execute("update charging_sessions set start_time = null, status = 'pending'")
    assert world.bill(session)["cost"] == 0
