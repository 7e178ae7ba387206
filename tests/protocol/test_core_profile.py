"""OCPP 1.6 core profile, station to table, on real parts."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from ocpp.v16 import ChargePoint, call
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, RegistrationStatus
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from ocpp_bridge.bridge import Bridge
from tests.protocol.conftest import STATION, OpenStation

Rows = psycopg.Connection[dict[str, Any]]
BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}


def one(rows: Rows, query: str, *values: Any) -> dict[str, Any]:
    found = rows.execute(query, values).fetchall()
    assert len(found) == 1, found
    return found[0]


async def test_the_official_client_charges_a_session_that_is_billed(bridge: Bridge, rows: Rows) -> None:
    url = f"ws://127.0.0.1:{bridge.port}/ws/{STATION}"
    async with connect(url, subprotocols=[Subprotocol("ocpp1.6")]) as socket:
        station = ChargePoint(STATION, socket)
        reader = asyncio.create_task(station.start())
        boot = await station.call(call.BootNotification("M", "V"), suppress=False)
        assert (boot.status, boot.interval) == (RegistrationStatus.accepted, 300)
        await station.call(
            call.StatusNotification(1, ChargePointErrorCode.no_error, ChargePointStatus.preparing), suppress=False
        )
        start = await station.call(
            call.StartTransaction(1, "04A1", meter_start=1000, timestamp="2025-01-01T10:00:00Z"), suppress=False
        )
        for minute, register in ((10, 5000), (20, 15_000)):
            sample = {"value": str(register), "unit": "Wh", "measurand": "Energy.Active.Import.Register"}
            value = {"timestamp": f"2025-01-01T10:{minute}:00Z", "sampledValue": [sample]}
            await station.call(call.MeterValues(1, [value], start.transaction_id), suppress=False)
        await station.call(call.StopTransaction(26_500, "2025-01-01T11:00:00Z", start.transaction_id), suppress=False)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    session = one(rows, "select * from charging_sessions where transaction_id = %s", start.transaction_id)
    assert (session["status"], session["energy"], session["amount"], session["currency"]) == (
        "stopped", Decimal("25.500"), Decimal("382.50"), "KGS"
    )  # fmt: skip
    assert one(rows, "select count(*) from meter_values where session_id = %s", session["id"])["count"] >= 2


async def test_a_start_repeated_after_a_lost_reply_keeps_its_transaction_id(station: OpenStation, rows: Rows) -> None:
    """OCPP 1.6 §3.7.1: without an answer the station reconnects and sends the same start again, with another id."""
    start = {"connectorId": 1, "idTag": "04A1", "meterStart": 120, "timestamp": "2025-01-01T10:00:00Z"}
    async with station() as cp:
        first = await cp.result("StartTransaction", start)
    async with station() as cp:
        again = await cp.result("StartTransaction", start)
    assert again == first
    assert first["transactionId"] > 0
    one(rows, "select id from charging_sessions where station_id = %s", STATION)


async def test_a_stop_repeated_settles_once(station: OpenStation, rows: Rows) -> None:
    async with station() as cp:
        start = await cp.result(
            "StartTransaction", {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2025-01-01T10:00:00Z"}
        )
        stop = {"transactionId": start["transactionId"], "meterStop": 25_500, "timestamp": "2025-01-01T11:00:00Z"}
        for _ in range(3):
            await cp.result("StopTransaction", stop)
    session = one(rows, "select * from charging_sessions where station_id = %s", STATION)
    assert (session["energy"], session["amount"]) == (Decimal("25.500"), Decimal("382.50"))


async def test_a_stop_for_nothing_known_is_confirmed_and_kept(station: OpenStation, rows: Rows) -> None:
    async with station() as cp:
        for number in (0, -1, 987_654, 9223372036854775807):
            answer = await cp.call(
                "StopTransaction", {"transactionId": number, "meterStop": 5, "timestamp": "2025-01-01T11:00:00Z"}
            )
            assert answer[0] == 3
    assert one(rows, "select count(*) from transaction_orphans where station_id = %s", STATION)["count"] >= 1


async def test_the_connection_is_shown_while_it_is_open(
    station: OpenStation, bridge: Bridge, rest: httpx.AsyncClient
) -> None:
    async with station("test-001") as cp:
        await cp.result("BootNotification", BOOT)
        (shown,) = (await rest.get("/connections")).json()
        assert (shown["station_id"], shown["bridge_id"], shown["protocol"]) == (
            STATION, bridge.settings.bridge_id, "ocpp1.6"
        )  # fmt: skip
        (status,) = (await rest.get("/station_status", params={"station_id": f"eq.{STATION}"})).json()
        assert status["online"] is True


async def test_what_breaks_the_schema_is_stored_with_its_violations(station: OpenStation, rows: Rows) -> None:
    async with station() as cp:
        await cp.result(
            "MeterValues",
            {"connectorId": 1, "meterValue": {"timestamp": "2025-01-01T10:00:00Z", "sampledValue": {"value": "5"}}},
        )
        await cp.result(
            "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "x", "info": "y" * 90}
        )
    kept = rows.execute("select action, violations from ocpp_messages where violations is not null")
    found = {row["action"]: [violation["code"] for violation in row["violations"]] for row in kept}
    assert found["MeterValues"] == ["TypeConstraintViolation"]
    assert sorted(found["StatusNotification"]) == ["PropertyConstraintViolation"] * 2


async def test_characters_that_postgresql_cannot_hold_do_no_harm(station: OpenStation, rows: Rows) -> None:
    async with station() as cp:
        await cp.send('[2,"\\u0000\\ud800","DataTransfer",{"vendorId":"a\\u0000b","data":"\\udfff"}]')
        answer = await cp.next_other()
        assert (answer[0], answer[1]) == (3, "\x00\ud800")
    stored = one(rows, "select payload from ocpp_messages where action = 'DataTransfer'")
    assert stored["payload"] == {"vendorId": "a\ufffdb", "data": "\ufffd"}


async def test_numbers_of_any_size_are_stored_or_refused_cleanly(station: OpenStation) -> None:
    async with station() as cp:
        for number in ("1e308", "-1e-300", "9" * 4000, "0.1", "1E+5", "123456789012345678901234567890"):
            await cp.send(f'[2,"n","DataTransfer",{{"vendorId":"v","data":{number}}}]')
            assert (await cp.next_other())[0] == 3, number[:20]
            await cp.send(
                f'[2,"n","StopTransaction",{{"transactionId":{number},"meterStop":{number},'
                f'"timestamp":"2025-01-01T11:00:00Z"}}]'
            )
            assert (await cp.next_other())[0] == 3, number[:20]


async def test_unknown_stations_are_noted_in_the_inbox(station: OpenStation, rows: Rows) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await station("NEW-7").__aenter__()
    assert caught.value.response.status_code == 404
    assert one(rows, "select attempts from station_inbox where station_id = 'NEW-7'")["attempts"] == 1
