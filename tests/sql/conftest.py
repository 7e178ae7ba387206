"""A populated database per test file; each test works in a transaction of its own that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.sql.world import World, connected, populate


@pytest.fixture(scope="module")
def shared_db(cluster: LocalSupabase, template: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection to a database of this file, with the rows of populate()."""
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        populate(connection)
        yield connection


@pytest.fixture
def world(shared_db: psycopg.Connection[Any]) -> Iterator[World]:
    """Both stations online; undone afterwards."""
    with connected(shared_db) as w:
        yield w
