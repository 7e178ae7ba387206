"""Live updates as apps get them, over the gateway with Supabase's own clients; and the examples of docs/realtime.md."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from postgrest.exceptions import APIError

from tests.bridges import BridgeProcess, System
from tests.fakes.charger import BOOT, Charger
from tests.integration.conftest import As
from tests.integration.test_charge_from_the_app import charger, join_is_refused, listening
from tests.people import anonymous, row, rpc

PAGE = Path(__file__).resolve().parents[2] / "docs" / "realtime.md"
EXAMPLES = {
    name: code
    for language, mark in (("js", "//"), ("python", "#"))
    for name, code in re.findall(rf"```{language}\n{mark} (\S+)\n(.*?)```", PAGE.read_text(), re.S)
}
PATIENCE_S = 60


class Example:
    """An example of the page while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []

    async def until(self, text: str) -> None:
        """Read on to a line with this text."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            async for line in self.process.stdout:
                self.said.append(line.decode().rstrip())
                if text in self.said[-1]:
                    return
        raise AssertionError(f"ended without {text!r}: {self.said}")


@asynccontextmanager
async def running(system: System, folder: Path, name: str) -> AsyncIterator[Example]:
    path = folder / name
    path.write_text(EXAMPLES[name])
    program = sys.executable
    if name.endswith(".mjs"):
        program = str(system.stack.tools.node)
        (folder / "node_modules").symlink_to(system.stack.tools.node_modules)
    process = await asyncio.create_subprocess_exec(
        program,
        str(path),
        cwd=folder,
        env={**os.environ, **system.env, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_example_of_the_map(system: System, tmp_path: Path) -> None:
    async with charger(system, "TEST-001") as station, running(system, tmp_path, "map.mjs") as example:
        await example.until("now ")
        free, of = map(int, re.findall(r"\d+", example.said[-1]))
        await station.report("Charging")
        await example.until(f"{free - 1} of {of} free")
        await station.report("Available")
        await example.until(f"{free} of {of} free")


async def test_example_of_the_board(system: System, signed_in_as: As, tmp_path: Path) -> None:
    async with running(system, tmp_path, "board.mjs") as example:
        await example.until("SUBSCRIBED")
        async with charger(system, "KG-BSK-001") as station, signed_in_as("DEMO_DRIVER") as driver:
            await example.until("KG-BSK-001 1 Available")
            await rpc(driver, "start_charge", station_id="KG-BSK-001")
            await example.until("KG-BSK-001 pending 0")
            await station.begin((await station.accept("RemoteStartTransaction"))["idTag"])
            await example.until("KG-BSK-001 started 0")
            await station.finish(1000)
            await example.until("KG-BSK-001 stopped")
    assert any("here" in line and "KG-BSK-001" in line for line in example.said)
    assert any(line.endswith("RemoteStartTransaction accepted") for line in example.said)


async def test_example_of_a_charge(system: System, tmp_path: Path) -> None:
    async with charger(system, "TEST-001") as station, running(system, tmp_path, "charge.py") as example:
        tag = (await station.accept("RemoteStartTransaction"))["idTag"]
        await example.until("pending 0")
        await station.begin(tag)
        await example.until("started 0")
        await station.meter(1_000, after=timedelta(minutes=5))
        await example.until("started 1")
        await station.finish(3_000)
        await example.until("stopped 3")
        assert await asyncio.wait_for(example.process.wait(), PATIENCE_S) == 0


async def test_example_of_a_reset(system: System, tmp_path: Path) -> None:
    async with charger(system, "TEST-001") as station, running(system, tmp_path, "reset.py") as example:
        await example.until("None None")
        await station.accept("Reset")
        await example.until("accepted {'status': 'Accepted'} None")
        await station.result("BootNotification", BOOT)
        await example.until("accepted {'status': 'Accepted'} 20")
        assert await asyncio.wait_for(example.process.wait(), PATIENCE_S) == 0


def test_every_example_of_the_page_is_run() -> None:
    page = PAGE.read_text()
    assert len(EXAMPLES) == page.count("```js\n") + page.count("```python\n")
    here = Path(__file__).read_text()
    assert all(f'tmp_path, "{name}"' in here for name in EXAMPLES)


async def test_anon_follows_the_map_and_nothing_else(system: System, signed_in_as: As) -> None:
    async with charger(system, "KG-BSK-002") as station, anonymous(system.env) as anon:
        async with listening(anon, "station:KG-BSK-002") as topic:
            await station.report("Faulted")
            assert (await topic.until(lambda message: "number" in message))["status"] == "Faulted"
        async with signed_in_as("DEMO_OPERATOR") as operator:
            me = await row(operator, "users", email=system.env["DEMO_OPERATOR_EMAIL"])
            command = await rpc(operator, "send_command", station_id="KG-BSK-002", action="ClearCache")
        assert await join_is_refused(anon, f"client:{me['client_id']}")
        assert await join_is_refused(anon, f"command:{command['id']}")
        await station.accept("ClearCache")


async def test_company_s_topic_is_for_its_operators(system: System, signed_in_as: As) -> None:
    async with (
        signed_in_as("DEMO_OPERATOR") as operator,
        signed_in_as("DEMO_DRIVER") as driver,
        signed_in_as("DEMO_ADMIN") as admin,
    ):
        mine = (await row(operator, "users", email=system.env["DEMO_OPERATOR_EMAIL"]))["client_id"]
        companies = (await admin.table("clients").select("id").eq("kind", "operator").neq("id", mine).execute()).data
        assert companies
        assert await join_is_refused(operator, f"client:{companies[0]['id']}")
        assert await join_is_refused(driver, f"client:{mine}")
        async with listening(admin, f"client:{mine}"), listening(operator, f"client:{mine}"):
            pass


async def test_operator_disconnects_a_station_which_comes_back(system: System, signed_in_as: As) -> None:
    async with signed_in_as("DEMO_OPERATOR") as operator, signed_in_as("DEMO_DRIVER") as driver:
        async with charger(system, "KG-BSK-003") as station:
            with pytest.raises(APIError) as refused:
                await rpc(driver, "disconnect_station", station_id="KG-BSK-003")
            assert refused.value.code == "OCPRM"
            await rpc(operator, "disconnect_station", station_id="KG-BSK-003")
            assert await station.closed() == 1000
        async with charger(system, "KG-BSK-003"):
            assert (await row(operator, "station_status", station_id="KG-BSK-003"))["online"] is True


async def test_station_is_disconnected_also_when_the_hint_is_lost(
    system: System, signed_in_as: As, tmp_path: Path
) -> None:
    """A bridge that cannot join Realtime closes the socket with its next heartbeat."""
    env = {**system.env}
    bridge = BridgeProcess(env, tmp_path, realtime_timeout=0.001, lease_interval=0.5)
    bridge.launch()
    try:
        while not bridge.state().get("ready"):  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.05)
        assert bridge.state()["commands"] == "polling"
        async with signed_in_as("DEMO_OPERATOR") as operator, Charger(f"{bridge.url}/KG-BSK-005") as station:
            await station.boot()
            await rpc(operator, "disconnect_station", station_id="KG-BSK-005")
            assert await station.closed() == 1000
    finally:
        bridge.end()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/realtime/v1/api/broadcast"),
        ("POST", "/realtime/v1/api/broadcast/room/events/said"),
        ("PATCH", "/rest/v1/stations?id=eq.TEST-001"),
        ("POST", "/auth/v1/token?grant_type=password"),
    ],
)
async def test_pages_of_another_origin_may_call(system: System, method: str, path: str) -> None:
    """What a browser asks before it lets supabase-js send; the headers are all that supabase-js 2 sends."""
    sent = (
        "accept-profile, apikey, authorization, content-profile, content-type, prefer, range, range-unit,"
        " x-client-info, x-retry-count, x-supabase-api-version"
    )
    headers = {
        "Origin": "http://app.example.test",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": sent,
    }
    async with httpx.AsyncClient(base_url=system.stack.url) as http:
        asked = await http.options(path, headers=headers)
        assert asked.status_code == 200
        assert asked.headers["Access-Control-Allow-Origin"] == "*"
        assert method in asked.headers["Access-Control-Allow-Methods"]
        assert asked.headers["Access-Control-Allow-Headers"] == sent
        answer = await http.request(method, path, headers={"Origin": "http://app.example.test"})
        assert answer.status_code == 401  # and the page may read why
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
