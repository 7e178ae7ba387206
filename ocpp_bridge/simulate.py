"""Play a charging station: with a prompt, or with --auto as a station that does everything by itself."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

from .simulator import CallRefused, Car, SimulatedStation

HELP = """\
  plug [CONNECTOR]         plug the car in           unplug [CONNECTOR]       take it away
  tap TAG [CONNECTOR]      present a tag: starts, and stops what the same tag started
  meter [CONNECTOR]        send a meter value        stop [CONNECTOR]         press the station's stop button
  fault [CODE] [CONNECTOR] report a fault            clear [CONNECTOR]        the fault is gone
  boot                     restart                   drop                     lose the line without a goodbye
  status                   show and report all       raw FRAME                send a frame as it is
  help                     this list                 quit                     leave"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ocpp-bridge simulate`."""
    parser.add_argument("--url", default="ws://127.0.0.1:8000/ws", help="where the bridge listens (%(default)s)")
    parser.add_argument("--id", default="TEST-001", help="the station's id (%(default)s)")
    parser.add_argument("--connectors", type=int, default=1, help="how many connectors (%(default)s)")
    parser.add_argument("--power", type=float, default=7400, help="W that the car draws (%(default)s)")
    parser.add_argument("--energy", type=int, help="Wh after which the car is full (never)")
    parser.add_argument("--factor", type=float, default=1, help="how many times faster a session runs (%(default)s)")
    parser.add_argument("--interval", type=float, default=60, help="seconds between meter values (%(default)s)")
    parser.add_argument("--password", help="Basic auth key as text")
    parser.add_argument("--password-hex", help="Basic auth key as hex digits")
    parser.add_argument("--auto", action="store_true", help="no prompt: plug and unplug by itself until Ctrl-C")


def main(args: argparse.Namespace) -> int:
    """Run the simulator until it is left; returns the exit code."""
    password = args.password.encode() if args.password else None
    if args.password_hex:
        try:
            password = bytes.fromhex(args.password_hex)
        except ValueError:
            print("--password-hex: give pairs of hex digits", file=sys.stderr)
            return 2
    station = SimulatedStation(
        args.url,
        args.id,
        connectors=args.connectors,
        car=Car(args.power, args.energy),
        password=password,
        time_factor=args.factor,
        meter_interval_s=args.interval,
        auto_plug=args.auto,
        say=lambda text: print(text, flush=True),
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(station, prompt=not args.auto))
    return 0


async def _run(station: SimulatedStation, *, prompt: bool) -> None:
    async with station:
        if not prompt:
            await asyncio.Event().wait()  # until Ctrl-C
        print(HELP, flush=True)
        async for line in _lines():
            words = line.split()
            if words[:1] in (["quit"], ["exit"], ["q"]):
                return
            try:
                await _do(station, line, words)
            except (ConnectionError, TimeoutError, CallRefused) as exc:
                print(f"not done: {exc}")
            except (KeyError, ValueError, IndexError):
                print("not understood; try: help")


async def _do(station: SimulatedStation, line: str, words: list[str]) -> None:
    match words:
        case []:
            pass
        case ["help"]:
            print(HELP)
        case ["plug", *rest]:
            await station.plug(_connector(rest))
        case ["unplug", *rest]:
            await station.unplug(_connector(rest))
        case ["tap", tag, *rest]:
            await station.tap(tag, _connector(rest))
        case ["meter", *rest]:
            await station.meter(_connector(rest))
        case ["stop", *rest]:
            await station.stop(_connector(rest))
        case ["fault", *rest]:
            code = rest.pop(0) if rest and not rest[0].isdigit() else "GroundFailure"
            await station.fault(code, _connector(rest))
        case ["clear", *rest]:
            await station.clear(_connector(rest))
        case ["boot"]:
            await station.boot()
        case ["drop"]:
            await station.drop_line()
        case ["status"]:
            print(f"registration: {station.registration}")
            for connector in station.connectors.values():
                transaction = connector.transaction
                running = f", transaction {transaction.id}" if transaction else ""
                print(f"connector {connector.number}: {connector.status}, {connector.register_wh} Wh{running}")
            for number in (0, *station.connectors):
                await station.status(number)
        case ["raw", *_]:
            await station.send_raw(line.split(maxsplit=1)[1])
        case _:
            raise ValueError(line)


def _connector(rest: list[str]) -> int:
    return int(rest[0]) if rest else 1


async def _lines() -> AsyncIterator[str]:
    """Lines typed, without a thread that would hold up Ctrl-C."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    descriptor = sys.stdin.fileno()
    try:
        loop.add_reader(descriptor, lambda: chunks.put_nowait(os.read(descriptor, 4096)))
    except PermissionError:  # a plain file cannot be waited for, and need not be
        for line in sys.stdin:
            yield line.strip()
        return
    try:
        rest = b""
        while chunk := await chunks.get():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").strip()
        if rest:
            yield rest.decode(errors="replace").strip()
    finally:
        loop.remove_reader(descriptor)
