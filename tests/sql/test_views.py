# ruff: noqa: E501  (queries and lists of columns read better unbroken)
"""What the views say, on a world in which things happen. Who may see which of their rows is in tests/rls."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.sql.world import (
    ADMIN,
    COMPANY,
    DRIVER,
    LOCATION,
    OPERATOR,
    OTHER_DRIVER,
    OTHER_LOCATION,
    OTHER_PLAN,
    OTHER_STATION,
    STATION,
    Row,
    World,
    refused,
)
from tests.support import acting_as

COUNTS = ("free", "in_use", "faulted", "unavailable", "offline")


def status(world: World, value: str, connector: int = 1, error: str = "NoError", **more: str) -> None:
    payload = {"connectorId": connector, "status": value, "errorCode": error, **more}
    assert world.send("StatusNotification", payload, STATION, -1) == {}


def location(world: World, location_id: object = LOCATION) -> Row:
    row: Row = world.one("select * from location_overview where id = %s", location_id)
    return row


def counts(world: World) -> dict[str, int]:
    found = {name: location(world)[f"connectors_{name}"] for name in COUNTS}
    return {name: count for name, count in found.items() if count}


# --- the map ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "availability"),
    [
        (None, "free"),
        ("Available", "free"),
        ("Preparing", "in_use"),
        ("Charging", "in_use"),
        ("SuspendedEVSE", "in_use"),
        ("SuspendedEV", "in_use"),
        ("Finishing", "in_use"),
        ("Reserved", "in_use"),
        ("Unavailable", "unavailable"),
        ("Faulted", "faulted"),
    ],
)
def test_connector_is_as_its_last_status_says(world: World, reported: str | None, availability: str) -> None:
    if reported:
        status(world, reported)
    shown = world.one("select availability::text from connector_overview where station_id = %s and number = 1", STATION)
    assert shown == availability


@pytest.mark.parametrize(
    ("statement", "availability"),
    [
        ("update private.bridges set lease_expires_at = now()", "offline"),
        ("update private.station_connections set disconnected_at = now()", "offline"),
        ("delete from private.station_connections", "offline"),
        ("update stations set status = 'maintenance'", "unavailable"),
        ("update stations set ocpp_status = 'Faulted'", "faulted"),
        ("update stations set ocpp_status = 'Unavailable'", "unavailable"),
    ],
)
def test_state_of_the_station_is_that_of_its_connectors(world: World, statement: str, availability: str) -> None:
    status(world, "Available", 1)
    status(world, "Charging", 2)
    assert world.one("select availability::text from station_overview where id = %s", STATION) == "free"
    world.sql(statement)
    assert counts(world) == {availability: 2}
    row = world.one("select availability::text, connectors from station_overview where id = %s", STATION)
    assert row["availability"] == availability
    assert [c["availability"] for c in row["connectors"]] == [availability] * 2


def test_location_rolls_its_stations_up(world: World) -> None:
    world.sql("insert into stations (id, location_id, power_capacity) values ('ST-1B', %s, 120)", LOCATION)
    world.sql("insert into connectors (station_id, number, type) values ('ST-1B', 1, 'CCS2'), ('ST-1B', 2, 'GBT')")
    world.sql("update connectors set type = 'Type2' where station_id = %s", STATION)
    world.sql("insert into stations (id, location_id) values ('GONE', %s)", LOCATION)
    world.sql("insert into connectors (station_id, number, type) values ('GONE', 1, 'CHAdeMO')")
    world.sql("update stations set status = 'inactive' where id = 'GONE'")
    status(world, "Charging", 2)
    row = location(world)
    assert (row["stations_count"], row["connectors_count"]) == (2, 4)
    assert counts(world) == {"free": 1, "in_use": 1, "offline": 2}
    assert (row["availability"], row["connector_types"], row["max_power"]) == ("free", ["CCS2", "GBT", "Type2"], 120)
    assert row["distance_km"] is None


def test_location_without_stations_is_shown_empty(world: World) -> None:
    empty = world.one("insert into locations (name) values ('Empty') returning id")
    row = location(world, empty)
    assert (row["stations_count"], row["connectors_count"], row["availability"]) == (0, 0, None)
    assert (row["connector_types"], row["price_from"], row["currency"]) == ([], None, None)


def test_session_on_a_connector_is_named_to_who_may_see_it(world: World) -> None:
    session = world.session(world.begin(at=-5))["id"]
    query = "select session_id from connector_overview where station_id = %s and number = 1"
    for who, sees in ((DRIVER, True), (OPERATOR, True), (ADMIN, True), (OTHER_DRIVER, False), ("anon", False)):
        with acting_as(world.db, who):
            assert world.one(query, STATION) == (session if sees else None)


def test_station_overview_has_what_a_list_of_stations_shows(world: World) -> None:
    status(world, "Faulted", 1, "GroundFailure")
    row = world.one("select * from station_overview where id = %s", STATION)
    assert (row["online"], row["location_name"], row["client_id"]) == (True, "Place", COMPANY)
    assert (row["connectors_free"], row["connectors_count"]) == (1, 2)
    first = row["connectors"][0]
    assert (first["number"], first["power"], first["error_code"], first["status"]) == (
        1,
        22,
        "GroundFailure",
        "Faulted",
    )


# --- prices on the map -----------------------------------------------------------------------------


def test_price_from_is_the_lowest_that_a_quote_would_name(world: World) -> None:
    """Connectors alike in all that a tariff asks are priced once: here each differs from another in one thing only."""
    plan = world.one("insert into tariff_plans (name, client_id) values ('Typed', %s) returning id", COMPANY)
    world.sql("update tariff_plans set is_default = true where name = 'Plan'")
    world.sql("update tariff_rules set price = 16 where tariff_plan_id = %s", OTHER_PLAN)
    world.sql(
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, price, connector_type, power_range_min, time_start, time_end, priority) values"
        " (%(p)s, 'AC', 'per_kwh', 12, 'Type2', 0, '00:00', '24:00', 0), (%(p)s, 'DC', 'per_kwh', 18, 'CCS2', 0, '00:00', '24:00', 0),"
        " (%(p)s, 'Strong', 'per_kwh', 25, 'CCS2', 100, '00:00', '24:00', 5), (%(p)s, 'Now', 'per_kwh', 9, 'GBT', 0,"
        "   (now() at time zone 'Asia/Bishkek')::time - interval '1 hour', (now() at time zone 'Asia/Bishkek')::time + interval '1 hour', 9)".replace(
            "%(p)s", f"'{plan}'"
        )
    )
    far = world.one(
        "insert into locations (name, time_zone, client_id) values ('Far', 'America/Lima', %s) returning id", COMPANY
    )
    for name, place, power, own, fee in (
        ("A", LOCATION, 22, None, None),
        ("B", LOCATION, 150, None, None),
        ("C", LOCATION, 22, 7, None),
        ("D", LOCATION, 22, None, 3),
        ("E", far, 22, None, None),
        ("F", OTHER_LOCATION, 22, None, None),
        ("G", LOCATION, 22, None, None),
    ):  # fmt: skip
        for types in ("{Type2}", "{CCS2,Type2}", "{CCS2}", "{GBT}", "{GBT,CCS2}"):
            station = f"{name}-{types}"
            world.sql(
                "insert into stations (id, location_id, power_capacity, price_per_kwh, session_fee, tariff_plan_id, connector_types)"
                " values (%s, %s, %s, %s, %s, %s, %s)",
                *(station, place, power, own, fee, plan if name not in "FG" else None, types),
            )
            world.sql(
                "insert into connectors (station_id, number, type, power) select %s, n, t, case when n = 2 then 120 end"
                " from unnest(%s::text[]) with ordinality as one (t, n)",
                *(station, types),
            )
    quoted = {
        (row["id"], row["number"]): row["price"]
        for row in world.sql(
            "select s.id, c.number, (calculate_cost(s.id, 0, connector_id => c.number) ->> 'price_per_kwh')::numeric as price"
            " from stations as s left join connectors as c on c.station_id = s.id"
        )
    }
    shown = world.sql("select station_id, number, price_per_kwh from connector_prices")
    assert {(row["station_id"], row["number"]): row["price_per_kwh"] for row in shown} == quoted
    assert len(set(quoted.values())) >= 8, "the case tells its connectors apart"
    for row in world.sql("select id, price_from from station_overview"):
        prices = [price for (station, _), price in quoted.items() if station == row["id"] and price is not None]
        assert row["price_from"] == min(prices, default=None)


def test_locations_price_is_the_lowest_of_its_stations(world: World) -> None:
    assert (location(world)["price_from"], location(world)["currency"]) == (15, "KGS")
    world.sql("insert into stations (id, location_id, price_per_kwh) values ('CHEAP', %s, 11)", LOCATION)
    assert location(world)["price_from"] == 11
    world.sql("update stations set status = 'inactive' where id = 'CHEAP'")
    assert location(world)["price_from"] == 15


def test_location_with_two_currencies_has_no_price_from(world: World) -> None:
    world.sql("insert into stations (id, location_id, price_per_kwh, currency) values ('EURO', %s, 1, 'EUR')", LOCATION)
    assert (location(world)["price_from"], location(world)["currency"]) == (None, None)
    assert world.one("select currency from station_overview where id = 'EURO'") == "EUR"


# --- distance --------------------------------------------------------------------------------------

BISHKEK, OSH = (42.8746, 74.5698), (40.5140, 72.8161)


def place(world: World, name: str, latitude: float, longitude: float) -> None:
    world.sql("insert into locations (name, latitude, longitude) values (%s, %s, %s)", name, latitude, longitude)


def near(world: World, latitude: float, longitude: float, radius_km: float | None = None) -> dict[str, float]:
    with acting_as(world.db, "anon"):
        radius = [] if radius_km is None else [radius_km]
        found = world.sql(
            f"select name, distance_km from nearby_locations({', '.join(['%s'] * (2 + len(radius)))})",
            *(latitude, longitude, *radius),
        )
    return {row["name"]: float(row["distance_km"]) for row in found}


def test_nearby_locations_come_nearest_first_with_their_distance(world: World) -> None:
    place(world, "Osh", *OSH)
    place(world, "Bishkek", *BISHKEK)
    found = near(world, 42.87, 74.59, 400)
    assert list(found) == ["Bishkek", "Osh"]
    assert found["Bishkek"] == pytest.approx(1.72, abs=0.01)
    assert near(world, *BISHKEK, 400)["Osh"] == pytest.approx(300.9, abs=1)  # great circle, by the haversine formula


def test_nearby_means_ten_kilometres_unless_said_otherwise(world: World) -> None:
    place(world, "Bishkek", *BISHKEK)
    place(world, "Just inside", BISHKEK[0] + 0.0899, BISHKEK[1])
    place(world, "Just outside", BISHKEK[0] + 0.0900, BISHKEK[1])
    place(world, "Inside in the south", BISHKEK[0] - 0.0898, BISHKEK[1])
    assert list(near(world, *BISHKEK)) == ["Bishkek", "Inside in the south", "Just inside"]
    assert list(near(world, *BISHKEK, 0)) == ["Bishkek"]


def test_nearby_reaches_across_the_date_line_and_the_poles(world: World) -> None:
    place(world, "West of it", -17.0, 179.99)
    place(world, "Beyond the pole", 89.9, -170.0)
    assert near(world, -17.0, -179.99, 5) == {"West of it": pytest.approx(2.13, abs=0.01)}
    assert list(near(world, 89.9, 10.0, 30)) == ["Beyond the pole"]


def test_location_without_coordinates_is_nowhere_near(world: World) -> None:
    assert near(world, 0, 0, 20040) == {}
    assert world.count("locations") > 0


def test_nearby_location_says_what_the_overview_says(world: World) -> None:
    world.sql("update locations set latitude = 1, longitude = 1 where id = %s", LOCATION)
    status(world, "Charging", 2)
    found = world.one("select to_jsonb(n) from nearby_locations(1, 1) as n")
    overview = world.one("select to_jsonb(o) from location_overview as o where id = %s", LOCATION)
    assert found == overview | {"distance_km": 0}
    assert overview["price_from"] == 15


@pytest.mark.parametrize(
    ("latitude", "longitude", "radius"),
    [(91, 0, 1), (0, -181, 1), ("NaN", 0, 1), (0, "Infinity", 1), (None, 0, 1), (0, None, 1), (0, 0, -1), (0, 0, "NaN"), (0, 0, 20041), (0, 0, None)],
)  # fmt: skip
def test_nearby_refuses_what_is_no_place(world: World, latitude: Any, longitude: Any, radius: Any) -> None:
    with refused("OCNUM"), world.db.transaction():
        world.rpc("anon", "nearby_locations", latitude=latitude, longitude=longitude, radius_km=radius)


# --- sessions --------------------------------------------------------------------------------------


def charge(world: World, at: float = -60, wh: int = 10_000, **start: Any) -> int:
    """A session of 30 minutes, stopped and settled."""
    transaction = world.begin(at=at, meter=0, **start)
    world.stop(transaction, wh, at=at + 30, station=start.get("station", STATION))
    assert world.session(transaction)["settled_at"]
    return transaction


def test_history_names_place_driver_and_payer(world: World) -> None:
    transaction = charge(world)
    world.sql("update users set full_name = 'Aida' where id = %s", DRIVER)
    with acting_as(world.db, DRIVER):
        row = world.one("select * from session_history")
    assert row["id"] == world.session(transaction)["id"]
    assert (row["station_id"], row["location_id"], row["location_name"], row["company_id"]) == (
        STATION,
        LOCATION,
        "Place",
        COMPANY,
    )
    assert (row["driver_name"], row["client_name"]) == ("Aida", "Aida")
    assert (row["minutes"], row["energy"], row["amount"], row["currency"]) == (30, 10, 150, "KGS")


def test_history_keeps_its_place_when_the_station_leaves_the_map(world: World) -> None:
    charge(world)
    world.sql("update stations set status = 'inactive'")
    with acting_as(world.db, DRIVER):
        assert world.count("stations") == 0
        assert world.one("select location_name from session_history") == "Place"


def test_minutes_of_a_session_under_way_count_on_and_of_a_pending_one_do_not(world: World) -> None:
    world.begin(at=-12)
    assert world.one("select minutes from session_history") == pytest.approx(Decimal(12), abs=Decimal("0.2"))
    world.rpc(DRIVER, "start_charge", station_id=OTHER_STATION)
    assert world.one("select minutes from session_history where status = 'pending'") is None


# --- totals ----------------------------------------------------------------------------------------


def totals(world: World, view: str, columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in world.sql(f"select {columns} from {view} order by 1, 2")]


def settled(
    world: World, stop: str, amount: float = 100, user: object = DRIVER, station: str = STATION, **more: object
) -> object:
    """A session settled as if by the ingest: the row that matters."""
    values = {"currency": "KGS", "energy": 5, **more}
    names = ", ".join(values)
    return world.one(
        f"insert into charging_sessions (station_id, user_id, status, start_time, stop_time, settled_at, amount, {names})"
        f" values (%s, %s, 'stopped', %s::timestamptz - interval '20 minutes', %s, now(), %s{', %s' * len(values)}) returning id",
        *(station, user, stop, stop, amount, *values.values()),
    )


def test_settlement_counts_a_session_once_whatever_repeats(world: World) -> None:
    transaction = world.begin(at=-60, meter=0)
    assert world.count("revenue_by_day") == 0, "not billed yet"
    for _ in range(3):
        world.stop(transaction, 10_000, at=-30)
    assert totals(world, "revenue_by_day", "station_id, sessions, energy, amount, currency, minutes") == [
        (STATION, 1, 10, 150, "KGS", 30)
    ]
    world.sql("update charging_sessions set status = status, settled_at = settled_at, flags = '{clock_wrong}'")
    assert world.one("select sessions from monthly_totals_by_company") == 1


def test_day_and_month_are_those_of_the_location(world: World) -> None:
    """Half past two in Bishkek on 1 March is still February in UTC."""
    settled(world, "2026-02-28T20:30:00Z")
    assert world.one("select day from revenue_by_day") == date(2026, 3, 1)
    assert world.one("select month from monthly_totals_by_station") == date(2026, 3, 1)
    assert world.one("select month from monthly_totals_by_driver") == date(2026, 3, 1)
    world.sql("update locations set time_zone = 'America/Lima'")
    settled(world, "2026-02-28T20:30:00Z")
    assert totals(world, "monthly_totals_by_company", "month, sessions") == [
        (date(2026, 2, 1), 1),
        (date(2026, 3, 1), 1),
    ]


def test_totals_add_up_by_driver_station_company_and_day(world: World) -> None:
    settled(world, "2026-05-01T10:00:00Z", 100)
    settled(world, "2026-05-01T12:00:00Z", 20.5)
    settled(world, "2026-05-03T10:00:00Z", 7, user=OTHER_DRIVER)
    settled(world, "2026-05-03T10:00:00Z", 1000, user=OTHER_DRIVER, station=OTHER_STATION)
    settled(world, "2026-06-03T10:00:00Z", 5, user=None)
    may, june = date(2026, 5, 1), date(2026, 6, 1)
    assert totals(world, "monthly_totals_by_driver", "month, amount, user_id, sessions, minutes") == [
        (may, Decimal("120.5"), DRIVER, 2, 40),
        (may, 1007, OTHER_DRIVER, 2, 40),
    ]
    assert totals(world, "monthly_totals_by_station", "month, station_id, amount, sessions, energy") == [
        (may, STATION, Decimal("127.5"), 3, 15),
        (may, OTHER_STATION, 1000, 1, 5),
        (june, STATION, 5, 1, 5),
    ]
    assert totals(world, "monthly_totals_by_company", "month, client_name, amount, stations") == [
        (may, "North", Decimal("127.5"), 1),
        (may, "South", 1000, 1),
        (june, "North", 5, 1),
    ]
    assert totals(world, "revenue_by_day_and_company", "day, amount, stations") == [
        (may, Decimal("120.5"), 1),
        (may + timedelta(2), 7, 1),
        (may + timedelta(2), 1000, 1),
        (june + timedelta(2), 5, 1),
    ]


def test_currencies_are_kept_apart(world: World) -> None:
    settled(world, "2026-05-01T10:00:00Z", 100)
    settled(world, "2026-05-01T10:00:00Z", 3, currency="EUR")
    for view in (
        "monthly_totals_by_driver",
        "monthly_totals_by_station",
        "monthly_totals_by_company",
        "revenue_by_day",
        "revenue_by_day_and_company",
    ):
        assert totals(world, view, "currency, amount") == [("EUR", 3), ("KGS", 100)], view


def test_drivers_total_is_their_own_and_the_operators_that_of_their_stations(world: World) -> None:
    settled(world, "2026-05-01T10:00:00Z", 100)
    settled(world, "2026-05-01T10:00:00Z", 3, station=OTHER_STATION)
    for who, amount in ((DRIVER, 103), (OPERATOR, 100), (ADMIN, 103)):
        with acting_as(world.db, who):
            assert world.one("select amount from monthly_totals_by_driver") == amount


def test_correction_by_the_owner_of_the_tables_corrects_the_totals(world: World) -> None:
    session = settled(world, "2026-05-01T10:00:00Z", 100)
    settled(world, "2026-05-01T10:00:00Z", 1)
    world.sql("alter table charging_sessions disable trigger keep_session")
    world.sql("alter table charging_sessions disable trigger keep_session_row")
    world.sql("update charging_sessions set amount = 40, stop_time = '2026-06-01T10:00:00Z' where id = %s", session)
    assert totals(world, "monthly_totals_by_station", "month, amount, sessions") == [
        (date(2026, 5, 1), 1, 1),
        (date(2026, 6, 1), 40, 1),
    ]
    world.sql("delete from charging_sessions where id = %s", session)
    assert totals(world, "monthly_totals_by_station", "month, amount, sessions") == [(date(2026, 5, 1), 1, 1)]


def test_totals_are_brought_together_and_stay_the_same(world: World) -> None:
    for number in range(250):
        settled(world, f"2026-05-{1 + number % 3:02}T10:00:00Z", number, user=(DRIVER, OTHER_DRIVER)[number % 2])
    assert world.count("station_totals", "not is_sum") == 500
    before = [
        totals(world, view, "*") for view in ("revenue_by_day", "monthly_totals_by_station", "monthly_totals_by_driver")
    ]
    assert before[1][0][4:7] == (250, 1250, sum(range(250)))
    world.sql("select private.keep_house()")
    assert world.count("station_totals") == 4  # three days, a month
    assert world.count("driver_totals") == 2
    assert [
        totals(world, view, "*") for view in ("revenue_by_day", "monthly_totals_by_station", "monthly_totals_by_driver")
    ] == before


def test_person_who_is_deleted_leaves_the_totals_of_the_station(world: World) -> None:
    settled(world, "2026-05-01T10:00:00Z", 100)
    world.sql("delete from auth.users where id = %s", DRIVER)
    assert world.count("monthly_totals_by_driver") == 0
    assert world.one("select amount from monthly_totals_by_station") == 100


# --- what wants a look -----------------------------------------------------------------------------


def faults(world: World, who: object = OPERATOR) -> list[tuple[Any, ...]]:
    with acting_as(world.db, who):  # type: ignore[arg-type]
        return [
            tuple(r.values())
            for r in world.sql(
                "select kind::text, connector_id, what from faults where station_id = %s order by 1, 2", STATION
            )
        ]


def test_faults_are_none_when_all_is_well(world: World) -> None:
    status(world, "Available")
    assert faults(world) == []


def test_faults_names_connectors_with_what_they_said(world: World) -> None:
    status(world, "Faulted", 1, "GroundFailure", vendorErrorCode="E-17", info="leak")
    status(world, "Charging", 2, "WeakSignal")
    status(world, "Faulted", 0, "InternalError")
    assert faults(world) == [
        ("connector_faulted", 1, "GroundFailure: E-17 leak"),
        ("connector_faulted", 2, "WeakSignal"),
        ("station_faulted", None, "InternalError"),
    ]
    assert faults(world, DRIVER) == []
    status(world, "Available", 1)
    status(world, "Charging", 2)
    status(world, "Available", 0)
    assert faults(world) == []


def test_faults_names_stations_that_are_offline_although_in_service(world: World) -> None:
    world.sql("update private.station_connections set disconnected_at = now()")
    assert faults(world) == [("station_offline", None, "offline")]
    world.sql("update stations set status = 'maintenance'")
    assert faults(world) == []


def test_faults_names_commands_that_failed(world: World) -> None:
    command = world.send_command("ClearCache")
    assert world.claim_one()["command_id"] == command["id"]
    world.answer(command["id"], "result", payload={"status": "Rejected"})
    assert faults(world) == [("command_failed", None, "ClearCache rejected: Rejected")]
    world.sql("update commands set created_at = now() - interval '8 days'")
    assert faults(world) == []


def test_faults_names_sessions_that_are_flagged_and_stops_that_fit_none(world: World) -> None:
    transaction = world.begin(at=-60, meter=0)
    world.stop(transaction, 900_000, at=-30)
    world.stop(999_999, 5, at=-20, received=-10)
    assert faults(world) == [
        ("session_flagged", 1, "implausible_energy"),
        ("stop_unclaimed", None, "a stop that fits no session, transaction 999999"),
    ]


def test_unknown_stations_wait_for_the_admin(world: World) -> None:
    world.connect("NOBODY", received=0)
    world.sql("insert into station_inbox (station_id, last_seen_at) values ('OLD', now() - interval '1 day')")
    with acting_as(world.db, ADMIN):
        found = world.sql("select station_id, still_knocking, attempts from waiting_stations order by 1")
    assert found == [
        {"station_id": "NOBODY", "still_knocking": True, "attempts": 1},
        {"station_id": "OLD", "still_knocking": False, "attempts": 1},
    ]


# --- the cost of it --------------------------------------------------------------------------------


def plan(world: World, query: str) -> str:
    (row,) = world.sql(f"explain (format json) {query}")
    return json.dumps(row)


def test_prices_are_worked_out_for_who_asks_for_them(world: World) -> None:
    """Each costs some tenths of a millisecond; views join them so that the planner can leave them out."""
    for view, pricing in (("location_overview", "connector_prices"), ("station_overview", "calculate_cost")):
        assert pricing in json.dumps(world.sql(f"explain (verbose, format json) select id, price_from from {view}"))
        assert pricing not in json.dumps(
            world.sql(f"explain (verbose, format json) select id, connectors_free from {view}")
        )


def test_names_of_people_are_not_looked_up_unasked(world: World) -> None:
    with acting_as(world.db, OPERATOR):
        assert '"clients"' not in plan(world, "select id, energy from session_history")
        assert '"clients"' in plan(world, "select id, client_name from session_history")


def test_distance_search_reads_by_latitude(world: World) -> None:
    with world.db.transaction(force_rollback=True):
        world.sql(
            "insert into locations (name, latitude, longitude) select 'x', -90 + n * 0.018, 10 from generate_series(1, 10000) as n"
        )
        world.sql("analyze locations")
        world.sql("set local enable_seqscan = off")
        text = plan(world, "select l.id from locations as l where l.latitude between 42.7 and 42.9")
    assert "locations_latitude_idx" in text


def test_two_settlements_at_once_do_not_wait_for_each_other(shared_db: psycopg.Connection[Any]) -> None:
    """Totals are inserted, never updated, so two batches with the same drivers in another order cannot dead-lock."""
    with (
        psycopg.connect(shared_db.info.dsn, password=shared_db.info.password) as one,
        psycopg.connect(shared_db.info.dsn, password=shared_db.info.password) as two,
    ):
        try:
            for connection, users in ((one, (DRIVER, OTHER_DRIVER)), (two, (OTHER_DRIVER, DRIVER))):
                connection.execute("set lock_timeout = '1s'")
                for user in users:
                    settled(World(connection), "2026-05-01T10:00:00Z", 1, user=user)
                connection.execute("select private.sum_totals()")
            assert one.execute("select count(*) from station_totals where is_sum").fetchone() == (2,)
        finally:
            one.rollback()
            two.rollback()
