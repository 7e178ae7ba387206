"""What the central system may tell a station, and what the station answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar

from .. import ocppj
from .line import CallRefused
from .model import Connector
from .station import BareStation

# The payload of the answer, and what to do after it.
Obeyed = tuple[dict[str, Any], Callable[[], Awaitable[object]] | None]


class SimulatedStation(BareStation):
    """`async with SimulatedStation(url, id) as station`: connects, boots, and keeps connected until it is left.

    url is the part before the id, e.g. ws://127.0.0.1:8000/ws. time_factor lets time run faster within a session that
    charges a known amount: its start is dated back so that its end is now, and no time lies in the future.
    auto_plug plugs the car in when a remote start arrives and takes it away when the transaction has ended.
    say gets a line about whatever happens.
    """

    async def _obey(self, message: ocppj.Call) -> None:
        """The answer comes first, as with real stations."""
        handler = self._HANDLERS.get(message.action)
        after: Callable[[], Awaitable[object]] | None = None
        if handler is None:
            known = message.action in ocppj.schemas().actions
            code = ocppj.NOT_SUPPORTED if known else ocppj.NOT_IMPLEMENTED
            reply = ocppj.pack_error(message.echo, code)
            self._say(f"{message.action}: {code}")
        elif ocppj.schemas().check(message.action, message.payload):
            reply = ocppj.pack_error(message.echo, ocppj.FORMATION_VIOLATION)
            self._say(f"{message.action}: FormationViolation")
        else:
            result, after = handler(self, message.payload)
            reply = ocppj.pack_result(message.echo, result)
            self._say(f"{message.action}: {result.get('status', 'answered')}")
        try:
            await self.send_raw(reply)
        except ConnectionError:
            return
        if after is not None:
            try:
                await after()
            except (ConnectionError, TimeoutError, CallRefused) as exc:
                self._say(f"{message.action}: {exc}")

    def _remote_start(self, payload: dict[str, Any]) -> Obeyed:
        connector = self._free_connector(payload.get("connectorId"))
        if connector is None or self.registration != "Accepted":
            return {"status": "Rejected"}, None

        async def start() -> None:
            if self.configuration["AuthorizeRemoteTxRequests"][0] == "true":
                result = await self.call("Authorize", {"idTag": payload["idTag"]})
                if (result.get("idTagInfo") or {}).get("status") != "Accepted":
                    return
            await self._authorized(connector, payload["idTag"], remote=True)

        return {"status": "Accepted"}, start

    def _free_connector(self, number: Any) -> Connector | None:
        for connector in self.connectors.values():
            free = connector.transaction is None and connector.operative and connector.error_code == "NoError"
            if free and number in (None, connector.number):
                return connector
        return None

    def _remote_stop(self, payload: dict[str, Any]) -> Obeyed:
        for connector in self.connectors.values():
            transaction = connector.transaction
            if transaction is not None and transaction.id == payload["transactionId"]:
                transaction.remote = True
                return {"status": "Accepted"}, partial(self.stop, connector.number, "Remote")
        return {"status": "Rejected"}, None

    def _on_reset(self, payload: dict[str, Any]) -> Obeyed:
        return {"status": "Accepted"}, lambda: self._reset(payload["type"], f"{payload['type']}Reset")

    def _trigger(self, payload: dict[str, Any]) -> Obeyed:
        what, number = payload["requestedMessage"], payload.get("connectorId")
        if number is not None and number != 0 and number not in self.connectors:
            return {"status": "Rejected"}, None

        async def send() -> None:
            numbers = [number] if number is not None else list(self.connectors)
            if what == "BootNotification":
                await self.call("BootNotification", self._identity)
            elif what == "Heartbeat":
                await self.call("Heartbeat", {})
            elif what == "StatusNotification":
                for which in numbers if number is not None else [0, *numbers]:
                    await self._report(which)
            elif what == "MeterValues":
                for which in numbers:
                    if which:
                        await self.meter(which)

        if what not in ("BootNotification", "Heartbeat", "StatusNotification", "MeterValues"):
            return {"status": "NotImplemented"}, None
        return {"status": "Accepted"}, send

    def _change_availability(self, payload: dict[str, Any]) -> Obeyed:
        number, operative = payload["connectorId"], payload["type"] == "Operative"
        if number != 0 and number not in self.connectors:
            return {"status": "Rejected"}, None
        chosen = [item for item in self.connectors.values() if number in (0, item.number)]
        for connector in chosen:
            connector.operative = operative
        busy = any(connector.transaction is not None for connector in chosen)

        async def change() -> None:
            for connector in chosen:
                if connector.transaction is None:
                    await self._set(connector, "Available" if operative else "Unavailable")
            if number == 0:
                await self._report(0)

        return {"status": "Scheduled" if busy and not operative else "Accepted"}, change

    def _unlock(self, payload: dict[str, Any]) -> Obeyed:
        number = payload["connectorId"]
        if number not in self.connectors:
            return {"status": "NotSupported"}, None
        return {"status": "Unlocked"}, lambda: self.stop(number, "UnlockCommand")

    def _get_configuration(self, payload: dict[str, Any]) -> Obeyed:
        asked = payload.get("key") or list(self.configuration)
        known = [
            {"key": key, "readonly": self.configuration[key][1], "value": self.configuration[key][0]}
            for key in asked
            if key in self.configuration and key != "AuthorizationKey"  # write only (whitepaper A00.FR.204)
        ]
        unknown = [key for key in asked if key not in self.configuration]
        return {"configurationKey": known, **({"unknownKey": unknown} if unknown else {})}, None

    def _change_configuration(self, payload: dict[str, Any]) -> Obeyed:
        key, value = payload["key"], payload["value"]
        if key not in self.configuration:
            return {"status": "NotSupported"}, None
        old, readonly = self.configuration[key]
        if readonly or (old.isdigit() and not value.isdigit()):
            return {"status": "Rejected"}, None
        self.configuration[key] = (value, readonly)
        if key == "AuthorizationKey":
            try:
                self._line.password = bytes.fromhex(value)
            except ValueError:
                self._line.password = value.encode()
        return {"status": "Accepted"}, None

    def _clear_cache(self, payload: dict[str, Any]) -> Obeyed:
        return {"status": "Accepted"}, None

    def _data_transfer(self, payload: dict[str, Any]) -> Obeyed:
        if payload["vendorId"] != self._identity["chargePointVendor"]:
            return {"status": "UnknownVendorId"}, None
        if payload.get("messageId") not in (None, "echo"):
            return {"status": "UnknownMessageId"}, None
        return {"status": "Accepted", **({"data": payload["data"]} if "data" in payload else {})}, None

    _HANDLERS: ClassVar[dict[str, Callable[[SimulatedStation, dict[str, Any]], Obeyed]]] = {
        "RemoteStartTransaction": _remote_start,
        "RemoteStopTransaction": _remote_stop,
        "Reset": _on_reset,
        "TriggerMessage": _trigger,
        "ChangeAvailability": _change_availability,
        "UnlockConnector": _unlock,
        "GetConfiguration": _get_configuration,
        "ChangeConfiguration": _change_configuration,
        "ClearCache": _clear_cache,
        "DataTransfer": _data_transfer,
    }
