"""One populated database for all tests of rights: each works in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.rls.rows import fill
from tests.sql.world import BOTH, World, populate


@pytest.fixture(scope="package")
def filled(cluster: LocalSupabase, template: str) -> Iterator[World]:
    """At least one row in every table for each company and driver; both stations are online."""
    with cluster.fresh_database(template) as url, psycopg.connect(url, autocommit=True) as connection:
        populate(connection)
        world = World(connection)
        world.heartbeat()
        for station in BOTH:
            world.connect(station)
            world.send("BootNotification", {"chargePointVendor": "Vendor", "chargePointModel": "Model"}, station, -60)
        fill(world)
        world.sql("update private.bridges set lease_expires_at = now() + interval '1 day'")
        yield world


@pytest.fixture
def world(filled: World) -> Iterator[World]:
    """What `filled` made; undone afterwards."""
    with filled.db.transaction(force_rollback=True):
        yield filled
