"""Play a charging station: with a prompt, or with --auto as a station that does everything by itself."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import sys
from collections.abc import AsyncIterator

from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from .commands import SimulatedStation
from .line import CallRefused
from .model import Car

HELP = """\
  plug [CONNECTOR]         plug the car in           unplug [CONNECTOR]       take it away
  tap TAG [CONNECTOR]      present a tag: starts, and stops what the same tag started
  meter [CONNECTOR]        send a meter value        stop [CONNECTOR]         press the station's stop button
  fault [CODE] [CONNECTOR] report a fault            clear [CONNECTOR]        the fault is gone
  boot                     restart                   drop                     lose the line without a goodbye
  status                   show and report all       raw FRAME                send a frame as it is
  help                     this list                 quit                     leave"""

# Before the first command is read and before leaving: so that commands from a pipe find a station that is connected,
# and what they caused is stored.
_PATIENCE_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ocpp-bridge simulate`."""
    parser.add_argument(
        "--url",
        type=_url,
        default=os.environ.get("OCPP_URL") or "ws://127.0.0.1:8000/ws",  # `make run` writes it to .local/env
        help="where the bridge listens: OCPP_URL of the environment, else ws://127.0.0.1:8000/ws",
    )
    parser.add_argument("--id", default="TEST-001", help="the station's id (%(default)s)")
    parser.add_argument("--connectors", type=_count, default=1, help="how many connectors (%(default)s)")
    parser.add_argument("--power", type=_positive, default=7400, help="W that the car draws (%(default)s)")
    parser.add_argument("--energy", type=_count, help="Wh after which the car is full (never)")
    parser.add_argument(
        "--factor", type=_positive, default=1, help="how many times faster a session runs (%(default)s)"
    )
    parser.add_argument("--interval", type=_positive, default=60, help="seconds between meter values (%(default)s)")
    parser.add_argument("--password", help="Basic auth key as text")
    parser.add_argument("--password-hex", type=_key, help="Basic auth key as hex digits")
    parser.add_argument("--auto", action="store_true", help="no prompt: plug and unplug by itself until Ctrl-C")


def _url(text: str) -> str:
    try:
        parse_uri(text)
    except InvalidURI:
        raise argparse.ArgumentTypeError(f"{text!r} is no WebSocket URL; e.g. ws://127.0.0.1:8000/ws") from None
    return text


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number greater than 0")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (number := int(text)) > 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number greater than 0")


def _key(text: str) -> bytes:
    with contextlib.suppress(ValueError):
        return bytes.fromhex(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no sequence of pairs of hex digits")


def main(args: argparse.Namespace) -> int:
    """Run the simulator until it is left; returns the exit code."""
    password = args.password_hex or (args.password.encode() if args.password else None)
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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await station.tried.wait()
        async for line in _lines():
            words = line.split()
            if words[:1] in (["quit"], ["exit"], ["q"]):
                break
            try:
                await _do(station, line, words)
            except (ConnectionError, TimeoutError, CallRefused) as exc:
                print(f"not done: {exc}", flush=True)
            except KeyError as exc:
                print(f"there is no connector {exc}", flush=True)
            except (ValueError, IndexError):
                print("not understood; try: help", flush=True)
        if station.connected.is_set():
            with contextlib.suppress(TimeoutError):
                await station.delivered(_PATIENCE_S)


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
