"""`ocpp-bridge simulate`, as typed or piped into."""

from __future__ import annotations

import argparse
import asyncio
import sys

import pytest

from ocpp_bridge.bridge import Bridge
from ocpp_bridge.cli import main
from ocpp_bridge.simulator import prompt
from tests.fakes.supabase import FakeSupabase


async def simulate(bridge: Bridge, commands: str, *options: str) -> str:
    """What the simulator prints for commands that are all there when it starts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ocpp_bridge", "simulate", "--url", f"ws://127.0.0.1:{bridge.port}/ws", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate(commands.encode())
    assert process.returncode == 0
    return printed.decode()


@pytest.mark.parametrize("end", ["quit", ""])
async def test_commands_from_a_pipe_find_a_connected_station_and_are_stored(
    bridge: Bridge, supabase: FakeSupabase, end: str
) -> None:
    printed = await simulate(bridge, f"plug\ntap 04A1\nnonsense\ntap 04A1\n{end}")
    assert "Authorize 04A1: Accepted" in printed
    assert "not understood" in printed
    actions = [event["action"] for event in supabase.events if event["kind"] == "call"]
    assert [action for action in actions if action.endswith("Transaction")] == ["StartTransaction", "StopTransaction"]


async def test_a_station_that_is_refused_says_so_before_it_takes_commands(
    bridge: Bridge, supabase: FakeSupabase
) -> None:
    supabase.stations.clear()
    printed = await simulate(bridge, "tap 04A1\n")
    assert printed.index("HTTP 404") < printed.index("not done: not connected")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--url", "http://127.0.0.1:8000"),
        ("--url", "127.0.0.1"),
        ("--connectors", "0"),
        ("--factor", "0"),
        ("--factor", "nan"),
        ("--interval", "-1"),
        ("--power", "inf"),
        ("--energy", "x"),
        ("--password-hex", "zz"),
    ],
)
def test_an_impossible_option_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", option, value])
    assert ended.value.code == 2
    assert f"argument {option}: {value!r} is no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "url"), [("ws://10.0.0.7:9000/ws", "ws://10.0.0.7:9000/ws"), ("", "ws://127.0.0.1:8000/ws")]
)
def test_the_bridge_is_found_by_ocpp_url_and_an_empty_one_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, given: str, url: str
) -> None:
    monkeypatch.setenv("OCPP_URL", given)
    parser = argparse.ArgumentParser()
    prompt.add_arguments(parser)
    assert parser.parse_args([]).url == url
