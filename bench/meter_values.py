"""MeterValues per second with 50 stations sending back to back: the bridge, where each is durable, beside the plain
in-memory server of the `ocpp` library, in turn in the same run. Same load process, same messages."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from bench.system import System, cpu_of, system
from local_supabase import ports

STATIONS = 50
SECONDS = 8.0
ROUNDS = 3


def load(url: str) -> dict[str, float]:
    """One round of load; {messages, seconds, cpu_s}."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", url, str(STATIONS), str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def round_of_library() -> tuple[float, dict[str, float]]:
    port = ports.free()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.library_server", str(port)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            figures = load(f"ws://127.0.0.1:{port}/ws")
            cpu = cpu_of(server.pid)
        finally:
            server.terminate()
    return figures["messages"] / figures["seconds"], {
        "library server": cpu / figures["messages"],
        "load": figures["cpu_s"] / figures["messages"],
    }


def round_of_bridge(subject: System) -> tuple[float, dict[str, float]]:
    stored, before = subject.count("meter_values"), subject.cpu_seconds()
    figures = load(subject.ocpp_url)
    after = subject.cpu_seconds()
    if (missing := figures["messages"] - (subject.count("meter_values") - stored)) != 0:
        raise RuntimeError(f"{missing:.0f} answered MeterValues are not in the table")
    cpu = {part: (after[part] - before[part]) / figures["messages"] for part in after}
    return figures["messages"] / figures["seconds"], cpu | {"load": figures["cpu_s"] / figures["messages"]}


def main() -> None:
    print(f"MeterValues per second, {STATIONS} stations back to back, {ROUNDS} rounds of {SECONDS:.0f} s in turn")
    ratios, rates, cpus = [], [], []
    with system(STATIONS) as subject:
        for number in range(1, ROUNDS + 1):
            library, library_cpu = round_of_library()
            bridge, bridge_cpu = round_of_bridge(subject)
            ratios.append(bridge / library)
            rates.append((bridge, library))
            cpus.append((bridge_cpu, library_cpu))
            print(
                f"  round {number}: bridge {bridge:6.0f}/s, durable   library {library:6.0f}/s, in memory   "
                f"ratio {bridge / library:.2f}",
                flush=True,
            )
    bridge, library = (statistics.median(rate[side] for rate in rates) for side in (0, 1))
    print(f"  median: bridge {bridge:.0f}/s, library {library:.0f}/s, ratio {statistics.median(ratios):.2f} (aim: 1)")
    for title, index in (("bridge's system", 0), ("library", 1)):
        parts = cpus[0][index].keys()
        line = ", ".join(f"{part} {statistics.median(c[index][part] for c in cpus) * 1e6:.0f}" for part in parts)
        print(f"  CPU per message, µs, {title}: {line}")
