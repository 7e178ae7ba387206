"""What a user of the whole system has at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from supabase import AsyncClient

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
