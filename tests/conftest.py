"""Fixtures on real parts: PostgreSQL, PostgREST and the gateway run; nothing of Supabase is faked in the tests.

cluster        a PostgreSQL with the bootstrap of a hosted project (session)
stack          the whole local Supabase, migrated and seeded, in a folder of its own (session)
api            the stack under test: the one that SUPABASE_URL and its keys name, else `stack`
db, seeded_db  a connection as postgres to a fresh database: migrated, or migrated and seeded
fresh_stack, seeded_stack  a whole API on such a database
system         such an API with people who can sign in, and a bridge process (module)
tests.support.acting_as  runs SQL as a user or role, as PostgREST does
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from demo.users import ensure_users
from local_supabase import LocalSupabase
from local_supabase.process import birth
from local_supabase.tools import Tools, install
from tests.bridges import BridgeProcess, System, stop_bridges_of
from tests.support import Api

ROOT = Path(__file__).resolve().parent.parent
RUNNING = ROOT / ".local" / "test-stacks"  # one note per stack that a test run started
SEEDED = "evpower_seeded"


def _stop_leftovers() -> None:
    """Stop what a killed test run left behind."""
    for note in RUNNING.glob("*.json") if RUNNING.exists() else ():
        owner = json.loads(note.read_text())
        if birth(owner["pid"]) != owner["birth"]:
            stop_bridges_of(owner["pid"])
            folder = Path(owner["folder"])
            for part in [*folder.glob("stacks/*"), folder]:
                if (part / "ports.json").exists():
                    LocalSupabase(part).down()
            shutil.rmtree(folder, ignore_errors=True)
            note.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The installed programs: Node.js with supabase-js, Deno, the Supabase CLI, PostgreSQL, PostgREST."""
    return install(ROOT / ".local" / "tools", print)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSupabase]:
    """PostgreSQL without an API, for tests that need SQL only; starts in a second."""
    _stop_leftovers()
    stack = LocalSupabase(tmp_path_factory.mktemp("supabase"), durable=False)
    RUNNING.mkdir(parents=True, exist_ok=True)
    note = RUNNING / f"{os.getpid()}.json"
    draft = note.with_suffix(".draft")  # others read the notes while this one is written
    draft.write_text(json.dumps({"pid": os.getpid(), "birth": birth(os.getpid()), "folder": os.fspath(stack.folder)}))
    draft.rename(note)
    try:
        stack.up_database()
        yield stack
    finally:
        stack.down()
        stack.postgres.remove()
        note.unlink()


@pytest.fixture(scope="session")
def stack(cluster: LocalSupabase) -> LocalSupabase:
    """The whole local Supabase, migrated and seeded. Shared: a test that changes data takes a fresh one."""
    cluster.up()
    return cluster


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Api:
    """The project under test: the one named by the environment (hosted, `supabase start`), else a local one."""
    if os.environ.get("SUPABASE_URL"):
        return Api(os.environ["SUPABASE_URL"], os.environ["SUPABASE_ANON_KEY"], os.environ["SUPABASE_SERVICE_ROLE_KEY"])
    stack: LocalSupabase = request.getfixturevalue("stack")
    return Api(stack.url, stack.anon_key, stack.service_role_key)


@pytest.fixture(scope="session")
def template(cluster: LocalSupabase) -> str:
    """Name of a migrated database without seed, to clone from."""
    return cluster.prepare_template()


@pytest.fixture(scope="session")
def seeded_template(cluster: LocalSupabase) -> str:
    """Name of a migrated and seeded database, to clone from."""
    return cluster.prepare_template(seed=True, name=SEEDED)


@pytest.fixture
def db(cluster: LocalSupabase, template: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection as postgres to a fresh migrated database, dropped afterwards."""
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def seeded_db(cluster: LocalSupabase, seeded_template: str) -> Iterator[psycopg.Connection]:
    """Like db, with the seed's rows."""
    with cluster.fresh_database(seeded_template) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def fresh_stack(cluster: LocalSupabase, template: str) -> Iterator[LocalSupabase]:
    """A whole API on a fresh migrated database; its connect() opens the database."""
    with cluster.fresh_stack(template) as stack:
        yield stack


@pytest.fixture
def seeded_stack(cluster: LocalSupabase, seeded_template: str) -> Iterator[LocalSupabase]:
    """Like fresh_stack, with the seed's rows."""
    with cluster.fresh_stack(seeded_template) as stack:
        yield stack


@pytest.fixture(scope="module")
def system(cluster: LocalSupabase, seeded_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole system as a user meets it. Shared by a module, whose tests have a station of their own each.

    The bridge must end in order and have logged no error.
    """
    with cluster.fresh_stack(seeded_template) as stack:
        env = asyncio.run(ensure_users(stack.env_path))
        bridge = BridgeProcess(env, tmp_path_factory.mktemp("bridge"))
        try:
            bridge.start()
            yield System(stack, bridge, env)
        finally:
            code = bridge.end()
        assert code == 0
        assert bridge.lines("ERROR") == []
