"""The bridge's lease, which the database gives and the bridge counts for itself."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from ocpp_bridge.settings import LEASE_S
from tests.support import acting_as


def test_the_lease_lasts_as_long_in_the_database_as_the_bridge_believes(db: psycopg.Connection) -> None:
    with acting_as(db, "service_role"):
        query = "select (bridge_heartbeat('bridge-1') ->> 'lease_expires_at')::timestamptz - now()"
        row = db.execute(query).fetchone()
    assert row == (timedelta(seconds=LEASE_S),)
