"""What a station does by itself and at the hands of people: boots, reports, charges, repeats what is not confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import quote

from .. import ocppj
from ..tasks import Tasks
from .line import CallRefused, Line
from .model import Car, Connector, Transaction, meter_value, timestamp

Say = Callable[[str], None]

_RESET_S = 1.0


@dataclass(slots=True)
class _Queued:
    """A transaction message on its way: kept until confirmed. The transaction's id is put in when it is sent."""

    action: str
    payload: dict[str, Any]
    transaction: Transaction
    done: asyncio.Event = field(default_factory=asyncio.Event)
    attempts: int = 0


class BareStation(ABC):
    """A station but for its answers to commands, which SimulatedStation adds; see there for the arguments."""

    def __init__(
        self,
        url: str,
        station_id: str,
        *,
        connectors: int = 1,
        car: Car | None = None,
        password: bytes | None = None,
        time_factor: float = 1.0,
        meter_interval_s: float = 60.0,
        auto_plug: bool = True,
        say: Say | None = None,
        model: str = "Simulator",
        vendor: str = "EvPower",
    ) -> None:
        self.id = station_id
        self.car = car or Car()
        self.time_factor = time_factor
        self.auto_plug = auto_plug
        self.connectors = {number: Connector(number) for number in range(1, connectors + 1)}
        self.configuration: dict[str, tuple[str, bool]] = {  # value, read only
            "HeartbeatInterval": ("300", False),
            "MeterValueSampleInterval": (f"{meter_interval_s:g}", False),
            "ConnectionTimeOut": ("60", False),
            "TransactionMessageAttempts": ("10", False),
            "TransactionMessageRetryInterval": ("2", False),
            "AuthorizeRemoteTxRequests": ("false", False),
            "NumberOfConnectors": (str(connectors), True),
            "GetConfigurationMaxKeys": ("50", True),
            "SupportedFeatureProfiles": ("Core,RemoteTrigger", True),
            "MeterValuesSampledData": ("Energy.Active.Import.Register,Power.Active.Import", False),
            "AuthorizationKey": ("", False),
        }
        self.registration = "none"
        self.accepted = asyncio.Event()  # set while BootNotification has been accepted
        self.tried = asyncio.Event()  # the first attempt to connect and boot has ended, well or not
        self.changed = asyncio.Condition()  # notified after every change of a connector or a transaction
        self._identity = {"chargePointVendor": vendor, "chargePointModel": model, "firmwareVersion": "1.0.0"}
        self._say_to = say
        self._line = Line(
            f"{url.rstrip('/')}/{quote(station_id, safe='')}",
            station_id,
            password,
            on_open=self._hello,
            on_call=self._obey,
            on_failure=self.tried.set,
            say=self._say,
        )
        self.connected = self._line.connected
        self._queue: deque[_Queued] = deque()
        self._queued = asyncio.Event()
        self._tasks = Tasks()
        self._boot_needed = True

    # --- life ---

    async def __aenter__(self) -> Self:
        self._tasks.start(self._line.run())
        self._tasks.start(self._deliver_transactions())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._line.close()
        await self._tasks.cancel()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait until a condition on the station holds. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(condition)

    async def delivered(self, timeout_s: float = 30.0) -> None:
        """Wait until every transaction message has been confirmed. Raises TimeoutError."""
        await self.until(lambda: not self._queue, timeout_s)

    async def drop_line(self) -> None:
        """Lose the connection without a goodbye; the station reconnects by itself."""
        self._line.drop()

    async def call(self, action: str, payload: dict[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
        """Send a CALL and return the answer's payload; one is outstanding at a time.

        Raises CallRefused, ConnectionError without a connection or when it ends, TimeoutError.
        """
        return await self._line.call(action, payload, timeout_s)

    async def send_raw(self, text: str) -> None:
        """Send a frame as it is. Raises ConnectionError."""
        await self._line.send(text)

    @abstractmethod
    async def _obey(self, message: ocppj.Call) -> None:
        """Answer a command, then do what it says."""

    async def _hello(self) -> None:
        """BootNotification until accepted (not again after a mere reconnect, OCPP-J §5.4), statuses, heartbeats."""
        while self._boot_needed:
            try:
                result = await self.call("BootNotification", self._identity)
            except (CallRefused, TimeoutError) as exc:
                self._say(f"BootNotification not answered: {exc}")
                await asyncio.sleep(self._number("TransactionMessageRetryInterval"))
                continue
            self.registration = str(result.get("status"))
            interval = result.get("interval")
            self._say(f"BootNotification: {self.registration}")
            if self.registration == "Accepted":
                self._boot_needed = False
                if isinstance(interval, int) and interval > 0:
                    self.configuration["HeartbeatInterval"] = (str(interval), False)
            else:
                self.tried.set()
                await asyncio.sleep(interval if isinstance(interval, int) and interval > 0 else 10)
        for number in (0, *self.connectors):
            with contextlib.suppress(CallRefused, TimeoutError):
                await self._report(number)
        self.accepted.set()
        self.tried.set()
        await self._tell()
        while True:
            await asyncio.sleep(self._number("HeartbeatInterval") or 3600)
            with contextlib.suppress(CallRefused, TimeoutError):
                await self.call("Heartbeat", {})

    # --- transaction messages, kept until confirmed ---

    def _enqueue(self, action: str, payload: dict[str, Any], transaction: Transaction) -> _Queued:
        message = _Queued(action, payload, transaction)
        self._queue.append(message)
        self._queued.set()
        return message

    async def _deliver_transactions(self) -> None:
        while True:
            if not self._queue:
                self._queued.clear()
                await self._queued.wait()
            await self.connected.wait()
            if self.registration != "Accepted":
                await self.accepted.wait()
            message = self._queue[0]
            payload = message.payload
            if message.action != "StartTransaction":
                # -1: a station that was never told an id (errata 3.18).
                known = message.transaction.id
                payload = {**payload, "transactionId": -1 if known is None else known}
            try:
                result = await self.call(message.action, payload)
            except (ConnectionError, TimeoutError, CallRefused) as exc:
                lost = isinstance(exc, ConnectionError)
                message.attempts += not lost
                self._say(f"{message.action} not confirmed ({exc}), will be sent again")
                if message.attempts >= self._number("TransactionMessageAttempts"):
                    self._say(f"{message.action} given up")
                    self._queue.popleft()
                    message.done.set()
                    await self._tell()
                elif not lost:
                    await asyncio.sleep(self._number("TransactionMessageRetryInterval") * message.attempts)
                else:
                    await asyncio.sleep(0.05)
                continue
            self._queue.popleft()
            self._confirmed(message, result)
            message.done.set()
            await self._tell()

    def _confirmed(self, message: _Queued, result: dict[str, Any]) -> None:
        if message.action != "StartTransaction":
            return
        transaction = message.transaction
        transaction.id = result.get("transactionId")
        status = (result.get("idTagInfo") or {}).get("status")
        self._say(f"StartTransaction: transaction {transaction.id}, {status}")
        if status != "Accepted":  # StopTransactionOnInvalidId, errata 3.17
            for connector in self.connectors.values():
                if connector.transaction is transaction:
                    self._tasks.start(self.stop(connector.number, "DeAuthorized"))

    # --- what people do ---

    async def plug(self, number: int = 1, car: Car | None = None) -> None:
        """Plug a car in; charging begins when a tag was presented before."""
        connector = self.connectors[number]
        connector.plugged = car or self.car
        if connector.authorized is not None:
            tag, remote = connector.authorized
            await self._begin(connector, tag, remote)
        elif connector.transaction is None:
            await self._set(connector, "Preparing")

    async def unplug(self, number: int = 1) -> None:
        """Take the car away; a transaction ends with reason EVDisconnected."""
        connector = self.connectors[number]
        connector.plugged = None
        if connector.transaction is not None:
            await self.stop(number, "EVDisconnected")
        elif connector.status != "Unavailable":
            await self._set(connector, "Available")

    async def tap(self, id_tag: str, number: int = 1) -> str:
        """Present a tag: starts charging when a car is plugged in, stops when the same tag is presented again.

        Returns the status of the tag.
        """
        connector = self.connectors[number]
        if connector.transaction is not None and connector.transaction.id_tag.lower() == id_tag.lower():
            await self.stop(number, "Local", id_tag)
            return "Accepted"
        result = await self.call("Authorize", {"idTag": id_tag})
        status = str((result.get("idTagInfo") or {}).get("status"))
        self._say(f"Authorize {id_tag}: {status}")
        if status == "Accepted" and connector.transaction is None:
            await self._authorized(connector, id_tag, remote=False)
        return status

    async def stop(self, number: int = 1, reason: str = "Local", id_tag: str | None = None) -> None:
        """End the transaction on a connector."""
        connector = self.connectors[number]
        transaction = connector.transaction
        if transaction is None:
            return
        await self._end_charging(connector)
        connector.transaction = None
        now = self._session_time(transaction, connector)
        payload: dict[str, Any] = {
            "meterStop": connector.register_wh,
            "timestamp": timestamp(now),
            "reason": reason,
            "transactionData": [
                meter_value(transaction.started_at, transaction.meter_start_wh, 0, "Transaction.Begin"),
                meter_value(now, connector.register_wh, 0, "Transaction.End"),
            ],
        }
        if id_tag is not None:
            payload["idTag"] = id_tag
        self._enqueue("StopTransaction", payload, transaction)
        self._say(f"stopped at {(connector.register_wh - transaction.meter_start_wh) / 1000:.3f} kWh ({reason})")
        if connector.plugged is not None:
            await self._set(connector, "Finishing")
            if self.auto_plug and transaction.remote:
                await self.unplug(number)
        elif connector.status != "Unavailable":
            await self._set(connector, "Available")

    async def fault(self, code: str = "GroundFailure", number: int = 1) -> None:
        """A fault: ends a transaction, and the connector reports Faulted until clear()."""
        connector = self.connectors[number]
        connector.error_code = code
        await self.stop(number, "Other")
        await self._set(connector, "Faulted")

    async def clear(self, number: int = 1) -> None:
        """The fault is gone."""
        connector = self.connectors[number]
        connector.error_code = "NoError"
        await self._set(connector, "Preparing" if connector.plugged else "Available")

    async def meter(self, number: int = 1) -> None:
        """Send a meter value now."""
        connector = self.connectors[number]
        transaction = connector.transaction
        if transaction is None:
            sample = meter_value(datetime.now(UTC), connector.register_wh, 0, "Trigger")
            await self.call("MeterValues", {"connectorId": number, "meterValue": [sample]})
        else:
            self._measure(connector, transaction)
            self._queue_sample(connector, transaction, "Trigger")

    async def boot(self) -> None:
        """Restart: the line drops, and BootNotification follows."""
        await self._reset("Soft", "Reboot")

    async def _reset(self, kind: str, reason: str) -> None:
        for number in self.connectors:
            await self.stop(number, reason)
        if kind == "Soft":  # a soft reset says goodbye to its transactions first (§5.14)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    for message in list(self._queue):
                        await message.done.wait()
        self._boot_needed = True
        self.accepted.clear()
        self.registration = "none"
        await asyncio.sleep(_RESET_S)
        await self._line.hang_up(1001, "reboot")

    async def status(self, number: int = 0) -> None:
        """Report a connector's status again."""
        await self._report(number)

    # --- charging ---

    async def _authorized(self, connector: Connector, id_tag: str, *, remote: bool) -> None:
        if connector.plugged is not None:
            await self._begin(connector, id_tag, remote)
            return
        connector.authorized = (id_tag, remote)
        await self._set(connector, "Preparing")
        if self.auto_plug:
            await self.plug(connector.number)
        else:
            self._say("plug the car in")
            connector.waiting_for_car = self._tasks.start(self._forget_tag(connector))

    async def _forget_tag(self, connector: Connector) -> None:
        await asyncio.sleep(self._number("ConnectionTimeOut"))
        if connector.authorized is not None and connector.transaction is None:
            connector.authorized = None
            self._say("no car came")
            await self._set(connector, "Available")

    async def _begin(self, connector: Connector, id_tag: str, remote: bool) -> None:
        connector.authorized = None
        if connector.waiting_for_car is not None:
            connector.waiting_for_car.cancel()
            connector.waiting_for_car = None
        if connector.status != "Preparing":
            await self._set(connector, "Preparing")
        assert connector.plugged is not None
        transaction = Transaction(
            id_tag,
            connector.register_wh,
            datetime.now(UTC) - self._head_start(connector.plugged),
            time.monotonic(),
            remote,
        )
        connector.transaction = transaction
        self._enqueue(
            "StartTransaction",
            {
                "connectorId": connector.number,
                "idTag": id_tag,
                "meterStart": connector.register_wh,
                "timestamp": timestamp(transaction.started_at),
            },
            transaction,
        )
        await self._set(connector, "Charging")
        connector.charging = self._tasks.start(self._charge(connector, transaction))

    def _head_start(self, car: Car) -> timedelta:
        """How far a session that runs faster than the clock is dated back, so that its end is not in the future."""
        if car.energy_wh is None or self.time_factor <= 1:
            return timedelta(0)
        seconds = car.energy_wh / car.power_w * 3600
        return timedelta(seconds=seconds * (1 - 1 / self.time_factor))

    async def _charge(self, connector: Connector, transaction: Transaction) -> None:
        """Let the register grow and send a meter value every MeterValueSampleInterval, until the car is full."""
        car = connector.plugged
        assert car is not None
        while not transaction.full:
            # In the session's time; a tenth of a second is the shortest that is worth a message.
            pause = max(0.1, self._number("MeterValueSampleInterval") / self.time_factor)
            if car.energy_wh is not None:
                left = transaction.meter_start_wh + car.energy_wh - connector.register_wh
                pause = min(pause, max(0.0, left / car.power_w * 3600 / self.time_factor))
            await asyncio.sleep(pause)
            self._measure(connector, transaction)
            self._queue_sample(connector, transaction, "Sample.Periodic")
            await self._tell()
        connector.charging = None  # a stop that comes now does not cut off the report
        self._say(f"the car is full: {(connector.register_wh - transaction.meter_start_wh) / 1000:.3f} kWh")
        await self._set(connector, "SuspendedEV")

    def _measure(self, connector: Connector, transaction: Transaction) -> None:
        car = connector.plugged
        if car is None or transaction.full:
            return
        energy_wh = int(car.drawn_wh(self._charging_s(transaction)))
        if car.energy_wh is not None and energy_wh >= car.energy_wh - 1:  # the clock may be a hair early
            energy_wh = car.energy_wh
            transaction.full = True
        connector.register_wh = max(connector.register_wh, transaction.meter_start_wh + energy_wh)

    async def _end_charging(self, connector: Connector) -> None:
        if connector.transaction is not None:
            self._measure(connector, connector.transaction)
        task, connector.charging = connector.charging, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _session_time(self, transaction: Transaction, connector: Connector) -> datetime:
        """Now, as the session's clock shows it: it catches up with the real one when the car is full."""
        return min(transaction.started_at + timedelta(seconds=self._charging_s(transaction)), datetime.now(UTC))

    def _charging_s(self, transaction: Transaction) -> float:
        return (time.monotonic() - transaction.started_monotonic) * self.time_factor

    def _queue_sample(self, connector: Connector, transaction: Transaction, context: str) -> None:
        car = None if transaction.full else connector.plugged
        power_w = car.draws_w(self._charging_s(transaction)) if car is not None else 0.0
        sample = meter_value(self._session_time(transaction, connector), connector.register_wh, power_w, context)
        self._enqueue("MeterValues", {"connectorId": connector.number, "meterValue": [sample]}, transaction)

    # --- small things ---

    async def _set(self, connector: Connector, status: str) -> None:
        if status == "Available" and not connector.operative:
            status = "Unavailable"
        if connector.status == status:
            return
        connector.status = status
        self._say(f"connector {connector.number}: {status}")
        await self._tell()
        with contextlib.suppress(ConnectionError, TimeoutError, CallRefused):  # told again after the reconnect
            await self._report(connector.number)

    async def _report(self, number: int) -> None:
        if number == 0:
            operative = any(connector.operative for connector in self.connectors.values())
            status, error = ("Available" if operative else "Unavailable"), "NoError"
        else:
            status, error = self.connectors[number].status, self.connectors[number].error_code
        await self.call(
            "StatusNotification",
            {"connectorId": number, "errorCode": error, "status": status, "timestamp": timestamp(datetime.now(UTC))},
        )

    def _number(self, key: str) -> float:
        return float(self.configuration[key][0] or 0)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _say(self, text: str) -> None:
        if self._say_to is not None:
            self._say_to(f"{self.id}: {text}")
