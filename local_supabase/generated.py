# ruff: noqa: E501  (the header of a file reads better unbroken)
"""The files in types/: what rows of the public schema are, for TypeScript and for Python."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from . import supabase_cli
from .stack import LocalSupabase

HEADER = '''# ruff: noqa: E501
"""Rows of the tables and views, as PostgREST returns them with select=*. Written by `make generate`; do not edit.

A file of its own, to be copied into any program that has pydantic. Money and energy are Decimal. Fields that a request did not
select are missing, and a model insists on all of its own.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict
'''
BASE = '''class Row(BaseModel):
    """What all have in common; embedded rows and other fields that a model does not name are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")
'''
# As they are in JSON. PostgreSQL's intervals, and its times of day with their 24:00, have no equal in Python.
SCALARS = {
    "boolean": "bool",
    "smallint": "int",
    "integer": "int",
    "bigint": "int",
    "double precision": "float",
    "numeric": "Decimal",
    "text": "str",
    "uuid": "UUID",
    "date": "date",
    "time without time zone": "str",
    "interval": "str",
    "timestamp with time zone": "AwareDatetime",
    "jsonb": "Any",
}
ENUMS = """
select t.typname, obj_description(t.oid, 'pg_type'), array_agg(e.enumlabel::text order by e.enumsortorder)
  from pg_type as t join pg_enum as e on e.enumtypid = t.oid
 where t.typnamespace = 'public'::regnamespace group by t.oid, t.typname order by t.typname
"""
RELATIONS = """
select c.relname, c.relkind = 'v', obj_description(c.oid, 'pg_class') from pg_class as c
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v') order by c.relkind = 'v', c.relname
"""
COLUMNS = """
select a.attname, format_type(coalesce(nullif(t.typelem, 0), t.oid), null), t.typcategory = 'A', not a.attnotnull,
       col_description(a.attrelid, a.attnum)
  from pg_attribute as a
  join pg_type as t on t.oid = a.atttypid
 where a.attrelid = format('public.%%I', %s::text)::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum
"""


def class_name(relation: str) -> str:
    """StationOverview of station_overview, LedgerEntry of ledger_entries: a row is one."""
    head, _, last = relation.rpartition("_")
    if last.endswith("ies"):
        last = f"{last[:-3]}y"
    elif last.endswith("s") and not last.endswith("us"):
        last = last[:-1]
    return "".join(word.capitalize() for word in [*head.split("_"), last])


def _enums(db: psycopg.Connection[Any]) -> Iterator[tuple[str, str]]:
    for name, comment, labels in db.execute(ENUMS):
        members = "\n".join(f'    {label.upper()} = "{label}"' for label in labels)
        title = "".join(word.capitalize() for word in name.split("_"))
        yield name, f'class {title}(StrEnum):\n    """{comment}"""\n\n{members}\n'


def _fields(db: psycopg.Connection[Any], relation: str, enums: set[str]) -> Iterator[str]:
    for name, kind, is_array, nullable, comment in db.execute(COLUMNS, [relation]):
        kind = kind.strip('"')
        python = "".join(word.capitalize() for word in kind.split("_")) if kind in enums else SCALARS[kind]
        python = f"list[{python}]" if is_array else python
        yield f"    {name}: {python}{' | None' if nullable and python != 'Any' else ''}"
        if comment:
            yield f'    """{comment}"""'


def python_models(db: psycopg.Connection[Any]) -> str:
    """types/models.py: a StrEnum for each enum type, a frozen pydantic model for each table and view."""
    enums = dict(_enums(db))
    parts = [HEADER, *enums.values(), BASE]
    names = {}
    for relation, is_view, comment in db.execute(RELATIONS).fetchall():
        names[relation] = class_name(relation)
        title = f"{'View' if is_view else 'Table'} {relation}. {comment}"
        body = "\n".join(_fields(db, relation, set(enums)))
        parts.append(f'class {names[relation]}(Row):\n    """{title}"""\n\n{body}\n')
    listed = "\n".join(f'    "{relation}": {name},' for relation, name in names.items())
    parts.append(f"MODELS: dict[str, type[Row]] = {{\n{listed}\n}}\n")
    return _formatted([sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", "models.py", "-"], parts)


def typescript(stack: LocalSupabase, database_url: str) -> str:
    """types/database.ts: what `supabase gen types` says, laid out by `deno fmt`."""
    text = supabase_cli.types(stack.tools, stack.project, database_url)
    note = "// Written by `make generate`, which is `supabase gen types`; do not edit.\n"
    return _formatted([str(stack.tools.deno), "fmt", "--quiet", "--ext=ts", "--line-width=120", "-"], [note, text])


def _formatted(command: list[str], parts: list[str]) -> str:
    text = "\n\n".join(parts)
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def files(stack: LocalSupabase, database_url: str) -> dict[str, str]:
    """The files of types/ for a migrated database, by name."""
    with psycopg.connect(database_url, autocommit=True) as db:
        return {"database.ts": typescript(stack, database_url), "models.py": python_models(db)}


def write(project: Path) -> None:
    """Write types/ anew, from a database made for it."""
    with tempfile.TemporaryDirectory(prefix="types-") as folder:
        stack = LocalSupabase(Path(folder), durable=False, project=project)
        try:
            stack.up_database()
            with stack.fresh_database(stack.prepare_template()) as url:
                texts = files(stack, url)
        finally:
            stack.down()
            stack.postgres.remove()
    (project / "types").mkdir(exist_ok=True)
    for name, text in texts.items():
        (project / "types" / name).write_text(text)
