"""What people ask about prices: receipts, what another plan would have earned, the next change, prices of accounts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.sql.world import (
    ACCOUNT,
    ADMIN,
    CARD,
    COMPANY,
    DRIVER,
    OPERATOR,
    OTHER_ACCOUNT,
    OTHER_COMPANY,
    OTHER_DRIVER,
    OTHER_OPERATOR,
    OTHER_PLAN,
    PLAN,
    STATION,
    World,
)
from tests.support import acting_as

Json = Any
NOON = datetime(2026, 5, 6, 6, tzinfo=UTC)  # Wednesday 12:00 in Bishkek


def rule(world: World, name: str, tariff_type: str, price: object, plan: object = PLAN, **columns: object) -> None:
    names = ", ".join(["tariff_plan_id", "name", "tariff_type", "price", *columns])
    marks = ", ".join(["%s"] * (4 + len(columns)))
    world.sql(f"insert into tariff_rules ({names}) values ({marks})", plan, name, tariff_type, price, *columns.values())


def charged(world: World, wh: int = 20_000, minutes: float = 60) -> Json:
    """A session of DRIVER at ST-1 that has ended and is billed."""
    transaction = world.begin(at=-minutes, tag=CARD, meter=1000)
    world.stop(transaction, 1000 + wh, at=0)
    return world.session(transaction)


def refusal(world: World, who: Any, name: str, **args: Any) -> Json:
    with pytest.raises(psycopg.Error) as caught:
        world.rpc(who, name, **args)
    assert caught.value.sqlstate == "PGRST", caught.value
    return json.loads(caught.value.diag.message_primary or "") | json.loads(caught.value.diag.message_detail or "")


# --- receipt ----------------------------------------------------------------------------------------
def test_a_receipt_says_who_where_when_how_much_and_why(world: World) -> None:
    world.sql("update tariff_rules set vat = 12 where tariff_plan_id = %s", PLAN)
    rule(world, "Start", "session_fee", 20)
    world.sql("update clients set address = 'Chüy 1', phone = '+996' where id = %s", COMPANY)
    session = charged(world)
    bill = world.rpc(DRIVER, "receipt", session_id=session["id"])
    assert bill["final"] is True
    assert bill["company"] == {"name": "North", "address": "Chüy 1", "phone": "+996"}
    assert (bill["location"]["name"], bill["station_id"], bill["connector_id"]) == ("Place", STATION, 1)
    assert (bill["plan_name"], bill["time_zone"], bill["currency"]) == ("Plan", "Asia/Bishkek", "KGS")
    assert (bill["energy_kwh"], bill["charging_minutes"], bill["parking_minutes"]) == (20, 60, 0)
    assert [(x["tariff_type"], x["rule_name"], x["amount"]) for x in bill["lines"]] == [
        ("per_kwh", "Energy", 300),
        ("session_fee", "Start", 20),
        ("vat", "VAT 12 %", 36),
    ]
    assert (bill["cost_before_vat"], bill["vat"], bill["cost"]) == (320, 36, 356)
    assert bill["vat_lines"] == [{"rate": 12, "base": 300, "vat": 36}]
    assert session["amount"] == 356  # what the account is charged


def test_a_receipt_of_a_running_session_is_provisional(world: World) -> None:
    transaction = world.begin(at=-60, tag=CARD, meter=1000)
    world.meter(-10, 11_000, transaction=transaction)
    bill = world.rpc(DRIVER, "receipt", session_id=world.session(transaction)["id"])
    assert (bill["final"], bill["status"], bill["energy_kwh"], bill["cost"]) == (False, "started", 10, 150)
    assert bill["stop_time"] is None
    assert bill["charging_minutes"] == 50


def test_a_receipt_of_a_session_that_never_began_is_empty(world: World) -> None:
    pending = world.rpc(DRIVER, "start_charge", station_id=STATION, connector_id=1)
    bill = world.rpc(DRIVER, "receipt", session_id=pending["id"])
    assert (bill["final"], bill["cost"], bill["lines"], bill["start_time"]) == (False, 0, [], None)


def test_a_receipt_is_for_the_driver_the_payers_people_and_the_operator(world: World) -> None:
    session = charged(world)["id"]
    for who in (DRIVER, OPERATOR, ADMIN, "service_role"):
        assert world.rpc(who, "receipt", session_id=session)["cost"] == 300
    world.sql("update users set client_id = %s where id = %s", ACCOUNT, OTHER_DRIVER)
    assert world.rpc(OTHER_DRIVER, "receipt", session_id=session)["cost"] == 300
    world.sql("update users set client_id = %s where id = %s", OTHER_ACCOUNT, OTHER_DRIVER)
    for who in (OTHER_DRIVER, OTHER_OPERATOR):
        told = refusal(world, who, "receipt", session_id=session)
        assert told == refusal(world, who, "receipt", session_id=uuid4())
        assert (told["status"], told["code"]) == (404, "OCSES")
    world.sql("update users set is_active = false where id = %s", DRIVER)
    assert refusal(world, DRIVER, "receipt", session_id=session)["code"] == "OCSES"


# --- prices of single accounts ------------------------------------------------------------------------
def grant(world: World, who: Any = OPERATOR, **columns: object) -> None:
    row = {"client_id": ACCOUNT, "company_id": COMPANY, **columns}
    names, marks = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    with acting_as(world.db, who):
        world.db.execute(f"insert into client_tariffs ({names}) values ({marks})", row)  # type: ignore[arg-type]


def quote(world: World, who: Any = DRIVER) -> Json:
    return world.rpc(who, "calculate_cost", station_id=STATION, energy_kwh=20)


def test_a_discount_holds_for_quote_and_bill_of_the_account_and_nobody_else(world: World) -> None:
    grant(world, discount_percent=Decimal("12.5"))
    mine = quote(world)
    (line,) = mine["lines"]
    assert (mine["cost"], line["price"], line["list_price"]) == (262.5, 13.125, 15)
    for who in (OTHER_DRIVER, OPERATOR, "anon"):
        assert quote(world, who)["cost"] == 300
    session = charged(world)
    assert session["amount"] == Decimal("262.5")
    bill = world.rpc(DRIVER, "receipt", session_id=session["id"])
    assert (bill["discount_percent"], bill["cost"]) == (12.5, 262.5)


def test_prices_of_accounts_and_plans_are_valid_between_times_that_are(world: World) -> None:
    for bound in ("valid_from", "valid_until"):
        with pytest.raises(psycopg.errors.CheckViolation, match="are times, or empty"), world.db.transaction():
            grant(world, discount_percent=5, **{bound: "infinity"})
        with pytest.raises(psycopg.errors.CheckViolation, match="are times, or empty"), world.db.transaction():
            world.sql(f"update tariff_plans set {bound} = 'infinity' where id = %s", PLAN)


def test_locations_and_plans_belong_to_companies(world: World) -> None:
    for statement in (
        "insert into locations (name, client_id) values ('Mine', %s)",
        "insert into tariff_plans (name, client_id) values ('Mine', %s)",
        "update locations set client_id = %s",
        "update tariff_plans set client_id = %s",
    ):
        with pytest.raises(psycopg.Error) as caught, world.db.transaction(), acting_as(world.db, ADMIN):
            world.db.execute(statement, [ACCOUNT])
        assert json.loads(caught.value.diag.message_primary or "")["code"] == "OCARG"


def test_the_quote_of_staff_is_what_their_charge_is_billed(world: World) -> None:
    """The company of an operator pays for the operator's charges, and a company may have prices like any account."""
    world.sql("update clients set credit_limit = 1000 where id = %s", COMPANY)
    grant(world, "service_role", client_id=COMPANY, discount_percent=10)
    quoted = quote(world, OPERATOR)["cost"]
    assert world.rpc(OPERATOR, "next_rate_change", station_id=STATION)["before"]["price_per_kwh"] == Decimal("13.5")
    session = world.rpc(OPERATOR, "start_charge", station_id=STATION, connector_id=1)
    transaction = world.begin(at=0, tag=session["id_tag"], meter=1000)
    world.stop(transaction, 21_000, at=0)
    assert (quoted, world.session(transaction)["amount"]) == (270, 270)


def test_a_plan_of_the_account_takes_the_place_of_the_stations_own_price_too(world: World) -> None:
    plan = world.one("insert into tariff_plans (client_id, name) values (%s, 'Taxi') returning id", COMPANY)
    rule(world, "Taxi", "per_kwh", 11, plan)
    world.sql("update stations set price_per_kwh = 17 where id = %s", STATION)
    assert quote(world)["cost"] == 340
    grant(world, tariff_plan_id=plan, discount_percent=10)
    assert quote(world)["lines"][0] | {"rule_id": None} == {
        "tariff_type": "per_kwh",
        "rule_id": None,
        "rule_name": "Taxi",
        "quantity": 20,
        "unit": "kWh",
        "price": 9.9,
        "list_price": 11,
        "amount": 198,
    }
    world.sql("update tariff_plans set is_active = false where id = %s", plan)
    assert quote(world)["cost"] == 306  # the plan counts as none, the discount does not


def test_the_company_goes_before_everywhere_the_newest_before_the_older_and_only_while_valid(world: World) -> None:
    grant(world, ADMIN, company_id=None, discount_percent=50)
    assert quote(world)["cost"] == 150
    grant(world, discount_percent=10, created_at="2026-01-01Z")
    grant(world, discount_percent=20, created_at="2026-01-02Z")
    assert quote(world)["cost"] == 240
    world.sql("update client_tariffs set valid_until = '2026-01-03Z' where discount_percent = 20")
    assert quote(world)["cost"] == 270
    world.sql("update client_tariffs set valid_from = now() + interval '1 day' where discount_percent = 10")
    assert quote(world)["cost"] == 150


def test_a_session_keeps_the_discount_it_began_with(world: World) -> None:
    grant(world, discount_percent=10)
    transaction = world.begin(at=-60, tag=CARD, meter=1000)
    world.sql("delete from client_tariffs")
    world.stop(transaction, 21_000, at=0)
    assert world.session(transaction)["amount"] == 270


@pytest.mark.parametrize(
    "columns", [{"company_id": OTHER_COMPANY}, {"company_id": None}, {"tariff_plan_id": OTHER_PLAN}]
)
def test_operators_grant_for_their_own_stations_by_their_own_plans(world: World, columns: dict[str, object]) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        grant(world, **{"discount_percent": 10, **columns})


@pytest.mark.parametrize(
    "columns", [{}, {"discount_percent": 101}, {"discount_percent": -1}, {"discount_percent": "NaN"}]
)
def test_a_grant_of_nothing_or_of_too_much_is_refused(world: World, columns: dict[str, object]) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NumericValueOutOfRange)):
        grant(world, **columns)


# --- validity of a plan -------------------------------------------------------------------------------
def test_a_plan_that_is_not_valid_counts_as_none(world: World) -> None:
    default = world.one(
        "insert into tariff_plans (client_id, name, is_default) values (%s, 'Usual', true) returning id", COMPANY
    )
    rule(world, "Usual", "per_kwh", 9, default)
    world.sql("update tariff_plans set valid_until = now() + interval '1 hour' where id = %s", PLAN)
    assert quote(world)["cost"] == 300
    world.sql("update tariff_plans set valid_until = now() - interval '1 hour' where id = %s", PLAN)
    assert quote(world)["cost"] == 180


# --- simulation ---------------------------------------------------------------------------------------
def simulate(world: World, who: Any = OPERATOR, plan: Any = PLAN, **more: Any) -> Json:
    times = {"from": world.now - timedelta(days=1), "to": world.now + timedelta(days=1)} | more
    with acting_as(world.db, who):
        return world.db.execute(
            'select simulate_tariff(%s, "from" => %s, "to" => %s)', [plan, times["from"], times["to"]]
        ).fetchone()[0]  # type: ignore[index]


def test_a_simulation_says_what_past_sessions_would_have_earned_and_writes_nothing(world: World) -> None:
    charged(world)
    transaction = world.begin(at=-30, tag="GUEST", station="ST-2", meter=0)  # of the other company
    world.stop(transaction, 5000, at=-5, station="ST-2")
    running = world.begin(at=-20, tag=CARD, connector=2, meter=0)
    plan = world.one("insert into tariff_plans (client_id, name) values (%s, 'By time') returning id", COMPANY)
    rule(world, "Time", "per_minute", 4, plan)
    before = world.sql("select * from charging_sessions order by id")
    result = simulate(world, plan=plan)
    row = {
        "currency": "KGS",
        "sessions": 1,
        "energy_kwh": 20,
        "earned": 300,
        "would_have_earned": 240,
        "difference": -60,
    }
    assert result["totals"] == [row]
    assert result["stations"] == [row | {"station_id": STATION}]
    assert (result["plan_name"], result["currency"]) == ("By time", "KGS")
    assert world.sql("select * from charging_sessions order by id") == before
    assert running
    assert simulate(world, plan=plan, to=world.now - timedelta(hours=2))["totals"] == []
    everywhere = simulate(world, ADMIN, plan)["totals"]
    assert everywhere[0]["sessions"] == 2


def test_simulating_the_same_plan_gives_what_was_earned(world: World) -> None:
    rule(world, "Night", "per_kwh", 10, time_start="23:00", time_end="07:00", priority=1)
    rule(world, "Start", "session_fee", 20)
    session = charged(world, 12_345, 600)
    result = simulate(world)
    (total,) = result["totals"]
    assert total["would_have_earned"] == total["earned"] == float(session["amount"])


def test_a_simulation_subtracts_nothing_across_currencies(world: World) -> None:
    earned = charged(world)["amount"]
    assert simulate(world)["not_compared"] == {"sessions": 0, "currencies": []}
    world.sql("update tariff_rules set currency = 'USD', price = 1 where tariff_plan_id = %s", PLAN)
    result = simulate(world)
    assert (result["currency"], result["not_compared"]) == ("USD", {"sessions": 1, "currencies": ["KGS"]})
    for row in (result["totals"][0], result["stations"][0]):
        assert (row["earned"], row["would_have_earned"], row["difference"]) == (earned, 20, None)


def test_bad_questions_of_a_simulation_are_refused(world: World) -> None:
    for more in ({"from": None}, {"to": None}, {"to": world.now - timedelta(days=9)}, {"from": "1900-01-01Z"}):
        with pytest.raises(psycopg.Error, match="OCNUM"):
            simulate(world, **more)
    for who, plan in ((OPERATOR, OTHER_PLAN), (OPERATOR, uuid4()), (DRIVER, PLAN), (OPERATOR, None)):
        with pytest.raises(psycopg.Error, match="OCPLN"):
            simulate(world, who, plan)


# --- the next change ----------------------------------------------------------------------------------
def change(world: World, at: datetime = NOON, who: Any = "anon", **args: Any) -> Json:
    found = world.rpc(who, "next_rate_change", station_id=STATION, at=at, **args)
    if found["at"]:
        found["at"] = datetime.fromisoformat(found["at"])
    return found


def test_the_next_change_of_a_flat_tariff_never_comes(world: World) -> None:
    found = change(world)
    assert (found["at"], found["after"], found["price_per_kwh"], found["before"]["price_per_kwh"]) == (
        None,
        None,
        None,
        15,
    )


def test_the_next_change_is_the_edge_of_a_window_at_which_a_price_does_change(world: World) -> None:
    rule(world, "Same", "per_kwh", 15, time_start="14:00", time_end="16:00", priority=1)  # changes nothing
    rule(world, "Night", "per_kwh", 10, time_start="23:00", time_end="07:00", priority=1)
    rule(world, "Fee", "session_fee", 20, time_start="20:00", time_end="21:00")
    rule(world, "Parking", "parking_fee", 90, per_hour=True, time_start="18:00", time_end="19:00")
    found = change(world)
    assert found["at"] == NOON + timedelta(hours=6)
    assert (found["before"]["parking_per_minute"], found["after"]["parking_per_minute"]) == (None, 1.5)
    found = change(world, NOON + timedelta(hours=9))
    assert (found["at"], found["price_per_kwh"], found["currency"], found["time_zone"]) == (
        NOON + timedelta(hours=11),
        10,
        "KGS",
        "Asia/Bishkek",
    )


def test_the_next_change_may_be_weeks_away(world: World) -> None:
    rule(world, "Holiday", "per_kwh", 5, date_from="2026-08-31", date_until="2026-09-01", priority=1)
    found = change(world)
    assert (found["at"], found["price_per_kwh"]) == (datetime(2026, 8, 30, 18, tzinfo=UTC), 5)
    found = change(world, datetime(2026, 8, 31, 0, tzinfo=UTC))
    assert (found["at"], found["price_per_kwh"]) == (datetime(2026, 8, 31, 18, tzinfo=UTC), 15)


def test_the_next_change_may_be_another_plan_or_discount(world: World) -> None:
    world.sql("update tariff_plans set valid_until = '2026-06-01Z' where id = %s", PLAN)
    default = world.one(
        "insert into tariff_plans (client_id, name, is_default) values (%s, 'Usual', true) returning id", COMPANY
    )
    rule(world, "Usual", "per_kwh", 9, default)
    found = change(world)
    assert (found["at"], found["price_per_kwh"]) == (datetime(2026, 6, 1, tzinfo=UTC), 9)
    grant(world, discount_percent=10, valid_from="2026-05-20Z")
    found = change(world, who=DRIVER)
    assert (found["at"], found["price_per_kwh"]) == (datetime(2026, 5, 20, tzinfo=UTC), 13.5)


def test_a_simulation_that_would_run_into_the_time_out_says_so_first(world: World) -> None:
    charged(world)
    text = world.one("select pg_get_functiondef('simulate_tariff'::regproc)")
    assert "'5 seconds'" in text
    world.db.execute(text.replace("'5 seconds'", "'0 seconds'"))
    times = {"from": world.now - timedelta(days=1), "to": world.now}
    with (
        pytest.raises(psycopg.Error, match="more than this plan can be tried on") as caught,
        acting_as(world.db, OPERATOR),
    ):
        world.db.execute('select simulate_tariff(%s, "from" => %s, "to" => %s)', [PLAN, times["from"], times["to"]])
    assert '"code" : "OCNUM"' in (caught.value.diag.message_primary or "")


@pytest.mark.parametrize(
    ("args", "status", "code"),
    [
        ({"station_id": "nowhere"}, 404, "OCSTA"),
        ({"station_id": None}, 404, "OCSTA"),
        ({"station_id": STATION, "connector_id": 9}, 400, "OCCON"),
        ({"station_id": STATION, "at": "1900-01-01Z"}, 400, "OCNUM"),
        ({"station_id": STATION, "at": "infinity"}, 400, "OCNUM"),
    ],
)
def test_bad_questions_of_the_next_change_are_refused(world: World, args: Json, status: int, code: str) -> None:
    told = refusal(world, DRIVER, "next_rate_change", **args)
    assert (told["status"], told["code"]) == (status, code)


# --- reservations -------------------------------------------------------------------------------------
def test_a_session_pays_for_its_reservation_where_the_tariff_prices_it(world: World) -> None:
    rule(world, "Reserved", "per_minute", 2, reservation="RESERVATION")
    rule(world, "Reservation", "session_fee", 30, reservation="RESERVATION")
    rule(world, "Start", "session_fee", 20)
    world.sql(
        "insert into commands (station_id, action, payload, status, created_at, answered_at)"
        " values (%s, 'ReserveNow', '{\"reservationId\": 77}', 'accepted', %s, %s)",
        STATION,
        world.at(-90),
        world.at(-75),
    )
    transaction = world.begin(at=-60, tag=CARD, meter=1000)
    world.sql("update charging_sessions set reservation_id = 77 where transaction_id = %s", transaction)
    world.stop(transaction, 21_000, at=0)
    receipt = world.session(transaction)["receipt"]
    assert [(x["rule_name"], x["quantity"], x["unit"], x["amount"]) for x in receipt["lines"]] == [
        ("Energy", 20, "kWh", 300),
        ("Reserved", 15, "min", 30),
        ("Reservation", 1, "reservation", 30),
        ("Start", 1, "session", 20),
    ]
    assert (receipt["cost"], receipt["price_per_kwh"], receipt["session_fee"]) == (380, 15, 20)


def test_a_session_that_nobody_reserved_pays_no_reservation(world: World) -> None:
    rule(world, "Reserved", "per_minute", 2, reservation="RESERVATION")
    assert [x["rule_name"] for x in charged(world)["receipt"]["lines"]] == ["Energy"]
