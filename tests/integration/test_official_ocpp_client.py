"""The `ocpp` package's own ChargePoint against the running system: the core profile, both ways.

What the station said and was told is read back as people read it: through PostgREST with the JWT of the user whom it
concerns, and in the database where nobody has the right.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import (
    Action,
    AuthorizationStatus,
    AvailabilityStatus,
    ChargePointErrorCode,
    ChargePointStatus,
    ClearCacheStatus,
    ConfigurationStatus,
    DataTransferStatus,
    DiagnosticsStatus,
    FirmwareStatus,
    Reason,
    RegistrationStatus,
    RemoteStartStopStatus,
    ResetStatus,
    TriggerMessageStatus,
    UnlockStatus,
)
from supabase import AsyncClient
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.bridges import System
from tests.fakes.charger import energy_sample, iso
from tests.integration.conftest import As
from tests.people import row, rpc

Rows = psycopg.Connection[dict[str, Any]]
CARD, LOST_CARD = "04A1B2C3D4E501", "04F6E5D4C3B202"  # of the seed: of DEMO_DRIVER, and a blocked one
PATIENCE_S = 30


class OfficialStation(ChargePoint):
    """Answers each command with what the test has laid ready for its action."""

    def __init__(self, station_id: str, socket: Any) -> None:
        super().__init__(station_id, socket)
        self.heard: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.answers: dict[str, Any] = {}

    def _answer(self, action: str, given: dict[str, Any]) -> Any:
        self.heard.put_nowait((action, given))
        return self.answers[action]

    @on(Action.remote_start_transaction)
    def _remote_start(self, **given: Any) -> Any:
        return self._answer("RemoteStartTransaction", given)

    @on(Action.remote_stop_transaction)
    def _remote_stop(self, **given: Any) -> Any:
        return self._answer("RemoteStopTransaction", given)

    @on(Action.reset)
    def _reset(self, **given: Any) -> Any:
        return self._answer("Reset", given)

    @on(Action.trigger_message)
    def _trigger(self, **given: Any) -> Any:
        return self._answer("TriggerMessage", given)

    @on(Action.unlock_connector)
    def _unlock(self, **given: Any) -> Any:
        return self._answer("UnlockConnector", given)

    @on(Action.change_availability)
    def _change_availability(self, **given: Any) -> Any:
        return self._answer("ChangeAvailability", given)

    @on(Action.get_configuration)
    def _get_configuration(self, **given: Any) -> Any:
        return self._answer("GetConfiguration", given)

    @on(Action.change_configuration)
    def _change_configuration(self, **given: Any) -> Any:
        return self._answer("ChangeConfiguration", given)

    @on(Action.clear_cache)
    def _clear_cache(self, **given: Any) -> Any:
        return self._answer("ClearCache", given)

    @on(Action.data_transfer)
    def _data_transfer(self, **given: Any) -> Any:
        return self._answer("DataTransfer", given)

    async def ask(self, request: Any) -> Any:
        """call() that does not hide a CALLERROR."""
        return await self.call(request, suppress=False)

    async def boot(self) -> call_result.BootNotification:
        answer = await self.ask(
            call.BootNotification(
                "AC Duo 22", "Voltline", charge_point_serial_number=f"SN-{self.id}", firmware_version="1.5.0"
            )
        )
        assert isinstance(answer, call_result.BootNotification)
        return answer

    async def told(self) -> tuple[str, dict[str, Any]]:
        """The next command, as the handler got it."""
        return await asyncio.wait_for(self.heard.get(), PATIENCE_S)


@asynccontextmanager
async def official_station(system: System, station_id: str) -> AsyncIterator[OfficialStation]:
    async with connect(f"{system.bridge.url}/{station_id}", subprotocols=[Subprotocol("ocpp1.6")]) as socket:
        station = OfficialStation(station_id, socket)
        reader = asyncio.create_task(station.start())
        try:
            yield station
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


async def finished(operator: AsyncClient, command_id: str) -> dict[str, Any]:
    """The command's row once it is answered."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await row(operator, "commands", id=command_id)
            if found["status"] not in ("queued", "sent"):
                return found
            await asyncio.sleep(0.02)  # a client of the data API polls


# --- station to central system ---


async def test_boot_and_heartbeat_tell_the_time_and_the_interval(system: System, signed_in_as: As, rows: Rows) -> None:
    """TC_001_CSMS, cold boot: registration, the clock in UTC with a Z, the interval of 300 s; the station is online."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    async with official_station(system, "KG-BSK-001") as station, signed_in_as("DEMO_OPERATOR") as operator:
        boot = await station.boot()
        assert (boot.status, boot.interval) == (RegistrationStatus.accepted, 300)
        beat = await station.ask(call.Heartbeat())
        for text in (boot.current_time, beat.current_time):
            assert text.endswith("Z")
            assert before < datetime.fromisoformat(text) < datetime.now(UTC) + timedelta(seconds=1)
        connection = await row(operator, "connections", station_id="KG-BSK-001")
        assert connection["protocol"] == "ocpp1.6"
        assert (await row(operator, "station_status", station_id="KG-BSK-001"))["online"] is True
        stored = await row(operator, "stations", id="KG-BSK-001")
        assert (stored["manufacturer"], stored["model"], stored["firmware_version"]) == (
            "Voltline",
            "AC Duo 22",
            "1.5.0",
        )
        assert stored["serial_number"] == "SN-24010101"  # that of the contract is not overwritten
    kept = rows.execute("select payload from station_boots where station_id = 'KG-BSK-001'").fetchone()
    assert kept is not None
    assert kept["payload"]["chargePointSerialNumber"] == "SN-KG-BSK-001"


async def test_statuses_reach_the_public_map(system: System, signed_in_as: As) -> None:
    """TC_001_CSMS: connector 0 and every connector; a fault carries its code."""
    async with official_station(system, "KG-BSK-002") as station, signed_in_as("DEMO_DRIVER") as driver:
        await station.boot()
        error = ChargePointErrorCode
        for number, code, status in (
            (0, error.no_error, ChargePointStatus.available),
            (1, error.no_error, ChargePointStatus.preparing),
            (2, error.ground_failure, ChargePointStatus.faulted),
        ):
            assert await station.ask(call.StatusNotification(number, code, status, iso(datetime.now(UTC)))) is not None
        shown = await row(driver, "station_status", station_id="KG-BSK-002")
        assert shown["status"] == "active"  # the operator's word; the station's own is beside it
        assert (await row(driver, "stations", id="KG-BSK-002"))["ocpp_status"] == "Available"
        assert [(c["number"], c["status"], c["error_code"]) for c in shown["connectors"]] == [
            (1, "Preparing", "NoError"),
            (2, "Faulted", "GroundFailure"),
        ]


async def test_a_known_card_may_charge_and_a_lost_or_unknown_one_may_not(system: System) -> None:
    """TC_023_1_CSMS, TC_023_3_CSMS: Invalid and Blocked; cards are compared without regard to case."""
    async with official_station(system, "KG-BSK-003") as station:
        await station.boot()
        answers = [await station.ask(call.Authorize(tag)) for tag in (CARD.lower(), LOST_CARD, "NOBODYS")]
        assert [answer.id_tag_info["status"] for answer in answers] == [
            AuthorizationStatus.accepted, AuthorizationStatus.blocked, AuthorizationStatus.invalid
        ]  # fmt: skip


async def test_a_session_by_card_is_billed_to_the_owner_of_the_card(
    system: System, signed_in_as: As, rows: Rows
) -> None:
    """TC_003_CSMS, regular charging session: start, meter values while it runs, stop with transactionData, bill."""
    start = datetime.now(UTC) - timedelta(hours=2)
    async with (
        official_station(system, "TEST-001") as station,
        signed_in_as("DEMO_DRIVER") as driver,
        signed_in_as("DEMO_DRIVER2") as stranger,
        signed_in_as("DEMO_OPERATOR") as operator,
    ):
        await station.boot()
        started = await station.ask(call.StartTransaction(1, CARD, meter_start=1_000, timestamp=iso(start)))
        number = started.transaction_id
        assert number > 0
        assert started.id_tag_info["status"] == AuthorizationStatus.accepted
        running = await row(driver, "charging_sessions", transaction_id=number)
        assert (running["status"], running["energy"], running["amount"]) == ("started", 0, 0)
        for minute, register in ((20, 5_000), (40, 11_000)):
            sample = energy_sample(start + timedelta(minutes=minute), register, context="Sample.Periodic")
            await station.ask(call.MeterValues(1, [sample], number))
        running = await row(driver, "charging_sessions", transaction_id=number)
        assert (running["energy"], running["amount"], running["power_w"]) == (10, 150, 22_000)
        stop = datetime.now(UTC)
        stopped = await station.ask(
            call.StopTransaction(
                26_500,
                iso(stop),
                number,
                reason=Reason.local,
                id_tag=CARD,
                transaction_data=[
                    energy_sample(start, 1_000, context="Transaction.Begin"),
                    energy_sample(stop, 26_500, context="Transaction.End"),
                ],
            )
        )
        assert stopped.id_tag_info["status"] == AuthorizationStatus.accepted
        bill = await row(driver, "charging_sessions", transaction_id=number)
        assert (bill["status"], bill["energy"], bill["amount"], bill["currency"]) == ("stopped", 25.5, 382.5, "KGS")
        assert (bill["user_id"], bill["stop_reason"], bill["flags"]) == (driver_id(system), "Local", [])
        assert bill["receipt"]["cost"] == 382.5
        assert [(line["quantity"], line["price"]) for line in bill["receipt"]["lines"]] == [(25.5, 15)]
        assert await seen(operator, "charging_sessions", transaction_id=number) == 1
        assert await seen(stranger, "charging_sessions", transaction_id=number) == 0
        registers = await driver.table("meter_values").select("energy_wh").eq("session_id", bill["id"]).execute()
        assert sorted(found["energy_wh"] for found in registers.data) == [1_000, 5_000, 11_000, 26_500]  # type: ignore[index, call-overload]
    kept = rows.execute(
        "select action, reply_error, violations from ocpp_messages where station_id = 'TEST-001' order by received_at"
    ).fetchall()
    assert [message["action"] for message in kept] == [
        "BootNotification", "StartTransaction", "MeterValues", "MeterValues", "StopTransaction"
    ]  # fmt: skip
    assert all(message["reply_error"] is None and message["violations"] is None for message in kept)
    assert "StopTransaction: energy=25.5kWh, amount=382.5 KGS" in system.bridge.lines("INFO")


async def test_a_refused_card_is_recorded_and_its_stop_billed(system: System, rows: Rows) -> None:
    """TC_023_3_CSMS; errata 3.17: what was charged before the station stopped is real, and has a valid id."""
    start = datetime.now(UTC) - timedelta(minutes=10)
    async with official_station(system, "KG-BSK-010") as station:
        await station.boot()
        started = await station.ask(call.StartTransaction(1, LOST_CARD, meter_start=0, timestamp=iso(start)))
        assert started.id_tag_info["status"] == AuthorizationStatus.blocked
        assert started.transaction_id > 0
        await station.ask(
            call.StopTransaction(100, iso(datetime.now(UTC)), started.transaction_id, reason=Reason.de_authorized)
        )
    found = rows.execute("select * from charging_sessions where transaction_id = %s", [started.transaction_id])
    (session,) = found.fetchall()
    # a price and a fee of the station's own: 0.1 kWh x 17.5 and 5
    assert (session["status"], session["energy"], session["amount"]) == ("stopped", Decimal("0.1"), Decimal("6.75"))
    assert session["flags"] == ["id_tag_refused"]


async def test_a_vendor_s_data_transfer_is_answered_as_unknown(system: System, rows: Rows) -> None:
    """TC_064_CSMS; OCPP 1.6 §4.3."""
    async with official_station(system, "KG-BSK-004") as station:
        await station.boot()
        answer = await station.ask(call.DataTransfer("org.example", "hello", "data"))
    assert (answer.status, answer.data) == (DataTransferStatus.unknown_vendor_id, None)
    (kept,) = rows.execute("select payload from ocpp_messages where action = 'DataTransfer'").fetchall()
    assert kept["payload"] == {"vendorId": "org.example", "messageId": "hello", "data": "data"}


async def test_notifications_of_firmware_diagnostics_and_security_are_kept(system: System, rows: Rows) -> None:
    """TC_044_1_CSMS, TC_045_1_CSMS; security whitepaper A04.FR.02: security events must be confirmed."""
    async with official_station(system, "KG-BSK-005") as station:
        await station.boot()
        await station.ask(call.FirmwareStatusNotification(FirmwareStatus.downloading))
        await station.ask(call.FirmwareStatusNotification(FirmwareStatus.installed))
        await station.ask(call.DiagnosticsStatusNotification(DiagnosticsStatus.uploaded))
        await station.ask(call.SecurityEventNotification("FirmwareUpdated", iso(datetime.now(UTC)), "1.5.0"))
    kept = rows.execute(
        "select action, coalesce(payload ->> 'status', payload ->> 'type') as what from ocpp_messages"
        " where station_id = 'KG-BSK-005' and action like '%Notification' and action <> 'BootNotification'"
        " order by received_at"
    ).fetchall()
    assert [(message["action"], message["what"]) for message in kept] == [
        ("FirmwareStatusNotification", "Downloading"),
        ("FirmwareStatusNotification", "Installed"),
        ("DiagnosticsStatusNotification", "Uploaded"),
        ("SecurityEventNotification", "FirmwareUpdated"),
    ]


# --- central system to station ---


@dataclass(frozen=True)
class Exchange:
    """A command as the operator sends it, what the station hears and answers, and the status that comes of it."""

    action: str
    payload: dict[str, Any]
    heard: dict[str, Any]
    answer: Any
    status: str
    result: dict[str, Any]


STATUS = call_result
EXCHANGES = {
    "TC_010_CSMS remote start": Exchange(
        "RemoteStartTransaction",
        {"connectorId": 1, "idTag": CARD},
        {"connector_id": 1, "id_tag": CARD},
        STATUS.RemoteStartTransaction(RemoteStartStopStatus.accepted),
        "accepted",
        {"status": "Accepted"},
    ),
    "TC_026_CSMS remote start, rejected": Exchange(
        "RemoteStartTransaction",
        {"idTag": CARD},
        {"id_tag": CARD},
        STATUS.RemoteStartTransaction(RemoteStartStopStatus.rejected),
        "rejected",
        {"status": "Rejected"},
    ),
    "TC_028_CSMS remote stop, rejected": Exchange(
        "RemoteStopTransaction",
        {"transactionId": 4711},
        {"transaction_id": 4711},
        STATUS.RemoteStopTransaction(RemoteStartStopStatus.rejected),
        "rejected",
        {"status": "Rejected"},
    ),
    "TC_013_CSMS hard reset": Exchange(
        "Reset",
        {"type": "Hard"},
        {"type": "Hard"},
        STATUS.Reset(ResetStatus.accepted),
        "accepted",
        {"status": "Accepted"},
    ),
    "TC_014_CSMS soft reset, rejected": Exchange(
        "Reset",
        {"type": "Soft"},
        {"type": "Soft"},
        STATUS.Reset(ResetStatus.rejected),
        "rejected",
        {"status": "Rejected"},
    ),
    "TC_054_CSMS trigger message": Exchange(
        "TriggerMessage",
        {"requestedMessage": "MeterValues", "connectorId": 1},
        {"requested_message": "MeterValues", "connector_id": 1},
        STATUS.TriggerMessage(TriggerMessageStatus.accepted),
        "accepted",
        {"status": "Accepted"},
    ),
    "TC_055_CSMS trigger message, not implemented": Exchange(
        "TriggerMessage",
        {"requestedMessage": "DiagnosticsStatusNotification"},
        {"requested_message": "DiagnosticsStatusNotification"},
        STATUS.TriggerMessage(TriggerMessageStatus.not_implemented),
        "rejected",
        {"status": "NotImplemented"},
    ),
    "TC_017_1_CSMS unlock connector": Exchange(
        "UnlockConnector",
        {"connectorId": 2},
        {"connector_id": 2},
        STATUS.UnlockConnector(UnlockStatus.unlocked),
        "accepted",
        {"status": "Unlocked"},
    ),
    "TC_030_CSMS unlock connector, failed": Exchange(
        "UnlockConnector",
        {"connectorId": 1},
        {"connector_id": 1},
        STATUS.UnlockConnector(UnlockStatus.unlock_failed),
        "rejected",
        {"status": "UnlockFailed"},
    ),
    "change availability, after the transaction": Exchange(
        "ChangeAvailability",
        {"connectorId": 1, "type": "Inoperative"},
        {"connector_id": 1, "type": "Inoperative"},
        STATUS.ChangeAvailability(AvailabilityStatus.scheduled),
        "accepted",
        {"status": "Scheduled"},
    ),
    "TC_019_1_CSMS get all configuration": Exchange(
        "GetConfiguration",
        {},
        {},
        STATUS.GetConfiguration([{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]),
        "accepted",
        {"configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]},
    ),
    "TC_019_2_CSMS get one key": Exchange(
        "GetConfiguration",
        {"key": ["Unheard"]},
        {"key": ["Unheard"]},
        STATUS.GetConfiguration(unknown_key=["Unheard"]),
        "accepted",
        {"unknownKey": ["Unheard"]},
    ),
    "TC_021_CSMS change configuration": Exchange(
        "ChangeConfiguration",
        {"key": "MeterValueSampleInterval", "value": "30"},
        {"key": "MeterValueSampleInterval", "value": "30"},
        STATUS.ChangeConfiguration(ConfigurationStatus.reboot_required),
        "accepted",
        {"status": "RebootRequired"},
    ),
    "TC_040_1_CSMS change configuration, not supported": Exchange(
        "ChangeConfiguration",
        {"key": "Unheard", "value": ""},
        {"key": "Unheard", "value": ""},
        STATUS.ChangeConfiguration(ConfigurationStatus.not_supported),
        "rejected",
        {"status": "NotSupported"},
    ),
    "TC_061_CSMS clear cache": Exchange(
        "ClearCache",
        {},
        {},
        STATUS.ClearCache(ClearCacheStatus.accepted),
        "accepted",
        {"status": "Accepted"},
    ),
    "data transfer": Exchange(
        "DataTransfer",
        {"vendorId": "org.example", "messageId": "light", "data": "on"},
        {"vendor_id": "org.example", "message_id": "light", "data": "on"},
        STATUS.DataTransfer(DataTransferStatus.accepted, "is on"),
        "accepted",
        {"status": "Accepted", "data": "is on"},
    ),
}


async def test_an_operator_s_commands_reach_the_station_and_its_answers_the_operator(
    system: System, signed_in_as: As, rows: Rows, subtests: pytest.Subtests
) -> None:
    """Every command of the core profile and TriggerMessage, accepted and refused, one after the other."""
    async with official_station(system, "KG-BSK-006") as station, signed_in_as("DEMO_OPERATOR") as operator:
        await station.boot()
        for name, expected in EXCHANGES.items():
            with subtests.test(name):
                station.answers[expected.action] = expected.answer
                sent = await rpc(
                    operator,
                    "send_command",
                    station_id="KG-BSK-006",
                    action=expected.action,
                    payload=expected.payload,
                )
                assert sent["status"] == "queued"
                assert await station.told() == (expected.action, expected.heard)
                command = await finished(operator, sent["id"])
                assert (command["status"], command["result"], command["error"]) == (
                    expected.status, expected.result, None
                )  # fmt: skip
                assert command["created_at"] <= command["sent_at"] <= command["answered_at"]
                assert command["late"] is False
        configuration = await operator.table("station_configuration").select("key, value").order("key").execute()
        assert configuration.data == [
            {"key": "HeartbeatInterval", "value": "300"},
            {"key": "MeterValueSampleInterval", "value": "30"},
        ]
    kept = rows.execute(
        "select action, reply from ocpp_messages where station_id = 'KG-BSK-006' and direction = 'to_station'"
        " order by received_at"
    ).fetchall()
    assert [(message["action"], message["reply"]) for message in kept] == [
        (expected.action, expected.result) for expected in EXCHANGES.values()
    ]


async def test_a_command_without_a_handler_fails_with_the_station_s_words(system: System, signed_in_as: As) -> None:
    async with (
        connect(f"{system.bridge.url}/KG-BSK-008", subprotocols=[Subprotocol("ocpp1.6")]) as socket,
        signed_in_as("DEMO_OPERATOR") as operator,
    ):
        station = ChargePoint("KG-BSK-008", socket)
        reader = asyncio.create_task(station.start())
        await station.call(call.BootNotification("M", "V"), suppress=False)
        sent = await rpc(operator, "send_command", station_id="KG-BSK-008", action="ClearCache")
        command = await finished(operator, sent["id"])
        assert command["status"] == "failed"
        assert command["error"].startswith("NotImplemented")
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


EFFECTS: dict[str, tuple[str, dict[str, Any], Any, Callable[[OfficialStation], Any]]] = {
    "Reset, then the station boots": (
        "Reset",
        {"type": "Soft"},
        STATUS.Reset(ResetStatus.accepted),
        OfficialStation.boot,
    ),
    "ChangeAvailability, then the connector says so": (
        "ChangeAvailability",
        {"connectorId": 2, "type": "Inoperative"},
        STATUS.ChangeAvailability(AvailabilityStatus.accepted),
        lambda station: station.ask(
            call.StatusNotification(2, ChargePointErrorCode.no_error, ChargePointStatus.unavailable)
        ),
    ),
}


@pytest.mark.parametrize("name", EFFECTS)
async def test_the_effect_of_a_command_is_noted_beside_its_answer(system: System, signed_in_as: As, name: str) -> None:
    action, payload, answer, happens = EFFECTS[name]
    async with official_station(system, "KG-BSK-009") as station, signed_in_as("DEMO_OPERATOR") as operator:
        await station.boot()
        station.answers[action] = answer
        sent = await rpc(operator, "send_command", station_id="KG-BSK-009", action=action, payload=payload)
        await station.told()
        command = await finished(operator, sent["id"])
        assert (command["status"], command["effect_at"]) == ("accepted", None)
        await happens(station)
        command = await row(operator, "commands", id=sent["id"])
        assert command["effect_at"] >= command["answered_at"]


async def test_calls_of_both_sides_may_cross(system: System, signed_in_as: As) -> None:
    """OCPP-J §4.1.1: the station asks while it owes an answer; with one slot for both it would wait for ever."""
    async with official_station(system, "KG-TKM-001") as station, signed_in_as("DEMO_OPERATOR") as operator:
        await station.boot()
        asked = asyncio.get_running_loop().create_future()

        async def answer_after_asking() -> None:
            action, _ = await station.told()
            asked.set_result((action, await station.ask(call.Heartbeat())))

        station.answers["ClearCache"] = STATUS.ClearCache(ClearCacheStatus.accepted)
        asking = asyncio.create_task(answer_after_asking())
        sent = await rpc(operator, "send_command", station_id="KG-TKM-001", action="ClearCache")
        await asyncio.wait_for(asking, PATIENCE_S)
        assert asked.result()[0] == "ClearCache"
        assert (await finished(operator, sent["id"]))["status"] == "accepted"


def driver_id(system: System) -> str:
    """The user behind DEMO_DRIVER."""
    with system.stack.connect() as connection:
        found = connection.execute("select id from users where email = %s", [system.env["DEMO_DRIVER_EMAIL"]])
        return str(found.fetchone()[0])  # type: ignore[index]


async def seen(client: AsyncClient, table: str, **equal: object) -> int:
    """How many such rows the client sees."""
    query = client.table(table).select("*")
    for column, value in equal.items():
        query = query.eq(column, value)
    return len((await query.execute()).data)
