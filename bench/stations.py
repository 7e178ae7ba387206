"""Many stations in one process, as light as can be, so that the server under test is what is measured.

A WebSocket client of its own, for this purpose only: it sends unfragmented text frames with an all-zero mask, which
leaves the payload as it is, and understands no more than the servers under test send.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


class _Socket(asyncio.Protocol):
    """A WebSocket client: `opened` when the handshake is done, then each text frame to `on_text`."""

    def __init__(self, host: str, path: str, on_text: Callable[[bytes], None]) -> None:
        self._host, self._path, self._on_text = host, path, on_text
        self._buffer = b""
        self._shaken = False
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._shaken:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self.opened.set_exception(RuntimeError(head.decode(errors="replace")))
                return
            self._shaken, self._buffer = True, rest
            self.opened.set_result(None)
        while len(self._buffer) >= 2:
            kind, size, start = self._buffer[0], self._buffer[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(self._buffer[2:start], "big")
            if len(self._buffer) < start + size:
                return
            payload, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
            if kind == TEXT:
                self._on_text(payload)
            elif kind == PING:
                self.send(payload, PONG)
            elif kind == CLOSE:
                self.send(payload, CLOSE)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)

    def send(self, payload: bytes, kind: int = TEXT) -> None:
        size = len(payload)
        head = bytes((kind, 0x80 | size)) if size < 126 else bytes((kind, 0xFE)) + size.to_bytes(2, "big")
        self._transport.write(head + b"\0\0\0\0" + payload)


class BenchStation:
    """One station: answers every CALL with Accepted and may charge, sending MeterValues back to back."""

    def __init__(self, url: str, station_id: str, on_call: Callable[[str, float], None] | None = None) -> None:
        self._url = urlsplit(f"{url}/{station_id}")
        self._id = station_id
        self._on_call = on_call
        self._socket: _Socket
        self._answer: asyncio.Future[Any]  # a station has one CALL under way
        self._number = 0
        self.sent = 0

    async def connect(self) -> None:
        """Connected and booted."""
        host, port = self._url.hostname or "", self._url.port or 80
        _, self._socket = await asyncio.get_running_loop().create_connection(
            lambda: _Socket(self._url.netloc, self._url.path, self._read), host, port
        )
        await self._socket.opened
        await self.call("BootNotification", {"chargePointVendor": "Bench", "chargePointModel": "B1"})

    async def call(self, action: str, payload: dict[str, Any]) -> Any:
        """The payload of the answer; a CALLERROR raises."""
        return await self._call(action, json.dumps(payload))

    async def charge(self, until: float) -> None:
        """A transaction whose MeterValues follow each other as answers come, until time.perf_counter() says so."""
        at = datetime.now(UTC) - timedelta(days=20)
        start = {"connectorId": 1, "idTag": f"BENCH{self._id[-6:]}", "meterStart": 0, "timestamp": _text(at)}
        transaction_id = (await self.call("StartTransaction", start))["transactionId"]
        while time.perf_counter() < until:
            self.sent += 1
            at += timedelta(seconds=10)
            await self._call("MeterValues", meter_values(transaction_id, at, self.sent * 10))
        await self.call(
            "StopTransaction", {"transactionId": transaction_id, "meterStop": self.sent * 10, "timestamp": _text(at)}
        )

    async def close(self) -> None:
        """Disconnected."""
        self._socket.send(b"\x03\xe8", CLOSE)
        await self._socket.closed

    async def _call(self, action: str, payload: str) -> Any:
        self._number += 1
        self._answer = asyncio.get_running_loop().create_future()
        self._socket.send(f'[2,"{self._number}","{action}",{payload}]'.encode())
        return await self._answer

    def _read(self, frame: bytes) -> None:
        message = json.loads(frame)
        if message[0] == 2:
            if self._on_call is not None:
                self._on_call(message[1], time.perf_counter())
            self._socket.send(json.dumps([3, message[1], {"status": "Accepted"}]).encode())
        elif message[0] == 3:
            self._answer.set_result(message[2])
        else:
            self._answer.set_exception(RuntimeError(f"CALLERROR {message[2:]}"))


def meter_values(transaction_id: int, at: datetime, register_wh: int) -> str:
    """The payload of a usual MeterValues: register, power, current and state of charge."""
    return (
        f'{{"connectorId":1,"transactionId":{transaction_id},"meterValue":[{{"timestamp":"{_text(at)}","sampledValue":['
        f'{{"value":"{register_wh}","measurand":"Energy.Active.Import.Register","unit":"Wh"}},'
        '{"value":"3600","measurand":"Power.Active.Import","unit":"W"},'
        '{"value":"15.7","measurand":"Current.Import","unit":"A"},'
        '{"value":"41","measurand":"SoC","unit":"Percent"}]}]}'
    )


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
