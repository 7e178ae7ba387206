"""Ways around the policies, tried through the API: embedding, counts, filters, upserts, errors, rows of functions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rls.http import Http
from tests.rls.rows import ACTORS, SPARE, role_of
from tests.rls.spec import REFUSED, TABLES, VIEWS
from tests.rls.test_tables import EVERYTHING, condition, refused
from tests.sql.world import (
    CARD,
    COMPANY,
    DRIVER,
    LOCATION,
    OPERATOR,
    OTHER_COMPANY,
    OTHER_DRIVER,
    OTHER_LOCATION,
    World,
)

READERS = ["anon", "driver", "operator", "other_operator", "bridge", "inactive"]
KEYS = {table: spec.key.split(", ") for table, spec in TABLES.items()}


def keys(table: str, rows: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    return {tuple(str(row[column]) for column in KEYS[table]) for row in rows}


def visible(world: World, table: str, actor: str) -> set[tuple[str, ...]]:
    """What spec.py says that the actor sees, asked as the owner."""
    return keys(table, world.sql(f"select {TABLES[table].key} from {table} where {condition(table, 'select', actor)}"))


def relationships(world: World) -> list[tuple[str, str, str]]:
    """Table, the table embedded in it, and the foreign key, in both directions."""
    found = world.sql(
        "select conrelid::regclass::text as child, confrelid::regclass::text as parent, conname as name"
        " from pg_constraint where contype = 'f' and conparentid = 0 and conrelid <> confrelid"
        " and connamespace = 'public'::regnamespace and confrelid::regclass::text = any (%s)",
        list(TABLES),
    )
    downwards = [(row["parent"], row["child"], row["name"]) for row in found]
    return downwards + [(row["child"], row["parent"], row["name"]) for row in found]


@pytest.mark.parametrize("actor", READERS)
def test_embedded_rows_are_those_that_the_reader_sees_anyway(http: Http, actor: str) -> None:
    pairs = relationships(http.world)
    assert len(pairs) > 30
    embedded_somewhere = set()
    for table, embedded, name in pairs:
        answer = http(actor, "GET", f"/{table}?select=found:{embedded}!{name}(*)")
        if refused(table, "select", actor) or refused(embedded, "select", actor):
            assert answer.status in (401, 403), (table, embedded)
            assert answer.code == "42501"
            continue
        assert answer.status == 200, (table, embedded, answer.body)
        nested = [row["found"] for row in answer.body]
        found = [row for part in nested for row in (part if isinstance(part, list) else [part] if part else [])]
        assert keys(embedded, found) <= visible(http.world, embedded, actor), (table, embedded)
        embedded_somewhere |= {embedded} if found else set()
    if actor != "inactive":
        assert {"stations", "connectors"} <= embedded_somewhere  # it is not that nothing was embedded


@pytest.mark.parametrize("actor", READERS)
@pytest.mark.parametrize("table", [*TABLES, *VIEWS])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_counts_are_of_what_the_reader_sees(http: Http, method: str, table: str, actor: str) -> None:
    answer = http(actor, method, f"/{table}?limit=1", Prefer="count=exact")
    if refused(table, "select", actor):
        assert answer.status in (401, 403)
        return
    total = int(answer.headers["Content-Range"].split("/")[1])
    assert total == http.world.count(table, f"({condition(table, 'select', actor)})")


def test_rows_that_a_filter_speaks_of_are_not_found_through_it(http: Http) -> None:
    """An operator knows whose session it was by id; neither mail nor balance can be guessed letter by letter."""
    session = http("operator", "GET", "/charging_sessions?select=user_id&limit=1").body[0]
    assert session["user_id"] == str(DRIVER)
    assert http.world.one("select email from users where id = %s", DRIVER) == "driver@example.org"
    for query in (
        "/charging_sessions?select=id,users!inner(id)&users.email=like.d*",
        "/charging_sessions?select=id,users!inner(id)",
        "/charging_sessions?select=id,clients!inner(id)&clients.balance=gte.0",
        f"/users?id=eq.{DRIVER}",
    ):
        answer = http("operator", "GET", query)
        assert (answer.status, answer.body) == (200, []), query
        assert http("admin", "GET", query).body != [], query


def test_row_that_a_function_returns_embeds_what_its_caller_sees(http: Http) -> None:
    session = http.world.one("select id from charging_sessions where user_id = %s order by 1 limit 1", DRIVER)
    path = "/rpc/stop_charge?select=id,users(email),clients(name),stations(id),meter_values(id)"
    answer = http("operator", "POST", path, {"session_id": str(session)})
    assert answer.status == 200
    assert (answer.body["users"], answer.body["clients"]) == (None, None)
    assert answer.body["stations"] == {"id": "ST-1"}
    assert http("admin", "POST", path, {"session_id": str(session)}).body["users"] == {"email": "driver@example.org"}


@pytest.mark.parametrize("resolution", ["merge-duplicates", "ignore-duplicates"])
@pytest.mark.parametrize(
    ("table", "on_conflict", "row"),
    [
        ("locations", "id", {"id": str(OTHER_LOCATION), "name": "Mine", "client_id": str(COMPANY)}),
        ("locations", "id", {"id": str(OTHER_LOCATION), "name": "Mine", "client_id": str(OTHER_COMPANY)}),
        ("stations", "id", {"id": "ST-2", "model": "Mine", "location_id": str(LOCATION)}),
        ("stations", "serial_number", {"id": "NEW", "serial_number": "THEIRS", "location_id": str(LOCATION)}),
        ("connectors", "station_id,number", {"station_id": "ST-2", "number": 1, "type": "Mine"}),
        ("tariff_plans", "id", {"id": str(SPARE["other"]), "name": "Mine", "client_id": str(COMPANY)}),
        ("maintenance", "id", {"id": str(SPARE["other"]), "station_id": "ST-1", "description": "Mine"}),
        ("id_tags", "id", {"id": str(SPARE["other"]), "id_tag": "MINE", "client_id": str(COMPANY)}),
        ("users", "id", {"id": str(OPERATOR), "role": "admin"}),
    ],
)
def test_upsert_does_not_change_rows_of_others(
    http: Http, table: str, on_conflict: str, row: dict[str, Any], resolution: str
) -> None:
    http.world.sql("update stations set serial_number = 'THEIRS' where id = 'ST-2'")
    snapshot = f"select md5(string_agg(t::text, '' order by t::text)) from {table} as t"
    before = http.world.one(snapshot)
    answer = http("operator", "POST", f"/{table}?on_conflict={on_conflict}", row, Prefer=f"resolution={resolution}")
    assert answer.status in (200, 201, 403)
    if resolution == "merge-duplicates" or table == "users":
        assert (answer.status, answer.code) == (403, "42501")
    assert http.world.one(snapshot) == before


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("stations", {"id": "SPARE-other", "location_id": str(LOCATION)}),
        ("stations", {"id": "spare-OTHER", "location_id": str(LOCATION)}),
        ("stations", {"id": "NEW", "location_id": str(LOCATION), "serial_number": "THEIRS"}),
        ("id_tags", {"id_tag": CARD.lower(), "client_id": str(COMPANY)}),
        ("locations", {"id": str(OTHER_LOCATION), "client_id": str(COMPANY), "name": "x"}),
    ],
)
def test_who_writes_what_is_unique_is_told_that_it_is_taken_and_no_more(
    http: Http, table: str, row: dict[str, Any]
) -> None:
    http.world.sql("update stations set serial_number = 'THEIRS' where id = 'ST-2'")
    answer = http("operator", "POST", f"/{table}", row)
    assert (answer.status, answer.code) == (409, "23505")
    assert answer.body["details"] is None  # where there is row-level security PostgreSQL does not show the row
    assert all(str(value) not in answer.body["message"] for value in (OTHER_COMPANY, OTHER_DRIVER, DRIVER, "ST-2"))


def test_what_refers_to_a_row_is_not_shown_by_the_refusal_to_delete_it(http: Http) -> None:
    answer = http("operator", "DELETE", f"/locations?id=eq.{LOCATION}")
    assert (answer.status, answer.code) == (409, "23503")
    assert "ST-1" not in str(answer.body)


@pytest.mark.parametrize("actor", ["anon", "operator", "admin", "service_role"])
def test_query_plans_are_not_served(http: Http, actor: str) -> None:
    """They would tell how many rows there are of which the reader sees none."""
    for kind in ("application/vnd.pgrst.plan", "application/vnd.pgrst.plan+json; options=analyze"):
        answer = http(actor, "GET", "/stations", Accept=kind)
        assert (answer.status in (406, 415), answer.code) == (True, "PGRST107")  # the status depends on the version


def test_request_does_not_decide_whether_it_is_committed(http: Http) -> None:
    change = f"/locations?id=eq.{SPARE['own']}"
    answer = http("operator", "PATCH", change, {"city": "Osh"}, Prefer="tx=rollback")
    assert answer.status == 204
    assert http.world.one("select city from locations where id = %s", SPARE["own"]) == "Osh"


@pytest.mark.parametrize("schema", ["private", "auth", "realtime", "pg_catalog", "information_schema"])
def test_other_schemas_are_not_served(http: Http, schema: str) -> None:
    answer = http("service_role", "GET", "/users", Accept_Profile=schema)
    assert (answer.status, answer.code) == (406, "PGRST106")


@pytest.mark.parametrize("actor", ["anon", "driver", "bridge"])
def test_description_of_the_api_names_what_the_role_may_use(http: Http, actor: str) -> None:
    paths = set(http(actor, "GET", "/").body["paths"])
    for table in EVERYTHING:
        assert (f"/{table}" in paths) == (EVERYTHING[table].select[role_of(actor)] != REFUSED), table


@pytest.mark.parametrize(
    ("change", "sees"),
    [
        ("role = 'driver'", False),
        ("role = 'bridge'", False),
        ("is_active = false", False),
        ("client_id = null", False),
        (f"client_id = '{OTHER_COMPANY}'", False),
        ("role = 'admin'", True),
    ],
)
def test_change_of_a_user_holds_for_the_next_request_of_the_same_token(http: Http, change: str, sees: bool) -> None:
    mine = "/charging_sessions?station_id=eq.ST-1&limit=1"
    command = {"station_id": "ST-1", "action": "ClearCache"}
    assert http("operator", "GET", mine).body
    http.world.sql(f"update users set {change} where id = %s", OPERATOR)
    try:
        assert bool(http("operator", "GET", mine).body) == sees
        assert http("operator", "POST", "/rpc/send_command", command).status == (200 if sees else 403)
        assert (
            bool(
                http(
                    "operator",
                    "PATCH",
                    "/stations?id=eq.ST-1&select=id",
                    {"model": "X"},
                    Prefer="return=representation",
                ).body
            )
            == sees
        )
    finally:
        http.world.sql(
            "update users set role = 'operator', is_active = true, client_id = %s where id = %s", COMPANY, OPERATOR
        )


def test_every_actor_is_who_they_say(http: Http) -> None:
    """Else the tests above would show nothing."""
    seen = {actor: len(http(actor, "GET", "/users?select=id").body) for actor in ACTORS if actor != "anon"}
    assert seen["admin"] == seen["service_role"] == http.world.count("users") > seen["operator"] > 1
    assert (seen["driver"], seen["bridge"], seen["inactive"], seen["stranger"]) == (1, 1, 1, 0)
