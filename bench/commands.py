"""From the insert of a command to the CALL at the station, with 100 stations connected."""

from __future__ import annotations

import asyncio
import random
import statistics
import time

import psycopg

from bench.stations import BenchStation
from bench.system import system

STATIONS = 100
COMMANDS = 200


async def measure(url: str, database_url: str) -> list[float]:
    """Latencies in seconds, one per command: from before the INSERT is sent until the frame is read by the station."""
    arrived: dict[str, float] = {}
    fleet = [BenchStation(url, f"BENCH-{number:04d}", arrived.__setitem__) for number in range(STATIONS)]
    for station in fleet:
        await station.connect()
    choice = random.Random(1)
    latencies = []
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as db:
        for _ in range(COMMANDS):
            begin = time.perf_counter()
            cursor = await db.execute(
                "insert into public.commands (station_id, action, payload) "
                "values (%s, 'TriggerMessage', '{\"requestedMessage\": \"Heartbeat\"}') returning id",
                [f"BENCH-{choice.randrange(STATIONS):04d}"],
            )
            row = await cursor.fetchone()
            assert row is not None
            async with asyncio.timeout(30):
                while str(row[0]) not in arrived:  # noqa: ASYNC110 - the time of arrival is taken by the reader
                    await asyncio.sleep(0.0005)
            latencies.append(arrived[str(row[0])] - begin)
            await asyncio.sleep(0.02)
    await asyncio.gather(*(station.close() for station in fleet))
    return latencies


def main() -> None:
    with system(STATIONS) as subject:
        with psycopg.connect(subject.supabase.db_url) as db:  # where they stand says which company is told, too
            db.execute(
                "update public.stations set location_id = (select location_id from public.stations "
                "where id = 'TEST-001') where id like 'BENCH-%'"
            )
        latencies = [1000 * s for s in asyncio.run(measure(subject.ocpp_url, subject.supabase.db_url))]
    cuts = statistics.quantiles(latencies, n=100)
    print(f"Insert of a command to the CALL at the station, {COMMANDS} commands, {STATIONS} stations connected")
    print(
        f"  p50 {cuts[49]:.1f} ms (aim 25), p90 {cuts[89]:.1f} ms, p99 {cuts[98]:.1f} ms (aim 100), "
        f"max {max(latencies):.1f} ms"
    )
