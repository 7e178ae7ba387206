"""docs/error_codes.md and the sources name the same codes and HTTP statuses."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.sql.world import World

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    path: path.read_text()
    for pattern in ("sql/*.sql", "supabase/migrations/*.sql", "supabase/functions/*/*.ts")
    for path in ROOT.glob(pattern)
    if not path.stem.endswith("_test")
}
RAISED = re.compile(r"""(?:private\.fail|new Problem)\(\s*(\d+),\s*['"](OC[A-Z]{3})['"]""")
DOCUMENTED = {
    row[0]: row[1:]
    for line in (ROOT / "docs/error_codes.md").read_text().splitlines()
    if re.match(r"\| OC", line)
    for row in [[cell.strip() for cell in line.strip("|").split("|")]]
}


def test_every_code_that_is_raised_is_documented_and_no_other() -> None:
    raised = {code for text in SOURCES.values() for code in re.findall(r"""['"](OC[A-Z]{3})['"]""", text)}
    assert raised == set(DOCUMENTED)


def test_codes_have_the_documented_http_status() -> None:
    statuses: dict[str, set[str]] = {}
    for text in SOURCES.values():
        for status, code in RAISED.findall(text):
            statuses.setdefault(code, set()).add(status)
    documented = {code: set(row[0].split(", ")) for code, row in DOCUMENTED.items() if code != "OCTRF"}
    assert statuses == documented


def test_comment_of_each_function_of_the_api_names_the_codes_it_may_raise(world: World) -> None:
    query = "select proname, obj_description(oid, 'pg_proc') as comment from pg_proc"
    comments = world.sql(f"{query} where pronamespace = 'public'::regnamespace")
    for row in comments:
        named = set(re.findall(r"OC[A-Z]{3}", row["comment"]))
        assert named <= set(DOCUMENTED)
        documented = {code for code, cells in DOCUMENTED.items() if f"`{row['proname']}`" in cells[3]}
        if not row["comment"].startswith("For bridges"):
            assert documented <= named


@pytest.mark.parametrize("hint", ["'Do this.'", "null"])
def test_refusal_has_code_status_and_message_with_or_without_a_hint(world: World, hint: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        world.sql(f"select private.fail(409, 'OCBSY', 'it is \"busy\"', {hint})")
    diag = error.value.diag
    assert diag.sqlstate == "PGRST"
    assert '"code" : "OCBSY"' in (diag.message_primary or "")
    assert '"status" : 409' in (diag.message_detail or "")
