"""What is sent to the private Realtime topics."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.sql.world import (
    ACCOUNT,
    BRIDGE,
    BRIDGE_ID,
    COMPANY,
    DRIVER,
    LOCATION,
    OPERATOR,
    OTHER_COMPANY,
    OTHER_LOCATION,
    OTHER_OPERATOR,
    OTHER_STATION,
    STATION,
    Row,
    World,
    refused,
)
from tests.support import acting_as


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


def test_each_step_of_a_command_that_had_to_wait_is_told_to_its_topic(world: World) -> None:
    row = world.send_command("Reset")
    world.sql("update commands set created_at = clock_timestamp() - interval '1 minute'")
    world.claim_one()
    world.answer(row["id"], "timeout")
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    steps = [m["payload"] for m in world.topics(f"command:{row['id']}")]
    assert [s["status"] for s in steps] == ["sent", "timed_out", "accepted", "accepted"]
    assert [s["late"] for s in steps] == [False, False, True, True]
    assert steps[-1]["effect_at"] is not None


def told_to_company(world: World) -> list[Any]:
    return [m["payload"] for m in world.topics(f"client:{COMPANY}") if m["event"] == "command"]


def test_company_hears_of_a_command_that_goes_out_at_once_with_its_answer(world: World) -> None:
    row = going_out(world)
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    world.heartbeat()
    queued, accepted = told_to_company(world)
    assert (queued["status"], accepted["status"]) == ("queued", "accepted")
    assert accepted["created_at"] < accepted["sent_at"]
    assert [m["payload"]["status"] for m in world.topics(f"command:{row['id']}")] == ["sent", "accepted"]


def test_company_hears_once_that_a_command_was_sent_and_waits_for_its_answer(world: World) -> None:
    going_out(world)
    world.sql("update commands set created_at = created_at - interval '4 s', sent_at = sent_at - interval '4 s'")
    world.sql("update private.live_pace set counted_at = counted_at - interval '2 s'")
    for _ in range(2):
        world.heartbeat()
        assert [step["status"] for step in told_to_company(world)] == ["queued", "sent"]


def test_bridge_is_woken_when_the_budget_is_used_up_and_nobody_else_is_told(world: World) -> None:
    transaction = world.begin(at=-60)
    overdraw(world, 100_000)
    world.sql("delete from realtime.messages")
    row = world.send_command("Reset")
    status(world, 1, "Charging")
    world.meter(-30, 2000, transaction=transaction)
    world.answer(world.claim_one()["command_id"], "result", payload={"status": "Accepted"})
    world.stop(transaction, 3000)
    assert [(m["topic"], m["payload"]["command_id"]) for m in world.topics("")] == [(f"bridge:{BRIDGE_ID}", row["id"])]


def test_people_who_wait_are_told_when_boards_and_maps_are_not_any_more(world: World) -> None:
    transaction = world.begin(at=-60)
    world.sql("delete from realtime.messages")
    overdraw(world, 50)
    row = going_out(world)
    for step in (
        lambda: status(world, 1, "Charging"),
        lambda: world.answer(row["id"], "result", payload={"status": "Accepted"}),
        lambda: world.stop(transaction, 3000),
    ):
        overdraw(world, 50)  # again, or a slow machine's time gives it back
        step()
    session = world.session(transaction)["id"]
    assert {m["topic"] for m in world.topics("")} == {
        f"bridge:{BRIDGE_ID}",
        f"command:{row['id']}",
        f"session:{session}",
    }


def test_messages_use_the_budget_up_and_time_brings_it_back(world: World) -> None:
    before = world.one("select last_value from private.live_messages")
    world.send_command()  # to the company, and to the bridge, which counts twice
    assert world.one("select last_value from private.live_messages") == before + 3
    overdraw(world, 100_000)
    assert world.one("select private.live_room()") < -300
    world.sql("update private.live_pace set counted_at = counted_at - interval '1000 s'")
    assert -334 < world.one("select private.live_room()") < -330
    full_budget(world)
    assert world.one("select private.live_room()") == 1  # a day without messages is no more than 2 s


def test_what_wake_ups_have_used_is_not_owed_for_long(world: World) -> None:
    overdraw(world, 100_000)
    world.heartbeat()
    assert world.one("select private.live_room()") >= -0.5


def test_meter_value_waits_until_half_of_the_budget_is_there(world: World) -> None:
    world.sql("update private.settings set live_update_interval = '0 s'")
    transaction = world.begin(at=-60)
    topic = f"session:{world.session(transaction)['id']}"
    world.meter(-50, 2000, transaction=transaction)
    overdraw(world, 100_000)
    world.meter(-40, 3000, transaction=transaction)
    world.heartbeat()
    assert [m["payload"]["energy"] for m in world.topics(topic)] == [1]
    world.sql("update charging_sessions set live_at = live_at - interval '1 s'")
    full_budget(world)
    world.heartbeat()
    assert [m["payload"]["energy"] for m in world.topics(topic)] == [1, 2]


def test_arrival_and_map_are_told_later_when_the_budget_is_used_up(world: World) -> None:
    world.sql("insert into stations (id, location_id) values ('NEW', %s)", LOCATION)
    world.sql("insert into connectors (station_id, number) values ('NEW', 1)")
    world.sql("delete from private.live_locations; delete from private.live_waiting")
    overdraw(world, 100_000)
    before = len(world.topics(""))
    world.connect("NEW")
    assert world.topics("")[before:] == []
    full_budget(world)
    world.heartbeat()
    told = {m["topic"]: m["payload"] for m in world.topics("")[before:]}
    assert told["station:NEW"]["online"] is True
    assert told[f"client:{COMPANY}"]["station_ids"] == ["NEW"]
    assert told[f"location:{LOCATION}"]["connectors_count"] == 3


def test_status_that_did_not_change_is_not_broadcast(world: World) -> None:
    before = len(world.topics("station:"))
    for status in ("Preparing", "Preparing", "Charging", "Charging"):
        world.send("StatusNotification", {"connectorId": 1, "status": status, "errorCode": "NoError"})
    assert [m["payload"]["status"] for m in world.topics("station:")[before:]] == ["Preparing", "Charging"]


def test_coming_is_told_at_once_and_going_when_the_station_stays_away(world: World) -> None:
    before = len(world.topics(f"station:{STATION}"))
    leave(world, seconds_ago=0)
    world.heartbeat()
    assert presence(world)[before:] == []  # it may come back at once
    leave(world, seconds_ago=11)
    world.heartbeat()
    assert presence(world)[before:] == [False]
    world.heartbeat()
    world.connect()
    assert presence(world)[before:] == [False, True]


def test_station_that_flaps_is_no_news(world: World) -> None:
    world.sql("delete from private.live_waiting")  # roll-ups of before
    before = len(world.topics(""))
    for _ in range(5):
        leave(world, seconds_ago=0)
        world.connect()
        world.heartbeat()
    assert world.topics("")[before:] == []


def test_station_of_a_dead_bridge_is_told_offline_by_the_next_bridge(world: World) -> None:
    before = len(world.topics(f"station:{STATION}"))
    world.sql("update private.bridges set lease_expires_at = now() - interval '1 s'")
    world.heartbeat("bridge-b", seen=[])
    assert presence(world)[before:] == [False]
    world.connect(bridge="bridge-b")
    assert presence(world)[before:] == [False, True]


def test_station_that_an_outage_made_look_away_is_told_online_again(world: World) -> None:
    before = len(world.topics(f"station:{STATION}"))
    world.sql("update private.bridges set lease_expires_at = now() - interval '1 s'")
    world.heartbeat("bridge-b", seen=[])
    world.heartbeat()  # its own bridge is back, and the socket was open all the time
    world.heartbeat()
    assert presence(world)[before:] == [False, True]


def test_company_is_told_once_of_all_the_stations_that_a_bridge_took_along(world: World) -> None:
    for number in range(3):
        world.sql("insert into stations (id, location_id) values (%s, %s)", f"MORE-{number}", LOCATION)
        world.connect(f"MORE-{number}")
    leave_all(world)
    before = len(world.topics("client:"))
    world.heartbeat("bridge-b", seen=[])
    told = {m["topic"]: m["payload"] for m in world.topics("client:")[before:]}
    assert len(world.topics("client:")) == before + 2  # a company each
    assert told[f"client:{COMPANY}"]["station_ids"] == ["MORE-0", "MORE-1", "MORE-2", STATION]
    assert told[f"client:{COMPANY}"]["online"] is False


def test_stations_of_a_big_bridge_are_told_a_few_at_a_time(world: World) -> None:
    for number in range(6):
        world.sql("insert into stations (id) values (%s)", f"MORE-{number}")
        world.connect(f"MORE-{number}")
    leave_all(world)
    for away in (3, 6, 8):
        full_budget(world, 3)
        world.heartbeat("bridge-b", seen=[])
        assert world.count("private.station_presence", "not online") == away


def test_location_gets_a_roll_up(world: World) -> None:
    world.sql("insert into stations (id, location_id, status) values ('HIDDEN', %s, 'inactive')", LOCATION)
    world.sql("insert into connectors (station_id, number) values ('HIDDEN', 1)")
    world.sql("insert into stations (id, location_id) values ('AWAY', %s)", LOCATION)
    world.sql("insert into connectors (station_id, number, status) values ('AWAY', 1, 'Available')")
    world.sql("update connectors set type = 'Type2' where station_id = %s", STATION)
    status(world, 1, "Charging")
    status(world, 2, "Available")
    world.sql("delete from private.live_locations")  # the last roll-up is long ago
    world.heartbeat()
    message = world.topics(f"location:{LOCATION}")[-1]
    assert (message["event"], message["private"]) == ("location", True)
    roll_up = message["payload"]
    connectors = roll_up.pop("connectors")
    assert roll_up.pop("id")
    assert roll_up == {
        "location_id": str(LOCATION),
        "stations_count": 2,
        "connectors_count": 3,
        "connectors_free": 1,
        "connectors_in_use": 1,
        "connectors_faulted": 0,
        "connectors_unavailable": 0,
        "connectors_offline": 1,
    }
    assert connectors == [
        connector("AWAY", 1, "Available", "offline", type=None, power=None),
        connector(STATION, 1, "Charging", "in_use", type="Type2", power=22),
        connector(STATION, 2, "Available", "free", type="Type2", power=22),
    ]


def test_roll_up_says_what_the_view_says(world: World) -> None:
    status(world, 1, "Faulted")
    world.sql("delete from private.live_locations")
    world.heartbeat()
    roll_up = world.topics(f"location:{LOCATION}")[-1]["payload"]
    (view,) = world.sql("select * from location_overview where id = %s", LOCATION)
    counts = [name for name in roll_up if name.endswith("_count") or name.startswith("connectors_")]
    assert {name: view[name] for name in counts} == {name: roll_up[name] for name in counts}
    assert (roll_up["connectors_faulted"], roll_up["connectors_free"]) == (1, 1)


def test_roll_up_of_a_location_without_stations_counts_none(world: World) -> None:
    world.sql("delete from private.live_locations")
    world.sql("delete from connectors where station_id = %s", OTHER_STATION)
    world.sql("delete from stations where id = %s", OTHER_STATION)
    world.sql("delete from private.live_locations")
    world.heartbeat()
    payload = world.topics(f"location:{OTHER_LOCATION}")[-1]["payload"]
    assert (payload["stations_count"], payload["connectors_count"], payload["connectors"]) == (0, 0, [])


def test_changes_at_a_location_within_the_interval_are_gathered(world: World) -> None:
    world.sql("delete from private.live_locations; delete from private.live_waiting")
    before = len(world.topics("location:"))
    status(world, 1, "Preparing")
    assert [states(m) for m in world.topics("location:")[before:]] == [["Preparing", None]]
    for number, name in ((1, "Charging"), (2, "Preparing"), (2, "Charging")):
        status(world, number, name)
    assert len(world.topics("location:")) == before + 1
    world.sql("update private.live_locations set told_at = told_at - interval '2 s'")
    world.heartbeat()
    assert [states(m) for m in world.topics("location:")[before + 1 :]] == [["Charging", "Charging"]]
    assert world.count("private.live_waiting") == 0
    world.sql("update private.live_locations set told_at = told_at - interval '2 s'")
    world.heartbeat()
    assert len(world.topics("location:")) == before + 2


def test_location_that_another_transaction_tells_of_is_not_waited_for(
    shared_db: psycopg.Connection[Any], world: World
) -> None:
    location = UUID("10000000-0000-4000-8000-000000000003")
    with psycopg.connect(shared_db.info.dsn, password=shared_db.info.password) as other:
        other.execute("select pg_advisory_xact_lock(hashtextextended('location ' || %s, 0))", [str(location)])
        world.sql("set local lock_timeout = '1s'")
        world.sql("insert into locations (id, name) values (%s, 'New')", location)
        world.sql("insert into stations (id, location_id) values ('NEW', %s)", location)
        world.heartbeat()
        assert world.topics(f"location:{location}") == []
    world.heartbeat()
    (roll_up,) = world.topics(f"location:{location}")
    assert roll_up["payload"]["stations_count"] == 1


def test_station_that_moves_is_told_at_both_locations(world: World) -> None:
    world.sql("delete from private.live_locations")
    before = len(world.topics("location:"))
    world.sql("update stations set location_id = %s where id = %s", OTHER_LOCATION, STATION)
    counts = {m["topic"]: m["payload"]["stations_count"] for m in world.topics("location:")[before:]}
    assert counts == {f"location:{LOCATION}": 0, f"location:{OTHER_LOCATION}": 2}


def test_station_taken_out_of_service_is_told_by_its_operator(world: World) -> None:
    with acting_as(world.db, OPERATOR):
        world.sql("update stations set status = 'maintenance' where id = %s", STATION)
    for topic in (f"station:{STATION}", f"client:{COMPANY}"):
        message = world.topics(topic)[-1]
        assert (message["event"], message["payload"]["status"]) == ("station", "maintenance")
    before = len(world.topics(""))
    world.sql("update stations set model = 'another' where id = %s", STATION)
    assert len(world.topics("")) == before


def test_company_hears_of_the_steps_of_its_sessions_and_of_no_meter_values(world: World) -> None:
    world.sql("update private.settings set live_update_interval = '0 s'")
    transaction = world.begin(at=-60)
    for n in range(3):
        world.meter(-30 + n, 2000 + n * 100, transaction=transaction)
    world.stop(transaction, 3000)
    session = str(world.session(transaction)["id"])
    steps = [m["payload"] for m in world.topics(f"client:{COMPANY}") if m["event"] == "session"]
    assert [(s["session_id"], s["status"]) for s in steps] == [(session, "started"), (session, "stopped")]
    assert steps[-1]["receipt"]["cost"] == 30
    assert len(world.topics(f"session:{session}")) == 4
    assert world.topics(f"client:{OTHER_COMPANY}") == presence_of(world, OTHER_COMPANY)


def test_limit_that_is_reached_is_told_at_once(world: World) -> None:
    world.sql("update clients set credit_limit = 1000 where id = %s", ACCOUNT)
    session = world.rpc(DRIVER, "start_charge", station_id=STATION, connector_id=1, limit_energy_kwh=1)
    transaction = world.begin(at=-60, tag=session["id_tag"])
    world.meter(-30, 1100, transaction=transaction)
    world.meter(-29, 2000, transaction=transaction)
    for topic in (f"session:{session['id']}", f"client:{COMPANY}"):
        last = [m["payload"] for m in world.topics(topic) if m["event"] == "session"][-1]
        assert last["limit_reached_at"] is not None, topic
        assert (last["limit_energy_kwh"], last["energy"], last["unpaid_amount"]) == (1, 1, 0)
    (warning,) = [m["payload"] for m in world.topics(f"session:{session['id']}") if m["event"] == "limit_warning"]
    assert (warning["session_id"], warning["limit"]) == (session["id"], "energy")


def test_company_hears_of_connectors_and_of_the_life_of_commands(world: World) -> None:
    status(world, 1, "Faulted", "GroundFailure")
    row = going_out(world)
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    told = world.topics(f"client:{COMPANY}")
    (fault,) = [m["payload"] for m in told if m["event"] == "connector"]
    assert (fault["station_id"], fault["number"], fault["error_code"]) == (STATION, 1, "GroundFailure")
    assert [m["payload"]["status"] for m in told if m["event"] == "command"] == ["queued", "accepted"]


def test_station_without_a_location_has_no_company_to_tell(world: World) -> None:
    world.sql("insert into stations (id) values ('LONELY')")
    world.connect("LONELY")
    before = len(world.topics("client:"))
    world.send("StatusNotification", {"connectorId": 1, "status": "Available", "errorCode": "NoError"}, "LONELY")
    assert world.topics("station:LONELY")[-1]["payload"]["status"] == "Available"
    assert len(world.topics("client:")) == before


@pytest.mark.parametrize("kind", ["session", "station", "location", "command", "client"])
def test_kind_of_topic_that_is_switched_off_is_not_written(world: World, kind: str) -> None:
    world.sql("update private.settings set live_update_interval = '0 s'")
    world.sql("update private.settings set live_topics = array_remove(live_topics, %s)", kind)
    world.sql("delete from private.live_locations; delete from realtime.messages")
    transaction = world.begin(at=-60)
    world.meter(-30, 2000, transaction=transaction)
    status(world, 1, "Charging")
    row = going_out(world)
    world.answer(row["id"], "result", payload={"status": "Accepted"})
    kinds = {m["topic"].split(":")[0] for m in world.topics("")}
    assert kinds == {"session", "station", "location", "command", "client", "bridge"} - {kind}


def test_more_sessions_than_the_budget_allows_for_are_told_less_often(world: World) -> None:
    world.sql("update private.settings set live_messages_per_s = 1, live_update_interval = '1 s'")
    transaction = world.begin(at=-60)
    for number in range(3, 22):
        world.begin(at=-60, tag=f"CARD-{number}", connector=number, meter=number)
    topic = f"session:{world.session(transaction)['id']}"
    world.meter(-30, 2000, transaction=transaction)
    world.heartbeat()  # 20 sessions, one message a second
    world.sql("update charging_sessions set live_at = live_at - interval '19 s'")
    world.meter(-29, 3000, transaction=transaction)
    world.heartbeat()
    assert [m["payload"]["energy"] for m in world.topics(topic)] == [1]
    world.sql("update charging_sessions set live_at = live_at - interval '2 s'")
    world.meter(-28, 4000, transaction=transaction)
    assert [m["payload"]["energy"] for m in world.topics(topic)] == [1, 3]


def test_operator_has_a_connection_closed(world: World) -> None:
    assert world.rpc(OPERATOR, "disconnect_station", station_id=STATION.lower()) is not None
    (hint,) = [m for m in world.topics(f"bridge:{BRIDGE_ID}") if m["event"] == "disconnect"]
    assert {k: hint["payload"][k] for k in ("connection_id", "station_id")} == {
        "connection_id": world.connections[STATION],
        "station_id": STATION,
    }
    assert world.heartbeat()["close"] == [world.connections[STATION]]  # the hint may have been lost
    world.connect()
    assert world.heartbeat()["close"] == []


def test_station_that_is_offline_cannot_be_disconnected(world: World) -> None:
    leave(world, seconds_ago=0)
    with refused("OCOFF"):
        world.rpc(OPERATOR, "disconnect_station", station_id=STATION)


@pytest.mark.parametrize(
    ("who", "station", "code"),
    [
        (DRIVER, STATION, "OCPRM"),
        (BRIDGE, STATION, "OCPRM"),
        (OTHER_OPERATOR, STATION, "OCPRM"),
        (OPERATOR, "NO-SUCH", "OCSTA"),
        (OPERATOR, None, "OCSTA"),
    ],
)
def test_only_the_operators_of_a_station_disconnect_it(world: World, who: UUID, station: str | None, code: str) -> None:
    with refused(code):
        world.rpc(who, "disconnect_station", station_id=station)
    assert world.heartbeat()["close"] == []


# --- what the tests above do and look at
def leave(world: World, seconds_ago: float) -> None:
    """The socket of STATION has closed."""
    world.ingest(world.event("disconnect", code=1006, reason=""))
    world.connections.pop(STATION, None)
    world.sql(
        "update private.station_connections set disconnected_at = now() - make_interval(secs => %s)"
        " where station_id = %s and disconnected_at is not null",
        seconds_ago,
        STATION,
    )


def leave_all(world: World) -> None:
    """The bridge is gone, and all its stations with it."""
    world.sql("update private.bridges set lease_expires_at = now() - interval '1 s'")


def going_out(world: World) -> Row:
    """A command that the station gets at once."""
    row = world.send_command("Reset")
    world.sql("update commands set created_at = clock_timestamp() where id = %s", row["id"])
    world.claim_one()
    return row


def overdraw(world: World, messages: int) -> None:
    """So many more than the 60 a second have been sent; of 60 it is a second until there is room again."""
    world.sql("update private.settings set live_budget_per_s = 60")
    world.sql(
        "update private.live_pace set counted_at = clock_timestamp(),"
        " counted_until = (select last_value from private.live_messages) - %s",
        messages,
    )


def full_budget(world: World, per_s: int = 60) -> None:
    world.sql("update private.settings set live_budget_per_s = %s", per_s)
    world.sql("update private.live_pace set counted_at = clock_timestamp() - interval '1 day'")


def presence(world: World) -> list[bool]:
    return [m["payload"]["online"] for m in world.topics(f"station:{STATION}") if m["event"] == "presence"]


def presence_of(world: World, company: UUID) -> list[Row]:
    return [m for m in world.topics(f"client:{company}") if m["event"] == "presence"]


def status(world: World, number: int, name: str, error: str = "NoError") -> None:
    world.send("StatusNotification", {"connectorId": number, "status": name, "errorCode": error})


def states(message: Row) -> list[str | None]:
    """The connectors of STATION as a roll-up shows them."""
    return [c["status"] for c in message["payload"]["connectors"] if c["station_id"] == STATION]


def connector(station: str, number: int, status: str, availability: str, **more: object) -> Row:
    return {"station_id": station, "number": number, "status": status, "availability": availability, **more}
