"""One populated database for all tests of rights: each works in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.rls.http import Http
from tests.rls.rows import fill
from tests.sql.world import BOTH, World, populate


def fill_and_connect(connection: psycopg.Connection[Any]) -> World:
    populate(connection)
    world = World(connection)
    world.heartbeat()
    for station in BOTH:
        world.connect(station)
        world.send("BootNotification", {"chargePointVendor": "Vendor", "chargePointModel": "Model"}, station, -60)
    fill(world)
    world.sql("update private.bridges set lease_expires_at = now() + interval '1 day'")
    return world


@pytest.fixture(scope="package")
def filled(cluster: LocalSupabase, template: str) -> Iterator[World]:
    """At least one row in every table for each company and driver; both stations are online."""
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        yield fill_and_connect(connection)


@pytest.fixture
def world(filled: World) -> Iterator[World]:
    """What `filled` made; undone afterwards."""
    with filled.db.transaction(force_rollback=True):
        yield filled


@pytest.fixture(scope="module")
def http(cluster: LocalSupabase, template: str) -> Iterator[Http]:
    """The API on a database filled as `filled` is, for requests of everybody. What they change stays."""
    with cluster.fresh_stack(template) as stack, stack.connect() as connection:
        connection.autocommit = True
        with closing(Http(stack, fill_and_connect(connection))) as http:
            yield http
