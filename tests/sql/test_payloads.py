"""What is sent to the topics, docs/realtime.md and types/payloads.ts: the same fields in all three."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from local_supabase.tools import Tools
from tests.conftest import ROOT
from tests.sql.test_live import leave, status
from tests.sql.world import ACCOUNT, DRIVER, PLAN, STATION, Row, World

TYPES = ROOT / "types" / "payloads.ts"
SENT_BY_REALTIME = "id"  # of the message

EVENTS = {  # type in payloads.ts: topic, event
    "SessionEvent": ("session:", "session"),
    "LimitWarningEvent": ("session:", "limit_warning"),
    "ConnectorEvent": ("station:", "connector"),
    "PresenceEvent": ("station:", "presence"),
    "CompanyPresenceEvent": ("client:", "presence"),
    "StationEvent": ("station:", "station"),
    "LocationEvent": ("location:", "location"),
    "CommandEvent": ("command:", "command"),
}


def fields(name: str) -> tuple[set[str], set[str]]:
    """Those that a type of payloads.ts must have, and those that it may have."""
    found = re.search(rf"^export type {name} = (?:(\w+) & )?\{{\n(.*?)^\}};", TYPES.read_text(), re.S | re.M)
    assert found, f"payloads.ts has no {name}"
    must, may = fields(found[1]) if found[1] else (set(), set())
    named = re.findall(r"^  (\w+)(\??):", found[2], re.M)
    return must | {field for field, mark in named if not mark}, may | {field for field, mark in named if mark}


def shown() -> dict[tuple[str, str], Row]:
    """The payloads of docs/realtime.md: event and what its paragraph says of the topic -> payload."""
    page = (ROOT / "docs" / "realtime.md").read_text().split("## Payloads")[1].split("\n## ")[0]
    found, event = {}, ""
    for text, payload in re.findall(r"(.*?)```json\n(.*?)```", page, re.S):
        event = [event, *re.findall(r"^`(\w+)`[:,]", text, re.M)][-1]
        topic = "client:" if text.strip().startswith("To `client:") else ""
        found[event, topic] = json.loads(payload)
    return found


@pytest.fixture
def sent(world: World) -> dict[tuple[str, str], Row]:
    """The last payload of each event of each kind of topic, after a bit of everything."""
    world.sql("update clients set credit_limit = 1000 where id = %s", ACCOUNT)
    world.sql("update private.settings set live_update_interval = '0 s'")
    session = world.rpc(DRIVER, "start_charge", station_id=STATION, connector_id=1, limit_energy_kwh=1)
    transaction = world.begin(at=-60, tag=session["id_tag"])
    world.meter(-30, 1950, transaction=transaction)
    world.stop(transaction, 2000)
    status(world, 1, "Finishing")
    world.claim()
    world.sql("update stations set status = 'maintenance' where id = %s", STATION)
    world.sql("delete from private.live_locations")
    world.heartbeat()
    leave(world, seconds_ago=11)
    world.heartbeat()
    return {(m["topic"].partition(":")[0] + ":", m["event"]): m["payload"] for m in world.topics("")}


@pytest.mark.parametrize("name", EVENTS)
def test_payloads_are_as_the_page_and_the_types_say(sent: dict[tuple[str, str], Row], name: str) -> None:
    topic, event = EVENTS[name]
    payload = sent[topic, event].keys() - {SENT_BY_REALTIME}
    on_the_page = shown()[event, topic if (event, topic) in shown() else ""]
    assert payload == on_the_page.keys()
    assert (payload, set()) == fields(name)


def test_connectors_of_a_roll_up_are_as_the_page_says(sent: dict[tuple[str, str], Row]) -> None:
    assert sent["location:", "location"]["connectors"][0].keys() == shown()["location", ""]["connectors"][0].keys()


def test_every_payload_of_the_page_has_a_type() -> None:
    assert {event for event, _ in shown()} == {event for _, event in EVENTS.values()}


@pytest.mark.parametrize("vat", [None, 12])
def test_answers_have_the_fields_of_their_types(world: World, vat: int | None) -> None:
    world.sql("update tariff_rules set vat = %s", vat)
    world.sql("update stations set power_capacity = 22")
    fits(world.rpc(DRIVER, "calculate_cost", station_id=STATION, energy_kwh=10, minutes=30), "Cost")
    change = world.rpc(DRIVER, "next_rate_change", station_id=STATION)
    fits(change, "RateChange")
    fits(change["before"], "Rates")
    pending = world.rpc(DRIVER, "start_charge", station_id=STATION, connector_id=1)
    fits(world.rpc(DRIVER, "receipt", session_id=pending["id"]), "Receipt")
    transaction = world.begin(at=-60, tag=pending["id_tag"])
    world.stop(transaction, 3000)
    bill = world.rpc(DRIVER, "receipt", session_id=pending["id"])
    fits(bill, "Receipt")
    assert bill["final"]
    assert bill["lines"]
    assert ("vat" in bill) is (vat is not None)
    fits(world.session(transaction)["receipt"], "Cost")


def test_every_kind_of_line_has_the_fields_and_words_of_its_type(world: World) -> None:
    columns = "tariff_plan_id, name, tariff_type, price, vat, per_hour, reservation"
    for values in (
        "'per_minute', 60, 12, true, null",
        "'parking_fee', 1, 12, false, null",
        "'session_fee', 5, null, false, null",
        "'session_fee', 30, 12, false, 'RESERVATION'",
    ):
        world.sql(f"insert into tariff_rules ({columns}) values (%s, 'Rule', {values})", PLAN)
    world.sql("insert into client_tariffs (client_id, discount_percent) values (%s, 10)", ACCOUNT)
    world.sql(
        "insert into commands (station_id, action, payload, status, created_at, answered_at)"
        " values (%s, 'ReserveNow', '{\"reservationId\": 77}', 'accepted', %s, %s)",
        STATION,
        world.at(-90),
        world.at(-75),
    )
    lines = []
    for limit, at in (("min_price = 1000", -60), ("min_price = 0, max_price = 1", -30)):
        world.sql(f"update tariff_plans set {limit} where id = %s", PLAN)
        lines += world.rpc(DRIVER, "calculate_cost", station_id=STATION, energy_kwh=10, parking_minutes=5)["lines"]
        transaction = world.begin(at=at)
        world.sql("update charging_sessions set reservation_id = 77 where transaction_id = %s", transaction)
        world.stop(transaction, 3000, at=at + 20)
        lines += world.session(transaction)["receipt"]["lines"]
    must, may = fields("Line")
    for line in lines:
        assert must <= line.keys() <= must | may, line
    assert set().union(*lines) == must | may
    for field in ("tariff_type", "unit"):
        assert {line[field] for line in lines} == words("Line", field)


def words(name: str, field: str) -> set[str]:
    """Those that a field of a type may hold."""
    database = (ROOT / "types" / "database.ts").read_text()

    def of_enum(name: re.Match[str]) -> str:
        (listed,) = re.findall(rf'^      "{name[1]}": ("[^;]+);', database, re.M)
        return str(listed)

    (union,) = re.findall(rf"^export type {name} = .*?^  {field}\??: ([^;]+);", TYPES.read_text(), re.S | re.M)
    return set(re.findall(r'"([^"]+)"', re.sub(r'Enums<"(\w+)">', of_enum, union)))


def fits(value: Any, name: str) -> None:
    must, may = fields(name)
    assert must <= value.keys() <= must | may, name
    for line in value.get("lines", []):
        must, may = fields("Line")
        assert must <= line.keys() <= must | may, line


def test_the_types_are_sound(tools: Tools) -> None:
    """deno check is TypeScript's own, with --strict."""
    done = subprocess.run(
        [tools.deno, "check", "--quiet", "--sloppy-imports", "--no-config", TYPES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
