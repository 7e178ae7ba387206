# ruff: noqa: E501  (queries and lists of columns read better unbroken)
"""The catalogue is asked, so what is added later is held to the same rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase

ROOT = Path(__file__).resolve().parents[2]
API_ROLES = ("anon", "authenticated", "service_role")

# Who may call what of the API. Functions of the extensions' schemas are not here: nothing but this is exposed.
PUBLIC_FUNCTIONS = {
    "adopt_station": {"authenticated", "service_role"},
    "bridge_heartbeat": {"authenticated", "service_role"},
    "calculate_cost": {"anon", "authenticated", "service_role"},
    "claim_commands": {"authenticated", "service_role"},
    "correct_balance": {"authenticated", "service_role"},
    "cost_of_periods": {"authenticated", "service_role"},
    "delete_session": {"authenticated", "service_role"},
    "disconnect_station": {"authenticated", "service_role"},
    "export_ocpi_tariff": {"authenticated", "service_role"},
    "import_ocpi_tariff": {"authenticated", "service_role"},
    "nearby_locations": {"anon", "authenticated", "service_role"},
    "next_rate_change": {"anon", "authenticated", "service_role"},
    "ocpp_ingest": {"authenticated", "service_role"},
    "receipt": {"authenticated", "service_role"},
    "refund_session": {"authenticated", "service_role"},
    "release_session": {"authenticated", "service_role"},
    "close_session": {"authenticated", "service_role"},
    "cancel_command": {"authenticated", "service_role"},
    "send_command": {"authenticated", "service_role"},
    "set_station_password": {"authenticated", "service_role"},
    "simulate_tariff": {"authenticated", "service_role"},
    "start_charge": {"authenticated", "service_role"},
    "start_charge_for": {"authenticated", "service_role"},
    "stop_charge": {"authenticated", "service_role"},
    "top_up_account": {"authenticated", "service_role"},
    "waive_unpaid": {"authenticated", "service_role"},
}
# Private functions that policies, views and functions of the caller's rights call as the caller. All others are nobody's.
PRIVATE_FUNCTIONS = {
    "fail",
    "user_role",
    "is_admin",
    "operated_client_id",
    "operated_station_ids",
    "operates_location",
    "operates_plan",
    "may_use_plan",
    "may_use_group",
    "active_user_id",
    "own_client_id",
    "operated_stations",
    "may_join",
    "availability",
    "presences",
    "online_stations",
    "connector_prices",
    "visible_sessions",
    "currency_digits",
    "zone_changes",
    "tariff_snapshot",
    "may_grant_plan",
    "spread",
    "with_vat",
    "rates",
    "plan_changes",
    "tariff_cuts",
    "price_periods",
}
SIGNED_IN_FUNCTIONS = {
    "sees_all",
    "visible_connections",
    "station_places",
    "faults",
    "prices_time",
    "is_time_zone",
    "is_staff",
    "admin_since",
    "admin_from",
    "operated_station_range",
    "readable_share",
}
# Of those that an API role may call, the ones that need no more rights than the caller has.
INVOKERS = {
    "availability",
    "calculate_cost",
    "currency_digits",
    "fail",
    "is_admin",
    "nearby_locations",
    "next_rate_change",
    "price_periods",
    "rates",
    "sees_all",
    "spread",
    "tariff_cuts",
    "with_vat",
    "zone_changes",
    "prices_time",
    "is_time_zone",
    "is_staff",
    "admin_since",
    "admin_from",
}
# Triggers that read or write what whoever causes them may not.
DEFINER_TRIGGERS = {
    "book_entry",
    "check_company",
    "check_own_prices",
    "check_owner",
    "check_plan_currency",
    "check_station_price",
    "clean_id_tag",
    "explain_use",
    "forget_command_secret",
    "guard_balance",
    "handle_auth_user",
    "hide_command_secret",
    "keep_session",
    "keep_station_id",
    "keep_totals",
    "publish_command",
    "publish_connector",
    "publish_presence",
    "publish_session",
    "publish_station",
    "void_tags",
    "wake_bridge",
}

ARGUMENTS = {
    "calculate_cost": "station_id text, energy_kwh numeric, minutes numeric DEFAULT 0, connector_id integer DEFAULT NULL::integer, "
    "at timestamp with time zone DEFAULT now(), parking_minutes numeric DEFAULT 0",
    "start_charge": "station_id text, connector_id integer DEFAULT NULL::integer, limit_energy_kwh numeric DEFAULT NULL::numeric, "
    "limit_amount numeric DEFAULT NULL::numeric",
    "start_charge_for": "user_id uuid, station_id text, connector_id integer DEFAULT NULL::integer,"
    " limit_energy_kwh numeric DEFAULT NULL::numeric, limit_amount numeric DEFAULT NULL::numeric",
    "stop_charge": "session_id uuid",
    "delete_session": "session_id uuid",
    "top_up_account": "client_id uuid, amount numeric, reference text, note text DEFAULT NULL::text",
    "refund_session": "session_id uuid, amount numeric, reason text, reference text DEFAULT NULL::text",
    "waive_unpaid": "session_id uuid, reason text",
    "correct_balance": "client_id uuid, amount numeric, reason text, reference text DEFAULT NULL::text",
    "send_command": "station_id text, action text, payload jsonb DEFAULT '{}'::jsonb, expires_in interval DEFAULT '00:01:00'::interval",
    "ocpp_ingest": "events jsonb",
    "claim_commands": "bridge_id text, max_commands integer DEFAULT 100, holding uuid[] DEFAULT NULL::uuid[]",
    "bridge_heartbeat": "bridge_id text, settings jsonb DEFAULT '{}'::jsonb, seen jsonb DEFAULT '[]'::jsonb",
}
RESULTS = {
    "calculate_cost": "jsonb",
    "start_charge": "charging_sessions",
    "start_charge_for": "charging_sessions",
    "top_up_account": "ledger_entries",
    "refund_session": "ledger_entries",
    "waive_unpaid": "ledger_entries",
    "correct_balance": "ledger_entries",
    "delete_session": "void",
    "stop_charge": "charging_sessions",
    "send_command": "commands",
    "ocpp_ingest": "jsonb",
    "claim_commands": "jsonb",
}

COLUMNS = {
    "charging_sessions": "id uuid, transaction_id integer, station_id text, connector_id integer, user_id uuid, client_id uuid,"
    " status session_status, start_time timestamptz, stop_time timestamptz, energy numeric, amount numeric, currency text,"
    " limit_type limit_type, limit_energy_kwh numeric, limit_amount numeric, flags text[],"
    " held_amount numeric, unpaid_amount numeric, limit_warned_at timestamptz, limit_reached_at timestamptz",
    "commands": "id uuid, station_id text, action text, payload jsonb, status command_status, result jsonb, error text, late boolean,"
    " effect_at timestamptz, created_by uuid, created_at timestamptz, sent_at timestamptz, answered_at timestamptz, expires_at timestamptz",
    "connections": "station_id text, bridge_id text, connection_id uuid, protocol text, remote_address text, connected_at timestamptz,"
    " last_message_at timestamptz",
    "station_status": "station_id text, online boolean, status station_operation, last_seen_at timestamptz,"
    " registration_status registration_status, connectors jsonb",
    "users": "id uuid, role user_role, client_id uuid",
    "clients": "id uuid, kind client_kind, name text, email text, phone text, address text, contract_number text, balance numeric,"
    " held numeric, credit_limit numeric, status client_status",
    "ledger_entries": "id uuid, client_id uuid, kind ledger_kind, amount numeric, currency text, session_id uuid, hold_id uuid,"
    " reference text, note text, created_by uuid, created_at timestamptz, station_id text",
    "locations": "id uuid, name text, address text, city text, country text, latitude double precision, longitude double precision,"
    " client_id uuid, time_zone text",
    "stations": "id text, serial_number text, model text, manufacturer text, location_id uuid, power_capacity numeric,"
    " connector_types text[], firmware_version text, status station_operation, tariff_plan_id uuid, price_per_kwh numeric,"
    " session_fee numeric, currency text, ping_interval_s integer, ping_timeout_s integer, hold_implausible boolean",
    "connectors": "station_id text, number integer, type text, power numeric, status connector_status, error_code text",
    "maintenance": "station_id text, request_date timestamptz, description text, assigned_to uuid, notes text, status maintenance_status",
    "tariff_plans": "id uuid, name text",
    "tariff_rules": "tariff_plan_id uuid, name text, tariff_type tariff_type, connector_type text, power_range_min numeric,"
    " power_range_max numeric, price numeric, currency text, time_start time without time zone, time_end time without time zone,"
    " is_weekend boolean, days_of_week smallint[], valid_from timestamptz, valid_until timestamptz, min_duration_minutes numeric,"
    " max_duration_minutes numeric, priority integer, is_active boolean",
    "id_tags": "id_tag text, parent_id_tag text, expiry_date timestamptz, status id_tag_status, user_id uuid",
    "meter_values": "station_id text, connector_id integer, session_id uuid, reported_at timestamptz, received_at timestamptz,"
    " context text, energy_wh numeric, power_w numeric, current_a numeric, voltage_v numeric, temperature_c numeric,"
    " soc_percent numeric, samples jsonb",
    "ocpp_messages": "station_id text, action text, payload jsonb, reply jsonb, received_at timestamptz",
    "station_inbox": "station_id text",
}
ENUMS = {
    "user_role": "driver operator admin superadmin bridge",
    "client_kind": "operator account",
    "ledger_kind": "top_up hold release charge refund waiver correction",
    "client_status": "active inactive blocked",
    "station_operation": "active inactive maintenance",
    "session_status": "pending started stopped error",
    "limit_type": "none energy amount both",
    "maintenance_status": "pending in_progress completed cancelled",
    "tariff_type": "per_kwh per_minute session_fee parking_fee",
    "command_status": "queued sent accepted rejected failed timed_out expired cancelled",
    "registration_status": "Accepted Pending Rejected",
    "id_tag_status": "Accepted Blocked Expired Invalid",
    "connector_status": "Available Preparing Charging SuspendedEVSE SuspendedEV Finishing Reserved Unavailable Faulted",
}

FUNCTIONS = """
select p.oid, n.nspname || '.' || p.proname as name, p.proname, n.nspname, pg_get_functiondef(p.oid) as body, p.proconfig, p.proacl::text as acl,
       obj_description(p.oid, 'pg_proc') as comment, p.prosecdef
  from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname in ('public', 'private') order by 2
"""


@pytest.fixture(scope="module")
def catalogue(cluster: LocalSupabase, template: str) -> Iterator[psycopg.Connection[Any]]:
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def column(db: psycopg.Connection[Any], query: str, *args: object) -> list[Any]:
    return [row[0] for row in db.execute(query, args)]  # type: ignore[arg-type]


def functions(db: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    with db.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(FUNCTIONS).fetchall()


def test_row_level_security_is_on_for_every_table_and_partition(catalogue: psycopg.Connection[Any]) -> None:
    assert not column(
        catalogue,
        "select oid::regclass::text from pg_class where relnamespace in ('public'::regnamespace, 'private'::regnamespace)"
        " and relkind in ('r', 'p') and not relrowsecurity",
    )


def test_row_level_security_is_on_for_partitions_made_later(catalogue: psycopg.Connection[Any]) -> None:
    with catalogue.transaction(force_rollback=True):
        catalogue.execute("select private.ensure_partitions('2031-05-05')")
        made = column(
            catalogue, "select relname from pg_class where relname ~ '_20310[56]$' and relkind = 'r' and relrowsecurity"
        )
        assert sorted(made) == [
            "meter_values_203105",
            "meter_values_203106",
            "ocpp_messages_203105",
            "ocpp_messages_203106",
        ]
        test_nobody_has_rights_on_private_tables(catalogue)


def test_every_function_has_a_search_path_and_a_comment(catalogue: psycopg.Connection[Any]) -> None:
    all_functions = functions(catalogue)
    assert len(all_functions) > 60
    assert [f["name"] for f in all_functions if 'search_path=""' not in (f["proconfig"] or [])] == []
    assert [f["name"] for f in all_functions if not f["comment"]] == []


def test_security_definer_is_explained_where_it_is_written() -> None:
    for path in sorted((ROOT / "sql").glob("*.sql")):
        for line in path.read_text().splitlines():
            if "security definer" in line and not line.strip().startswith("--"):
                assert "--" in line, f"{path.name}: {line}"


def test_functions_with_more_rights_than_their_caller_are_the_listed_ones(catalogue: psycopg.Connection[Any]) -> None:
    callable_by_api_roles = set(PUBLIC_FUNCTIONS) | PRIVATE_FUNCTIONS | SIGNED_IN_FUNCTIONS
    definers = {f["proname"] for f in functions(catalogue) if f["prosecdef"]}
    assert definers == (callable_by_api_roles - INVOKERS) | DEFINER_TRIGGERS


def may_execute(db: psycopg.Connection[Any], schema: str) -> dict[str, set[str]]:
    rows = db.execute(
        "select p.proname, r.role from pg_proc as p, unnest(%s::text[]) as r (role)"
        " where p.pronamespace = %s::regnamespace and has_function_privilege(r.role, p.oid, 'execute')",
        [list(API_ROLES), schema],
    )
    granted: dict[str, set[str]] = {}
    for name, role in rows:
        granted.setdefault(name, set()).add(role)
    return granted


def test_functions_of_the_api_are_granted_to_exactly_the_listed_roles(catalogue: psycopg.Connection[Any]) -> None:
    assert may_execute(catalogue, "public") == PUBLIC_FUNCTIONS
    assert {f["proname"] for f in functions(catalogue) if f["nspname"] == "public"} == set(PUBLIC_FUNCTIONS)


def test_private_functions_are_granted_only_where_the_caller_needs_them(catalogue: psycopg.Connection[Any]) -> None:
    expected = {name: set(API_ROLES) for name in PRIVATE_FUNCTIONS}
    expected |= {name: {"authenticated", "service_role"} for name in SIGNED_IN_FUNCTIONS}
    assert may_execute(catalogue, "private") == expected


def test_bridge_functions_ask_who_calls_first(catalogue: psycopg.Connection[Any]) -> None:
    for name in ("ocpp_ingest", "claim_commands", "bridge_heartbeat"):
        (body,) = (f["body"] for f in functions(catalogue) if f["name"] == f"public.{name}")
        assert body.split("\nbegin\n", 1)[1].lstrip().startswith("perform private.assert_bridge();"), name


def test_nobody_has_rights_on_private_tables(catalogue: psycopg.Connection[Any]) -> None:
    assert not column(
        catalogue,
        "select c.oid::regclass || ' ' || r.role || ' ' || p.privilege from pg_class as c, unnest(%s::text[]) as r (role),"
        " unnest('{select,insert,update,delete,truncate,references,trigger}'::text[]) as p (privilege)"
        " where c.relnamespace = 'private'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')"
        " and (has_table_privilege(r.role, c.oid, p.privilege)"
        "      or p.privilege in ('select', 'insert', 'update', 'references') and has_any_column_privilege(r.role, c.oid, p.privilege))",
        list(API_ROLES),
    )


def test_nobody_may_truncate_or_alter_through_the_api(catalogue: psycopg.Connection[Any]) -> None:
    assert not column(
        catalogue,
        "select c.relname || ' ' || r.role from pg_class as c, unnest(%s::text[]) as r (role)"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')"
        " and (has_table_privilege(r.role, c.oid, 'truncate') or has_table_privilege(r.role, c.oid, 'trigger')"
        "      or has_table_privilege(r.role, c.oid, 'references'))",
        list(API_ROLES),
    )


def test_what_is_created_later_is_closed(catalogue: psycopg.Connection[Any]) -> None:
    with catalogue.transaction(force_rollback=True):
        catalogue.execute(
            "create table public.later (id int); create function public.later() returns int language sql as 'select 1'"
        )
        catalogue.execute("create sequence public.later_ids")
        granted = "select has_table_privilege(%s, 'public.later', 'select') or has_function_privilege(%s, 'public.later()', 'execute')"
        assert not any(column(catalogue, granted, role, role)[0] for role in API_ROLES)


def test_views_run_with_the_rights_of_their_caller(catalogue: psycopg.Connection[Any]) -> None:
    views = catalogue.execute(
        "select relname, coalesce('security_invoker=on' = any (reloptions), false) from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind in ('v', 'm')"
    ).fetchall()
    assert len(views) > 10
    assert [name for name, invoker in views if not invoker] == []


def test_tables_views_and_types_have_comments(catalogue: psycopg.Connection[Any]) -> None:
    assert not column(
        catalogue,
        "select oid::regclass::text from pg_class where relnamespace in ('public'::regnamespace, 'private'::regnamespace)"
        " and relkind in ('r', 'p', 'v') and not relispartition and obj_description(oid, 'pg_class') is null",
    )


def test_every_column_and_type_has_a_comment(catalogue: psycopg.Connection[Any]) -> None:
    """What the dashboard and the API's description show. Three names need none."""
    assert not column(
        catalogue,
        "select a.attrelid::regclass || '.' || a.attname from pg_attribute as a join pg_class as c on c.oid = a.attrelid"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and a.attnum > 0 and not a.attisdropped"
        " and a.attname not in ('id', 'created_at', 'updated_at') and col_description(a.attrelid, a.attnum) is null order by 1",
    )
    assert not column(
        catalogue,
        "select oid::regtype::text from pg_type where typnamespace = 'public'::regnamespace and typtype in ('e', 'd')"
        " and obj_description(oid, 'pg_type') is null",
    )


def test_constraints_that_people_may_violate_say_what_they_want(catalogue: psycopg.Connection[Any]) -> None:
    """The message names the constraint, and nothing else tells what is wrong with the row."""
    assert not column(
        catalogue,
        "select conrelid::regclass || ' ' || conname from pg_constraint where contype = 'c' and connamespace = 'public'::regnamespace"
        " and has_any_column_privilege('authenticated', conrelid, 'insert') and conname !~ ' '",
    )


def test_every_foreign_key_has_an_index(catalogue: psycopg.Connection[Any]) -> None:
    assert not column(
        catalogue,
        "select k.conrelid::regclass || ' ' || k.conname from pg_constraint as k where k.contype = 'f' and k.conparentid = 0"
        " and k.connamespace in ('public'::regnamespace, 'private'::regnamespace)"
        " and not exists (select from pg_index as i where i.indrelid = k.conrelid"
        "                 and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)",
    )


@pytest.mark.parametrize("table", COLUMNS)
def test_columns_that_others_rely_on_are_there(catalogue: psycopg.Connection[Any], table: str) -> None:
    rows = catalogue.execute(
        "select attname, format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass and attnum > 0",
        [f"public.{table}"],
    )
    there = {name: kind.replace("timestamp with time zone", "timestamptz") for name, kind in rows}
    wanted = dict(entry.strip().split(" ", 1) for entry in COLUMNS[table].split(","))
    assert {name: there.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("name", ENUMS)
def test_enums_have_the_agreed_words(catalogue: psycopg.Connection[Any], name: str) -> None:
    words = column(
        catalogue,
        "select enumlabel from pg_enum where enumtypid = %s::regtype order by enumsortorder",
        f"public.{name}",
    )
    assert words == ENUMS[name].split()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_the_api_are_as_agreed(catalogue: psycopg.Connection[Any], name: str) -> None:
    (row,) = catalogue.execute(
        "select pg_get_function_arguments(%s::regproc), pg_get_function_result(%s::regproc)", [f"public.{name}"] * 2
    ).fetchall()
    assert row[0] == ARGUMENTS[name]
    assert row[1] == RESULTS.get(name, "jsonb")


def test_currency_is_kgs_where_nothing_else_is_said(catalogue: psycopg.Connection[Any]) -> None:
    defaults = catalogue.execute(
        "select table_name, column_default from information_schema.columns where table_schema = 'public'"
        " and column_name = 'currency' and column_default is not null"
    ).fetchall()
    assert {table for table, _ in defaults} == {"clients", "tariff_rules", "stations", "charging_sessions"}
    assert {default for _, default in defaults} == {"'KGS'::text"}


def snapshot(db: psycopg.Connection[Any]) -> dict[str, Any]:
    """Functions with their grants and comments, and triggers."""
    triggers = column(
        db,
        "select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal and tgparentid = 0 order by tgrelid::regclass::text, tgname",
    )
    return {f["body"].split("\n", 1)[0]: (f["body"], f["acl"], f["comment"]) for f in functions(db)} | {
        "triggers": triggers
    }


def test_sql_folder_and_migrations_say_the_same(catalogue: psycopg.Connection[Any]) -> None:
    before = snapshot(catalogue)
    with catalogue.transaction(force_rollback=True):
        for path in sorted((ROOT / "sql").glob("*.sql")):
            catalogue.execute(path.read_text())  # type: ignore[arg-type]
        after = snapshot(catalogue)
    assert after == before


def test_every_function_of_the_sql_folder_is_there_and_no_other(catalogue: psycopg.Connection[Any]) -> None:
    """A function left behind by a rewritten file would go unnoticed in the comparison above."""
    text = "".join(path.read_text() for path in (ROOT / "sql").glob("*.sql"))
    made_by_migrations = {
        "private.set_updated_at",
        "private.ensure_partitions",
        "private.fail",
    }
    names = {f["name"] for f in functions(catalogue)}
    assert names - made_by_migrations == {name for name in names if f"create or replace function {name}(" in text}
