"""What breaks under load, and what must not: no acknowledged message missing, no session doubled, everybody back.

The same with buttons pressed, twenty stations and a durable database: tests/faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_supabase import LocalSupabase
from ocpp_bridge.bridge import Bridge
from tests.bridges import BridgeProcess
from tests.fakes.load import Load
from tests.fakes.station import FakeStation
from tests.faults.audit import check_meter_values, check_sessions
from tests.protocol.conftest import make_settings, running

Rows = psycopg.Connection[dict[str, Any]]


@asynccontextmanager
async def under_load(stack: LocalSupabase, url: str) -> AsyncIterator[Load]:
    """Six stations charge when the block begins; after it they go on for a while, come to an end and are audited."""
    load = Load("LOAD", 6, lambda: [url])
    with psycopg.connect(stack.db_url, autocommit=True) as db:
        db.execute("insert into stations (id) select unnest(%s::text[])", [load.names])
    async with load:
        await load.progress()
        yield load
        await load.progress()
        await load.finish()
    with psycopg.connect(stack.db_url, autocommit=True, row_factory=psycopg.rows.dict_row) as rows:
        check_meter_values(rows, load)
        check_sessions(rows, load)


def url_of(bridge: Bridge) -> str:
    return f"ws://127.0.0.1:{bridge.port}/ws"


Break = Callable[[LocalSupabase], Awaitable[None]]


async def stop_postgrest(stack: LocalSupabase) -> None:
    await asyncio.to_thread(stack.stop, "postgrest")
    await asyncio.sleep(3)  # the length of the outage
    await asyncio.to_thread(stack.start, "postgrest")


async def crash_gateway(stack: LocalSupabase) -> None:
    await asyncio.to_thread(stack.kill, "gateway")
    await asyncio.to_thread(stack.start, "gateway")


async def restart_postgres(stack: LocalSupabase) -> None:
    await asyncio.to_thread(stack.restart, "postgres")


@pytest.mark.parametrize("breaks", [stop_postgrest, crash_gateway, restart_postgres])
async def test_an_outage_of_a_part_loses_and_doubles_nothing(
    seeded_stack: LocalSupabase, bridge: Bridge, breaks: Break
) -> None:
    async with under_load(seeded_stack, url_of(bridge)) as load:
        await breaks(seeded_stack)
    assert load.ledger.disconnects == 0


async def test_an_outage_longer_than_the_retries_makes_stations_repeat(seeded_stack: LocalSupabase) -> None:
    settings = make_settings(seeded_stack, ingest_retry_window=0.5)
    async with running(settings) as bridge, under_load(seeded_stack, url_of(bridge)) as load:
        await stop_postgrest(seeded_stack)
    assert load.ledger.refused > 0


async def test_a_bridge_killed_under_load_loses_and_doubles_nothing(
    seeded_stack: LocalSupabase, tmp_path: Path
) -> None:
    bridge = bridge_of(seeded_stack, tmp_path)
    await asyncio.to_thread(bridge.start)
    try:
        async with under_load(seeded_stack, bridge.url):
            await asyncio.to_thread(bridge.kill)
            await asyncio.to_thread(bridge.start)
    finally:
        code = await asyncio.to_thread(bridge.end)
    assert code == 0


async def test_sigterm_ends_the_bridge_in_order(seeded_stack: LocalSupabase, rows: Rows, tmp_path: Path) -> None:
    bridge = bridge_of(seeded_stack, tmp_path)
    await asyncio.to_thread(bridge.start)
    async with FakeStation(f"{bridge.url}/TEST-001") as station:
        await station.result("Heartbeat")
        ending = asyncio.create_task(asyncio.to_thread(bridge.end))
        assert await station.closed() == 1001
        assert await ending == 0
    assert bridge.lines()[-1] == "Bridge stopped"
    assert rows.execute("select * from connections").fetchall() == []


def bridge_of(stack: LocalSupabase, folder: Path) -> BridgeProcess:
    """A bridge with the service key."""
    return BridgeProcess({"SUPABASE_URL": stack.url}, folder, supabase_service_role_key=stack.service_role_key)
