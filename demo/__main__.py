"""`make run`: starts everything, charges one session, stays up until Ctrl-C. `--stop` stops what runs.

The environment may name other ports: API_PORT, DB_PORT and OCPP_PORT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from supabase import AuthError, PostgrestAPIError

from local_supabase import LocalSupabase, env_file
from local_supabase.errors import LocalSupabaseError
from local_supabase.stack import API_PORT, DB_PORT, PROJECT
from ocpp_bridge.simulator import Car, SimulatedStation

from .charge import STATION, charge, receipt_lines
from .processes import BridgeProcess, DemoError, RunNote, port
from .users import ensure_users, sign_in

LOCAL = PROJECT / ".local"
BRIDGE_PID = LOCAL / "bridge.pid"
OCPP_PORT = 8000
DEMO_CAR = Car(power_w=22_000, energy_wh=25_500)
DEMO_SPEED = 1000.0  # 70 minutes at 22 kW in about 4 seconds


def say(line: str = "") -> None:
    print(line, flush=True)


async def run() -> int:
    """Everything up, one session charged; until a signal. Returns the exit code."""
    started = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    ocpp_port = port("OCPP_PORT", OCPP_PORT)
    ocpp_url = f"ws://127.0.0.1:{ocpp_port}/ws"
    stack = LocalSupabase(LOCAL, api_port=port("API_PORT", API_PORT), db_port=port("DB_PORT", DB_PORT), say=say)
    say("1. The local Supabase")
    bridge: BridgeProcess | None = None
    try:
        try:
            await asyncio.to_thread(stack.up)
        except LocalSupabaseError:
            if not stop.is_set():
                raise
        if stop.is_set():  # Ctrl-C meanwhile; it also reaches the programs that up() runs, which fail of it
            return 130
        env = await ensure_users(stack.env_path) | {"OCPP_URL": ocpp_url}
        env_file.update(stack.env_path, {"OCPP_URL": ocpp_url})
        say("2. The bridge")
        bridge = BridgeProcess(env, ocpp_port, LOCAL / "log" / "bridge.log", BRIDGE_PID)
        await bridge.start()
        if stop.is_set():
            return 130
        say(f"  Stations connect to {ocpp_url}/{{station_id}}")
        async with SimulatedStation(
            ocpp_url, STATION, car=DEMO_CAR, time_factor=DEMO_SPEED, meter_interval_s=600
        ) as station:
            say(f"3. A session at a simulated {STATION}, 25.5 kWh at 22 kW in fast motion")
            await asyncio.wait_for(station.accepted.wait(), 30)
            await station.until(lambda: station.connectors[1].status == "Available")
            driver = await sign_in(env, "DEMO_DRIVER")
            stopped = await charge(driver, station, lambda line: say(f"  {line}"))
            await driver.auth.sign_out({"scope": "local"})
            say()
            for line in receipt_lines(stopped):
                say(line)
            say()
            # From here on the station is the reader's: real time, a car that takes 22 kW, a meter value every 10 s.
            await station.until(lambda: station.connectors[1].status == "Available")
            station.car, station.time_factor = Car(power_w=22_000), 1.0
            station.configuration["MeterValueSampleInterval"] = ("10", False)
            say(invitation(env, time.monotonic() - started))
            ended = asyncio.create_task(bridge.wait())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not stop.is_set():
                raise DemoError(f"the bridge ended with code {await ended}; its log: {bridge.log}")
            ended.cancel()
            with contextlib.suppress(TimeoutError):  # as a station does that loses its power
                await station.stop(1, reason="PowerLoss")
                await station.delivered(5)
        return 0
    finally:
        say("\nStopping")
        if bridge is not None:
            await bridge.stop()
        await asyncio.to_thread(stack.down)


def invitation(env: dict[str, str], seconds: float) -> str:
    """URLs, keys and calls to try."""
    return Path(__file__).with_name("invitation.txt").read_text().format_map({**env, "seconds": seconds})


async def stop_running(note: RunNote) -> int:
    """Stop a `make run` that lives, and whatever a killed one left behind."""
    pid = note.owner()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        async with asyncio.timeout(60):
            while note.owner() is not None:  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.1)
    BridgeProcess.stop_leftover(BRIDGE_PID)
    stopped = await asyncio.to_thread(LocalSupabase(LOCAL, api_port=None, db_port=None).down)
    say("Stopped." if stopped or pid is not None else "Nothing was running.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--stop", action="store_true", help="stop what a run started; data stays")
    options = parser.parse_args()
    note = RunNote(LOCAL / "run.pid")
    try:
        if options.stop:
            return asyncio.run(stop_running(note))
        note.take()
        try:
            BridgeProcess.stop_leftover(BRIDGE_PID)
            return asyncio.run(run())
        finally:
            note.drop()
    except (DemoError, LocalSupabaseError) as exc:
        print(f"error: {exc}", file=sys.stderr)
    except (AuthError, PostgrestAPIError) as exc:
        print(
            f"error: Supabase answered: {exc.message}. Its logs: .local/log. `make stop`, then `make run` may help.",
            file=sys.stderr,
        )
    except TimeoutError:
        print(
            "error: the simulated station was not accepted within 30 s; the bridge's log is .local/log/bridge.log",
            file=sys.stderr,
        )
    except KeyboardInterrupt:  # before the signal handlers stand
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
