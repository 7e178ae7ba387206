"""A bridge on a free port with a Supabase in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ocpp_bridge.bridge import Bridge
from ocpp_bridge.settings import Settings
from tests.fakes.station import FakeStation
from tests.fakes.supabase import FakeSupabase


def make_settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "_env_file": None,
        "supabase_url": "http://127.0.0.1:1",
        "supabase_service_role_key": "unused",
        "ocpp_host": "127.0.0.1",
        "ocpp_port": 0,
        "bridge_id": "bridge-1",
        "ingest_retry_window": 0,
        "shutdown_timeout": 5,
        "unknown_station_cache": 0,
        **changes,
    }
    return Settings(**values)


@asynccontextmanager
async def running(
    supabase: FakeSupabase, *, unchecked: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[Bridge]:
    before = asyncio.all_tasks()
    settings = make_settings(**changes).model_copy(update=unchecked or {})
    async with Bridge(settings, supabase) as bridge:
        await supabase.until(lambda: supabase.heartbeats)
        await asyncio.sleep(0)  # the reply reaches the lease
        yield bridge
    leftovers = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert leftovers == set()


class LogWatch(logging.Handler):
    """Log records of the bridge, to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._written = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self._written.set()

    async def line(self, message: str) -> logging.LogRecord:
        """Wait for a record with this message."""
        async with asyncio.timeout(10):
            while True:
                for record in self.records:
                    if record.getMessage() == message:
                        return record
                self._written.clear()
                await self._written.wait()


@pytest.fixture
async def log_watch() -> AsyncIterator[LogWatch]:
    watch = LogWatch()
    root = logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.INFO)
    yield watch
    root.removeHandler(watch)
    root.setLevel(level)


@pytest.fixture
async def supabase() -> FakeSupabase:
    return FakeSupabase()


@pytest.fixture
async def bridge(supabase: FakeSupabase) -> AsyncIterator[Bridge]:
    async with running(supabase) as bridge:
        yield bridge


@pytest.fixture
async def station(bridge: Bridge) -> AsyncIterator[FakeStation]:
    async with FakeStation(f"ws://127.0.0.1:{bridge.port}/ws/TEST-001") as station:
        yield station
