"""`make run`: starts everything, charges one session, stays up until Ctrl-C. `--stop` stops what runs.

The environment may name other ports: API_PORT, DB_PORT, OCPP_PORT and WEB_PORT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from supabase import AuthError, PostgrestAPIError

from local_supabase import LocalSupabase, LocalSupabaseError, env_file, ports
from local_supabase.process import Service
from local_supabase.stack import API_PORT, DB_PORT, PROJECT
from ocpp_bridge.simulator import Car, SimulatedStation

from .bridge import SIGN_IN, BridgeProcess
from .charge import STATION, charge, receipt_lines
from .processes import DemoError, RunNote, port
from .stations import METER_INTERVAL_S, LivelyCar, neighbours
from .users import ensure_funds, ensure_users, sign_in
from .web import PORT as WEB_PORT
from .web import WebPage

LOCAL = PROJECT / ".local"
BRIDGE = Service("bridge", LOCAL / "run" / "bridge.json", LOCAL / "log" / "bridge.log")
OCPP_PORT = 8000
STOP_S = 60.0  # for a run to stop all its parts in order; it takes about two
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
        await ensure_funds(env)
        say("2. The bridge")
        if not ports.is_free(ocpp_port):
            raise DemoError(
                f"port {ocpp_port}, where stations connect, is in use. Stop the program that listens there "
                f"(`ss -ltnp` or `lsof -i :{ocpp_port}` names it), or choose another: OCPP_PORT=8001 make run"
            )
        bridge = BridgeProcess({name: env[name] for name in SIGN_IN}, BRIDGE, ocpp_port)
        await asyncio.to_thread(bridge.start)
        if stop.is_set():
            return 130
        say(f"  Stations connect to {ocpp_url}/{{station_id}}")
        web_port = port("WEB_PORT", WEB_PORT) if os.environ.get("WEB_PORT") else None
        async with (
            WebPage(env, stack.tools.node_modules, web_port) as page,
            SimulatedStation(ocpp_url, STATION, car=DEMO_CAR, time_factor=DEMO_SPEED, meter_interval_s=600) as station,
        ):
            await _show_a_session(env, station)
            # From here on the station is the reader's: real time, a meter value every few seconds.
            station.car, station.time_factor = LivelyCar(power_w=22_000), 1.0
            station.configuration["MeterValueSampleInterval"] = (str(METER_INTERVAL_S), False)
            await asyncio.to_thread(_show_more_often, stack)
            async with neighbours(ocpp_url) as others:
                say(invitation(env | {"WEB_URL": page.url}, time.monotonic() - started))
                if web_port is None and not page.on_usual_port:
                    say(f"Port {WEB_PORT} is in use, so the page is on a free one. To choose: WEB_PORT=8081 make run\n")
                await _until(stop, bridge, stack)
                for one in (station, *others):
                    await _lose_power(one)
        return 0
    finally:
        say("\nStopping")
        if bridge is not None and bridge.alive:
            await asyncio.to_thread(bridge.end)
        await asyncio.to_thread(stack.down)


async def _show_a_session(env: dict[str, str], station: SimulatedStation) -> None:
    """Charge at the station as a driver, and print the receipt; the connector is free again in the end."""
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
    await station.until(lambda: station.connectors[1].status == "Available")


async def _until(stop: asyncio.Event, bridge: BridgeProcess, stack: LocalSupabase) -> None:
    """Return when told to stop. Raises DemoError when a part ends by itself: nothing would work without it."""
    while not stop.is_set():
        parts = [part.part for part in stack.status() if part.pid is None]
        for part in [*parts, *([] if bridge.alive else ["bridge"])]:
            raise DemoError(f"{part} ended; its log: {LOCAL / 'log' / part}.log")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await stop.wait()


async def _lose_power(station: SimulatedStation) -> None:
    """End what charges there, as a station does that has a moment left."""
    with contextlib.suppress(TimeoutError):
        for number in station.connectors:
            await station.stop(number, reason="PowerLoss")
        await station.delivered(5)


def _show_more_often(stack: LocalSupabase) -> None:
    """Send a session's figures to its topic with every meter value, unless somebody has set another interval."""
    with stack.connect() as db:
        db.execute(
            "update private.settings set live_update_interval = %s where live_update_interval = '10 s'",
            [timedelta(seconds=METER_INTERVAL_S - 1)],
        )


def invitation(env: dict[str, str], seconds: float) -> str:
    """URLs, keys and calls to try."""
    return Path(__file__).with_name("invitation.txt").read_text().format_map({**env, "seconds": seconds})


def stop_running(note: RunNote) -> int:
    """Stop a `make run` that lives, and whatever a killed one left behind."""
    ran = note.stop(STOP_S)
    BRIDGE.stop()  # of a run that was killed before it could
    stopped = LocalSupabase(LOCAL, api_port=None, db_port=None).down()
    say("Stopped." if stopped or ran else "Nothing was running.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--stop", action="store_true", help="stop what a run started; data stays")
    options = parser.parse_args()
    note = RunNote(LOCAL)
    try:
        if options.stop:
            return stop_running(note)
        note.take()
        try:
            BRIDGE.stop()  # of a run that was killed before it could
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
    return 1
