"""Ten thousand random mutations of valid frames against the running system: every one gets the right kind of answer,
the bridge stays up, and the transactions that go on beside them lose nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from ocpp_bridge import ocppj
from ocpp_bridge.bridge import Bridge
from tests.fakes.station import FakeStation
from tests.protocol.conftest import STATION

MUTATIONS = 10_000
STATIONS = 10
LOT = 25  # fewer than the bridge queues for a station
SEED = 20261122

TIME = "2025-01-01T10:00:00Z"
SAMPLES = [
    {"value": "12.5", "context": "Sample.Periodic", "format": "Raw", "measurand": "Energy.Active.Import.Register",
     "phase": "L1", "location": "Outlet", "unit": "kWh"},
    {"value": "7400", "measurand": "Power.Active.Import", "unit": "W"},
    {"value": "40", "measurand": "SoC", "unit": "Percent"},
]  # fmt: skip
METER_VALUE = {"timestamp": TIME, "sampledValue": SAMPLES}
VALID: list[tuple[str, dict[str, Any]]] = [
    ("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M", "chargePointSerialNumber": "S1",
                          "firmwareVersion": "1"}),
    ("Heartbeat", {}),
    ("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": TIME,
                            "info": "i", "vendorId": "v", "vendorErrorCode": "0"}),
    ("Authorize", {"idTag": "04A1"}),
    ("StartTransaction", {"connectorId": 1, "idTag": "04A1", "meterStart": 100, "timestamp": TIME}),
    ("MeterValues", {"connectorId": 1, "transactionId": 5, "meterValue": [METER_VALUE]}),
    ("StopTransaction", {"transactionId": 5, "idTag": "04A1", "meterStop": 5000, "timestamp": TIME, "reason": "Local",
                         "transactionData": [METER_VALUE]}),
    ("DataTransfer", {"vendorId": "v", "messageId": "m", "data": "d"}),
    ("FirmwareStatusNotification", {"status": "Installed"}),
    ("DiagnosticsStatusNotification", {"status": "Idle"}),
    ("SecurityEventNotification", {"type": "FirmwareUpdated", "timestamp": TIME}),
]  # fmt: skip
JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, -(2**31) - 1, 2**63, 10**30, 1.5, -0.0, 1e308, 5e-324, "", " ", "x", "x" * 3000,
    "\x00", "\ud800", "\U0001f50c", "NaN", "-1", "1e5", "0x10", "2025-13-45T99:99:99Z", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59+14:00", "2025-01-01T10:00:00", "now", "infinity", "'; drop table stations; --", "%s", "{}",
    [], {}, [[]], [None], {"": ""}, [1, "2", {"3": []}], {"a": {"b": {"c": {}}}},
]  # fmt: skip
TEXT_JUNK = [*'"\\{}[],:-0 \té', "null", "1e999", "NaN", "\\u0000", "\\ud800"]


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within a value."""
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += nodes(child, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    """A copy of value with change(old) at path."""
    if not path:
        return change(value)
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(copied[path[0]], path[1:], change)
    return copied


def mutate(dice: random.Random, number: int) -> str:
    """A valid frame with one to three things changed: in its structure, or in its text."""
    action, payload = dice.choice(VALID)
    frame: Any = [2, f"f{number}", action, payload]
    if dice.random() < 0.1:
        frame = dice.choice([[3, f"f{number}", {}], [4, f"f{number}", "GenericError", "", {}]])
    text_level = dice.random() < 0.4
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        if text_level:
            continue
        path = dice.choice(nodes(frame)[1:] or [()])
        kind = dice.random()
        if kind < 0.7:
            junk = dice.choice(JUNK)
            frame = put(frame, path, lambda _, junk=junk: junk)
        elif kind < 0.85:
            parent, key = path[:-1], path[-1] if path else 0

            def without(old: Any, key: Any = key) -> Any:
                if isinstance(old, dict):
                    return {name: value for name, value in old.items() if name != key}
                return [value for index, value in enumerate(old) if index != key]

            frame = put(frame, parent, without)
        else:
            frame = put(frame, path, lambda old: [old] * dice.choice([1, 2, 50]))
        if not isinstance(frame, list):
            frame = [2, f"f{number}", frame]
    text = json.dumps(frame)
    if text_level:
        for _ in range(dice.choice([1, 1, 2, 5])):
            at = dice.randrange(len(text) + 1)
            kind = dice.random()
            if kind < 0.4:
                text = text[:at] + text[at + dice.choice([1, 1, 3, 20]) :]
            elif kind < 0.8:
                text = text[:at] + dice.choice(TEXT_JUNK) + text[at:]
            else:
                text = text[:at]
    return text


def wants_answer(text: str) -> bool:
    """Whether OCPP-J asks for an answer to this frame."""
    if not text.strip():
        return False
    try:
        return isinstance(ocppj.parse(text), ocppj.Call)
    except ocppj.BadFrame as bad:
        return bad.answer


async def torture(url: str, dice: random.Random, count: int) -> list[tuple[str, list[Any]]]:
    """Send mutations in lots; returns frames with InternalError as their answer, which would be repeated for ever."""
    broken = []
    async with FakeStation(url) as station:
        for start in range(0, count, LOT):
            texts = [mutate(dice, start + number) for number in range(LOT)]
            for text in texts:
                await station.send(text)
            assert (await station.call("Heartbeat", message_id=f"end{start}"))[0] == 3
            answers = []
            while not station.others.empty():
                answers.append(station.others.get_nowait())
            due = [text for text in texts if wants_answer(text)]
            assert len(answers) == len(due), (len(answers), due)
            assert all(answer[0] in (3, 4) for answer in answers)
            broken += [
                (text, answer)
                for text, answer in zip(due, answers, strict=True)
                if answer[0] == 4 and answer[2] == "InternalError"
            ]
            while not station.calls.empty():
                station.calls.get_nowait()
    return broken


async def charge(url: str, rounds: int) -> list[int]:
    """Sessions of 1 kWh one after the other; returns their transaction ids."""
    found = []
    async with FakeStation(url) as station:
        for number in range(rounds):
            start = {"connectorId": 1, "idTag": "A", "meterStart": number * 1000,
                     "timestamp": f"2025-02-01T{number:02d}:00:00Z"}  # fmt: skip
            transaction = (await station.result("StartTransaction", start))["transactionId"]
            found.append(transaction)
            stop = {"transactionId": transaction, "meterStop": (number + 1) * 1000,
                    "timestamp": f"2025-02-01T{number:02d}:30:00Z"}  # fmt: skip
            await station.result("StopTransaction", stop)
    return found


async def test_ten_thousand_mutations_do_no_harm(
    bridge: Bridge, rows: psycopg.Connection[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    names = [f"FUZZ-{number}" for number in range(STATIONS)]
    rows.execute("insert into stations (id) select unnest(%s::text[])", [names])
    url = f"ws://127.0.0.1:{bridge.port}/ws/"
    dice = random.Random(SEED)
    async with asyncio.timeout(300):
        *results, transactions = await asyncio.gather(
            *(torture(url + name, random.Random(dice.random()), MUTATIONS // STATIONS) for name in names),
            charge(url + STATION, 20),
        )
    assert [entry for result in results for entry in result] == []
    sessions = rows.execute(
        "select status::text, energy from charging_sessions where transaction_id = any (%s)", [transactions]
    ).fetchall()
    assert sessions == [{"status": "stopped", "energy": Decimal("1.000")}] * 20
    assert bridge.readiness()["ready"]
    assert [record.getMessage() for record in caplog.records] == []
