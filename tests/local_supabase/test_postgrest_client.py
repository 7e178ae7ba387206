"""The client towards PostgREST reads answers in whatever pieces they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_supabase.gateway.postgrest_client import Answer, PostgrestClient, UpstreamClosed

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNKED = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
MEASURED = b"HTTP/1.1 201 Created\r\nContent-Length: 11\r\nServer: x\r\n\r\nhello world"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"Content-Length: " in head:
        return head + await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
    return head


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[PostgrestClient]:
    """A client of a server that treats each connection with reply."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reply(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    client = PostgrestClient("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield client
    finally:
        client.close()
        server.close()
        await server.wait_closed()


async def get(client: PostgrestClient, method: str = "GET", body: bytes = b"") -> Answer:
    return await client.request(method, "/", [(b"Accept", b"*/*"), (b"Host", b"elsewhere")], "Bearer x", body)


@given(st.lists(st.integers(1, len(CHUNKED) - 1), max_size=12), st.sampled_from([CHUNKED, MEASURED]))
def test_an_answer_may_come_in_any_pieces(cuts: list[int], answer: bytes) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            places = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
            for start, end in pairwise(places):
                writer.write(answer[start:end])
                await writer.drain()
                await asyncio.sleep(0)

    async def scenario() -> None:
        async with serving(reply) as client:
            for _ in range(2):  # the second over the same connection
                got = await get(client)
                assert (got.body, got.headers["Server"]) == (b"hello world", "x")

    asyncio.run(scenario())


async def test_connections_are_reused() -> None:
    connections = 0

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(MEASURED)

    async with serving(reply) as client:
        for _ in range(5):
            await get(client)
        assert connections == 1
        await asyncio.gather(*(get(client) for _ in range(3)))
        assert connections == 3


async def test_headers_of_the_connection_are_replaced() -> None:
    seen = b""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await read_request(reader)
        writer.write(MEASURED)

    async with serving(reply) as client:
        await get(client, "POST", b"{}")
    assert b"elsewhere" not in seen
    assert seen.endswith(b"Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}")


async def close_after_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers once and hangs up at the next request, as a server does whose idle time was up."""
    await read_request(reader)
    writer.write(MEASURED)
    await read_request(reader)


async def test_a_read_is_repeated_when_the_kept_connection_was_stale() -> None:
    async with serving(close_after_first) as client:
        assert [(await get(client)).status for _ in range(3)] == [201, 201, 201]


async def test_a_write_is_not_repeated() -> None:
    async with serving(close_after_first) as client:
        assert (await get(client, "POST", b"{}")).status == 201
        with pytest.raises(UpstreamClosed):
            await get(client, "POST", b"{}")


async def test_half_an_answer_is_an_error() -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(CHUNKED[:-8])

    async with serving(reply) as client:
        with pytest.raises(UpstreamClosed):
            await get(client)


async def test_what_is_no_http_is_an_error() -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"hello there\r\n\r\n")

    async with serving(reply) as client:
        with pytest.raises(ConnectionError, match="no HTTP"):
            await get(client)


async def test_a_cancelled_request_does_not_leave_its_answer_to_the_next() -> None:
    asked = asyncio.Event()
    number = 0

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        mine = number
        await read_request(reader)
        asked.set()
        if mine > 1:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + str(mine).encode())
        await read_request(reader)

    async with serving(reply) as client:
        first = asyncio.create_task(get(client))
        await asked.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await get(client)).body == b"2"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answers_without_a_body_end_with_their_head(status: bytes) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")

    async with serving(reply) as client:
        for _ in range(2):
            assert (await get(client)).body == b""
