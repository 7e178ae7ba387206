"""What breaks under load, and what must not: no acknowledged message missing, no session doubled, everybody back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from local_supabase import LocalSupabase
from ocpp_bridge.bridge import Bridge
from tests.bridges import BridgeProcess
from tests.fakes.station import FakeStation
from tests.protocol.conftest import make_settings, running

NAMES = [f"LOAD-{number}" for number in range(6)]
FIRST = datetime(2025, 1, 1, tzinfo=UTC)

Rows = psycopg.Connection[dict[str, Any]]


class Load:
    """Stations that charge one session after the other; each message is repeated until it is confirmed."""

    def __init__(self, port: Callable[[], int]) -> None:
        self.port = port
        self.acknowledged: dict[tuple[str, str], int] = {}  # station and time of a meter value -> register
        self.sessions: list[tuple[str, int]] = []  # station and transaction id of finished sessions
        self.refused = 0
        self.lost_lines = 0
        self._stop = False
        self._progress = asyncio.Condition()

    async def run(self) -> None:
        await asyncio.gather(*(self._station(name) for name in NAMES))

    def stop(self) -> None:
        self._stop = True

    async def progress(self) -> None:
        """Wait until every station has finished two more sessions."""
        before = {name: self._count(name) for name in NAMES}
        async with asyncio.timeout(60), self._progress:
            await self._progress.wait_for(lambda: all(self._count(name) >= before[name] + 2 for name in NAMES))

    def _count(self, name: str) -> int:
        return sum(1 for station, _ in self.sessions if station == name)

    async def _station(self, name: str) -> None:
        steps = self._messages(name)
        pending = next(steps)
        while True:
            try:
                async with FakeStation(f"ws://127.0.0.1:{self.port()}/ws/{name}") as link:
                    while True:
                        answer = await link.call(*pending)
                        if answer[0] == 4:
                            assert answer[2] == "InternalError", answer
                            self.refused += 1
                            await asyncio.sleep(0.2)  # TransactionMessageRetryInterval, in short
                            continue
                        try:
                            pending = steps.send(answer[2])
                        except StopIteration:
                            return
                        async with self._progress:
                            self._progress.notify_all()
            except (OSError, ConnectionClosed, InvalidHandshake, asyncio.CancelledError, TimeoutError):
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                self.lost_lines += 1
                await asyncio.sleep(0.1)

    def _messages(self, name: str) -> Any:
        """A generator of messages that is sent their answers."""
        register, now = 0, FIRST
        while not self._stop:
            start = {"connectorId": 1, "idTag": "A", "meterStart": register, "timestamp": _text(now)}
            answer = yield "StartTransaction", start
            transaction = answer["transactionId"]
            for _ in range(5):
                now += timedelta(minutes=1)
                register += 100
                value = {"timestamp": _text(now), "sampledValue": [{"value": str(register)}]}
                yield "MeterValues", {"connectorId": 1, "transactionId": transaction, "meterValue": [value]}
                self.acknowledged[name, _text(now)] = register
            now += timedelta(minutes=1)
            stop = {"transactionId": transaction, "meterStop": register, "timestamp": _text(now)}
            yield "StopTransaction", stop
            self.sessions.append((name, transaction))
            now += timedelta(minutes=1)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def verify(load: Load, rows: Rows) -> None:
    stored = {
        (row["station_id"], _text(row["reported_at"].astimezone(UTC))): int(row["energy_wh"])
        for row in rows.execute("select station_id, reported_at, energy_wh from meter_values")
        if row["energy_wh"] is not None
    }
    missing = {key: value for key, value in load.acknowledged.items() if stored.get(key) != value}
    assert missing == {}
    found = rows.execute(
        "select station_id, transaction_id, energy, status::text from charging_sessions where station_id = any (%s)"
        " and stop_time is not null",
        [NAMES],
    ).fetchall()
    finished = {(row["station_id"], row["transaction_id"]) for row in found}
    assert finished >= set(load.sessions)
    assert len(found) == len(finished)
    assert {(row["status"], float(row["energy"])) for row in found} == {("stopped", 0.5)}
    doubled = rows.execute(
        "select station_id, start_time from charging_sessions group by 1, 2 having count(*) > 1"
    ).fetchall()
    assert doubled == []


@contextlib.asynccontextmanager
async def under_load(stack: LocalSupabase, port: Callable[[], int]) -> AsyncIterator[Load]:
    with psycopg.connect(stack.db_url, autocommit=True) as rows:
        rows.execute("insert into stations (id) select unnest(%s::text[])", [NAMES])
    load = Load(port)
    running_load = asyncio.create_task(load.run())
    try:
        await load.progress()
        yield load
        await load.progress()
        load.stop()
        async with asyncio.timeout(60):
            await running_load
    finally:
        running_load.cancel()
        await asyncio.gather(running_load, return_exceptions=True)


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
    async with under_load(seeded_stack, lambda: bridge.port) as load:
        await breaks(seeded_stack)
    assert load.lost_lines == 0  # the stations kept their connections
    with psycopg.connect(seeded_stack.db_url, autocommit=True, row_factory=psycopg.rows.dict_row) as after:
        verify(load, after)


async def test_an_outage_longer_than_the_retries_makes_stations_repeat(seeded_stack: LocalSupabase) -> None:
    settings = make_settings(seeded_stack, ingest_retry_window=0.5)
    with psycopg.connect(seeded_stack.db_url, autocommit=True, row_factory=psycopg.rows.dict_row) as rows:
        async with running(settings) as bridge, under_load(seeded_stack, lambda: bridge.port) as load:
            await stop_postgrest(seeded_stack)
        assert load.refused > 0
        verify(load, rows)


async def test_a_bridge_killed_under_load_loses_and_doubles_nothing(
    seeded_stack: LocalSupabase, rows: Rows, tmp_path: Path
) -> None:
    bridge = bridge_of(seeded_stack, tmp_path)
    await asyncio.to_thread(bridge.start)
    try:
        async with under_load(seeded_stack, lambda: bridge.port) as load:
            await asyncio.to_thread(bridge.kill)
            await asyncio.to_thread(bridge.start)
        verify(load, rows)
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
