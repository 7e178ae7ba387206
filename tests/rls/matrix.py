"""Writes docs/access.md from tests/rls/spec.py: python -m tests.rls.matrix"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.rls.spec import FUNCTIONS, ROLES, TABLES, TOPIC_NAMES, TOPICS, VERBS, VIEWS, Cells, Table

PATH = Path(__file__).resolve().parents[2] / "docs" / "access.md"
MARKER = "<!-- Below: written by `python -m tests.rls.matrix` from tests/rls/spec.py, which tests/rls tries. -->\n"
LEGEND = (
    "A cell names the rows: *all*, *own*, *company's* … – means none: the request succeeds and touches nothing. "
    "✕ means an error: 403, or 401 without a token; a code: that refusal."
)
WORDS = {"none": "–", "refused": "✕", "select": "read", "insert": "add", "update": "change", "delete": "delete"}


def row(*columns: str) -> str:
    return f"| {' | '.join(columns)} |"


def header(*first: str) -> list[str]:
    names = [*first, *(role.replace("_", " ") for role in ROLES)]
    return [row(*names), row(*("---" for _ in names))]


def words(cell: str) -> str:
    return " + ".join(WORDS.get(part, part) for part in cell.split(" + ")).replace(" + ", ", ")


def of_roles(cells: Cells) -> list[str]:
    return [words(cells[role]) for role in ROLES]


def of_table(name: str, table: Table) -> Iterator[str]:
    verbs = ["select"] if name in VIEWS else list(VERBS)
    for verb in verbs:
        yield row(f"`{name}`" if verb == "select" else "", WORDS[verb], *of_roles(table.cells(verb)))


def matrix() -> str:
    lines = ["## Tables", "", LEGEND, "", *header("table", "")]
    for name, table in TABLES.items():
        lines += of_table(name, table)
    lines += ["", *(f"- `{name}`: {table.note}" for name, table in TABLES.items() if table.note)]
    lines += ["", "## Views", "", "Nobody writes through a view.", "", *header("view", "")]
    for name, view in VIEWS.items():
        lines += of_table(name, view)
    lines += ["", *(f"- `{name}`: {view.note}" for name, view in VIEWS.items() if view.note)]
    lines += ["", "## Functions", "", *header("function")]
    lines += [row(f"`{name}`", *of_roles(FUNCTIONS[name].cells)) for name in sorted(FUNCTIONS)]
    lines += ["", "## Realtime topics", "", "Who may join; nobody but the database sends.", "", *header("topic")]
    lines += [row(TOPIC_NAMES[topic], *of_roles(cells)) for topic, cells in TOPICS.items()]
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/access.md as it should be: its prose, and the matrix of today."""
    prose, _, _ = PATH.read_text().partition(MARKER)
    return f"{prose}{MARKER}\n{matrix()}"


if __name__ == "__main__":
    PATH.write_text(page())
