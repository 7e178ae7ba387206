"""python -m bench [NAME …]: all measurements, or those named."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from bench import commands, meter_values

ALL = {"commands": commands.main, "meter_values": meter_values.main}


def main(names: list[str]) -> int:
    if unknown := set(names) - ALL.keys():
        print(f"error: no measurement {', '.join(sorted(unknown))}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    cpus = {line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")}
    print(f"{platform.system()} {platform.machine()}, {len([line for line in Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('processor')])} cores, {', '.join(cpus)}, Python {platform.python_version()}")
    for name in names or ALL:
        print(flush=True)
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
