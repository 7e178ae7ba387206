"""The bridge and its stations on a real Supabase: PostgreSQL, PostgREST, the gateway with Auth and Realtime."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from local_supabase import LocalSupabase
from ocpp_bridge.bridge import Bridge
from ocpp_bridge.settings import Settings
from tests.fakes.station import FakeStation

pytest.register_assert_rewrite("tests.faults.audit")

STATION = "TEST-001"


class OpenStation(Protocol):
    def __call__(self, station_id: str = STATION, **options: Any) -> AbstractAsyncContextManager[FakeStation]: ...


@pytest.fixture
def rows(seeded_stack: LocalSupabase) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """The database behind the bridge, as postgres; rows are dicts."""
    with psycopg.connect(seeded_stack.db_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


def make_settings(stack: LocalSupabase, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "_env_file": None,
        "supabase_url": stack.url,
        "supabase_service_role_key": stack.service_role_key,
        "ocpp_host": "127.0.0.1",
        "ocpp_port": 0,
        "bridge_id": f"bridge-{secrets.token_hex(4)}",
        **changes,
    }
    return Settings(**values)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Bridge]:
    """A bridge that is ready and has joined its Realtime topic."""
    async with Bridge(settings) as bridge:
        async with asyncio.timeout(30):
            # Asked over and over, as whoever waits for /ready does.
            while not (bridge.readiness()["ready"] and bridge.wake_ups.joined):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield bridge


@pytest.fixture
async def bridge(seeded_stack: LocalSupabase) -> AsyncIterator[Bridge]:
    async with running(make_settings(seeded_stack)) as bridge:
        yield bridge


@pytest.fixture
def station(bridge: Bridge) -> OpenStation:
    """Opens a fake station: `async with station() as cp`."""

    def open_station(station_id: str = STATION, **options: Any) -> FakeStation:
        return FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/{station_id}", **options)

    return open_station


@pytest.fixture
async def rest(seeded_stack: LocalSupabase) -> AsyncIterator[httpx.AsyncClient]:
    """PostgREST through the gateway, with the service key."""
    key = seeded_stack.service_role_key
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"{seeded_stack.url}/rest/v1", headers=headers, timeout=30) as client:
        yield client
