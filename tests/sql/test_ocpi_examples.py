"""Every worked example of the tariff chapters of OCPI 2.2.1 and 2.3 with its stated result; see ocpi/README.md."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support import acting_as

FOLDER = Path(__file__).parent / "ocpi"
EXAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
DIMENSIONS = {"per_kwh": "ENERGY", "per_minute": "TIME", "parking_fee": "PARKING_TIME", "session_fee": "FLAT"}
CENT = Decimal("0.01")


def imported(db: psycopg.Connection[Any], tariff: dict[str, Any]) -> Any:
    with acting_as(db, "service_role"):
        row = db.execute("select (import_ocpi_tariff(%s)).id", [Jsonb(tariff)]).fetchone()
    assert row is not None
    return row[0]


def cost(db: psycopg.Connection[Any], plan: Any, session: dict[str, Any], zone: str) -> dict[str, Any]:
    cdr = {"charging_periods": session["periods"], "end_date_time": session.get("end_date_time")}
    with acting_as(db, "service_role"):
        row = db.execute("select cost_of_periods(%s, %s, %s)::text", [plan, Jsonb(cdr), zone]).fetchone()
    assert row is not None
    result: dict[str, Any] = json.loads(row[0], parse_float=Decimal)
    return result


CASES = [(name, n) for name, example in EXAMPLES.items() for n in range(len(example["sessions"]))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_worked_example_has_its_stated_result(undone: psycopg.Connection[Any], name: str, number: int) -> None:
    example = EXAMPLES[name]
    session = example["sessions"][number]
    result = cost(undone, imported(undone, example["tariff"]), session, example["time_zone"])

    stated = {side: Decimal(str(session[side])) for side in ("excl_vat", "incl_vat") if side in session}
    exact = {side: Decimal(str(result["total_cost"].get(side))) for side in stated}
    if session.get("exact", True):
        assert exact == stated
    else:  # stated in cents, though it does not end there
        assert {side: amount.quantize(CENT, "ROUND_HALF_UP") for side, amount in exact.items()} == stated
    # what is paid: the same in the currency's minor unit
    assert result["cost_before_vat"] == stated["excl_vat"].quantize(CENT, "ROUND_HALF_UP")
    assert result["cost"] == stated.get("incl_vat", stated["excl_vat"]).quantize(CENT, "ROUND_HALF_UP") or (
        "incl_vat" not in session and result["vat"] is not None
    )
    assert result["cost"] == sum(line["amount"] for line in result["lines"])
    if "incl_vat" in session:
        assert result["vat"] == result["cost"] - result["cost_before_vat"]
    elif not any("vat" in c for e in example["tariff"]["elements"] for c in e["price_components"]):
        assert result["vat"] is None  # "it is not possible to calculate total costs including VAT"

    stated_lines = [(kind, quantity, amount) for kind, quantity, amount in session.get("lines", ())]
    if stated_lines:
        # hours have six decimals, of which the last is that of a running total
        lines = sorted(
            (DIMENSIONS[x["tariff_type"]], round(Decimal(x["quantity"]), 5), Decimal(x["amount"]))
            for x in result["lines"]
            if x["tariff_type"] in DIMENSIONS
        )
        if stated_lines[0][2] is None:
            lines = [(kind, quantity, None) for kind, quantity, _ in lines]  # type: ignore[misc]
        assert lines == sorted(
            (kind, round(Decimal(str(quantity)), 5), None if amount is None else Decimal(str(amount)))
            for kind, quantity, amount in stated_lines
        )


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tariff_of_the_chapter_comes_out_as_it_went_in(undone: psycopg.Connection[Any], name: str) -> None:
    tariff = EXAMPLES[name]["tariff"]
    plan = imported(undone, tariff)
    with acting_as(undone, "service_role"):
        row = undone.execute("select export_ocpi_tariff(%s)", [plan]).fetchone()
    assert row is not None
    exported = row[0]
    if "last_updated" not in tariff:
        assert exported.pop("last_updated")
    for element in tariff["elements"]:
        element["price_components"].sort(key=lambda c: c["type"])
        restrictions = element.get("restrictions", {})
        for key in ("start_time", "end_time"):
            if restrictions.get(key) == "00:00":
                del restrictions[key]
    assert exported == tariff
