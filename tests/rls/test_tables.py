# ruff: noqa: E501  (conditions and statements read better unbroken)
"""Who reads and writes which rows: every table and view of the API, every verb, every role.

The expectations are written as conditions that the owner evaluates, so each test shows that the hidden rows exist.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.rls.rows import ACTORS, COMPANIES, SPARE
from tests.sql.world import ACCOUNT, COMPANY, OTHER_ACCOUNT, OTHER_COMPANY, World
from tests.support import acting_as

ALL, NONE, DENIED = "true", "false", "denied"
OWN_STATION = "station_id in (select s.id from stations as s join locations as l on l.id = s.location_id where l.client_id = '{company}')"
ON_MAP = "status <> 'inactive'"
STAFF = {"admin": ALL, "superadmin": ALL, "service_role": ALL}
PUBLIC = {role: ALL for role in ("anon", "driver", "operator", "bridge", "stranger")}


def only(driver: str = NONE, operator: str = NONE) -> dict[str, str]:
    return STAFF | {"anon": DENIED, "driver": driver, "operator": operator, "bridge": NONE, "stranger": NONE}


# What of each table an actor sees. {me}, {client} and {company} are the actor's.
VISIBLE: dict[str, dict[str, str]] = {
    "locations": STAFF | PUBLIC,
    "stations": STAFF
    | {role: ON_MAP for role in PUBLIC}
    | {"operator": f"{ON_MAP} or {OWN_STATION.replace('station_id', 'id', 1)}"},
    "connectors": STAFF | PUBLIC,
    "tariff_plans": STAFF
    | {role: "is_active" for role in PUBLIC}
    | {"operator": "is_active or client_id = '{company}'"},
    "tariff_rules": STAFF
    | {role: "is_active" for role in PUBLIC}
    | {"operator": "is_active or tariff_plan_id in (select id from tariff_plans where client_id = '{company}')"},
    "users": only("id = '{me}'", "id = '{me}' or client_id = '{company}'") | {"bridge": "id = '{me}'"},
    "clients": only("id = '{client}'", "id = '{company}'"),
    "id_tags": only("user_id = '{me}'", "client_id = '{company}'"),
    "maintenance": only(operator=OWN_STATION),
    "charging_sessions": only("user_id = '{me}'", OWN_STATION),
    "meter_values": only("session_id in (select id from charging_sessions where user_id = '{me}')", OWN_STATION),
    "commands": only("created_by = '{me}'", OWN_STATION),
    "ocpp_messages": only(operator=OWN_STATION),
    "transaction_orphans": only(operator=OWN_STATION),
    "station_configuration": only(operator=OWN_STATION),
    "station_boots": only(operator=OWN_STATION),
    "station_inbox": only(),
    "connections": only(operator=OWN_STATION),
    "station_status": STAFF | {role: ON_MAP for role in PUBLIC} | {"operator": f"{ON_MAP} or {OWN_STATION}"},
}
SESSION_ID = "jsonb_path_exists(connectors, '$[*].session_id ? (@ != null)')"  # differs by reader: see its own test

ACTOR_OF = {"other_driver": "driver", "other_operator": "operator"}


def condition(table: str, actor: str) -> str:
    text = VISIBLE[table][ACTOR_OF.get(actor, actor)]
    mine = {
        "me": str(ACTORS[actor]),
        "client": str(ACCOUNT if actor == "driver" else OTHER_ACCOUNT),
        "company": str(COMPANY if actor == "operator" else OTHER_COMPANY),
    }
    return text.format(**mine)


def rows(world: World, table: str, where: str = ALL) -> set[str]:
    columns = "to_jsonb(t) - 'connectors'" if table == "station_status" else "to_jsonb(t)"
    return {row["r"] for row in world.sql(f"select ({columns})::text as r from public.{table} as t where {where}")}


def test_every_table_and_view_of_the_api_is_tested(world: World) -> None:
    exposed = world.sql(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')"
    )
    assert {row["relname"] for row in exposed} == set(VISIBLE)


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("table", VISIBLE)
def test_reading(world: World, table: str, actor: str) -> None:
    where = condition(table, actor)
    everything = rows(world, table)
    if where == DENIED:
        assert everything
        with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(world.db, ACTORS[actor]):
            rows(world, table)
        return
    expected = rows(world, table, where)
    with acting_as(world.db, ACTORS[actor]):
        seen = rows(world, table)
    assert seen == expected
    assert everything
    if where != ALL:
        assert expected < everything  # the hidden row exists


# --- writing ---------------------------------------------------------------------------------------

INSERTS = {
    "locations": "insert into locations (client_id, name) values ('{company}', 'New')",
    "stations": "insert into stations (id, location_id) values ('NEW', '{location}')",
    "connectors": "insert into connectors (station_id, number) values ('{station}', 77)",
    "tariff_plans": "insert into tariff_plans (client_id, name) values ('{company}', 'New')",
    "tariff_rules": "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values ('{plan}', 'New', 'per_minute', 1)",
    "id_tags": "insert into id_tags (id_tag, client_id) values ('NEW', '{company}')",
    "maintenance": "insert into maintenance (station_id, description) values ('{station}', 'New')",
    "clients": "insert into clients (name) values ('New')",
    "users": "insert into users (id, role) values (gen_random_uuid(), 'admin')",
    "charging_sessions": "insert into charging_sessions (station_id) values ('{station}')",
    "meter_values": "insert into meter_values (station_id, connector_id, reported_at, received_at, samples, digest)"
    " values ('{station}', 1, now(), now(), '[]', gen_random_uuid())",
    "commands": "insert into commands (station_id, action) values ('{station}', 'Reset')",
    "ocpp_messages": "insert into ocpp_messages (station_id, direction, received_at) values ('{station}', 'from_station', now())",
    "transaction_orphans": "insert into transaction_orphans (station_id, action, payload, payload_digest, received_at)"
    " values ('{station}', 'X', '{{}}', gen_random_uuid(), now())",
    "station_configuration": "insert into station_configuration (station_id, key) values ('{station}', 'New')",
    "station_boots": "insert into station_boots (station_id, payload, received_at) values ('{station}', '{{}}', now())"
    " on conflict (station_id) do update set received_at = now()",
    "station_inbox": "insert into station_inbox (station_id) values ('NEW')",
}
OPERATORS_WRITE = {"locations", "stations", "connectors", "tariff_plans", "tariff_rules", "id_tags", "maintenance"}
ADMINS_WRITE = OPERATORS_WRITE | {"clients"}
UNWRITABLE = {"connections", "station_status"}
# A column that who may change the row may change, and the row's own condition.
UPDATES = {
    "locations": ("name", "id = '{spare}'"),
    "stations": ("model", "id = 'SPARE-{which}'"),
    "connectors": ("type", "id = '{spare}'"),
    "tariff_plans": ("name", "id = '{spare}'"),
    "tariff_rules": ("name", "id = '{spare}'"),
    "id_tags": ("note", "id = '{spare}'"),
    "maintenance": ("notes", "id = '{spare}'"),
    "clients": ("name", "id = '{spare}'"),
    "station_inbox": ("user_agent", "id = '{spare}'"),
    "users": ("full_name", "client_id = '{company}'"),
    "charging_sessions": ("amount", "station_id = '{station}'"),
    "meter_values": ("energy_wh", "station_id = '{station}'"),
    "commands": ("status", "station_id = '{station}'"),
    "ocpp_messages": ("payload", "station_id = '{station}' and action = 'MeterValues'"),
    "transaction_orphans": ("payload", "station_id = '{station}'"),
    "station_configuration": ("value", "station_id = '{station}'"),
    "station_boots": ("payload", "station_id = '{station}'"),
}


def may_write(actor: str, table: str, which: str) -> bool:
    if actor == "service_role":
        return True
    if actor in ("admin", "superadmin"):
        return table in ADMINS_WRITE
    return table in OPERATORS_WRITE and actor == ("operator" if which == "own" else "other_operator")


def affected(world: World, actor: str, statement: str) -> int | None:
    """Rows that the statement changed; None when it was refused."""
    try:
        with acting_as(world.db, ACTORS[actor]):
            return world.db.execute(statement).rowcount  # type: ignore[arg-type]
    except psycopg.errors.InsufficientPrivilege:
        return None


def test_every_table_is_tested_for_writing() -> None:
    assert set(INSERTS) == set(UPDATES) == set(VISIBLE) - UNWRITABLE


@pytest.mark.parametrize("which", COMPANIES)
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("table", INSERTS)
def test_inserting(world: World, table: str, actor: str, which: str) -> None:
    if table == "users" and actor == "service_role":
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            affected(world, actor, INSERTS[table])  # rows come from Auth alone
        return
    expected = 1 if may_write(actor, table, which) else None
    assert affected(world, actor, INSERTS[table].format(**COMPANIES[which])) == expected


@pytest.mark.parametrize("which", COMPANIES)
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("table", UPDATES)
def test_updating(world: World, table: str, actor: str, which: str) -> None:
    column, where = UPDATES[table]
    where = where.format(which=which, spare=SPARE[which], **COMPANIES[which])
    assert world.count(table, where) == 1
    allowed = may_write(actor, table, which) or (
        table == "users"
        and (actor in ("admin", "superadmin") or actor == ("operator" if which == "own" else "other_operator"))
    )
    changed = affected(world, actor, f"update {table} set {column} = {column} where {where}")
    assert (changed or 0) == (1 if allowed else 0)


@pytest.mark.parametrize("which", COMPANIES)
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("table", UPDATES)
def test_deleting(world: World, table: str, actor: str, which: str) -> None:
    where = UPDATES[table][1].format(which=which, spare=SPARE[which], **COMPANIES[which])
    allowed = may_write(actor, table, which) or (table == "station_inbox" and actor in ("admin", "superadmin"))
    if table == "charging_sessions" and allowed:
        world.sql("delete from transaction_orphans")
    assert (affected(world, actor, f"delete from {table} where {where}") or 0) == (1 if allowed else 0)


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("view", sorted(UNWRITABLE))
def test_views_are_for_reading(world: World, view: str, actor: str) -> None:
    refusals = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)
    with pytest.raises(refusals), acting_as(world.db, ACTORS[actor]):
        world.db.execute(f"delete from {view}")  # type: ignore[arg-type]


STATION_COLUMNS = (
    "id location_id serial_number model manufacturer firmware_version power_capacity connector_types installation_date status"
    " tariff_plan_id price_per_kwh session_fee currency admin_id registration_status strict allow_no_subprotocol ping_interval_s"
    " ping_timeout_s clock_time_zone hold_implausible"
)
ALL_COLUMNS = {"locations", "tariff_plans", "tariff_rules", "id_tags", "maintenance"}
CLIENT_COLUMNS = "kind name email phone address contract_number contract_start_date contract_end_date currency status"
UPDATABLE = {
    "clients": CLIENT_COLUMNS,
    "stations": STATION_COLUMNS,
    "connectors": "station_id number type power",
    "users": "email full_name phone role client_id admin_id is_active",
}
INSERTABLE = {
    "clients": f"id {CLIENT_COLUMNS}",
    "stations": STATION_COLUMNS,
    "connectors": "id station_id number type power",
}


@pytest.mark.parametrize(("privilege", "listed"), [("update", UPDATABLE), ("insert", INSERTABLE)])
def test_columns_that_nobody_signed_in_may_write(world: World, privilege: str, listed: dict[str, str]) -> None:
    """What stations report, what is billed and what was commanded comes from functions only."""
    writable: dict[str, set[str]] = {}
    for row in world.sql(
        "select c.relname, a.attname from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v') and not a.attisdropped"
        " and c.relname <> all (%s) and has_column_privilege('authenticated', c.oid, a.attnum, %s)",
        sorted(ALL_COLUMNS),
        privilege,
    ):
        writable.setdefault(row["relname"], set()).add(row["attname"])
    assert writable == {table: set(columns.split()) for table, columns in listed.items()}
    assert not world.one(
        "select bool_or(has_any_column_privilege('anon', oid, %s)) from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')",
        privilege,
    )


@pytest.mark.parametrize(
    ("actor", "sees"),
    [
        ("anon", False),
        ("driver", True),
        ("other_driver", False),
        ("operator", True),
        ("other_operator", False),
        ("admin", True),
        ("service_role", True),
        ("bridge", False),
    ],
)
def test_session_at_a_connector_is_shown_to_who_may_see_it(world: World, actor: str, sees: bool) -> None:
    query = f"select online, {SESSION_ID} as session from station_status where station_id = 'ST-1'"
    assert world.one(query)["session"] is True
    with acting_as(world.db, ACTORS[actor]):
        row = world.one(query)
    assert (row["online"], row["session"]) == (True, sees)


def any_row(world: World, query: str) -> Any:
    return world.sql(query)[0]


def test_map_and_prices_are_public(world: World) -> None:
    with acting_as(world.db, "anon"):
        station = any_row(
            world, "select s.id, l.latitude from stations as s join locations as l on l.id = s.location_id"
        )
        assert station["id"]
        assert world.one("select calculate_cost('ST-1', 25.5) ->> 'cost'") == "382.5"
