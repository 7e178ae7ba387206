"""The whole system as a user meets it: a seeded local Supabase, its people with passwords, a bridge process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from supabase import AsyncClient

from demo.users import ensure_users
from local_supabase import LocalSupabase
from tests.bridges import BridgeProcess
from tests.people import signed_in


@dataclass(frozen=True)
class System:
    """Supabase, a bridge, and the lines of .local/env."""

    stack: LocalSupabase
    bridge: BridgeProcess
    env: Mapping[str, str]


@pytest.fixture(scope="module")
def system(cluster: LocalSupabase, seeded_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for a module: each of its tests has a station of its own. The bridge must end in order."""
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


As = Callable[[str], AbstractAsyncContextManager[AsyncClient]]


@pytest.fixture
def signed_in_as(system: System) -> As:
    """`async with signed_in_as("DEMO_DRIVER") as driver`: supabase-py with that user's JWT."""
    return lambda prefix: signed_in(system.env, prefix)


@pytest.fixture
def rows(system: System) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """The database, as postgres; rows are dicts."""
    with psycopg.connect(system.stack.db_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection
