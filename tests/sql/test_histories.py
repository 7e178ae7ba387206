"""A thousand random histories of what stations, drivers, payment services and bridges do, thrown at the database.

Whatever happened, and in whatever order and however often it was heard of: one settlement per session, the sum of the
ledger is the balance, nothing is held in the end, bill = receipt = sum of its lines = what was charged and what is
missing, and no charge took a balance below what the account allows.

Each history has a station and two accounts of its own. Time passes by moving the times in the rows.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.sql.world import BRIDGE_ID, LOCATION, PLAN, World, iso

Row = dict[str, Any]
HISTORIES = 1000
PER_TEST = 50  # in one transaction, which is undone


class History:
    """One station with two connectors; two accounts, one of which two drivers share."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.station = f"H-{seed}"
        self.minute = -600.0  # by the clock of everybody
        self.accounts = [uuid4(), uuid4()]
        self.drivers = [uuid4(), uuid4(), uuid4()]
        self.cards = [f"{self.random.randrange(16**14):014X}" for _ in self.drivers]
        self.running: dict[int, Row] = {}  # by connector, as the station knows it
        self.register = {1: 5000, 2: 900_000}
        self.late: list[Row] = []  # what the station could not send when it happened
        self.told: list[Row] = []  # what may be sent again
        self.payments = 0
        self.bridge = BRIDGE_ID
        credit = self.random.choice([0, 0, 0, 50])
        for account in self.accounts:
            world.sql("insert into clients (id, name, credit_limit) values (%s, %s, %s)", account, self.station, credit)
            if self.random.random() < 0.9:
                self.pay(account)
        for n, driver in enumerate(self.drivers):
            world.sql("insert into auth.users (id, email) values (%s, %s)", driver, f"{driver}@example.org")
            world.sql("update users set client_id = %s where id = %s", self.accounts[n % 2], driver)
            world.sql("insert into id_tags (id_tag, user_id) values (%s, %s)", self.cards[n], driver)
        fee = self.random.choice([None, None, 7])
        world.sql(
            "insert into stations (id, location_id, tariff_plan_id, power_capacity, session_fee, hold_implausible)"
            " values (%s, %s, %s, 22, %s, %s)",
            self.station,
            LOCATION,
            PLAN,
            fee,
            self.random.random() < 0.1,
        )
        world.sql("insert into connectors (station_id, number) values (%s, 1), (%s, 2)", self.station, self.station)
        self.connect()

    # --- what may happen ------------------------------------------------------------------------

    def pay(self, account: UUID | None = None) -> None:
        self.payments += 1
        arguments = {
            "client_id": account or self.random.choice(self.accounts),
            "amount": self.random.choice([3, 20, 75, 400]),
            "reference": f"{self.station} {self.payments}",
        }
        for _ in range(self.random.choice([1, 1, 2])):
            self.world.rpc("service_role", "top_up_account", **arguments)

    def connect(self) -> None:
        """A new connection, perhaps on another bridge."""
        self.bridge = self.random.choice([BRIDGE_ID, "bridge-b"])
        self.world.connect(self.station, self.bridge, received=self.minute)
        self.world.sql("update private.station_connections set booted_at = now() where station_id = %s", self.station)

    def press(self) -> None:
        limits = self.random.choice(
            [{}, {"limit_energy_kwh": 4}, {"limit_amount": 30}, {"limit_energy_kwh": 2, "limit_amount": 50}]
        )
        self.attempt(
            self.random.choice(self.drivers),
            "start_charge",
            station_id=self.station,
            connector_id=self.random.choice([1, 2]),
            **limits,
        )

    def call_off(self) -> None:
        for session in self.sessions("status in ('pending', 'started')")[:1]:
            self.attempt(session["user_id"], "stop_charge", session_id=session["id"])

    def delete(self) -> None:
        for session in self.sessions("start_time is null")[:1]:
            self.attempt(session["user_id"], "delete_session", session_id=session["id"])

    def refund(self) -> None:
        for session in self.sessions("settled_at is not null")[:1]:
            arguments = {"session_id": session["id"], "amount": 5, "reason": "x"}
            for _ in range(self.random.choice([1, 2])):
                self.attempt("service_role", "refund_session", **arguments, reference="ticket")

    def waive(self) -> None:
        for session in self.sessions("unpaid_amount > 0")[:1]:
            for _ in range(self.random.choice([1, 2])):
                self.world.rpc("service_role", "waive_unpaid", session_id=session["id"], reason="x")

    def obey(self) -> None:
        """The bridge hands the station a command; the station does as it is told, or not."""
        for command in [c for c in self.world.claim(self.bridge) if c["station_id"] == self.station]:
            outcome = self.random.choice(["Accepted"] * 6 + ["Rejected", "timeout", "lost", "CALLERROR"])
            if outcome == "lost":
                self.connect()
            elif outcome == "timeout":
                self.answer(command, "timeout")
            elif outcome == "CALLERROR":
                self.answer(command, "error", error={"code": "InternalError"})
            else:
                self.answer(command, "result", payload={"status": outcome})
            acts = outcome == "Accepted" or (outcome in ("timeout", "lost") and self.random.random() < 0.5)
            payload = command["payload"]
            if acts and command["action"] == "RemoteStartTransaction" and self.random.random() < 0.85:
                self.begin(payload["connectorId"], payload["idTag"])
            elif acts and command["action"] == "RemoteStopTransaction":
                for connector, charge in list(self.running.items()):
                    if charge.get("transaction_id") == payload["transactionId"]:
                        self.end(connector)

    def answer(self, command: Row, outcome: str, **fields: object) -> None:
        event = self.world.event(
            "answer", self.station, self.minute, command_id=command["command_id"], outcome=outcome, **fields
        )
        self.world.ingest(event)

    def plug_in(self) -> None:
        connector = self.random.choice([1, 2])
        self.begin(connector, self.random.choice([*self.cards, "UNKNOWN"]))

    def begin(self, connector: int, tag: str) -> None:
        if connector in self.running:
            return
        payload = {
            "connectorId": connector,
            "idTag": tag,
            "meterStart": self.register[connector],
            "timestamp": iso(self.world.at(self.minute)),
        }
        self.running[connector] = {"idTag": tag}
        self.say("StartTransaction", payload, self.running[connector])

    def charge(self) -> None:
        """Meter values of all connectors, perhaps several behind one another, perhaps out of order."""
        values = []
        for connector, charge in self.running.items():
            for _ in range(self.random.choice([1, 1, 2])):
                self.minute += 1
                self.register[connector] += self.random.choice([0, 100, 350])
                payload = {
                    "connectorId": connector,
                    "transactionId": charge.get("transaction_id", 0),
                    "meterValue": [
                        {
                            "timestamp": iso(self.world.at(self.minute)),
                            "sampledValue": [{"value": str(self.register[connector])}],
                        }
                    ],
                }
                values.append(self.world.call("MeterValues", payload, self.station, self.minute))
        self.random.shuffle(values)
        kept = [value for value in values if self.random.random() < 0.8]
        self.late += [value for value in values if value not in kept and self.random.random() < 0.5]
        if kept:
            self.hear(*kept)

    def end(self, connector: int | None = None) -> None:
        if not self.running:
            return
        connector = connector or self.random.choice(sorted(self.running))
        charge = self.running.pop(connector)
        payload = {
            "transactionId": charge.get("transaction_id", self.random.choice([0, -1])),
            "idTag": charge["idTag"],
            "meterStop": self.register[connector],
            "timestamp": iso(self.world.at(self.minute)),
        }
        self.say("StopTransaction", payload, charge)

    def say(self, action: str, payload: Row, charge: Row) -> None:
        """Sent now, kept for later, or lost for good; heard once, or with its answer lost and so again."""
        event = self.world.call(action, payload, self.station, self.minute)
        fate = self.random.random()
        if fate < 0.08 and action == "StopTransaction":
            return
        if fate < 0.2:
            self.late.append(event)
            return
        reply = self.hear(event)
        if fate > 0.9:
            self.told.append(event)
        elif "transactionId" in reply.get("result", {}):
            charge["transaction_id"] = reply["result"]["transactionId"]

    def hear(self, *events: Row) -> Row:
        connection = self.world.connections.get(self.station)
        replies = self.world.ingest(*({**event, "connection_id": connection} for event in events))
        assert all("error" not in reply for reply in replies), replies
        return replies[-1]

    def send_again(self) -> None:
        """What waited at the station, in any order, and repeats with new message ids."""
        events = self.late + [event for event in self.told if self.random.random() < 0.5]
        self.late = []
        self.random.shuffle(events)
        events = [
            {**e, "message_id": uuid4().hex, "received_at": self.world.at(self.minute).isoformat()} for e in events
        ]
        if events and self.random.random() < 0.2:
            events.append(
                self.world.event("answer", self.station, self.minute, command_id="nonsense", outcome="result")
            )
            self.world.ingest(*events)  # each by itself, because one is bad
        elif events:
            self.hear(*events)

    def time_passes(self) -> None:
        """Minutes; sometimes as long as commands and pending sessions live."""
        self.minute += self.random.choice([1, 5])
        if self.random.random() < 0.4:
            self.world.sql("update commands set expires_at = now() where station_id = %s", self.station)
            self.world.sql(
                "update charging_sessions set expires_at = now() where station_id = %s and expires_at is not null",
                self.station,
            )
            self.world.heartbeat(self.bridge, seen=[])

    def attempt(self, who: UUID | str | None, name: str, **arguments: object) -> None:
        """A person may be refused."""
        try:
            self.world.rpc(who or "service_role", name, **arguments)
        except Exception as error:
            if '"code" : "OC' not in str(error):
                raise

    def sessions(self, where: str = "true") -> list[Row]:
        rows = self.world.sql(
            f"select * from charging_sessions where station_id = %s and {where} order by transaction_id", self.station
        )
        self.random.shuffle(rows)
        return rows

    # --- the end --------------------------------------------------------------------------------

    def live(self) -> None:
        happens = {
            self.press: 5,
            self.obey: 7,
            self.charge: 7,
            self.plug_in: 4,
            self.end: 4,
            self.call_off: 2,
            self.send_again: 2,
            self.time_passes: 2,
            self.pay: 1,
            self.connect: 1,
            self.delete: 1,
            self.refund: 2,
            self.waive: 1,
        }
        for act in self.random.choices(list(happens), list(happens.values()), k=self.random.randint(6, 22)):
            act()
            self.minute += self.random.random()

    def come_to_rest(self) -> None:
        """The queue of the station arrives, what waits expires, lost stops are given up, held bills are released."""
        for connector in sorted(self.running):
            if self.random.random() < 0.7:
                self.end(connector)
        self.send_again()
        self.world.sql("update commands set expires_at = now() where station_id = %s", self.station)
        self.world.sql(
            "update charging_sessions set expires_at = now() where station_id = %s and status = 'pending'", self.station
        )
        self.world.heartbeat(self.bridge, seen=[])
        for session in self.sessions("status = 'started'"):
            self.world.sql("select private.end_provisionally(%s, %s)", session["id"], self.world.at(self.minute))
        self.send_again()
        self.world.sql(
            "update charging_sessions set provisional_at = now() - interval '25 hours'"
            " where station_id = %s and provisional_at is not null",
            self.station,
        )
        self.world.heartbeat(self.bridge, seen=[])
        for session in self.sessions("settled_at is null and start_time is not null"):
            self.world.rpc("service_role", "release_session", session_id=session["id"])

    def check(self) -> None:
        for session in self.sessions():
            self.check_session(session)
        for account in self.accounts:
            self.check_account(account)

    def check_session(self, session: Row) -> None:
        charges = self.world.sql(
            "select * from ledger_entries where session_id = %s and kind = 'charge'", session["id"]
        )
        bills = [entry for entry in charges if entry["reference"] is None]
        assert session["held_amount"] == 0
        assert session["status"] in ("stopped", "error")
        if session["start_time"] is None:
            assert (charges, session["settled_at"], session["amount"]) == ([], None, 0)
            return
        assert session["settled_at"] is not None
        assert len(bills) <= 1
        receipt = session["receipt"]
        lines = sum(Decimal(str(line["amount"])) for line in receipt["lines"])
        assert session["amount"] == Decimal(str(receipt["cost"])) == lines
        if session["client_id"] is not None:
            assert session["amount"] == -sum(entry["amount"] for entry in charges) + session["unpaid_amount"]
            assert ("unpaid" in session["flags"]) == (session["unpaid_amount"] > 0)
            given_back = self.world.one(
                "select coalesce(sum(amount), 0) from ledger_entries"
                " where session_id = %s and kind in ('refund', 'waiver')",
                session["id"],
            )
            assert given_back <= session["amount"]

    def check_account(self, account: UUID) -> None:
        client = self.world.one("select * from clients where id = %s", account)
        entries = self.world.sql("select * from ledger_entries where client_id = %s order by created_at, ctid", account)
        assert client["balance"] == sum((entry["amount"] for entry in entries), Decimal(0))
        assert client["held"] == 0
        balance = Decimal(0)
        for entry in entries:
            balance += entry["amount"]
            assert balance >= -client["credit_limit"], entry
        unpaid = self.world.one(
            "select coalesce(sum(unpaid_amount), 0) from charging_sessions where client_id = %s", account
        )
        if unpaid > 0:
            assert client["balance"] + client["credit_limit"] <= 0


@pytest.mark.parametrize("first", range(0, HISTORIES, PER_TEST))
def test_money_is_right_after_any_history(world: World, first: int) -> None:
    world.sql("update private.settings set open_hold_energy_kwh = 3")
    world.heartbeat("bridge-b")
    settled = 0
    for seed in range(first, first + PER_TEST):
        history = History(world, seed)
        try:
            history.live()
            history.come_to_rest()
            history.check()
        except BaseException as error:
            error.add_note(f"history {seed}")
            raise
        settled += len(history.sessions("settled_at is not null"))
    assert settled > PER_TEST / 2  # they are histories of something
