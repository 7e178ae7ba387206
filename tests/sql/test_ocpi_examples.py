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


def of_2_3(tariff: dict[str, Any]) -> dict[str, Any]:
    """The Tariff as 2.3.0 writes it: tax_included is required, a limit of the price is a PriceLimit."""
    limits = {
        key: {
            {"excl_vat": "before_taxes", "incl_vat": "after_taxes"}[side]: amount
            for side, amount in tariff[key].items()
        }
        for key in ("min_price", "max_price")
        if key in tariff
    }
    return {"tax_included": "NO"} | tariff | limits


CASES = [
    pytest.param(tariff, example["time_zone"], session, id=f"{name}-{n}-{edition}")
    for name, example in EXAMPLES.items()
    for edition, tariff in (("as written", example["tariff"]), ("2.3.0", of_2_3(example["tariff"])))
    if edition == "as written" or ("2.3.0" in example["versions"] and tariff != example["tariff"])
    for n, session in enumerate(example["sessions"])
]


@pytest.mark.parametrize(("tariff", "zone", "session"), CASES)
def test_a_worked_example_has_its_stated_result(
    undone: psycopg.Connection[Any], tariff: dict[str, Any], zone: str, session: dict[str, Any]
) -> None:
    result = cost(undone, imported(undone, tariff), session, zone)

    stated = {side: Decimal(str(session[side])) for side in ("excl_vat", "incl_vat") if side in session}
    exact = {side: Decimal(str(result["total_cost"].get(side))) for side in stated}
    if session.get("exact", True):
        assert exact == stated
    else:  # stated in cents, though it does not end there
        assert {side: amount.quantize(CENT, "ROUND_HALF_UP") for side, amount in exact.items()} == stated
    # what is paid: the same in the currency's minor unit
    if "excl_vat" in stated:
        assert result["cost_before_vat"] == stated["excl_vat"].quantize(CENT, "ROUND_HALF_UP")
    else:  # prices that contain taxes at a rate that nobody tells
        assert (result["cost_before_vat"], result["vat"]) == (None, None)
    assert result["cost"] == stated.get("incl_vat", stated.get("excl_vat", Decimal())).quantize(
        CENT, "ROUND_HALF_UP"
    ) or ("incl_vat" not in session and result["vat"] is not None)
    assert result["cost"] == sum(line["amount"] for line in result["lines"])
    if len(stated) == 2:
        assert result["vat"] == result["cost"] - result["cost_before_vat"]
    elif not any("vat" in c for e in tariff["elements"] for c in e["price_components"]):
        # "it is not possible to calculate total costs including VAT", nor, where it is included, before it
        assert (result["vat"], set(result["total_cost"])) == (None, set(stated))

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
    for tariff in (EXAMPLES[name]["tariff"], of_2_3(EXAMPLES[name]["tariff"])):
        plan = imported(undone, tariff)
        with acting_as(undone, "service_role"):
            row = undone.execute("select export_ocpi_tariff(%s)", [plan]).fetchone()
        assert row is not None
        exported = row[0]
        if "last_updated" not in tariff:
            assert exported.pop("last_updated")
        assert exported == tariff
