"""The fixtures that every other test stands on."""

import httpx
import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.support import Api, acting_as

ALICE = "0a000000-0000-4000-8000-00000000000a"


def test_each_test_gets_a_database_of_its_own(cluster: LocalSupabase, template: str) -> None:
    with cluster.fresh_database(template) as first, cluster.fresh_database(template) as second:
        with psycopg.connect(first, autocommit=True) as connection:
            connection.execute("create table only_here (id int)")
        with psycopg.connect(second) as connection:
            assert connection.execute("select to_regclass('only_here')").fetchone() == (None,)


def test_acting_as_sets_role_and_user_for_the_block_only(db: psycopg.Connection) -> None:
    with acting_as(db, ALICE):
        assert db.execute("select current_user::text, auth.uid()::text").fetchone() == ("authenticated", ALICE)
    assert db.execute("select current_user::text, auth.uid()").fetchone() == ("postgres", None)


def test_acting_as_inside_a_transaction_gives_the_role_back(db: psycopg.Connection) -> None:
    with db.transaction():
        with acting_as(db, "anon"):
            assert db.execute("select current_user::text").fetchone() == ("anon",)
        assert db.execute("select current_user::text").fetchone() == ("postgres",)


def test_an_error_while_acting_rolls_back_what_was_done(db: psycopg.Connection) -> None:
    db.execute("create table notes (id int check (id > 0))")
    db.execute("grant insert on notes to service_role")
    with pytest.raises(psycopg.errors.CheckViolation), acting_as(db, "service_role"):
        [db.execute("insert into notes values (%s)", [number]) for number in (1, 0)]
    assert db.execute("select current_user::text, count(*) from notes").fetchone() == ("postgres", 0)


def test_the_api_under_test_answers(api: Api) -> None:
    answer = httpx.get(f"{api.url}/rest/v1/", headers={"apikey": api.anon_key})
    assert answer.status_code == 200


def test_a_fresh_stack_serves_its_own_database(fresh_stack: LocalSupabase) -> None:
    with fresh_stack.connect() as connection:
        connection.execute("create table notes (id int)")
        connection.execute("insert into notes values (7)")
        connection.execute("grant select on notes to service_role")
    assert [row.state for row in fresh_stack.status()] == ["running"] * 3
    fresh_stack.restart("postgrest")  # it reads the schema at its start
    answer = httpx.get(f"{fresh_stack.url}/rest/v1/notes", headers={"apikey": fresh_stack.service_role_key})
    assert answer.json() == [{"id": 7}]
