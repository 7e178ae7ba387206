"""Parts are broken while twenty stations charge and people press buttons. No acknowledged message may be missing, no
session doubled or wrongly billed, no command lost or carried out twice, and every station must be back by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
import pytest

from tests.bridges import BridgeProcess
from tests.fakes.load import Load
from tests.fakes.proxy import Proxy
from tests.faults.audit import audit
from tests.faults.conftest import Plant
from tests.faults.people import People

STATIONS = 20


@dataclass
class Scene:
    load: Load
    people: People


@asynccontextmanager
async def under_load(
    plant: Plant, prefix: str, urls: Callable[[], Sequence[str]], **options: bool
) -> AsyncIterator[Scene]:
    """Everybody is at work when the block begins; after it all goes on for a while, comes to its end and is audited."""
    load = Load(prefix, STATIONS, urls, **options)
    with psycopg.connect(plant.stack.db_url, autocommit=True) as rows:
        rows.execute("insert into stations (id) select unnest(%s::text[])", [load.names])
        rows.execute(
            "insert into connectors (station_id, number) select unnest(%s::text[]), n from generate_series(1, 2) as n",
            [load.names],
        )
        rows.execute("update clients set credit_limit = 1e9 where kind = 'account'")  # money is not what is tried here
    async with load, People(plant.stack.db_url, load.names, seed=len(prefix)) as people:
        await load.progress()
        yield Scene(load, people)
        await load.progress()
        assert online(plant, load) == set(load.names)
        await people.finish()
        await load.finish()
    print(audit(plant.stack.db_url, load, people))


def online(plant: Plant, load: Load) -> set[str]:
    """The stations that the system takes to be online."""
    with psycopg.connect(plant.stack.db_url, autocommit=True) as rows:
        found = rows.execute("select station_id from connections where station_id = any (%s)", [load.names]).fetchall()
    return {row[0] for row in found}


async def test_postgres_restarted_in_the_middle_of_it(plant: Plant) -> None:
    """An immediate shutdown, like a crash: transactions are cut off, clients thrown out, the log is replayed."""
    bridge = plant.bridge()
    async with under_load(plant, "PG", lambda: [bridge.url]) as scene:
        await asyncio.to_thread(plant.stack.postgres.service.stop, signal.SIGQUIT)
        await asyncio.to_thread(plant.stack.start, "postgres")
    assert scene.load.ledger.disconnects == 0


async def test_postgrest_stopped_for_twenty_seconds(plant: Plant) -> None:
    """Longer than the bridge repeats by itself, and longer than its lease: stations get a CALLERROR and repeat."""
    bridge = plant.bridge()
    async with under_load(plant, "REST", lambda: [bridge.url]) as scene:
        await asyncio.to_thread(plant.stack.stop, "postgrest")
        await asyncio.sleep(20)  # the length of the outage
        await asyncio.to_thread(plant.stack.start, "postgrest")
    assert scene.load.ledger.disconnects == 0
    assert scene.load.ledger.refused > 0


async def test_the_gateway_crashes(plant: Plant) -> None:
    """It carries the API and the Realtime socket alike."""
    bridge = plant.bridge()
    async with under_load(plant, "GATE", lambda: [bridge.url]) as scene:
        await asyncio.to_thread(plant.stack.kill, "gateway")
        await asyncio.to_thread(plant.stack.start, "gateway")
    assert scene.load.ledger.disconnects == 0


@pytest.mark.parametrize("fault", ["cut", "freeze"])
async def test_the_realtime_socket_is_lost_alone(plant: Plant, fault: str) -> None:
    """Cut: it is reset. Frozen: it stays open and nothing comes any more, which only an unanswered heartbeat shows."""
    async with Proxy(plant.stack.api_port) as proxy:
        plant.env = {**plant.env, "SUPABASE_URL": f"http://127.0.0.1:{proxy.port}"}
        bridge = await asyncio.to_thread(plant.bridge, realtime_probe_interval=1, realtime_timeout=2)
        async with under_load(plant, f"RT{fault}", lambda: [bridge.url]) as scene:
            assert (proxy.cut_realtime() if fault == "cut" else proxy.freeze_realtime()) == 1
            await until_logged(bridge, "Realtime lost", 1)
            await until_logged(bridge, "Realtime joined", 2)
        assert scene.load.ledger.disconnects == 0
        assert scene.load.ledger.refused == 0
        await asyncio.to_thread(bridge.end)


async def test_the_bridge_is_killed_and_started_again(plant: Plant) -> None:
    bridge = plant.bridge()
    async with under_load(plant, "KILL", lambda: [bridge.url]) as scene:
        await asyncio.to_thread(bridge.kill)
        await asyncio.to_thread(bridge.start)
    assert scene.load.ledger.disconnects == STATIONS


async def test_a_second_bridge_takes_over_and_back_again(plant: Plant) -> None:
    """One of two is killed, its stations go to the other; then it is back and the other is stopped in good order."""
    one, two = plant.bridge(), plant.bridge()
    async with under_load(plant, "TWO", lambda: [one.url, two.url], all_boot_again=True) as scene:
        assert {station.at for station in scene.load.stations} == {one.url, two.url}
        await asyncio.to_thread(one.kill)
        await scene.load.progress()
        assert {station.at for station in scene.load.stations} == {two.url}
        await asyncio.to_thread(one.start)
        assert await asyncio.to_thread(two.end) == 0
    assert scene.load.ledger.disconnects == STATIONS * 3 // 2


async def until_logged(bridge: BridgeProcess, text: str, times: int) -> None:
    async with asyncio.timeout(30):
        while sum(line.startswith(text) for line in bridge.lines()) < times:  # noqa: ASYNC110 - it is a file
            await asyncio.sleep(0.05)
