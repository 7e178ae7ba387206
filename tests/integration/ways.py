"""The two ways to the same data, with one user's token: Supabase's REST API, and the old service's paths."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

Row = dict[str, Any]


@dataclass(frozen=True)
class Ways:
    """`rest` ends in /rest/v1, `old` in /functions/v1/ocpp. A refusal fails the test."""

    rest: httpx.AsyncClient
    old: httpx.AsyncClient
    user_id: str

    async def rows(self, path: str, **query: str) -> list[Row]:
        """Rows of a table or view."""
        found: list[Row] = _json(await self.rest.get(path, params=query))
        return found

    async def row(self, path: str, **query: str) -> Row:
        """The one row."""
        (found,) = await self.rows(path, **query)
        return found

    async def rpc(self, name: str, **arguments: Any) -> Any:
        answer = await self.rest.post(f"rpc/{name}", json=arguments)
        return None if answer.status_code == 204 else _json(answer)

    async def insert(self, table: str, **values: Any) -> Row:
        (made,) = _json(await self.rest.post(table, json=values, headers={"Prefer": "return=representation"}))
        return dict(made)

    async def get(self, path: str, **query: str) -> Any:
        """By the old path."""
        return _json(await self.old.get(path, params=query))

    async def post(self, path: str, body: Any) -> Any:
        """By the old path."""
        return _json(await self.old.post(path, json=body))

    async def put(self, path: str, **body: Any) -> Any:
        """By the old path."""
        return _json(await self.old.put(path, json=body))

    async def delete(self, path: str) -> Any:
        """By the old path."""
        return _json(await self.old.delete(path))


def _json(answer: httpx.Response) -> Any:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json()


@asynccontextmanager
async def ways_of(env: Mapping[str, str], prefix: str) -> AsyncIterator[Ways]:
    """Signed in as DEMO_DRIVER, DEMO_OPERATOR …"""
    url, key = env["SUPABASE_URL"], env["SUPABASE_ANON_KEY"]
    async with httpx.AsyncClient(headers={"apikey": key}, timeout=60) as http:
        credentials = {"email": env[f"{prefix}_EMAIL"], "password": env[f"{prefix}_PASSWORD"]}
        session = _json(await http.post(f"{url}/auth/v1/token?grant_type=password", json=credentials))
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    async with (
        httpx.AsyncClient(base_url=f"{url}/rest/v1", headers={**headers, "apikey": key}, timeout=30) as rest,
        httpx.AsyncClient(base_url=f"{url}/functions/v1/ocpp", headers=headers, timeout=90) as old,
    ):
        yield Ways(rest, old, session["user"]["id"])
