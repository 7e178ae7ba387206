"""What is sent to the private Realtime topics."""

from __future__ import annotations

from tests.sql.world import BRIDGE_ID, STATION, World


def test_bridge_that_holds_the_station_is_woken(world: World) -> None:
    row = world.send_command()
    (wake,) = world.topics("bridge:")
    assert (wake["topic"], wake["event"], wake["private"]) == (f"bridge:{BRIDGE_ID}", "command", True)
    assert {k: wake["payload"][k] for k in ("command_id", "station_id")} == {
        "command_id": row["id"],
        "station_id": STATION,
    }


def test_bridge_is_woken_again_when_a_command_is_queued_again(world: World) -> None:
    world.send_command()
    world.claim_one()
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
    world.send_command()
    assert world.topics("bridge:") == []


def test_each_step_of_a_command_is_told_to_its_topic(world: World) -> None:
    row = world.send_command("Reset")
    world.claim_one()
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
