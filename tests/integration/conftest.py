"""What a user of the whole system has at hand."""

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
from tests.bridges import System
from tests.people import signed_in

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


@dataclass(frozen=True)
class Project:
    """A Supabase project without a bridge, and the lines of its env file."""

    stack: LocalSupabase
    env: Mapping[str, str]


@pytest.fixture(scope="module")
def project(cluster: LocalSupabase, seeded_template: str) -> Iterator[Project]:
    """Seeded, with people who can sign in. Shared by a module, which may spoil its data."""
    with cluster.fresh_stack(seeded_template) as stack:
        yield Project(stack, asyncio.run(ensure_users(stack.env_path)))
