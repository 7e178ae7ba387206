"""Commands, from the row to the station and back, on real parts."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from local_supabase import LocalSupabase
from ocpp_bridge.bridge import Bridge
from ocpp_bridge.simulator import Car, SimulatedStation
from tests.protocol.conftest import STATION, OpenStation, make_settings, running

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}


async def send(rest: httpx.AsyncClient, action: str, payload: dict[str, Any] | None = None) -> str:
    response = await rest.post(
        "/rpc/send_command", json={"station_id": STATION, "action": action, "payload": payload or {}}
    )
    assert response.status_code == 200, response.text
    name: str = response.json()["id"]
    return name


async def command(rest: httpx.AsyncClient, name: str, *statuses: str) -> dict[str, Any]:
    """Wait until the command has one of the statuses."""
    async with asyncio.timeout(20):
        while True:
            (row,) = (await rest.get("/commands", params={"id": f"eq.{name}"})).json()
            if row["status"] in statuses:
                found: dict[str, Any] = row
                return found
            await asyncio.sleep(0.02)  # a client of the data API polls


async def test_a_command_reaches_the_station_and_its_answer_the_table(
    station: OpenStation, rest: httpx.AsyncClient
) -> None:
    async with station() as cp:
        await cp.result("BootNotification", BOOT)
        name = await send(rest, "ClearCache")
        assert await cp.next_call() == [2, name, "ClearCache", {}]
        await cp.send([3, name, {"status": "Accepted"}])
        row = await command(rest, name, "accepted")
    assert row["result"] == {"status": "Accepted"}
    assert row["sent_at"] <= row["answered_at"]


async def test_commands_of_one_station_follow_each_other(station: OpenStation, rest: httpx.AsyncClient) -> None:
    async with station() as cp:
        await cp.result("BootNotification", BOOT)
        names = [await send(rest, "ClearCache") for _ in range(3)]
        for name in names:
            assert (await cp.next_call())[1] == name
            assert cp.calls.empty()
            await cp.send([3, name, {"status": "Rejected"}])
        for name in names:
            await command(rest, name, "rejected")


async def test_a_callerror_is_the_commands_error(station: OpenStation, rest: httpx.AsyncClient) -> None:
    async with station() as cp:
        await cp.result("BootNotification", BOOT)
        name = await send(rest, "GetConfiguration")
        await cp.next_call()
        await cp.send([4, name, "NotSupported", "no such thing", {}])
        row = await command(rest, name, "failed", "rejected")
    assert "NotSupported" in row["error"]


async def test_a_station_is_not_spoken_to_before_it_boots(station: OpenStation, rest: httpx.AsyncClient) -> None:
    """Field notes 6."""
    async with station() as cp:
        name = await send(rest, "ClearCache")
        await cp.result("Heartbeat")
        assert cp.calls.empty()
        await cp.result("BootNotification", BOOT)
        assert (await cp.next_call())[1] == name


async def test_a_command_sent_into_a_lost_connection_comes_again(station: OpenStation, rest: httpx.AsyncClient) -> None:
    async with station() as cp:
        await cp.result("BootNotification", BOOT)
        name = await send(rest, "ClearCache")
        await cp.next_call()
        cp.socket.transport.abort()
    async with station() as cp:
        await cp.result("BootNotification", BOOT)
        assert (await cp.next_call())[1] == name
        await cp.send([3, name, {"status": "Accepted"}])
        await command(rest, name, "accepted")


async def test_commands_survive_a_restart_of_the_bridge(seeded_stack: LocalSupabase, rest: httpx.AsyncClient) -> None:
    async with (
        running(make_settings(seeded_stack)) as bridge,
        SimulatedStation(f"ws://127.0.0.1:{bridge.port}/ws", STATION) as station,
    ):
        await asyncio.wait_for(station.accepted.wait(), 20)
    name = await send(rest, "ClearCache")
    async with (
        running(make_settings(seeded_stack)) as bridge,
        SimulatedStation(f"ws://127.0.0.1:{bridge.port}/ws", STATION) as station,
    ):
        await asyncio.wait_for(station.accepted.wait(), 20)
        await command(rest, name, "accepted")


async def test_commands_arrive_without_realtime(seeded_stack: LocalSupabase, rest: httpx.AsyncClient) -> None:
    """The wake-up is only a wake-up."""
    async with running(make_settings(seeded_stack, claim_interval=0.2)) as bridge:
        bridge.commands.wake = lambda: None  # type: ignore[method-assign]
        async with SimulatedStation(f"ws://127.0.0.1:{bridge.port}/ws", STATION) as station:
            await asyncio.wait_for(station.accepted.wait(), 20)
            await command(rest, await send(rest, "ClearCache"), "accepted")


async def test_a_session_from_start_to_bill(bridge: Bridge, rest: httpx.AsyncClient) -> None:
    """start_charge, RemoteStart, StartTransaction, meter values, stop_charge, RemoteStop, bill."""
    url = f"ws://127.0.0.1:{bridge.port}/ws"
    async with SimulatedStation(
        url, STATION, car=Car(22_000, 25_500), time_factor=20_000, meter_interval_s=600
    ) as station:
        await asyncio.wait_for(station.accepted.wait(), 20)
        session = (await rest.post("/rpc/start_charge", json={"station_id": STATION})).json()
        await station.until(lambda: station.connectors[1].status == "SuspendedEV")
        stopped = await rest.post("/rpc/stop_charge", json={"session_id": session["id"]})
        assert stopped.status_code == 200, stopped.text
        async with asyncio.timeout(20):
            while True:
                (row,) = (await rest.get("/charging_sessions", params={"id": f"eq.{session['id']}"})).json()
                if row["status"] == "stopped":
                    break
                await asyncio.sleep(0.02)
    assert (row["energy"], row["amount"], row["currency"]) == (25.5, 382.5, "KGS")


class OfficialStation(ChargePoint):
    @on("RemoteStartTransaction")
    def remote_start(self, **_: Any) -> call_result.RemoteStartTransaction:
        return call_result.RemoteStartTransaction("Accepted")


async def test_the_official_client_is_started_remotely(bridge: Bridge, rest: httpx.AsyncClient) -> None:
    url = f"ws://127.0.0.1:{bridge.port}/ws/{STATION}"
    async with connect(url, subprotocols=[Subprotocol("ocpp1.6")]) as socket:
        cp = OfficialStation(STATION, socket)
        reader = asyncio.create_task(cp.start())
        await cp.call(call.BootNotification("M", "V"), suppress=False)
        await rest.post("/rpc/start_charge", json={"station_id": STATION})
        (row,) = (await rest.get("/commands", params={"action": "eq.RemoteStartTransaction"})).json()
        row = await command(rest, row["id"], "accepted")
        assert len(row["payload"]["idTag"]) <= 20
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def test_a_bridge_that_stops_takes_its_stations_off_line(
    seeded_stack: LocalSupabase, rest: httpx.AsyncClient
) -> None:
    async with AsyncExitStack() as station_open, running(make_settings(seeded_stack)) as bridge:
        station = SimulatedStation(f"ws://127.0.0.1:{bridge.port}/ws", STATION)
        await station_open.enter_async_context(station)
        await asyncio.wait_for(station.accepted.wait(), 20)
        assert len((await rest.get("/connections")).json()) == 1
    assert (await rest.get("/connections")).json() == []
