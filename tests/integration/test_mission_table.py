"""What the old service offered works twice, with the same values: by Supabase's own API, and by the old path.

One walk per path and verb; a path without a walk fails a test. Users are signed in, the bridge runs, the
stations are at the ends of sockets.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from local_supabase import LocalSupabase
from tests.bridges import System
from tests.fakes.charger import BOOT, Charger
from tests.fakes.station import FakeStation
from tests.integration.ways import Row, Ways, ways_of

COMPANY = "c0000000-0000-4000-8000-000000000001"
YARD = "d0000000-0000-4000-8000-000000000001"
STANDARD = "b0000000-0000-4000-8000-000000000001"
CITY = "b0000000-0000-4000-8000-000000000002"
TIME = re.compile(r"\d{4}-\d\d-\d\dT")


@dataclass(frozen=True)
class World:
    """The running system, and people who are signed in to it."""

    system: System
    open: AsyncExitStack
    driver: Ways
    operator: Ways
    admin: Ways

    async def station(self, station_id: str) -> Charger:
        """Connected and booted; away again at the end of the test."""
        charger = await self.open.enter_async_context(Charger(f"{self.system.bridge.url}/{station_id}"))
        assert isinstance(charger, Charger)
        await charger.boot()
        return charger

    async def charge(self, station_id: str) -> str:
        """A finished charge of the driver's, 10 kWh; its id."""
        station = await self.station(station_id)
        session = await self.driver.rpc("start_charge", station_id=station_id, connector_id=1)
        await station.begin((await station.accept("RemoteStartTransaction"))["idTag"])
        await station.meter(5_000, after=timedelta(minutes=30))
        await station.finish(10_000, reason="Local")
        return str(session["id"])


Walk = Callable[[World], Awaitable[None]]
WALKS: dict[str, Walk] = {}


def walk(operation: str) -> Callable[[Walk], Walk]:
    """The walk of an operation of the function."""

    def keep(function: Walk) -> Walk:
        assert operation not in WALKS
        WALKS[operation] = function
        return function

    return keep


def agree(old: Row, row: Row, *but: str) -> None:
    """What the old path says is what the row says, in each field that both have."""
    common = (old.keys() & row.keys()) - set(but)
    assert {key: old[key] for key in common} == {key: as_python(row[key]) for key in common}
    assert len(common) > 1


def as_python(value: Any) -> Any:
    """A time as Python writes it, which the old service did: with six digits, where PostgreSQL leaves zeros out."""
    return datetime.fromisoformat(value).isoformat() if isinstance(value, str) and TIME.match(value) else value


def all_agree(old: list[Row], rows: list[Row], *but: str) -> None:
    """The same of two lists, whatever their order."""
    by_id = {row["id"]: row for row in rows}
    assert {shown["id"] for shown in old} == by_id.keys()
    assert old
    for shown in old:
        agree(shown, by_id[shown["id"]], *but)


@pytest.mark.parametrize("path", ["ws/TEST-001", "ocpp/TEST-001", "ws/TEST-001/", "ws/TEST%2D001"])
async def test_a_station_connects_and_talks_as_before(system: System, path: str) -> None:
    """ws://host/ws/{station_id}, sub-protocol ocpp1.6: boot, heartbeat every 300 s, a whole transaction."""
    base = system.bridge.url.removesuffix("/ws")
    async with FakeStation(f"{base}/{path}") as station:
        assert station.socket.subprotocol == "ocpp1.6"
        boot = await station.result("BootNotification", BOOT)
        assert (boot["status"], boot["interval"]) == ("Accepted", 300)
        assert "currentTime" in await station.result("Heartbeat")


async def test_a_transaction_of_a_card_is_seen_both_ways(system: System) -> None:
    """StartTransaction, MeterValues, StopTransaction."""
    async with (
        Charger(f"{system.bridge.url}/KG-BSK-001") as station,
        ways_of(system.env, "DEMO_DRIVER") as driver,
    ):
        assert isinstance(station, Charger)
        await station.boot()
        started = await station.begin("04A1B2C3D4E501")
        await station.meter(5_000, after=timedelta(minutes=30))
        await station.finish(10_000, reason="Local")
        number = started["transactionId"]
        session = await driver.row("charging_sessions", transaction_id=f"eq.{number}")
        shown = await driver.get(f"sessions/{session['id']}")
        assert (shown["status"], shown["energy"], shown["transaction_id"]) == ("stopped", 10, str(number))
        agree(shown, session, "transaction_id")


def test_the_seed_has_as_much_as_the_old_data(seeded_stack: LocalSupabase) -> None:
    """5 users, 17 locations, 22 stations, 6 plans, 18 rules."""
    token = seeded_stack.mint("authenticated", "a0000000-0000-4000-8000-000000000004")  # the admin
    headers = {"Authorization": f"Bearer {token}", "apikey": seeded_stack.anon_key}
    with httpx.Client(base_url=seeded_stack.url, headers=headers, timeout=90) as http:
        for table, count in (
            ("users", 5),
            ("locations", 17),
            ("stations", 22),
            ("tariff_plans", 6),
            ("tariff_rules", 18),
        ):
            for way in ("rest/v1", "functions/v1/ocpp"):
                assert len(http.get(f"/{way}/{table}").json()) == count, (way, table)


async def test_the_bridge_says_how_it_is_and_what_it_did(system: System) -> None:
    """/health, and a line per operation with the facts that the old log had."""
    root = system.bridge.url.removesuffix("/ws").replace("ws:", "http:")
    async with httpx.AsyncClient(base_url=root) as http:
        for page in ("health", "ready", "metrics"):
            assert (await http.get(f"/{page}")).status_code == 200
    async with Charger(f"{system.bridge.url}/TEST-001") as station:
        assert isinstance(station, Charger)
        await station.boot()
        await station.begin("04A1B2C3D4E501")
        await station.finish(25_500, reason="Local")
    assert "ChargePoint.TEST-001 - INFO - StopTransaction: energy=25.5kWh, amount=382.5 KGS" in system.bridge.log()


@pytest.mark.parametrize(
    ("tariff_type", "price", "minutes", "parking", "cost"),
    [
        ("per_kwh", 15, 0, 0, 150),
        ("per_minute", 2, 30, 0, 60),
        ("session_fee", 20, 0, 0, 20),
        ("parking_fee", 5, 0, 10, 50),
    ],
)
async def test_each_kind_of_price_may_be_written_either_way(
    system: System, tariff_type: str, price: int, minutes: int, parking: int, cost: int
) -> None:
    async with ways_of(system.env, "DEMO_OPERATOR") as operator:
        name = f"PRICE-{tariff_type}"
        plan = await operator.post("tariff_plans", {"name": name})
        rule = {"tariff_plan_id": plan["id"], "name": "Old", "tariff_type": tariff_type, "price": price}
        await operator.post("tariff_rules", rule)
        station = {"serial_number": name, "location_id": YARD, "tariff_plan_id": plan["id"], "power_capacity": 22}
        await operator.post("stations", station)
        asked = {"station_id": name, "energy_kwh": 10, "minutes": minutes, "parking_minutes": parking}
        quote = await operator.rpc("calculate_cost", **asked)
        assert [(line["tariff_type"], line["rule_name"]) for line in quote["lines"]] == [(tariff_type, "Old")]
        assert quote["cost"] == cost
        await operator.insert("tariff_rules", **{**rule, "name": "New", "price": 2 * price, "priority": 1})
        shown = {
            found["name"]: found["price"] for found in await operator.get("tariff_rules", tariff_plan_id=plan["id"])
        }
        assert shown == {"Old": price, "New": 2 * price}
        assert (await operator.rpc("calculate_cost", **asked))["cost"] == 2 * cost


@walk("GET /connections")
async def connections(world: World) -> None:
    await world.station("KG-BSK-002")
    before = await world.operator.row("connections", station_id="eq.KG-BSK-002")
    (shown,) = [row for row in await world.operator.get("connections") if row["station_id"] == "KG-BSK-002"]
    after = await world.operator.row("connections", station_id="eq.KG-BSK-002")
    assert shown.keys() == {"station_id", "status", "last_heartbeat"}
    assert shown["status"] == "active"
    first, heard, last = (  # the two write a fraction of a second in their own ways
        datetime.fromisoformat(value)
        for value in (before["last_message_at"], shown["last_heartbeat"], after["last_message_at"])
    )
    assert first <= heard <= last
    assert await world.driver.get("connections") == [] == await world.driver.rows("connections")


@walk("GET /status/{station_id}")
async def status(world: World) -> None:
    await world.station("KG-BSK-003")
    assert (await world.driver.row("station_status", station_id="eq.KG-BSK-003"))["online"] is True
    assert (await world.driver.get("status/KG-BSK-003"))["status"] == "active"
    away = await world.driver.get("status/KG-NRN-001")
    assert away == {"station_id": "KG-NRN-001", "status": "inactive", "last_heartbeat": None}
    assert (await world.driver.row("station_status", station_id="eq.KG-NRN-001"))["online"] is False


@walk("POST /send_command")
async def send_command(world: World) -> None:
    station = await world.station("KG-BSK-004")
    command: Row = {"station_id": "KG-BSK-004", "payload": {"requestedMessage": "Heartbeat"}}
    row = await world.operator.rpc("send_command", action="TriggerMessage", **command)
    assert await station.accept("TriggerMessage") == command["payload"]
    shown = await world.operator.post("send_command", {"command": "TriggerMessage", **command})
    assert await station.accept("TriggerMessage") == command["payload"]
    assert shown == {
        "status": "sent",
        "station_id": "KG-BSK-004",
        "command": "TriggerMessage",
        "result": {"id": shown["result"]["id"], "status": row["status"]},
    }
    made = await world.operator.row("commands", id=f"eq.{shown['result']['id']}")
    assert (made["action"], made["payload"]) == ("TriggerMessage", command["payload"])


@walk("POST /disconnect")
async def disconnect(world: World) -> None:
    station = await world.station("KG-BSK-005")
    await world.operator.rpc("disconnect_station", station_id="KG-BSK-005")
    assert await station.closed() is not None
    station = await world.station("KG-BSK-005")
    shown = await world.operator.post("disconnect", "KG-BSK-005")
    assert shown == {"status": "disconnect_sent", "station_id": "KG-BSK-005"}
    assert await station.closed() is not None


@walk("GET /transactions")
async def transactions(world: World) -> None:
    session_id = await world.charge("KG-BSK-006")
    session = await world.driver.row("charging_sessions", id=f"eq.{session_id}")
    (shown,) = await world.driver.get("transactions", station_id="KG-BSK-006")
    assert shown == {
        "id": str(session["transaction_id"]),
        "connection_id": "KG-BSK-006",
        "energy": 10,
        "status": "stopped",
        "start_time": as_python(session["start_time"]),
        "stop_time": as_python(session["stop_time"]),
    }


@walk("POST /transactions")
async def remote_start(world: World) -> None:
    station = await world.station("KG-BSK-008")
    assert await world.driver.post("transactions", {"connection_id": "KG-BSK-008"}) == {
        "status": "sent",
        "station_id": "KG-BSK-008",
    }
    asked = await station.accept("RemoteStartTransaction")
    session = await world.driver.row("charging_sessions", station_id="eq.KG-BSK-008")
    assert asked == {"connectorId": 1, "idTag": session["id_tag"]}
    again = await world.driver.rpc("start_charge", station_id="KG-BSK-008", connector_id=1)
    assert again["id"] == session["id"]  # the same charge, by the other way
    await station.begin(asked["idTag"])
    await station.finish(1_000)


@walk("POST /start_charge")
async def start_charge(world: World) -> None:
    """Started by the old path, stopped by Supabase's; then the other way it would have been the same charge."""
    station = await world.station("KG-BSK-009")
    shown = await world.driver.post(
        "start_charge", {"station_id": "KG-BSK-009", "limit_type": "energy", "limit_value": 60}
    )
    session = await world.driver.row("charging_sessions", id=f"eq.{shown['id']}")
    assert (session["limit_type"], session["limit_energy_kwh"], session["status"]) == ("energy", 60, "pending")
    assert (shown["limit_type"], shown["limit_value"], shown["status"]) == ("energy", 60, "started")
    agree(shown, session, "status", "transaction_id")
    asked = await station.accept("RemoteStartTransaction")
    started = await station.begin(asked["idTag"])
    await world.driver.rpc("stop_charge", session_id=shown["id"])
    assert await station.accept("RemoteStopTransaction") == {"transactionId": started["transactionId"]}
    await station.finish(10_000)
    bill = await world.driver.row("charging_sessions", id=f"eq.{shown['id']}")
    ended = await world.driver.get(f"sessions/{shown['id']}")
    assert (ended["status"], ended["energy"], ended["transaction_id"]) == (
        "stopped",
        10,
        str(started["transactionId"]),
    )
    assert ended["amount"] == bill["receipt"]["cost"] > 0


@walk("POST /users")
async def create_user(world: World) -> None:
    body = {"email": "new.operator@evpower.example", "password": "long enough", "role": "operator"}
    shown = await world.admin.post("users", {**body, "client_id": COMPANY, "admin_id": world.admin.user_id})
    agree(shown, await world.admin.row("users", id=f"eq.{shown['id']}"))
    assert (shown["role"], shown["is_active"], shown["admin_id"]) == ("operator", True, world.admin.user_id)
    assert "password" not in shown
    env = {**world.system.env, "NEW_EMAIL": body["email"], "NEW_PASSWORD": body["password"]}
    async with ways_of(env, "NEW") as signed_in:
        assert [row["id"] for row in await signed_in.rows("users", id=f"eq.{shown['id']}")] == [shown["id"]]
        assert (await signed_in.put("stations/KG-TKM-001", model="Changed"))["model"] == "Changed"
    url, key = world.system.env["SUPABASE_URL"], world.system.env["SUPABASE_SERVICE_ROLE_KEY"]
    async with httpx.AsyncClient(headers={"apikey": key, "Authorization": f"Bearer {key}"}) as service:
        answer = await service.post(
            f"{url}/auth/v1/admin/users", json={**body, "email": "other@evpower.example", "email_confirm": True}
        )
    other = await world.admin.get(f"users/{answer.json()['id']}")
    assert (other["email"], other["role"]) == ("other@evpower.example", "driver")


@walk("GET /users")
async def list_users(world: World) -> None:
    everybody = await world.admin.get("users")
    all_agree(everybody, await world.admin.rows("users"))
    assert len(everybody) >= 5
    own = await world.driver.get("users")
    assert [user["id"] for user in own] == [world.driver.user_id]
    all_agree(own, await world.driver.rows("users"))


@walk("GET /users/{id}")
async def get_user(world: World) -> None:
    shown = await world.driver.get(f"users/{world.driver.user_id}")
    agree(shown, await world.driver.row("users", id=f"eq.{world.driver.user_id}"))
    assert shown.keys() == {"id", "email", "role", "is_active", "admin_id", "created_at", "updated_at"}


@walk("POST /stations")
async def create_station(world: World) -> None:
    body = {"serial_number": "NEW-1", "location_id": YARD, "connector_types": ["Type2", "CCS2"], "power_capacity": 60}
    shown = await world.operator.post("stations", {**body, "id": "NEW-001", "connectors_count": 2})
    row = await world.operator.row("stations", id="eq.NEW-001", select="*,connectors(number,type)")
    agree(shown, row)
    assert row["connectors"] == [{"number": 1, "type": "Type2"}, {"number": 2, "type": "CCS2"}]
    assert (shown["connectors_count"], shown["currency"], shown["status"]) == (2, "KGS", "active")
    async with FakeStation(f"{world.system.bridge.url}/NEW-001") as station:
        assert (await station.result("BootNotification", BOOT))["status"] == "Accepted"
    made = await world.operator.insert("stations", id="NEW-002", serial_number="NEW-2", location_id=YARD)
    agree(await world.operator.get("stations/NEW-002"), made)


@walk("GET /stations")
async def list_stations(world: World) -> None:
    for ways, there in ((world.driver, False), (world.admin, True)):
        shown = await ways.get("stations")
        all_agree(shown, await ways.rows("stations"))
        assert ("KG-TLS-001" in {station["id"] for station in shown}) is there  # not on the map
    place = "d0000000-0000-4000-8000-000000000002"
    shown = await world.driver.get("stations", location_id=place)
    assert {station["id"] for station in shown} == {"KG-BSK-001", "KG-BSK-002"}
    assert [station["connectors_count"] for station in shown] == [2, 2]


@walk("GET /stations/{id}")
async def get_station(world: World) -> None:
    shown = await world.driver.get("stations/KG-BSK-010")
    agree(shown, await world.driver.row("stations", id="eq.KG-BSK-010"))
    assert (shown["price_per_kwh"], shown["session_fee"], shown["connector_types"]) == (17.5, 5, ["Type2"])


@walk("PUT /stations/{id}")
async def update_station(world: World) -> None:
    whole = await world.operator.get("stations/KG-KBL-001")
    shown = await world.operator.put("stations/KG-KBL-001", status="maintenance", power_capacity=50)
    agree(shown, await world.operator.row("stations", id="eq.KG-KBL-001"))
    assert (shown["status"], shown["power_capacity"]) == ("maintenance", 50)
    shown = await world.operator.put("stations/KG-KBL-001", **whole)  # what was read may be written back
    assert {**shown, "updated_at": None} == {**whole, "updated_at": None}


@walk("POST /sessions")
async def create_session(world: World) -> None:
    station = await world.station("KG-CHA-001")
    wanted = {"station_id": "KG-CHA-001", "limit_type": "amount", "limit_value": 300}
    shown = await world.operator.post("sessions", {"user_id": world.driver.user_id, **wanted})
    session = await world.driver.row("charging_sessions", id=f"eq.{shown['id']}")
    agree(shown, session, "status", "transaction_id")
    assert (session["limit_amount"], shown["limit_value"], shown["user_id"]) == (300, 300, world.driver.user_id)
    await station.begin((await station.accept("RemoteStartTransaction"))["idTag"])
    await station.finish(1_000)
    shown = await world.driver.post("sessions", {"user_id": world.driver.user_id, "station_id": "KG-CHA-001"})
    assert shown["user_id"] == world.driver.user_id
    await world.driver.rpc("stop_charge", session_id=shown["id"])


@walk("GET /sessions")
async def list_sessions(world: World) -> None:
    session_id = await world.charge("KG-CHA-002")
    shown = await world.driver.get("sessions", station_id="KG-CHA-002", user_id=world.driver.user_id)
    rows = await world.driver.rows("charging_sessions", station_id="eq.KG-CHA-002")
    assert [session["id"] for session in shown] == [session_id]
    all_agree(shown, rows, "transaction_id")
    assert await world.driver.get("sessions", user_id=world.admin.user_id) == []
    async with ways_of(world.system.env, "DEMO_DRIVER2") as stranger:
        assert await stranger.get("sessions") == [] == await stranger.rows("charging_sessions")


@walk("GET /sessions/{id}")
async def get_session(world: World) -> None:
    session_id = await world.charge("KG-KRK-001")
    shown = await world.driver.get(f"sessions/{session_id}")
    agree(shown, await world.driver.row("charging_sessions", id=f"eq.{session_id}"), "transaction_id")
    agree(shown, await world.operator.get(f"sessions/{session_id}"))


@walk("DELETE /sessions/{id}")
async def delete_session(world: World) -> None:
    station = await world.station("KG-BLK-001")
    for delete in (
        lambda id: world.driver.delete(f"sessions/{id}"),
        lambda id: world.driver.rpc("delete_session", session_id=id),
    ):
        session = await world.driver.rpc("start_charge", station_id="KG-BLK-001", connector_id=1)
        await station.accept("RemoteStartTransaction", "Rejected")
        async with asyncio.timeout(30):
            while (await world.driver.get(f"sessions/{session['id']}"))["status"] != "error":
                pass
        assert await delete(session["id"]) in ({"status": "deleted"}, None)
        assert await world.driver.rows("charging_sessions", id=f"eq.{session['id']}") == []
    charged = await world.charge("KG-JAL-001")  # with money and energy: never
    kept = await world.driver.old.delete(f"sessions/{charged}")
    assert (kept.status_code, kept.json()["code"]) == (409, "OCDEL")
    assert (await world.driver.get(f"sessions/{charged}"))["energy"] == 10


@walk("POST /tariff_plans")
async def create_plan(world: World) -> None:
    shown = await world.operator.post("tariff_plans", {"name": "Depot", "description": "Vans"})
    row = await world.operator.row("tariff_plans", id=f"eq.{shown['id']}")
    agree(shown, row)
    assert (row["client_id"], shown["is_default"], shown["is_active"]) == (COMPANY, False, True)
    made = await world.operator.insert("tariff_plans", name="Yard")
    assert made["client_id"] == COMPANY
    agree(await world.operator.get(f"tariff_plans/{made['id']}"), made)


@walk("GET /tariff_plans")
async def list_plans(world: World) -> None:
    all_agree(await world.operator.get("tariff_plans"), await world.operator.rows("tariff_plans"))
    for given in ("true", "True"):  # as JavaScript writes it, and Python
        active = await world.operator.get("tariff_plans", is_active=given)
        all_agree(active, await world.operator.rows("tariff_plans", is_active="is.true"))
    made = await world.operator.insert("tariff_plans", name="Old", is_active=False)
    assert [plan["id"] for plan in await world.operator.get("tariff_plans", is_active="false")] == [made["id"]]


@walk("GET /tariff_plans/{id}")
async def get_plan(world: World) -> None:
    shown = await world.driver.get(f"tariff_plans/{CITY}")
    agree(shown, await world.driver.row("tariff_plans", id=f"eq.{CITY}"))


@walk("POST /tariff_rules")
async def create_rule(world: World) -> None:
    body = {"tariff_plan_id": CITY, "name": "Lunch", "tariff_type": "per_kwh", "price": 12.5, "priority": 5}
    shown = await world.operator.post("tariff_rules", body)
    row = await world.operator.row("tariff_rules", id=f"eq.{shown['id']}")
    agree(shown, row, "time_end")
    assert (shown["time_start"], shown["time_end"], row["time_end"]) == ("00:00:00", "23:59:59", "24:00:00")
    assert (shown["connector_type"], shown["currency"], shown["price"]) == ("ALL", "KGS", 12.5)
    shown = await world.operator.post(
        "tariff_rules", {**body, "is_active": False, "time_start": "12:00:00", "time_end": "23:59:59"}
    )
    row = await world.operator.row("tariff_rules", id=f"eq.{shown['id']}")
    assert (row["time_start"], row["time_end"], shown["time_end"]) == ("12:00:00", "24:00:00", "23:59:59")
    made = await world.operator.insert("tariff_rules", **{**body, "is_active": False, "time_end": "07:00"})
    shown = await world.operator.get(f"tariff_rules/{made['id']}")
    agree(shown, made)
    assert shown["time_end"] == "07:00:00"


@walk("GET /tariff_rules")
async def list_rules(world: World) -> None:
    all_agree(await world.admin.get("tariff_rules"), await world.admin.rows("tariff_rules"), "time_end")
    of_plan = await world.driver.get("tariff_rules", tariff_plan_id=STANDARD)
    assert [(rule["name"], rule["price"], rule["time_end"]) for rule in of_plan] == [("Energy", 15, "23:59:59")]
    hourly = {"tariff_plan_id": CITY, "name": "Hourly", "tariff_type": "per_minute", "price": 90, "per_hour": True}
    made = await world.operator.insert("tariff_rules", **hourly, is_active=False)
    assert (await world.operator.get(f"tariff_rules/{made['id']}"))["price"] == 1.5


@walk("GET /tariff_rules/{id}")
async def get_rule(world: World) -> None:
    night = await world.driver.row("tariff_rules", tariff_plan_id=f"eq.{CITY}", name="eq.Night")
    agree(await world.driver.get(f"tariff_rules/{night['id']}"), night)


@walk("POST /tariffs")
async def create_tariff(world: World) -> None:
    shown = await world.operator.post("tariffs", {"station_id": "KG-TKM-001", "price_per_kwh": 16.5})
    row = await world.operator.row("stations", id="eq.KG-TKM-001")
    agree(shown, row)
    assert (shown["id"], shown["station_id"], row["price_per_kwh"]) == ("KG-TKM-001", "KG-TKM-001", 16.5)
    quote = await world.driver.rpc("calculate_cost", station_id="KG-TKM-001", energy_kwh=10)
    assert (quote["cost"], quote["price_per_kwh"]) == (165, 16.5)


@walk("GET /tariffs")
async def list_tariffs(world: World) -> None:
    all_agree(await world.driver.get("tariffs"), await world.driver.rows("stations", price_per_kwh="not.is.null"))
    (shown,) = await world.driver.get("tariffs", station_id="KG-BSK-010")
    assert shown["price_per_kwh"] == 17.5


@walk("GET /tariffs/{id}")
async def get_tariff(world: World) -> None:
    shown = await world.driver.get("tariffs/KG-BSK-010")
    agree(shown, await world.driver.row("stations", id="eq.KG-BSK-010"))


@walk("DELETE /tariffs/{id}")
async def delete_tariff(world: World) -> None:
    await world.operator.post("tariffs", {"station_id": "KG-NRN-001", "price_per_kwh": 1})
    assert await world.operator.delete("tariffs/KG-NRN-001") == {"status": "deleted"}
    assert (await world.operator.row("stations", id="eq.KG-NRN-001"))["price_per_kwh"] is None
    assert (await world.operator.old.get("tariffs/KG-NRN-001")).status_code == 404


@walk("POST /locations")
async def create_location(world: World) -> None:
    body = {"name": "Depot", "city": "Bishkek", "latitude": 42.9, "longitude": 74.6}
    shown = await world.operator.post("locations", body)
    row = await world.operator.row("locations", id=f"eq.{shown['id']}")
    agree(shown, row)
    assert (row["client_id"], row["time_zone"]) == (COMPANY, "Asia/Bishkek")
    assert (shown["country"], shown["stations_count"], shown["connectors_count"]) == ("KG", 0, 0)
    made = await world.operator.insert("locations", name="Another depot")
    agree(await world.operator.get(f"locations/{made['id']}"), made)


@walk("GET /locations")
async def list_locations(world: World) -> None:
    shown = await world.driver.get("locations")
    all_agree(shown, await world.driver.rows("locations"))
    assert len(shown) >= 17


@walk("GET /locations/{id}")
async def get_location(world: World) -> None:
    place = "d0000000-0000-4000-8000-000000000002"
    shown = await world.driver.get(f"locations/{place}")
    row = await world.driver.row("locations", id=f"eq.{place}", select="*,stations(id,connectors(number))")
    agree(shown, row)
    assert shown["stations_count"] == len(row["stations"]) == 2
    assert shown["connectors_count"] == sum(len(station["connectors"]) for station in row["stations"]) == 4


@walk("GET /calculate_cost/{station_id}")
async def calculate_cost(world: World) -> None:
    quote = await world.driver.rpc("calculate_cost", station_id="TEST-001", energy_kwh=25.5)
    shown = await world.driver.get("calculate_cost/TEST-001", energy_kwh="25.5")
    assert shown == {
        "cost": 382.5,
        "currency": "KGS",
        "price_per_kwh": 15,
        "session_fee": None,
        "rule_name": quote["lines"][0]["rule_name"],
    }
    agree(shown, quote)
    for station_id in ("KG-BSK-004", "KG-BSK-010", "KG-CHA-001"):
        quote = await world.driver.rpc("calculate_cost", station_id=station_id, energy_kwh=10)
        agree(await world.driver.get(f"calculate_cost/{station_id}", energy_kwh="10"), quote)


@asynccontextmanager
async def world_of(system: System) -> AsyncIterator[World]:
    async with (
        ways_of(system.env, "DEMO_DRIVER") as driver,
        ways_of(system.env, "DEMO_OPERATOR") as operator,
        ways_of(system.env, "DEMO_ADMIN") as admin,
        AsyncExitStack() as open_,
    ):
        yield World(system, open_, driver, operator, admin)


@pytest.mark.parametrize("operation", list(WALKS))
async def test_the_old_path_says_and_does_what_supabase_says_and_does(system: System, operation: str) -> None:
    async with world_of(system) as world:
        await WALKS[operation](world)


async def test_a_driver_stops_a_charge_by_the_old_path(system: System) -> None:
    """The old service had no path for it but the command itself. Others' charges are nobody's to stop."""
    async with world_of(system) as world:
        station = await world.station("KG-BSK-010")
        session = await world.driver.post("start_charge", {"station_id": "KG-BSK-010"})
        await station.begin((await station.accept("RemoteStartTransaction"))["idTag"])
        shown = await world.driver.get(f"sessions/{session['id']}")
        stop: Row = {"station_id": "kg-bsk-010", "command": "RemoteStopTransaction"}
        mine = {"payload": {"transactionId": shown["transaction_id"]}}  # a string, as it is shown
        foreign = {"payload": {"transactionId": int(shown["transaction_id"]) + 1}}
        answer = await world.driver.old.post("send_command", json=stop | foreign)
        assert (answer.status_code, answer.json()["code"]) == (403, "OCPRM")
        sent = await world.driver.post("send_command", stop | mine)
        assert await station.accept("RemoteStopTransaction") == {"transactionId": int(shown["transaction_id"])}
        command = await world.driver.row("commands", id=f"eq.{sent['result']['id']}")
        assert (command["action"], command["session_id"]) == ("RemoteStopTransaction", session["id"])
        await station.finish(1_000)
        assert (await world.driver.get(f"sessions/{session['id']}"))["status"] == "stopped"
        again = await world.driver.post("send_command", stop | mine)
        assert again["result"] == {"id": command["id"], "status": "accepted"}  # nothing is left to stop


def test_every_path_and_verb_of_the_function_is_walked(system: System) -> None:
    document: Any = httpx.get(f"{system.stack.url}/functions/v1/ocpp/openapi.json", timeout=90).json()
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert operations == WALKS.keys()
