"""The cluster: durable, survives crashes, and looks like a hosted project."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase, LocalSupabaseError, ports
from local_supabase.process import birth
from tests.support import acting_as


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSupabase]:
    """A cluster that these tests may crash, durable as the one of `up`, in a folder closed to others."""
    folder = tmp_path_factory.mktemp("closed") / "stack"
    folder.parent.chmod(0o700)
    stack = LocalSupabase(folder)
    try:
        stack.up_database()
        yield stack
    finally:
        stack.reset()


@pytest.fixture(scope="module")
def bare(cluster: LocalSupabase) -> Iterator[str]:
    """Name of a database as the bootstrap makes it, without migrations."""
    cluster.postgres.create_database("bare")
    with cluster.postgres.connect("bare") as connection:
        cluster.postgres.bootstrap_database(connection)
    yield "bare"
    cluster.postgres.drop_database("bare")


@pytest.fixture
def plain(cluster: LocalSupabase, bare: str) -> Iterator[psycopg.Connection[Any]]:
    """As postgres in that database, in a transaction that is rolled back."""
    with cluster.postgres.connect(bare, "postgres") as connection, connection.transaction(force_rollback=True):
        yield connection


def one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row and row[0]


def test_what_is_committed_is_on_disk(own: LocalSupabase) -> None:
    with own.connect() as connection:
        assert [one(connection, f"show {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == [
            *("on", "on", "on")
        ]


def test_a_killed_cluster_starts_again_with_its_data(own: LocalSupabase) -> None:
    with own.connect() as connection:
        connection.execute("create table kept as select 42 as answer")
    own.kill("postgres")
    assert own.postgres.ready() is False
    own.start("postgres")
    with own.connect() as connection:
        assert one(connection, "select answer from kept") == 42


def test_a_lock_file_with_the_number_of_another_process_is_stale(own: LocalSupabase) -> None:
    own.kill("postgres")
    lock = own.postgres.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")  # alive, and no postmaster
    own.start("postgres")
    assert own.postgres.ready()


def test_a_lost_pid_file_is_no_second_postmaster(own: LocalSupabase) -> None:
    note = own.postgres.service.pid_file
    text = note.read_text()
    pid = json.loads(text)["pid"]
    note.unlink()
    try:
        with pytest.raises(LocalSupabaseError, match="in use"):
            own.start("postgres")
        with pytest.raises(LocalSupabaseError, match=f"kill -INT {pid}"):
            replace(own.postgres, port=ports.free()).start()
        assert birth(pid) is not None
    finally:
        note.write_text(text)


def test_a_wrong_password_is_refused(own: LocalSupabase) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(own.db_url.replace(own.keys.postgres_password, "guess"))


def test_an_interrupted_creation_is_repeated(own: LocalSupabase, tmp_path: Path) -> None:
    postgres = replace(own.postgres, folder=tmp_path / "pg", durable=False)
    (postgres.data / "base").mkdir(parents=True)
    (postgres.data / "PG_VERSION").write_text("17\n")  # what initdb leaves when it is killed half-way
    assert postgres.create() is True
    assert postgres.create() is False


def test_postgres_is_no_superuser(plain: psycopg.Connection[Any]) -> None:
    row = plain.execute(
        """select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
             from pg_roles where rolname = 'postgres'"""
    ).fetchone()
    assert row == (False, True, True, True, True)


def test_roles_can_do_what_hosted_ones_can(plain: psycopg.Connection[Any]) -> None:
    roles = plain.execute(
        """select rolname, rolcanlogin, rolbypassrls from pg_roles
            where rolname in ('anon', 'authenticated', 'service_role', 'authenticator') order by rolname"""
    ).fetchall()
    assert roles == [
        ("anon", False, False),
        ("authenticated", False, False),
        ("authenticator", True, False),
        ("service_role", False, True),
    ]


def test_a_new_table_in_public_is_open_to_the_api(plain: psycopg.Connection[Any]) -> None:
    """As on a hosted project: what a migration forgets to revoke must be seen here."""
    plain.execute("create table public.forgotten (id serial)")
    plain.execute("create function public.forgotten() returns int language sql as 'select 1'")
    with acting_as(plain, "anon"):
        plain.execute("insert into public.forgotten default values")
        assert one(plain, "select count(*) from public.forgotten") == 1
        assert one(plain, "select public.forgotten()") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "create table auth.mine (id int)",
        "create function realtime.mine() returns int language sql as 'select 1'",
        "alter table realtime.messages add column mine int",
        "drop function auth.uid()",
        "drop table auth.users cascade",
        "create extension file_fdw",
        "alter system set fsync = off",
        "create role mine superuser",
    ],
)
def test_what_a_hosted_project_refuses_is_refused(plain: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ActiveSqlTransaction)):
        plain.execute(statement)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "statement",
    [
        "create policy mine on realtime.messages for select to authenticated using (true)",
        "create table public.profiles (id uuid primary key references auth.users (id) on delete cascade)",
        "create extension pg_trgm with schema extensions",
        "create schema private",
        "select extensions.digest('a', 'sha256')",
        "alter publication supabase_realtime set (publish = 'insert')",
    ],
)
def test_what_a_hosted_project_allows_works(plain: psycopg.Connection[Any], statement: str) -> None:
    plain.execute(statement)  # type: ignore[call-overload]


def test_a_trigger_on_new_users_works(plain: psycopg.Connection[Any]) -> None:
    plain.execute(
        """create function public.on_user() returns trigger language plpgsql security definer set search_path = ''
           as 'begin raise exception using message = new.email; end'"""
    )
    plain.execute("create trigger on_user after insert on auth.users for each row execute function public.on_user()")
    with pytest.raises(psycopg.errors.RaiseException, match=r"a@example\.org"):
        plain.execute("insert into auth.users (id, email) values (gen_random_uuid(), 'a@example.org')")


def test_api_roles_see_no_users(plain: psycopg.Connection[Any]) -> None:
    for role in ("anon", "authenticated", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(plain, role):
            plain.execute("select * from auth.users")


def test_claims_reach_the_auth_functions(plain: psycopg.Connection[Any]) -> None:
    user = "0a000000-0000-4000-8000-00000000000a"
    with acting_as(plain, {"sub": user, "role": "authenticated", "email": "a@example.org", "app_metadata": {"x": 1}}):
        row = plain.execute(
            "select auth.uid()::text, auth.role(), auth.email(), auth.jwt() -> 'app_metadata' -> 'x'"
        ).fetchone()
    assert row == (user, "authenticated", "a@example.org", 1)
    assert one(plain, "select auth.uid()") is None


def test_postgrest_hears_of_ddl(cluster: LocalSupabase, template: str) -> None:
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("listen pgrst")
        for statement in ("create table public.heard (id int)", "drop table public.heard"):
            connection.execute(statement)  # type: ignore[call-overload]
            assert [notice.payload for notice in connection.notifies(timeout=5, stop_after=1)] == ["reload schema"]


def test_a_copy_of_the_template_belongs_to_postgres(cluster: LocalSupabase, db: psycopg.Connection[Any]) -> None:
    assert one(db, "select pg_get_userbyid(datdba) from pg_database where datname = current_database()") == "postgres"
    assert cluster.postgres.is_outdated(db.info.dbname) is False


if os.geteuid() == 0:

    def test_root_below_a_folder_that_only_another_user_may_enter(tmp_path: Path) -> None:
        """Then a user namespace is of no help: root in it may not enter either. The data goes to /var/lib."""
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        os.chown(foreign, 12345, 12345)
        foreign.chmod(0o700)
        stack = LocalSupabase(foreign / "stack", durable=False)
        try:
            stack.up_database()
            home = stack.postgres.home
            assert home != stack.postgres.folder
            assert Path(f"/proc/{stack.postgres.service.pid()}").stat().st_uid != 0
        finally:
            stack.reset()
        assert not home.exists()
