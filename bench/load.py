"""A load process: N stations charge for some seconds against a server; prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from bench.stations import BenchStation


async def main(url: str, stations: int, seconds: float) -> None:
    fleet = [BenchStation(url, f"BENCH-{number:04d}") for number in range(stations)]
    for station in fleet:
        await station.connect()
    begin = time.perf_counter()
    await asyncio.gather(*(station.charge(begin + seconds) for station in fleet))
    took = time.perf_counter() - begin
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps({"messages": sum(s.sent for s in fleet), "seconds": took, "cpu_s": usage.ru_utime + usage.ru_stime})
    )
    await asyncio.gather(*(station.close() for station in fleet))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
