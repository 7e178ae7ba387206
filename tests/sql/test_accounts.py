"""Prepaid accounts: the ledger, holds, bills that are charged once, and who may move money."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from local_supabase import LocalSupabase
from tests.sql.world import (
    ACCOUNT,
    ADMIN,
    CARD,
    COMPANY,
    DRIVER,
    OPENING,
    OPERATOR,
    OTHER_ACCOUNT,
    OTHER_DRIVER,
    OTHER_OPERATOR,
    OTHER_STATION,
    PLAN,
    STATION,
    World,
    iso,
    refused,
)
from tests.support import acting_as

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
NOBODY = UUID("a0000000-0000-4000-8000-0000000000ff")


def give(world: World, balance: object, account: UUID = ACCOUNT) -> None:
    """Correct the balance to this."""
    world.sql(
        "insert into ledger_entries (client_id, kind, amount, note)"
        " select id, 'correction', %s - balance, 'test' from clients where id = %s and balance <> %s",
        balance,
        account,
        balance,
    )


def money(world: World, account: UUID = ACCOUNT) -> tuple[Decimal, Decimal]:
    """Balance and what is held; the ledger agrees with both."""
    row = world.one("select balance, held from clients where id = %s", account)
    sums = world.one(
        "select coalesce(sum(amount), 0) as balance,"
        " coalesce(-sum(amount) filter (where kind in ('hold', 'release')), 0) as held"
        " from ledger_entries where client_id = %s",
        account,
    )
    assert row == sums
    return row["balance"], row["held"]


def entries(world: World, account: UUID = ACCOUNT) -> list[tuple[str, Decimal]]:
    """Kind and amount of what was booked for sessions, in order."""
    rows = world.sql(
        "select kind::text, amount from ledger_entries where client_id = %s"
        " and kind not in ('top_up', 'correction') order by created_at, ctid",
        account,
    )
    return [(row["kind"], row["amount"]) for row in rows]


def press(world: World, who: UUID = DRIVER, **limits: object) -> Row:
    row: Row = world.rpc(who, "start_charge", **{"station_id": STATION, "connector_id": 1, **limits})
    return row


def run(world: World, session: Row, at: float = -60, meter: int = 1000) -> int:
    """The station begins the session that waits; the transaction id."""
    (command,) = [c for c in world.claim() if c["action"] == "RemoteStartTransaction"]
    world.answer(command["command_id"], "result", payload={"status": "Accepted"}, received=at)
    assert world.start(at, session["id_tag"], meter)["idTagInfo"]["status"] == "Accepted"
    return int(session["transaction_id"])


# --- the ledger -----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["balance = 1", "held = 1", "balance = balance + 1"])
def test_balance_is_refused_to_everybody_who_writes_it(world: World, change: str) -> None:
    statement = f"update clients set {change} where id = '{ACCOUNT}'"
    with refused("OCLED"), acting_as(world.db, "service_role"):
        world.sql(statement)
    with refused("OCLED"), world.db.transaction():
        world.sql(statement)  # as in the dashboard
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(world.db, ADMIN):
        world.sql(statement)


def test_account_begins_at_zero(world: World) -> None:
    with refused("OCLED"), acting_as(world.db, "service_role"):
        world.sql("insert into clients (name, balance) values ('New', 100)")
    with acting_as(world.db, ADMIN):
        world.sql("insert into clients (name, credit_limit) values ('New', 100)")


@pytest.mark.parametrize("change", ["currency = 'USD'", "kind = 'operator'"])
def test_account_with_entries_keeps_its_currency_and_kind(world: World, change: str) -> None:
    with refused("OCLED"), acting_as(world.db, ADMIN):
        world.sql(f"update clients set {change} where id = %s", ACCOUNT)


@pytest.mark.parametrize(
    "statement",
    ["update ledger_entries set amount = 1", "update ledger_entries set note = 'x'", "delete from ledger_entries"],
)
def test_entries_are_never_changed(world: World, statement: str) -> None:
    with refused("OCLED"), world.db.transaction():
        world.sql(statement)  # as the owner
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(world.db, "service_role"):
        world.sql(statement)


def test_charge_names_the_station_of_its_session_also_when_that_is_renamed(world: World) -> None:
    """Its operator's entries are found by it."""
    charged(world)
    world.sql("update private.station_connections set disconnected_at = now() where station_id = %s", STATION)
    with acting_as(world.db, "service_role"):
        world.sql("update stations set id = 'RENAMED' where id = %s", STATION)
    named = {row["kind"]: row["station_id"] for row in world.sql("select kind, station_id from ledger_entries")}
    assert named["charge"] == "RENAMED"
    assert {named[kind] for kind in named if kind != "charge"} == {None}
    with acting_as(world.db, OPERATOR):
        assert {row["kind"] for row in world.sql("select kind from ledger_entries")} == {"charge"}


def test_ledger_is_not_emptied(world: World) -> None:
    with refused("OCLED"):
        world.sql("truncate ledger_entries")


@pytest.mark.parametrize("who", [DRIVER, OPERATOR, ADMIN, "service_role"])
def test_nobody_writes_entries_past_the_functions(world: World, who: UUID | str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(world.db, who):
        world.sql(
            "insert into ledger_entries (client_id, kind, amount, reference) values (%s, 'top_up', 5, 'mine')", ACCOUNT
        )


# --- top-up, correction, refund ---------------------------------------------------------------------


def test_top_up_counts_once_per_reference(world: World) -> None:
    arguments = {"client_id": str(ACCOUNT), "amount": "250.50", "reference": "pay-1", "note": "Card"}
    first = world.rpc("service_role", "top_up_account", **arguments)
    assert world.rpc("service_role", "top_up_account", **arguments) == first
    assert (first["kind"], first["amount"], first["currency"], first["note"]) == ("top_up", 250.5, "KGS", "Card")
    assert money(world) == (OPENING + Decimal("250.5"), 0)


@pytest.mark.parametrize("change", [{"amount": 99}, {"client_id": str(OTHER_ACCOUNT)}])
def test_reference_of_another_payment_is_refused(world: World, change: Row) -> None:
    arguments = {"client_id": str(ACCOUNT), "amount": 100, "reference": "pay-1"}
    world.rpc(ADMIN, "top_up_account", **arguments)
    with refused("OCPMT"):
        world.rpc(ADMIN, "top_up_account", **arguments | change)


@pytest.mark.parametrize("amount", [0, -5, "NaN", "Infinity", "0.001", "1e10", None])
def test_top_up_takes_money_only(world: World, amount: object) -> None:
    with refused("OCARG"):
        world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=amount, reference="pay-1")


@pytest.mark.parametrize("reference", ["", "  ", "x" * 501, None])
def test_top_up_needs_a_reference(world: World, reference: object) -> None:
    with refused("OCARG"):
        world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=5, reference=reference)


@pytest.mark.parametrize("account", [NOBODY, COMPANY, None])
@pytest.mark.parametrize("name", ["top_up_account", "correct_balance"])
def test_money_goes_to_accounts_only(world: World, name: str, account: object) -> None:
    text = {"reference": "x"} if name == "top_up_account" else {"reason": "x"}
    with refused("OCCLI"):
        world.rpc(ADMIN, name, client_id=account, amount=5, **text)


@pytest.mark.parametrize("who", [DRIVER, OPERATOR])
@pytest.mark.parametrize("name", ["top_up_account", "correct_balance"])
def test_only_admins_and_the_service_move_money(world: World, who: UUID, name: str) -> None:
    text = {"reference": "x"} if name == "top_up_account" else {"reason": "x"}
    with refused("OCPRM"):
        world.rpc(who, name, client_id=ACCOUNT, amount=5, **text)


def test_correction_may_go_below_zero(world: World) -> None:
    give(world, 10)
    entry = world.rpc(ADMIN, "correct_balance", client_id=ACCOUNT, amount=-25, reason="payment called back")
    assert (entry["kind"], entry["created_by"]) == ("correction", str(ADMIN))
    assert money(world) == (-15, 0)


def charged(world: World, energy_kwh: int = 2) -> str:
    """A settled session of DRIVER at STATION; its id."""
    transaction = world.begin(at=-60)
    world.stop(transaction, 1000 + 1000 * energy_kwh)
    return str(world.session(transaction)["id"])


def test_refunds_are_at_most_what_was_charged(world: World) -> None:
    session_id = charged(world)
    entry = world.rpc(OPERATOR, "refund_session", session_id=session_id, amount=20, reason="cable was loose")
    assert (entry["kind"], entry["amount"], entry["session_id"]) == ("refund", 20, session_id)
    with refused("OCRFD"):
        world.rpc(OPERATOR, "refund_session", session_id=session_id, amount="10.01", reason="again")
    world.rpc(ADMIN, "refund_session", session_id=session_id, amount=10, reason="the rest")
    assert money(world) == (OPENING, 0)


@pytest.mark.parametrize("who", [DRIVER, OTHER_OPERATOR])
def test_refund_is_for_who_runs_the_station(world: World, who: UUID) -> None:
    session_id = charged(world)
    with refused("OCSES"):
        world.rpc(who, "refund_session", session_id=session_id, amount=1, reason="x")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"session_id": NOBODY}, "OCSES"),
        ({"session_id": None}, "OCSES"),
        ({"amount": -1}, "OCARG"),
        ({"amount": "NaN"}, "OCARG"),
        ({"amount": None}, "OCARG"),
        ({"reason": ""}, "OCARG"),
    ],
)
def test_refund_refuses_what_makes_no_sense(world: World, arguments: Row, code: str) -> None:
    session_id = charged(world)
    with refused(code):
        world.rpc(ADMIN, "refund_session", **{"session_id": session_id, "amount": 1, "reason": "x", **arguments})


def test_what_nobody_was_charged_for_is_not_refunded(world: World) -> None:
    world.sql("update users set client_id = null where id = %s", DRIVER)
    session_id = charged(world)
    with refused("OCRFD"):
        world.rpc(ADMIN, "refund_session", session_id=session_id, amount=1, reason="x")


def test_refund_with_a_reference_counts_once(world: World) -> None:
    arguments = {"session_id": charged(world), "amount": 10, "reason": "cable was loose", "reference": "ticket 7"}
    first = world.rpc(OPERATOR, "refund_session", **arguments)
    assert first["reference"] == "ticket 7"
    assert world.rpc(OPERATOR, "refund_session", **arguments | {"reason": "pressed again"}) == first
    with refused("OCPMT"):
        world.rpc(OPERATOR, "refund_session", **arguments | {"amount": 5})
    assert money(world) == (OPENING - 20, 0)


def test_refund_reference_is_its_session_s_own(world: World) -> None:
    """Another company may number its tickets alike."""
    for at in (-60, -30):
        transaction = world.begin(at=at)
        world.stop(transaction, 3000, at=at + 10)
        session_id = world.session(transaction)["id"]
        world.rpc(ADMIN, "refund_session", session_id=session_id, amount=5, reason="x", reference="ticket 7")
    assert world.count("ledger_entries", "kind = 'refund'") == 2


def test_repeat_of_a_refund_of_the_whole_bill_gives_it_back_once(world: World) -> None:
    arguments = {"session_id": charged(world), "amount": 30, "reason": "x", "reference": "all"}
    assert world.rpc(ADMIN, "refund_session", **arguments) == world.rpc(ADMIN, "refund_session", **arguments)
    assert money(world) == (OPENING, 0)


def test_correction_with_a_reference_counts_once(world: World) -> None:
    arguments = {"client_id": str(ACCOUNT), "amount": -25, "reason": "called back", "reference": "dispute 3"}
    first = world.rpc(ADMIN, "correct_balance", **arguments)
    assert world.rpc(ADMIN, "correct_balance", **arguments) == first
    for change in ({"amount": 25}, {"client_id": str(OTHER_ACCOUNT)}):
        with refused("OCPMT"):
            world.rpc(ADMIN, "correct_balance", **arguments | change)
    assert money(world) == (OPENING - 25, 0)


def test_corrections_without_a_reference_each_count(world: World) -> None:
    for _ in range(2):
        world.rpc(ADMIN, "correct_balance", client_id=ACCOUNT, amount=5, reason="x")
    assert money(world) == (OPENING + 10, 0)


@pytest.mark.parametrize("reference", ["", "  ", "x" * 501])
def test_reference_that_is_given_says_something(world: World, reference: str) -> None:
    session_id = charged(world)
    with refused("OCARG"):
        world.rpc(ADMIN, "refund_session", session_id=session_id, amount=1, reason="x", reference=reference)
    with refused("OCARG"):
        world.rpc(ADMIN, "correct_balance", client_id=ACCOUNT, amount=1, reason="x", reference=reference)


# --- holds of the four modes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "hold"),
    [
        ({}, 1500),  # 100 kWh at 15
        ({"limit_energy_kwh": 12}, 180),
        ({"limit_amount": 77}, 77),
        ({"limit_energy_kwh": 12, "limit_amount": 77}, 77),
        ({"limit_energy_kwh": 2, "limit_amount": 77}, 30),
    ],
)
def test_start_puts_aside_what_the_charge_may_cost(world: World, limits: Row, hold: int) -> None:
    session = press(world, **limits)
    assert session["held_amount"] == hold
    assert money(world) == (OPENING - hold, hold)
    assert entries(world) == [("hold", -hold)]


def test_quote_for_the_energy_counts_the_time_it_takes(world: World) -> None:
    world.sql(
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values (%s, 'Time', 'per_minute', 1)", PLAN
    )
    assert press(world, limit_energy_kwh=22)["held_amount"] == 22 * 15 + 60  # an hour at 22 kW


def test_without_a_limit_what_there_is_will_do(world: World) -> None:
    give(world, 40)
    assert press(world)["held_amount"] == 40
    assert money(world) == (0, 40)


@pytest.mark.parametrize("limits", [{}, {"limit_energy_kwh": 1}, {"limit_amount": 1}])
def test_nothing_left_means_no_start(world: World, limits: Row) -> None:
    give(world, 0)
    with refused("OCBAL"):
        press(world, **limits)
    assert world.count("charging_sessions") == world.count("commands") == 0


@pytest.mark.parametrize("limits", [{"limit_energy_kwh": 10}, {"limit_amount": 150}])
def test_limit_that_the_balance_does_not_cover_is_refused_with_what_is_available(world: World, limits: Row) -> None:
    give(world, "149.99")
    with pytest.raises(psycopg.Error, match=r"149\.99 KGS are available, 150(\.00)? needed"):
        press(world, **limits)


def test_less_than_the_fee_of_the_first_moment_is_nothing(world: World) -> None:
    world.sql("update stations set session_fee = 20 where id = %s", STATION)
    give(world, 19)
    with refused("OCBAL"):
        press(world)


@pytest.mark.parametrize(("fee", "least"), [(20, None), (None, 20), (12, 20)])
def test_limit_that_the_start_alone_uses_up_is_refused(world: World, fee: int | None, least: int | None) -> None:
    """It would be stopped, and paid for, with its first meter value."""
    world.sql("update stations set session_fee = %s where id = %s", fee, STATION)
    world.sql("update tariff_plans set min_price = %s", least)
    with pytest.raises(psycopg.Error, match=r"a limit of 20\.00 KGS leaves nothing to charge with.* costs 20\.00"):
        press(world, limit_amount=20)
    with refused("OCARG"):
        press(world, limit_amount=20, limit_energy_kwh=5)
    assert money(world) == (OPENING, 0)
    assert press(world, limit_amount=21)["held_amount"] == 21


def test_credit_limit_lets_the_balance_go_below_zero(world: World) -> None:
    give(world, 0)
    with acting_as(world.db, ADMIN):
        world.sql("update clients set credit_limit = 100 where id = %s", ACCOUNT)
    assert press(world)["held_amount"] == 100
    assert money(world) == (-100, 100)


def test_free_charging_needs_no_money(world: World) -> None:
    world.sql("update tariff_rules set price = 0 where tariff_plan_id = %s", PLAN)
    give(world, 0)
    assert press(world)["held_amount"] == 0


def test_account_in_another_currency_is_refused(world: World) -> None:
    world.sql("insert into clients (id, name, currency) values (%s, 'Dollars', 'USD')", NOBODY)
    world.sql("update users set client_id = %s where id = %s", NOBODY, DRIVER)
    with refused("OCCUR"):
        press(world)


def test_company_pays_later(world: World) -> None:
    session = press(world, OPERATOR)
    assert session["held_amount"] == 0
    transaction = run(world, session)
    world.stop(transaction, 3000)
    assert world.session(transaction)["unpaid_amount"] == 0
    assert world.count("ledger_entries", "client_id = %s", COMPANY) == 0


def test_whether_somebody_must_pay_is_a_setting(world: World) -> None:
    world.sql("update users set client_id = null where id = %s", DRIVER)
    assert press(world)["held_amount"] == 0
    world.sql("update private.settings set require_account = true")
    with refused("OCACC"):
        press(world, connector_id=2)
    assert world.start(tag=CARD, connector=2)["idTagInfo"]["status"] == "Blocked"


def test_pressed_twice_is_held_once(world: World) -> None:
    assert press(world)["id"] == press(world)["id"]
    assert len(entries(world)) == 1


def test_fleet_shares_one_balance(world: World) -> None:
    world.sql("update users set client_id = %s where id = %s", ACCOUNT, OTHER_DRIVER)
    give(world, 100)
    press(world, limit_amount=60)
    with refused("OCBAL"):
        press(world, OTHER_DRIVER, connector_id=2, limit_amount=60)
    assert press(world, OTHER_DRIVER, connector_id=2, limit_amount=40)["held_amount"] == 40


# --- the bill ---------------------------------------------------------------------------------------


def test_stop_releases_the_hold_and_charges_the_bill_once(world: World) -> None:
    session = press(world, limit_amount=100)
    transaction = run(world, session)
    for _ in range(2):
        world.stop(transaction, 3000)  # 2 kWh
    assert entries(world) == [("hold", -100), ("release", 100), ("charge", -30)]
    assert money(world) == (OPENING - 30, 0)
    row = world.session(transaction)
    assert (row["held_amount"], row["unpaid_amount"], row["amount"]) == (0, 0, 30)


def test_settled_session_stays_settled(world: World) -> None:
    transaction = world.begin()
    world.stop(transaction, 3000)
    for change in (
        "settled_at = null",
        "settled_at = now() + interval '1 s'",
        "status = 'started'",
        "amount = 0",
        "currency = 'EUR'",
        "receipt = null",
        "energy = 1",
        "client_id = null",
        "held_amount = 1",
        "unpaid_amount = 1",
        "start_time = start_time - interval '1 s'",
        "stop_time = null",
        "meter_stop_wh = 2000",
        "station_id = 'ST-2'",
    ):
        with refused("OCSET"), world.db.transaction(), acting_as(world.db, "service_role"):
            world.sql(f"update charging_sessions set {change} where transaction_id = %s", transaction)
    with refused("OCDEL"), world.db.transaction(), acting_as(world.db, "service_role"):
        world.sql("delete from charging_sessions where transaction_id = %s", transaction)
    assert money(world) == (OPENING - 30, 0)


def test_what_is_unpaid_is_what_the_ledger_says_whoever_writes_it(world: World) -> None:
    give(world, 20)
    transaction = world.begin()
    world.stop(transaction, 3000)
    assert world.session(transaction)["unpaid_amount"] == 10
    for wrong in (0, 5, 11):
        with refused("OCSET"), world.db.transaction():
            world.sql("update charging_sessions set unpaid_amount = %s", wrong)
    world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=4, reference="some")
    assert world.session(transaction)["unpaid_amount"] == 6
    world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=50, reference="rest")
    assert world.session(transaction)["unpaid_amount"] == 0


def test_running_session_is_not_deleted_nor_one_with_money_on_hold(world: World) -> None:
    pending = press(world)
    transaction = world.begin(connector=2)
    for session in (pending["id"], world.session(transaction)["id"]):
        with refused("OCDEL"), world.db.transaction(), acting_as(world.db, "service_role"):
            world.sql("delete from charging_sessions where id = %s", session)


def test_settled_session_forgets_its_driver_and_follows_its_station(world: World) -> None:
    transaction = world.begin()
    world.stop(transaction, 3000)
    world.sql("update private.station_connections set disconnected_at = now()")
    world.sql("delete from auth.users where id = %s", DRIVER)
    world.sql("update stations set id = 'NEW' where id = %s", STATION)
    row = world.session(transaction)
    assert (row["user_id"], row["station_id"], row["amount"]) == (None, "NEW", 30)


def test_bill_above_the_money_is_charged_as_far_as_it_goes(world: World) -> None:
    give(world, 20)
    session = press(world)
    transaction = run(world, session)
    world.stop(transaction, 3000)  # 30 KGS
    row = world.session(transaction)
    assert (row["amount"], row["unpaid_amount"]) == (30, 10)
    assert "unpaid" in row["flags"]
    assert money(world) == (0, 0)


def owing(world: World) -> int:
    """A session for which 10 of 30 KGS are missing."""
    give(world, 20)
    transaction = run(world, press(world))
    world.stop(transaction, 3000)
    return transaction


def test_who_owes_does_not_start(world: World) -> None:
    owing(world)
    world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=4, reference="pay-1")
    with refused("OCDUE"):
        press(world)
    assert world.send("Authorize", {"idTag": CARD})["idTagInfo"]["status"] == "Blocked"


def test_top_up_pays_what_is_missing_first(world: World) -> None:
    transaction = owing(world)
    world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=4, reference="pay-1")
    assert (world.session(transaction)["unpaid_amount"], *money(world)) == (6, 0, 0)
    world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=10, reference="pay-2")
    row = world.session(transaction)
    assert (row["unpaid_amount"], row["flags"], *money(world)) == (0, [], 4, 0)
    assert entries(world)[-3:] == [("charge", -20), ("charge", -4), ("charge", -6)]
    assert press(world, limit_amount=4)["held_amount"] == 4


def test_higher_credit_limit_pays_what_is_missing_at_the_next_start(world: World) -> None:
    transaction = owing(world)
    world.sql("update clients set credit_limit = 50 where id = %s", ACCOUNT)
    assert press(world)["held_amount"] == 40
    assert world.session(transaction)["unpaid_amount"] == 0


def test_what_is_waived_closes_the_bill_and_leaves_the_balance(world: World) -> None:
    transaction = owing(world)
    session_id = world.session(transaction)["id"]
    entry = world.rpc(OPERATOR, "waive_unpaid", session_id=session_id, reason="charger was slow")
    assert (entry["kind"], entry["amount"], entry["created_by"]) == ("waiver", 10, str(OPERATOR))
    assert world.rpc(OPERATOR, "waive_unpaid", session_id=session_id, reason="again") == entry
    row = world.session(transaction)
    assert (row["amount"], row["unpaid_amount"], row["flags"]) == (30, 0, ["waived"])
    charges = "kind in ('charge', 'waiver') and session_id = %s"
    assert world.one(f"select sum(amount) from ledger_entries where {charges}", session_id) == -20
    assert money(world) == (0, 0)
    world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=15, reference="pay-1")
    assert money(world) == (15, 0)
    assert press(world, limit_amount=15)["held_amount"] == 15


def test_what_was_waived_is_not_given_back(world: World) -> None:
    session_id = world.session(owing(world))["id"]
    world.rpc(OPERATOR, "waive_unpaid", session_id=session_id, reason="x")
    with refused("OCRFD"):
        world.rpc(OPERATOR, "refund_session", session_id=session_id, amount="20.01", reason="x")
    world.rpc(OPERATOR, "refund_session", session_id=session_id, amount=20, reason="x")
    assert money(world) == (20, 0)


def test_nothing_unpaid_is_nothing_to_waive(world: World) -> None:
    paid, running = charged(world), press(world)["id"]
    for session_id in (paid, running):
        with refused("OCPAI"):
            world.rpc(ADMIN, "waive_unpaid", session_id=session_id, reason="x")


@pytest.mark.parametrize(
    ("who", "reason", "code"),
    [(DRIVER, "x", "OCSES"), (OTHER_OPERATOR, "x", "OCSES"), (OPERATOR, " ", "OCARG"), (OPERATOR, None, "OCARG")],
)
def test_waiving_is_for_who_runs_the_station_and_has_a_reason(world: World, who: UUID, reason: str, code: str) -> None:
    session_id = world.session(owing(world))["id"]
    with refused(code):
        world.rpc(who, "waive_unpaid", session_id=session_id, reason=reason)
    assert world.one("select unpaid_amount from charging_sessions") == 10


def test_bill_held_for_review_keeps_its_hold_until_it_is_released(world: World) -> None:
    world.sql("update stations set hold_implausible = true where id = %s", STATION)
    transaction = run(world, press(world, limit_amount=100), at=-1)
    world.stop(transaction, 1_001_000)  # 1 MWh in a minute
    assert money(world) == (OPENING - 100, 100)
    world.rpc(OPERATOR, "release_session", session_id=world.session(transaction)["id"])
    assert money(world) == (OPENING - 15_000, 0)


def test_start_said_again_with_another_time_is_the_charge_that_was_asked_for(world: World) -> None:
    """Some stations make the time of a start anew with each repeat; the tag was made for one charge."""
    session = press(world, limit_amount=100)
    transaction = run(world, session, at=-60)
    assert world.begin(-59, session["id_tag"], 1000) == transaction
    world.stop(transaction, 3000)
    assert world.count("charging_sessions") == 1
    assert money(world) == (OPENING - 30, 0)


def test_charge_that_goes_on_in_a_new_transaction_is_paid_by_the_same_account_within_the_same_limit(
    world: World,
) -> None:
    """After a power cut: the tag is the one of before, the register has moved, the first stop never comes."""
    give(world, 100)
    session = press(world, limit_amount=100)
    first = run(world, session, at=-60)
    world.meter(-50, 3000, transaction=first)  # 30 KGS
    second = world.begin(-40, session["id_tag"], 3000)
    assert second != first
    row = world.session(second)
    assert (row["client_id"], row["user_id"], row["limit_amount"], row["held_amount"]) == (ACCOUNT, DRIVER, 70, 70)
    assert (world.session(first)["held_amount"], *money(world)) == (30, 0, 100)
    world.stop(second, 5000)
    world.stop(first, 3000, at=-45)
    assert [r["amount"] for r in world.sessions()] == [30, 30]
    assert money(world) == (40, 0)


def test_charge_that_goes_on_twice_is_paid_by_the_same_account_within_the_same_limit(world: World) -> None:
    session = press(world, limit_amount=100)
    transactions = [run(world, session, at=-60)]
    for n in (1, 2):
        world.meter(-60 + n * 10, 1000 + n * 1000, transaction=transactions[-1])  # 15 KGS more
        transactions.append(world.begin(-55 + n * 10, session["id_tag"].lower(), 1000 + n * 1000))
        assert world.begin(-54 + n * 10, session["id_tag"].lower(), 1000 + n * 1000) == transactions[-1]  # a repeat
    row = world.session(transactions[-1])
    assert (row["client_id"], row["user_id"], row["limit_amount"]) == (ACCOUNT, DRIVER, 70)
    world.stop(transactions[2], 5000)
    for transaction, meter in zip(transactions[:2], (2000, 3000), strict=True):
        world.stop(transaction, meter)
    assert [r["amount"] for r in world.sessions()] == [15, 15, 30]
    assert money(world) == (OPENING - 60, 0)


def test_charge_that_goes_on_where_registers_begin_at_0_each_time_is_billed_whole(world: World) -> None:
    """The station named the first transaction, so its next start is no repeat of the first."""
    session = press(world, limit_amount=100)
    first = run(world, session, at=-60, meter=0)
    assert world.begin(-59, session["id_tag"], 0) == first
    world.meter(-50, 2000, transaction=first)  # 30 KGS
    second = world.begin(-40, session["id_tag"], 0)
    assert second != first
    world.stop(second, 1000)
    world.stop(first, 2000, at=-45)
    assert [r["amount"] for r in world.sessions()] == [30, 15]
    assert money(world) == (OPENING - 45, 0)


def test_charge_that_goes_on_although_it_was_to_stop_is_told_to_stop(world: World) -> None:
    """The driver pressed stop while the power was away."""
    session = press(world)
    first = run(world, session, at=-60)
    world.meter(-50, 2000, transaction=first)
    world.rpc(DRIVER, "stop_charge", session_id=session["id"])
    second = world.begin(-40, session["id_tag"], 2000)
    assert [(c["action"], c["payload"]) for c in world.claim()] == [
        ("RemoteStopTransaction", {"transactionId": second})
    ]
    assert world.session(second)["stop_requested_at"] is not None


def test_lost_stop_keeps_on_hold_what_was_used_and_no_more(world: World) -> None:
    give(world, 100)
    first = world.begin(at=-60)
    world.meter(-50, 3000, transaction=first)  # 30 KGS
    assert money(world) == (0, 100)
    second = world.begin(at=-40, meter=3000)
    assert [r["held_amount"] for r in world.sessions()] == [30, 70]
    world.stop(second, 5000)
    assert money(world) == (40, 30)
    world.stop(first, 4000, at=-45)  # it comes after all, and says 45 KGS
    assert money(world) == (25, 0)
    assert [(r["amount"], r["unpaid_amount"]) for r in world.sessions()] == [(45, 0), (30, 0)]


def test_housekeeping_that_gives_up_a_stop_releases_what_was_not_used(world: World) -> None:
    transaction = run(world, press(world, limit_amount=100), at=-60)
    world.meter(-50, 3000, transaction=transaction)
    available = {"connectorId": 1, "status": "Available", "errorCode": "NoError", "timestamp": iso(world.at(-40))}
    world.send("StatusNotification", available, received=-40)
    world.sql("alter table charging_sessions disable trigger set_updated_at")
    world.sql("update charging_sessions set updated_at = now() - interval '11 minutes'")
    world.heartbeat()
    assert world.session(transaction)["flags"] == ["stop_missing"]
    assert money(world) == (OPENING - 30, 30)


def test_session_without_a_stop_is_charged_when_it_is_settled(world: World) -> None:
    transaction = run(world, press(world, limit_amount=100), at=-60 * 30)
    world.meter(-60 * 29, 3000, transaction=transaction)
    world.sql(
        "update charging_sessions set status = 'stopped', stop_time = %s, provisional_at = now() - interval '25 hours'",
        world.at(-60 * 29),
    )
    assert money(world) == (OPENING - 100, 100)
    world.heartbeat()
    assert money(world) == (OPENING - 30, 0)


def test_repeated_start_holds_once(world: World) -> None:
    first = world.start()
    assert world.start() == first
    assert entries(world) == [("hold", -1500)]


# --- cards ------------------------------------------------------------------------------------------


def test_card_start_holds_what_there_is(world: World) -> None:
    give(world, 40)
    assert world.start()["idTagInfo"]["status"] == "Accepted"
    assert money(world) == (0, 40)


def test_card_without_money_is_blocked_and_recorded(world: World) -> None:
    give(world, 0)
    assert world.send("Authorize", {"idTag": CARD})["idTagInfo"]["status"] == "Blocked"
    answer = world.start()
    assert answer["idTagInfo"]["status"] == "Blocked"
    row = world.session(answer["transactionId"])
    assert row["status"] == "started"
    assert row["flags"] == ["id_tag_refused", "no_funds"]
    assert world.start() == answer


def test_card_whose_account_is_in_another_currency_is_blocked_flagged_and_not_charged(world: World) -> None:
    world.sql("insert into clients (id, name, currency) values (%s, 'Dollars', 'USD')", NOBODY)
    world.sql("update users set client_id = %s where id = %s", NOBODY, DRIVER)
    answer = world.start()
    world.stop(answer["transactionId"], 3000)
    row = world.session(answer["transactionId"])
    assert answer["idTagInfo"]["status"] == "Blocked"
    assert "wrong_currency" in row["flags"]
    assert (row["amount"], row["unpaid_amount"]) == (30, 0)
    assert world.count("ledger_entries", "client_id = %s", NOBODY) == 0


def test_card_that_charges_may_be_shown_again_when_the_money_is_all_held(world: World) -> None:
    give(world, 40)
    world.start()
    assert world.send("Authorize", {"idTag": CARD})["idTagInfo"]["status"] == "Accepted"


def test_stop_never_says_that_a_card_is_blocked_for_want_of_money(world: World) -> None:
    give(world, 30)
    answer = world.stop(world.begin(), 3000, idTag=CARD)
    assert money(world) == (0, 0)
    assert answer["idTagInfo"]["status"] == "Accepted"


# --- starts that never happen -------------------------------------------------------------------------


def ended(world: World, session: Row) -> None:
    assert entries(world) == [("hold", -1500), ("release", 1500)]
    assert money(world) == (OPENING, 0)
    assert world.session(session["transaction_id"])["held_amount"] == 0


def test_hold_is_released_when_the_command_expires(world: World) -> None:
    session = press(world)
    world.sql("update commands set expires_at = now() - interval '1 s'")
    world.heartbeat()
    ended(world, session)


def test_hold_is_released_when_the_station_refuses(world: World) -> None:
    session = press(world)
    world.answer(world.claim_one()["command_id"], "result", payload={"status": "Rejected"})
    ended(world, session)


def test_hold_is_released_when_the_station_answers_with_an_error(world: World) -> None:
    session = press(world)
    world.answer(world.claim_one()["command_id"], "error", error={"code": "InternalError"})
    ended(world, session)


def test_hold_is_released_when_the_charge_is_called_off(world: World) -> None:
    session = press(world)
    world.rpc(DRIVER, "stop_charge", session_id=session["id"])
    ended(world, session)


def test_hold_is_released_when_the_car_is_never_plugged_in(world: World) -> None:
    session = press(world)
    world.answer(world.claim_one()["command_id"], "result", payload={"status": "Accepted"})
    world.sql("update charging_sessions set expires_at = now() - interval '1 s'")
    world.heartbeat()
    ended(world, session)


def overdue(world: World, *, sent: bool) -> Row:
    """A start whose time is up, and no bridge beats any more; sent: the station was told and accepted."""
    session = press(world)
    if sent:
        world.answer(world.claim_one()["command_id"], "result", payload={"status": "Accepted"})
        world.sql("update charging_sessions set expires_at = now() - interval '1 s'")
    else:
        world.sql("update commands set expires_at = now() - interval '1 s'")
    return session


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("booking", ["top_up_account", "correct_balance", "refund_session"])
def test_booking_on_an_account_releases_the_hold_of_a_start_whose_time_is_up(
    world: World, booking: str, sent: bool
) -> None:
    paid = charged(world)
    give(world, 100)
    session = overdue(world, sent=sent)
    assert money(world) == (0, 100)
    on = {"session_id": paid} if booking == "refund_session" else {"client_id": ACCOUNT}
    word = {"reference": "pay-1"} if booking == "top_up_account" else {"reason": "x"}
    world.rpc(ADMIN, booking, amount=5, **on, **word)
    assert money(world) == (105, 0)
    row = world.session(session["transaction_id"])
    assert (row["status"], row["held_amount"]) == ("error", 0)
    assert row["error"] == ("the station accepted, but no charge began" if sent else "the station could not be reached")


@pytest.mark.parametrize("payer", [None, COMPANY])
def test_start_without_an_account_leaves_the_starts_of_others_to_the_housekeeping(
    world: World, payer: UUID | None
) -> None:
    """No hold is in its way, and it would lock what belongs to other stations."""
    session = press(world, OPERATOR)
    world.sql("update commands set expires_at = now() - interval '1 s'")
    world.sql("insert into id_tags (id_tag, client_id) values ('POSTPAID', %s)", payer)
    assert world.start(tag="POSTPAID", station=OTHER_STATION)["idTagInfo"]["status"] == "Accepted"
    assert world.session(session["transaction_id"])["status"] == "pending"


def test_start_of_another_finds_connector_and_money_of_one_whose_time_is_up(world: World) -> None:
    world.sql("update users set client_id = %s where id = %s", ACCOUNT, OTHER_DRIVER)
    give(world, 100)
    overdue(world, sent=False)
    assert press(world, OTHER_DRIVER)["held_amount"] == 100


def test_start_elsewhere_finds_the_money_of_one_whose_time_is_up(world: World) -> None:
    give(world, 100)
    overdue(world, sent=True)
    session = world.rpc(DRIVER, "start_charge", station_id=OTHER_STATION, limit_amount=100)
    assert session["held_amount"] == 100


def test_start_that_still_has_time_keeps_its_hold(world: World) -> None:
    session = press(world, limit_amount=100)
    world.rpc(ADMIN, "top_up_account", client_id=ACCOUNT, amount=5, reference="pay-1")
    assert world.session(session["transaction_id"])["status"] == "pending"
    assert money(world) == (OPENING - 95, 100)


def test_start_whose_time_is_up_is_called_off_at_once(world: World) -> None:
    session = overdue(world, sent=True)
    assert world.rpc(DRIVER, "stop_charge", session_id=session["id"])["status"] == "stopped"
    ended(world, session)


def test_housekeeping_without_a_bridge_releases_holds(world: World) -> None:
    """As pg_cron calls it: docs/self-hosting.md."""
    session = overdue(world, sent=False)
    world.sql("update private.bridges set lease_expires_at = now() - interval '1 hour'")
    world.sql("select private.keep_house()")
    ended(world, session)
    assert world.one("select status from commands") == "expired"


def test_start_that_comes_after_its_hold_was_released_takes_another(world: World) -> None:
    session = press(world, limit_amount=100)
    world.answer(world.claim_one()["command_id"], "timeout")
    world.sql("update charging_sessions set expires_at = now() - interval '1 s'")
    world.heartbeat()
    assert money(world) == (OPENING, 0)
    assert world.start(tag=session["id_tag"])["idTagInfo"]["status"] == "Accepted"
    assert money(world) == (OPENING - 100, 100)
    world.stop(session["transaction_id"], 3000)
    assert money(world) == (OPENING - 30, 0)


def test_late_start_without_money_is_blocked(world: World) -> None:
    session = press(world, limit_amount=100)
    world.answer(world.claim_one()["command_id"], "timeout")
    world.sql("update charging_sessions set expires_at = now() - interval '1 s'")
    world.heartbeat()
    give(world, 0)
    answer = world.start(tag=session["id_tag"])
    assert answer["idTagInfo"]["status"] == "Blocked"
    assert world.session(answer["transactionId"])["id"] == UUID(session["id"])


# --- a station that is gone for good -----------------------------------------------------------------------


def test_session_of_a_station_that_never_comes_back_is_closed_and_its_hold_released(world: World) -> None:
    give(world, 5000)
    transaction = world.begin(at=-50)
    world.meter(-40, 3000, transaction=transaction)  # 2 kWh since the start, 15 KGS each
    session = world.session(transaction)
    with refused("OCCLO"):
        world.rpc(OPERATOR, "close_session", session_id=session["id"])  # it is online
    world.ingest(world.event("disconnect", code=1006, received=-30))
    for who in (DRIVER, OTHER_OPERATOR):
        with refused("OCSES"):
            world.rpc(who, "close_session", session_id=session["id"])
    closed = world.rpc(OPERATOR, "close_session", session_id=session["id"])
    assert (closed["status"], closed["amount"], closed["settled_at"]) == ("stopped", 30, None)
    assert world.session(transaction)["stop_time"] == world.at(-40)
    assert world.rpc(OPERATOR, "close_session", session_id=session["id"]) == closed
    world.sql("update charging_sessions set provisional_at = now() - interval '25 hours'")
    world.heartbeat()
    assert money(world) == (4970, 0)


def test_closed_session_without_meter_values_ends_when_its_station_was_last_heard_of(world: World) -> None:
    transaction = world.begin(at=-50)
    world.sql("update private.station_connections set last_message_at = %s", world.at(-45))
    world.ingest(world.event("disconnect", code=1006, received=-30))
    world.rpc(ADMIN, "close_session", session_id=world.session(transaction)["id"])
    assert world.session(transaction)["stop_time"] == world.at(-45)


def test_stop_that_comes_after_all_wins_over_a_closed_session(world: World) -> None:
    transaction = world.begin(at=-50, meter=1000)
    world.ingest(world.event("disconnect", code=1006, received=-30))
    world.rpc(OPERATOR, "close_session", session_id=world.session(transaction)["id"])
    world.connect(received=-5)
    world.stop(transaction, 5000, at=-31, received=-4)
    session = world.session(transaction)
    assert (session["energy"], session["amount"], session["settled_at"] is not None) == (4, 60, True)
    assert "stop_missing" not in session["flags"]


def test_session_that_has_not_begun_is_called_off_and_not_closed(world: World) -> None:
    session = press(world)
    world.ingest(world.event("disconnect", code=1006))
    with refused("OCCLO"):
        world.rpc(OPERATOR, "close_session", session_id=session["id"])


# --- start_charge_for, delete_session -------------------------------------------------------------------


@pytest.mark.parametrize("who", [OPERATOR, ADMIN, "service_role"])
def test_charge_is_started_for_somebody_whose_account_pays(world: World, who: UUID | str) -> None:
    session = world.rpc(who, "start_charge_for", user_id=DRIVER, station_id=STATION, limit_amount=50)
    assert (session["user_id"], session["client_id"], session["held_amount"]) == (str(DRIVER), str(ACCOUNT), 50)
    assert world.rpc(DRIVER, "stop_charge", session_id=session["id"])["status"] == "stopped"


@pytest.mark.parametrize(
    ("who", "arguments", "code"),
    [
        (DRIVER, {}, "OCPRM"),
        (OTHER_OPERATOR, {}, "OCPRM"),
        (OPERATOR, {"station_id": OTHER_STATION}, "OCPRM"),
        (OPERATOR, {"station_id": "nowhere"}, "OCSTA"),
        (OPERATOR, {"user_id": NOBODY}, "OCUSR"),
        (OPERATOR, {"user_id": None}, "OCUSR"),
        (OPERATOR, {"limit_amount": -1}, "OCARG"),
        (OPERATOR, {"limit_energy_kwh": "NaN"}, "OCARG"),
        (OPERATOR, {"connector_id": 99}, "OCCON"),
    ],
)
def test_charge_for_others_refuses(world: World, who: UUID, arguments: Row, code: str) -> None:
    with refused(code):
        world.rpc(who, "start_charge_for", **{"user_id": DRIVER, "station_id": STATION, **arguments})


def test_who_starts_for_somebody_else_is_not_told_how_much_money_they_have(world: World) -> None:
    def refusal(who: UUID, rpc: str, **arguments: object) -> str:
        with pytest.raises(psycopg.ProgrammingError, match="OCBAL") as error:
            world.rpc(who, rpc, station_id=STATION, limit_amount=5000, **arguments)
        return str(error.value)

    give(world, 1234)
    assert "1234" not in refusal(OPERATOR, "start_charge_for", user_id=DRIVER)
    assert "1234 KGS are available, 5000.00 needed" in refusal(ADMIN, "start_charge_for", user_id=DRIVER)
    assert "1234 KGS are available, 5000.00 needed" in refusal(DRIVER, "start_charge")


@pytest.mark.parametrize("who", [DRIVER, OPERATOR, ADMIN])
def test_session_that_never_began_is_deleted_and_its_hold_released(world: World, who: UUID) -> None:
    session = press(world)
    world.rpc(who, "delete_session", session_id=session["id"])
    assert world.count("charging_sessions") == 0
    assert money(world) == (OPENING, 0)
    assert world.one("select status from commands") == "cancelled"
    with refused("OCSES"):
        world.rpc(who, "delete_session", session_id=session["id"])


def test_session_that_has_begun_is_not_deleted(world: World) -> None:
    transaction = world.begin()
    for _ in range(2):
        with refused("OCDEL"):
            world.rpc(OPERATOR, "delete_session", session_id=world.session(transaction)["id"])
        world.stop(transaction, 3000)


def test_session_that_the_station_may_still_start_is_not_deleted(world: World) -> None:
    session = press(world)
    world.claim_one()
    with refused("OCDEL"):
        world.rpc(DRIVER, "delete_session", session_id=session["id"])


@pytest.mark.parametrize("who", [OTHER_DRIVER, OTHER_OPERATOR])
def test_sessions_of_others_are_not_deleted(world: World, who: UUID) -> None:
    session = press(world)
    with refused("OCSES"):
        world.rpc(who, "delete_session", session_id=session["id"])


# --- who reads the ledger ---------------------------------------------------------------------------


def seen(world: World, who: UUID) -> set[str]:
    with acting_as(world.db, who):
        return {row["kind"] for row in world.sql("select kind::text from ledger_entries where client_id = %s", ACCOUNT)}


def test_entries_are_read_by_the_holder_admins_and_charges_by_the_company(world: World) -> None:
    charged(world)
    everything = {"top_up", "hold", "release", "charge"}
    assert seen(world, DRIVER) == seen(world, ADMIN) == everything
    assert seen(world, OPERATOR) == {"charge"}
    assert seen(world, OTHER_DRIVER) == seen(world, OTHER_OPERATOR) == set()


# --- a database of the release before ----------------------------------------------------------------


def test_what_accounts_had_before_there_was_a_ledger_is_their_first_entry(cluster: LocalSupabase) -> None:
    """The migrations before the ledger, then money, then the others."""
    name = "before_the_ledger"
    cluster.postgres.create_database(name)
    with cluster.postgres.connect(name) as connection:
        cluster.postgres.bootstrap_database(connection)
    try:
        with psycopg.connect(cluster.postgres.url("postgres", name), autocommit=True) as db:
            for path in sorted((ROOT / "supabase/migrations").glob("*.sql")):
                if path.name == "20261122131000_create_ledger.sql":
                    db.execute("insert into clients (name, balance) values ('Rich', 120.5), ('Poor', 0), ('Owes', -3)")
                with db.transaction():
                    db.execute(path.read_text())  # type: ignore[arg-type]
            found = db.execute(
                "select c.name, c.balance, c.held, e.kind::text, e.amount, e.currency"
                " from clients as c left join ledger_entries as e on e.client_id = c.id order by c.name"
            ).fetchall()
    finally:
        cluster.postgres.drop_database(name)
    assert found == [
        ("Owes", -3, 0, "correction", -3, "KGS"),
        ("Poor", 0, 0, None, None, None),
        ("Rich", Decimal("120.5"), 0, "correction", Decimal("120.5"), "KGS"),
    ]
