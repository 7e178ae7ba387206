"""The port of the bridge: handshakes, refusals, /health and its sisters, shutdown."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from ocpp_bridge.bridge import Bridge, serve
from tests.fakes.station import FakeStation
from tests.fakes.supabase import FakeSupabase
from tests.unit.conftest import LogWatch, make_settings, running


def url(bridge: Bridge, path: str = "/ws/TEST-001") -> str:
    return f"ws://127.0.0.1:{bridge.port}{path}"


async def refusal(target: str, **options: Any) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        await connect(target, **{"subprotocols": ["ocpp1.6"], **options})
    return caught.value.response


async def test_a_connection_is_reported_before_the_handshake_ends(bridge: Bridge, supabase: FakeSupabase) -> None:
    async with FakeStation(url(bridge), user_agent_header="Charger/1.0") as station:
        assert station.socket.subprotocol == "ocpp1.6"
        event = supabase.events[0]
    assert event["kind"] == "connect"
    assert event["station_id"] == "TEST-001"
    assert event["bridge_id"] == "bridge-1"
    assert event["protocol"] == "ocpp1.6"
    assert event["offered"] == ["ocpp1.6"]
    assert event["remote_address"] == "127.0.0.1"
    assert event["user_agent"] == "Charger/1.0"
    assert "basic_user" not in event
    ended = await supabase.event("disconnect")
    assert (ended["connection_id"], ended["code"]) == (event["connection_id"], 1000)


@pytest.mark.parametrize(
    "path", ["/ocpp/TEST-001", "/ws/TEST-001/", "//ws//TEST-001", "/ws/test-001?x=1", "/ws/TEST%2D001"]
)
async def test_all_forms_of_the_url_lead_to_the_station_under_its_stored_spelling(
    bridge: Bridge, supabase: FakeSupabase, path: str
) -> None:
    async with FakeStation(url(bridge, path)) as station:
        await station.result("Heartbeat")
    assert (await supabase.event("call"))["station_id"] == "TEST-001"


async def test_an_unknown_station_gets_404(bridge: Bridge) -> None:
    assert (await refusal(url(bridge, "/ws/NOBODY"))).status_code == 404


async def test_a_url_without_station_gets_404_and_asks_nobody(bridge: Bridge, supabase: FakeSupabase) -> None:
    assert (await refusal(url(bridge, "/elsewhere/TEST-001"))).status_code == 404
    assert supabase.events == []


async def test_a_refused_station_that_hammers_is_answered_from_memory(supabase: FakeSupabase) -> None:
    """errata-J 3.3: a station retries after a 404, so it has to stay cheap."""
    async with running(supabase, unknown_station_cache=60) as bridge:
        for _ in range(5):
            assert (await refusal(url(bridge, "/ws/NOBODY"))).status_code == 404
    assert len(supabase.events) == 1


async def test_wrong_credentials_get_401_and_right_ones_travel_as_bytes(bridge: Bridge, supabase: FakeSupabase) -> None:
    key = bytes(range(200, 220))
    supabase.keys["TEST-001"] = key
    response = await refusal(url(bridge))
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, 'Basic realm="OCPP"')
    header = "Basic " + base64.b64encode(b"TEST-001:" + key).decode()
    async with FakeStation(url(bridge), additional_headers={"Authorization": header}):
        event = supabase.events[-1]
    assert (event["basic_user"], event["basic_key_hex"]) == ("TEST-001", key.hex())


async def test_a_colon_in_the_id_is_refused_only_with_basic_auth(bridge: Bridge, supabase: FakeSupabase) -> None:
    supabase.stations["a:b"] = {}
    header = "Basic " + base64.b64encode(b"a:b:key").decode()
    response = await refusal(url(bridge, "/ws/a:b"), additional_headers={"Authorization": header})
    assert response.status_code == 401
    async with FakeStation(url(bridge, "/ws/a:b")) as station:
        await station.result("Heartbeat")


async def test_supabase_away_at_the_handshake_gives_503(bridge: Bridge, supabase: FakeSupabase) -> None:
    supabase.unavailable = True
    response = await refusal(url(bridge))
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


async def test_the_offered_spelling_of_the_subprotocol_is_answered(bridge: Bridge) -> None:
    async with FakeStation(url(bridge), subprotocols=["ocpp2.0.1", "OCPP1.6J"]) as station:
        assert station.socket.subprotocol == "OCPP1.6J"


async def test_no_common_subprotocol_completes_the_handshake_and_closes(bridge: Bridge, supabase: FakeSupabase) -> None:
    """OCPP-J 1.6 §3.2. The connection that works is left alone."""
    async with FakeStation(url(bridge)) as working:
        async with FakeStation(url(bridge), subprotocols=["ocpp2.0.1"]) as station:
            assert station.socket.subprotocol is None
            assert await station.closed() == 1002
        await working.result("Heartbeat")
    assert len([event for event in supabase.events if event["kind"] == "connect"]) == 1


async def test_no_subprotocol_is_read_as_ocpp_16_where_the_station_may(bridge: Bridge, supabase: FakeSupabase) -> None:
    async with FakeStation(url(bridge), subprotocols=[]) as station:
        assert station.socket.subprotocol is None
        await station.result("Heartbeat")
    supabase.stations["TEST-001"] = {"allow_no_subprotocol": False}
    async with FakeStation(url(bridge), subprotocols=[]) as station:
        assert await station.closed() == 1002


async def raw_request(bridge: Bridge, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(request)
    try:
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


HANDSHAKE = (
    b"GET /ws/TEST-001 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n%s"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)


async def test_a_handshake_without_connection_upgrade_is_repaired(bridge: Bridge) -> None:
    """Autel; websockets would answer 426."""
    answer = await raw_request(bridge, HANDSHAKE % b"")
    assert answer.startswith(b"HTTP/1.1 101 ")


async def test_a_handshake_that_breaks_late_takes_the_connection_back(bridge: Bridge, supabase: FakeSupabase) -> None:
    answer = await raw_request(bridge, (HANDSHAKE % b"").replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"))
    assert answer.startswith(b"HTTP/1.1 400 ")
    connected = await supabase.event("connect")
    assert (await supabase.event("disconnect"))["connection_id"] == connected["connection_id"]


async def test_a_plain_request_for_a_station_gets_426(bridge: Bridge, supabase: FakeSupabase) -> None:
    answer = await raw_request(bridge, b"GET /ws/TEST-001 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert supabase.events == []


async def test_rubbish_on_the_port_is_one_warning_without_a_traceback(bridge: Bridge, log_watch: LogWatch) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(b"\x16\x03\x01 this is TLS\r\n\r\n")
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    line = await log_watch.line("opening handshake failed")
    assert (line.levelname, line.exc_info) == ("WARNING", None)


async def test_the_newest_connection_of_a_station_wins(bridge: Bridge, supabase: FakeSupabase) -> None:
    async with FakeStation(url(bridge)) as old, FakeStation(url(bridge, "/ws/test-001")) as new:
        assert await old.closed() == 1000
        ended = await supabase.event("disconnect")
        await new.result("Heartbeat")
        assert ended["connection_id"] != (await supabase.event("call"))["connection_id"]
        assert [station.connection_id for station in bridge.registry] != [ended["connection_id"]]
        assert len(bridge.registry) == 1


async def test_the_database_can_have_a_connection_closed(supabase: FakeSupabase) -> None:
    async with running(supabase, lease_interval=0.05) as bridge, FakeStation(url(bridge)) as station:
        (seen,) = await supabase.until(lambda: supabase.heartbeats[-1]["seen"])
        assert seen["station_id"] == "TEST-001"
        supabase.close_next = [seen["connection_id"]]
        assert await station.closed() == 1000


async def test_health_ready_and_metrics_answer_on_the_same_port(supabase: FakeSupabase) -> None:
    async with running(supabase) as bridge, httpx.AsyncClient(base_url=f"http://127.0.0.1:{bridge.port}") as http:
        await supabase.joined.wait()
        async with FakeStation(url(bridge)) as station:
            await station.result("Heartbeat")
            assert (await http.get("/health")).json() == {"status": "ok"}
            ready = await http.get("/ready")
            assert ready.status_code == 200
            assert ready.json() == {
                "ready": True, "signed_in": True, "lease": True, "commands": "realtime", "stations": 1
            }  # fmt: skip
            metrics = (await http.get("/metrics")).text
        assert 'ocpp_messages_total{action="Heartbeat"} 1.0' in metrics
        assert "ocpp_connections 1.0" in metrics


async def test_not_ready_without_supabase_but_healthy() -> None:
    supabase = FakeSupabase()
    supabase.unavailable = True
    async with (
        Bridge(make_settings(), supabase) as bridge,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{bridge.port}") as http,
    ):
        assert (await http.get("/health")).status_code == 200
        ready = await http.get("/ready")
        assert (ready.status_code, ready.json()["lease"]) == (503, False)
        assert (await refusal(url(bridge))).status_code == 503
        supabase.unavailable = False
        await supabase.until(lambda: supabase.heartbeats)
        async with FakeStation(url(bridge)) as station:
            await station.result("Heartbeat")


async def test_shutdown_answers_what_is_under_way_then_closes_with_1001(supabase: FakeSupabase) -> None:
    async with AsyncExitStack() as shutdown:
        bridge = await shutdown.enter_async_context(running(supabase))
        station = await FakeStation(url(bridge)).__aenter__()
        supabase.hold = asyncio.Event()
        answer = asyncio.create_task(station.call("Heartbeat"))
        await supabase.until(lambda: supabase.batches[-1][0].get("action") == "Heartbeat")
        stopping = asyncio.create_task(bridge.server.stop_accepting())
        await stopping
        assert not answer.done()
        supabase.hold.set()
        closed = asyncio.create_task(shutdown.aclose())
        assert (await answer)[0] == 3
        assert await station.closed() == 1001
        await station.__aexit__(None, None, None)
        await closed
    assert supabase.events[-1]["kind"] == "disconnect"
    assert supabase.closed


async def test_hundreds_of_stations_connect_at_once(supabase: FakeSupabase) -> None:
    names = [f"ST-{number}" for number in range(300)]
    supabase.stations = {name: {} for name in names}
    async with running(supabase) as bridge:
        stations = [FakeStation(url(bridge, f"/ws/{name}")) for name in names]
        await asyncio.gather(*(station.__aenter__() for station in stations))
        answers = await asyncio.gather(*(station.result("Heartbeat") for station in stations))
        assert len(answers) == len(names)
        assert len(supabase.batches) < len(names)  # coalesced
        await asyncio.gather(*(station.__aexit__(None, None, None) for station in stations))
        await supabase.until(
            lambda: len([event for event in supabase.events if event["kind"] == "disconnect"]) == len(names)
        )


async def test_an_oversized_frame_closes_with_1009(supabase: FakeSupabase) -> None:
    async with running(supabase, max_frame_bytes=10_000) as bridge, FakeStation(url(bridge)) as station:
        await station.send(json.dumps([2, "1", "DataTransfer", {"vendorId": "x" * 10_000}]))
        assert await station.closed() == 1009


async def test_invalid_utf8_closes_with_1007(bridge: Bridge) -> None:
    async with FakeStation(url(bridge)) as station:
        await station.socket.send(b"\xff\xfe", text=True)
        assert await station.closed() == 1007


async def test_a_port_that_is_taken_ends_the_bridge_with_a_line_that_names_the_settings(log_watch: LogWatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert await serve(make_settings(ocpp_port=taken.getsockname()[1])) == 1
    line = await log_watch.line("Cannot listen, see OCPP_HOST and OCPP_PORT")
    assert line.levelname == "CRITICAL"
