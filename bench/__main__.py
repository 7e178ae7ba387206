"""The figures of bench/RESULTS.md, measured here: all, or those named. Each starts a local Supabase of its own."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from bench import commands, gateway, meter_values, pricing, reading

ALL = {
    "commands": commands.main,
    "meter_values": meter_values.main,
    "gateway": gateway.main,
    "pricing": pricing.main,
    "reading": reading.main,
}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(ALL)} (all)")
    names = parser.parse_args().names
    if unknown := set(names) - ALL.keys():
        parser.error(f"no measurement {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_processor()}, "
        f"Python {platform.python_version()}"
    )
    for name in names or ALL:
        print(flush=True)
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
