"""What README.md and docs/ tell developers to type runs as it stands there, and answers in the shape shown there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.stations import LivelyCar
from ocpp_bridge.simulator import SimulatedStation
from tests.bridges import System
from tests.conftest import ROOT

PATIENCE_S = 90
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
REQUEST = re.compile(r"\bcurl |^api ", re.M)  # the other commands install, start and stop: other tests and people do it
MARK = "\x1e"


@dataclass(frozen=True)
class Block:
    """A block of a page, and the one behind it where that is JSON: what the page says it prints."""

    language: str
    text: str
    shown: str


def blocks(page: str) -> list[Block]:
    found = BLOCK.findall((ROOT / page).read_text())
    behind = [*found[1:], ("", "")]
    return [
        Block(language, text, answer if kind == "json" else "")
        for (language, text), (kind, answer) in zip(found, behind, strict=True)
    ]


def requests(*pages: str) -> list[Block]:
    return [block for page in pages for block in blocks(page) if block.language == "sh" and REQUEST.search(block.text)]


def documents(text: str) -> list[Any]:
    """The JSON values of a text, one behind another."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def differences(shown: Any, said: Any, path: str = "") -> list[str]:
    """Where two JSON values are not alike in their names and kinds; null fits everything."""
    if shown is None or said is None:
        return []
    if isinstance(shown, dict) and isinstance(said, dict):
        if odd := shown.keys() ^ said.keys():
            return [f"{path}: {sorted(odd)} on one side only"]
        return [one for name in shown for one in differences(shown[name], said[name], f"{path}.{name}")]
    if isinstance(shown, list) and isinstance(said, list):
        if bool(shown) != bool(said):
            return [f"{path}: {shown} is shown, {said} is said"]
        return differences(shown[0], said[0], f"{path}[0]") if shown else []
    numbers = isinstance(shown, int | float) and isinstance(said, int | float)
    return [] if numbers or type(shown) is type(said) else [f"{path}: {shown!r} is shown, {said!r} is said"]


@pytest.fixture
async def station(system: System) -> AsyncIterator[SimulatedStation]:
    """TEST-001 of `make run`."""
    async with SimulatedStation(system.bridge.url, "TEST-001", car=LivelyCar(22_000), meter_interval_s=2) as station:
        await asyncio.wait_for(station.accepted.wait(), 30)
        yield station


@pytest.fixture
def folder(system: System, tmp_path: Path) -> Path:
    """The project's folder as the pages use it: .venv, and what `make run` writes to .local/env."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / ".local").mkdir()
    env = {**system.env, "OCPP_URL": system.bridge.url}
    (tmp_path / ".local" / "env").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in env.items()))
    return tmp_path


@asynccontextmanager
async def running(folder: Path, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "DEMO_", "OCPP_"))}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=kept, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def typed(folder: Path, wanted: list[Block]) -> list[str]:
    """What each block prints, all in one terminal."""
    script = f"printf '{MARK}'\n".join(f"{block.text}\n" for block in wanted)
    async with running(folder, "bash", "-u", "-c", script) as process:
        said, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    assert "command not found" not in complaints.decode()
    return said.decode().split(MARK)


def check(wanted: list[Block], said: list[str]) -> None:
    assert len(wanted) == len(said)
    for block, answer in zip(wanted, said, strict=True):
        shown = documents(block.shown)
        if not shown:
            continue
        answers = documents(re.sub(r"^ *[^\s\[{].*\n", "", answer, flags=re.M))  # without what the simulator says
        assert len(answers) == len(shown), f"{block.text}\n{answer}"
        assert [one for pair in zip(shown, answers, strict=True) for one in differences(*pair)] == [], block.text


@pytest.mark.usefixtures("station")
async def test_requests_of_the_api_pages_answer_as_shown(folder: Path) -> None:
    """One terminal for all: docs/api.md makes the variables that the other pages use."""
    wanted = requests("docs/api.md", "docs/views.md", "docs/http-api.md")
    assert len(wanted) > 15
    check(wanted, await typed(folder, wanted))


async def test_requests_of_the_readme_answer_as_shown(folder: Path) -> None:
    wanted = requests("README.md")
    assert wanted
    check(wanted, await typed(folder, wanted))


async def test_a_bridge_s_user_is_made_as_self_hosting_says(system: System, folder: Path) -> None:
    wanted = requests("docs/self-hosting.md")
    await typed(folder, [Block("sh", "set -a; . .local/env; set +a", ""), *wanted])
    with system.stack.connect() as db:
        made = db.execute("select role::text from public.users where email = 'bridge@example.com'").fetchall()
    assert made == [("bridge",)]


async def test_charge_of_the_readme(system: System, station: SimulatedStation, folder: Path) -> None:
    (program,) = [block.text for block in blocks("README.md") if block.language == "js"]
    (folder / "charge.mjs").write_text(program)
    (folder / "node_modules").symlink_to(system.stack.tools.node_modules)
    said = []
    async with running(folder, str(system.stack.tools.node), "--env-file=.local/env", "charge.mjs") as process:
        assert process.stdout is not None
        async for line in process.stdout:
            said.append(line.decode())
            if re.match(r"started 0\.\d+ kWh", said[-1]):
                await station.stop(1)  # the driver does not wait until the program stops it
        assert await process.wait() == 0
    assert said[0] == "started 0 kWh 0 KGS\n"
    assert any(line.startswith("stopped 0.") for line in said)
    assert "    rule_name: 'Energy',\n" in said
