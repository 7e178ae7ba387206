"""Requests to Supabase: what failures mean. Wrong answers are easier to have from respx than from the real thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import respx

from ocpp_bridge.errors import SupabaseError, SupabaseRejected, SupabaseUnavailable
from ocpp_bridge.supabase_client import SupabaseClient
from tests.unit.conftest import make_settings

URL = "http://supabase.test"
INGEST = f"{URL}/rest/v1/rpc/ocpp_ingest"
EVENT = {"kind": "call", "station_id": "A"}


@pytest.fixture
async def client() -> AsyncIterator[SupabaseClient]:
    client = SupabaseClient(make_settings(supabase_url=URL, rpc_timeout=0.5))
    await client.start()
    yield client
    await client.close()


@respx.mock
async def test_events_go_out_as_they_are_and_replies_come_back_aligned(client: SupabaseClient) -> None:
    route = respx.post(INGEST).respond(json=[{"ok": True}])
    assert await client.ingest([EVENT]) == [{"ok": True}]
    request = route.calls.last.request
    assert request.content == b'{"events":[{"kind":"call","station_id":"A"}]}'
    assert request.headers["apikey"] == "unused"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, {"code": "PGRST002", "message": "no schema cache"}, SupabaseUnavailable),
        (401, {"code": "PGRST301", "message": "JWT expired"}, SupabaseUnavailable),
        (500, {"code": "40P01", "message": "deadlock detected"}, SupabaseUnavailable),
        (500, {"code": "57014", "message": "statement timeout"}, SupabaseUnavailable),
        (502, "<html>bad gateway</html>", SupabaseUnavailable),
        (401, {"message": "Invalid API key"}, SupabaseUnavailable),
        (429, "slow down", SupabaseUnavailable),
        (403, {"code": "OCBRG", "message": "only a bridge may call this"}, SupabaseRejected),
        (400, {"code": "22P05", "message": "unsupported Unicode escape sequence"}, SupabaseError),
        (404, {"code": "PGRST202", "message": "no function"}, SupabaseError),
        (413, "too large", SupabaseError),
        (200, "<html>under maintenance", SupabaseUnavailable),
        (200, [], SupabaseError),
        (200, {"not": "a list"}, SupabaseError),
        (200, [1], SupabaseError),
    ],
)
@respx.mock
async def test_each_failure_has_its_meaning(
    client: SupabaseClient, status: int, body: Any, error: type[Exception]
) -> None:
    content = {"text": body} if isinstance(body, str) else {"json": body}
    respx.post(INGEST).respond(status, **content)
    with pytest.raises(error):
        await client.ingest([EVENT])


@respx.mock
@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.ReadError("cut")])
async def test_a_broken_line_may_be_repeated(client: SupabaseClient, failure: Exception) -> None:
    respx.post(INGEST).mock(side_effect=failure)
    with pytest.raises(SupabaseUnavailable, match="ocpp_ingest"):
        await client.ingest([EVENT])


@respx.mock
async def test_a_wrong_service_key_is_an_error_said_once(
    client: SupabaseClient, caplog: pytest.LogCaptureFixture
) -> None:
    route = respx.post(INGEST).respond(401, json={"message": "Invalid API key"})
    for _ in range(3):
        with pytest.raises(SupabaseUnavailable):
            await client.ingest([EVENT])
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "SUPABASE_SERVICE_ROLE_KEY" in error.message
    route.respond(json=[{"ok": True}])
    await client.ingest([EVENT])
    route.respond(401, json={"message": "Invalid API key"})
    with pytest.raises(SupabaseUnavailable):
        await client.ingest([EVENT])
    assert [record.levelname for record in caplog.records].count("ERROR") == 2


async def test_nothing_is_sent_before_the_sign_in() -> None:
    settings = make_settings(bridge_email="a@b.c", bridge_password="p", supabase_anon_key="anon")
    client = SupabaseClient(settings)
    with pytest.raises(SupabaseUnavailable, match="not signed in"):
        await client.ingest([EVENT])
    await client.close()


def session(token: str, expires_in: int) -> dict[str, Any]:
    user = {
        "id": "0a000000-0000-4000-8000-00000000000a",
        "aud": "authenticated",
        "app_metadata": {},
        "user_metadata": {},
        "created_at": "2025-01-01T00:00:00Z",
    }
    return {
        "access_token": token,
        "refresh_token": f"refresh-{token}",
        "token_type": "bearer",
        "expires_in": expires_in,
        "user": user,
    }


@respx.mock
@pytest.mark.parametrize("status", [200, 400, 404, 500])
async def test_a_sign_in_answered_by_something_else_is_tried_again(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy's page of maintenance, say."""
    answers = [httpx.Response(status, text="<html>"), httpx.Response(200, json=session("first", 3600))]
    respx.post(f"{URL}/auth/v1/token").mock(side_effect=answers)
    settings = make_settings(supabase_url=URL, bridge_email="a@b.c", bridge_password="p", supabase_anon_key="anon")
    client = SupabaseClient(settings)
    await client.start()
    async with asyncio.timeout(10):
        await client.wait_signed_in()
    await client.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@respx.mock
async def test_a_refused_token_is_replaced_by_signing_in_again() -> None:
    respx.post(f"{URL}/auth/v1/token", params={"grant_type": "password"}).mock(
        side_effect=[httpx.Response(200, json=session(name, 3600)) for name in ("first", "second")]
    )
    respx.post(INGEST, headers={"Authorization": "Bearer first"}).respond(401, json={"code": "PGRST301"})
    respx.post(INGEST, headers={"Authorization": "Bearer second"}).respond(json=[{"ok": True}])
    settings = make_settings(supabase_url=URL, bridge_email="a@b.c", bridge_password="p", supabase_anon_key="anon")
    client = SupabaseClient(settings)
    tokens: asyncio.Queue[str] = asyncio.Queue()
    client.on_token = tokens.put_nowait
    await client.start()
    async with asyncio.timeout(10):
        assert await tokens.get() == "first"
        with pytest.raises(SupabaseUnavailable):
            await client.ingest([EVENT])
        assert await tokens.get() == "second"
        assert await client.ingest([EVENT]) == [{"ok": True}]
    await client.close()


@respx.mock
async def test_tokens_that_are_refused_again_and_again_make_the_sign_ins_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Auth lets in what the API does not: a secret of JWTs that only one of them has, a clock that goes wrong."""
    pauses: list[float] = []
    turn = asyncio.sleep

    async def sleep(delay: float) -> None:
        pauses.append(delay)
        await turn(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    respx.post(f"{URL}/auth/v1/token").respond(json=session("refused", 3600))
    ingest = respx.post(INGEST).respond(401, json={"code": "PGRST301"})
    settings = make_settings(supabase_url=URL, bridge_email="a@b.c", bridge_password="p", supabase_anon_key="anon")
    client = SupabaseClient(settings)
    tokens: asyncio.Queue[str] = asyncio.Queue()
    client.on_token = tokens.put_nowait
    await client.start()

    async def refused() -> None:
        with pytest.raises(SupabaseUnavailable):
            await client.ingest([EVENT])

    async with asyncio.timeout(10):
        for _ in range(7):
            await tokens.get()
            await refused()
        assert pauses[0] <= 1
        assert pauses == sorted(pauses)
        assert pauses[-1] >= 10
        await tokens.get()
        ingest.respond(json=[{"ok": True}])
        await client.ingest([EVENT])
        ingest.respond(401, json={"code": "PGRST301"})
        await refused()
        await tokens.get()
        assert pauses[-1] <= 1  # one was taken in between: begin anew
    await client.close()
