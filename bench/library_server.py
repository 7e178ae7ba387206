"""The plain in-memory server of the `ocpp` library, as its README shows it: validates, answers, stores nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from ocpp.v16.enums import Action, RegistrationStatus
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

transaction_ids = itertools.count(1)


class Station(ChargePoint):
    @on(Action.boot_notification)
    def on_boot(self, **_: Any) -> call_result.BootNotification:
        return call_result.BootNotification(datetime.now(UTC).isoformat(), 300, RegistrationStatus.accepted)

    @on(Action.start_transaction)
    def on_start(self, **_: Any) -> call_result.StartTransaction:
        return call_result.StartTransaction(next(transaction_ids), {"status": "Accepted"})

    @on(Action.meter_values)
    def on_meter_values(self, **_: Any) -> call_result.MeterValues:
        return call_result.MeterValues()

    @on(Action.stop_transaction)
    def on_stop(self, **_: Any) -> call_result.StopTransaction:
        return call_result.StopTransaction()


async def handle(socket: ServerConnection) -> None:
    assert socket.request is not None
    with contextlib.suppress(ConnectionClosed):
        await Station(socket.request.path.rpartition("/")[2], socket).start()


async def main(port: int) -> None:
    logging.getLogger("ocpp").setLevel(logging.WARNING)  # it logs every frame at INFO; ours does not either
    async with serve(handle, "127.0.0.1", port, subprotocols=[Subprotocol("ocpp1.6")], compression=None):
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
