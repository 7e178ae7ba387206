"""A driver charges from the app: Supabase's clients at one end, a station's socket at the other; nothing is faked."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgrest.exceptions import APIError
from realtime import RealtimeSubscribeStates
from supabase import AsyncClient

from tests.bridges import System
from tests.fakes.charger import BOOT, Charger
from tests.integration.conftest import As
from tests.people import PRIVATE, anonymous, row, rpc

Row = dict[str, Any]
Wait = Callable[[], Any]
PATIENCE_S = 30


class Topic:
    """What a private Realtime topic says, one message after the other."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[str, Row]] = asyncio.Queue()

    async def until(self, fits: Callable[[Row], bool]) -> Row:
        """The next payload that fits."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                _, payload = await self.messages.get()
                if fits(payload):
                    return payload


@asynccontextmanager
async def listening(client: AsyncClient, name: str) -> AsyncIterator[Topic]:
    """Joined to the topic with the client's own JWT."""
    topic = Topic()
    joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state is RealtimeSubscribeStates.SUBSCRIBED:
            joined.set_result(None)
        elif not joined.done():
            joined.set_exception(error or RuntimeError(state.value))

    channel = client.channel(name, PRIVATE)
    channel.on_broadcast("*", lambda message: topic.messages.put_nowait((message["event"], message["payload"])))  # type: ignore[arg-type]
    await channel.subscribe(tell)
    await asyncio.wait_for(joined, PATIENCE_S)
    yield topic
    await client.remove_channel(channel)


async def join_is_refused(client: AsyncClient, name: str) -> bool:
    """Whether the server refuses this client the topic."""
    told: asyncio.Queue[RealtimeSubscribeStates] = asyncio.Queue()
    channel = client.channel(name, PRIVATE)
    await channel.subscribe(lambda state, _: told.put_nowait(state))
    state = await asyncio.wait_for(told.get(), PATIENCE_S)
    await client.remove_channel(channel)
    return state is RealtimeSubscribeStates.CHANNEL_ERROR


@asynccontextmanager
async def charger(system: System, station_id: str) -> AsyncIterator[Charger]:
    async with Charger(f"{system.bridge.url}/{station_id}") as station:
        await station.boot()
        yield station


async def command_of(client: AsyncClient, session_id: str, action: str) -> Row:
    return await row(client, "commands", session_id=session_id, action=action)


async def test_from_the_button_to_the_receipt(system: System, signed_in_as: As) -> None:
    """TC_010_CSMS, TC_012_CSMS: start_charge, remote start, meter values, running cost, stop_charge, 382.5 KGS."""
    async with (
        charger(system, "TEST-001") as station,
        signed_in_as("DEMO_DRIVER") as driver,
        signed_in_as("DEMO_OPERATOR") as operator,
    ):
        session = await rpc(driver, "start_charge", station_id="test-001", connector_id=1)
        assert (session["status"], session["station_id"], session["connector_id"]) == ("pending", "TEST-001", 1)
        async with listening(driver, f"session:{session['id']}") as topic:
            asked = await station.accept("RemoteStartTransaction")
            assert asked == {"connectorId": 1, "idTag": session["id_tag"]}
            assert len(session["id_tag"]) <= 20

            started = await station.begin(asked["idTag"])
            assert started["idTagInfo"]["status"] == "Accepted"
            await station.report("Charging")
            said = await topic.until(lambda message: message["status"] == "started")
            assert said["transaction_id"] == started["transactionId"]
            running = await row(driver, "charging_sessions", id=session["id"])
            assert (running["status"], running["transaction_id"]) == ("started", started["transactionId"])
            start_command = await command_of(operator, session["id"], "RemoteStartTransaction")
            assert (start_command["status"], start_command["late"]) == ("accepted", False)
            assert start_command["effect_at"] >= start_command["answered_at"]

            await station.meter(10_000, after=timedelta(minutes=30))
            said = await topic.until(lambda message: message["energy"] > 0)
            assert (said["energy"], said["amount"], said["currency"], said["power_w"]) == (10, 150, "KGS", 22_000)
            await station.meter(20_000, after=timedelta(minutes=60))
            running = await row(driver, "charging_sessions", id=session["id"])
            assert (running["energy"], running["amount"], running["receipt"]) == (20, 300, None)
            (shown,) = (await row(driver, "station_status", station_id="TEST-001"))["connectors"]
            assert (shown["status"], shown["session_id"]) == ("Charging", session["id"])

            stopping = await rpc(driver, "stop_charge", session_id=session["id"])
            assert (stopping["status"], stopping["stop_requested_at"] is None) == ("started", False)
            assert await station.accept("RemoteStopTransaction") == {"transactionId": started["transactionId"]}
            await station.finish(25_500)
            said = await topic.until(lambda message: message["status"] == "stopped")
            assert (said["energy"], said["amount"], said["receipt"]["cost"]) == (25.5, 382.5, 382.5)

        bill = await row(driver, "charging_sessions", id=session["id"])
        assert (bill["status"], bill["energy"], bill["amount"], bill["stop_reason"]) == (
            "stopped",
            25.5,
            382.5,
            "Remote",
        )
        assert (bill["flags"], bill["limit_type"], bill["error"]) == ([], "none", None)
        assert bill["receipt"]["lines"] == [
            {**bill["receipt"]["lines"][0], "quantity": 25.5, "unit": "kWh", "price": 15, "amount": 382.5}
        ]
        quote = await rpc(driver, "calculate_cost", station_id="TEST-001", energy_kwh=25.5)
        assert (quote["cost"], quote["currency"]) == (bill["receipt"]["cost"], "KGS")
        stop_command = await command_of(operator, session["id"], "RemoteStopTransaction")
        assert (stop_command["status"], stop_command["effect_at"] is None) == ("accepted", False)
        again = await rpc(driver, "stop_charge", session_id=session["id"])
        assert (again["status"], again["amount"]) == ("stopped", 382.5)
        assert station.calls.empty()


async def test_another_driver_sees_and_hears_nothing_of_it(system: System, signed_in_as: As) -> None:
    async with (
        charger(system, "KG-BSK-001") as station,
        signed_in_as("DEMO_DRIVER") as driver,
        signed_in_as("DEMO_DRIVER2") as stranger,
    ):
        session = await rpc(driver, "start_charge", station_id="KG-BSK-001")
        await station.begin((await station.accept("RemoteStartTransaction"))["idTag"])
        await station.meter(5_000, after=timedelta(minutes=30))

        for table, column in (("charging_sessions", "id"), ("meter_values", "session_id"), ("commands", "session_id")):
            found = await stranger.table(table).select("*").eq(column, session["id"]).execute()
            assert found.data == [], table
        own = await driver.table("meter_values").select("energy_wh").eq("session_id", session["id"]).execute()
        assert own.data == [{"energy_wh": 125_000}]  # what is hidden above does exist
        (connector, *_) = (await row(stranger, "station_status", station_id="KG-BSK-001"))["connectors"]
        assert connector["session_id"] is None
        assert await join_is_refused(stranger, f"session:{session['id']}")
        with pytest.raises(APIError) as refused:
            await rpc(stranger, "stop_charge", session_id=session["id"])
        assert refused.value.code == "OCSES"
        with pytest.raises(APIError) as refused:
            await rpc(stranger, "start_charge", station_id="KG-BSK-001", connector_id=1)
        assert refused.value.code == "OCBSY"
        assert session["id"] not in (refused.value.message or "")
        await station.finish(5_000, reason="Local")


async def test_limits_are_stored_with_the_session(system: System, signed_in_as: As) -> None:
    async with charger(system, "KG-BSK-002") as station, signed_in_as("DEMO_DRIVER") as driver:
        session = await rpc(
            driver, "start_charge", station_id="KG-BSK-002", connector_id=1, limit_energy_kwh=12.5, limit_amount=200
        )
        await station.begin((await station.accept("RemoteStartTransaction"))["idTag"])
        running = await row(driver, "charging_sessions", id=session["id"])
        assert (running["limit_type"], running["limit_energy_kwh"], running["limit_amount"]) == ("both", 12.5, 200)
        await station.finish(1_000, reason="EVDisconnected")


async def test_a_button_pressed_twice_starts_one_charge(system: System, signed_in_as: As) -> None:
    async with charger(system, "KG-BSK-003") as station, signed_in_as("DEMO_DRIVER") as driver:
        presses = await asyncio.gather(*(rpc(driver, "start_charge", station_id="KG-BSK-003") for _ in range(4)))
        assert len({session["id"] for session in presses}) == 1
        await station.begin((await station.accept("RemoteStartTransaction"))["idTag"])
        stops = await asyncio.gather(*(rpc(driver, "stop_charge", session_id=presses[0]["id"]) for _ in range(4)))
        assert len({session["id"] for session in stops}) == 1
        await station.accept("RemoteStopTransaction")
        await station.finish(2_000)
        assert (await row(driver, "charging_sessions", id=presses[0]["id"]))["status"] == "stopped"
        assert station.calls.empty()


async def test_a_start_that_the_station_refuses_says_so_in_the_app(system: System, signed_in_as: As) -> None:
    """TC_026_CSMS."""
    async with charger(system, "KG-BSK-004") as station, signed_in_as("DEMO_DRIVER") as driver:
        session = await rpc(driver, "start_charge", station_id="KG-BSK-004")
        async with listening(driver, f"session:{session['id']}") as topic:
            await station.accept("RemoteStartTransaction", "Rejected")
            said = await topic.until(lambda message: message["status"] == "error")
        assert said["error"] == "the station refused to start"
        # and the connector is free again
        session = await rpc(driver, "start_charge", station_id="KG-BSK-004")
        await station.begin((await station.accept("RemoteStartTransaction"))["idTag"])
        await station.finish(500)


async def test_a_station_that_asks_about_the_tag_first_is_told_that_it_may(system: System, signed_in_as: As) -> None:
    """TC_011_CSMS, AuthorizeRemoteTxRequests (OCPP 1.6 §5.11): the generated tag may charge, here and nowhere else."""
    async with (
        charger(system, "KG-BSK-005") as station,
        charger(system, "KG-BSK-006") as elsewhere,
        signed_in_as("DEMO_DRIVER") as driver,
    ):
        session = await rpc(driver, "start_charge", station_id="KG-BSK-005")
        tag = (await station.accept("RemoteStartTransaction"))["idTag"]
        assert (await station.result("Authorize", {"idTag": tag}))["idTagInfo"]["status"] == "Accepted"
        assert (await elsewhere.result("Authorize", {"idTag": tag}))["idTagInfo"]["status"] == "Invalid"
        await station.begin(tag)
        await station.finish(1_000)
        assert (await elsewhere.result("Authorize", {"idTag": tag}))["idTagInfo"]["status"] == "Invalid"
        assert (await row(driver, "charging_sessions", id=session["id"]))["energy"] == 1


async def test_a_station_that_is_away_cannot_be_started(signed_in_as: As) -> None:
    async with signed_in_as("DEMO_DRIVER") as driver:
        with pytest.raises(APIError) as refused:
            await rpc(driver, "start_charge", station_id="KG-NRN-001")
    assert refused.value.code == "OCOFF"
    assert "offline" in (refused.value.message or "")


async def test_anybody_may_ask_for_a_price_with_a_get(system: System) -> None:
    async with httpx.AsyncClient(headers={"apikey": system.env["SUPABASE_ANON_KEY"]}) as http:
        answer = await http.get(
            f"{system.stack.url}/rest/v1/rpc/calculate_cost", params={"station_id": "TEST-001", "energy_kwh": "25.5"}
        )
    assert answer.status_code == 200
    price = answer.json()
    assert (price["cost"], price["currency"], price["price_per_kwh"]) == (382.5, "KGS", 15)
    assert [(line["tariff_type"], line["quantity"], line["amount"]) for line in price["lines"]] == [
        ("per_kwh", 25.5, 382.5)
    ]


async def test_anon_sees_the_map_and_no_sessions(system: System) -> None:
    async with anonymous(system.env) as anon:
        assert len((await anon.table("stations").select("id").execute()).data) == 21  # one of the 22 is out of use
        assert len((await anon.table("locations").select("id").execute()).data) == 17
        for table in ("charging_sessions", "meter_values", "commands", "connections", "users", "ocpp_messages"):
            with pytest.raises(APIError) as refused:
                await anon.table(table).select("*").execute()
            assert refused.value.code == "42501", table
        with pytest.raises(APIError):
            await rpc(anon, "start_charge", station_id="TEST-001")


async def test_an_operator_resets_the_company_s_station_and_no_other(system: System, signed_in_as: As) -> None:
    async with (
        charger(system, "KG-BSK-009") as station,
        charger(system, "KG-OSH-001") as foreign,
        signed_in_as("DEMO_OPERATOR") as operator,
        signed_in_as("DEMO_DRIVER") as driver,
    ):
        command = await rpc(operator, "send_command", station_id="KG-BSK-009", action="Reset", payload={"type": "Soft"})
        async with listening(operator, f"command:{command['id']}") as topic:
            assert await station.accept("Reset") == {"type": "Soft"}
            answered = await topic.until(lambda message: message["status"] == "accepted")
            assert answered["effect_at"] is None
            await station.result("BootNotification", BOOT)
            seen = await topic.until(lambda message: message["effect_at"] is not None)
            assert seen["status"] == "accepted"
        for client, name in ((operator, "KG-OSH-001"), (driver, "KG-BSK-009")):
            with pytest.raises(APIError) as refused:
                await rpc(client, "send_command", station_id=name, action="Reset", payload={"type": "Soft"})
            assert refused.value.code == "OCPRM"
        assert foreign.calls.empty()
        assert await join_is_refused(driver, f"command:{command['id']}")


async def test_the_same_walk_with_supabase_js(system: System) -> None:
    """The script plays the apps of two drivers and an operator; it says when it waits for the station, played here."""
    tools = system.stack.tools
    script = Path(__file__).with_name("charge_from_the_app.mjs")
    async with charger(system, "KG-TKM-001") as station:
        process = await asyncio.create_subprocess_exec(
            str(tools.node),
            str(script),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **system.env, "NODE_MODULES": str(tools.node_modules), "STATION": "KG-TKM-001"},
        )
        assert process.stdout is not None
        said: Row = {}
        tag = ""
        async with asyncio.timeout(90):
            async for line in process.stdout:
                told = json.loads(line)
                match told.pop("station", None):
                    case "start":
                        tag = (await station.accept("RemoteStartTransaction"))["idTag"]
                        await station.begin(tag)
                    case "meter":
                        await station.meter(10_000, after=timedelta(minutes=40))
                    case "stop":
                        await station.accept("RemoteStopTransaction")
                        await station.finish(25_500)
                    case "reset":
                        await station.accept("Reset")
                        await station.result("BootNotification", BOOT)
                    case None:
                        said |= told
            assert await process.wait() == 0
    assert said["pending"] == {"status": "pending", "id_tag": tag, "limit_type": "energy", "limit_energy_kwh": 30}
    assert said["heard"] == ["started", "started", "stopped"]
    assert said["running"] == {"status": "started", "energy": 10}
    assert said["runningCostAgrees"] is True
    assert (said["bill"]["status"], said["bill"]["energy"]) == ("stopped", 25.5)
    assert said["bill"]["receipt"]["cost"] == said["bill"]["amount"]
    assert said["stranger"] == {"rows": [], "stop": "OCSES", "topic": "CHANNEL_ERROR"}
    assert said["reset"] == {"status": "accepted", "effect": True}
    assert said["foreignReset"] == {"code": "OCPRM", "status": 403}
    assert said["anonPrice"] == 382.5
