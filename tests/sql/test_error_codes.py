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


def arguments(text: str, start: int) -> list[str]:
    """The arguments of the call whose opening bracket is at start, split at its own commas."""
    found, depth, quoted, begin = [], 0, False, start + 1
    for at in range(start, len(text)):
        char = text[at]
        if char == "'":
            quoted = not quoted
        elif not quoted:
            depth += (char in "([") - (char in ")]")
            if depth == 0 or (depth == 1 and char == ","):
                found.append(text[begin:at].strip())
                begin = at + 1
            if depth == 0:
                break
    return found


def test_every_refusal_says_what_to_do() -> None:
    calls = [
        arguments(text, match.end() - 1)
        for path, text in SOURCES.items()
        for match in re.finditer(r"perform private\.fail\(", text)
        if path.parent == ROOT / "sql"
    ]
    assert len(calls) > 30
    assert [call for call in calls if len(call) < 4 or call[3] in ("null", "''")] == []
    raised = [
        match for path in (ROOT / "sql").glob("*.sql") for match in re.findall(r"errcode = 'OC[^;]*", path.read_text())
    ]
    assert [text for text in raised if "hint = " not in text] == []


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
