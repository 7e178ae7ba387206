"""Two companies with a station each, their people, and a bridge that reports what the stations say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support import acting_as

Json = Any
Row = dict[str, Any]

COMPANY = UUID("c0000000-0000-4000-8000-000000000001")
OTHER_COMPANY = UUID("c0000000-0000-4000-8000-000000000002")
ACCOUNT = UUID("c0000000-0000-4000-8000-000000000003")
OTHER_ACCOUNT = UUID("c0000000-0000-4000-8000-000000000004")
LOCATION = UUID("10000000-0000-4000-8000-000000000001")
OTHER_LOCATION = UUID("10000000-0000-4000-8000-000000000002")
PLAN = UUID("b0000000-0000-4000-8000-000000000001")
OTHER_PLAN = UUID("b0000000-0000-4000-8000-000000000002")
DRIVER = UUID("a0000000-0000-4000-8000-000000000001")
OTHER_DRIVER = UUID("a0000000-0000-4000-8000-000000000002")
OPERATOR = UUID("a0000000-0000-4000-8000-000000000003")
OTHER_OPERATOR = UUID("a0000000-0000-4000-8000-000000000004")
ADMIN = UUID("a0000000-0000-4000-8000-000000000005")
SUPERADMIN = UUID("a0000000-0000-4000-8000-000000000006")
BRIDGE = UUID("a0000000-0000-4000-8000-000000000007")
STATION, OTHER_STATION = BOTH = "ST-1", "ST-2"
CARD = "04A1B2C3D4E5F6"  # of DRIVER
BRIDGE_ID = "bridge-a"
OPENING = 1_000_000  # KGS on each account

PEOPLE = {
    DRIVER: ("driver@example.org", "driver", ACCOUNT),
    OTHER_DRIVER: ("driver2@example.org", "driver", OTHER_ACCOUNT),
    OPERATOR: ("operator@example.org", "operator", COMPANY),
    OTHER_OPERATOR: ("operator2@example.org", "operator", OTHER_COMPANY),
    ADMIN: ("admin@example.org", "admin", None),
    SUPERADMIN: ("superadmin@example.org", "superadmin", None),
    BRIDGE: ("bridge@example.org", "bridge", None),
}


VALID: dict[str, Json] = {  # a payload for each command
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
    return pytest.raises(psycopg.ProgrammingError, match=f'"code" : "{code}"')


def iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sampled(value: object, measurand: str | None = None, unit: str | None = None, **more: str) -> Row:
    """A SampledValue; without a measurand the default: Energy.Active.Import.Register in Wh."""
    sample: Row = {"value": value if isinstance(value, int | float) else str(value), **more}
    return sample | ({"measurand": measurand} if measurand else {}) | ({"unit": unit} if unit else {})


def populate(db: psycopg.Connection[Any]) -> None:
    """Companies, people, places, prices (15 KGS/kWh) and two stations of 22 kW with connector 1 and 2."""
    # Tests take a second for what is hours, in transactions that are rolled back: the budget has tests of its own.
    db.execute("update private.settings set live_budget_per_s = 1000000")
    db.execute("update private.live_pace set counted_at = now() - interval '1 hour'")
    db.execute(
        "insert into clients (id, kind, name) values (%s, 'operator', 'North'), (%s, 'operator', 'South'),"
        " (%s, 'account', 'Aida'), (%s, 'account', 'Bakyt')",
        [COMPANY, OTHER_COMPANY, ACCOUNT, OTHER_ACCOUNT],
    )
    for account in (ACCOUNT, OTHER_ACCOUNT):
        db.execute(
            "insert into ledger_entries (client_id, kind, amount, reference) values (%s, 'top_up', %s, %s)",
            [account, OPENING, f"opening {account}"],
        )
    for user, (email, role, client) in PEOPLE.items():
        db.execute("insert into auth.users (id, email) values (%s, %s)", [user, email])
        db.execute("update users set role = %s, client_id = %s where id = %s", [role, client, user])
    for location, client, plan, station in (
        (LOCATION, COMPANY, PLAN, STATION),
        (OTHER_LOCATION, OTHER_COMPANY, OTHER_PLAN, OTHER_STATION),
    ):
        db.execute("insert into locations (id, client_id, name) values (%s, %s, 'Place')", [location, client])
        db.execute("insert into tariff_plans (id, client_id, name) values (%s, %s, 'Plan')", [plan, client])
        db.execute(
            "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values (%s, 'Energy', 'per_kwh', 15)",
            [plan],
        )
        db.execute(
            "insert into stations (id, location_id, tariff_plan_id, power_capacity, created_at)"
            " values (%s, %s, %s, 22, now() - interval '1 year')",
            [station, location, plan],
        )
        db.execute("insert into connectors (station_id, number) values (%s, 1), (%s, 2)", [station, station])
    db.execute("insert into id_tags (id_tag, user_id) values (%s, %s)", [CARD, DRIVER])


class World:
    """Drives the functions as the bridge and as people do. Times: minutes from `now`, negative before it."""

    def __init__(self, db: psycopg.Connection[Any]) -> None:
        self.db = db
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.connections: dict[str, str] = {}

    # --- plain SQL, as the owner
    def sql(self, query: str, *args: object) -> list[Row]:
        with self.db.cursor(row_factory=dict_row) as cursor:
            cursor.execute(query, args)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *args: object) -> Any:
        """The only row, or the only value of it."""
        rows = self.sql(query, *args)
        assert len(rows) == 1, rows
        values = list(rows[0].values())
        return values[0] if len(values) == 1 else rows[0]

    def count(self, table: str, where: str = "true", *args: object) -> int:
        return int(self.one(f"select count(*) from {table} where {where}", *args))

    def at(self, minutes: float = 0) -> datetime:
        return self.now + timedelta(minutes=minutes)

    # --- as the bridge
    def rpc(self, who: str | UUID | Mapping[str, Any], name: str, **args: object) -> Any:
        """Call a function as PostgREST does for this user or role; a composite comes as a dict."""
        named = ", ".join(f"{key} => %({key})s" for key in args)
        values = {key: Jsonb(value) if isinstance(value, dict | list) else value for key, value in args.items()}
        with acting_as(self.db, who):
            return self.db.execute(f"select to_jsonb(r) from public.{name}({named}) as r", values).fetchone()[0]  # type: ignore[index]

    def heartbeat(self, bridge: str = BRIDGE_ID, seen: Json = None, **settings: object) -> Row:
        """Without `seen` the bridge has an open socket of each station that connect() connected."""
        if seen is None:
            seen = [
                {"station_id": station, "connection_id": connection_id, "last_message_at": self.now.isoformat()}
                for station, connection_id in self.connections.items()
                if bridge == BRIDGE_ID
            ]
        row: Row = self.rpc("service_role", "bridge_heartbeat", bridge_id=bridge, settings=settings, seen=list(seen))
        return row

    def ingest(self, *events: Row) -> list[Row]:
        replies: list[Row] = self.rpc("service_role", "ocpp_ingest", events=list(events))
        assert len(replies) == len(events)
        return replies

    def event(self, kind: str, station: str = STATION, received: float | datetime = 0, **fields: object) -> Row:
        received_at = received if isinstance(received, datetime) else self.at(received)
        return {
            "kind": kind,
            "station_id": station,
            "connection_id": self.connections.get(station, "00000000-0000-4000-8000-000000000000"),
            "received_at": received_at.isoformat(),
            **fields,
        }

    def call(
        self, action: str, payload: Json, station: str = STATION, received: float | datetime = 0, **f: object
    ) -> Row:
        return self.event(
            "call",
            station,
            received,
            **{"message_id": uuid4().hex, "violations": [], **f},
            action=action,
            payload=payload,
        )

    def connect(self, station: str = STATION, bridge: str = BRIDGE_ID, received: float = -60, **fields: object) -> Row:
        connection_id = str(uuid4())
        event = self.event(
            "connect", station, received, bridge_id=bridge, protocol="ocpp1.6", offered=["ocpp1.6"], **fields
        )
        (reply,) = self.ingest(event | {"connection_id": connection_id})
        if reply["connect"] == "accepted":
            self.connections[station] = connection_id
        return reply

    def send(
        self, action: str, payload: Json, station: str = STATION, received: float | datetime = 0, **f: object
    ) -> Row:
        """One CALL; returns the payload of the CALLRESULT."""
        (reply,) = self.ingest(self.call(action, payload, station, received, **f))
        assert "result" in reply, reply
        result: Row = reply["result"]
        return result

    def start(
        self,
        at: float = -60,
        tag: object = CARD,
        meter: object = 1000,
        connector: object = 1,
        station: str = STATION,
        received: float | datetime | None = None,
        **more: object,
    ) -> Row:
        """StartTransaction, heard when it happens unless `received` says otherwise; timestamp=… replaces the time."""
        payload = {"connectorId": connector, "idTag": tag, "meterStart": meter, "timestamp": iso(self.at(at)), **more}
        return self.send("StartTransaction", payload, station, at if received is None else received)

    def begin(self, *args: Any, **kwargs: Any) -> int:
        """As start; the transaction id."""
        return int(self.start(*args, **kwargs)["transactionId"])

    def meter(
        self,
        at: float,
        *samples: object,
        transaction: object = None,
        connector: object = 1,
        station: str = STATION,
        received: float | datetime | None = None,
        timestamp: object = None,
    ) -> None:
        """MeterValues with one MeterValue; a plain number is the register in Wh."""
        values = [sample if isinstance(sample, dict) else sampled(sample) for sample in samples]
        payload: Row = {
            "connectorId": connector,
            "meterValue": [{"timestamp": iso(self.at(at)) if timestamp is None else timestamp, "sampledValue": values}],
        }
        if transaction is not None:
            payload["transactionId"] = transaction
        assert self.send("MeterValues", payload, station, at if received is None else received) == {}

    def stop(
        self,
        transaction: object,
        meter: object,
        at: float = 0,
        station: str = STATION,
        received: float | datetime | None = None,
        **more: object,
    ) -> Row:
        payload = {"transactionId": transaction, "meterStop": meter, "timestamp": iso(self.at(at)), **more}
        return self.send("StopTransaction", payload, station, at if received is None else received)

    # --- as a person
    def send_command(
        self, action: str = "ClearCache", payload: Json = None, who: UUID | str = OPERATOR, **args: object
    ) -> Row:
        """A command to STATION, queued; without a payload the one of VALID."""
        values = {"station_id": STATION, "payload": VALID[action] if payload is None else payload, **args}
        row: Row = self.rpc(who, "send_command", action=action, **values)
        return row

    # --- what came of it
    def session(self, transaction_id: int) -> Row:
        row: Row = self.one("select * from charging_sessions where transaction_id = %s", transaction_id)
        return row

    def sessions(self) -> list[Row]:
        return self.sql("select * from charging_sessions order by transaction_id")

    def topics(self, prefix: str) -> list[Row]:
        """Messages sent to Realtime topics, oldest first."""
        return self.sql(
            "select topic, event, payload, private from realtime.messages"
            # in one transaction all have one time; the place of a row says nothing once others were rolled back
            " where topic like %s order by inserted_at, cmin::text::bigint",
            prefix + "%",
        )

    def claim(self, bridge: str = BRIDGE_ID) -> list[Row]:
        commands: list[Row] = self.rpc("service_role", "claim_commands", bridge_id=bridge)
        return commands

    def claim_one(self) -> Row:
        """The only command that waits for the bridge."""
        (command,) = self.claim()
        return command

    def answer(
        self, command_id: object, outcome: str, station: str = STATION, received: float = 0, **fields: object
    ) -> Row:
        """The station's answer to a command; payload=… or error=…."""
        (reply,) = self.ingest(
            self.event("answer", station, received, command_id=str(command_id), outcome=outcome, **fields)
        )
        return reply

    def command(self, command_id: object) -> Row:
        row: Row = self.one("select * from commands where id = %s", command_id)
        return row


@contextmanager
def connected(db: psycopg.Connection[Any], **settings: object) -> Iterator[World]:
    """A world in a transaction that is rolled back: both stations are connected and have booted an hour ago."""
    with db.transaction(force_rollback=True):
        world = World(db)
        world.heartbeat(heartbeat_interval_s=300, **settings)
        for station in (STATION, OTHER_STATION):
            world.connect(station)
            boot = {"chargePointVendor": "Vendor", "chargePointModel": "Model"}
            world.send("BootNotification", boot, station, -60)
        yield world
