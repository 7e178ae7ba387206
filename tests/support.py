"""What tests import by name; fixtures are in conftest.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg


@dataclass(frozen=True)
class Api:
    """What a client of a Supabase project knows."""

    url: str
    anon_key: str
    service_role_key: str


@contextmanager
def acting_as(db: psycopg.Connection[Any], who: str | UUID | Mapping[str, Any]) -> Iterator[None]:
    """Run the block as PostgREST runs a request: role and claims of the token, in one transaction.

    who: a role (anon, authenticated, service_role), a user's id (authenticated), or the claims. An error rolls back.
    """
    if isinstance(who, Mapping):
        claims = dict(who)
    elif str(who) in ("anon", "authenticated", "service_role"):
        claims = {"role": str(who)}
    else:
        claims = {"role": "authenticated", "sub": str(UUID(str(who))), "aud": "authenticated"}
    with db.transaction():
        db.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
            [json.dumps(claims), claims["role"]],
        )
        yield
        # within an outer transaction the end of this block would not undo them
        db.execute("select set_config('role', 'none', true), set_config('request.jwt.claims', '', true)")
