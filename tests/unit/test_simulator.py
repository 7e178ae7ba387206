"""The simulated station against a bridge with a Supabase in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ocpp_bridge.bridge import Bridge
from ocpp_bridge.simulator import Car, SimulatedStation
from ocpp_bridge.station import Answer, Station
from tests.fakes.supabase import FakeSupabase


@pytest.fixture
async def simulated(bridge: Bridge) -> AsyncIterator[SimulatedStation]:
    url = f"ws://127.0.0.1:{bridge.port}/ws"
    async with SimulatedStation(
        url, "TEST-001", car=Car(22_000, 25_500), time_factor=20_000, meter_interval_s=1000
    ) as station:
        async with asyncio.timeout(10):
            await station.accepted.wait()
        yield station


def link(bridge: Bridge) -> Station:
    (station,) = bridge.registry
    return station


async def command(bridge: Bridge, action: str, payload: dict[str, Any]) -> Answer:
    return await link(bridge).call(f"c-{action}", action, payload, 10)


def calls(supabase: FakeSupabase, action: str) -> list[dict[str, Any]]:
    return [event["payload"] for event in supabase.events if event.get("action") == action]


async def test_it_boots_and_reports_all_connectors(simulated: SimulatedStation, supabase: FakeSupabase) -> None:
    actions = [event["action"] for event in supabase.events if event["kind"] == "call"]
    assert actions == ["BootNotification", "StatusNotification", "StatusNotification"]
    assert [status["connectorId"] for status in calls(supabase, "StatusNotification")] == [0, 1]
    assert all(event["violations"] == [] for event in supabase.events if event["kind"] == "call")


async def test_a_remote_session_ends_at_exactly_the_asked_energy(
    simulated: SimulatedStation, bridge: Bridge, supabase: FakeSupabase
) -> None:
    answer = await command(bridge, "RemoteStartTransaction", {"idTag": "ABC", "connectorId": 1})
    assert answer.payload == {"status": "Accepted"}
    await simulated.until(lambda: simulated.connectors[1].status == "SuspendedEV")
    assert (await command(bridge, "RemoteStopTransaction", {"transactionId": 7})).payload == {"status": "Accepted"}
    await simulated.until(lambda: simulated.connectors[1].status == "Available")
    stop = (await supabase.event("call", action="StopTransaction"))["payload"]
    await supabase.until(lambda: len(calls(supabase, "StatusNotification")) == 7)
    (start,) = calls(supabase, "StartTransaction")
    assert (stop["transactionId"], stop["meterStop"] - start["meterStart"], stop["reason"]) == (7, 25_500, "Remote")
    values = calls(supabase, "MeterValues")
    energies = [int(value["meterValue"][0]["sampledValue"][0]["value"]) for value in values]
    assert energies == sorted(energies)
    assert energies[-1] == 25_500
    assert {value["transactionId"] for value in values} == {7}
    statuses = [status["status"] for status in calls(supabase, "StatusNotification")[2:]]
    assert statuses == ["Preparing", "Charging", "SuspendedEV", "Finishing", "Available"]
    times = [start["timestamp"], *(value["meterValue"][0]["timestamp"] for value in values), stop["timestamp"]]
    assert times == sorted(times)
    assert times[-1] <= datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.999Z")
    assert all(event["violations"] == [] for event in supabase.events if event["kind"] == "call")


async def test_transaction_messages_are_repeated_after_a_lost_line(
    simulated: SimulatedStation, bridge: Bridge, supabase: FakeSupabase
) -> None:
    """OCPP 1.6 §3.7.1: in order, and the same start again."""
    supabase.hold = asyncio.Event()
    supabase.holds = lambda event: event.get("action") == "StartTransaction"
    await command(bridge, "RemoteStartTransaction", {"idTag": "ABC"})
    await supabase.until(lambda: any(event.get("action") == "StartTransaction" for event in supabase.batches[-1]))
    await simulated.drop_line()
    supabase.hold.set()
    supabase.hold = None
    await simulated.until(lambda: simulated.connectors[1].status == "SuspendedEV")
    await simulated.stop(1)
    await supabase.event("call", action="StopTransaction")
    starts = calls(supabase, "StartTransaction")
    assert len(starts) == 2
    assert starts[0] == starts[1]
    assert len(calls(supabase, "BootNotification")) == 1  # a reconnect is no reboot


async def test_a_callerror_makes_it_repeat(simulated: SimulatedStation, bridge: Bridge, supabase: FakeSupabase) -> None:
    simulated.configuration["TransactionMessageRetryInterval"] = ("0", False)
    refused = {"error": {"code": "InternalError", "description": "not stored", "details": {}}}
    supabase.replies["StartTransaction"] = refused
    await command(bridge, "RemoteStartTransaction", {"idTag": "ABC"})
    await supabase.event("call", action="StartTransaction")
    del supabase.replies["StartTransaction"]
    await simulated.until(
        lambda: simulated.connectors[1].transaction is not None and simulated.connectors[1].transaction.id == 7
    )


async def test_a_refused_tag_stops_the_transaction(
    simulated: SimulatedStation, bridge: Bridge, supabase: FakeSupabase
) -> None:
    supabase.replies["StartTransaction"] = {"result": {"transactionId": 9, "idTagInfo": {"status": "Blocked"}}}
    await command(bridge, "RemoteStartTransaction", {"idTag": "ABC"})
    stop = (await supabase.event("call", action="StopTransaction"))["payload"]
    assert (stop["transactionId"], stop["reason"]) == (9, "DeAuthorized")


@pytest.mark.parametrize(
    ("action", "payload", "status"),
    [
        ("ClearCache", {}, "Accepted"),
        ("DataTransfer", {"vendorId": "Nobody"}, "UnknownVendorId"),
        ("DataTransfer", {"vendorId": "EvPower", "messageId": "?"}, "UnknownMessageId"),
        ("DataTransfer", {"vendorId": "EvPower", "data": "x"}, "Accepted"),
        ("UnlockConnector", {"connectorId": 1}, "Unlocked"),
        ("UnlockConnector", {"connectorId": 9}, "NotSupported"),
        ("ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}, "Accepted"),
        ("ChangeAvailability", {"connectorId": 5, "type": "Inoperative"}, "Rejected"),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}, "Accepted"),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "often"}, "Rejected"),
        ("ChangeConfiguration", {"key": "NumberOfConnectors", "value": "9"}, "Rejected"),
        ("ChangeConfiguration", {"key": "Unheard", "value": "1"}, "NotSupported"),
        ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, "Accepted"),
        ("TriggerMessage", {"requestedMessage": "DiagnosticsStatusNotification"}, "NotImplemented"),
        ("RemoteStopTransaction", {"transactionId": 1234}, "Rejected"),
        ("RemoteStartTransaction", {"idTag": "A", "connectorId": 5}, "Rejected"),
    ],
)
async def test_it_answers_commands_as_a_station_does(
    simulated: SimulatedStation, bridge: Bridge, action: str, payload: dict[str, Any], status: str
) -> None:
    answer = await command(bridge, action, payload)
    assert answer.payload is not None
    assert answer.payload["status"] == status


@pytest.mark.parametrize(
    ("action", "code"),
    [("SendLocalList", "NotSupported"), ("MakeCoffee", "NotImplemented"), ("Reset", "FormationViolation")],
)
async def test_it_refuses_what_it_does_not_know(
    simulated: SimulatedStation, bridge: Bridge, action: str, code: str
) -> None:
    answer = await command(bridge, action, {})
    assert answer.error is not None
    assert answer.error["code"] == code


async def test_get_configuration_lists_known_and_unknown_keys(simulated: SimulatedStation, bridge: Bridge) -> None:
    answer = await command(bridge, "GetConfiguration", {"key": ["HeartbeatInterval", "Unheard", "AuthorizationKey"]})
    assert answer.payload == {
        "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}],
        "unknownKey": ["Unheard"],
    }


async def test_a_reset_ends_the_transaction_and_boots_again(
    simulated: SimulatedStation, bridge: Bridge, supabase: FakeSupabase
) -> None:
    await command(bridge, "RemoteStartTransaction", {"idTag": "ABC"})
    await simulated.until(lambda: simulated.connectors[1].transaction is not None)
    assert (await command(bridge, "Reset", {"type": "Soft"})).payload == {"status": "Accepted"}
    assert (await supabase.event("call", action="StopTransaction"))["payload"]["reason"] == "SoftReset"
    await supabase.until(lambda: len(calls(supabase, "BootNotification")) == 2)


async def test_a_person_starts_and_stops_with_a_tag(bridge: Bridge, supabase: FakeSupabase) -> None:
    url = f"ws://127.0.0.1:{bridge.port}/ws"
    async with SimulatedStation(url, "TEST-001", auto_plug=False) as station:
        async with asyncio.timeout(10):
            await station.accepted.wait()
        await station.plug()
        assert await station.tap("04A1") == "Accepted"
        await station.until(lambda: station.connectors[1].transaction is not None)
        await station.meter()
        await station.tap("04a1")
        await station.unplug()
        stop = (await supabase.event("call", action="StopTransaction"))["payload"]
        assert (stop["reason"], stop["idTag"]) == ("Local", "04a1")
        await station.fault("GroundFailure")
        assert station.connectors[1].status == "Faulted"
        await station.clear()
        assert station.connectors[1].status == "Available"
