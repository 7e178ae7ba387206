# ruff: noqa: E501  (values and queries read better unbroken)
"""Whatever is sent to a function or a table, by whomever: an answer below 500, and a refusal of ours says what to do.

The catalogue is asked for the functions and columns, so those that are added later are tried too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.rls.http import Answer, Http
from tests.rls.rows import ACTORS, role_of
from tests.rls.spec import FUNCTIONS, NONE, REFUSED, TABLES, VIEWS
from tests.rls.test_tables import condition
from tests.sql.world import (
    ACCOUNT,
    COMPANY,
    LOCATION,
    OTHER_ACCOUNT,
    OTHER_COMPANY,
    OTHER_DRIVER,
    OTHER_LOCATION,
    OTHER_PLAN,
    PLAN,
)

LONG = "x" * 10_000
UNKNOWN = "00000000-0000-4000-8000-00000000dead"
DEEP: list[Any] = []
for _ in range(500):
    DEEP = [DEEP]
ANY: list[Any] = [
    None,
    "",
    " ",
    {},
    [],
    [None],
    True,
    -1,
    1.5,
    LONG,
    "NaN",
    "\u0000",
    "'; drop table users; --",
    "null",
    "ы🔌",
]
RAW = [b"", b"{", b"null", b"[]", b"[{}]", b'"x"', b"\xff\xfe", b"1e999999", b'{"a":1}']
NUMBERS: list[Any] = [
    0,
    -0.0,
    1e30,
    -1e30,
    1e308,
    "1e400",
    "-1e400",
    "Infinity",
    "-Infinity",
    "1e-400",
    2**31,
    2**63,
    10**40,
    "0x10",
    "1_000",
]
TIMES: list[Any] = [
    "infinity",
    "-infinity",
    "0001-01-01T00:00:00Z",
    "294276-12-31T00:00:00Z",
    "99999999-01-01",
    "4713-01-01 BC",
    "2026-02-30",
    "now",
    "25:00",
    "24:00:01",
]
FOREIGN = [str(i) for i in (OTHER_DRIVER, OTHER_ACCOUNT, OTHER_COMPANY, OTHER_LOCATION, OTHER_PLAN)]
BAD: dict[str, list[Any]] = {
    "text": ["ST-2", "NO-SUCH", "SPARE-other", "%", "../..", "\ud800", LONG * 10],
    "uuid": [*FOREIGN, UNKNOWN, "rubbish", UNKNOWN.upper(), "{" + UNKNOWN + "}", UNKNOWN[:-1]],
    "numeric": NUMBERS,
    "integer": NUMBERS,
    "smallint": NUMBERS,
    "double precision": NUMBERS,
    "timestamp with time zone": TIMES,
    "time without time zone": TIMES,
    "date": TIMES,
    "interval": ["-1 s", "0", "1000 years", "178000000 years", "P1Y", "1 fortnight", "infinity", 5],
    "boolean": ["maybe", 2, "t"],
    "jsonb": [
        DEEP, 7, "x", [1], [[]], {"": ""}, [{}], [{"kind": 1}], [{"kind": "call"}], [{"kind": "answer", "station_id": "ST-1"}],
        [{"kind": "call", "station_id": "ST-1", "action": "StartTransaction", "payload": 1, "received_at": "never"}],
        [{"kind": "connect", "station_id": {}, "connection_id": 5, "received_at": None}],
        [{"kind": "call", "station_id": "ST-1", "connection_id": UNKNOWN, "received_at": "2026-01-01T00:00:00Z", "message_id": [], "action": {}, "payload": [], "violations": {}}],
        {"id": LONG, "currency": 7, "elements": "x"}, {"id": "x", "currency": "KGS", "elements": [{"price_components": [{"type": "NO", "price": "NaN", "step_size": -1}]}]},
    ],
    "uuid[]": [["x"], [None], [[UNKNOWN]], "{", "{}", {"a": 1}],
    "text[]": [["x", None], [[1]], "{", {"a": 1}],
    "smallint[]": [[8], [0], [99999], ["x"], [None], "{", []],
}  # fmt: skip


def complaint(answer: Answer) -> str | None:
    """What is wrong with an answer: it is not below 500, or an error lacks its code or message, or one of ours its hint."""
    if answer.status < 400:
        return None
    if isinstance(answer.body, str):
        return f"{answer.status} {answer.body[:200]!r}"
    wanted = ("code", "message", "hint") if str(answer.body.get("code")).startswith("OC") else ("code", "message")
    if answer.status < 500 and all(answer.body.get(key) for key in wanted):
        return None
    return f"{answer.status} {answer.body}"


def parameters(http: Http, name: str) -> dict[str, str]:
    rows = http.world.sql(
        "select a.name, format_type(t.type, null) as type from pg_proc as p,"
        " unnest(p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[]), coalesce(p.proargmodes, array_fill('i'::\"char\", array[p.pronargs::int])))"
        " as t (name, type, mode), lateral (select t.name) as a (name)"
        " where p.pronamespace = 'public'::regnamespace and p.proname = %s and t.mode = 'i'",
        name,
    )
    return {row["name"]: row["type"] for row in rows}


def base(http: Http, name: str) -> dict[str, Any]:
    values = FUNCTIONS[name].args
    return {
        k: str(http.world.one(v)) if isinstance(v, str) and v.startswith("(select") else v for k, v in values.items()
    }


def bad_arguments(http: Http, name: str) -> Iterator[dict[str, Any]]:
    """The arguments of spec.py with one of them missing, or replaced by something odd; and one too many."""
    good = base(http, name)
    yield good | {"no_such_argument": 1}
    for parameter, kind in parameters(http, name).items():
        if parameter in good:
            yield {key: value for key, value in good.items() if key != parameter}
        for value in [*ANY, *BAD.get(kind, BAD["text"])]:
            yield good | {parameter: value}
        if parameter == "session_id":
            sessions = "select id from charging_sessions where status <> 'pending' or station_id <> 'ST-1' order by id"
            for row in http.world.sql(sessions):  # of others, and ended ones
                yield good | {parameter: str(row["id"])}


@pytest.mark.parametrize(
    "actor", [actor for actor in ACTORS if actor not in ("other_driver", "superadmin", "stranger")]
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_arguments_are_no_server_error(http: Http, name: str, actor: str) -> None:
    cell = FUNCTIONS[name].cells[role_of(actor)]
    tried = list(bad_arguments(http, name))
    if cell == REFUSED or cell.startswith("OC"):
        tried = tried[::7]  # the rights are looked at before the values
    complaints = {}
    for raw in RAW:
        complaints[str(raw)] = complaint(http(actor, "POST", f"/rpc/{name}", content=raw))
    for arguments in tried:
        complaints[str(arguments)[:300]] = complaint(http(actor, "POST", f"/rpc/{name}", arguments))
    assert "\n".join(f"{what}: {wrong}" for what, wrong in complaints.items() if wrong) == ""


@pytest.mark.parametrize("actor", ["anon", "driver", "operator"])
def test_bad_arguments_in_an_address_are_no_server_error(http: Http, actor: str) -> None:
    complaints = {}
    readers = http.world.sql(
        "select proname as name from pg_proc where pronamespace = 'public'::regnamespace and provolatile <> 'v'"
    )
    assert len(readers) > 3
    for name in sorted(row["name"] for row in readers):
        for arguments in list(bad_arguments(http, name))[::3]:
            written = {key: "null" if value is None else str(value)[:500] for key, value in arguments.items()}
            query = urlencode(written, errors="replace")
            complaints[f"{name}?{query}"[:300]] = complaint(http(actor, "GET", f"/rpc/{name}?{query}"))
    assert "\n".join(f"{what}: {wrong}" for what, wrong in complaints.items() if wrong) == ""


def columns(http: Http, table: str, privilege: str) -> dict[str, str]:
    """Column -> type, of those that a signed-in user may write; an enum counts as text."""
    rows = http.world.sql(
        "select attname as name, format_type(atttypid, null) as type from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped"
        " and has_column_privilege('authenticated', attrelid, attnum, %s)",
        f"public.{table}",
        privilege,
    )
    return {row["name"]: row["type"] for row in rows}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "table", [name for name, table in TABLES.items() if table.update["admin"] not in (NONE, REFUSED)]
)
def test_garbage_in_a_row_is_no_server_error(http: Http, table: str, method: str) -> None:
    """By who may write the table, into each column: else it would be refused before anybody looks at the value."""
    actor = "operator" if TABLES[table].update["operator"] not in (NONE, "own") else "superadmin"
    good = http.world.sql(
        f"select to_jsonb(t) as r from {table} as t where {condition(table, 'update', actor)}"
        " order by t::text ~ 'Spare|SPARE-own|driver@' desc limit 1"
    )[0]["r"]
    writable = columns(http, table, "insert" if method == "POST" else "update")
    path = f"/{table}" if method == "POST" else f"/{table}?id=eq.{good['id']}"
    base = (
        {key: value for key, value in good.items() if key in writable and key not in ("id", "created_at")}
        if method == "POST"
        else {}
    )
    complaints = {str(raw): complaint(http(actor, method, path, content=raw)) for raw in RAW}
    complaints["no such column"] = complaint(http(actor, method, path, base | {"no_such_column": 1}))
    for column, kind in writable.items():
        for value in [*ANY, *BAD.get(kind, BAD["text"])]:
            answer = http(actor, method, path, base | {column: value}, Prefer="return=minimal,tx=rollback")
            complaints[f"{column} = {str(value)[:60]}"] = complaint(answer)
            if method == "PATCH" and answer.status < 300:
                restore = f"update {table} set {column} = %s where created_at = %s"
                http.world.sql(restore, good[column], good["created_at"])
    assert "\n".join(f"{what}: {wrong}" for what, wrong in complaints.items() if wrong) == ""


QUERIES = [
    "no_such_column=eq.1", "id=eq.rubbish", "id=nope.1", "id=eq", "id=in.(", "id=in.(rubbish)", "or=(", "and=()", "select=no_such_column",
    "select=*,no_such_table(*)", "select=id::integer", "select=count()", "select=(", "order=no_such_column", "order=id.sideways", "limit=-1",
    "limit=rubbish", "limit=99999999999999999999", "offset=-1", "offset=1e9", "created_at=gte.yesterday-ish", "created_at=gte.infinity",
    "id=like.*", "id=fts.x", "id=cs.{1}", "not.id=eq.1", "id=not.is.true", "on_conflict=nope", "columns=nope",
    "select=*" + ",stations(*)" * 30, "id=eq." + LONG[:4000],
]  # fmt: skip


@pytest.mark.parametrize("actor", ["anon", "operator", "admin"])
@pytest.mark.parametrize("table", [*TABLES, *VIEWS])
def test_garbage_in_a_query_is_no_server_error(http: Http, table: str, actor: str) -> None:
    complaints = {query: complaint(http(actor, "GET", f"/{table}?{query}")) for query in QUERIES}
    complaints["Range"] = complaint(http(actor, "GET", f"/{table}", Range="9-1", Range_Unit="items"))
    complaints["Accept"] = complaint(http(actor, "GET", f"/{table}", Accept="image/png"))
    complaints["plan"] = complaint(http(actor, "GET", f"/{table}", Accept="application/vnd.pgrst.plan+json"))
    complaints["schema"] = complaint(http(actor, "GET", f"/{table}", Accept_Profile="private"))
    assert "\n".join(f"{what}: {wrong}" for what, wrong in complaints.items() if wrong) == ""


NEW_STATION = {"id": "NEW", "location_id": str(LOCATION)}
NEW_RULE = {"tariff_plan_id": str(PLAN), "name": "x", "tariff_type": "per_kwh", "price": 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("POST", "/stations", NEW_STATION | {"id": "st-1"}, 409, "stations_lower_id_key"),
        ("POST", "/stations", NEW_STATION | {"serial_number": "KNOWN"}, 409, "stations_serial_number_key"),
        ("POST", "/stations", NEW_STATION | {"location_id": str(uuid4())}, 403, 'row-level security policy for table "stations"'),
        ("POST", "/stations", NEW_STATION | {"location_id": str(OTHER_LOCATION)}, 403, "row-level security policy"),
        ("POST", "/stations", NEW_STATION | {"price_per_kwh": -1}, 400, '"price_per_kwh is not negative"'),
        ("POST", "/stations", NEW_STATION | {"currency": "som"}, 400, '"currency is three capital letters"'),
        ("POST", "/stations", NEW_STATION | {"status": "broken"}, 400, 'enum station_operation: "broken"'),
        ("POST", "/stations", NEW_STATION | {"clock_time_zone": "Mars"}, 400, 'clock_time_zone "Mars" is not known'),
        ("POST", "/stations", {"location_id": str(LOCATION)}, 400, 'null value in column "id"'),
        ("POST", "/tariff_rules", NEW_RULE | {"price": -1}, 400, '"price is not negative"'),
        ("POST", "/tariff_rules", NEW_RULE | {"days_of_week": [8]}, 400, '"days_of_week are days from 1 to 7"'),
        ("POST", "/locations", {"name": ""}, 400, '"name is not empty"'),
        ("POST", "/locations", {"name": "x", "latitude": 100}, 400, '"latitude is from -90 to 90"'),
        *[("POST", "/locations", {"name": "x", "time_zone": zone}, 400, f'time_zone "{zone}" is not known') for zone in ("+06:00", "UTC+6", "GMT+6", "Bishkek", "", "<+06>-6")],
    ],
)  # fmt: skip
def test_ordinary_mistake_is_told_by_its_name(
    http: Http, method: str, path: str, body: object, status: int, told: str
) -> None:
    http.world.sql("update stations set serial_number = 'KNOWN' where id = 'ST-1'")
    answer = http("operator", method, path, body)
    assert (answer.status, told in answer.body["message"]) == (status, True), answer.body


@pytest.mark.parametrize(
    "zone", ["Asia/Bishkek", "asia/bishkek", "UTC", "Etc/GMT-6", "America/Port-au-Prince", "EST5EDT"]
)
def test_names_of_the_iana_data_base_are_time_zones(http: Http, zone: str) -> None:
    assert http("operator", "POST", "/locations", {"name": "x", "time_zone": zone}).status == 201


@pytest.mark.parametrize(
    ("actor", "row", "message", "hint"),
    [
        ("operator", f"locations?id=eq.{LOCATION}", 'location "Place" has stations', "stations.location_id"),
        ("operator", "stations?id=eq.ST-1", 'station "ST-1" has sessions or meter values, which stay', "status to inactive"),
        ("operator", "connectors?station_id=eq.ST-1&number=eq.1", 'connector 1 of station "ST-1" has sessions', "can be changed"),
        ("operator", f"tariff_plans?id=eq.{PLAN}", 'tariff plan "Plan" is that of stations or accounts', "is_active to false"),
        ("admin", f"clients?id=eq.{ACCOUNT}", 'client "Aida" has locations, tariff plans, sessions or entries', "inactive or blocked"),
        ("admin", f"clients?id=eq.{COMPANY}", 'client "North" has locations, tariff plans, sessions or entries', "inactive or blocked"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("service", [False, True])
def test_who_may_not_delete_what_is_in_use_is_told_what_to_do(
    http: Http, actor: str, row: str, message: str, hint: str, service: bool
) -> None:
    answer = http("service_role" if service else actor, "DELETE", f"/{row}")
    assert (answer.status, answer.code) == (409, "23503")
    assert message in answer.body["message"]
    assert hint in answer.body["hint"]
