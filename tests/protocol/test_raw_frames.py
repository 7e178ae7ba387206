"""What stations do to a central system, frame by frame, against a bridge process and a real Supabase.

Every oddity must get the answer that OCPP-J 1.6 or the field asks for, leave one line in the log, and harm nobody.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from postgrest.exceptions import APIError
from psycopg.rows import dict_row
from websockets.exceptions import InvalidStatus

from tests.bridges import System
from tests.fakes.charger import BOOT, Charger, energy_sample
from tests.fakes.station import FakeStation
from tests.people import rpc, signed_in

Rows = psycopg.Connection[dict[str, Any]]
PATIENCE_S = 30
Z_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z")


@pytest.fixture
def rows(system: System) -> Iterator[Rows]:
    with psycopg.connect(system.stack.db_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def new_station(rows: Rows, request: pytest.FixtureRequest) -> str:
    """Id of a registered station that no other test talks to."""
    count = rows.execute("select count(*) as n from stations").fetchone()
    assert count is not None
    name = f"RAW-{count['n']}"
    rows.execute("insert into stations (id) values (%s)", [name])
    return name


async def until(condition: Callable[[], Any | Awaitable[Any]]) -> Any:
    """Ask over and over, as whoever looks at a table or a log does; the first true value."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            value = condition()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.02)


def connection_of(rows: Rows, station_id: str) -> dict[str, Any] | None:
    return rows.execute("select * from connections where station_id = %s", [station_id]).fetchone()


def log_lines(system: System, station_id: str, text: str) -> list[str]:
    """Log lines that begin so and are about the station."""
    pattern = re.compile(rf"\bstation_id={re.escape(station_id)}( |$)")
    return [line for line in system.bridge.lines() if line.startswith(text) and pattern.search(line)]


# --- the URL ---


@pytest.mark.parametrize(
    "path",
    [
        "/ws/{id}",
        "/ocpp/{id}",
        "/ws/{id}/",
        "//ws//{id}",
        "/ws/ocpp/{id}",
        "/WS/{id}",
        "/ws/{encoded}",
        "/ws/{lower}",
        "/ws/{id}?token=secret",
        "/ws/{id}/1.6",
    ],
)
async def test_every_form_of_the_url_leads_to_the_station(
    system: System, rows: Rows, new_station: str, path: str
) -> None:
    """OCPP-J §3.1.1; field notes 3. The station appears under its stored spelling."""
    encoded = "".join(f"%{ord(char):02X}" for char in new_station)
    target = path.format(id=new_station, encoded=encoded, lower=new_station.lower())
    async with FakeStation(f"ws://127.0.0.1:{system.bridge.port}{target}") as station:
        await station.result("Heartbeat")
        assert connection_of(rows, new_station) is not None
    assert "secret" not in system.bridge.log()


@pytest.mark.parametrize("name", ["Büro 2:b", "a%2Fb", "зарядка №7", "x?y#z"])
async def test_ids_with_odd_characters_are_percent_encoded_in_the_url(system: System, rows: Rows, name: str) -> None:
    """Decoded once: what looks encoded after that belongs to the name."""
    rows.execute("insert into stations (id) values (%s)", [name])
    async with FakeStation(f"{system.bridge.url}/{quote(name, safe='')}") as station:
        await station.result("Heartbeat")
        assert connection_of(rows, name) is not None


async def test_an_unknown_station_waits_in_the_inbox_until_an_admin_adopts_it(system: System, rows: Rows) -> None:
    """Field notes 8; OCPP-J §3.2: 404."""
    url = f"{system.bridge.url}/NEW-7"
    for _ in range(3):  # it hammers; the bridge answers from memory
        with pytest.raises(InvalidStatus) as refused:
            await FakeStation(url, user_agent_header="Acme/1").__aenter__()
        assert refused.value.response.status_code == 404
    async with signed_in(system.env, "DEMO_ADMIN") as admin, signed_in(system.env, "DEMO_DRIVER") as driver:
        (waiting,) = (await admin.table("station_inbox").select("*").eq("station_id", "NEW-7").execute()).data
        assert (waiting["user_agent"], waiting["protocols"]) == ("Acme/1", ["ocpp1.6"])  # type: ignore[index, call-overload]
        with pytest.raises(APIError) as forbidden:
            await rpc(driver, "adopt_station", station_id="NEW-7")
        assert forbidden.value.code == "OCPRM"
        assert (await rpc(admin, "adopt_station", station_id="new-7"))["id"] == "NEW-7"
        assert (await admin.table("station_inbox").select("*").eq("station_id", "NEW-7").execute()).data == []

    async def knock() -> FakeStation | None:
        try:
            return await FakeStation(url).__aenter__()
        except InvalidStatus:  # for some seconds the refusal is remembered
            return None

    station: FakeStation = await until(knock)
    assert (await station.result("BootNotification", BOOT))["status"] == "Accepted"
    await station.__aexit__(None, None, None)
    assert len(log_lines(system, "NEW-7", "Handshake refused")) == 1


# --- the sub-protocol ---


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["ocpp1.6"], "ocpp1.6"),
        (["OCPP1.6"], "OCPP1.6"),
        (["ocpp1.6j"], "ocpp1.6j"),
        (["ocpp16"], "ocpp16"),
        (["ocpp2.0.1", "ocpp1.6"], "ocpp1.6"),
    ],
)
async def test_a_station_that_means_ocpp_16_is_served(
    system: System, new_station: str, offered: list[str], chosen: str | None
) -> None:
    """Field notes 1: none offered, odd spellings, among others."""
    async with FakeStation(f"{system.bridge.url}/{new_station}", subprotocols=offered) as station:
        assert station.socket.subprotocol == chosen
        assert (await station.result("BootNotification", BOOT))["status"] == "Accepted"


async def test_without_a_common_subprotocol_the_handshake_is_completed_and_the_socket_closed(
    system: System, rows: Rows, new_station: str
) -> None:
    """OCPP-J §3.2. The station's working connection stays the one that counts."""
    url = f"{system.bridge.url}/{new_station}"
    async with FakeStation(url) as working:
        before = connection_of(rows, new_station)
        async with FakeStation(url, subprotocols=["ocpp2.0.1"]) as other:
            assert other.socket.subprotocol is None
            assert await other.closed() == 1002
        await working.result("Heartbeat")
        after = connection_of(rows, new_station)
        assert before is not None
        assert after is not None
        assert before["connection_id"] == after["connection_id"]
    (line,) = log_lines(system, new_station, "Handshake refused")
    assert "no common sub-protocol" in line


async def test_no_subprotocol_can_be_forbidden_for_a_station(system: System, rows: Rows, new_station: str) -> None:
    rows.execute("update stations set allow_no_subprotocol = false where id = %s", [new_station])
    async with FakeStation(f"{system.bridge.url}/{new_station}", subprotocols=[]) as station:
        assert await station.closed() == 1002
    await until(lambda: connection_of(rows, new_station) is None)


# --- credentials ---


async def test_a_password_opens_the_door_raw_or_in_hex_and_stays_out_of_the_log(
    system: System, rows: Rows, new_station: str
) -> None:
    """TC_085_CSMS; OCPP-J §6.2.2 and field notes 7: 40 hex digits are configured, 20 bytes travel."""
    url = f"{system.bridge.url}/{new_station}"
    key = "00FFD1806E2C417FB39A55C0DE1234567890ABCD"
    text = "correct-horse-battery"

    def pair(user: str, password: bytes) -> dict[str, Any]:
        encoded = base64.b64encode(user.encode() + b":" + password).decode()
        return {"additional_headers": {"Authorization": f"Basic {encoded}"}}

    async def status(**options: Any) -> int:
        try:
            async with FakeStation(url, **options) as station:
                await station.result("Heartbeat")
                return 101
        except InvalidStatus as refused:
            code: int = refused.response.status_code
            return code

    async with signed_in(system.env, "DEMO_ADMIN") as admin:
        await rpc(admin, "set_station_password", station_id=new_station, password=key)
        assert await status(**pair(new_station, bytes.fromhex(key))) == 101
        assert await status(**pair(new_station, key.encode())) == 101
        assert await status(**pair(new_station.lower(), key.encode())) == 101
        assert await status(**pair(new_station, b"wrong")) == 401
        assert await status(**pair("TEST-001", bytes.fromhex(key))) == 401
        assert await status() == 401
        await rpc(admin, "set_station_password", station_id=new_station, password=text)
        assert await status(**pair(new_station, text.encode())) == 101
        # once replaced, the old key must not be accepted any more
        assert await status(**pair(new_station, key.upper().encode())) == 401
    log = system.bridge.log()
    assert not any(secret in log for secret in (key, key.lower(), text, base64.b64encode(text.encode()).decode()))
    stored = rows.execute("select k::text as row from private.station_keys as k").fetchall()
    assert stored
    assert not any(key.lower() in row["row"].lower() or text in row["row"] for row in stored)


# --- frames ---

HEARTBEAT = "a CALLRESULT with the time"
SILENCE = "no answer"
ODD_FRAMES: dict[str, tuple[str | bytes, Any, str | None]] = {
    # name: frame, answer (message id and CALLERROR code, or one of the words above), code of its line in the log
    "JSON that breaks off": ('[2,"a","Heartbeat",{', ("a", "FormationViolation"), "FormationViolation"),
    "JSON that breaks off early": ('[2,"a', ("-1", "FormationViolation"), "FormationViolation"),
    "no JSON": ("hello", ("-1", "FormationViolation"), "FormationViolation"),
    "not a number": ('[2,"a","Heartbeat",{"x":NaN}]', ("a", "FormationViolation"), "FormationViolation"),
    "an object": ('{"a":1}', ("-1", "FormationViolation"), "FormationViolation"),
    "an empty list": ("[]", ("-1", "FormationViolation"), "FormationViolation"),
    "null": ("null", ("-1", "FormationViolation"), "FormationViolation"),
    "nested 100,000 deep": ("[" * 100_000, ("-1", "FormationViolation"), "FormationViolation"),
    "a CALL without id": ("[2]", ("-1", "FormationViolation"), "FormationViolation"),
    "a CALL without action": ('[2,"a"]', ("a", "ProtocolError"), "ProtocolError"),
    "an action that is no text": ('[2,"a",5,{}]', ("a", "ProtocolError"), "ProtocolError"),
    "a payload that is a number": ('[2,"a","Heartbeat",5]', ("a", "FormationViolation"), "FormationViolation"),
    "a payload that is a list": ('[2,"a","Heartbeat",[1]]', ("a", "FormationViolation"), "FormationViolation"),
    "an action nobody knows": ('[2,"a","Fly",{}]', ("a", "NotImplemented"), "NotImplemented"),
    "an action for stations": ('[2,"a","Reset",{"type":"Hard"}]', ("a", "NotSupported"), "NotSupported"),
    "a null payload": ('[2,"a","Heartbeat",null]', HEARTBEAT, None),
    "an empty list as payload": ('[2,"a","Heartbeat",[]]', HEARTBEAT, None),
    "no payload": ('[2,"a","Heartbeat"]', HEARTBEAT, None),
    "an element too many": ('[2,"a","Heartbeat",{},"x"]', HEARTBEAT, None),
    "an id of 37 characters": (f'[2,"{"a" * 37}","Heartbeat",{{}}]', HEARTBEAT, None),
    "an id of 500 characters": (f'[2,"{"a" * 500}","Heartbeat",{{}}]', HEARTBEAT, None),
    "an id that is a number": ('[2,7,"Heartbeat",{}]', HEARTBEAT, None),
    "a byte order mark": ('\ufeff[2,"a","Heartbeat",{}]', HEARTBEAT, None),
    "a binary frame": (b'[2,"a","Heartbeat",{}]', HEARTBEAT, "BinaryFrame"),
    "a binary frame that is no text": (b"\xff\xfe", ("-1", "FormationViolation"), "FormationViolation"),
    "an empty frame": ("", SILENCE, "EmptyFrame"),
    "blanks": (" \n", SILENCE, "EmptyFrame"),
    "message type 9": ('[9,"a","Heartbeat",{}]', SILENCE, "UnknownMessageType"),
    "message type 5": ('[5,"a",{}]', SILENCE, "UnknownMessageType"),
    "a CALLRESULT for nothing": ('[3,"a",{}]', SILENCE, "UnexpectedAnswer"),
    "a CALLERROR for nothing": ('[4,"a","GenericError","",{}]', SILENCE, "UnexpectedAnswer"),
    "a broken CALLRESULT": ('[3,"a",{', SILENCE, "FormationViolation"),
}


@pytest.mark.parametrize("name", ODD_FRAMES)
async def test_an_odd_frame_gets_its_answer_and_the_connection_lives(
    system: System, rows: Rows, new_station: str, name: str
) -> None:
    """OCPP-J §4.1.3, §4.2; field notes 10. One line in the log and one row in ocpp_messages say what it was."""
    frame, expected, code = ODD_FRAMES[name]
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        await station.send(frame)
        await station.result("Heartbeat")  # answered after everything before it
        answers = []
        while not station.others.empty():
            answers.append(station.others.get_nowait())
        if expected == SILENCE:
            assert answers == []
        else:
            (answer,) = answers
            if expected == HEARTBEAT:
                text = frame.decode() if isinstance(frame, bytes) else frame
                assert answer[:2] == [3, json.loads(text.removeprefix("\ufeff"))[1]]
                assert Z_TIME.fullmatch(answer[2]["currentTime"])
            else:
                assert answer[:3] == [4, *expected]
                assert (len(answer), answer[4]) == (5, {})
        await until(lambda: len(anomalies(rows, new_station)) == (0 if code is None else 1))
    lines = log_lines(system, new_station, "Unusable frame")
    assert [line for line in lines if f"code={code} " not in line] == []
    assert anomalies(rows, new_station) == [code] * len(lines)


def anomalies(rows: Rows, station_id: str) -> list[str]:
    """The codes of its frames that could not be used."""
    kept = rows.execute(
        "select violations from ocpp_messages where station_id = %s and action is null order by received_at",
        [station_id],
    ).fetchall()
    return [row["violations"][0]["code"] for row in kept]


async def test_wrong_types_are_tolerated_and_noted(system: System, rows: Rows, new_station: str) -> None:
    """Field notes 10: a CALLERROR would make the station repeat it for ever, or drop what is to be billed."""
    cases: list[tuple[str, dict[str, Any]]] = [
        ("StatusNotification", {"connectorId": "one", "errorCode": 5, "status": "Dancing"}),
        ("MeterValues", {"connectorId": "1", "meterValue": {"timestamp": "now", "sampledValue": []}}),
        ("BootNotification", {"chargePointVendor": "v" * 60, "chargePointModel": None, "extra": True}),
        ("Authorize", {"idTag": 5}),
        ("DataTransfer", {}),
    ]
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        for action, payload in cases:
            assert (await station.call(action, payload))[0] == 3, action
    kept = rows.execute(
        "select action, reply_error, jsonb_array_length(violations) as n from ocpp_messages where station_id = %s"
        " order by received_at",
        [new_station],
    ).fetchall()
    assert [(row["action"], row["reply_error"]) for row in kept] == [(action, None) for action, _ in cases]
    assert all(row["n"] > 0 for row in kept)


async def test_a_strict_station_is_told_its_mistakes(system: System, rows: Rows, new_station: str) -> None:
    """OCPP-J §4.2.3, spelled as there."""
    rows.execute("update stations set strict = true where id = %s", [new_station])
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        for payload, code in (
            ({"idTag": 5}, "TypeConstraintViolation"),
            ({}, "OccurenceConstraintViolation"),
            ({"idTag": "x" * 21}, "PropertyConstraintViolation"),
        ):
            assert (await station.call("Authorize", payload))[:3:2] == [4, code]
        assert (await station.call("Authorize", {"idTag": "x" * 20}))[0] == 3


async def test_a_frame_beyond_the_limit_closes_the_socket_and_one_below_is_stored(
    system: System, rows: Rows, new_station: str
) -> None:
    """Field notes 12; RFC 6455 close code 1009."""
    url = f"{system.bridge.url}/{new_station}"
    async with FakeStation(url) as station:
        large = {"vendorId": "v", "data": "x" * 3_000_000}
        assert (await station.result("DataTransfer", large))["status"] == "UnknownVendorId"
        await station.send(json.dumps([2, "a", "DataTransfer", {"vendorId": "v", "data": "x" * 4_000_001}]))
        assert await station.closed() == 1009
    async with FakeStation(url) as station:
        await station.result("Heartbeat")
    stored = rows.execute(
        "select length(payload ->> 'data') as n from ocpp_messages where station_id = %s and action = 'DataTransfer'",
        [new_station],
    ).fetchall()
    assert stored == [{"n": 3_000_000}]
    (line,) = [line for line in system.bridge.lines("WARNING") if f"station_id={new_station} " in line]
    assert line.startswith("Station disconnected")
    assert "code=1009 reason=frame exceeds limit of 4000000 bytes" in line


async def test_a_flood_is_answered_or_refused_frame_by_frame(system: System, new_station: str) -> None:
    """More CALLs at once than the bridge queues: CALLERROR InternalError says that they are to be sent again."""
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        for number in range(100):
            await station.send([2, f"f{number}", "Heartbeat", {}])
        answers = [await station.next_other() for _ in range(100)]
        kinds = {answer[1]: answer[0] if answer[0] == 3 else answer[2] for answer in answers}
        assert len(kinds) == 100
        assert set(kinds.values()) <= {3, "InternalError"}
        assert [kinds[f"f{number}"] for number in range(20)] == [3] * 20
        await station.result("Heartbeat")


# --- time stamps and transaction ids ---


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00+00:00"),
        ("2026-03-01T10:00:00.1234567Z", "2026-03-01T10:00:00.123457+00:00"),
        ("2026-03-01T16:00:00+06:00", "2026-03-01T10:00:00+00:00"),
        ("2026-03-01T12:00:00+02", "2026-03-01T10:00:00+00:00"),
        ("2026-03-01T10:00:00", "2026-03-01T10:00:00+00:00"),
    ],
)
async def test_times_are_read_as_they_are_meant(
    system: System, rows: Rows, new_station: str, text: str, stored: str
) -> None:
    """Field notes 11; errata 3.10."""
    value = {"timestamp": text, "sampledValue": [{"value": "5"}]}
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        assert await station.result("MeterValues", {"connectorId": 1, "meterValue": [value]}) == {}
    found = rows.execute("select reported_at from meter_values where station_id = %s", [new_station]).fetchall()
    assert [row["reported_at"].isoformat() for row in found] == [stored]


async def test_the_time_is_given_with_a_z(system: System, new_station: str) -> None:
    """Field notes 11: some stations refuse anything else."""
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        for action, payload in (("BootNotification", BOOT), ("Heartbeat", {})):
            assert Z_TIME.fullmatch((await station.result(action, payload))["currentTime"])


async def test_a_station_that_never_learnt_its_transaction_id_is_billed(
    system: System, rows: Rows, new_station: str
) -> None:
    """Errata 3.18: -1, and what stations make of it, refers to the transaction under way."""
    async with Charger(f"{system.bridge.url}/{new_station}") as station:
        started = await station.begin("04A1B2C3D4E501")
        for number, after in ((0, 20), (-1, 40), (9223372036854775807, 60)):
            sample = energy_sample(station.started_at + timedelta(minutes=after), 120_000 + 100 * after)
            payload = {"connectorId": 1, "transactionId": number, "meterValue": [sample]}
            assert await station.result("MeterValues", payload) == {}
        station.transaction = -1
        await station.finish(10_000)
    (session,) = rows.execute("select * from charging_sessions where station_id = %s", [new_station]).fetchall()
    assert session["transaction_id"] == started["transactionId"] > 0
    assert (session["status"], session["energy"], session["amount"]) == ("stopped", Decimal(10), Decimal(150))
    values = rows.execute("select count(*) as n from meter_values where session_id = %s", [session["id"]]).fetchone()
    assert values == {"n": 5}  # three, and the two of transactionData


async def test_a_stop_of_nothing_is_confirmed_and_kept_for_people_to_see(
    system: System, rows: Rows, new_station: str
) -> None:
    """TC_039_CSMS; field notes 18."""
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        stop = {"transactionId": 2_000_000_000, "meterStop": 5, "timestamp": "2026-03-01T10:00:00Z"}
        for _ in range(2):
            assert await station.result("StopTransaction", stop) == {}
    kept = rows.execute("select * from transaction_orphans where station_id = %s", [new_station]).fetchall()
    assert [row["reported_transaction_id"] for row in kept] == [2_000_000_000]
    line = "StopTransaction: transaction=2000000000 fits no session; kept in transaction_orphans"
    assert line in system.bridge.lines("WARNING")


# --- connections that follow each other ---


async def test_the_newest_socket_wins_and_the_old_one_s_end_does_not_touch_it(
    system: System, rows: Rows, new_station: str
) -> None:
    """Field notes 4."""
    url = f"{system.bridge.url}/{new_station}"
    async with FakeStation(url) as old:
        first = connection_of(rows, new_station)
        async with FakeStation(url) as new:
            assert await old.closed() == 1000
            await until(lambda: log_lines(system, new_station, "Station disconnected"))
            await new.result("BootNotification", BOOT)
            second = connection_of(rows, new_station)
            assert first is not None
            assert second is not None
            assert second["connection_id"] != first["connection_id"]
            name = queue(rows, new_station, "ClearCache")
            assert (await new.next_call())[1] == name
            assert old.calls.empty()
            await new.send([3, name, {"status": "Accepted"}])
            await until(lambda: command(rows, name)["status"] == "accepted")
    await until(lambda: connection_of(rows, new_station) is None)


def queue(rows: Rows, station_id: str, action: str, timeout_s: int = 30, **payload: object) -> str:
    """A command as send_command() writes it, with a time-out of the test's."""
    found = rows.execute(
        "insert into commands (station_id, action, payload, timeout_s) values (%s, %s, %s, %s) returning id",
        [station_id, action, json.dumps(payload), timeout_s],
    ).fetchone()
    assert found is not None
    return str(found["id"])


def command(rows: Rows, name: str) -> dict[str, Any]:
    found = rows.execute("select * from commands where id = %s", [name]).fetchone()
    assert found is not None
    return found


async def test_an_answer_after_the_time_out_still_counts_for_its_own_command(
    system: System, rows: Rows, new_station: str
) -> None:
    """Field notes 13: a station that takes a minute; its late answer must not be taken for the next command's."""
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        await station.result("BootNotification", BOOT)
        slow = queue(rows, new_station, "GetConfiguration", timeout_s=1)
        next_one = queue(rows, new_station, "ClearCache")
        assert (await station.next_call())[1:3] == [slow, "GetConfiguration"]
        assert station.calls.empty()  # one at a time
        assert (await station.next_call())[1:3] == [next_one, "ClearCache"]
        given_up = command(rows, slow)
        assert (given_up["status"], given_up["late"], given_up["error"]) == ("timed_out", False, "no answer within 1 s")
        await station.send([3, slow, {"configurationKey": []}])
        late = await until(lambda: (row := command(rows, slow))["status"] == "accepted" and row)
        assert (late["late"], late["result"], late["error"]) == (True, {"configurationKey": []}, None)
        assert command(rows, next_one)["status"] == "sent"
        await station.send([3, next_one, {"status": "Accepted"}])
        await until(lambda: command(rows, next_one)["status"] == "accepted")
    assert len(log_lines(system, new_station, "Late answer to a command")) == 1


async def test_a_remote_start_that_took_effect_is_not_sent_again_after_a_lost_connection(
    system: System, rows: Rows, new_station: str
) -> None:
    """The line breaks before the answer; on the next one the station starts as asked. It would refuse a second one."""
    url = f"{system.bridge.url}/{new_station}"
    async with Charger(url) as station:
        await station.boot()
        async with signed_in(system.env, "DEMO_DRIVER") as driver:
            session = await rpc(driver, "start_charge", station_id=new_station, connector_id=1)
        frame = await station.next_call()
        station.socket.transport.abort()
    async with Charger(url) as station:
        await station.begin(frame[3]["idTag"])
        start = command(rows, frame[1])
        assert (start["status"], start["effect_at"] is None) == ("accepted", False)
        await station.boot()  # from here on commands are sent
        name = queue(rows, new_station, "ClearCache")
        assert (await station.next_call())[1:3] == [name, "ClearCache"]
        await station.send([3, name, {"status": "Accepted"}])
        await station.finish(1_000)
    found = rows.execute("select status::text, energy from charging_sessions where id = %s", [session["id"]]).fetchone()
    assert found == {"status": "stopped", "energy": Decimal(1)}


async def test_an_answer_of_thousands_of_configuration_keys_is_stored(
    system: System, rows: Rows, new_station: str
) -> None:
    """Field notes 12; TC_019_1_CSMS."""
    keys = [{"key": f"Vendor.Key{n}", "readonly": False, "value": f"{n} " * 200} for n in range(2_000)]
    keys.append({"key": "AuthorizationKey", "readonly": False, "value": "TOPSECRET"})
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        await station.result("BootNotification", BOOT)
        name = queue(rows, new_station, "GetConfiguration")
        await station.next_call()
        await station.send([3, name, {"configurationKey": keys, "unknownKey": []}])
        answered = await until(lambda: (row := command(rows, name))["answered_at"] and row)
    assert answered["status"] == "accepted"
    assert len(answered["result"]["configurationKey"]) == 2_001
    stored = rows.execute(
        "select count(*) as n, max(length(value)) as longest from station_configuration where station_id = %s",
        [new_station],
    ).fetchone()
    assert stored == {"n": 2_000, "longest": 1_000}
    kept = rows.execute("select commands::text as row from commands where id = %s", [name]).fetchall()
    kept += rows.execute(
        "select m::text as row from ocpp_messages as m where station_id = %s", [new_station]
    ).fetchall()
    assert not any("TOPSECRET" in row["row"] for row in kept)


async def test_an_unusable_answer_fails_its_command_at_once(system: System, rows: Rows, new_station: str) -> None:
    async with FakeStation(f"{system.bridge.url}/{new_station}") as station:
        await station.result("BootNotification", BOOT)
        name = queue(rows, new_station, "ClearCache")
        await station.next_call()
        await station.send([3, name, "yes"])
        failed = await until(lambda: (row := command(rows, name))["status"] == "failed" and row)
    assert failed["error"] == "FormationViolation: the payload is not an object"
