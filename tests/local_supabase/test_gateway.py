"""The gateway in front of PostgREST: keys, tokens, cross-origin calls, and what happens when PostgREST is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from supabase import acreate_client

from local_supabase import LocalSupabase, mint

SCHEMA = """
create table public.notes (id int primary key, text text, owner uuid default auth.uid());
alter table public.notes enable row level security;
grant select, insert on public.notes to anon, authenticated, service_role;
create policy "Anybody reads note 1" on public.notes for select to anon using (id = 1);
create policy "Users read and write their own" on public.notes for all to authenticated using (owner = auth.uid());
insert into public.notes values (1, 'one', null), (2, 'two', null);
create function public.who() returns text language sql stable as 'select current_user::text';
grant execute on function public.who to anon, authenticated, service_role;
create function public.echo(value text) returns text language sql as 'select value';
grant execute on function public.echo to anon;
"""
ALICE = "0a000000-0000-4000-8000-00000000000a"


@pytest.fixture(scope="module")
def served(cluster: LocalSupabase, template: str) -> Iterator[LocalSupabase]:
    """An API with two notes."""
    with cluster.fresh_stack(template) as stack:
        with stack.connect() as connection:
            connection.execute(SCHEMA)
        stack.restart("postgrest")  # it reads the schema at its start
        yield stack


@pytest.fixture
def http(served: LocalSupabase) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served.url}/rest/v1", timeout=30) as client:
        yield client


def test_a_request_without_a_key_is_refused(http: httpx.Client) -> None:
    answer = http.get("/notes")
    assert (answer.status_code, answer.json()["message"]) == (401, "No API key found in request")


def test_an_unknown_key_is_refused(http: httpx.Client) -> None:
    answer = http.get("/notes", headers={"apikey": "sb_secret_guess"})
    assert (answer.status_code, answer.json()["message"]) == (401, "Invalid API key")


def test_a_token_of_the_project_is_no_key(served: LocalSupabase, http: httpx.Client) -> None:
    """Hosted gateways know the API keys by heart: a self-made JWT is refused, whatever its role."""
    for role in ("authenticated", "service_role"):
        assert http.get("/notes", headers={"apikey": served.mint(role)}).status_code == 401


def test_each_key_has_its_role(served: LocalSupabase, http: httpx.Client) -> None:
    roles = {
        name: http.get("/rpc/who", headers={"apikey": getattr(served, name)}).json()
        for name in ("anon_key", "publishable_key", "service_role_key", "secret_key")
    }
    assert roles == {
        "anon_key": "anon",
        "publishable_key": "anon",
        "service_role_key": "service_role",
        "secret_key": "service_role",
    }


def test_a_key_may_come_in_the_query(served: LocalSupabase, http: httpx.Client) -> None:
    for query in ("apikey={}", "select=id&apikey={}", "apikey={}&select=id", "order=id&apikey={}&select=id"):
        answer = http.get(f"/notes?{query.format(served.anon_key)}")
        assert (answer.status_code, answer.json()[0]["id"]) == (200, 1)


def test_a_secret_key_is_refused_in_a_browser(served: LocalSupabase, http: httpx.Client) -> None:
    answer = http.get("/rpc/who", headers={"apikey": served.secret_key, "User-Agent": "Mozilla/5.0 (X11; Linux)"})
    assert (answer.status_code, answer.json()["message"]) == (401, "Forbidden use of secret API key in browser")


@pytest.mark.parametrize("key", ["anon_key", "publishable_key"])
def test_a_users_token_beats_the_key(served: LocalSupabase, http: httpx.Client, key: str) -> None:
    headers = {"apikey": getattr(served, key), "Authorization": f"Bearer {served.mint('authenticated', ALICE)}"}
    assert http.get("/rpc/who", headers=headers).json() == "authenticated"


def test_supabase_js_sends_the_new_key_as_a_token_too(served: LocalSupabase, http: httpx.Client) -> None:
    headers = {"apikey": served.secret_key, "Authorization": f"Bearer {served.secret_key}"}
    assert http.get("/rpc/who", headers=headers).json() == "service_role"


def test_a_token_signed_by_somebody_else_is_refused(served: LocalSupabase, http: httpx.Client) -> None:
    forged = mint("x" * 64, "service_role")
    answer = http.get("/rpc/who", headers={"apikey": served.anon_key, "Authorization": f"Bearer {forged}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "PGRST301")


def test_row_level_security_holds(served: LocalSupabase, http: httpx.Client) -> None:
    anon = http.get("/notes", params={"select": "id"}, headers={"apikey": served.anon_key}).json()
    service = http.get("/notes", params={"select": "id"}, headers={"apikey": served.secret_key}).json()
    assert (anon, service) == ([{"id": 1}], [{"id": 1}, {"id": 2}])


def test_headers_of_both_sides_pass(served: LocalSupabase, http: httpx.Client) -> None:
    headers = {"apikey": served.secret_key, "Prefer": "count=exact", "Range": "0-0"}
    answer = http.get("/notes", headers=headers)
    assert (answer.status_code, answer.headers["Content-Range"]) == (206, "0-0/2")


def test_a_row_is_written_as_its_user(served: LocalSupabase, http: httpx.Client) -> None:
    headers = {
        "apikey": served.anon_key,
        "Authorization": f"Bearer {served.mint('authenticated', ALICE)}",
        "Prefer": "return=representation",
    }
    answer = http.post("/notes", json={"id": 100, "text": "hers"}, headers=headers)
    assert (answer.status_code, answer.json()) == (201, [{"id": 100, "text": "hers", "owner": ALICE}])
    with served.connect() as connection:
        connection.execute("delete from public.notes where id = 100")


def test_a_head_request_has_headers_only(served: LocalSupabase, http: httpx.Client) -> None:
    headers = {"apikey": served.secret_key, "Prefer": "count=exact"}
    for _ in range(3):  # a body read by mistake would be taken for the next answer
        answer = http.head("/notes", headers=headers)
        assert (answer.headers["Content-Range"], answer.content) == ("0-1/2", b"")


@pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
def test_bodies_of_any_size_pass_both_ways(served: LocalSupabase, http: httpx.Client, size: int) -> None:
    text = "ы" * size
    answer = http.post("/rpc/echo", json={"value": text}, headers={"apikey": served.anon_key})
    assert answer.json() == text


def test_a_chunked_body_passes(served: LocalSupabase, http: httpx.Client) -> None:
    headers = {"apikey": served.anon_key, "Content-Type": "application/json"}
    answer = http.post("/rpc/echo", content=iter([b'{"value"', b': "in', b' parts"}']), headers=headers)
    assert answer.json() == "in parts"


def test_a_page_of_any_origin_may_call(served: LocalSupabase, http: httpx.Client) -> None:
    asked = http.options(
        "/notes",
        headers={
            "Origin": "http://localhost:5173",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "apikey,authorization,x-client-info",
        },
    )
    assert asked.headers["Access-Control-Allow-Headers"] == "apikey,authorization,x-client-info"
    answer = http.get("/notes", headers={"apikey": served.anon_key, "Origin": "http://localhost:5173"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Range" in answer.headers["Access-Control-Expose-Headers"]
    assert http.get("/notes").headers["Access-Control-Allow-Origin"] == "*"  # or the page could not read the error


def test_an_unknown_path_is_404(served: LocalSupabase) -> None:
    assert httpx.get(f"{served.url}/storage/v1/bucket").status_code == 404


def test_postgrest_may_go_and_come_back(served: LocalSupabase, http: httpx.Client) -> None:
    headers = {"apikey": served.anon_key}
    assert http.get("/rpc/who", headers=headers).status_code == 200
    served.kill("postgrest")
    away = http.get("/rpc/who", headers=headers)
    assert (away.status_code, away.headers["Access-Control-Allow-Origin"]) == (502, "*")
    served.start("postgrest")
    assert http.get("/rpc/who", headers=headers).json() == "anon"
    assert http.post("/rpc/echo", json={"value": "a"}, headers=headers).json() == "a"


def test_the_gateway_may_be_restarted(served: LocalSupabase, http: httpx.Client) -> None:
    headers = {"apikey": served.anon_key}
    served.restart("gateway")
    assert http.get("/rpc/who", headers=headers).json() == "anon"


def test_realtime_asks_for_a_key_too(served: LocalSupabase) -> None:
    path = f"{served.url}/realtime/v1/api/broadcast"
    body = {"messages": [{"topic": "a", "event": "b", "payload": {}}]}
    assert httpx.post(path, json=body).status_code == 401
    assert httpx.post(path, json=body, headers={"apikey": served.mint("service_role")}).status_code == 401
    answer = httpx.post(path, json=body, headers={"apikey": served.publishable_key})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (202, "*")


async def test_realtime_carries_messages_of_the_database(served: LocalSupabase) -> None:
    """The stand-in has tests of its own; here it is the whole way, with a key of the new kind."""
    client = await acreate_client(served.url, served.publishable_key)
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    joined = asyncio.Event()
    channel = client.channel("public:hall")
    channel.on_broadcast("hello", heard.put_nowait)
    await channel.subscribe(lambda _state, _error: joined.set())
    async with asyncio.timeout(30):
        await joined.wait()
        message = None
        while message is None:  # broadcast is at most once: a message sent before the server listens is lost
            with served.connect() as connection:
                connection.execute("select realtime.send('{\"a\": 1}', 'hello', 'public:hall', false)")
            with contextlib.suppress(TimeoutError):
                message = await asyncio.wait_for(heard.get(), 1)
    assert message["payload"]["a"] == 1
    await client.remove_all_channels()
    await client.realtime.close()
