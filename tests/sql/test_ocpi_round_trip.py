"""OCPI tariffs come out as they went in, and cost the same on the way; what is no OCPI is refused with a reason."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb, set_json_loads

from tests.sql.tariff_world import utc
from tests.sql.world import COMPANY, OPERATOR, OTHER_COMPANY, OTHER_OPERATOR, OTHER_PLAN, PLAN, STATION, World
from tests.support import acting_as

Json = Any
examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
START = utc("2026-05-08T06:00")
PERIODS = [{"start_date_time": "2026-05-06T12:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 20}]}]


def tariff(**more: Json) -> Json:
    """A small valid Tariff."""
    component = {"type": "ENERGY", "price": 0.25, "vat": 10, "step_size": 1}
    return {
        "country_code": "DE",
        "party_id": "ALL",
        "id": "16",
        "currency": "EUR",
        "elements": [{"price_components": [component]}],
        "last_updated": "2018-12-17T11:16:55Z",
    } | more


def element(component: Json = None, **restrictions: Json) -> Json:
    part = {"type": "ENERGY", "price": 0.25, "step_size": 1} | (component or {})
    return tariff(elements=[{"price_components": [part], "restrictions": restrictions}])


# --- what OCPI can say ------------------------------------------------------------------------------
prices = st.integers(0, 90_000).map(lambda n: Decimal(n).scaleb(-4))
clocks = st.integers(0, 47).map(lambda n: f"{n // 2:02}:{n % 2 * 30:02}")
days = st.integers(0, 60).map(lambda n: (START + timedelta(days=n)).date().isoformat())
instants = st.integers(0, 90_000).map(lambda n: (START + timedelta(seconds=n)).strftime("%Y-%m-%dT%H:%M:%SZ"))


@st.composite
def restrictions(draw: st.DrawFn) -> Json:
    found: Json = {}
    if draw(st.booleans()):
        found["start_time"], found["end_time"] = draw(clocks), draw(clocks)
    if draw(st.integers(0, 3)) == 0:
        found["start_date"] = draw(days)
    if draw(st.integers(0, 3)) == 0:
        found["day_of_week"] = draw(st.sets(st.sampled_from(["MONDAY", "FRIDAY", "SUNDAY"]), min_size=1).map(sorted))
    for name in ("kwh", "current", "power", "duration"):
        if draw(st.integers(0, 3)) == 0:
            least = draw(st.integers(1, 5000))
            found[f"min_{name}"] = least
        if draw(st.integers(0, 3)) == 0:
            found[f"max_{name}"] = found.get(f"min_{name}", 0) + draw(st.integers(1, 5000))
    return found


@st.composite
def tariffs(draw: st.DrawFn) -> Json:
    elements = []
    for _ in range(draw(st.integers(1, 6))):
        reservation = draw(st.sampled_from([None, None, None, "RESERVATION", "RESERVATION_EXPIRES"]))
        kinds = ["FLAT", "TIME"] if reservation else ["ENERGY", "FLAT", "PARKING_TIME", "TIME"]
        parts = []
        for kind in draw(st.sets(st.sampled_from(kinds), min_size=1)):
            part = {"type": kind, "price": draw(prices), "step_size": draw(st.sampled_from([1, 60, 300, 1000]))}
            if draw(st.booleans()):
                part["vat"] = draw(st.sampled_from([0, 10, Decimal("5.2"), 20]))
            parts.append(part)
        limits = draw(restrictions()) | ({"reservation": reservation} if reservation else {})
        elements.append(
            {"price_components": parts} | ({"restrictions": limits} if limits or draw(st.booleans()) else {})
        )
    made = tariff(
        id=draw(st.text("abcXYZ-019", min_size=1, max_size=36)), elements=elements, last_updated=draw(instants)
    )
    taxes = draw(st.sampled_from([None, "YES", "NO", "N/A"]))
    before, after = ("excl_vat", "incl_vat") if taxes is None else ("before_taxes", "after_taxes")
    if taxes:
        made["tax_included"] = taxes
    if draw(st.integers(0, 2)) == 0:
        made["min_price"] = {before: draw(prices)} | ({after: draw(prices)} if draw(st.booleans()) else {})
    if draw(st.integers(0, 2)) == 0:
        made["max_price"] = {before: 10 + draw(prices)} | ({after: 10 + draw(prices)} if draw(st.booleans()) else {})
    if draw(st.booleans()):
        made |= {"type": "REGULAR", "tariff_alt_text": [{"language": "ky", "text": "Баа"}], "x_of_others": {"a": [1]}}
        made |= {"preauthorize_amount": draw(prices), "energy_mix": {"is_green_energy": True, "energy_sources": []}}
        elements[0]["x_of_others"] = elements[0]["price_components"][0]["x_of_others"] = [{"b": "ж"}]
    if draw(st.booleans()):
        made["start_date_time"], made["end_date_time"] = "2026-01-01T00:00:00Z", draw(instants)
    return made


def normal(made: Json) -> Json:
    """As export_ocpi_tariff() makes it from rules: 00:00 begins and ends the day, components and days have an order."""
    made = copy.deepcopy(made)
    order = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
    for part in made["elements"]:
        part["price_components"].sort(key=lambda c: c["type"])
        for whole in (part, *part["price_components"]):
            whole.pop("x_of_others", None)
        limits = part.get("restrictions", {})
        for key in ("start_time", "end_time"):
            if limits.get(key) == "00:00":
                del limits[key]
        if "day_of_week" in limits:
            limits["day_of_week"].sort(key=order.index)
        if not limits:
            part.pop("restrictions", None)
    return made


@st.composite
def cdrs(draw: st.DrawFn) -> Json:
    at, periods, parked = START + timedelta(minutes=draw(st.integers(0, 3000))), [], False
    if draw(st.integers(0, 3)) == 0:
        hours = Decimal(draw(st.integers(1, 8))) / 4
        periods.append((at, {"RESERVATION_TIME": hours}))
        at += timedelta(hours=float(hours))
    for _ in range(draw(st.integers(0 if periods else 1, 4))):
        hours = Decimal(draw(st.integers(1, 16))) / 4
        parked = parked or draw(st.integers(0, 3)) == 0
        sums = (
            {"PARKING_TIME": hours}
            if parked
            else {"TIME": hours, "ENERGY": Decimal(draw(st.integers(0, 40_000))) / 1000}
        )
        periods.append((at, sums))
        at += timedelta(hours=float(hours))
    return {
        "charging_periods": [
            {
                "start_date_time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "dimensions": [{"type": kind, "volume": volume} for kind, volume in sums.items()],
            }
            for at, sums in periods
        ],
        "end_date_time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def text(value: Json) -> str:
    return json.dumps(value, default=float)


def call(db: psycopg.Connection[Any], name: str, *args: object, who: Any = "service_role") -> Json:
    marks = ", ".join(["%s"] * len(args))
    with acting_as(db, who):
        row = db.execute(f"select to_jsonb({name}({marks}))", args).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


@pytest.fixture
def db(undone: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    set_json_loads(lambda raw: json.loads(raw, parse_float=Decimal), undone)
    return undone


@examples
@given(made=tariffs(), cdr=cdrs(), zone=st.sampled_from(["Asia/Bishkek", "Europe/Berlin"]))
def test_a_tariff_comes_out_as_it_went_in_and_costs_the_same(
    db: psycopg.Connection[Any], made: Json, cdr: Json, zone: str
) -> None:
    with db.transaction(force_rollback=True):
        plan = call(db, "import_ocpi_tariff", Jsonb(made, dumps=text))["id"]
        out = call(db, "export_ocpi_tariff", plan)
        assert out == json.loads(text(made), parse_float=Decimal)
        db.execute("update tariff_plans set ocpi = ocpi - 'elements' where id = %s", [plan])  # as with a plan made here
        out = call(db, "export_ocpi_tariff", plan)
        assert out | {"last_updated": made["last_updated"]} == normal(json.loads(text(made), parse_float=Decimal))
        cost = call(db, "cost_of_periods", plan, Jsonb(cdr, dumps=text), zone)
        again = call(db, "import_ocpi_tariff", Jsonb(out | {"id": "another"}, dumps=text))["id"]
        assert again != plan
        same = call(db, "cost_of_periods", again, Jsonb(cdr, dumps=text), zone)
    for result in (cost, same):
        for line in result["lines"]:
            line.pop("rule_id", None)
    assert same == cost
    # and what holds for every price
    assert cost["cost"] == sum(line["amount"] for line in cost["lines"])
    untold = cost["vat"] is None and "tax_included" in made  # taxes at rates that nobody tells
    if cost["vat"] is not None:
        assert cost["cost_before_vat"] + cost["vat"] == cost["cost"]
        assert sum(line["vat"] for line in cost["vat_lines"]) == cost["vat"]
    before, after = ("excl_vat", "incl_vat") if "tax_included" not in made else ("before_taxes", "after_taxes")
    for name, sign in (("min_price", 1), ("max_price", -1)):
        for key, total in ((before, "cost_before_vat"), (after, "cost")):
            if untold:  # of two sides only the one that the prices are on can be kept
                total = "cost"
                if len(made.get(name, {})) == 2 and (key == after) == (made["tax_included"] == "NO"):
                    continue
            # a most price goes before a least one of the other side
            if key in made.get(name, {}) and (name == "max_price" or "max_price" not in made):
                assert sign * (cost[total] - Decimal(str(round(made[name][key], 2)))) >= Decimal("-0.01")


def test_what_only_others_understand_comes_out_until_the_rules_are_changed_here(db: psycopg.Connection[Any]) -> None:
    made = tariff(
        tax_included="NO",
        preauthorize_amount=40,
        max_price={"before_taxes": 90, "after_taxes": 99, "why": "by law"},
        energy_mix={"is_green_energy": False, "energy_sources": [{"source": "WATER", "percentage": 91.5}]},
        elements=[
            {
                "price_components": [
                    {"type": "TIME", "price": 1, "step_size": 60, "note": "z"},
                    {"type": "ENERGY", "price": 0.25, "vat": 10, "step_size": 1},
                ],
                "restrictions": {"start_time": "00:00", "end_time": "00:00", "day_of_week": ["SUNDAY", "MONDAY"]},
                "label": {"en": "Night"},
            }
        ],
    )
    made = json.loads(text(made), parse_float=Decimal)
    plan = call(db, "import_ocpi_tariff", Jsonb(made, dumps=text))["id"]
    assert call(db, "export_ocpi_tariff", plan) == made
    db.execute("update tariff_rules set name = 'Ours'")  # which OCPI does not tell
    assert call(db, "export_ocpi_tariff", plan)["elements"] == made["elements"]
    for change in (
        "update tariff_rules set price = price + 1 where tariff_type = 'per_kwh'",
        "update tariff_rules set is_active = false where tariff_type = 'per_kwh'",
        "delete from tariff_rules where tariff_type = 'per_kwh'",
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, price, currency)"
        " select id, 'Fee', 'session_fee', 1, 'EUR' from tariff_plans where ocpi_id is not null",
    ):
        with db.transaction(force_rollback=True):
            db.execute(change)
            changed = call(db, "export_ocpi_tariff", plan)
        assert "label" not in json.dumps(changed, default=float)
        assert (changed["preauthorize_amount"], changed["energy_mix"]) == (40, made["energy_mix"])


@pytest.mark.parametrize(
    ("taxes", "vat", "told"),
    [
        (None, None, {"excl_vat": 5}),
        (None, 10, {"excl_vat": 5, "incl_vat": Decimal("5.5")}),
        ("NO", None, {"excl_vat": 5}),
        ("NO", 10, {"excl_vat": 5, "incl_vat": Decimal("5.5")}),
        ("YES", None, {"incl_vat": 5}),
        ("YES", 25, {"excl_vat": 4, "incl_vat": 5}),
        ("N/A", None, {"excl_vat": 5, "incl_vat": 5}),
        ("N/A", 10, {"excl_vat": 5, "incl_vat": 5}),
    ],
)
def test_totals_before_and_after_taxes_are_told_as_far_as_they_are_known(
    db: psycopg.Connection[Any], taxes: str | None, vat: int | None, told: Json
) -> None:
    made = tariff(elements=[{"price_components": [{"type": "ENERGY", "price": 0.25, "step_size": 1}]}])
    if vat is not None:
        made["elements"][0]["price_components"][0]["vat"] = vat
    if taxes:
        made["tax_included"] = taxes
    plan = call(db, "import_ocpi_tariff", Jsonb(made))["id"]
    cost = call(db, "cost_of_periods", plan, Jsonb(PERIODS), "UTC")
    assert cost["total_cost"] == told
    assert cost["cost"] == told.get("incl_vat", told.get("excl_vat"))
    assert cost["cost_before_vat"] == told.get("excl_vat")
    assert cost["vat"] == (told["incl_vat"] - told["excl_vat"] if len(told) == 2 else None)


@pytest.mark.parametrize(
    ("taxes", "least", "most", "paid"),
    [
        ("NO", {"before_taxes": 6, "after_taxes": 7}, {}, 6),
        ("NO", {}, {"before_taxes": 4, "after_taxes": 4.5}, 4),
        ("YES", {"before_taxes": 6, "after_taxes": 7}, {}, 7),
        ("YES", {}, {"before_taxes": 4, "after_taxes": 4.5}, 4.5),
        ("YES", {}, {"before_taxes": 4}, 4),
        ("N/A", {"before_taxes": 6, "after_taxes": 7}, {}, 7),
        ("N/A", {}, {"before_taxes": 4, "after_taxes": 4.5}, 4),
    ],
)
def test_where_the_rate_of_taxes_is_not_told_a_limit_holds_on_the_side_of_the_prices(
    db: psycopg.Connection[Any], taxes: str, least: Json, most: Json, paid: float
) -> None:
    made = tariff(
        tax_included=taxes, elements=[{"price_components": [{"type": "ENERGY", "price": 0.25, "step_size": 1}]}]
    )
    made |= {name: limit for name, limit in (("min_price", least), ("max_price", most)) if limit}
    plan = call(db, "import_ocpi_tariff", Jsonb(made))["id"]
    assert float(call(db, "cost_of_periods", plan, Jsonb(PERIODS), "UTC")["cost"]) == paid
    assert call(db, "export_ocpi_tariff", plan) == json.loads(text(made), parse_float=Decimal)


@pytest.mark.parametrize(
    ("more", "vat", "told"),
    [
        # 20 kWh at 0.25, and a start fee of 0.5
        ({"tax_included": "NO"}, 10, {"cost_before_vat": 5.5, "vat": 0.55, "cost": 6.05}),
        ({"tax_included": "YES"}, 10, {"cost_before_vat": 5, "vat": 0.5, "cost": 5.5}),
        ({"tax_included": "N/A"}, 10, {"cost": 5.5}),
        ({"tax_included": "YES"}, None, {"cost": 5.5}),
        (
            {"tax_included": "NO", "min_price": {"before_taxes": 8, "after_taxes": 8.8}},
            10,
            {"cost_before_vat": 8, "vat": 0.8, "cost": 8.8},
        ),
        (
            {"tax_included": "YES", "max_price": {"before_taxes": 3, "after_taxes": 3.3}},
            10,
            {"cost_before_vat": 3, "vat": 0.3, "cost": 3.3},
        ),
        ({"tax_included": "YES", "max_price": {"before_taxes": 3, "after_taxes": 3.3}}, None, {"cost": 3.3}),
    ],
)
def test_a_session_is_quoted_billed_and_receipted_by_a_tariff_of_2_3(
    world: World, more: Json, vat: int | None, told: Json
) -> None:
    parts = [{"type": "ENERGY", "price": 0.25, "step_size": 1}, {"type": "FLAT", "price": 0.5, "step_size": 1}]
    if vat is not None:
        parts = [part | {"vat": vat} for part in parts]
    made = tariff(elements=[{"price_components": parts}], preauthorize_amount=40, **more)
    plan = world.rpc(OPERATOR, "import_ocpi_tariff", tariff=Jsonb(made))["id"]
    world.sql("update stations set tariff_plan_id = %s where id = %s", plan, STATION)
    quote = world.rpc(OPERATOR, "calculate_cost", station_id=STATION, energy_kwh=20, minutes=60, connector_id=1)
    transaction = world.begin(at=-60, meter=1000)
    world.stop(transaction, 21_000, at=0)
    session = world.session(transaction)
    receipt = world.rpc(OPERATOR, "receipt", session_id=session["id"])
    for result in (quote, receipt):
        assert {k: float(result[k]) for k in ("cost_before_vat", "vat", "cost") if k in result} == told
        assert result["cost"] == round(sum(line["amount"] for line in result["lines"]), 2)
    assert receipt["lines"] == quote["lines"]
    assert float(session["amount"]) == receipt["cost"]
    assert world.rpc(OPERATOR, "export_ocpi_tariff", plan_id=plan) == made


def test_a_cdr_of_10000_periods_is_priced_and_what_would_take_minutes_refused(world: World) -> None:
    minute = [
        {
            "start_date_time": (START + timedelta(minutes=n)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "dimensions": [{"type": "ENERGY", "volume": 0.1 + 0.2}, {"type": "TIME", "volume": 1 / 60}],
        }
        for n in range(10000)
    ]
    priced = world.rpc(OPERATOR, "cost_of_periods", plan_id=PLAN, periods=Jsonb(minute), time_zone="Asia/Bishkek")
    assert priced["cost"] == 45000  # 0.30000000000000004 kWh a minute, at 15
    windows = [
        {
            "price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}],
            "restrictions": {"start_time": f"{n // 60:02}:{n % 60:02}", "end_time": f"{n // 60:02}:{n % 60 + 1:02}"},
        }
        for n in range(1440)
        if n % 60 < 20
    ]
    plan = world.rpc(OPERATOR, "import_ocpi_tariff", tariff=Jsonb(tariff(elements=windows)))["id"]
    year = Jsonb(one_period(("ENERGY", 1), end_date_time="2027-05-06T12:00:00Z"))
    told = refusal(world, "cost_of_periods", plan_id=plan, periods=year, time_zone="Asia/Bishkek")
    assert (told["status"], told["code"]) == (400, "OCOCP")
    assert "too much" in told["message"]


def test_a_repeat_updates_the_plan_in_place_and_keeps_what_the_operator_wrote(db: psycopg.Connection[Any]) -> None:
    first = call(db, "import_ocpi_tariff", Jsonb(tariff()))
    db.execute("update tariff_plans set name = 'Ours', description = 'Of the roaming partner'")
    repeat = call(db, "import_ocpi_tariff", Jsonb(tariff(country_code="de", party_id="all", currency="USD")))
    assert (repeat["id"], repeat["name"], repeat["description"]) == (first["id"], "Ours", "Of the roaming partner")
    assert db.execute("select currency, count(*) from tariff_rules group by 1").fetchall() == [("USD", 1)]


def test_a_push_that_was_overtaken_by_a_newer_one_changes_nothing(db: psycopg.Connection[Any]) -> None:
    first = call(db, "import_ocpi_tariff", Jsonb(tariff(last_updated="2026-02-01T00:00:00Z")))
    late = call(db, "import_ocpi_tariff", Jsonb(tariff(last_updated="2025-01-01T00:00:00Z", currency="USD")))
    assert late == first
    assert db.execute("select currency, count(*) from tariff_rules group by 1").fetchall() == [("EUR", 1)]
    for again in ("2026-02-01T00:00:00Z", "2026-02-01T06:00:01Z", None):
        newer = call(db, "import_ocpi_tariff", Jsonb(tariff(last_updated=again, min_price={"excl_vat": 1})))
        assert (newer["id"], newer["min_price"]) == (first["id"], 1)


def test_a_plan_changed_here_is_exported_with_the_time_of_the_change(db: psycopg.Connection[Any]) -> None:
    plan = call(db, "import_ocpi_tariff", Jsonb(tariff()))["id"]
    db.execute("alter table tariff_rules disable trigger set_updated_at")
    db.execute("update tariff_rules set price = 0.3, updated_at = '2031-01-01T00:00:00.5Z'")
    out = call(db, "export_ocpi_tariff", plan)
    assert (out["last_updated"], out["elements"][0]["price_components"][0]["price"]) == (
        "2031-01-01T00:00:00.5Z",
        Decimal("0.3"),
    )


def test_prices_per_minute_of_a_plan_made_here_are_exported_per_hour(db: psycopg.Connection[Any]) -> None:
    world = World(db)
    plan = world.one("insert into tariff_plans (name) values ('Own') returning id")
    for kind, price, more in (("parking_fee", "1.5", 1), ("per_minute", "2", 0), ("per_kwh", "15", 0)):
        world.sql(
            "insert into tariff_rules (tariff_plan_id, name, tariff_type, price, priority, is_weekend,"
            " min_duration_minutes)"
            " values (%s, 'x', %s, %s, %s, %s, %s)",
            plan,
            kind,
            price,
            more,
            more == 1,
            240 if more else None,
        )
    out = call(db, "export_ocpi_tariff", plan)
    assert (out["country_code"], out["party_id"], out["id"], out["currency"]) == ("KG", "EVP", str(plan), "KGS")
    assert out["elements"] == [
        {
            "price_components": [{"type": "PARKING_TIME", "price": 90, "step_size": 1}],
            "restrictions": {"day_of_week": ["SATURDAY", "SUNDAY"], "min_duration": 14400},
        },
        {
            "price_components": [
                {"type": "ENERGY", "price": 15, "step_size": 1},
                {"type": "TIME", "price": 120, "step_size": 1},
            ]
        },
    ]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"connector_type": "CCS2"}, "some connectors only"),
        ({"power_range_max": 50}, "some connectors only"),
        ({"time_start": "08:00:30", "time_end": "10:00"}, "a bound"),
        ({"valid_until": "2100-01-01T00:00:00Z"}, "a bound"),
        ({"is_active": False}, "no rule in force"),
    ],
)
def test_what_ocpi_cannot_say_is_refused(world: World, columns: dict[str, object], says: str) -> None:
    for name, value in columns.items():
        world.sql(f"update tariff_rules set {name} = %s where tariff_plan_id = %s", value, PLAN)
    with pytest.raises(psycopg.Error, match=says) as refusal:
        world.rpc(OPERATOR, "export_ocpi_tariff", plan_id=PLAN)
    assert '"code" : "OCOCP"' in str(refusal.value)
    assert '"status" : 409' in (refusal.value.diag.message_detail or "")


def test_the_tariff_of_one_connector_leaves_out_the_rules_of_others(world: World) -> None:
    world.sql(
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, connector_type, power_range_min, price, priority)"
        " values (%s, 'Fast', 'per_kwh', 'CCS2', 50, 20, 1)",
        PLAN,
    )
    fast, slow = (
        world.rpc(OPERATOR, "export_ocpi_tariff", plan_id=PLAN, connector_type=kind, power_kw=power)["elements"]
        for kind, power in (("ccs2", 120), ("Type2", 22))
    )
    assert [e["price_components"][0]["price"] for e in fast] == [20, 15]
    assert [e["price_components"][0]["price"] for e in slow] == [15]


# --- whose ------------------------------------------------------------------------------------------
def test_an_operator_imports_for_the_own_company_an_admin_for_any_or_all(world: World) -> None:
    mine = world.rpc(OPERATOR, "import_ocpi_tariff", tariff=Jsonb(tariff()))
    theirs = world.rpc(OTHER_OPERATOR, "import_ocpi_tariff", tariff=Jsonb(tariff()))
    assert mine["id"] != theirs["id"]
    assert [str(mine["client_id"]), str(theirs["client_id"])] == [str(COMPANY), str(OTHER_COMPANY)]
    with acting_as(world.db, "service_role"):
        everybody = world.one("select client_id from import_ocpi_tariff(%s)", Jsonb(tariff()))
        again = world.one("select id from import_ocpi_tariff(%s, %s)", Jsonb(tariff()), COMPANY)
    assert everybody is None
    assert str(again) == str(mine["id"])
    for wrong in (OTHER_COMPANY, PLAN):
        with pytest.raises(psycopg.Error, match="OCPRM"):
            world.rpc(OPERATOR, "import_ocpi_tariff", tariff=Jsonb(tariff()), client_id=wrong)
    with pytest.raises(psycopg.Error, match="OCARG"), acting_as(world.db, "service_role"):
        world.one("select id from import_ocpi_tariff(%s, %s)", Jsonb(tariff()), PLAN)


@pytest.mark.parametrize("plan", [OTHER_PLAN, COMPANY])
def test_a_plan_of_another_company_is_refused_like_one_that_is_not(world: World, plan: Any) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("export_ocpi_tariff", {}),
        ("cost_of_periods", {"periods": Jsonb(PERIODS), "time_zone": "Asia/Bishkek"}),
    ]
    for name, args in calls:
        with pytest.raises(psycopg.Error, match="OCPLN"):
            world.rpc(OPERATOR, name, plan_id=plan, **args)


# --- bad input --------------------------------------------------------------------------------------
WRONG_TARIFFS: dict[str, Json] = {
    "null": None,
    "a number": 1,
    "a text": "tariff",
    "a list": [tariff()],
    "empty": {},
    "no elements": tariff(elements=[]),
    "elements no list": tariff(elements={}),
    "element no object": tariff(elements=[1]),
    "no components": tariff(elements=[{"price_components": []}]),
    "component no object": tariff(elements=[{"price_components": [None]}]),
    "restrictions no object": tariff(elements=[{"price_components": [{}], "restrictions": []}]),
    "country": tariff(country_code="GER"),
    "party": tariff(party_id="TOOLONG"),
    "party a number": tariff(party_id=123),
    "id empty": tariff(id=""),
    "id long": tariff(id="x" * 37),
    "currency": tariff(currency="eur"),
    "type": tariff(type="CHEAP"),
    "tax_included": tariff(tax_included="MAYBE"),
    "date": tariff(start_date_time="2026-02-30T00:00:00Z"),
    "date no time": tariff(end_date_time="tomorrow"),
    "date far": tariff(start_date_time="9999-01-01T00:00:00Z"),
    "dates turned": tariff(start_date_time="2026-02-02T00:00:00Z", end_date_time="2026-02-01T00:00:00Z"),
    "min_price a number": tariff(min_price=1),
    "min_price empty": tariff(min_price={}),
    "min_price text": tariff(min_price={"excl_vat": "NaN"}),
    "min_price of the other version": tariff(min_price={"before_taxes": 1}),
    "max below min": tariff(min_price={"excl_vat": 2}, max_price={"excl_vat": 1}),
    "unknown component": element({"type": "PARKING"}),
    "price negative": element({"price": -1}),
    "price text": element({"price": "0.25"}),
    "price NaN": element({"price": "NaN"}),
    "price null": element({"price": None}),
    "price too fine": element({"price": 0.12345}),
    "price huge": element({"price": 1e300}),
    "vat": element({"vat": 101}),
    "step_size 0": element({"step_size": 0}),
    "step_size missing": element({"step_size": None}),
    "step_size a fraction": element({"step_size": 1.5}),
    "step_size negative": element({"step_size": -1}),
    "step_size huge": element({"step_size": 1e12}),
    "twice": tariff(elements=[{"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}] * 2}]),
    "start_time": element(start_time="24:00"),
    "end_time": element(end_time="9:00"),
    "start_date": element(start_date="2026-02-30"),
    "dates of an element": element(start_date="2026-02-02", end_date="2026-02-02"),
    "day": element(day_of_week=["Monday"]),
    "day null": element(day_of_week=[None]),
    "days no list": element(day_of_week="MONDAY"),
    "kwh": element(min_kwh=5, max_kwh=5),
    "max 0": element(max_power=0),
    "negative": element(min_current=-1),
    "duration": element(min_duration=1.5),
    "duration text": element(max_duration="3600"),
    "reservation": element(reservation="YES"),
    "reserved energy": element(reservation="RESERVATION"),
    "restriction of nobody": element(max_soc=80),
    "restriction misspelt": element(day_of_weak=["MONDAY"]),
}


def refusal(world: World, name: str, **args: Any) -> Json:
    with pytest.raises(psycopg.Error) as caught:
        world.rpc(OPERATOR, name, **args)
    assert caught.value.sqlstate == "PGRST", caught.value
    return json.loads(caught.value.diag.message_primary or "") | json.loads(caught.value.diag.message_detail or "")


@pytest.mark.parametrize("name", WRONG_TARIFFS)
def test_what_is_no_tariff_is_refused_with_a_reason(world: World, name: str) -> None:
    told = refusal(world, "import_ocpi_tariff", tariff=Jsonb(WRONG_TARIFFS[name]))
    assert (told["status"], told["code"]) == (400, "OCOCP")
    assert told["message"]
    assert told["hint"]
    assert world.count("tariff_plans", "ocpi_id is not null") == 0


def one_period(*dimensions: tuple[Json, Json], **more: Json) -> Json:
    parts = [{"type": kind, "volume": volume} for kind, volume in dimensions]
    return [{"start_date_time": "2026-05-06T12:00:00Z", "dimensions": parts} | more]


WRONG_PERIODS: dict[str, Json] = {
    "null": None,
    "a text": "periods",
    "none": [],
    "a CDR without": {},
    "no object": [1],
    "no start": [{"dimensions": []}],
    "start impossible": [{"start_date_time": "2026-13-01T00:00:00Z", "dimensions": []}],
    "no dimensions": [{"start_date_time": "2026-05-06T12:00:00Z"}],
    "unknown": one_period(("FLAT", 1)),
    "twice": one_period(("ENERGY", 1), ("ENERGY", 1)),
    "no volume": one_period(("ENERGY", None)),
    "text": one_period(("ENERGY", "1")),
    "NaN": one_period(("ENERGY", "NaN")),
    "negative": one_period(("ENERGY", -1)),
    "huge": one_period(("ENERGY", 1e18)),
    "times too long": one_period(("TIME", 2), end_date_time="2026-05-06T13:00:00Z"),
    "ends before": one_period(("ENERGY", 2), end_date_time="2026-05-06T11:00:00Z"),
    "years": one_period(("TIME", 20000)),
    "not in order": [*one_period(), {"start_date_time": "2026-05-06T11:00:00Z", "dimensions": []}],
    "a gap": [
        *one_period(end_date_time="2026-05-06T12:30:00Z"),
        {"start_date_time": "2026-05-06T13:00:00Z", "dimensions": []},
    ],
}


@pytest.mark.parametrize("name", WRONG_PERIODS)
def test_what_are_no_periods_is_refused_with_a_reason(world: World, name: str) -> None:
    told = refusal(world, "cost_of_periods", plan_id=PLAN, periods=Jsonb(WRONG_PERIODS[name]), time_zone="Asia/Bishkek")
    assert (told["status"], told["code"]) == (400, "OCOCP")
    assert told["message"]
    assert told["hint"]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", None])
def test_a_time_zone_that_is_none_is_refused(world: World, zone: str | None) -> None:
    told = refusal(world, "cost_of_periods", plan_id=PLAN, periods=Jsonb(PERIODS), time_zone=zone)
    assert (told["status"], told["code"]) == (400, "OCNUM")


def test_a_period_without_times_charges_and_the_rest_of_one_with_times_costs_nothing(world: World) -> None:
    world.sql(
        "insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values (%s, 'Time', 'per_minute', 1),"
        " (%s, 'Parking', 'parking_fee', 10)",
        PLAN,
        PLAN,
    )

    def minutes(*dimensions: tuple[str, float]) -> dict[str, Any]:
        periods = Jsonb(one_period(*dimensions, end_date_time="2026-05-06T13:00:00Z"))
        result = world.rpc(OPERATOR, "cost_of_periods", plan_id=PLAN, periods=periods, time_zone="UTC")
        return {x["rule_name"]: x["quantity"] for x in result["lines"]}

    assert minutes(("ENERGY", 1)) == {"Energy": 1, "Time": 60}
    assert minutes(("ENERGY", 1), ("TIME", 0.5)) == {"Energy": 1, "Time": 30}
    assert minutes(("ENERGY", 1), ("TIME", 0.25), ("PARKING_TIME", 0.5)) == {"Energy": 1, "Time": 15, "Parking": 30}
    assert minutes(("TIME", 0.9999)) == {"Time": 60}  # rounded to four decimals
    assert minutes(("ENERGY", 1), ("MIN_CURRENT", -3.5), ("POWER", -1)) == {"Energy": 1, "Time": 60}  # a car that gives
