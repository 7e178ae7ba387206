"""The charge that a person starts and stops (field notes 20)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.sql.world import ACCOUNT, ADMIN, DRIVER, OPERATOR, OTHER_DRIVER, OTHER_OPERATOR, STATION, World, refused

Json = Any


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
    command = world.claim_one()
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
    world.answer(world.claim_one()["command_id"], outcome, **fields)
    row = world.session(session["transaction_id"])
    assert row["status"] == "error"
    assert row["error"].startswith("the station")
    assert world.topics(f"session:{session['id']}")[-1]["payload"]["status"] == "error"
    assert start_charge(world)["id"] != session["id"]


def test_accepted_start_waits_for_the_start_transaction_as_long_as_set(world: World) -> None:
    session = start_charge(world)
    world.answer(world.claim_one()["command_id"], "result", payload={"status": "Accepted"})
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
    world.answer(world.claim_one()["command_id"], "result", payload={"status": "Accepted"})
    world.begin(at=0, tag=session["id_tag"])
    for _ in range(3):
        assert world.rpc(DRIVER, "stop_charge", session_id=session["id"])["status"] == "started"
    command = world.claim_one()
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
    world.answer(world.claim_one()["command_id"], "result", payload={"status": "Rejected"})
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
    assert world.claim_one()["action"] == "RemoteStopTransaction"
