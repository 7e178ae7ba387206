"""StartTransaction (OCPP 1.6 §4.8; field notes 11, 15 to 17, 19, 20)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from tests.sql.world import ACCOUNT, CARD, DRIVER, OTHER_STATION, STATION, World, connected, iso, sampled

FLEET = UUID("c0000000-0000-4000-8000-0000000000f1")


@pytest.mark.parametrize(
    ("tag", "change", "status"),
    [
        (CARD, "true", "Accepted"),
        ("NOBODYS", "true", "Invalid"),
        (CARD, "update id_tags set status = 'Blocked'", "Blocked"),
        (CARD, "update id_tags set expiry_date = now() - interval '1 s'", "Expired"),
        (CARD, "update id_tags set expiry_date = now() + interval '1 day'", "Accepted"),
        (CARD, "update users set is_active = false where role = 'driver'", "Blocked"),
        (CARD, "update clients set status = 'blocked' where kind = 'account'", "Blocked"),
        ("A-TAG-LONGER-THAN-THE-TWENTY-CHARACTERS-OF-OCPP", "true", "Invalid"),
        (None, "true", "Invalid"),
    ],
)
def test_start_is_recorded_whatever_the_status_of_its_tag(
    world: World, tag: str | None, change: str, status: str
) -> None:
    world.sql(change if change != "true" else "select")
    answer = world.start(tag=tag)
    assert answer["idTagInfo"]["status"] == status
    session = world.session(answer["transactionId"])
    assert (session["status"], session["id_tag"], session["meter_start_wh"]) == ("started", tag, 1000)
    assert ("id_tag_refused" in session["flags"]) == (status != "Accepted")


@pytest.mark.parametrize("written", [" 04AABBCC", "04AABBCC\t", "04AABBCC \r\n"])
def test_tag_with_the_blanks_of_a_spreadsheet_is_the_tag(world: World, written: str) -> None:
    world.sql("insert into id_tags (id_tag, parent_id_tag) values (%s, %s)", written, " FLEET ")
    assert world.start(tag="04aabbcc")["idTagInfo"] == {"status": "Accepted", "parentIdTag": "FLEET"}


@pytest.mark.parametrize(
    ("gone", "card", "status"),
    [
        ("delete from auth.users where email = 'driver@example.org'", {"user_id": DRIVER}, "Invalid"),
        (
            "delete from auth.users where email = 'driver@example.org'",
            {"user_id": DRIVER, "client_id": ACCOUNT},
            "Accepted",
        ),
        ("delete from clients where name = 'Fleet'", {"client_id": FLEET}, "Invalid"),
        ("delete from clients where name = 'Fleet'", {"client_id": FLEET, "user_id": DRIVER}, "Invalid"),
        ("delete from clients where name = 'Fleet'", {"user_id": DRIVER}, "Accepted"),
    ],
)
def test_tag_does_not_outlive_who_pays_for_it(world: World, gone: str, card: dict[str, object], status: str) -> None:
    world.sql("insert into clients (id, name) values (%s, 'Fleet')", FLEET)
    world.sql(
        "insert into id_tags (id_tag, user_id, client_id) values ('THE-CARD', %s, %s)",
        card.get("user_id"),
        card.get("client_id"),
    )
    world.sql(gone)
    assert world.start(tag="THE-CARD")["idTagInfo"]["status"] == status


def test_ids_are_positive_and_unique(world: World) -> None:
    ids = [world.begin(at=-60 + n, connector=n + 1) for n in range(5)]
    assert len(set(ids)) == 5
    assert all(0 < i < 2**31 for i in ids)


def test_group_and_expiry_of_the_tag_are_told_to_the_station(world: World) -> None:
    world.sql("update id_tags set parent_id_tag = 'FAMILY', expiry_date = '2100-01-01T00:00:00Z'")
    assert world.start()["idTagInfo"] == {
        "status": "Accepted",
        "parentIdTag": "FAMILY",
        "expiryDate": "2100-01-01T00:00:00Z",
    }


def test_session_belongs_to_the_owner_of_the_tag_and_to_who_pays_for_them(world: World) -> None:
    session = world.session(world.begin(tag=CARD.lower()))
    assert session["user_id"] == DRIVER
    assert session["client_id"] == world.one("select client_id from users where id = %s", DRIVER)


def test_unknown_tags_may_charge_where_the_bridge_says_so(world: World) -> None:
    world.heartbeat(unknown_id_tags="accept")
    assert world.start(tag="NOBODYS")["idTagInfo"] == {"status": "Accepted"}


@pytest.mark.parametrize("received", [-60, -59, 0, 24 * 60])
def test_repeat_gets_the_first_answer_verbatim(world: World, received: float) -> None:
    first = world.start(at=-60)
    world.sql("update id_tags set status = 'Blocked'")
    assert world.start(at=-60, received=received) == first
    assert len(world.sessions()) == 1


def test_repeat_in_other_spelling_of_tag_and_register_and_over_another_connection_is_a_repeat(world: World) -> None:
    first = world.start(tag="04A1B2C3D4E5F6", meter=1000)
    world.connect()
    assert world.start(tag="04a1b2c3d4e5f6", meter="1000.0") == first
    assert len(world.sessions()) == 1


def test_repeat_after_the_stop_gets_the_first_answer(world: World) -> None:
    first = world.start()
    world.stop(first["transactionId"], 2000)
    assert world.start() == first
    assert len(world.sessions()) == 1


@pytest.mark.parametrize("difference", [{"at": -59}, {"meter": 1001}, {"connector": 2}, {"tag": "OTHER"}])
def test_what_differs_in_one_field_of_the_key_is_another_transaction(
    world: World, difference: dict[str, object]
) -> None:
    first = world.begin()
    assert world.begin(**difference) != first


def test_same_start_at_two_stations_is_two_transactions(world: World) -> None:
    assert world.begin(station=STATION) != world.begin(station=OTHER_STATION)


# --- clocks ------------------------------------------------------------------------------------------


def test_clock_of_1970_is_replaced_by_the_time_of_arrival_and_later_times_are_corrected_by_as_much(
    world: World,
) -> None:
    transaction = world.begin(at=-60, timestamp="1970-01-01T00:00:10Z")
    world.meter(-30, 3000, transaction=transaction, timestamp="1970-01-01T00:30:10Z")
    session = world.session(transaction)
    assert (session["start_time"], session["energy"]) == (world.at(-60), 2)
    assert session["meter_last_at"] + session["clock_offset"] == world.at(-30)
    world.stop(transaction, 5000, timestamp="1970-01-01T01:00:10Z", received=60)  # queued for an hour
    session = world.session(transaction)
    assert (session["stop_time"], session["energy"], session["amount"]) == (world.at(0), 4, 60)
    assert session["flags"] == ["clock_wrong"]


def test_clock_that_stands_still_in_1970_gives_times_of_arrival(world: World) -> None:
    still = "1970-01-01T00:00:00Z"
    transaction = world.begin(at=-60, timestamp=still)
    world.meter(-30, 3000, transaction=transaction, timestamp=still)
    world.meter(-10, 5000, transaction=transaction, timestamp=still)
    assert world.session(transaction)["energy"] == 4
    world.stop(transaction, 6000, timestamp=still, received=0)
    session = world.session(transaction)
    assert (session["start_time"], session["stop_time"], session["energy"]) == (world.at(-60), world.at(0), 5)
    assert session["flags"] == ["clock_wrong"]


def test_clock_that_is_set_right_during_the_transaction_is_believed_from_then_on(world: World) -> None:
    transaction = world.begin(at=-60, timestamp="1970-01-01T00:00:10Z")
    world.meter(-30, 3000, transaction=transaction)
    session = world.session(transaction)
    assert session["meter_last_at"] + session["clock_offset"] == world.at(-30)
    world.stop(transaction, 5000, at=-5, received=0)
    assert world.session(transaction)["stop_time"] == world.at(-5)


def test_clock_that_goes_back_to_1970_during_the_transaction_does_not_hold_up_its_values(world: World) -> None:
    transaction = world.begin(at=-60)
    world.meter(-40, 2000, transaction=transaction)
    world.meter(-20, 3000, transaction=transaction, timestamp="1970-01-01T00:00:10Z")
    assert world.session(transaction)["energy"] == 2
    world.stop(transaction, 4000, timestamp="1970-01-01T00:20:10Z", received=0)
    assert world.session(transaction)["stop_time"] == world.at(0)


def test_each_charge_of_a_station_whose_clock_always_says_the_same_is_a_transaction_of_its_own(world: World) -> None:
    """Session-relative registers and a dead clock: three StartTransactions that look alike, the second repeated."""
    still = {"timestamp": "1970-01-01T00:00:00Z", "meter": 0}
    first = world.begin(received=-60, **still)
    world.stop(first, 5000, timestamp="1970-01-01T00:00:00Z", received=-50)
    second = world.begin(received=-40, **still)
    assert world.begin(received=-39, **still) == second
    world.stop(second, 7000, timestamp="1970-01-01T00:00:00Z", received=-30)
    third = world.begin(received=-20, **still)
    assert world.begin(received=-20, **still) == third
    assert len({first, second, third}) == 3
    assert [s["energy"] for s in world.sessions()] == [5, 7, 0]
    assert world.begin(received=-60, **still) == first  # the bridge sends its request again
    assert world.begin(received=-40, **still) == second


@pytest.mark.parametrize(
    ("stamp", "zone"),
    [
        ("%Y-%m-%dT%H:%M:%SZ", "UTC"),
        ("%Y-%m-%dT%H:%M:%S", "UTC"),
        ("%Y-%m-%dT%H:%M:%S.123456789Z", "UTC"),
        ("%Y-%m-%dT%H:%M:%S,5Z", "UTC"),
        ("%Y-%m-%d %H:%M:%S+00", "UTC"),
        ("%Y-%m-%dT%H:%M:%S+00:00", "UTC"),
        ("%Y-%m-%dt%H:%M:%Sz", "UTC"),
    ],
)
def test_time_stamps_in_every_spelling_are_understood(world: World, stamp: str, zone: str) -> None:
    world.sql("update stations set clock_time_zone = %s", zone)
    session = world.session(world.begin(timestamp=world.at(-90).strftime(stamp), received=0))
    assert abs(session["start_time"] - world.at(-90)) < timedelta(seconds=1)
    assert session["reported_start"] == world.at(-90).strftime(stamp)
    assert session["flags"] == []


def test_offset_of_hours_alone_is_understood(world: World) -> None:
    local = (world.at(-90) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02")
    assert world.session(world.begin(timestamp=local, received=0))["start_time"] == world.at(-90)


def test_time_without_a_zone_is_read_in_the_zone_of_the_stations_clock(world: World) -> None:
    world.sql("update stations set clock_time_zone = 'Asia/Bishkek'")
    local = (world.at(-90) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%S")
    assert world.session(world.begin(timestamp=local, received=0))["start_time"] == world.at(-90)


def test_local_time_marked_as_utc_is_found_out_where_it_lies_in_the_future(world: World) -> None:
    """steve#136: Bishkek's wall clock with a Z."""
    ahead = 6 * 60
    transaction = world.begin(at=-60, timestamp=iso(world.at(-60 + ahead)))
    world.meter(-30, 2000, transaction=transaction, timestamp=iso(world.at(-30 + ahead)))
    world.stop(transaction, 3000, timestamp=iso(world.at(ahead)), received=0)
    session = world.session(transaction)
    assert (session["start_time"], session["stop_time"]) == (world.at(-60), world.at(0))
    assert session["clock_offset"] == timedelta(hours=-6)


@pytest.mark.parametrize(
    "stamp", [None, "", "yesterday", 5, "2026-13-45T99:99:99Z", "0000-00-00T00:00:00Z", [], {}, True]
)
def test_unreadable_time_is_that_of_arrival(world: World, stamp: object) -> None:
    session = world.session(world.begin(at=-60, timestamp=stamp))
    assert session["start_time"] == world.at(-60)


def test_start_that_was_queued_for_days_keeps_its_time(world: World) -> None:
    session = world.session(world.begin(at=-5 * 24 * 60, received=0))
    assert (session["start_time"], session["flags"]) == (world.at(-5 * 24 * 60), [])


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"connectorId": "one", "idTag": ["x"], "meterStart": {}, "timestamp": {}},
        {"connectorId": -1, "meterStart": "NaN"},
        {"connectorId": 1.5, "meterStart": 10**30},
        {"connectorId": 10**12, "meterStart": -5, "reservationId": "soon"},
    ],
)
def test_start_full_of_rubbish_still_gets_a_transaction(world: World, payload: dict[str, object]) -> None:
    answer = world.send("StartTransaction", payload)
    session = world.session(answer["transactionId"])
    assert session["status"] == "started"
    assert "connector_impossible" in session["flags"]
    assert world.stop(answer["transactionId"], 500) == {}
    assert world.session(answer["transactionId"])["status"] == "stopped"


def test_reservation_is_noted(world: World) -> None:
    assert world.session(world.begin(reservationId=7))["reservation_id"] == 7


# --- bound to the session that a person asked for ----------------------------------------------------


def ask(world: World, send: bool = True, accept: bool = True, **args: object) -> dict[str, object]:
    """A driver presses start; the command goes out and is accepted."""
    session: dict[str, object] = world.rpc(DRIVER, "start_charge", station_id=STATION, **args)
    if send:
        (command,) = world.claim()
        if accept:
            world.answer(command["command_id"], "result", payload={"status": "Accepted"})
    return session


def test_start_is_bound_to_the_pending_session_by_its_tag(world: World) -> None:
    pending = ask(world, connector_id=1, limit_amount=300)
    assert pending["status"] == "pending"
    assert len(str(pending["id_tag"])) == 14
    assert world.send("Authorize", {"idTag": str(pending["id_tag"]).lower()}) == {"idTagInfo": {"status": "Accepted"}}
    answer = world.start(at=0, tag=str(pending["id_tag"]).lower())
    assert answer == {"transactionId": pending["transaction_id"], "idTagInfo": {"status": "Accepted"}}
    session = world.session(answer["transactionId"])
    assert (session["user_id"], session["limit_amount"], session["status"]) == (DRIVER, 300, "started")
    assert world.one("select effect_at is not null from commands")


def test_generated_tag_is_worth_nothing_elsewhere(world: World) -> None:
    pending = ask(world)
    info = {"idTagInfo": {"status": "Invalid"}}
    assert world.send("Authorize", {"idTag": pending["id_tag"]}, station=OTHER_STATION) == info
    assert world.start(at=0, tag=pending["id_tag"], station=OTHER_STATION)["idTagInfo"] == info["idTagInfo"]


def test_start_on_another_connector_than_asked_for_is_bound_and_moves_the_session(world: World) -> None:
    pending = ask(world, connector_id=1)
    answer = world.start(at=0, tag=pending["id_tag"], connector=2)
    assert answer["transactionId"] == pending["transaction_id"]
    assert world.session(answer["transactionId"])["connector_id"] == 2


def test_start_without_a_connector_keeps_the_connector_asked_for(world: World) -> None:
    pending = ask(world, connector_id=2)
    answer = world.start(at=0, tag=pending["id_tag"], connector=None)
    assert world.session(answer["transactionId"])["connector_id"] == 2


@pytest.mark.parametrize("mangled", ["{tag}\x00\x01", " {tag} ", "{tag}_1;", "XX", "{tag:.10}"])
@pytest.mark.parametrize("accepted", [True, False])
def test_mangled_tag_is_bound_by_connector_and_waiting_command(world: World, mangled: str, accepted: bool) -> None:
    pending = ask(world, connector_id=1, accept=accepted)
    text = mangled.replace("{tag:.10}", str(pending["id_tag"])[:10]).replace("{tag}", str(pending["id_tag"]))
    text = text.replace("\x00", "\x02")
    answer = world.start(at=0, tag=text, connector=1)
    assert answer == {"transactionId": pending["transaction_id"], "idTagInfo": {"status": "Accepted"}}


def test_strange_tag_is_not_bound_where_any_tag_may_charge(world: World) -> None:
    world.heartbeat(unknown_id_tags="accept")
    pending = ask(world, connector_id=1)
    assert world.begin(at=0, tag="SOMEONE-ELSE", connector=1) != pending["transaction_id"]


def test_mangled_tag_is_bound_also_where_any_tag_may_charge(world: World) -> None:
    world.heartbeat(unknown_id_tags="accept")
    pending = ask(world, connector_id=1)
    assert world.begin(at=0, tag=f"{pending['id_tag']}_2", connector=1) == pending["transaction_id"]


def test_known_card_is_not_taken_for_a_mangled_tag(world: World) -> None:
    """Somebody's blocked card at the connector must not charge on the account of who asked by app."""
    pending = ask(world, connector_id=1)
    world.sql("insert into id_tags (id_tag, status) values ('BLOCKED-CARD', 'Blocked')")
    answer = world.start(at=0, tag="BLOCKED-CARD", connector=1)
    assert answer["transactionId"] != pending["transaction_id"]
    assert answer["idTagInfo"]["status"] == "Blocked"


def test_strange_tag_at_another_connector_or_before_the_command_went_out_is_not_bound(world: World) -> None:
    pending = ask(world, send=False, connector_id=1)
    assert world.begin(at=0, tag="XX", connector=1) != pending["transaction_id"]
    world.claim()
    assert world.begin(at=0, tag="YY", connector=2) != pending["transaction_id"]


def test_late_start_after_the_pending_session_failed_is_still_bound(world: World) -> None:
    pending = ask(world, connector_id=1)
    world.sql("update charging_sessions set expires_at = now() - interval '1 s'")
    world.heartbeat()
    assert world.session(int(str(pending["transaction_id"])))["status"] == "error"
    answer = world.start(at=0, tag=pending["id_tag"])
    assert answer == {"transactionId": pending["transaction_id"], "idTagInfo": {"status": "Accepted"}}
    session = world.session(answer["transactionId"])
    assert (session["status"], session["error"], session["user_id"]) == ("started", None, DRIVER)


def test_start_after_the_driver_called_off_is_bound_to_them_and_stopped_at_once(world: World) -> None:
    pending = ask(world, send=False, connector_id=1)
    assert world.rpc(DRIVER, "stop_charge", session_id=pending["id"])["status"] == "stopped"
    answer = world.start(at=0, tag=pending["id_tag"])  # the command was out before, on a connection that broke
    assert answer["transactionId"] == pending["transaction_id"]
    (command,) = world.claim()
    assert (command["action"], command["payload"]) == (
        "RemoteStopTransaction",
        {"transactionId": answer["transactionId"]},
    )
    world.stop(answer["transactionId"], 1100)
    session = world.session(answer["transactionId"])
    assert (session["status"], session["user_id"], session["amount"]) == ("stopped", DRIVER, Decimal("1.50"))


def test_driver_who_called_off_after_the_command_went_out_gets_the_charge_stopped_when_it_begins(world: World) -> None:
    pending = ask(world, connector_id=1)
    assert world.rpc(DRIVER, "stop_charge", session_id=pending["id"])["status"] == "pending"
    world.begin(at=0, tag=pending["id_tag"])
    assert [c["action"] for c in world.claim()] == ["RemoteStopTransaction"]


def test_called_off_charge_that_never_begins_ends_as_stopped(world: World) -> None:
    pending = ask(world, connector_id=1)
    world.rpc(DRIVER, "stop_charge", session_id=pending["id"])
    world.sql("update charging_sessions set expires_at = now() - interval '1 s'")
    world.heartbeat()
    assert world.session(int(str(pending["transaction_id"])))["status"] == "stopped"


# --- the transaction before ------------------------------------------------------------------------


def test_newer_start_ends_the_former_provisionally_at_its_last_register(world: World) -> None:
    lost = world.begin(at=-60)
    world.meter(-30, 4000, transaction=lost)
    world.begin(at=-10, meter=4500)
    session = world.session(lost)
    assert (session["status"], session["stop_time"], session["energy"], session["amount"]) == (
        "stopped",
        world.at(-30),
        3,
        45,
    )
    assert (session["flags"], session["settled_at"], session["receipt"]) == (["stop_missing"], None, None)


def test_late_stop_wins_over_the_provisional_end(world: World) -> None:
    lost = world.begin(at=-60)
    world.meter(-30, 4000, transaction=lost)
    world.begin(at=-10, meter=4500)
    world.stop(lost, 4500, at=-12, received=0)
    session = world.session(lost)
    assert (session["stop_time"], session["energy"], session["amount"]) == (
        world.at(-12),
        Decimal("3.5"),
        Decimal("52.5"),
    )
    assert session["flags"] == []
    assert session["settled_at"] is not None


def test_late_meter_values_of_a_provisionally_ended_session_still_count(world: World) -> None:
    lost = world.begin(at=-60)
    world.meter(-30, 4000, transaction=lost)
    world.begin(at=-10, meter=4500)
    world.meter(-15, 4400, transaction=lost, received=0)
    session = world.session(lost)
    assert (session["status"], session["stop_time"], session["energy"]) == ("stopped", world.at(-15), Decimal("3.4"))


def test_provisional_end_is_settled_a_day_after_it_was_made_and_not_before(world: World) -> None:
    lost = world.begin(at=-3 * 24 * 60)  # the charge itself is days old: what counts is how long we waited
    world.meter(-3 * 24 * 60 + 60, 4000, transaction=lost)
    world.begin(at=-10, meter=4500)
    world.heartbeat()
    assert world.session(lost)["settled_at"] is None
    world.sql(
        "update charging_sessions set provisional_at = now() - interval '25 hours' where transaction_id = %s", lost
    )
    world.heartbeat()
    session = world.session(lost)
    assert session["settled_at"] is not None
    assert (session["amount"], session["receipt"]["cost"]) == (45, 45)
    world.stop(lost, 9999, at=-12, received=0)
    again = world.session(lost)
    assert (again["amount"], again["receipt"]) == (45, session["receipt"])
    assert "stop_differs" in again["flags"]


def test_connector_that_is_free_ends_the_session_provisionally_after_a_while(world: World) -> None:
    """steve#816: ghost transactions."""
    ghost = world.begin(at=-120)
    world.meter(-60, 4000, transaction=ghost)
    world.send("StatusNotification", {"connectorId": 1, "status": "Available", "errorCode": "NoError"}, received=-30)
    world.heartbeat()
    assert world.session(ghost)["status"] == "started"  # heard of it just now: its stop may wait in the station
    world.sql("alter table charging_sessions disable trigger set_updated_at")
    world.sql("update charging_sessions set updated_at = now() - interval '11 minutes'")
    world.heartbeat()
    session = world.session(ghost)
    assert (session["status"], session["flags"], session["stop_time"]) == ("stopped", ["stop_missing"], world.at(-60))
    world.stop(ghost, 4100, at=-55, received=0)
    assert world.session(ghost)["energy"] == Decimal("3.1")


@pytest.mark.parametrize("status", ["Charging", "SuspendedEV", "Finishing", "Faulted", "Unavailable"])
def test_connector_in_another_state_ends_nothing(world: World, status: str) -> None:
    running = world.begin(at=-120)
    world.send("StatusNotification", {"connectorId": 1, "status": status, "errorCode": "NoError"}, received=-30)
    world.sql("alter table charging_sessions disable trigger set_updated_at")
    world.sql("update charging_sessions set updated_at = now() - interval '1 hour'")
    world.heartbeat()
    assert world.session(running)["status"] == "started"


def test_boot_does_not_end_a_transaction(world: World) -> None:
    running = world.begin(at=-60)
    world.connect()
    world.send("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    world.heartbeat()
    assert world.session(running)["status"] == "started"


def test_session_fee_is_due_from_the_first_moment(world: World) -> None:
    world.sql("update stations set session_fee = 20, price_per_kwh = 15")
    assert world.session(world.begin())["amount"] == 20


def test_start_of_a_station_whose_bridge_lease_ran_out_is_stored(shared_db: object) -> None:
    with connected(shared_db) as world:  # type: ignore[arg-type]
        world.sql("update private.bridges set lease_expires_at = now() - interval '1 hour'")
        assert world.session(world.begin())["status"] == "started"


def test_transaction_ids_of_samples_do_not_matter_to_the_key(world: World) -> None:
    transaction = world.begin()
    world.meter(-30, sampled(2, unit="kWh"), transaction=transaction)
    assert world.session(transaction)["energy"] == 1
