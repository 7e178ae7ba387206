"""A station's side of OCPP-J: keeps connected, sends CALLs and gets their answers, hands on the CALLs that come."""

from __future__ import annotations

import asyncio
import base64
import logging
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from .. import ocppj
from ..tasks import Tasks

log = logging.getLogger(__name__)

# Waits between attempts to connect. Real stations take longer (10 s and more); nobody likes to watch that.
_RECONNECT_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class CallRefused(Exception):
    """The central system answered with a CALLERROR."""

    def __init__(self, error: ocppj.CallError) -> None:
        super().__init__(f"{error.code} {error.description}".rstrip())
        self.error = error


class Line:
    """One WebSocket at a time, from run() until close().

    on_open runs beside each connection and is cancelled with it; what call() raises may end it. on_call gets every CALL
    of the central system, in a task of its own. on_failure is told of each attempt to connect that came to nothing.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: bytes | None,
        *,
        on_open: Callable[[], Coroutine[Any, Any, None]],
        on_call: Callable[[ocppj.Call], Coroutine[Any, Any, None]],
        on_failure: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.password = password  # of the next connection: Basic auth, the station's id being the user
        self.connected = asyncio.Event()
        self._url = url
        self._user = user
        self._on_open = on_open
        self._on_call = on_call
        self._on_failure = on_failure
        self._say = say
        self._socket: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future[ocppj.CallResult | ocppj.CallError]] = {}
        self._one_call = asyncio.Lock()
        self._tasks = Tasks()
        self._closing = False

    async def run(self) -> None:
        """Connect, and connect again, until closed or cancelled."""
        failures = 0
        while not self._closing:
            headers = {}
            if self.password is not None:
                pair = base64.b64encode(self._user.encode() + b":" + self.password).decode()
                headers["Authorization"] = f"Basic {pair}"
            try:
                async with connect(
                    self._url,
                    subprotocols=[Subprotocol("ocpp1.6")],
                    additional_headers=headers,
                    max_size=None,
                    ping_interval=None,
                ) as socket:
                    failures = 0
                    await self._serve(socket)
            except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError) as exc:
                failures += 1
                if failures == 1:
                    self._say(f"cannot connect to {self._url}: {exc}")
                self._on_failure()
            if not self._closing:
                await asyncio.sleep(_RECONNECT_PAUSES_S[min(failures, len(_RECONNECT_PAUSES_S) - 1)])

    async def close(self) -> None:
        """Close the socket for good, and give up what was begun for CALLs of the central system."""
        self._closing = True
        await self.hang_up()
        await self._tasks.cancel()

    async def hang_up(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket in order; run() makes the next."""
        if self._socket is not None:
            await self._socket.close(code, reason)

    def drop(self) -> None:
        """Lose the connection without a goodbye; run() makes the next."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def call(self, action: str, payload: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a CALL and return the answer's payload; one is outstanding at a time.

        Raises CallRefused, ConnectionError without a connection or when it ends, TimeoutError.
        """
        async with self._one_call:
            socket = self._socket
            if socket is None:
                raise ConnectionError("not connected")
            message_id = str(uuid.uuid4())
            answer: asyncio.Future[ocppj.CallResult | ocppj.CallError] = asyncio.get_running_loop().create_future()
            self._answers[message_id] = answer
            try:
                async with asyncio.timeout(timeout_s):
                    await socket.send(ocppj.pack_call(message_id, action, payload))
                    reply = await answer
            except ConnectionClosed as exc:
                raise ConnectionError("connection closed") from exc
            finally:
                self._answers.pop(message_id, None)
        if isinstance(reply, ocppj.CallError):
            raise CallRefused(reply)
        return reply.payload

    async def send(self, frame: str) -> None:
        """Send a frame as it is. Raises ConnectionError without a connection or when it ends."""
        if self._socket is None:
            raise ConnectionError("not connected")
        try:
            await self._socket.send(frame)
        except ConnectionClosed as exc:
            raise ConnectionError("connection closed") from exc

    async def _serve(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.connected.set()
        self._say("connected")
        beside = asyncio.create_task(self._on_open())
        try:
            async for frame in socket:
                self._receive(frame if isinstance(frame, str) else frame.decode())
        except ConnectionClosed:
            pass  # said below, by its code
        finally:
            self._socket = None
            self.connected.clear()
            beside.cancel()
            (failure,) = await asyncio.gather(beside, return_exceptions=True)
            if isinstance(failure, Exception) and not isinstance(failure, ConnectionError):
                log.error("Simulator broke", exc_info=failure, extra={"station_id": self._user})
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("connection lost before the answer"))
            self._answers.clear()
            if not self._closing:
                self._say(f"connection lost (code {socket.close_code})")

    def _receive(self, text: str) -> None:
        try:
            message = ocppj.parse(text)
        except ocppj.BadFrame as exc:
            self._say(f"unusable frame from the central system: {exc}")
            return
        if isinstance(message, ocppj.Call):
            self._tasks.start(self._on_call(message))
        elif message is not None:
            answer = self._answers.get(message.message_id)
            if answer is not None and not answer.done():
                answer.set_result(message)
            elif isinstance(message, ocppj.CallError):
                self._say(f"CALLERROR {message.code} {message.description}")
