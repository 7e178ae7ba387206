"""A TCP proxy in front of the API gateway: cuts or freezes the Realtime sockets and lets everything else through."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

WEBSOCKET = b"/realtime/v1/websocket"


@dataclass(eq=False)
class _Pipe:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    realtime: bool
    open: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: bytes are swallowed no further, only held


class Proxy:
    """`async with Proxy(port) as proxy`: proxy.port leads to the given port on this machine."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._pipes: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pipe in list(self._pipes):
            pipe.client.transport.abort()
            pipe.server.transport.abort()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut_realtime(self) -> int:
        """Reset every open Realtime socket; how many there were."""
        found = [pipe for pipe in self._pipes if pipe.realtime]
        for pipe in found:
            pipe.client.transport.abort()
            pipe.server.transport.abort()
        return len(found)

    def freeze_realtime(self) -> int:
        """Let nothing through on the Realtime sockets that are open now, without closing them: a half-open line."""
        found = [pipe for pipe in self._pipes if pipe.realtime]
        for pipe in found:
            pipe.open.clear()
        return len(found)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            first = await reader.read(65536)
            if not first:
                return
            try:
                server_reader, server = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                return
            pipe = _Pipe(writer, server, WEBSOCKET in first.partition(b"\r\n")[0])
            pipe.open.set()
            self._pipes.add(pipe)
            try:
                server.write(first)
                await asyncio.gather(self._pump(pipe, reader, server), self._pump(pipe, server_reader, writer))
            finally:
                self._pipes.discard(pipe)
                server.transport.abort()
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    @staticmethod
    async def _pump(pipe: _Pipe, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await pipe.open.wait()
                sink.write(data)
                await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()
