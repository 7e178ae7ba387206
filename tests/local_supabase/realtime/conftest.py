"""A Realtime server in the test's own process, on a database with the bootstrap and the policies of the recordings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import psycopg
import pytest
from aiohttp import ClientSession, web

from local_supabase import LocalSupabase
from local_supabase.realtime import RealtimeServer, RealtimeSettings
from tests.local_supabase.realtime.world import SECRET, Running

BARE = "realtime_bare"

# The set-up of the recordings: authenticated reads topics allowed:%, and writes allowed:rw:%.
POLICIES = """
create policy "read allowed topics" on realtime.messages for select to authenticated
  using (realtime.topic() like 'allowed:%' and extension in ('broadcast', 'presence'));
create policy "write allowed:rw topics" on realtime.messages for insert to authenticated
  with check (realtime.topic() like 'allowed:rw:%' and extension in ('broadcast', 'presence'));
create table public.notes (id int generated always as identity (start 2) primary key, n int, body text);
create function public.notes_changed() returns trigger language plpgsql as $$
begin
  perform realtime.broadcast_changes('allowed:rw:notes', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
  return null;
end $$;
create trigger notes_changed after insert or update or delete on public.notes
  for each row execute function public.notes_changed();
"""

# No waiting and no limits, unless a test is about them.
QUICK = RealtimeSettings(
    refused_join_delay_s=0,
    refused_handshake_delay_s=0,
    max_events_per_second=math.inf,
    max_joins_per_second=math.inf,
    listener_retry_s=0.02,
)


@pytest.fixture(scope="session")
def bare_template(cluster: LocalSupabase) -> str:
    """A database without this project's migrations; the policies are made by postgres, as hosted."""
    cluster.postgres.create_database(BARE)
    with cluster.postgres.connect(BARE) as connection:
        cluster.postgres.bootstrap_database(connection)
    with psycopg.connect(cluster.postgres.url("postgres", BARE), autocommit=True) as connection:
        connection.execute(POLICIES)
    return BARE


@pytest.fixture
def database(cluster: LocalSupabase, bare_template: str) -> Iterator[str]:
    """Name of a database of its own."""
    with cluster.fresh_database(bare_template) as url:
        yield url.rsplit("/", 1)[1].split("?")[0]


Serve = Callable[..., Awaitable[Running]]


@pytest.fixture
async def serve(cluster: LocalSupabase, database: str) -> AsyncIterator[Serve]:
    """serve(setting=value, …) starts a server; without arguments it is quick and has no limits."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(ClientSession())

        async def start(translate_key: Callable[[str], str | None] | None = None, **changes: object) -> Running:
            url = cluster.postgres.url("supabase_admin", database)
            server = RealtimeServer(url, SECRET, dataclasses.replace(QUICK, **changes), translate_key)  # type: ignore[arg-type]
            app = web.Application(client_max_size=10_000_000)
            app.add_routes(server.routes())
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            await server.start()
            stack.push_async_callback(server.stop)
            port = runner.addresses[0][1]
            admin = await psycopg.AsyncConnection.connect(url, autocommit=True)
            stack.push_async_callback(admin.close)
            return Running(server, f"http://127.0.0.1:{port}", admin, http)

        yield start
