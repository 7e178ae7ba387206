"""What pricing costs in SQL: the price of a session (its meter values read, its tariff applied) and a quote.

Starts a database of its own; one warm connection, the round trip included.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from local_supabase import LocalSupabase
from tests.sql.tariff_world import World, utc

CALLS = 200
START = utc("2026-05-06T06:00")
MINUTE = timedelta(minutes=1)


def windows(world: World) -> None:
    """13 rules, 10 of them with a window of their own."""
    for n in range(8):
        world.rule(
            "per_kwh", 10 + n, f"window {n}", time_start=f"{3 * n:02}:00", time_end=f"{3 * n + 2:02}:30", priority=1
        )
    world.rule("per_kwh", 9, "usual")
    world.rule("per_minute", 1, "day", time_start="08:00", time_end="20:00")
    world.rule("parking_fee", 5, "parking", time_start="08:00", time_end="22:00")
    world.rule("session_fee", 20, "start")
    world.rule("per_kwh", 8, "weekend", is_weekend=True)


def day(world: World, minutes: int = 1440, **columns: object) -> UUID:
    """A session with a meter value a minute."""
    samples = [(START + n * MINUTE, 1000 + 15 * n) for n in range(1, minutes)]
    return world.session(START, START + minutes * MINUTE, 15 * minutes, samples, **columns)


def measure(title: str, call: Callable[[], object]) -> None:
    took = []
    for n in range(CALLS + 20):
        began = time.perf_counter()
        call()
        if n >= 20:
            took.append((time.perf_counter() - began) * 1000)
    took.sort()
    print(f"  {title:<72} median {statistics.median(took):6.2f} ms   p95 {took[int(CALLS * 0.95)]:6.2f} ms", flush=True)


def main() -> None:
    print(f"Pricing, {CALLS} calls each")
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalSupabase(Path(folder), durable=False)
        stack.up()
        try:
            with stack.connect() as connection:
                connection.autocommit = True
                world = World(connection)
                world.rule("per_kwh", 15, "flat")
                flat = world.session(START, START + 60 * MINUTE, 20_000, [(START + 30 * MINUTE, 11_000)])
                connection.execute("vacuum analyze")
                measure("session, flat tariff", lambda: world.bill(flat))
                measure("quote, flat tariff", lambda: world.quote(25.5))
                connection.execute("delete from tariff_rules")
                windows(world)
                long, restarted = day(world), day(world, meter_restarted=True)
                connection.execute("vacuum analyze")
                measure("session, 24 h, 1,440 samples, 13 rules, 10 windows", lambda: world.bill(long))
                measure("the same, meter restarted", lambda: world.bill(restarted))
                measure("quote, 10 h, 13 rules, 10 windows", lambda: world.quote(30, 600, at=START))
                measure(
                    "next_rate_change, 13 rules", lambda: world.one("select next_rate_change('ST-1', 1, %s)", START)
                )
                world.rule("per_kwh", 30, "fast", min_power=5, priority=3, vat=12)
                world.rule("per_minute", 3, "much", min_kwh=10, per_hour=True, step_size=60, vat=12, priority=3)
                measured = day(world)
                connection.execute("vacuum analyze")
                measure("24 h, 1,440 samples, also power, energy, steps and VAT", lambda: world.bill(measured))
        finally:
            stack.down()


if __name__ == "__main__":
    main()
