"""calculate_cost as anybody may call it: over HTTP, and under each role."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.sql.tariff_world import STATION, World, utc
from tests.support import Api, acting_as


@pytest.fixture
def world(undone: psycopg.Connection) -> World:
    world = World(undone)
    world.rule("per_kwh", 15, "Energy")
    return world


@pytest.fixture(scope="module")
def fixed(cluster: LocalSupabase, template: str) -> Iterator[World]:
    """The same, for tests that change nothing."""
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        world = World(connection)
        world.rule("per_kwh", 15, "Energy")
        yield world


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_everybody_may_ask_for_a_price(fixed: World, role: str) -> None:
    with acting_as(fixed.db, role):
        assert fixed.quote(25.5)["cost"] == Decimal("382.5")


def test_the_station_is_found_without_regard_to_case(fixed: World) -> None:
    assert fixed.quote(1, station_id=STATION.lower())["cost"] == 15


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        ({"station_id": "ST-2"}, "OCSTA", 404),
        ({"station_id": ""}, "OCSTA", 404),
        ({"station_id": None}, "OCSTA", 404),
        ({"connector_id": 7}, "OCCON", 400),
        ({"connector_id": 0}, "OCCON", 400),
        ({"energy_kwh": -0.001}, "OCNUM", 400),
        ({"energy_kwh": None}, "OCNUM", 400),
        ({"energy_kwh": "NaN"}, "OCNUM", 400),
        ({"energy_kwh": "Infinity"}, "OCNUM", 400),
        ({"energy_kwh": "-Infinity"}, "OCNUM", 400),
        ({"energy_kwh": "1000000.1"}, "OCNUM", 400),
        ({"minutes": -1}, "OCNUM", 400),
        ({"minutes": "NaN"}, "OCNUM", 400),
        ({"minutes": "Infinity"}, "OCNUM", 400),
        ({"minutes": 44641}, "OCNUM", 400),
        ({"parking_minutes": -1}, "OCNUM", 400),
        ({"parking_minutes": "NaN"}, "OCNUM", 400),
        ({"at": "infinity"}, "OCNUM", 400),
        ({"at": "-infinity"}, "OCNUM", 400),
        ({"at": "20000-01-01Z"}, "OCNUM", 400),
    ],
)
@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_what_cannot_be_priced_is_refused(
    fixed: World, arguments: dict[str, object], code: str, status: int, role: str
) -> None:
    with pytest.raises(psycopg.Error) as caught, acting_as(fixed.db, role):
        fixed.quote(**{"energy_kwh": 1, **arguments})
    assert caught.value.sqlstate == "PGRST"
    assert f'"code" : "{code}"' in str(caught.value.diag.message_primary)
    assert f'"status" : {status}' in str(caught.value.diag.message_detail)
    assert caught.value.diag.message_hint


def test_nulls_are_the_defaults(fixed: World) -> None:
    assert fixed.quote(1, None, at=None, parking_minutes=None, connector_id=None)["cost"] == 15


def test_the_price_is_that_of_the_time_asked_for(world: World) -> None:
    world.rule("per_kwh", 10, "Night", time_start="23:00", time_end="07:00", priority=1)
    assert world.quote(1, at=utc("2026-05-06T20:00"))["price_per_kwh"] == 10
    split = world.quote(2, 120, at=utc("2026-05-06T16:00"))  # 22:00 to 24:00
    assert (split["cost"], split["price_per_kwh"]) == (25, 15)


def test_a_month_of_windows_is_priced(world: World) -> None:
    for hour in range(24):
        world.rule("per_kwh", hour, time_start=f"{hour:02}:00", time_end=f"{hour + 1:02}:00", priority=1)
    result = world.quote(744, 44640, at=utc("2026-05-06T00:00"), parking_minutes=44640)
    assert result["cost"] == 31 * sum(range(24))


def test_a_station_off_the_map_is_unknown_to_who_may_not_see_it(world: World) -> None:
    world.station(status="inactive")
    for role in ("anon", "authenticated"):
        with pytest.raises(psycopg.Error, match="OCSTA"), acting_as(world.db, role):
            world.quote(1)
    with acting_as(world.db, "service_role"):
        assert world.quote(1)["cost"] == 15


def test_anon_sees_the_price_that_will_be_billed_also_where_a_policy_hides_the_rule(world: World) -> None:
    world.db.execute("revoke select on tariff_rules, tariff_plans, locations, connectors from anon")
    with acting_as(world.db, "anon"):
        assert world.quote(25.5)["cost"] == Decimal("382.5")


# Over HTTP, with the seed ---------------------------------------------------------------------------------------------
def get(api: Api, **query: Any) -> httpx.Response:
    return httpx.get(f"{api.url}/rest/v1/rpc/calculate_cost", params=query, headers={"apikey": api.anon_key})


def test_get_answers_382_5_for_test_001(api: Api) -> None:
    answer = get(api, station_id="TEST-001", energy_kwh="25.5")
    assert answer.status_code == 200, answer.text
    (line,) = answer.json()["lines"]
    assert {k: answer.json()[k] for k in ("cost", "currency", "price_per_kwh", "session_fee")} == {
        "cost": 382.5,
        "currency": "KGS",
        "price_per_kwh": 15,
        "session_fee": None,
    }
    assert '"cost": 382.5,' in answer.text
    assert (line["quantity"], line["unit"], line["price"], line["amount"]) == (25.5, "kWh", 15, 382.5)


def test_post_answers_the_same(api: Api) -> None:
    body = {
        "station_id": "test-001",
        "energy_kwh": 25.5,
        "minutes": 90,
        "connector_id": 1,
        "at": "2026-05-06T12:00:00Z",
    }
    url, headers = f"{api.url}/rest/v1/rpc/calculate_cost", {"apikey": api.anon_key}
    assert httpx.post(url, json=body, headers=headers).json()["cost"] == 382.5


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"station_id": "nowhere", "energy_kwh": "1"}, 404, "OCSTA"),
        ({"station_id": "KG-TLS-001", "energy_kwh": "1"}, 404, "OCSTA"),  # inactive
        ({"station_id": "TEST-001", "energy_kwh": "-1"}, 400, "OCNUM"),
        ({"station_id": "TEST-001", "energy_kwh": "NaN"}, 400, "OCNUM"),
        ({"station_id": "TEST-001", "energy_kwh": "1", "connector_id": "9"}, 400, "OCCON"),
        ({"station_id": "TEST-001", "energy_kwh": "much"}, 400, "22P02"),
    ],
)
def test_errors_carry_status_and_code(api: Api, query: dict[str, str], status: int, code: str) -> None:
    answer = get(api, **query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]


@pytest.mark.parametrize("name", ["price_periods", "tariff_snapshot", "session_periods", "price_session"])
def test_the_functions_behind_it_are_not_exposed(api: Api, name: str) -> None:
    url, headers = f"{api.url}/rest/v1/rpc/{name}", {"apikey": api.anon_key}
    assert httpx.post(url, json={}, headers=headers).status_code == 404


def test_a_rule_that_mixes_currencies_is_refused_with_a_code(seeded_stack: LocalSupabase) -> None:
    key = seeded_stack.service_role_key
    row = {
        "tariff_plan_id": "b0000000-0000-4000-8000-000000000001",
        "name": "Dollars",
        "tariff_type": "session_fee",
        "price": 1,
        "currency": "USD",
    }
    answer = httpx.post(f"{seeded_stack.url}/rest/v1/tariff_rules", json=row, headers={"apikey": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "OCTRF")
    assert answer.json()["hint"]
