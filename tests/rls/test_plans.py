# ruff: noqa: E501  (queries read better unbroken)
"""With 100,000 sessions the usual queries read what they return, and ask who calls once: told by their plans, not by a clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.rls.many import HEAVY, LIGHT, SESSIONS, STATIONS, grow
from tests.sql.world import ACCOUNT, ADMIN, DRIVER, OPERATOR, OTHER_ACCOUNT, OTHER_DRIVER, populate
from tests.support import acting_as

WHO = {"light": OTHER_DRIVER, "heavy": DRIVER, "operator": OPERATOR, "admin": ADMIN}
BIG = {"id_tags", "charging_sessions", "meter_values", "commands", "ocpp_messages", "ledger_entries"}
ONE_PAGE = 20

# Query, for whom, and how many rows of the big tables it may look at. {me}, {account}, {session}, {station}.
QUERIES: list[tuple[str, str, int]] = [
    ("charging_sessions where user_id = '{me}' order by created_at desc limit 20", "light", LIGHT),
    ("charging_sessions where id = '{session}'", "light heavy operator admin", 1),
    ("charging_sessions where station_id = '{station}' order by start_time desc limit 20", "operator admin", 4 * SESSIONS // STATIONS),
    ("charging_sessions where start_time >= now() - interval '1 day'", "operator admin", 300),
    ("meter_values where session_id = '{session}' order by reported_at", "light operator admin", 10 + LIGHT),
    ("commands where created_by = '{me}' order by created_at desc limit 20", "light", LIGHT),
    ("commands where station_id = '{station}' order by created_at desc limit 20", "operator admin", 4 * SESSIONS // STATIONS),
    ("ocpp_messages where station_id = '{station}' order by received_at desc limit 20", "operator admin", 4 * ONE_PAGE),
    ("ledger_entries where client_id = '{account}' order by created_at desc limit 20", "light", LIGHT + ONE_PAGE),
    ("ledger_entries where client_id = '{account}' order by created_at desc limit 20", "heavy", HEAVY + ONE_PAGE),
    ("ledger_entries where session_id = '{session}'", "light heavy operator admin", 2),
    # Without a filter: the policy alone finds the rows. Drivers' own are sorted; staff get the newest of all, less those of others.
    ("charging_sessions order by created_at desc limit 20", "light", LIGHT),
    ("charging_sessions order by created_at desc limit 20", "heavy", HEAVY),
    ("charging_sessions order by created_at desc limit 20", "operator admin", 5 * ONE_PAGE),
    ("charging_sessions order by start_time desc limit 20", "light", LIGHT),
    ("charging_sessions order by start_time desc limit 20", "heavy", HEAVY),
    ("charging_sessions order by start_time desc limit 20", "operator admin", 5 * ONE_PAGE),
    ("charging_sessions order by transaction_id desc limit 20", "light", LIGHT),
    ("charging_sessions order by transaction_id desc limit 20", "operator admin", 5 * ONE_PAGE),
    ("charging_sessions", "light", LIGHT),
    ("(select * from charging_sessions limit 1000) as s", "operator admin", 3000),
    ("commands order by created_at desc limit 20", "light", LIGHT),
    ("commands order by created_at desc limit 20", "heavy", HEAVY),
    ("commands order by created_at desc limit 20", "operator admin", 5 * ONE_PAGE),
    ("ledger_entries order by created_at desc limit 20", "light", LIGHT + ONE_PAGE),
    ("ledger_entries order by created_at desc limit 20", "heavy", HEAVY + ONE_PAGE),
    ("ledger_entries order by created_at desc limit 20", "operator admin", 5 * ONE_PAGE),
    ("meter_values order by reported_at desc limit 20", "operator admin", 5 * ONE_PAGE),
    ("ocpp_messages order by received_at desc limit 20", "operator admin", 5 * ONE_PAGE),
    ("(select count(*) from ocpp_messages) as c", "light", 0),
    ("id_tags", "heavy", ONE_PAGE),
    ("(select id from sessions_under_way order by start_time desc limit 1000) as s", "operator admin", ONE_PAGE),
    ("(select id from sessions_under_way order by created_at desc limit 1000) as s", "operator admin", ONE_PAGE),
    ("(select id from sessions_under_way order by transaction_id desc limit 1000) as s", "operator admin", ONE_PAGE),
    # As PostgREST embeds.
    ("charging_sessions as s, lateral (select json_agg(m) from meter_values as m where m.session_id = s.id) as m"
     " order by s.created_at desc limit 5", "light operator admin", 4 * LIGHT),
]  # fmt: skip
# What is false comes first, so that the function behind it is for the planner's estimate alone.
FOR_THE_PLANNER = re.compile(
    r"\((\w+\.)?id < \(InitPlan \d+\)\.col1\) AND \((\w+\.)?id < private\.readable_share\(\)\)"
)


@pytest.fixture(scope="module")
def big(cluster: LocalSupabase, template: str) -> Iterator[psycopg.Connection[Any]]:
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as db:
        populate(db)
        grow(db)
        yield db


def value(db: psycopg.Connection[Any], query: str, *args: object) -> Any:
    row = db.execute(query, args).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def explain(db: psycopg.Connection[Any], who: str, query: str) -> list[dict[str, Any]]:
    """The nodes of the plan of a query that was run as this user, prepared as PostgREST does."""
    session = {
        "light": f"user_id = '{OTHER_DRIVER}'",
        "heavy": f"user_id = '{DRIVER}'",
        "operator": "station_id = 'S-401'",
        "admin": "station_id = 'S-401'",
    }[who]
    text = query.format(
        me=WHO[who],
        account=OTHER_ACCOUNT if who == "light" else ACCOUNT,
        session=value(db, f"select id from charging_sessions where {session} order by transaction_id limit 1"),
        station="S-401",
    )
    with acting_as(db, WHO[who]):
        (plan,) = value(db, f"explain (analyze, buffers, verbose, timing off, format json) select * from {text}")
    return list(nodes(plan["Plan"]))


def looked_at(node: dict[str, Any]) -> float:
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float(rows * node["Actual Loops"])


def table_of(node: dict[str, Any]) -> str:
    """The table; of a partition that of which it is one."""
    return re.sub(r"_(default|\d{6})$", "", node.get("Relation Name", ""))


@pytest.mark.parametrize(
    ("query", "who", "allowed"), [(query, who, allowed) for query, whos, allowed in QUERIES for who in whos.split()]
)
def test_query_reads_what_it_returns(big: psycopg.Connection[Any], query: str, who: str, allowed: int) -> None:
    plan = explain(big, who, query)
    assert plan[0]["Actual Rows"] > 0
    for node in plan:
        if table_of(node) in BIG:
            assert looked_at(node) <= allowed, node
        conditions = [text for key, text in node.items() if key.endswith(("Cond", "Filter")) and table_of(node) in BIG]
        evaluated = FOR_THE_PLANNER.sub("", str(conditions))
        assert not re.search(r"(private|auth)\.\w+\(", evaluated), "a function is called for each row"
    # what tells whose rows they are may read the stations of a company, but nothing that grows with the sessions
    assert plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"] <= 4 * allowed + 4 * STATIONS


@pytest.mark.parametrize(("table", "column"), [("charging_sessions", "user_id"), ("commands", "created_by")])
def test_count_of_ones_own_is_found_by_index(big: psycopg.Connection[Any], table: str, column: str) -> None:
    plan = explain(big, "light", f"(select count(*) from {table}) as c")
    assert plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"] < 500
    assert all(node["Node Type"] != "Seq Scan" for node in plan if table_of(node) in BIG)
    assert value(big, f"select count(*) from {table} where {column} = %s", OTHER_DRIVER) > 0


@pytest.mark.parametrize("who", WHO)
def test_who_calls_is_found_out_once(big: psycopg.Connection[Any], who: str) -> None:
    """Helpers are InitPlans or hashed, so their loops do not follow the rows."""
    plan = explain(big, who, "charging_sessions order by created_at desc limit 20")
    asked = [node for node in plan if node.get("Parent Relationship") == "InitPlan"]
    assert asked
    assert all(node["Actual Loops"] <= 1 for node in asked)


def test_requests_of_users_are_planned_for_whoever_asks(big: psycopg.Connection[Any]) -> None:
    """PostgREST keeps prepared statements and applies the settings of the role: a plan kept for one must not serve all."""
    assert "plan_cache_mode=force_custom_plan" in value(
        big, "select rolconfig from pg_roles where rolname = 'authenticated'"
    )
