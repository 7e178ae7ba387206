"""A driver with a prepaid account sets a limit: the station is told to stop there, whatever happens to the bridge."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.bridges import System
from tests.fakes.charger import Charger
from tests.integration.conftest import As
from tests.people import row, rpc

Rows = psycopg.Connection[dict[str, Any]]
STATION = "TEST-001"


@asynccontextmanager
async def charger(system: System, like: Charger | None = None) -> AsyncIterator[Charger]:
    """The station; one that was connected before goes on where it was."""
    async with Charger(f"{system.bridge.url}/{STATION}") as station:
        await station.boot()
        if like is not None:
            station.transaction, station.started_at = like.transaction, like.started_at
        yield station


def balance(rows: Rows) -> tuple[int, int]:
    found = rows.execute("select balance::int, held::int from clients where name = 'Aibek Toktomamatov'").fetchone()
    assert found is not None
    return found["balance"], found["held"]


@pytest.mark.parametrize("killed", [False, True], ids=["bridge lives", "bridge is killed midway"])
async def test_amount_limit_stops_the_station(system: System, signed_in_as: As, rows: Rows, killed: bool) -> None:
    """100 KGS at 15 KGS/kWh: 6.667 kWh. 22 kW give 367 Wh a minute."""
    before, _ = balance(rows)
    async with signed_in_as("DEMO_DRIVER") as driver:
        async with charger(system) as station:
            session = await rpc(driver, "start_charge", station_id=STATION, connector_id=1, limit_amount=100)
            assert balance(rows) == (before - 100, 100)
            asked = await station.accept("RemoteStartTransaction")
            await station.begin(asked["idTag"])
            await station.meter(5000, after=timedelta(minutes=14))
            if killed:
                await asyncio.to_thread(system.bridge.end, signal.SIGKILL)
                await asyncio.to_thread(system.bridge.start)
            else:
                await station.meter(5367, after=timedelta(minutes=15))
        async with charger(system, station) as station:
            await station.meter(6400, after=timedelta(minutes=18))  # in a minute it would be 6,767
            assert await station.accept("RemoteStopTransaction") == {"transactionId": session["transaction_id"]}
            running = await row(driver, "charging_sessions", id=session["id"])
            assert running["status"] == "started"
            assert running["limit_warned_at"] is not None
            assert running["limit_reached_at"] is not None
            await station.finish(6500)
        ended = await row(driver, "charging_sessions", id=session["id"])
        assert (ended["status"], ended["amount"], ended["held_amount"], ended["unpaid_amount"]) == (
            "stopped",
            97.5,
            0,
            0,
        )
        entries = await driver.table("ledger_entries").select("kind,amount").eq("session_id", session["id"]).execute()
        assert sorted((entry["kind"], entry["amount"]) for entry in entries.data) == [  # type: ignore[call-overload,index]
            ("charge", -97.5),
            ("hold", -100),
            ("release", 100),
        ]
    assert balance(rows)[1] == 0
