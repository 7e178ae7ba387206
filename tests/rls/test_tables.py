# ruff: noqa: E501  (conditions and statements read better unbroken)
"""Who reads and writes which rows: every table and view of the API, every verb, every role, as spec.py says.

Its conditions are evaluated by the owner, so each test shows that the rows which somebody may not touch exist.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.rls.rows import ACTORS, COMPANIES, FIRST, role_of
from tests.rls.spec import ALL, NONE, PERSONAL_COLUMNS, REFUSED, ROLES, TABLES, VERBS, VIEWS
from tests.sql.world import World
from tests.support import acting_as

EVERYTHING = TABLES | VIEWS


def of(actor: str) -> dict[str, UUID | str]:
    """What belongs to the actor, if anything does."""
    company = COMPANIES["own" if actor in FIRST else "other"]
    return {"me": ACTORS[actor], "client": company["account"], "company": company["company"]}


def condition(table: str, verb: str, actor: str) -> str:
    """Of which rows the cell of the actor's role speaks."""
    spec = EVERYTHING[table]
    cell = spec.cells(verb)[role_of(actor)]
    if cell in (ALL, NONE, REFUSED):
        return "true" if cell == ALL else "false"
    return " or ".join(f"({spec.scopes[word]})" for word in cell.split(" + ")).format(**of(actor))


def refused(table: str, verb: str, actor: str) -> bool:
    return EVERYTHING[table].cells(verb)[role_of(actor)] == REFUSED


def rows(world: World, table: str, where: str = "true") -> set[str]:
    shared = f"to_jsonb(t) - '{{{PERSONAL_COLUMNS.get(table, '')}}}'::text[]"
    return {row["r"] for row in world.sql(f"select ({shared})::text as r from public.{table} as t where {where}")}


def outcome(world: World, actor: str, statement: str) -> str:
    """done, nothing (no row that the actor may touch), or refused."""
    try:
        with acting_as(world.db, ACTORS[actor]), world.db.transaction(force_rollback=True):
            return "done" if world.db.execute(statement).rowcount else "nothing"  # type: ignore[arg-type]
    except psycopg.errors.IntegrityError:
        return "done"  # it was allowed to, but for what refers to the row, or for a row that is there already
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState):
        return REFUSED
    except psycopg.Error as error:
        if error.sqlstate != "PGRST":
            raise
        return REFUSED


def test_every_table_and_view_of_the_api_is_specified(world: World) -> None:
    """A new one is to be described in spec.py."""
    exposed = world.sql(
        "select relname, relkind in ('r', 'p') as is_table from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')"
    )
    assert {row["relname"] for row in exposed if row["is_table"]} == set(TABLES)
    assert {row["relname"] for row in exposed if not row["is_table"]} == set(VIEWS)


def test_every_role_has_a_cell_for_every_verb() -> None:
    assert all(set(spec.cells(verb)) == set(ROLES) for spec in EVERYTHING.values() for verb in VERBS)


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("table", EVERYTHING)
def test_reading(world: World, table: str, actor: str) -> None:
    everything = rows(world, table)
    assert everything
    if refused(table, "select", actor):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(world.db, ACTORS[actor]):
            rows(world, table)
        return
    where = condition(table, "select", actor)
    expected = rows(world, table, where)
    with acting_as(world.db, ACTORS[actor]):
        seen = rows(world, table)
    assert seen == expected
    if where != "true":
        assert expected < everything  # the hidden row exists


@pytest.mark.parametrize("whose", COMPANIES)
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("table", TABLES)
def test_adding(world: World, table: str, actor: str, whose: str) -> None:
    cell = TABLES[table].insert[role_of(actor)]
    may = cell == ALL or (cell not in (NONE, REFUSED) and whose == ("own" if actor in FIRST else "other"))
    assert outcome(world, actor, TABLES[table].add.format(**COMPANIES[whose])) == ("done" if may else REFUSED)


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("verb", ["update", "delete"])
@pytest.mark.parametrize("table", EVERYTHING)
def test_changing_and_deleting_each_row(world: World, table: str, verb: str, actor: str) -> None:
    spec = EVERYTHING[table]
    may = world.sql(
        f"select to_jsonb(t) as key, ({condition(table, verb, actor)}) as may from (select * from {table}) as t"
    )
    assert may
    for row in may:
        where = " and ".join(f"{column} = '{row['key'][column]}'" for column in spec.key.split(", "))
        statement = f"update {table} set {spec.change} = {spec.change}" if verb == "update" else f"delete from {table}"
        got = outcome(world, actor, f"{statement} where {where}")
        if refused(table, verb, actor):
            assert got == REFUSED, where
        else:
            assert (got == "done") == bool(row["may"]), where


STATION_COLUMNS = (
    "id location_id serial_number model manufacturer firmware_version power_capacity connector_types installation_date status"
    " tariff_plan_id price_per_kwh session_fee currency admin_id registration_status strict allow_no_subprotocol ping_interval_s"
    " ping_timeout_s clock_time_zone hold_implausible"
)
ALL_COLUMNS = {"client_tariffs", "locations", "tariff_plans", "tariff_rules", "id_tags", "maintenance"}
CLIENT_COLUMNS = (
    "kind name email phone address contract_number contract_start_date contract_end_date currency credit_limit status"
)
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
    shown = "jsonb_path_exists(connectors, '$[*].session_id ? (@ != null)')"
    query = f"select online, {shown} as session from station_status where station_id = 'ST-1'"
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
