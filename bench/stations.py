"""Many stations in one process, as light as can be, so that the server under test is what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol


class BenchStation:
    """One station: answers every CALL with Accepted and may charge, sending MeterValues back to back."""

    def __init__(self, url: str, station_id: str, on_call: Callable[[str, float], None] | None = None) -> None:
        self._url = f"{url}/{station_id}"
        self._id = station_id
        self._on_call = on_call
        self._socket: ClientConnection
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._reader: asyncio.Task[None]
        self._number = 0
        self.sent = 0

    async def connect(self) -> None:
        """Connected and booted."""
        self._socket = await connect(
            self._url, subprotocols=[Subprotocol("ocpp1.6")], compression=None, ping_interval=None, open_timeout=30
        )
        self._reader = asyncio.create_task(self._read())
        await self.call("BootNotification", {"chargePointVendor": "Bench", "chargePointModel": "B1"})

    async def call(self, action: str, payload: dict[str, Any]) -> Any:
        """The payload of the answer; a CALLERROR raises."""
        self._number += 1
        message_id = str(self._number)
        answer = self._answers[message_id] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps([2, message_id, action, payload], separators=(",", ":")))
        return await answer

    async def charge(self, until: float) -> None:
        """A transaction whose MeterValues follow each other as answers come, until time.perf_counter() says so."""
        begin = datetime.now(UTC) - timedelta(days=20)
        started = await self.call(
            "StartTransaction",
            {
                "connectorId": 1,
                "idTag": f"BENCH{self._id[-6:]}",
                "meterStart": 0,
                "timestamp": begin.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        )
        transaction_id = started["transactionId"]
        while time.perf_counter() < until:
            self.sent += 1
            begin += timedelta(seconds=10)
            await self.call("MeterValues", meter_values(transaction_id, begin, self.sent * 10))
        await self.call(
            "StopTransaction",
            {
                "transactionId": transaction_id,
                "meterStop": self.sent * 10,
                "timestamp": begin.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        )

    async def close(self) -> None:
        """Disconnected."""
        await self._socket.close()
        await self._reader

    async def _read(self) -> None:
        async for frame in self._socket:
            message = json.loads(frame)
            if message[0] == 2:
                if self._on_call is not None:
                    self._on_call(message[1], time.perf_counter())
                await self._socket.send(json.dumps([3, message[1], {"status": "Accepted"}]))
            elif (waiting := self._answers.pop(message[1], None)) is not None:
                if message[0] == 3:
                    waiting.set_result(message[2])
                else:
                    waiting.set_exception(RuntimeError(f"CALLERROR {message[2:]}"))


def meter_values(transaction_id: int, at: datetime, register_wh: int) -> dict[str, Any]:
    """The payload of a usual MeterValues: register, power, current and state of charge."""
    return {
        "connectorId": 1,
        "transactionId": transaction_id,
        "meterValue": [
            {
                "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "sampledValue": [
                    {"value": str(register_wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                    {"value": "3600", "measurand": "Power.Active.Import", "unit": "W"},
                    {"value": "15.7", "measurand": "Current.Import", "unit": "A"},
                    {"value": "41", "measurand": "SoC", "unit": "Percent"},
                ],
            }
        ],
    }
