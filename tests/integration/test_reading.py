# ruff: noqa: E501  (queries read better unbroken)
"""Reading through PostgREST as apps do: embedding, the distance search by GET, and rows as types/ describes them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local_supabase import LocalSupabase, generated
from tests.rls.rows import ACTORS, fill
from tests.sql.world import BOTH, LOCATION, World, populate

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("anon", "driver", "operator", "admin", "service_role")


def load_models() -> Any:
    spec = importlib.util.spec_from_file_location("evpower_models", ROOT / "types" / "models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODELS = load_models().MODELS


class Reader:
    """GET /rest/v1/… as somebody."""

    def __init__(self, stack: LocalSupabase) -> None:
        self.stack = stack
        self.client = httpx.Client(base_url=f"{stack.url}/rest/v1/", timeout=30)

    def get(self, who: str, path: str) -> httpx.Response:
        keys = {"anon": self.stack.anon_key, "service_role": self.stack.service_role_key}
        token = keys.get(who) or self.stack.mint("authenticated", str(ACTORS[who]))
        return self.client.get(path, headers={"apikey": self.stack.anon_key, "Authorization": f"Bearer {token}"})

    def rows(self, who: str, path: str) -> Any:
        response = self.get(who, path)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture(scope="module")
def reader(cluster: LocalSupabase, template: str) -> Iterator[Reader]:
    """An API with rows in every table: two companies, their stations, drivers and sessions."""
    with cluster.fresh_stack(template) as stack:
        with psycopg.connect(stack.db_url, autocommit=True) as db:
            populate(db)
            world = World(db)
            world.heartbeat()
            for station in BOTH:
                world.connect(station)
                world.send(
                    "BootNotification", {"chargePointVendor": "Vendor", "chargePointModel": "Model"}, station, -60
                )
            fill(world)
            world.sql("update private.bridges set lease_expires_at = now() + interval '1 hour'")
            world.sql("update locations set latitude = 42.87, longitude = 74.59 where id = %s", LOCATION)
        reader = Reader(stack)
        yield reader
        reader.client.close()


# --- embedding -------------------------------------------------------------------------------------


def test_stations_embed_connectors_and_location(reader: Reader) -> None:
    for who in ROLES:
        found = reader.rows(
            who, "stations?select=*,connectors(*),location:locations(*)&id=eq.ST-1&connectors.order=number"
        )
        assert [c["number"] for c in found[0]["connectors"]] == [1, 2, 9], who
        assert found[0]["location"]["name"] == "Place"


@pytest.mark.parametrize(
    ("who", "path", "inner"),
    [
        ("anon", "locations?select=name,stations(id,connectors(number,status))&name=eq.Place", "stations"),
        ("anon", "location_overview?select=*,stations(id,model)&name=eq.Place", "stations"),
        ("anon", "location_overview?select=name,station_overview(id,availability,price_from)&name=eq.Place", "station_overview"),
        ("anon", "station_overview?select=id,locations(name)", "locations"),
        ("anon", "connector_overview?select=number,availability,stations(id,model)", "stations"),
        ("anon", "tariff_plans?select=name,tariff_rules(name,price)", "tariff_rules"),
        ("anon", "stations?select=id,tariff_plans(name,tariff_rules(price))&tariff_plan_id=not.is.null", "tariff_plans"),
        ("driver", "charging_sessions?select=id,station:stations(id,location:locations(name))", "station"),
        ("driver", "charging_sessions?select=id,users(email),clients(name)", "users"),
        ("driver", "charging_sessions?select=id,clients(name)", "clients"),
        ("driver", "charging_sessions?select=id,meter_values(reported_at,energy_wh)", "meter_values"),
        ("driver", "charging_sessions?select=id,commands(action,status)", "commands"),
        ("driver", "session_history?select=id,meter_values(reported_at,energy_wh)", "meter_values"),
        ("driver", "session_history?select=id,stations(model)", "stations"),
        ("driver", "users?select=email,clients(name)", "clients"),
        ("driver", "monthly_totals_by_driver?select=*,users(full_name)", "users"),
        ("operator", "connections?select=station_id", "station_id"),
        ("operator", "monthly_totals_by_station?select=*,stations(model)", "stations"),
        ("operator", "monthly_totals_by_station?select=*,locations(name)", "locations"),
        ("operator", "monthly_totals_by_company?select=*,clients(name)", "clients"),
        ("operator", "revenue_by_day?select=*,stations(model)", "stations"),
        ("operator", "maintenance?select=description,stations(id,locations(name))", "stations"),
        ("operator", "commands?select=action,charging_sessions(id,status)", "charging_sessions"),
        ("operator", "clients?select=name,locations(name,stations(id))", "locations"),
    ],
)  # fmt: skip
def test_what_belongs_together_embeds(reader: Reader, who: str, path: str, inner: str) -> None:
    found = reader.rows(who, path)
    assert found
    assert all(inner in row for row in found)
    assert any(row[inner] for row in found)


def test_embedding_shows_nobody_more_than_the_table_does(reader: Reader) -> None:
    path = "stations?select=id,charging_sessions(id,user_id),station_configuration(key),session_history(id)"
    assert reader.get("anon", path).status_code == 401
    for who, theirs in (("driver", "ST-1"), ("other_driver", "ST-2")):
        found = {row["id"]: row for row in reader.rows(who, path)}
        assert {id_ for id_, row in found.items() if row["charging_sessions"] or row["session_history"]} == {theirs}
        assert not any(row["station_configuration"] for row in found.values())


# --- distance --------------------------------------------------------------------------------------


def test_nearby_locations_by_get_with_filters_and_embedding(reader: Reader) -> None:
    path = "rpc/nearby_locations?latitude=42.9&longitude=74.6&radius_km=5"
    (found,) = reader.rows(
        "anon",
        f"{path}&select=name,distance_km,price_from,connectors_free,stations(id,connectors(number))&connectors_free=gt.0",
    )
    assert (found["name"], found["price_from"]) == ("Place", 15)
    assert found["distance_km"] == pytest.approx(3.43, abs=0.01)
    assert found["stations"][0]["id"] == "ST-1"
    assert reader.rows("anon", f"{path}&connectors_free=gt.100") == []


def test_nearby_locations_refuses_what_is_no_place(reader: Reader) -> None:
    for query, code in (
        ("latitude=99&longitude=0", "OCNUM"),
        ("latitude=NaN&longitude=0", "OCNUM"),
        ("latitude=x&longitude=0", "22P02"),
        ("latitude=1", "PGRST202"),
    ):
        response = reader.get("anon", f"rpc/nearby_locations?{query}")
        assert response.status_code in (400, 404)
        assert response.json()["code"] == code


# --- types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", MODELS)
def test_rows_are_as_the_models_say(reader: Reader, relation: str) -> None:
    model = MODELS[relation]
    for who in ROLES:
        response = reader.get(who, f"{relation}?limit=20")
        if response.status_code in (401, 403):
            continue
        assert response.status_code == 200, response.text
        for row in response.json():
            assert set(row) == set(model.model_fields), "types/models.py is of another schema: make generate"
            model.model_validate_json(json.dumps(row))
    rows = reader.rows("service_role", f"{relation}?limit=20")
    assert rows, "nothing was tried"


def test_types_are_current(cluster: LocalSupabase, template: str) -> None:
    with cluster.fresh_database(template) as url:
        made = generated.files(cluster, url)
    for name, text in made.items():
        assert (ROOT / "types" / name).read_text() == text, f"types/{name} is not current: make generate"
