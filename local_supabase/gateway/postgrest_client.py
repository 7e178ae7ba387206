"""A small HTTP/1.1 client for PostgREST: every message of every station passes here, so it does no more than it must.

aiohttp's client costs three times the CPU; what it has beyond this (cookies, redirects, proxies, compression, streams)
is not needed towards PostgREST, whose answers are bounded by its max-rows setting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from multidict import CIMultiDict

KEEP_IDLE_S = 20.0  # PostgREST closes an idle connection after 30 s
HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host")
)
# what we set ourselves
REPLACED = HOP_BY_HOP | {b"content-length", b"authorization", b"expect"}
NO_BODY = frozenset((204, 304))


class Answer:
    """A complete response."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: CIMultiDict[str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class UpstreamClosed(ConnectionError):
    """The server went away before the whole answer was here. unanswered: it had not begun to answer."""

    def __init__(self, *, unanswered: bool) -> None:
        super().__init__("connection to PostgREST closed")
        self.unanswered = unanswered


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.usable = True
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._waiter: asyncio.Future[Answer] | None = None
        self._expects_body = True
        self._head: tuple[int, CIMultiDict[str]] | None = None
        self._length: int | None = None  # None: chunked
        self._chunks: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(UpstreamClosed(unanswered=self._head is None and not self._buffer))

    async def exchange(self, data: bytes, *, expects_body: bool) -> Answer:
        """Send a request and wait for its answer. A cancelled exchange closes the connection."""
        self._waiter = self._loop.create_future()
        self._expects_body = expects_body
        self._transport.write(data)
        try:
            return await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None

    def close(self) -> None:
        self.usable = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            answer = self._parse()
        except ValueError as exc:
            self.close()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(ConnectionError(f"PostgREST sent no HTTP: {exc}"))
            return
        if answer is not None and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(answer)

    def _parse(self) -> Answer | None:
        if self._head is None and not self._parse_head():
            return None
        assert self._head is not None
        status, headers = self._head
        if self._length is None:
            body = self._parse_chunks()
            if body is None:
                return None
        elif len(self._buffer) < self._length:
            return None
        else:
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
        self._head = None
        return Answer(status, headers, body)

    def _parse_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        status = int(lines[0].split(" ", 2)[1])
        headers: CIMultiDict[str] = CIMultiDict()
        self._length = None
        chunked = False
        for line in lines[1:]:
            name, _, value = line.partition(":")
            key, value = name.lower(), value.strip()
            if key == "content-length":
                self._length = int(value)
            elif key == "transfer-encoding":
                chunked = True
            elif key == "connection":
                if value.lower() == "close":
                    self.usable = False
            else:
                headers.add(name, value)
        if status in NO_BODY or not self._expects_body or (self._length is None and not chunked):
            self._length = 0
        self._head = status, headers
        return True

    def _parse_chunks(self) -> bytes | None:
        """The whole body once the last chunk is here."""
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return None
            size = int(self._buffer[:end].split(b";")[0], 16)
            if len(self._buffer) < end + 2 + size + 2:
                return None
            chunk = bytes(self._buffer[end + 2 : end + 2 + size])
            del self._buffer[: end + 2 + size + 2]  # PostgREST sends no trailers
            if size == 0:
                body = b"".join(self._chunks)
                self._chunks.clear()
                return body
            self._chunks.append(chunk)


class PostgrestClient:
    """Connections to one PostgREST, kept open between requests."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._host_header = f"Host: {host}:{port}\r\n".encode()
        self._idle: deque[_Connection] = deque()

    async def request(
        self, method: str, path: str, raw_headers: Iterable[tuple[bytes, bytes]], authorization: str, body: bytes
    ) -> Answer:
        """The answer to a request with the caller's headers and this authorization.

        Raises OSError when PostgREST cannot be reached or goes away. Only a request that changes nothing is repeated.
        """
        head = [f"{method} {path} HTTP/1.1\r\n".encode(), self._host_header]
        for name, value in raw_headers:
            if name.lower() not in REPLACED:
                head += (name, b": ", value, b"\r\n")
        head.append(f"Authorization: {authorization}\r\n".encode("latin-1"))
        if body or method in ("POST", "PUT", "PATCH"):
            head.append(b"Content-Length: %d\r\n" % len(body))
        head += (b"\r\n", body)
        data = b"".join(head)
        repeatable = method in ("GET", "HEAD", "OPTIONS")
        while True:
            connection, reused = await self._take()
            try:
                answer = await connection.exchange(data, expects_body=method != "HEAD")
            except UpstreamClosed as exc:
                if reused and repeatable and exc.unanswered:
                    continue
                raise
            if connection.usable:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle.append(connection)
            else:
                connection.close()
            return answer

    async def _take(self) -> tuple[_Connection, bool]:
        oldest = asyncio.get_running_loop().time() - KEEP_IDLE_S
        while self._idle:
            connection = self._idle.pop()  # the one used last: the others may go stale
            if connection.usable and connection.idle_since > oldest:
                return connection, True
            connection.close()
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return connection, False

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
