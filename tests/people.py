"""The people of the seed, signed in as their apps are: with e-mail and password, through Supabase Auth."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
from realtime import RealtimeChannelOptions
from supabase import AsyncClient, AsyncClientOptions, acreate_client

Row = dict[str, Any]
PRIVATE = cast(RealtimeChannelOptions, {"config": {"private": True}})


@asynccontextmanager
async def signed_in(env: Mapping[str, str], prefix: str) -> AsyncIterator[AsyncClient]:
    """A client with the JWT of DEMO_DRIVER, DEMO_DRIVER2, DEMO_OPERATOR, DEMO_ADMIN or BRIDGE."""
    async with anonymous(env) as client:
        credentials = {"email": env[f"{prefix}_EMAIL"], "password": env[f"{prefix}_PASSWORD"]}
        await client.auth.sign_in_with_password(credentials)
        yield client


@asynccontextmanager
async def anonymous(env: Mapping[str, str]) -> AsyncIterator[AsyncClient]:
    """A client that has the anon key and nothing else."""
    async with httpx.AsyncClient(timeout=30) as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        client = await acreate_client(env["SUPABASE_URL"], env["SUPABASE_ANON_KEY"], options)
        try:
            yield client
        finally:
            await client.realtime.close()


async def rpc(client: AsyncClient, name: str, **arguments: object) -> Any:
    """The result of an RPC. Raises APIError."""
    return (await client.rpc(name, arguments).execute()).data


async def row(client: AsyncClient, table: str, **equal: object) -> Row:
    """The one row that this client sees with these values."""
    query = client.table(table).select("*")
    for column, value in equal.items():
        query = query.eq(column, value)
    return cast(Row, (await query.single().execute()).data)
