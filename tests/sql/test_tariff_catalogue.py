"""What the catalogue says about the functions of sql/tariff_functions.sql."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase

TEXT = (Path(__file__).resolve().parents[2] / "sql" / "tariff_functions.sql").read_text()
NAMES = re.findall(r"^create or replace function ((?:private|public)\.\w+)", TEXT, re.MULTILINE)
DEFINERS = {"private.tariff_snapshot", "private.check_plan_currency", "private.check_station_price"}
ANYBODY = {
    "private.currency_digits",
    "private.zone_changes",
    "private.tariff_snapshot",
    "private.tariff_cuts",
    "private.price_periods",
    "public.calculate_cost",
}

FUNCTIONS = """
  select n.nspname || '.' || p.proname, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'), p.proacl::text,
         p.xmin = pg_current_xact_id()::xid
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
   where n.nspname in ('public', 'private') order by 1, 2
"""
TRIGGERS = """
  select tgrelid::regclass::text, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal order by 1, 2
"""


@pytest.fixture(scope="module")
def db(cluster: LocalSupabase, template: str) -> Iterator[psycopg.Connection]:
    """A migrated database for all tests here: none changes it."""
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def without_origin(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [row[:4] for row in rows]


def test_the_migrations_give_the_functions_of_the_sql_file(db: psycopg.Connection) -> None:
    with db.transaction(force_rollback=True):
        functions, triggers = db.execute(FUNCTIONS).fetchall(), db.execute(TRIGGERS).fetchall()
        db.execute(TEXT)
        again = db.execute(FUNCTIONS).fetchall()
        assert without_origin(again) == without_origin(functions)
        assert db.execute(TRIGGERS).fetchall() == triggers
        # and the file did say all that: these rows of the catalogue it has just written
        assert {row[0] for row in again if row[4]} == set(NAMES)
    assert len(NAMES) > 10


@pytest.mark.parametrize("name", NAMES)
def test_each_function_has_a_comment_a_search_path_and_its_rights(db: psycopg.Connection, name: str) -> None:
    row = db.execute(
        "select prosecdef, proconfig, obj_description(oid, 'pg_proc') is not null,"
        " array(select r::text from unnest('{anon,authenticated,service_role}'::text[]) as r"
        "        where has_function_privilege(r, oid, 'execute')) from pg_proc where oid = %s::regproc",
        [name],
    ).fetchone()
    assert row is not None
    definer, config, commented, roles = row
    assert definer == (name in DEFINERS)
    assert 'search_path=""' in config
    assert commented
    assert roles == (["anon", "authenticated", "service_role"] if name in ANYBODY else [])
