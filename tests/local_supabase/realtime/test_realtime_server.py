"""What no recording in this folder shows: limits, shutdown, outages of the database, odd clients."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg
import pytest
from aiohttp import ClientWSTimeout

from local_supabase.realtime import RealtimeSettings
from local_supabase.realtime.listener import Announced
from local_supabase.realtime.rates import CallWindow, RollingRate

from .world import SECRET, Client, Running, mint

OK = {"response": {"postgres_changes": []}, "status": "ok"}
TOO_MANY = "Too many messages per second"


def system(topic: str, message: str, status: str = "error", join_ref: str | None = None) -> list[Any]:
    payload = {"channel": topic, "extension": "system", "message": message, "status": status}
    return [join_ref, None, f"realtime:{topic}", "system", payload]


def close(topic: str, ref: str = "1") -> list[Any]:
    return [None, ref, f"realtime:{topic}", "phx_close", {}]


def refused(reason: str) -> dict[str, Any]:
    return {"response": {"reason": reason}, "status": "error"}


# Delays


async def test_refusals_take_as_long_as_on_the_server(serve: Any) -> None:
    """5 s for a join, in which the socket answers nothing else; 2 s for a handshake."""
    defaults = RealtimeSettings()
    running: Running = await serve(
        refused_join_delay_s=defaults.refused_join_delay_s, refused_handshake_delay_s=defaults.refused_handshake_delay_s
    )

    async def join() -> float:
        async with running.client() as client:
            started = time.monotonic()
            await client.send("1", "1", "realtime:forbidden", "phx_join", {"config": {"private": True}})
            await client.send(None, "2", "phoenix", "heartbeat", {})
            assert (await client.receive())[1] == "1"
            waited = time.monotonic() - started
            assert (await client.receive())[1] == "2"
            return waited

    async def handshake() -> float:
        started = time.monotonic()
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        async with running.http.get(f"{running.url}/realtime/v1/websocket", headers=headers) as response:
            assert response.status == 401
        return time.monotonic() - started

    join_s, handshake_s = await asyncio.gather(join(), handshake())
    assert join_s >= 5
    assert handshake_s >= 2


async def test_a_refused_join_holds_back_what_other_channels_of_the_socket_receive(serve: Any) -> None:
    running: Running = await serve(refused_join_delay_s=0.5)
    async with running.client() as client, running.client() as other:
        assert await client.join("a") == OK
        assert await other.join("a") == OK
        await client.send("2", "2", "realtime:b", "phx_join", {"config": {"private": True}})
        await other.broadcast("a", {"n": 1})
        assert (await client.receive())[1] == "2"
        assert (await client.receive())[3] == "broadcast"


# Messages from the database


async def test_the_payload_is_passed_on_as_postgresql_prints_it(serve: Any) -> None:
    running: Running = await serve()
    async with running.client() as client:
        assert await client.join("allowed:rw:db", mint(), private=True) == OK
        await running.send("allowed:rw:db", {"id": "x", "num": 1.50, "big": 12345678901234567890})
        row = await (await running.admin.execute("select id, payload::text from realtime.messages")).fetchone()
        message = await client.ws.receive()
    assert row is not None
    assert message.data == (
        f'{{"event":"broadcast","payload":{{"event":"e","meta":{{"id":"{row[0]}"}},"payload":{row[1]},"type":"broadcast"}},'
        '"ref":null,"topic":"realtime:allowed:rw:db"}'
    )


async def test_a_burst_arrives_whole_and_in_order(serve: Any) -> None:
    running: Running = await serve()
    async with running.client() as client, running.client(2) as second:
        for each in (client, second):
            assert await each.join("allowed:rw:b", mint(), private=True) == OK
        await running.admin.execute(
            "select realtime.send(jsonb_build_object('n', n), 'b', 'allowed:rw:b') from generate_series(1, 1500) as n"
        )
        for each in (client, second):
            assert [(await each.receive())[4]["payload"]["n"] for _ in range(1500)] == list(range(1, 1501))


async def test_a_name_too_long_for_a_binary_frame_reaches_serializer_1_only(serve: Any) -> None:
    running: Running = await serve()
    async with running.client() as client, running.client(2) as second:
        for each in (client, second):
            assert await each.join("allowed:rw:e", mint(), private=True) == OK
        await running.send("allowed:rw:e", {}, "e" * 300)
        await running.send("allowed:rw:e", {}, "short")
        assert [(await client.receive())[4]["event"] for _ in range(2)] == ["e" * 300, "short"]
        assert (await second.receive())[4]["event"] == "short"


async def test_a_topic_too_long_for_a_notification_is_delivered(serve: Any) -> None:
    running: Running = await serve()
    topic = "allowed:rw:" + "t" * 3000
    async with running.client() as client:
        assert await client.join(topic, mint(), private=True) == OK
        await running.send(topic, {"a": 1})
        assert (await client.receive())[4]["payload"]["a"] == 1


async def test_a_message_over_the_size_limit_is_stored_and_not_delivered(serve: Any) -> None:
    running: Running = await serve(max_payload_bytes=1000)
    async with running.client() as client:
        assert await client.join("allowed:rw:big", mint(), private=True) == OK
        await running.send("allowed:rw:big", {"s": "x" * 1000})
        await running.send("allowed:rw:big", {"s": "small"})
        assert (await client.receive())[4]["payload"]["s"] == "small"
    assert await (await running.admin.execute("select count(*) from realtime.messages")).fetchone() == (2,)


async def test_update_and_delete_of_a_message_send_nothing(serve: Any) -> None:
    running: Running = await serve()
    async with running.client() as client:
        assert await client.join("allowed:rw:u", mint(), private=True) == OK
        await running.send("allowed:rw:u", {"n": 1})
        await client.receive()
        await running.admin.execute("update realtime.messages set payload = '{}'")
        await running.admin.execute("delete from realtime.messages")
        await running.send("allowed:rw:u", {"n": 2})
        assert (await client.receive())[4]["payload"]["n"] == 2


@pytest.mark.parametrize("version", [1, 2])
async def test_replay_gives_the_newest_stored_messages_oldest_first(serve: Any, version: int) -> None:
    running: Running = await serve()
    for n in range(4):
        await running.send("allowed:rw:r", {"n": n, "id": "i"})
    await running.send("allowed:rw:r", {"n": 9}, private=False)
    await running.send("allowed:rw:other", {"n": 9})
    ids = await (
        await running.admin.execute(
            "select id::text from realtime.messages where topic = 'allowed:rw:r' and private order by inserted_at"
        )
    ).fetchall()
    async with running.client(version) as client:
        replay = {"replay": {"since": 1000 * int(time.time() - 60), "limit": 2}}
        assert await client.join("allowed:rw:r", mint(), private=True, broadcast=replay) == OK
        for n in (2, 3):
            payload = {"event": "e", "meta": {"id": ids[n][0], "replayed": True}, "payload": {"n": n, "id": "i"}}
            join_ref = "1" if version == 2 else None
            assert await client.receive() == [
                join_ref, None, "realtime:allowed:rw:r", "broadcast", payload | {"type": "broadcast"}
            ]  # fmt: skip
        await client.nothing_waits()


@pytest.mark.parametrize(
    ("private", "replay", "reason"),
    [
        (False, {"since": 0}, "Replay is not allowed for public channels"),
        (True, {"since": "yesterday"}, "Replay params are not valid"),
        (True, {"since": 0, "limit": 26}, "Replay params are not valid"),
    ],
)
async def test_replay_is_refused(serve: Any, private: bool, replay: Any, reason: str) -> None:
    running: Running = await serve()
    async with running.client() as client:
        reply = await client.join("allowed:rw:r", mint(), private=private, broadcast={"replay": replay})
        assert reply == refused(f"UnableToReplayMessages: {reason}")


# Outages of the database


async def cut_database(running: Running) -> None:
    """End the server's connections, as a restart of PostgreSQL does."""
    await running.admin.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'realtime' "
        "and datname = current_database()"
    )


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a state of the server that tells nobody when it changes
            await asyncio.sleep(0.005)


async def test_after_an_outage_delivery_resumes_and_what_was_missed_is_lost_without_a_sign(serve: Any) -> None:
    running: Running = await serve(listener_retry_s=0.3)
    async with running.client() as client:
        assert await client.join("allowed:rw:o", mint(), private=True) == OK
        await cut_database(running)
        await until(lambda: not running.server.listener.ready.is_set())
        await running.send("allowed:rw:o", {"n": 1})
        await until(running.server.listener.ready.is_set)
        await running.send("allowed:rw:o", {"n": 2})
        assert (await client.receive())[4]["payload"]["n"] == 2
        await client.nothing_waits()


async def test_dead_connections_are_replaced_unnoticed(serve: Any) -> None:
    running: Running = await serve()
    async with running.client() as client:
        await cut_database(running)
        assert await client.join("allowed:rw:o", mint(), private=True) == OK


async def test_a_join_waits_for_the_listener_before_it_reports_replication(serve: Any) -> None:
    running: Running = await serve()
    await running.server.listener.stop()
    async with running.client() as client:
        config = {"replication_ready": True}
        assert await client.join("allowed:rw:o", mint(), private=True, broadcast=config) == OK
        await client.nothing_waits()
        await running.server.listener.start()
        assert await client.receive() == system("allowed:rw:o", "Replication connection established", "ok")


async def test_without_a_listener_the_channel_is_closed_in_the_end(serve: Any) -> None:
    running: Running = await serve(replication_ready_timeout_s=0.05)
    await running.server.listener.stop()
    async with running.client() as client:
        assert await client.join("o", broadcast={"replication_ready": True}) == OK
        assert (await client.receive())[3] == "system"
        assert await client.receive() == close("o")


async def test_while_the_database_is_down_private_joins_are_refused_and_public_ones_work(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: Running = await serve()
    async with running.client() as client:
        assert await client.join("allowed:rw:d", mint(), private=True, broadcast={"ack": True}) == OK
        monkeypatch.setattr(running.server.database, "_url", "postgresql://supabase_admin@127.0.0.1:1/none")
        await cut_database(running)
        await client.broadcast("allowed:rw:d", {})  # dropped without a reply, despite ack
        reply = await client.join("allowed:rw:e", mint(), ref="2", private=True)
        assert reply == refused("IncreaseConnectionPool: Please increase your connection pool size")
        assert await client.join("public", ref="3") == OK
        refreshed = {"access_token": mint(expires_in_s=7200)}
        await client.send("1", "4", "realtime:allowed:rw:d", "access_token", refreshed)
        assert await client.receive() == system("allowed:rw:d", ":increase_connection_pool")
        assert await client.receive() == close("allowed:rw:d")


async def test_partitions_are_made_ahead_and_dropped_after_three_days(serve: Any) -> None:
    running: Running = await serve()
    await running.admin.execute(
        """
        do $$ begin
          execute format('drop table realtime.%I', 'messages_' || to_char(now() at time zone 'UTC', 'YYYY_MM_DD'));
          for day in 3..5 loop
            execute format(
              'create table realtime.%I partition of realtime.messages for values from (%L) to (%L)',
              'messages_' || to_char((now() at time zone 'UTC')::date - day, 'YYYY_MM_DD'),
              (now() at time zone 'UTC')::date - day, (now() at time zone 'UTC')::date - day + 1);
          end loop;
        end $$"""
    )
    await running.server.database.maintain_partitions()
    rows = await running.admin.execute(
        "select to_date(right(c.relname, 10), 'YYYY_MM_DD') - (now() at time zone 'UTC')::date from pg_inherits as i "
        "join pg_class as c on c.oid = i.inhrelid where i.inhparent = 'realtime.messages'::regclass order by 1"
    )
    assert [row[0] for row in await rows.fetchall()] == [-3, 0, 1, 2, 3]


# Limits


def test_the_rate_is_an_average_of_completed_buckets() -> None:
    now = [0.0]
    rate = RollingRate(100, 5, 12, clock=lambda: now[0])
    rate.add(1000)
    assert not rate.exceeded  # the first bucket is not complete
    now[0] = 5.0
    assert rate.average == 200
    now[0] = 10.0
    assert rate.average == 100
    assert not rate.exceeded
    now[0] = 64.9
    assert rate.average == 1000 / 60
    now[0] = 65.0
    assert rate.average == 0


def test_calls_are_counted_in_a_moving_window() -> None:
    now = [0.0]
    window = CallWindow(2, 30, clock=lambda: now[0])
    assert [window.allow() for _ in range(3)] == [True, True, False]
    now[0] = 30.0
    assert window.allow()


async def test_beyond_the_event_rate_receivers_are_closed_and_other_senders_refused(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: Running = await serve(max_events_per_second=100)
    broker = running.server.broker
    rate, wanted, refused = broker.events, broker.wanted, asyncio.Event()

    def noting_refusals(announced: Announced) -> bool:
        if not (answer := wanted(announced)):
            refused.set()
        return answer

    monkeypatch.setattr(running.server.listener, "_wanted", noting_refusals)
    async with running.client() as sender, running.client() as receiver, running.client() as private:
        for client in (sender, receiver):
            assert await client.join("r") == OK
        assert await private.join("allowed:rw:r", mint(), private=True) == OK
        rate.add(1000)
        rate._bucket_ends = time.monotonic()  # the bucket is complete: 200 a second
        assert rate.exceeded
        await running.send("allowed:rw:r", {"lost": True})
        await sender.broadcast("r", {})
        assert (await receiver.receive())[3] == "broadcast"
        assert await receiver.receive() == system("r", TOO_MANY)
        assert await receiver.receive() == close("r")
        await sender.nothing_waits()
        body = {"messages": [{"topic": "r", "event": "e", "payload": {}}]}
        async with running.http.post(
            f"{running.url}/realtime/v1/api/broadcast", json=body, headers={"apikey": mint("anon")}
        ) as response:
            assert response.status == 429
            assert await response.json() == {"message": "You have exceeded your rate limit"}
            assert response.headers["x-rate-limit"] == "100"
        await asyncio.wait_for(refused.wait(), 30)
        rate._completed.clear()
        rate._average = 0
        await running.send("allowed:rw:r", {"lost": False})
        assert (await private.receive())[4]["payload"]["lost"] is False


async def test_a_batch_beyond_the_rate_is_refused_whole(serve: Any) -> None:
    running: Running = await serve(max_events_per_second=100)
    body = {"messages": [{"topic": "r", "event": "e", "payload": {}}] * 101}
    async with running.http.post(
        f"{running.url}/realtime/v1/api/broadcast", json=body, headers={"apikey": mint("anon")}
    ) as response:
        assert response.status == 429
        assert await response.json() == {"message": "Too many messages to broadcast, please reduce the batch size"}


async def test_beyond_the_join_rate_the_socket_is_closed_and_handshakes_refused(serve: Any) -> None:
    running: Running = await serve(max_joins_per_second=2)
    joins = running.server.broker.joins
    async with running.client() as client:
        joins.add(100)
        joins._bucket_ends = time.monotonic()
        assert await client.join("j") == refused("ClientJoinRateLimitReached: Too many joins per second")
        assert await client.closed() == 1000
    assert await handshake_error(running) == (429, {"error": "Too many joins per second"})


async def handshake_error(running: Running) -> tuple[int, Any]:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    url = f"{running.url}/realtime/v1/websocket"
    async with running.http.get(url, headers=headers, params={"apikey": mint("anon")}) as response:
        return response.status, await response.json()


async def test_a_user_is_a_socket_with_a_channel(serve: Any) -> None:
    running: Running = await serve(max_concurrent_users=1)
    async with running.client() as first, running.client() as second:
        assert await first.join("a") == OK
        assert await second.join("a") == refused("ConnectionRateLimitReached: Too many connected users")
        assert await handshake_error(running) == (429, {"error": "Too many connected users"})
        assert await first.join("b", ref="2") == OK


async def test_the_101st_channel_of_a_socket_is_refused_and_the_others_live_on(serve: Any) -> None:
    running: Running = await serve(refused_join_delay_s=0)
    async with running.client() as client:
        for number in range(100):
            assert await client.join(f"c{number}", ref=str(number)) == OK
        assert await client.join("c100") == refused("ChannelRateLimitReached: Too many channels")
        await running.send("c7", {"n": 7}, private=False)
        assert (await client.receive())[4]["payload"]["n"] == 7


async def test_a_payload_too_large_is_answered_only_with_ack(serve: Any) -> None:
    running: Running = await serve(max_payload_bytes=1000)
    async with running.client() as client:
        assert await client.join("big", broadcast={"ack": True}) == OK
        await client.broadcast("big", {"s": "x" * 1000}, ref="2")
        assert await client.receive() == [
            None, "2", "realtime:big", "phx_reply", {"response": "payload_size_exceeded", "status": "error"}
        ]  # fmt: skip
        assert await client.join("quiet", ref="3") == OK
        await client.broadcast("quiet", {"s": "x" * 1000}, ref="4")
        await client.nothing_waits()


async def test_a_frame_over_five_megabytes_closes_the_socket(serve: Any) -> None:
    running: Running = await serve()
    async with running.client() as client:
        await client.ws.send_str("x" * 5_000_001)
        assert await client.closed() == 1009


# Life of a socket


async def test_a_client_that_sends_nothing_is_closed_although_it_receives(serve: Any) -> None:
    running: Running = await serve(idle_timeout_s=0.3)
    async with running.client() as client:
        assert await client.join("i") == OK
        await running.send("i", {}, private=False)
        assert (await client.receive())[3] == "broadcast"
        assert await client.closed() == 1000


async def test_websocket_pings_are_a_sign_of_life(serve: Any) -> None:
    running: Running = await serve(idle_timeout_s=1.0)
    async with running.client() as client:
        for _ in range(12):  # longer than the idle time in all
            await client.ws.ping()
            await asyncio.sleep(0.1)
        await client.nothing_waits()


async def test_sockets_without_a_channel_are_swept(serve: Any) -> None:
    running: Running = await serve(no_channel_timeout_s=0.0, maintenance_interval_s=0.05)
    async with running.client() as client:
        assert await client.closed() == 1000


async def test_shutdown_closes_with_1012_also_in_the_middle_of_a_refusal(serve: Any) -> None:
    running: Running = await serve(refused_join_delay_s=60)
    async with running.client() as client, running.client(2) as waiting:
        assert await client.join("s") == OK
        await waiting.send("1", "1", "realtime:forbidden", "phx_join", {"config": {"private": True}})
        await waiting.ws.ping()
        await running.server.stop()
        assert await client.closed() == 1012
        assert await waiting.closed() == 1012


async def test_disconnect_says_so_on_every_channel(serve: Any) -> None:
    running: Running = await serve()
    async with running.client() as client:
        assert await client.join("s") == OK
        await running.server.disconnect()
        notice = {"extension": "system", "message": "Server requested disconnect", "status": "ok"}
        assert await client.receive() == [None, None, "realtime:s", "system", notice]
        assert await client.closed() == 1012


async def test_a_client_that_does_not_read_is_cut(serve: Any) -> None:
    running: Running = await serve(max_outbox_bytes=2_000_000)
    async with running.client() as slow, running.client() as fast:
        assert await slow.join("w") == OK
        assert await fast.join("w") == OK
        assert slow.ws._response.connection is not None
        transport = slow.ws._response.connection.transport
        assert transport is not None
        transport.pause_reading()
        for _ in range(60):
            await fast.broadcast("w", {"s": "x" * 500_000})
        await fast.nothing_waits()
        await until(lambda: running.server.users == 1)
        transport.resume_reading()


# Odd joins and keys


async def test_a_project_may_allow_private_channels_only(serve: Any) -> None:
    running: Running = await serve(private_only=True)
    async with running.client() as client:
        assert await client.join("p") == refused("PrivateOnly: This project only allows private channels")
        assert await client.join("allowed:ro:p", mint(), private=True) == OK


@pytest.mark.parametrize("topic", ["allowed:rw:\x00", "allowed:rw:'; drop table realtime.messages; --"])
async def test_topics_with_odd_characters_do_no_harm(serve: Any, topic: str) -> None:
    running: Running = await serve()
    async with running.client() as client:
        assert (await client.join(topic, mint(), private=True))["status"] in ("ok", "error")
        assert await client.join("allowed:rw:1", mint(), private=True) == OK


async def test_postgres_changes_are_echoed_with_ids_and_declined(serve: Any) -> None:
    running: Running = await serve()
    wanted = [
        {"event": "*", "schema": "public", "table": "notes"},
        {"event": "INSERT", "schema": "public", "table": "x"},
    ]
    async with running.client() as client:
        echoed = (await client.join("pgc", postgres_changes=wanted))["response"]["postgres_changes"]
        assert [{name: value for name, value in filter_.items() if name != "id"} for filter_ in echoed] == wanted
        assert len({filter_["id"] for filter_ in echoed}) == 2
        told = (await client.receive())[4]
        assert (told["extension"], told["status"]) == ("postgres_changes", "error")
        assert "does not serve postgres_changes" in told["message"]


async def test_a_publishable_key_stands_for_its_jwt(serve: Any) -> None:
    running: Running = await serve({"sb_publishable_test": mint("anon")}.get)
    async with running.client(token="sb_publishable_test") as client:
        assert await client.join("k") == OK
        body = {"messages": [{"topic": "k", "event": "e", "payload": {}}]}
        for headers in ({"apikey": "sb_publishable_test"}, {"Authorization": "Bearer sb_publishable_test"}):
            async with running.http.post(
                f"{running.url}/realtime/v1/api/broadcast", json=body, headers=headers
            ) as response:
                assert response.status == 202
            assert (await client.receive())[3] == "broadcast"
    async with running.http.ws_connect(
        f"{running.url}/realtime/v1/websocket",
        headers={"apikey": "sb_publishable_test"},
        timeout=ClientWSTimeout(ws_close=5),
    ) as ws:
        await Client(ws, 1).nothing_waits()


async def test_a_fault_of_the_server_ends_only_the_channel(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running: Running = await serve()
    async with running.client(2) as client:
        assert await client.join("kc") == OK
        assert await client.join("other", ref="2") == OK

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("a fault")

        with monkeypatch.context() as patch:
            patch.setattr(running.server.broker, "broadcast", fail)
            await client.broadcast("kc", {})
            assert await client.receive() == ["1", "1", "realtime:kc", "phx_error", {}]
        assert await client.join("kc", ref="3") == OK
        await client.nothing_waits()


async def test_write_permission_is_asked_again_after_a_new_token(serve: Any) -> None:
    running: Running = await serve()
    await running.admin.execute(
        "create policy p on realtime.messages for insert to authenticated "
        "with check ((current_setting('request.jwt.claims', true)::jsonb ->> 'exp')::bigint > "
        "extract(epoch from now()) + 5000)"
    )
    async with running.client() as client:
        assert await client.join("allowed:ro:w", mint(), private=True, broadcast={"ack": True}) == OK
        await client.broadcast("allowed:ro:w", {}, ref="2")
        refreshed = {"access_token": mint(expires_in_s=7200)}
        await client.send("1", "3", "realtime:allowed:ro:w", "access_token", refreshed)
        await client.broadcast("allowed:ro:w", {}, ref="4")
        assert (await client.receive())[1] == "4"


async def test_a_policy_sees_the_claims_and_the_topic(serve: Any) -> None:
    running: Running = await serve()
    await running.admin.execute(
        "create policy mine on realtime.messages for select to authenticated using ("
        "extension = 'broadcast' and topic = realtime.topic() and topic = 'user:' || auth.uid()::text)"
    )
    token = mint()
    async with running.client() as client:
        assert await client.join("user:11111111-1111-1111-1111-111111111111", token, private=True) == OK
        theirs = await client.join("user:22222222-2222-2222-2222-222222222222", token, ref="2", private=True)
        assert theirs["status"] == "error"
    assert await (await running.admin.execute("select count(*) from realtime.messages")).fetchone() == (0,)


async def test_the_secret_decides(serve: Any) -> None:
    running: Running = await serve()
    assert running.server.jwt_secret == SECRET
    async with running.client() as client:
        assert (await client.join("s", mint(secret=SECRET * 2)))["response"] == {
            "reason": "JwtSignatureError: Failed to validate JWT signature"
        }


# Schema


@pytest.fixture
def as_postgres(cluster: Any, database: str) -> Any:
    with psycopg.connect(cluster.postgres.url("postgres", database), autocommit=True) as connection:
        yield connection


def notices(connection: Any) -> list[str]:
    heard: list[str] = []
    connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    return heard


def test_a_message_without_a_partition_is_a_warning(cluster: Any, database: str) -> None:
    with psycopg.connect(cluster.postgres.url("supabase_admin", database), autocommit=True) as admin:
        heard = notices(admin)
        admin.execute(
            "do $$ begin execute format('alter table realtime.messages detach partition realtime.%I', "
            "'messages_' || to_char(now() at time zone 'UTC', 'YYYY_MM_DD')); end $$"
        )
        admin.execute("""select realtime.send('{"a": 1}', 'e', 't')""")
    assert heard == ['WarnSendingBroadcastMessage: no partition of relation "messages" found for row']


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_role_without_a_policy_sends_nothing_and_is_warned(as_postgres: Any, role: str) -> None:
    heard = notices(as_postgres)
    with as_postgres.transaction():
        as_postgres.execute(f"set local role {role}")
        as_postgres.execute("""select realtime.send('{"a": 1}', 'e', 'allowed:ro:edge')""")
    assert heard == ['WarnSendingBroadcastMessage: new row violates row-level security policy for table "messages"']
    assert as_postgres.execute("select count(*) from realtime.messages").fetchone() == (0,)


def test_broadcast_changes_raises_on_wrong_arguments(as_postgres: Any) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="Failed to process the row: Unexpected operation type: X"):
        as_postgres.execute(
            "select realtime.broadcast_changes('t', 'X', 'X', 'notes', 'public', n, n) from (select 1) as n"
        )
    with pytest.raises(psycopg.errors.RaiseException, match="not for each statement"):
        as_postgres.execute(
            "select realtime.broadcast_changes('t', 'X', 'INSERT', 'notes', 'public', n, n, 'STATEMENT') "
            "from (select 1) as n"
        )


def test_the_projects_owner_writes_policies_and_nothing_else_in_schema_realtime(as_postgres: Any) -> None:
    as_postgres.execute("create policy mine on realtime.messages for select to anon using (false)")
    as_postgres.execute("drop policy mine on realtime.messages")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_postgres.execute("create table realtime.mine (id int)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_postgres.execute("select _realtime.maintain_partitions(3, 3)")
