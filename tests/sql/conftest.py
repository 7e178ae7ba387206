"""A database per test file; each test works in a transaction of its own that is rolled back.

Cheaper than a database per test, whose first statements also have to load the catalogue and plan every function anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.sql.world import World, connected, populate


@pytest.fixture(scope="module")
def _blank_db(cluster: LocalSupabase, template: str) -> Iterator[psycopg.Connection[Any]]:
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def undone(_blank_db: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a migrated database without rows; undone afterwards. In it now() stands still."""
    with _blank_db.transaction(force_rollback=True):
        yield _blank_db


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
