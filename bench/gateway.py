"""What the local API gateway costs: the same RPC through it and straight to PostgREST.

Starts a stack of its own, prints requests/s and CPU per request.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

from bench.system import cpu_of
from local_supabase import LocalSupabase
from local_supabase.gateway.postgrest_client import PostgrestClient

CONCURRENCY = 8
REQUESTS = 3000
EVENTS = [
    {"kind": "call", "station_id": f"ST-{n}", "payload": {"meterValue": [{"value": str(n) * 20}]}} for n in range(60)
]
BODY = json.dumps({"events": EVENTS}).encode()
SQL = """create function public.echo(events jsonb) returns int language sql as 'select jsonb_array_length(events)';
         grant execute on function public.echo to anon"""


async def load(port: int, path: str, key: str, total: int) -> float:
    """Requests per second."""
    client = PostgrestClient("127.0.0.1", port)
    headers = [(b"apikey", key.encode()), (b"Content-Type", b"application/json"), (b"Accept", b"*/*")]
    left = iter(range(total))

    async def worker() -> None:
        for _ in left:
            answer = await client.request("POST", path, headers, f"Bearer {key}", BODY)
            assert answer.body == b"60", answer.body

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    client.close()
    return total / (time.perf_counter() - started)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalSupabase(Path(folder), durable=False)
        stack.up(migrate=False)
        try:
            with stack.connect() as connection:
                connection.execute(SQL)
            stack.restart("postgrest")
            pids = {row.part: row.pid or 0 for row in stack.status()}
            rates = {}
            for name, port, path in (
                ("direct", stack.ports.postgrest, "/rpc/echo"),
                ("gateway", stack.api_port, "/rest/v1/rpc/echo"),
            ):
                asyncio.run(load(port, path, stack.anon_key, REQUESTS // 10))  # warm up
                before = {part: cpu_of(pid) for part, pid in pids.items()}
                rates[name] = asyncio.run(load(port, path, stack.anon_key, REQUESTS))
                spent = {part: (cpu_of(pid) - before[part]) / REQUESTS * 1e6 for part, pid in pids.items()}
                print(
                    f"{name:<8} {rates[name]:7.0f} requests/s of {len(BODY)} bytes   CPU per request:"
                    f" gateway {spent['gateway']:4.0f} µs, PostgREST {spent['postgrest']:4.0f} µs"
                )
            print(f"gateway/direct {rates['gateway'] / rates['direct']:.2f}")
        finally:
            stack.down()
