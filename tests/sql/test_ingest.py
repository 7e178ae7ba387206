"""ocpp_ingest, connections and the bridges' heartbeat: many events in, replies out; one bad event touches no other."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.world import (
    BOTH,
    BRIDGE_ID,
    CARD,
    OPERATOR,
    OTHER_STATION,
    STATION,
    World,
    connected,
    iso,
    refused,
    sampled,
)
from tests.support import acting_as

BOOT = {
    "chargePointVendor": "Vendor",
    "chargePointModel": "Model",
    "chargePointSerialNumber": "S-1",
    "firmwareVersion": "1.2",
}


def heartbeat(world: World, station: str = STATION) -> dict[str, Any]:
    return world.call("Heartbeat", {}, station)


# --- many events -----------------------------------------------------------------------------------


def test_nothing_in_nothing_out(world: World) -> None:
    assert world.ingest() == []


@pytest.mark.parametrize("events", ["{}", "5", '"x"', "null"])
def test_what_is_no_list_is_refused(world: World, events: str) -> None:
    with pytest.raises(psycopg.Error, match="OCARG"), acting_as(world.db, "service_role"):
        world.db.execute("select ocpp_ingest(%s::jsonb)", [events])


def test_replies_are_aligned_with_events_of_every_kind_and_station(world: World) -> None:
    transaction = world.begin(station=OTHER_STATION)
    events = [
        world.call("Authorize", {"idTag": CARD}),
        world.call("MeterValues", {"connectorId": 1, "meterValue": []}, OTHER_STATION),
        world.event("anomaly", code="FormationViolation", description="not JSON", frame="[2,"),
        heartbeat(world, OTHER_STATION),
        world.call("MeterValues", {"connectorId": 1, "meterValue": []}),
        world.call("StopTransaction", {"transactionId": transaction, "meterStop": 2000, "idTag": CARD}, OTHER_STATION),
        world.call("Nonsense", {}),
        world.event("disconnect", code=1000, reason=""),
    ]
    replies = world.ingest(*events)
    assert "idTagInfo" in replies[0]["result"]
    assert replies[1] == replies[4] == {"result": {}}
    assert replies[2] == replies[7] == {"ok": True}
    assert "currentTime" in replies[3]["result"]
    assert "idTagInfo" in replies[5]["result"]
    assert replies[6]["error"]["code"] == "NotImplemented"


def test_events_of_a_station_are_done_in_their_order(world: World) -> None:
    start = {"connectorId": 1, "idTag": CARD, "meterStart": 0, "timestamp": iso(world.at(-10))}
    stop = {"transactionId": 0, "meterStop": 1000, "timestamp": iso(world.at())}
    world.ingest(world.call("StartTransaction", start), world.call("StopTransaction", stop))
    assert world.one("select status from charging_sessions") == "stopped"


def test_sixty_events_with_a_bad_one_are_stored(world: World) -> None:
    events = [heartbeat(world, BOTH[n % 2]) for n in range(60)]
    events[30]["connection_id"] = "not a uuid"
    replies = world.ingest(*events)
    assert [n for n, reply in enumerate(replies) if "error" in reply] == [30]
    assert world.count("ocpp_messages", "action = 'Heartbeat'") == 59


def test_more_than_sixty_with_a_bad_one_are_refused_whole(world: World) -> None:
    events = [heartbeat(world) for _ in range(61)]
    assert len(world.ingest(*events)) == 61
    events[3]["connection_id"] = "not a uuid"
    with pytest.raises(psycopg.Error, match="OCARG"):
        world.ingest(*events)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"connection_id": "x"},
        {"received_at": "never"},
        {"received_at": None},
        {"station_id": None},
        {"kind": "gossip"},
        {"kind": None},
        {"kind": "answer", "command_id": "x", "outcome": "result"},
        {"kind": "connect", "connection_id": None, "bridge_id": BRIDGE_ID},
    ],
)
def test_bad_event_gets_an_internal_error_and_touches_no_other(world: World, spoilt: dict[str, Any]) -> None:
    transaction = world.begin(station=OTHER_STATION)
    stop = world.call("StopTransaction", {"transactionId": transaction, "meterStop": 2000}, OTHER_STATION)
    replies = world.ingest(heartbeat(world), heartbeat(world) | spoilt, stop)
    assert replies[1]["error"]["code"] == "InternalError"
    assert "result" in replies[0]
    assert "result" in replies[2]
    assert world.session(transaction)["status"] == "stopped"


@pytest.mark.parametrize("garbage", [None, 5, "x", [], [1]])
def test_event_that_is_no_object_gets_an_error(world: World, garbage: Any) -> None:
    replies = world.ingest(heartbeat(world), garbage)
    assert "result" in replies[0]
    assert "error" in replies[1]


def test_event_that_fails_half_way_leaves_nothing_behind(world: World) -> None:
    """A failure in the last step of a StopTransaction, of one station only."""
    mine, theirs = world.begin(), world.begin(station=OTHER_STATION)
    world.sql(
        "create function public.fail_for_st1() returns trigger language plpgsql as"
        " $$ begin if new.station_id = 'ST-1' then raise exception 'disk on fire'; end if; return new; end $$"
    )
    world.sql("create trigger zz before insert on ocpp_messages for each row execute function fail_for_st1()")
    stop = {"meterStop": 2000, "timestamp": iso(world.at())}
    replies = world.ingest(
        world.call("StopTransaction", stop | {"transactionId": mine}),
        world.call("StopTransaction", stop | {"transactionId": theirs}, OTHER_STATION),
    )
    assert replies[0]["error"] == {"code": "InternalError", "description": "not stored, send it again", "details": {}}
    assert "disk on fire" in replies[0]["log"]["message"]
    assert (world.session(mine)["status"], world.session(theirs)["status"]) == ("started", "stopped")
    world.sql("drop trigger zz on ocpp_messages")
    world.stop(mine, 2000)
    assert world.session(mine)["amount"] == 15


def test_station_that_is_not_registered_any_more_is_told_so(world: World) -> None:
    (reply,) = world.ingest(heartbeat(world, "GONE"))
    assert reply["error"]["code"] == "InternalError"
    assert "registered" in reply["error"]["description"]


def test_meter_values_of_many_stations_together_give_the_same_rows_as_one_by_one(
    shared_db: psycopg.Connection[Any],
) -> None:
    def result(together: bool) -> tuple[list[Any], list[Any]]:
        with connected(shared_db) as world:
            stations = [f"M-{n}" for n in range(12)]
            transactions = {}
            for station in stations:
                world.sql("insert into stations (id, power_capacity) values (%s, 22)", station)
                world.connect(station)
                transactions[station] = world.begin(at=-60, station=station, tag=station)
            for minute in range(-50, 0, 10):
                events = []
                for n, station in enumerate(stations):
                    samples = [sampled(2000 + 100 * n + 50 * minute), sampled(n, "Power.Active.Import", "kW")]
                    value = {
                        "timestamp": f"2026-01-01T00:{-minute:02}:00Z" if n == 3 else iso(world.at(minute)),
                        "sampledValue": samples,
                    }
                    payload: dict[str, Any] = {"connectorId": 1, "meterValue": [value]}
                    if n % 3:
                        payload["transactionId"] = transactions[station] if n % 3 == 1 else 0
                    events.append(world.call("MeterValues", payload, station, minute))
                for batch in [events] if together else [[event] for event in events]:
                    assert all(reply == {"result": {}} for reply in world.ingest(*batch))
            values = "station_id, reported_at - %s as at, energy_wh, power_w, context, session_id is null as free"
            sessions = "station_id, energy, meter_last_wh, meter_max_wh, meter_steps_wh, power_w, meter_restarted"
            return (
                world.sql(f"select {values} from meter_values order by 1, 2, 3", world.now),
                world.sql(f"select {sessions} from charging_sessions order by 1"),
            )

    singly, together = result(False), result(True)
    assert len(singly[0]) == 60
    # of the station with the dead clock the difference to now is another one each time
    assert [r for r in singly[0] if r["station_id"] != "M-3"] == [r for r in together[0] if r["station_id"] != "M-3"]
    assert singly[1] == together[1]


# --- what is kept ------------------------------------------------------------------------------------


def test_every_message_is_kept_with_its_answer_and_its_violations(world: World) -> None:
    violations = [{"code": "PropertyConstraintViolation", "path": "idTag", "message": "too long"}]
    world.ingest(world.call("Authorize", {"idTag": "X" * 30}, violations=violations, message_id="m-1"))
    world.ingest(world.call("Nonsense", {"a": 1}, message_id="m-2"))
    world.ingest(world.event("anomaly", code="FormationViolation", description="not JSON", frame="[2,"))
    rows = world.sql("select * from ocpp_messages where action is distinct from 'BootNotification' order by message_id")
    assert (rows[0]["reply"], rows[0]["violations"]) == ({"idTagInfo": {"status": "Invalid"}}, violations)
    assert (rows[1]["reply_error"], rows[1]["payload"], rows[1]["violations"]) == ("NotImplemented", {"a": 1}, None)
    assert (rows[2]["payload"], rows[2]["reply_error"]) == ({"frame": "[2,"}, "FormationViolation")
    assert {str(row["connection_id"]) for row in rows} == {world.connections[STATION]}


def test_credentials_of_a_handshake_are_kept_nowhere(world: World) -> None:
    world.rpc("service_role", "claim_commands", bridge_id=BRIDGE_ID)
    world.connect(basic_user=STATION, basic_key_hex=b"top-secret-password".hex())
    kept = world.sql(
        "select to_jsonb(m)::text as t from ocpp_messages as m"
        " union all select to_jsonb(c)::text from private.station_connections as c"
    )
    assert kept
    assert b"top-secret-password".hex() not in str(kept)
    assert "top-secret" not in str(kept)


# --- messages that are no transaction ------------------------------------------------------------------


def test_boot_notification_is_answered_and_describes_the_station(world: World) -> None:
    answer = world.send("BootNotification", BOOT, received=5)
    assert answer == {"status": "Accepted", "currentTime": iso(world.at(5)), "interval": 300}
    row = world.one(
        "select manufacturer, model, firmware_version, serial_number, last_boot_at from stations where id = %s", STATION
    )
    assert list(row.values()) == ["Vendor", "Model", "1.2", "S-1", world.at(5)]
    assert world.one("select payload from station_boots where station_id = %s", STATION) == BOOT


def test_serial_number_of_another_station_or_a_known_one_is_not_overwritten(world: World) -> None:
    world.send("BootNotification", BOOT)
    world.send("BootNotification", BOOT, OTHER_STATION)
    world.send("BootNotification", BOOT | {"chargePointSerialNumber": "S-2"})
    assert world.sql("select serial_number from stations order by id") == [
        {"serial_number": "S-1"},
        {"serial_number": None},
    ]


def test_boot_does_not_overwrite_what_an_operator_has_entered(world: World) -> None:
    world.sql("update stations set manufacturer = 'Ours', model = '', firmware_version = '1.0' where id = %s", STATION)
    world.send("BootNotification", BOOT)
    row = world.one("select manufacturer, model, firmware_version from stations where id = %s", STATION)
    assert list(row.values()) == ["Ours", "Model", "1.2"]
    assert world.one("select payload from station_boots where station_id = %s", STATION) == BOOT


@pytest.mark.parametrize(
    "payload", [{}, {"chargePointVendor": {"x": 1}, "chargePointModel": 7, "firmwareVersion": ["x" * 500]}]
)
def test_boot_full_of_rubbish_is_accepted(world: World, payload: dict[str, Any]) -> None:
    assert world.send("BootNotification", payload)["status"] == "Accepted"


@pytest.mark.parametrize(
    ("payload", "number", "status"),
    [
        ({"connectorId": 1, "status": "Charging", "errorCode": "NoError"}, 1, "Charging"),
        ({"connectorId": 7, "status": "Faulted", "errorCode": "GroundFailure", "info": "x" * 300}, 7, "Faulted"),
        ({"connectorId": "2", "status": "Finishing"}, 2, "Finishing"),
        ({"connectorId": 1, "status": "Occupied", "errorCode": 5}, 1, None),  # of OCPP 1.5
    ],
)
def test_status_of_a_connector_is_kept(world: World, payload: dict[str, Any], number: int, status: str | None) -> None:
    assert world.send("StatusNotification", payload) == {}
    assert world.one("select status from connectors where station_id = %s and number = %s", STATION, number) == status


def test_status_of_connector_0_is_that_of_the_station(world: World) -> None:
    world.send("StatusNotification", {"connectorId": 0, "status": "Unavailable", "errorCode": "OtherError"})
    row = world.one("select ocpp_status, ocpp_error_code from stations where id = %s", STATION)
    assert list(row.values()) == ["Unavailable", "OtherError"]


@pytest.mark.parametrize(
    "payload",
    [{}, {"connectorId": -1}, {"connectorId": 10**9, "status": "Available"}, {"connectorId": 1.5}, {"status": []}],
)
def test_status_of_an_impossible_connector_is_confirmed(world: World, payload: dict[str, Any]) -> None:
    connectors = world.count("connectors")
    assert world.send("StatusNotification", payload) == {}
    assert world.count("connectors") == connectors


@pytest.mark.parametrize(
    "action",
    [
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "SecurityEventNotification",
        "LogStatusNotification",
        "SignedFirmwareStatusNotification",
    ],
)
def test_notifications_are_confirmed(world: World, action: str) -> None:
    assert world.send(action, {"status": "Idle"}) == {}


def test_data_transfer_of_an_unknown_vendor_is_answered_so(world: World) -> None:
    assert world.send("DataTransfer", {"vendorId": "org.example", "data": "x"}) == {"status": "UnknownVendorId"}


# --- connections -------------------------------------------------------------------------------------


def connection(world: World, station: str = STATION) -> dict[str, Any]:
    row: dict[str, Any] = world.one("select * from private.station_connections where station_id = %s", station)
    return row


def test_station_connects_in_any_spelling_and_is_answered_with_its_own(world: World) -> None:
    reply = world.connect(STATION.lower())
    assert (reply["connect"], reply["station_id"]) == ("accepted", STATION)
    assert reply["station"] == {
        "strict": False,
        "ping_interval_s": 20,
        "ping_timeout_s": 20,
        "allow_no_subprotocol": True,
    }


@pytest.mark.parametrize(("mode", "inbox"), [("inbox", 1), ("reject", 0)])
def test_unknown_station_is_turned_away_and_may_wait_in_the_inbox(world: World, mode: str, inbox: int) -> None:
    world.heartbeat(unknown_stations=mode)
    for _ in range(3):
        assert world.connect("NEW-1", remote_address="1.2.3.4", user_agent="x" * 500) == {"connect": "unknown"}
    assert world.connect("new-1") == {"connect": "unknown"}
    rows = world.sql("select station_id, attempts from station_inbox")
    assert rows == [{"station_id": "NEW-1", "attempts": 4}][:inbox]


def test_inbox_is_capped(world: World) -> None:
    world.sql("insert into station_inbox (station_id) select 'S' || n from generate_series(1, 999) as n")
    for n in range(3):
        world.connect(f"FLOOD-{n}")
    assert world.count("station_inbox") == 1000
    world.connect("FLOOD-0")
    assert world.one("select attempts from station_inbox where station_id = 'FLOOD-0'") == 2


def test_unknown_station_is_made_where_the_bridge_says_so(world: World) -> None:
    world.heartbeat(unknown_stations="accept")
    assert world.connect("NEW-1")["station_id"] == "NEW-1"
    assert world.count("stations", "id = 'NEW-1'") == 1


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\tb", "x" * 300])
def test_impossible_name_is_unknown_even_where_all_are_accepted(world: World, name: str) -> None:
    world.heartbeat(unknown_stations="accept")
    assert world.connect(name) == {"connect": "unknown"}


def test_adopted_station_may_connect(world: World) -> None:
    world.connect("NEW-1")
    assert world.rpc("service_role", "adopt_station", station_id="new-1")["id"] == "NEW-1"
    assert world.connect("NEW-1")["connect"] == "accepted"
    assert world.count("station_inbox") == 0


KEY = "0123456789ABCDEF0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("user", "key", "expected"),
    [
        (STATION, bytes.fromhex(KEY), "accepted"),  # configured as 40 hex digits, sent as 20 bytes
        (STATION, KEY.encode(), "accepted"),
        (STATION.lower(), KEY.encode(), "accepted"),
        ("SOMEBODY", KEY.encode(), "unauthorized"),
        (STATION, b"wrong", "unauthorized"),
        (STATION, b"", "unauthorized"),
        (None, None, "unauthorized"),
        (STATION, b"\xff\x00\xfe", "unauthorized"),
    ],
)
@pytest.mark.parametrize("configured", [KEY.lower(), KEY.upper(), KEY])
def test_basic_password_in_both_forms(
    world: World, user: str | None, key: bytes | None, expected: str, configured: str
) -> None:
    world.rpc("service_role", "set_station_password", station_id=STATION, password=configured)
    if key == KEY.encode():
        key = configured.encode()
    credentials = {} if user is None else {"basic_user": user, "basic_key_hex": (key or b"").hex()}
    assert world.connect(**credentials)["connect"] == expected


@pytest.mark.parametrize("configured", [KEY.lower(), KEY.upper(), KEY, "no-hex-digits-here"])
def test_password_that_an_earlier_release_hashed_still_counts(world: World, configured: str) -> None:
    world.sql(
        "insert into private.station_keys (station_id, salt, key_hash)"
        " values (%s, 'salt', sha256('salt'::bytea || %s::bytea))",
        STATION,
        configured.encode(),
    )
    sent = [configured.encode()] + [bytes.fromhex(KEY)] * (configured in (KEY.lower(), KEY.upper()))
    for key in sent:
        assert world.connect(basic_user=STATION, basic_key_hex=key.hex())["connect"] == "accepted"
    assert world.connect(basic_user=STATION, basic_key_hex=b"wrong".hex())["connect"] == "unauthorized"


def test_station_without_a_password_need_not_show_one(world: World) -> None:
    world.rpc("service_role", "set_station_password", station_id=STATION, password=KEY)
    world.rpc("service_role", "set_station_password", station_id=STATION, password=None)
    assert world.connect()["connect"] == "accepted"


def test_newest_socket_wins_and_the_old_ones_clean_up_leaves_it_alone(world: World) -> None:
    old = world.event("disconnect", code=1006, reason="")
    world.connect()
    assert world.ingest(old) == [{"ok": True}]
    assert connection(world)["disconnected_at"] is None
    assert str(connection(world)["connection_id"]) == world.connections[STATION]
    world.ingest(world.event("disconnect", code=1006, reason=""))
    assert (connection(world)["disconnected_at"] is not None, connection(world)["disconnect_code"]) == (True, 1006)


def test_repeated_handshake_event_does_not_forget_the_boot(world: World) -> None:
    booted = connection(world)["booted_at"]
    event = world.event("connect", bridge_id=BRIDGE_ID, protocol="ocpp1.6")
    assert world.ingest(event)[0]["connect"] == "accepted"
    assert connection(world)["booted_at"] == booted is not None


def test_messages_move_the_sign_of_life_forward(world: World) -> None:
    for received, expected in ((5, 5), (5 + 0.5 / 60, 5), (3, 5), (6, 6)):
        world.ingest(world.call("Heartbeat", {}, received=received))
        assert connection(world)["last_message_at"] == world.at(expected)


# --- the bridges' heartbeat -----------------------------------------------------------------------------


def seen(world: World, *stations: str) -> list[dict[str, str]]:
    return [
        {"station_id": s, "connection_id": world.connections[s], "last_message_at": iso(world.at())} for s in stations
    ]


def test_socket_that_is_not_the_newest_is_to_be_closed(world: World) -> None:
    old = seen(world, *BOTH)
    world.connect()
    assert world.heartbeat(seen=old)["close"] == [old[0]["connection_id"]]


@pytest.mark.parametrize(
    "change", ["delete from stations where id = %s", "update stations set id = 'NEW' where id = %s"]
)
def test_socket_of_a_station_that_is_gone_is_to_be_closed(world: World, change: str) -> None:
    """Under that id nothing is stored any more: the station would repeat its messages for ever."""
    world.sql("update private.station_connections set disconnected_at = now()")  # so it seemed, in an outage
    world.sql(change, STATION)
    assert world.heartbeat(seen=seen(world, *BOTH))["close"] == [world.connections[STATION]]


def test_station_is_not_renamed_while_it_is_online_or_charges(world: World) -> None:
    def rename() -> None:
        with world.db.transaction(), acting_as(world.db, OPERATOR):
            world.sql("update stations set id = 'NEW' where id = %s", STATION)

    with refused("OCUSE"):
        rename()
    transaction = world.begin()
    world.ingest(world.event("disconnect", code=1006, reason=""))
    with refused("OCUSE"):
        rename()
    world.stop(transaction, 3000)
    rename()
    assert world.session(transaction)["station_id"] == "NEW"


def test_step_of_the_housekeeping_that_fails_keeps_no_other_from_its_work(world: World) -> None:
    row = world.send_command(expires_in="1 s")
    world.sql("update commands set expires_at = now() where id = %s", row["id"])
    for broken in ("ensure_partitions(timestamptz)", "end_lost_sessions()", "catch_up_topics()"):
        world.sql(
            f"create or replace function private.{broken.replace('timestamptz', 'p_at timestamptz')} returns void"
            " language plpgsql set search_path = '' as $$ begin raise exception 'broken'; end $$"
        )
    warned: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        warned.append(notice.message_primary or "")

    world.db.add_notice_handler(note)
    world.heartbeat()
    world.db.remove_notice_handler(note)
    assert world.command(row["id"])["status"] == "expired"
    assert warned == [
        f"housekeeping failed at {step}: broken (P0001)" for step in ("partitions", "lost sessions", "topics")
    ]


def test_connection_marked_lost_in_an_outage_is_taken_back(world: World) -> None:
    world.ingest(world.event("disconnect", code=1006, reason=""))
    assert world.heartbeat(seen=seen(world, *BOTH))["close"] == []
    assert connection(world)["disconnected_at"] is None
    assert connection(world)["booted_at"] is not None


def test_connection_of_a_bridge_whose_lease_ran_out_is_taken_over(world: World) -> None:
    world.heartbeat("bridge-b", seen=[])
    world.sql("update private.bridges set lease_expires_at = now() where id = %s", BRIDGE_ID)
    mine = {"station_id": STATION, "connection_id": str(uuid4()), "last_message_at": iso(world.at())}
    assert world.heartbeat("bridge-b", seen=[mine])["close"] == []
    row = connection(world)
    assert (row["bridge_id"], str(row["connection_id"]), row["booted_at"]) == ("bridge-b", mine["connection_id"], None)


def test_connection_of_a_living_bridge_is_not_taken_over(world: World) -> None:
    mine = {"station_id": STATION, "connection_id": str(uuid4()), "last_message_at": iso(world.at())}
    assert world.heartbeat("bridge-b", seen=[mine])["close"] == [mine["connection_id"]]
    assert connection(world)["bridge_id"] == BRIDGE_ID


def test_station_without_a_socket_at_its_bridge_is_offline(world: World) -> None:
    world.heartbeat(seen=seen(world, OTHER_STATION))
    assert world.sql("select station_id from connections") == [{"station_id": OTHER_STATION}]


def test_fresh_handshake_is_not_taken_for_a_lost_one(world: World) -> None:
    world.connect(received=-10 / 60)
    world.heartbeat(seen=[])
    assert connection(world)["disconnected_at"] is None


def test_stations_of_a_bridge_without_a_lease_are_offline(world: World) -> None:
    world.sql("update private.bridges set lease_expires_at = now()")
    assert world.count("connections") == 0
    assert world.sql("select distinct online from station_status") == [{"online": False}]
    world.heartbeat()
    assert world.count("connections") == 2


def test_failing_housekeeping_does_not_cost_the_lease(world: World) -> None:
    world.sql("create function public.no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$")
    world.sql("create trigger no before update on commands for each statement execute function no()")
    world.sql("update private.bridges set lease_expires_at = now()")
    assert world.heartbeat()["close"] == []
    assert world.count("connections") == 2


@pytest.mark.parametrize("bridge", ["", None])
def test_bridge_needs_a_name(world: World, bridge: str | None) -> None:
    with pytest.raises(psycopg.Error, match="OCARG"):
        world.rpc("service_role", "bridge_heartbeat", bridge_id=bridge)


# --- replay -------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int], bool]:
    """Steps of the register in ten minutes each, an order of sending with repeats, and whether the id is known."""
    steps = draw(st.lists(st.integers(0, 3000), min_size=1, max_size=6))
    order = draw(st.permutations(range(len(steps) + 2)))
    repeats = draw(st.lists(st.integers(0, len(steps) + 1), max_size=6))
    return steps, [*order, *repeats], draw(st.booleans())


@given(histories(), st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_history_in_any_order_with_repeats_is_settled_once_with_the_right_energy(
    shared_db: psycopg.Connection[Any], history: tuple[list[int], list[int], bool], batched: bool
) -> None:
    steps, order, with_id = history
    registers = [1000 + sum(steps[:n]) for n in range(len(steps) + 1)]
    with connected(shared_db) as world:
        first = -10 * len(steps)
        start = {"connectorId": 1, "idTag": CARD, "meterStart": 1000, "timestamp": iso(world.at(first))}
        # Only a start that was sent has an id; before it the station has none to name.
        transaction = world.begin(at=first) if with_id else 0
        stop = {"transactionId": transaction, "meterStop": registers[-1], "timestamp": iso(world.at()), "idTag": CARD}
        messages: list[tuple[str, dict[str, Any]]] = [("StartTransaction", start)]
        for n, register in enumerate(registers[1:]):
            value = {"timestamp": iso(world.at(first + 10 * n + 5)), "sampledValue": [sampled(register)]}
            messages.append(("MeterValues", {"connectorId": 1, "transactionId": transaction, "meterValue": [value]}))
        messages.append(("StopTransaction", stop))
        events = [world.call(*messages[n]) for n in order]
        for batch in [events] if batched else [[event] for event in events]:
            assert all("result" in reply for reply in world.ingest(*batch))
        (session,) = world.sessions()
        settled = session | {"updated_at": None}
        assert session["status"] == "stopped"
        assert session["energy"] * 1000 == registers[-1] - 1000
        assert float(session["amount"]) == session["receipt"]["cost"]
        assert session["settled_at"] is not None
        world.ingest(*events)  # the whole history again
        (session,) = world.sessions()
        assert session | {"updated_at": None} == settled
        assert world.count("transaction_orphans", "resolved_at is null") == 0
        assert world.count("meter_values") == len(steps)


def test_batch_that_the_database_ended_for_another_s_sake_is_refused_whole_so_that_the_bridge_sends_it_again(
    world: World,
) -> None:
    """An InternalError would leave it to the station, which forgets a meter value that was refused."""
    world.sql(
        "create function pg_temp.in_the_way() returns trigger language plpgsql as"
        " $$ begin raise exception 'deadlock detected' using errcode = '40P01'; end $$"
    )
    world.sql(
        "create trigger in_the_way before insert on meter_values for each row execute function pg_temp.in_the_way()"
    )
    values = [{"timestamp": iso(world.at()), "sampledValue": [{"value": "1"}]}]
    with pytest.raises(psycopg.errors.DeadlockDetected), world.db.transaction():
        world.ingest(
            world.call("Heartbeat", {}),
            world.call("MeterValues", {"connectorId": 1, "meterValue": values}),
        )
    assert world.count("meter_values") == 0
