"""The system under test: a local Supabase of its own and a bridge, and what CPU each process took."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from demo.bridge import BridgeProcess
from local_supabase import LocalSupabase
from local_supabase.process import Service

TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class System:
    """A running stack and bridge."""

    supabase: LocalSupabase
    bridge_pid: int
    ocpp_url: str

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds so far of each part, its children that live included."""
        return {"bridge": cpu_of(self.bridge_pid), **cpu_of_parts(self.supabase)}

    def count(self, table: str) -> int:
        """Rows of a public table."""
        with psycopg.connect(self.supabase.db_url) as db:
            row = db.execute(SQL("select count(*) from public.{}").format(Identifier(table))).fetchone()
            assert row is not None
            return int(row[0])


def cpu_of_parts(supabase: LocalSupabase) -> dict[str, float]:
    """CPU seconds so far of PostgreSQL, PostgREST and the gateway, their children that live included."""
    pids = {row.part: row.pid for row in supabase.status() if row.pid is not None}
    return {part: sum(cpu_of(child) for child in _tree(pid)) for part, pid in pids.items()}


@contextlib.contextmanager
def system(stations: int) -> Iterator[System]:
    """A durable local Supabase with BENCH-0000 … registered at 15 KGS/kWh, and one bridge with the service key."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        supabase = LocalSupabase(folder)
        supabase.up()
        try:
            with psycopg.connect(supabase.db_url) as db:
                db.execute(
                    "insert into stations (id, power_capacity, tariff_plan_id) "
                    "select 'BENCH-' || lpad(n::text, 4, '0'), 22, "
                    "(select tariff_plan_id from stations where id = 'TEST-001') "
                    "from generate_series(0, %s) as n",
                    [stations - 1],
                )
            bridge = BridgeProcess(
                {
                    "SUPABASE_URL": supabase.url,
                    "SUPABASE_SERVICE_ROLE_KEY": supabase.service_role_key,
                    "LOG_LEVEL": "WARNING",
                    "UNKNOWN_ID_TAGS": "accept",
                },
                Service("bridge", folder / "run" / "bridge.json", folder / "log" / "bridge.log"),
            )
            bridge.start()
            try:
                yield System(supabase, bridge.pid, bridge.url)
            finally:
                bridge.end()
        finally:
            supabase.down()


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far, 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK  # utime and stime


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(current := waiting.pop())
        waiting += children.get(current, [])
    return found
