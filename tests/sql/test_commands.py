"""Commands: who may send them, what the bridge claims, what an answer means (field notes 6, 13)."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.world import (
    ADMIN,
    BRIDGE,
    BRIDGE_ID,
    DRIVER,
    OPERATOR,
    OTHER_OPERATOR,
    OTHER_STATION,
    STATION,
    VALID,
    World,
    iso,
    refused,
)

Json = Any


# --- send_command ------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", VALID)
def test_each_action_is_queued_and_claimed_as_it_was_sent(world: World, action: str) -> None:
    row = world.send_command(action)
    assert (row["status"], row["created_by"], row["payload"]) == ("queued", str(OPERATOR), VALID[action])
    command = world.claim_one()
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
        ("GetConfiguration", {"key": "HeartbeatInterval"}),
        ("GetConfiguration", {"key": ["HeartbeatInterval", 1]}),
    ],
)
def test_payload_that_no_station_could_take_is_refused(world: World, action: str, payload: Json) -> None:
    with refused("OCPAY"):
        world.send_command(action, payload)


@pytest.mark.parametrize("action", ["reset", "BootNotification", "", "UpdateFirmware2", None])
def test_unknown_action_is_refused_and_the_known_ones_are_named(world: World, action: str | None) -> None:
    with pytest.raises(psycopg.ProgrammingError, match="OCACT") as error:
        world.send_command(payload={}, action=action)  # type: ignore[arg-type]
    assert "RemoteStartTransaction" in str(error.value.diag.message_hint)


@pytest.mark.parametrize("expires_in", ["0 s", "-1 s", "8 days", None])
def test_expiry_out_of_range_is_refused(world: World, expires_in: str | None) -> None:
    with refused("OCARG"):
        world.send_command(expires_in=expires_in)


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
        world.send_command(who=who, station_id=station)
    assert world.count("commands") == 0


@pytest.mark.parametrize("who", [OPERATOR, ADMIN, "service_role"])
def test_operator_admin_and_service_role_command_stations_in_any_spelling(world: World, who: UUID) -> None:
    assert world.send_command(who=who, station_id=STATION.lower())["station_id"] == STATION


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
        assert world.send_command(action)["status"] == "queued"
    else:
        with refused("OCPND"):
            world.send_command(action)


# --- what the bridge claims ---------------------------------------------------------------------------


def test_one_command_of_a_station_at_a_time_in_the_order_of_their_making(world: World) -> None:
    ids = []
    for n, action in enumerate(("ClearCache", "GetConfiguration", "Reset")):
        ids.append(world.send_command(action)["id"])
        world.sql("update commands set created_at = now() + %s * interval '1 s' where id = %s", n, ids[-1])
    for command_id in ids:
        assert world.claim_one()["command_id"] == command_id
        assert world.claim() == []
        assert world.answer(command_id, "result", payload={"status": "Accepted"})["more"] == (command_id != ids[-1])


def test_stations_do_not_wait_for_each_other(world: World) -> None:
    world.send_command()
    world.send_command(who=OTHER_OPERATOR, station_id=OTHER_STATION)
    assert {c["station_id"] for c in world.claim()} == {STATION, OTHER_STATION}


@pytest.mark.parametrize(("limit", "claimed"), [(0, 0), (1, 1), (None, 2), (-5, 0)])
def test_no_more_than_asked_for_are_claimed(world: World, limit: int | None, claimed: int) -> None:
    for station in (STATION, OTHER_STATION):
        world.send_command(who="service_role", station_id=station)
    assert len(world.rpc("service_role", "claim_commands", bridge_id=BRIDGE_ID, max_commands=limit)) == claimed


def test_bridge_claims_for_its_own_stations_only(world: World) -> None:
    world.send_command()
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
        world.send_command("ClearCache")
        boot = world.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        assert world.ingest(boot)[0]["more"] is True
    else:
        world.send_command()
    assert len(world.claim()) == claims


def test_boot_that_was_not_accepted_opens_nothing(world: World) -> None:
    world.sql("update stations set registration_status = 'Pending'")
    world.connect(received=-1 / 60)
    answer = world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    assert (answer["status"], answer["interval"]) == ("Pending", 60)
    world.send_command()
    assert world.claim() == []


def test_offline_station_gets_nothing_until_it_is_back(world: World) -> None:
    world.send_command()
    world.ingest(world.event("disconnect", code=1006, reason=""))
    assert world.claim() == []
    world.connect()
    assert len(world.claim()) == 1


def test_expired_command_is_not_claimed_and_says_so(world: World) -> None:
    row = world.send_command()
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
    row = world.send_command("UnlockConnector")
    world.claim_one()
    assert world.answer(row["id"], outcome, **fields)["ok"] is True
    command = world.command(row["id"])
    assert (command["status"], command["error"], command["late"]) == (status, error, False)
    assert command["result"] == fields.get("payload")
    assert (command["answered_at"] is not None) == (outcome in ("result", "error"))


def test_late_answer_counts_and_is_marked(world: World) -> None:
    row = world.send_command()
    world.claim_one()
    world.answer(row["id"], "timeout")
    world.answer(row["id"], "result", payload={"status": "Accepted"}, received=1)
    command = world.command(row["id"])
    assert (command["status"], command["late"], command["error"]) == ("accepted", True, None)


def test_next_command_goes_out_after_a_time_out(world: World) -> None:
    row = world.send_command()
    world.claim_one()
    world.send_command("GetConfiguration")
    assert world.answer(row["id"], "timeout")["more"] is True
    assert world.claim_one()["action"] == "GetConfiguration"


@pytest.mark.parametrize("second", [{"outcome": "result", "payload": {"status": "Rejected"}}, {"outcome": "timeout"}])
def test_first_answer_stays(world: World, second: Json) -> None:
    row = world.send_command()
    world.claim_one()
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    world.answer(row["id"], **second)
    assert world.command(row["id"])["status"] == "accepted"


def test_answer_to_a_command_that_is_none_is_taken_calmly(world: World) -> None:
    assert world.answer(uuid4(), "result", payload={}) == {"ok": True, "more": False}


def test_command_whose_bridge_died_times_out(world: World) -> None:
    row = world.send_command()
    world.claim_one()
    world.sql("update commands set sent_at = now() - interval '59 s'")
    world.heartbeat()
    assert world.command(row["id"])["status"] == "sent"
    world.sql("update commands set sent_at = now() - interval '61 s'")
    world.heartbeat()
    assert world.command(row["id"])["status"] == "timed_out"


@pytest.mark.parametrize("by", ["stop_charge", "send_command"])
@pytest.mark.parametrize("how", ["disconnect", "reconnect", "lost claim"])
def test_remote_stop_of_a_session_that_has_ended_is_not_sent_again(world: World, by: str, how: str) -> None:
    transaction = world.begin(at=-60)
    if by == "stop_charge":
        world.rpc(DRIVER, "stop_charge", session_id=world.session(transaction)["id"])
    else:
        world.send_command("RemoteStopTransaction", {"transactionId": transaction})
    row = world.claim_one()
    world.stop(transaction, 3000)
    if how == "disconnect":
        world.ingest(world.event("disconnect", code=1006, reason=""))
    if how == "lost claim":
        assert world.rpc("service_role", "claim_commands", bridge_id=BRIDGE_ID, holding="{}") == []
    else:
        world.connect()
        world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        assert world.claim() == []
    command = world.command(row["command_id"])
    assert command["status"] == ("cancelled" if how == "lost claim" else "accepted")
    assert command["error"].endswith("the session has ended")


def test_remote_stop_that_waits_to_be_sent_again_is_not_once_its_session_has_ended(world: World) -> None:
    transaction = world.begin(at=-60)
    world.send_command("RemoteStopTransaction", {"transactionId": transaction})
    world.claim_one()
    world.connect()
    world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    world.stop(transaction, 3000)
    assert world.claim() == []


def test_remote_stop_sent_by_a_person_goes_out_whatever_is_known_of_the_session(world: World) -> None:
    transaction = world.begin(at=-60)
    world.stop(transaction, 3000)
    world.send_command("RemoteStopTransaction", {"transactionId": transaction})
    assert world.claim_one()["action"] == "RemoteStopTransaction"


@pytest.mark.parametrize("action", [a for a in VALID if a not in ("Reset", "DataTransfer")])
@pytest.mark.parametrize("how", ["disconnect", "reconnect", "vanished"])
def test_command_that_lost_its_connection_is_sent_again(world: World, action: str, how: str) -> None:
    row = world.send_command(action)
    world.claim_one()
    if how == "disconnect":
        world.ingest(world.event("disconnect", code=1006, reason=""))
    elif how == "vanished":
        world.heartbeat(seen=[])
    assert world.command(row["id"])["status"] == ("sent" if how == "reconnect" else "queued")
    world.connect()
    assert world.claim_one()["command_id"] == row["id"]
    assert world.command(row["id"])["attempts"] == 2


@pytest.mark.parametrize("action", ["Reset", "DataTransfer"])
def test_what_must_not_happen_twice_is_not_sent_again(world: World, action: str) -> None:
    row = world.send_command(action)
    world.claim_one()
    world.ingest(world.event("disconnect", code=1006, reason=""))
    assert world.command(row["id"])["status"] == "timed_out"
    world.connect()
    assert world.claim() == []


def test_command_that_expired_while_its_connection_was_lost_is_not_sent_again(world: World) -> None:
    row = world.send_command()
    world.claim_one()
    world.sql("update commands set expires_at = now()")
    world.connect()
    assert world.command(row["id"])["status"] == "timed_out"


def test_command_that_expires_while_it_waits_to_be_sent_again_is_not_called_unsent(world: World) -> None:
    row = world.send_command()
    world.claim_one()
    world.ingest(world.event("disconnect", code=1006, reason=""))
    world.sql("update commands set expires_at = now()")
    world.heartbeat()
    ended = world.command(row["id"])
    assert (ended["status"], ended["error"]) == (
        "timed_out", "the connection was lost before the station answered; whether it acted is not known"
    )  # fmt: skip


@pytest.mark.parametrize("outcome", ["timeout", "failed"])
def test_end_of_a_call_whose_connection_broke_before_does_not_undo_what_was_decided(world: World, outcome: str) -> None:
    row = world.send_command()
    world.claim_one()
    world.connect()
    world.answer(row["id"], outcome)
    assert world.command(row["id"])["status"] == "queued"


@pytest.mark.parametrize("action", ["Reset", "ClearCache"])
def test_command_whose_claim_was_answered_into_the_void_is_handed_out_again(world: World, action: str) -> None:
    row = world.send_command(action)
    world.claim_one()
    claim = {"bridge_id": BRIDGE_ID, "max_commands": 100}
    assert world.rpc("service_role", "claim_commands", **claim) == []  # says nothing of what it holds
    assert world.rpc("service_role", "claim_commands", **claim, holding=f"{{{row['id']}}}") == []
    (command,) = world.rpc("service_role", "claim_commands", **claim, holding="{}")
    assert command["command_id"] == row["id"]
    assert world.command(row["id"])["attempts"] == 2


def test_what_another_bridge_holds_is_not_handed_out_again(world: World) -> None:
    world.send_command()
    world.claim_one()
    assert world.rpc("service_role", "claim_commands", bridge_id="bridge-b", holding="{}") == []
    assert world.one("select status from commands") == "sent"


def test_answer_over_the_old_connection_after_the_command_was_queued_again_settles_it(world: World) -> None:
    row = world.send_command()
    world.claim_one()
    world.connect()
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    assert world.command(row["id"])["status"] == "accepted"
    assert world.claim() == []


def test_time_of_the_answer_is_what_the_bridge_says(world: World) -> None:
    row = world.send_command()
    world.claim_one()
    world.answer(row["id"], "result", payload={"status": "Accepted"}, received=3)
    assert iso(world.command(row["id"])["answered_at"]) == iso(world.at(3))


# --- effects -----------------------------------------------------------------------------------------


def test_reset_has_its_effect_with_the_boot(world: World) -> None:
    row = world.send_command("Reset")
    world.claim_one()
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    assert world.command(row["id"])["effect_at"] is None
    world.connect()
    world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}, received=1)
    assert world.command(row["id"])["effect_at"] == world.at(1)


def test_change_of_availability_has_its_effect_with_the_status(world: World) -> None:
    row = world.send_command("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
    world.claim_one()
    world.answer(row["id"], "result", payload={"status": "Scheduled"})
    for status, expected in (("Charging", None), ("Unavailable", world.at(2))):
        world.send("StatusNotification", {"connectorId": 1, "status": status, "errorCode": "NoError"}, received=2)
        assert world.command(row["id"])["effect_at"] == expected


def test_configuration_is_kept_as_the_station_reports_it(world: World) -> None:
    row = world.send_command("GetConfiguration")
    world.claim_one()
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
    change = world.send_command("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"})
    world.claim_one()
    world.answer(change["id"], "result", payload={"status": "RebootRequired"})
    assert world.one("select value from station_configuration where key = 'HeartbeatInterval'") == "60"


@pytest.mark.parametrize("end", ["result", "timeout", "expired", "called off"])
def test_secret_reaches_the_station_and_nobody_else(world: World, end: str) -> None:
    """Security whitepaper A01.FR.06 to 09."""
    secret = "0123456789ABCDEF0123456789ABCDEF01234567"
    row = world.send_command("ChangeConfiguration", {"key": "AuthorizationKey", "value": secret})
    assert row["payload"] == {"key": "AuthorizationKey", "value": "(redacted)"}
    if end == "expired":
        world.sql("update commands set expires_at = now()")
        world.heartbeat()
    elif end == "called off":
        world.sql("delete from commands")
    else:
        assert world.claim_one()["payload"]["value"] == secret
        world.connect()
        assert world.claim_one()["payload"]["value"] == secret  # again, over the next connection
        world.answer(row["id"], end, **({"payload": {"status": "Accepted"}} if end == "result" else {}))
    everything = world.sql(
        "select to_jsonb(c)::text as t from commands as c union all select to_jsonb(m)::text from ocpp_messages as m"
        " union all select to_jsonb(k)::text from station_configuration as k"
        " union all select payload::text from realtime.messages"
        " union all select payload::text from private.command_secrets"
    )
    assert secret not in json.dumps(everything)


@pytest.mark.parametrize(
    ("answer", "counts"),
    [("Accepted", "new"), ("RebootRequired", "new"), ("late", "new"), ("Rejected", "old"), ("NotSupported", "old")],
)
def test_key_that_the_station_took_is_its_password_and_the_old_one_no_more(
    world: World, answer: str, counts: str
) -> None:
    """OCPP-J 1.6 §6.2.2: once accepted the old key must not be accepted any more, else it must be."""
    keys = {"old": "11" * 20, "new": "22" * 20}
    world.rpc("service_role", "set_station_password", station_id=STATION, password=keys["old"])
    row = world.send_command("ChangeConfiguration", {"key": "AuthorizationKey", "value": keys["new"]})
    world.claim_one()
    if answer == "late":
        world.answer(row["id"], "timeout")
    world.answer(row["id"], "result", payload={"status": "Accepted" if answer == "late" else answer})
    for name, key in keys.items():
        reply = world.connect(basic_user=STATION, basic_key_hex=key)
        assert reply["connect"] == ("accepted" if name == counts else "unauthorized")
    assert world.count("private.command_secrets") == 0


@pytest.mark.parametrize("lost", ["connection", "timeout", "expired"])
def test_station_that_took_a_key_and_whose_answer_was_lost_is_not_locked_out(world: World, lost: str) -> None:
    old, new = "11" * 20, "22" * 20
    world.rpc("service_role", "set_station_password", station_id=STATION, password=old)
    row = world.send_command("ChangeConfiguration", {"key": "AuthorizationKey", "value": new})
    assert world.connect(basic_user=STATION, basic_key_hex=new)["connect"] == "unauthorized"  # not sent yet
    world.claim_one()
    if lost == "timeout":
        world.answer(row["id"], "timeout")
    else:
        world.ingest(world.event("disconnect", code=1006, reason=""))
    if lost == "expired":
        world.sql("update commands set expires_at = now()")
        world.heartbeat()
    # either may be the one that it has
    assert world.connect(basic_user=STATION, basic_key_hex=old)["connect"] == "accepted"
    assert world.connect(basic_user=OTHER_STATION, basic_key_hex=new)["connect"] == "unauthorized"
    assert world.connect(basic_user=STATION, basic_key_hex="33" * 20)["connect"] == "unauthorized"
    assert world.connect(basic_user=STATION, basic_key_hex=new)["connect"] == "accepted"
    assert world.connect(basic_user=STATION, basic_key_hex=old)["connect"] == "unauthorized"
    assert world.connect(basic_user=STATION, basic_key_hex=new)["connect"] == "accepted"
    command = world.command(row["id"])
    assert (command["status"], command["error"], command["late"]) == ("accepted", None, lost != "connection")
    assert command["effect_at"] is not None
    assert world.count("private.command_secrets") == 0
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    assert world.connect(basic_user=STATION, basic_key_hex=new)["connect"] == "accepted"


def test_key_that_was_sent_before_a_password_was_set_counts_no_more(world: World) -> None:
    world.rpc("service_role", "set_station_password", station_id=STATION, password="11" * 20)
    row = world.send_command("ChangeConfiguration", {"key": "AuthorizationKey", "value": "22" * 20})
    world.sql("update commands set created_at = now() - interval '1 minute'")
    world.claim_one()
    world.answer(row["id"], "timeout")
    world.rpc("service_role", "set_station_password", station_id=STATION, password="33" * 20)
    assert world.connect(basic_user=STATION, basic_key_hex="22" * 20)["connect"] == "unauthorized"


def test_key_sent_to_a_station_without_a_password_makes_none(world: World) -> None:
    row = world.send_command("ChangeConfiguration", {"key": "AuthorizationKey", "value": "22" * 20})
    world.claim_one()
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    assert world.connect()["connect"] == "accepted"


def test_key_whose_answer_is_late_waits_as_a_hash_for_a_day(world: World) -> None:
    key = "22" * 20
    world.rpc("service_role", "set_station_password", station_id=STATION, password="11" * 20)
    row = world.send_command("ChangeConfiguration", {"key": "AuthorizationKey", "value": key})
    world.claim_one()
    world.answer(row["id"], "timeout")
    assert key not in str(world.sql("select * from private.command_secrets"))
    for age, left in (("23 hours", 1), ("25 hours", 0)):
        world.sql("update commands set created_at = now() - %s::interval", age)
        world.heartbeat()
        assert world.count("private.command_secrets") == left


def test_late_answer_does_not_undo_a_password_set_meanwhile(world: World) -> None:
    world.rpc("service_role", "set_station_password", station_id=STATION, password="11" * 20)
    row = world.send_command("ChangeConfiguration", {"key": "AuthorizationKey", "value": "22" * 20})
    world.sql("update commands set created_at = now() - interval '1 minute'")
    world.claim_one()
    world.answer(row["id"], "timeout")
    world.rpc("service_role", "set_station_password", station_id=STATION, password="33" * 20)
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    assert world.connect(basic_user=STATION, basic_key_hex="33" * 20)["connect"] == "accepted"


def test_secrets_in_a_configuration_are_redacted(world: World) -> None:
    row = world.send_command("GetConfiguration")
    world.claim_one()
    world.answer(
        row["id"],
        "result",
        payload={"configurationKey": [{"key": "authorizationKey", "value": "s3cr3t", "readonly": False}]},
    )
    assert world.command(row["id"])["result"]["configurationKey"][0]["value"] == "(redacted)"
    assert "s3cr3t" not in json.dumps(world.sql("select to_jsonb(m)::text as t from ocpp_messages as m"))


# --- cancel_command ----------------------------------------------------------------------------------


def test_command_that_waits_is_called_off_and_never_sent(world: World) -> None:
    command = world.send_command("ChangeConfiguration", {"key": "AuthorizationKey", "value": "0" * 40})
    for _ in range(2):
        called_off = world.rpc(OPERATOR, "cancel_command", command_id=command["id"])
        assert (called_off["status"], called_off["error"]) == ("cancelled", "called off")
    assert world.claim() == []
    assert world.count("private.command_secrets") == 0


def test_command_that_was_sent_is_not_called_off(world: World) -> None:
    command = world.send_command("Reset")
    world.claim_one()
    with refused("OCSNT"):
        world.rpc(OPERATOR, "cancel_command", command_id=command["id"])
    world.answer(command["id"], "result", payload={"status": "Accepted"})
    with refused("OCSNT"):
        world.rpc(OPERATOR, "cancel_command", command_id=command["id"])


def test_command_that_would_be_sent_again_is_called_off_and_nobody_knows_whether_the_station_acted(
    world: World,
) -> None:
    command = world.send_command("UnlockConnector")
    world.claim_one()
    world.ingest(world.event("disconnect", code=1006))
    assert world.command(command["id"])["status"] == "queued"
    called_off = world.rpc(OPERATOR, "cancel_command", command_id=command["id"])
    assert (called_off["status"], "not known" in called_off["error"]) == ("timed_out", True)
    world.connect()
    assert world.claim() == []


def test_command_of_a_charge_is_called_off_with_the_charge(world: World) -> None:
    world.rpc(DRIVER, "start_charge", station_id=STATION)
    command = world.one("select id from commands")
    with refused("OCSNT"):
        world.rpc(OPERATOR, "cancel_command", command_id=command)


@pytest.mark.parametrize("who", [DRIVER, OTHER_OPERATOR])
def test_commands_of_others_are_not_called_off(world: World, who: UUID) -> None:
    command = world.send_command("Reset")
    with refused("OCCMD"):
        world.rpc(who, "cancel_command", command_id=command["id"])
    assert world.rpc(ADMIN, "cancel_command", command_id=command["id"])["status"] == "cancelled"
