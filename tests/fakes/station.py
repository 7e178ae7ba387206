"""A fake station: raw OCPP-J frames over a real WebSocket."""

from __future__ import annotations

import asyncio
import itertools
import json
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

WAIT_S = 15


class FakeStation:
    """`async with FakeStation(url)` connects; frames of the central system are kept apart by kind."""

    def __init__(self, url: str, *, subprotocols: list[str] | None = None, **options: Any) -> None:
        self.url = url
        protocols = ["ocpp1.6"] if subprotocols is None else subprotocols
        self._options = {"subprotocols": [Subprotocol(name) for name in protocols] or None, "max_size": None, **options}
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[list[Any]]] = {}
        self.calls: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.others: asyncio.Queue[list[Any]] = asyncio.Queue()  # answers to nothing that call() sent
        self.socket: ClientConnection
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> FakeStation:
        self.socket = await connect(self.url, **self._options)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()
        if self._reader is not None:
            await self._reader

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                frame = json.loads(text)
                if frame[0] == 2:
                    self.calls.put_nowait(frame)
                elif (future := self._answers.pop(str(frame[1]), None)) is not None and not future.done():
                    future.set_result(frame)
                else:
                    self.others.put_nowait(frame)
        except ConnectionClosed:
            pass
        for future in self._answers.values():
            if not future.done():
                future.cancel()

    async def send(self, frame: Any) -> None:
        """Send a frame: text and bytes as they are, anything else as JSON."""
        await self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def call(self, action: str, payload: Any = None, *, message_id: str | None = None) -> list[Any]:
        """Send a CALL and return the whole frame that answers it."""
        name = message_id if message_id is not None else f"m{next(self._ids)}"
        future = self._answers[name] = asyncio.get_running_loop().create_future()
        await self.send([2, name, action, {} if payload is None else payload])
        async with asyncio.timeout(WAIT_S):
            return await future

    async def result(self, action: str, payload: Any = None) -> dict[str, Any]:
        """Send a CALL and return the payload of its CALLRESULT; anything else fails the test."""
        frame = await self.call(action, payload)
        assert frame[0] == 3, frame
        found: dict[str, Any] = frame[2]
        return found

    async def next_call(self) -> list[Any]:
        """The next CALL of the central system."""
        async with asyncio.timeout(WAIT_S):
            return await self.calls.get()

    async def next_other(self) -> list[Any]:
        """The next answer that call() did not ask for."""
        async with asyncio.timeout(WAIT_S):
            return await self.others.get()

    async def closed(self) -> int | None:
        """Wait until the socket is closed; its code."""
        async with asyncio.timeout(WAIT_S):
            await self.socket.wait_closed()
        return self.socket.close_code
