"""Commands: their life, the charge that a person starts and stops, what the bridge claims (field notes 6, 13, 20)."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.world import (
    ACCOUNT,
    ADMIN,
    BRIDGE,
    BRIDGE_ID,
    DRIVER,
    OPERATOR,
    OTHER_DRIVER,
    OTHER_OPERATOR,
    OTHER_STATION,
    STATION,
    World,
    iso,
)

Json = Any
VALID: dict[str, Json] = {
    "RemoteStartTransaction": {"idTag": "AB12", "connectorId": 1},
    "RemoteStopTransaction": {"transactionId": 7},
    "Reset": {"type": "Soft"},
    "TriggerMessage": {"requestedMessage": "StatusNotification"},
    "UnlockConnector": {"connectorId": 1},
    "ChangeAvailability": {"connectorId": 0, "type": "Inoperative"},
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": ""},
    "GetConfiguration": {},
    "ClearCache": {},
    "DataTransfer": {"vendorId": "org.example"},
}


def refused(code: str) -> AbstractContextManager[Any]:
    """Expect a refusal by private.fail() with this code."""
    pattern = f'"code" : "{code}"'
    return pytest.raises(psycopg.ProgrammingError, match=pattern)


def send(
    world: World, action: str = "ClearCache", payload: Json = None, who: UUID | str = OPERATOR, **args: object
) -> Json:
    return world.rpc(
        who,
        "send_command",
        **{"station_id": STATION, "action": action, "payload": VALID[action] if payload is None else payload, **args},
    )


def claim_one(world: World) -> Json:
    (command,) = world.claim()
    return command


# --- send_command ------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", VALID)
def test_each_action_is_queued_and_claimed_as_it_was_sent(world: World, action: str) -> None:
    row = send(world, action)
    assert (row["status"], row["created_by"], row["payload"]) == ("queued", str(OPERATOR), VALID[action])
    command = claim_one(world)
    assert (command["command_id"], command["action"], command["payload"]) == (row["id"], action, VALID[action])
    assert (command["station_id"], command["connection_id"]) == (STATION, world.connections[STATION])
    assert command["timeout_s"] == 30
    assert world.command(row["id"])["status"] == "sent"


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        (action, {k: v for k, v in payload.items() if k != key})
        for action, payload in VALID.items()
        for key in payload
        if (action, key) != ("RemoteStartTransaction", "connectorId")
    ]
    + [
        ("Reset", {"type": "Warm"}),
        ("Reset", {"type": None}),
        ("Reset", {"type": ["Hard", "Soft"]}),
        ("Reset", []),
        ("Reset", ["Soft"]),
        ("RemoteStartTransaction", {"idTag": ""}),
        ("RemoteStartTransaction", {"idTag": "X" * 21}),
        ("RemoteStartTransaction", {"idTag": 5}),
        ("RemoteStartTransaction", {"idTag": "X", "connectorId": 0}),
        ("RemoteStartTransaction", {"idTag": "X", "connectorId": "one"}),
        ("RemoteStopTransaction", {"transactionId": "7"}),
        ("RemoteStopTransaction", {"transactionId": 1.5}),
        ("UnlockConnector", {"connectorId": 0}),
        ("ChangeAvailability", {"connectorId": -1, "type": "Operative"}),
        ("TriggerMessage", {"requestedMessage": "Everything"}),
        ("ChangeConfiguration", {"key": "", "value": "x"}),
        ("ChangeConfiguration", {"key": "K", "value": 5}),
        ("DataTransfer", {"vendorId": ""}),
    ],
)
def test_payload_that_no_station_could_take_is_refused(world: World, action: str, payload: Json) -> None:
    with refused("OCPAY"):
        send(world, action, payload)


@pytest.mark.parametrize("action", ["reset", "BootNotification", "", "UpdateFirmware2", None])
def test_unknown_action_is_refused_and_the_known_ones_are_named(world: World, action: str | None) -> None:
    with pytest.raises(psycopg.ProgrammingError, match="OCACT") as error:
        send(world, payload={}, action=action)  # type: ignore[arg-type]
    assert "RemoteStartTransaction" in str(error.value.diag.message_hint)


@pytest.mark.parametrize("expires_in", ["0 s", "-1 s", "8 days", None])
def test_expiry_out_of_range_is_refused(world: World, expires_in: str | None) -> None:
    with refused("OCARG"):
        send(world, expires_in=expires_in)


@pytest.mark.parametrize(
    ("who", "station", "code"),
    [
        (OTHER_OPERATOR, STATION, "OCPRM"),
        (DRIVER, STATION, "OCPRM"),
        (BRIDGE, STATION, "OCPRM"),
        (OPERATOR, "NO-SUCH", "OCSTA"),
        ("00000000-0000-4000-8000-00000000dead", STATION, "OCPRM"),
    ],
)
def test_only_who_runs_the_station_commands_it(world: World, who: UUID, station: str, code: str) -> None:
    with refused(code):
        send(world, who=who, station_id=station)
    assert world.count("commands") == 0


@pytest.mark.parametrize("who", [OPERATOR, ADMIN, "service_role"])
def test_operator_admin_and_service_role_command_stations_in_any_spelling(world: World, who: UUID) -> None:
    assert send(world, who=who, station_id=STATION.lower())["station_id"] == STATION


@pytest.mark.parametrize(
    ("registration", "action", "allowed"),
    [
        ("Rejected", "ClearCache", False),
        ("Pending", "RemoteStartTransaction", False),
        ("Pending", "RemoteStopTransaction", False),
        ("Pending", "ChangeConfiguration", True),
        ("Accepted", "RemoteStartTransaction", True),
    ],
)
def test_station_that_is_not_accepted_is_left_in_peace(
    world: World, registration: str, action: str, allowed: bool
) -> None:
    """OCPP 1.6 §4.2."""
    world.sql("update stations set registration_status = %s::registration_status", registration)
    if allowed:
        assert send(world, action)["status"] == "queued"
    else:
        with refused("OCPND"):
            send(world, action)


# --- what the bridge claims ---------------------------------------------------------------------------


def test_one_command_of_a_station_at_a_time_in_the_order_of_their_making(world: World) -> None:
    ids = []
    for n, action in enumerate(("ClearCache", "GetConfiguration", "Reset")):
        ids.append(send(world, action)["id"])
        world.sql("update commands set created_at = now() + %s * interval '1 s' where id = %s", n, ids[-1])
    for command_id in ids:
        assert claim_one(world)["command_id"] == command_id
        assert world.claim() == []
        assert world.answer(command_id, "result", payload={"status": "Accepted"})["more"] == (command_id != ids[-1])


def test_stations_do_not_wait_for_each_other(world: World) -> None:
    send(world)
    send(world, who=OTHER_OPERATOR, station_id=OTHER_STATION)
    assert {c["station_id"] for c in world.claim()} == {STATION, OTHER_STATION}


@pytest.mark.parametrize(("limit", "claimed"), [(0, 0), (1, 1), (None, 2), (-5, 0)])
def test_no_more_than_asked_for_are_claimed(world: World, limit: int | None, claimed: int) -> None:
    for station in (STATION, OTHER_STATION):
        send(world, who="service_role", station_id=station)
    assert len(world.rpc("service_role", "claim_commands", bridge_id=BRIDGE_ID, max_commands=limit)) == claimed


def test_bridge_claims_for_its_own_stations_only(world: World) -> None:
    send(world)
    world.heartbeat("bridge-b")
    assert world.claim("bridge-b") == []
    world.connect(STATION, bridge="bridge-b")
    assert world.claim() == []
    assert len(world.claim("bridge-b")) == 1


@pytest.mark.parametrize(
    ("connected", "booted", "claims"), [(-5 / 60, False, 0), (-11 / 60, False, 1), (-5 / 60, True, 1)]
)
def test_station_is_spoken_to_after_its_boot_or_ten_seconds(
    world: World, connected: float, booted: bool, claims: int
) -> None:
    """Field notes 6: some break when spoken to before their BootNotification, others never send one."""
    world.connect(received=connected)
    if booted:
        send(world, "ClearCache")
        boot = world.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        assert world.ingest(boot)[0]["more"] is True
    else:
        send(world)
    assert len(world.claim()) == claims


def test_boot_that_was_not_accepted_opens_nothing(world: World) -> None:
    world.sql("update stations set registration_status = 'Pending'")
    world.connect(received=-1 / 60)
    answer = world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    assert (answer["status"], answer["interval"]) == ("Pending", 60)
    send(world)
    assert world.claim() == []


def test_offline_station_gets_nothing_until_it_is_back(world: World) -> None:
    send(world)
    world.ingest(world.event("disconnect", code=1006, reason=""))
    assert world.claim() == []
    world.connect()
    assert len(world.claim()) == 1


def test_expired_command_is_not_claimed_and_says_so(world: World) -> None:
    row = send(world)
    world.sql("update commands set expires_at = now()")
    assert world.claim() == []
    world.heartbeat()
    assert world.command(row["id"])["status"] == "expired"


# --- answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "fields", "status", "error"),
    [
        ("result", {"payload": {"status": "Accepted"}}, "accepted", None),
        ("result", {"payload": {"status": "Scheduled"}}, "accepted", None),
        ("result", {"payload": {"status": "RebootRequired"}}, "accepted", None),
        ("result", {"payload": {"status": "Unlocked"}}, "accepted", None),
        ("result", {"payload": {"configurationKey": []}}, "accepted", None),
        ("result", {"payload": {"status": "Rejected"}}, "rejected", None),
        ("result", {"payload": {"status": "NotSupported"}}, "rejected", None),
        ("result", {"payload": {"status": "UnlockFailed"}}, "rejected", None),
        (
            "error",
            {"error": {"code": "NotImplemented", "description": "no", "details": {}}},
            "failed",
            "NotImplemented: no",
        ),
        ("failed", {"error": {"code": "InternalError", "description": "", "details": {}}}, "failed", "InternalError"),
        ("timeout", {}, "timed_out", "no answer within 30 s"),
    ],
)
def test_answer_decides_the_status(world: World, outcome: str, fields: Json, status: str, error: str | None) -> None:
    row = send(world, "UnlockConnector")
    claim_one(world)
    assert world.answer(row["id"], outcome, **fields)["ok"] is True
    command = world.command(row["id"])
    assert (command["status"], command["error"], command["late"]) == (status, error, False)
    assert command["result"] == fields.get("payload")
    assert (command["answered_at"] is not None) == (outcome in ("result", "error"))


def test_late_answer_counts_and_is_marked(world: World) -> None:
    row = send(world)
    claim_one(world)
    world.answer(row["id"], "timeout")
    world.answer(row["id"], "result", payload={"status": "Accepted"}, received=1)
    command = world.command(row["id"])
    assert (command["status"], command["late"], command["error"]) == ("accepted", True, None)


def test_next_command_goes_out_after_a_time_out(world: World) -> None:
    row = send(world)
    claim_one(world)
    send(world, "GetConfiguration")
    assert world.answer(row["id"], "timeout")["more"] is True
    assert claim_one(world)["action"] == "GetConfiguration"


@pytest.mark.parametrize("second", [{"outcome": "result", "payload": {"status": "Rejected"}}, {"outcome": "timeout"}])
def test_first_answer_stays(world: World, second: Json) -> None:
    row = send(world)
    claim_one(world)
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    world.answer(row["id"], **second)
    assert world.command(row["id"])["status"] == "accepted"


def test_answer_to_a_command_that_is_none_is_taken_calmly(world: World) -> None:
    assert world.answer(uuid4(), "result", payload={}) == {"ok": True, "more": False}


def test_command_whose_bridge_died_times_out(world: World) -> None:
    row = send(world)
    claim_one(world)
    world.sql("update commands set sent_at = now() - interval '59 s'")
    world.heartbeat()
    assert world.command(row["id"])["status"] == "sent"
    world.sql("update commands set sent_at = now() - interval '61 s'")
    world.heartbeat()
    assert world.command(row["id"])["status"] == "timed_out"


@pytest.mark.parametrize("action", [a for a in VALID if a not in ("Reset", "DataTransfer")])
@pytest.mark.parametrize("how", ["disconnect", "reconnect", "vanished"])
def test_command_that_lost_its_connection_is_sent_again(world: World, action: str, how: str) -> None:
    row = send(world, action)
    claim_one(world)
    if how == "disconnect":
        world.ingest(world.event("disconnect", code=1006, reason=""))
    elif how == "vanished":
        world.heartbeat(seen=[])
    assert world.command(row["id"])["status"] == ("sent" if how == "reconnect" else "queued")
    world.connect()
    assert claim_one(world)["command_id"] == row["id"]
    assert world.command(row["id"])["attempts"] == 2


@pytest.mark.parametrize("action", ["Reset", "DataTransfer"])
def test_what_must_not_happen_twice_is_not_sent_again(world: World, action: str) -> None:
    row = send(world, action)
    claim_one(world)
    world.ingest(world.event("disconnect", code=1006, reason=""))
    assert world.command(row["id"])["status"] == "timed_out"
    world.connect()
    assert world.claim() == []


def test_command_that_expired_while_its_connection_was_lost_is_not_sent_again(world: World) -> None:
    row = send(world)
    claim_one(world)
    world.sql("update commands set expires_at = now()")
    world.connect()
    assert world.command(row["id"])["status"] == "timed_out"


def test_command_that_expires_while_it_waits_to_be_sent_again_is_not_called_unsent(world: World) -> None:
    row = send(world)
    claim_one(world)
    world.ingest(world.event("disconnect", code=1006, reason=""))
    world.sql("update commands set expires_at = now()")
    world.heartbeat()
    ended = world.command(row["id"])
    assert (ended["status"], ended["error"]) == (
        "timed_out", "the connection was lost before the station answered; whether it acted is not known"
    )  # fmt: skip


@pytest.mark.parametrize("outcome", ["timeout", "failed"])
def test_end_of_a_call_whose_connection_broke_before_does_not_undo_what_was_decided(world: World, outcome: str) -> None:
    row = send(world)
    claim_one(world)
    world.connect()
    world.answer(row["id"], outcome)
    assert world.command(row["id"])["status"] == "queued"


@pytest.mark.parametrize("action", ["Reset", "ClearCache"])
def test_command_whose_claim_was_answered_into_the_void_is_handed_out_again(world: World, action: str) -> None:
    row = send(world, action)
    claim_one(world)
    claim = {"bridge_id": BRIDGE_ID, "max_commands": 100}
    assert world.rpc("service_role", "claim_commands", **claim) == []  # says nothing of what it holds
    assert world.rpc("service_role", "claim_commands", **claim, holding=f"{{{row['id']}}}") == []
    (command,) = world.rpc("service_role", "claim_commands", **claim, holding="{}")
    assert command["command_id"] == row["id"]
    assert world.command(row["id"])["attempts"] == 2


def test_what_another_bridge_holds_is_not_handed_out_again(world: World) -> None:
    send(world)
    claim_one(world)
    assert world.rpc("service_role", "claim_commands", bridge_id="bridge-b", holding="{}") == []
    assert world.one("select status from commands") == "sent"


def test_answer_over_the_old_connection_after_the_command_was_queued_again_settles_it(world: World) -> None:
    row = send(world)
    claim_one(world)
    world.connect()
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    assert world.command(row["id"])["status"] == "accepted"
    assert world.claim() == []


# --- effects -----------------------------------------------------------------------------------------


def test_reset_has_its_effect_with_the_boot(world: World) -> None:
    row = send(world, "Reset")
    claim_one(world)
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    assert world.command(row["id"])["effect_at"] is None
    world.connect()
    world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}, received=1)
    assert world.command(row["id"])["effect_at"] == world.at(1)


def test_change_of_availability_has_its_effect_with_the_status(world: World) -> None:
    row = send(world, "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
    claim_one(world)
    world.answer(row["id"], "result", payload={"status": "Scheduled"})
    for status, expected in (("Charging", None), ("Unavailable", world.at(2))):
        world.send("StatusNotification", {"connectorId": 1, "status": status, "errorCode": "NoError"}, received=2)
        assert world.command(row["id"])["effect_at"] == expected


def test_configuration_is_kept_as_the_station_reports_it(world: World) -> None:
    row = send(world, "GetConfiguration")
    claim_one(world)
    keys = [
        {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
        {"key": "NumberOfConnectors", "readonly": True, "value": "2"},
        {"key": "AuthorizationKey", "readonly": False, "value": "0123456789"},
        {"key": "Long", "readonly": False, "value": "x" * 5000},
        {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
        {},
        "rubbish",
    ]
    assert "error" not in world.answer(row["id"], "result", payload={"configurationKey": keys, "unknownKey": ["X"]})
    rows = world.sql("select key, value, readonly from station_configuration order by key")
    assert [(r["key"], r["readonly"]) for r in rows] == [
        ("HeartbeatInterval", False),
        ("Long", False),
        ("NumberOfConnectors", True),
    ]
    change = send(world, "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"})
    claim_one(world)
    world.answer(change["id"], "result", payload={"status": "RebootRequired"})
    assert world.one("select value from station_configuration where key = 'HeartbeatInterval'") == "60"


@pytest.mark.parametrize("end", ["result", "timeout", "expired", "called off"])
def test_secret_reaches_the_station_and_nobody_else(world: World, end: str) -> None:
    """Security whitepaper A01.FR.06 to 09."""
    secret = "0123456789ABCDEF0123456789ABCDEF01234567"
    row = send(world, "ChangeConfiguration", {"key": "AuthorizationKey", "value": secret})
    assert row["payload"] == {"key": "AuthorizationKey", "value": "(redacted)"}
    if end == "expired":
        world.sql("update commands set expires_at = now()")
        world.heartbeat()
    elif end == "called off":
        world.sql("delete from commands")
    else:
        assert claim_one(world)["payload"]["value"] == secret
        world.connect()
        assert claim_one(world)["payload"]["value"] == secret  # again, over the next connection
        world.answer(row["id"], end, **({"payload": {"status": "Accepted"}} if end == "result" else {}))
    everything = world.sql(
        "select to_jsonb(c)::text as t from commands as c union all select to_jsonb(m)::text from ocpp_messages as m"
        " union all select to_jsonb(k)::text from station_configuration as k"
        " union all select payload::text from realtime.messages"
        " union all select payload::text from private.command_secrets"
    )
    assert secret not in json.dumps(everything)


def test_secrets_in_a_configuration_are_redacted(world: World) -> None:
    row = send(world, "GetConfiguration")
    claim_one(world)
    world.answer(
        row["id"],
        "result",
        payload={"configurationKey": [{"key": "authorizationKey", "value": "s3cr3t", "readonly": False}]},
    )
    assert world.command(row["id"])["result"]["configurationKey"][0]["value"] == "(redacted)"
    assert "s3cr3t" not in json.dumps(world.sql("select to_jsonb(m)::text as t from ocpp_messages as m"))


# --- Realtime ----------------------------------------------------------------------------------------


def test_bridge_that_holds_the_station_is_woken(world: World) -> None:
    row = send(world)
    (wake,) = world.topics("bridge:")
    assert (wake["topic"], wake["event"], wake["private"]) == (f"bridge:{BRIDGE_ID}", "command", True)
    assert {k: wake["payload"][k] for k in ("command_id", "station_id")} == {
        "command_id": row["id"],
        "station_id": STATION,
    }


def test_bridge_is_woken_again_when_a_command_is_queued_again(world: World) -> None:
    send(world)
    claim_one(world)
    world.connect(bridge="bridge-b")
    assert [m["topic"] for m in world.topics("bridge:") if m["event"] == "command"] == [
        f"bridge:{BRIDGE_ID}",
        "bridge:bridge-b",
    ]


def test_former_bridge_is_told_to_close_its_socket(world: World) -> None:
    former = world.connections[STATION]
    world.connect(bridge="bridge-b")
    (message,) = [m for m in world.topics("bridge:") if m["event"] == "disconnect"]
    assert message["topic"] == f"bridge:{BRIDGE_ID}"
    assert message["payload"]["connection_id"] == former


def test_nobody_is_woken_for_an_offline_station(world: World) -> None:
    world.ingest(world.event("disconnect", code=1006, reason=""))
    send(world)
    assert world.topics("bridge:") == []


def test_each_step_of_a_command_is_told_to_its_topic(world: World) -> None:
    row = send(world, "Reset")
    claim_one(world)
    world.answer(row["id"], "timeout")
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    steps = [m["payload"] for m in world.topics(f"command:{row['id']}")]
    assert [s["status"] for s in steps] == ["sent", "timed_out", "accepted", "accepted"]
    assert [s["late"] for s in steps] == [False, False, True, True]
    assert steps[-1]["effect_at"] is not None


def test_status_that_did_not_change_is_not_broadcast(world: World) -> None:
    before = len(world.topics("station:"))
    for status in ("Preparing", "Preparing", "Charging", "Charging"):
        world.send("StatusNotification", {"connectorId": 1, "status": status, "errorCode": "NoError"})
    assert [m["payload"]["status"] for m in world.topics("station:")[before:]] == ["Preparing", "Charging"]


def test_coming_and_going_is_told_to_the_topic_of_the_station(world: World) -> None:
    before = len(world.topics(f"station:{STATION}"))
    world.ingest(world.event("disconnect", code=1006, reason=""))
    world.connect()
    assert [m["payload"]["online"] for m in world.topics(f"station:{STATION}")[before:]] == [False, True]


# --- start_charge --------------------------------------------------------------------------------------


def start_charge(world: World, who: UUID | str = DRIVER, **args: object) -> Json:
    return world.rpc(who, "start_charge", **{"station_id": STATION, **args})


def status(world: World, connector: int, value: str) -> None:
    world.send("StatusNotification", {"connectorId": connector, "status": value, "errorCode": "NoError"})


def test_start_charge_makes_a_pending_session_and_its_command(world: World) -> None:
    session = start_charge(world, connector_id=2, limit_energy_kwh=30, limit_amount="300.50")
    assert (session["status"], session["user_id"], session["client_id"]) == ("pending", str(DRIVER), str(ACCOUNT))
    assert (session["limit_type"], session["limit_energy_kwh"], session["limit_amount"]) == ("both", 30, 300.5)
    assert (session["connector_id"], session["currency"]) == (2, "KGS")
    assert len(session["id_tag"]) == 14
    assert set(session["id_tag"]) <= set("0123456789ABCDEF")
    command = claim_one(world)
    assert command["action"] == "RemoteStartTransaction"
    assert command["payload"] == {"connectorId": 2, "idTag": session["id_tag"]}


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        ({}, "none"),
        ({"limit_energy_kwh": 5}, "energy"),
        ({"limit_amount": 5}, "amount"),
        ({"limit_energy_kwh": 5, "limit_amount": 5}, "both"),
    ],
)
def test_limits_say_the_kind(world: World, limits: Json, kind: str) -> None:
    assert start_charge(world, **limits)["limit_type"] == kind


@pytest.mark.parametrize("name", ["limit_energy_kwh", "limit_amount"])
@pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity", "1e10", "0.0001"])
def test_impossible_limit_is_refused(world: World, name: str, value: str) -> None:
    with refused("OCARG"):
        start_charge(world, **{name: value})


def test_pressed_twice_is_one_session(world: World) -> None:
    first = start_charge(world, limit_amount=100)
    status(world, 2, "Preparing")  # must not lure the second press to another connector
    assert start_charge(world, limit_amount=100)["id"] == first["id"]
    assert start_charge(world, limit_amount=100, connector_id=1)["id"] == first["id"]
    assert world.count("commands") == 1


def test_second_press_with_another_limit_is_refused(world: World) -> None:
    start_charge(world, limit_amount=100)
    with refused("OCBSY"):
        start_charge(world, limit_amount=200)


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        ((None, None), 1),
        (("Charging", "Available"), 2),
        (("Available", "Preparing"), 2),
        (("Faulted", "Finishing"), 2),
        (("Available", "Finishing"), 1),
    ],
)
def test_connector_is_chosen_where_the_car_is_plugged_in_else_the_first_free(
    world: World, states: tuple[str | None, str | None], chosen: int
) -> None:
    for number, value in enumerate(states, 1):
        if value:
            status(world, number, value)
    assert start_charge(world)["connector_id"] == chosen


def test_connectors_in_use_are_passed_over(world: World) -> None:
    world.begin(at=0, connector=1)
    assert start_charge(world)["connector_id"] == 2
    with refused("OCBSY"):
        start_charge(world, who=OTHER_DRIVER)
    with refused("OCBSY"):
        start_charge(world, who=OTHER_DRIVER, connector_id=1)


@pytest.mark.parametrize(("value", "free"), [("Preparing", True), ("Available", True), ("Charging", False)])
def test_connector_reported_free_since_its_session_was_last_heard_of_may_be_charged_at(
    world: World, value: str, free: bool
) -> None:
    """The StopTransaction is late or lost: the next driver need not wait until that is settled."""
    world.begin(at=-60, connector=1)
    world.sql("alter table charging_sessions disable trigger set_updated_at")
    world.sql("update charging_sessions set updated_at = now() - interval '1 s'")
    status(world, 1, value)
    if free:
        assert start_charge(world, who=OTHER_DRIVER, connector_id=1)["status"] == "pending"
    else:
        with refused("OCBSY"):
            start_charge(world, who=OTHER_DRIVER, connector_id=1)


def test_station_without_known_connectors_gets_its_first(world: World) -> None:
    world.sql("delete from connectors where station_id = %s", STATION)
    assert start_charge(world)["connector_id"] == 1


@pytest.mark.parametrize("value", ["Faulted", "Unavailable", "Reserved"])
def test_connector_out_of_service_is_refused(world: World, value: str) -> None:
    status(world, 1, value)
    with refused("OCUNA"):
        start_charge(world, connector_id=1)


@pytest.mark.parametrize(
    ("change", "args", "code"),
    [
        ("", {"station_id": "NO-SUCH"}, "OCSTA"),
        ("", {"connector_id": 9}, "OCCON"),
        ("update stations set status = 'maintenance'", {}, "OCINA"),
        ("update stations set status = 'inactive'", {}, "OCSTA"),  # not on the map: as if it were not there
        ("update stations set registration_status = 'Pending'", {}, "OCPND"),
        ("update private.station_connections set disconnected_at = now()", {}, "OCOFF"),
        ("update private.bridges set lease_expires_at = now()", {}, "OCOFF"),
        ("update users set is_active = false", {}, "OCPRM"),
        ("update users set role = 'bridge'", {}, "OCPRM"),
        ("update clients set status = 'blocked'", {}, "OCBLK"),
    ],
)
def test_start_charge_is_refused(world: World, change: str, args: Json, code: str) -> None:
    world.sql(change or "select")
    with refused(code):
        start_charge(world, **args)
    assert world.count("charging_sessions") == 0


@pytest.mark.parametrize(
    ("outcome", "fields"),
    [
        ("result", {"payload": {"status": "Rejected"}}),
        ("error", {"error": {"code": "NotSupported", "description": "", "details": {}}}),
    ],
)
def test_refused_start_fails_the_session_at_once(world: World, outcome: str, fields: Json) -> None:
    session = start_charge(world)
    world.answer(claim_one(world)["command_id"], outcome, **fields)
    row = world.session(session["transaction_id"])
    assert row["status"] == "error"
    assert row["error"].startswith("the station")
    assert world.topics(f"session:{session['id']}")[-1]["payload"]["status"] == "error"
    assert start_charge(world)["id"] != session["id"]


def test_accepted_start_waits_for_the_start_transaction_as_long_as_set(world: World) -> None:
    session = start_charge(world)
    world.answer(claim_one(world)["command_id"], "result", payload={"status": "Accepted"})
    assert (world.session(session["transaction_id"])["expires_at"] - world.now).total_seconds() == 180
    world.sql("update charging_sessions set expires_at = now()")
    world.heartbeat()
    row = world.session(session["transaction_id"])
    assert (row["status"], row["error"]) == ("error", "the station accepted, but no charge began")


def test_start_that_never_reached_the_station_fails_with_its_command(world: World) -> None:
    session = start_charge(world)
    world.sql("update commands set expires_at = now()")
    world.heartbeat()
    row = world.session(session["transaction_id"])
    assert (row["status"], row["error"]) == ("error", "the station could not be reached")


# --- stop_charge ---------------------------------------------------------------------------------------


def test_stop_charge_queues_one_remote_stop_however_often_it_is_called(world: World) -> None:
    session = start_charge(world)
    world.answer(claim_one(world)["command_id"], "result", payload={"status": "Accepted"})
    world.begin(at=0, tag=session["id_tag"])
    for _ in range(3):
        assert world.rpc(DRIVER, "stop_charge", session_id=session["id"])["status"] == "started"
    command = claim_one(world)
    assert (command["action"], command["payload"]) == (
        "RemoteStopTransaction",
        {"transactionId": session["transaction_id"]},
    )
    world.rpc(DRIVER, "stop_charge", session_id=session["id"])
    world.answer(command["command_id"], "result", payload={"status": "Accepted"})
    world.stop(session["transaction_id"], 2000, reason="Remote")
    assert world.command(command["command_id"])["effect_at"] is not None
    assert world.rpc(DRIVER, "stop_charge", session_id=session["id"])["status"] == "stopped"
    assert world.count("commands", "action = 'RemoteStopTransaction'") == 1


def test_refused_remote_stop_is_flagged_and_may_be_asked_for_again(world: World) -> None:
    transaction = world.begin()
    session_id = world.session(transaction)["id"]
    world.rpc(DRIVER, "stop_charge", session_id=session_id)
    world.answer(claim_one(world)["command_id"], "result", payload={"status": "Rejected"})
    assert world.session(transaction)["flags"] == ["stop_refused"]
    world.rpc(DRIVER, "stop_charge", session_id=session_id)
    assert len(world.claim()) == 1


def test_remote_stop_that_was_not_sent_yet_is_cancelled_when_the_session_ends(world: World) -> None:
    transaction = world.begin()
    world.rpc(DRIVER, "stop_charge", session_id=world.session(transaction)["id"])
    world.stop(transaction, 2000)
    assert world.one("select status from commands") == "cancelled"
    assert world.claim() == []


def test_stop_charge_before_the_command_went_out_calls_it_off(world: World) -> None:
    session = start_charge(world)
    assert world.rpc(DRIVER, "stop_charge", session_id=session["id"])["status"] == "stopped"
    assert world.one("select status from commands") == "cancelled"
    assert world.claim() == []
    assert start_charge(world)["id"] != session["id"]


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (DRIVER, True),
        (OPERATOR, True),
        (ADMIN, True),
        ("service_role", True),
        (OTHER_DRIVER, False),
        (OTHER_OPERATOR, False),
    ],
)
def test_session_is_stopped_by_its_driver_and_who_runs_the_station(world: World, who: UUID, may: bool) -> None:
    session_id = world.session(world.begin())["id"]
    if may:
        assert world.rpc(who, "stop_charge", session_id=session_id)["stop_requested_at"] is not None
    else:
        with refused("OCSES"):
            world.rpc(who, "stop_charge", session_id=session_id)
        assert world.count("commands") == 0


def test_remote_stop_waits_for_a_station_that_is_away(world: World) -> None:
    transaction = world.begin()
    world.ingest(world.event("disconnect", code=1006, reason=""))
    world.rpc(DRIVER, "stop_charge", session_id=world.session(transaction)["id"])
    world.connect()
    assert claim_one(world)["action"] == "RemoteStopTransaction"


def test_time_of_the_answer_is_what_the_bridge_says(world: World) -> None:
    row = send(world)
    claim_one(world)
    world.answer(row["id"], "result", payload={"status": "Accepted"}, received=3)
    assert iso(world.command(row["id"])["answered_at"]) == iso(world.at(3))
