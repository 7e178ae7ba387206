"""A simulated charging station: behaves as a decent OCPP 1.6 station does, also when the line breaks.

It boots, reports its connectors, charges, answers commands, and repeats transaction messages until they are confirmed
(OCPP 1.6 §3.7.1). Used by `ocpp-bridge simulate`, the demonstration, tests and benches.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from . import ocppj

log = logging.getLogger(__name__)

Say = Callable[[str], None]

# Waits between attempts to connect. Real stations take longer (10 s and more); nobody likes to watch that.
_RECONNECT_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_VOLTAGE_V = 230.0
_RESET_S = 1.0


class CallRefused(Exception):
    """The central system answered with a CALLERROR."""

    def __init__(self, error: ocppj.CallError) -> None:
        super().__init__(f"{error.code} {error.description}".rstrip())
        self.error = error


@dataclass(frozen=True, slots=True)
class Car:
    """What a car would draw: power in W; with energy_wh it is full after exactly that many Wh."""

    power_w: float = 7400.0
    energy_wh: int | None = None

    def drawn_wh(self, seconds: float) -> float:
        """What it has drawn after so many seconds of charging, Wh."""
        return self.power_w * seconds / 3600

    def draws_w(self, seconds: float) -> float:
        """What it draws then, W."""
        return self.power_w


@dataclass(slots=True)
class Transaction:
    """A transaction as the station knows it. Registers in Wh; `id` is None until StartTransaction is answered."""

    id_tag: str
    meter_start_wh: int
    started_at: datetime
    started_monotonic: float
    remote: bool
    id: int | None = None
    full: bool = False


@dataclass(slots=True)
class Connector:
    """One outlet."""

    number: int
    status: str = "Available"
    error_code: str = "NoError"
    plugged: Car | None = None
    operative: bool = True
    register_wh: int = 0  # of the meter, for ever growing
    transaction: Transaction | None = None
    authorized: tuple[str, bool] | None = None  # a tag that waits for its car, and whether it came by remote start
    charging: asyncio.Task[None] | None = None
    waiting_for_car: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Queued:
    """A transaction message on its way: kept until confirmed. The transaction's id is put in when it is sent."""

    action: str
    payload: dict[str, Any]
    transaction: Transaction
    done: asyncio.Event = field(default_factory=asyncio.Event)
    attempts: int = 0


class SimulatedStation:
    """`async with SimulatedStation(url, id) as station`: connects, boots, and keeps connected until it is left.

    url is the part before the id, e.g. ws://127.0.0.1:8000/ws. time_factor lets time run faster within a session that
    charges a known amount: its start is dated back so that its end is now, and no time lies in the future.
    auto_plug plugs the car in when a remote start arrives and takes it away when the transaction has ended.
    """

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
        self.url = f"{url.rstrip('/')}/{quote(station_id, safe='')}"
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
        self.connected = asyncio.Event()
        self.accepted = asyncio.Event()  # set while BootNotification has been accepted
        self.tried = asyncio.Event()  # the first attempt to connect and boot has ended, well or not
        self.changed = asyncio.Condition()  # notified after every change of a connector or a transaction
        self._identity = {"chargePointVendor": vendor, "chargePointModel": model, "firmwareVersion": "1.0.0"}
        self._say_to = say
        self._password = password
        self._socket: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future[ocppj.CallResult | ocppj.CallError]] = {}
        self._one_call = asyncio.Lock()
        self._queue: deque[_Queued] = deque()
        self._queued = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._main: asyncio.Task[None] | None = None
        self._boot_needed = True
        self._stopping = False

    # --- life ---

    async def __aenter__(self) -> SimulatedStation:
        self._main = asyncio.create_task(self._stay_connected())
        self._start(self._deliver_transactions())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        if self._socket is not None:
            await self._socket.close()
        tasks = [*self._tasks, *([self._main] if self._main else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait until a condition on the station holds. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(condition)

    async def delivered(self, timeout_s: float = 30.0) -> None:
        """Wait until every transaction message has been confirmed. Raises TimeoutError."""
        await self.until(lambda: not self._queue, timeout_s)

    async def drop_line(self) -> None:
        """Lose the connection without a goodbye; the station reconnects by itself."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def _stay_connected(self) -> None:
        failures = 0
        while not self._stopping:
            headers = {}
            if self._password is not None:
                pair = base64.b64encode(self.id.encode() + b":" + self._password).decode()
                headers["Authorization"] = f"Basic {pair}"
            try:
                async with connect(
                    self.url,
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
                    self._say(f"cannot connect to {self.url}: {exc}")
                self.tried.set()
            if not self._stopping:
                await asyncio.sleep(_RECONNECT_PAUSES_S[min(failures, len(_RECONNECT_PAUSES_S) - 1)])

    async def _serve(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.connected.set()
        self._say("connected")
        hello = asyncio.create_task(self._hello())
        try:
            async for frame in socket:
                self._receive(frame if isinstance(frame, str) else frame.decode())
        except ConnectionClosed:
            pass
        finally:
            self._socket = None
            self.connected.clear()
            hello.cancel()
            await asyncio.gather(hello, return_exceptions=True)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("connection lost before the answer"))
            self._answers.clear()
            code = socket.close_code
            if not self._stopping:
                self._say(f"connection lost (code {code})")

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

    # --- the line ---

    async def call(self, action: str, payload: dict[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
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

    async def send_raw(self, text: str) -> None:
        """Send a frame as it is."""
        if self._socket is None:
            raise ConnectionError("not connected")
        await self._socket.send(text)

    def _receive(self, text: str) -> None:
        try:
            message = ocppj.parse(text)
        except ocppj.BadFrame as exc:
            self._say(f"unusable frame from the central system: {exc}")
            return
        if isinstance(message, ocppj.Call):
            self._start(self._obey(message))
        elif message is not None:
            answer = self._answers.get(message.message_id)
            if answer is not None and not answer.done():
                answer.set_result(message)
            elif isinstance(message, ocppj.CallError):
                self._say(f"CALLERROR {message.code} {message.description}")

    async def _obey(self, message: ocppj.Call) -> None:
        """Answer a command, then do what it says: the answer comes first, as with real stations."""
        handler = self._HANDLERS.get(message.action)
        after: Callable[[], Any] | None = None
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
        except (ConnectionError, ConnectionClosed):
            return
        if after is not None:
            try:
                await after()
            except (ConnectionError, TimeoutError, CallRefused) as exc:
                self._say(f"{message.action}: {exc}")

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
                    self._start(self.stop(connector.number, "DeAuthorized"))

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
            "timestamp": _text(now),
            "reason": reason,
            "transactionData": [
                self._sample(transaction.started_at, transaction.meter_start_wh, 0, "Transaction.Begin"),
                self._sample(now, connector.register_wh, 0, "Transaction.End"),
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
            sample = self._sample(datetime.now(UTC), connector.register_wh, 0, "Trigger")
            await self.call("MeterValues", {"connectorId": number, "meterValue": [sample]})
        else:
            self._measure(connector, transaction)
            self._queue_sample(connector, transaction, "Trigger")

    async def boot(self) -> None:
        """Restart: the line drops, and BootNotification follows."""
        await self._reset("Soft", "Reboot")

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
            connector.waiting_for_car = self._start(self._forget_tag(connector))

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
                "timestamp": _text(transaction.started_at),
            },
            transaction,
        )
        await self._set(connector, "Charging")
        connector.charging = self._start(self._charge(connector, transaction))

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
        sample = self._sample(self._session_time(transaction, connector), connector.register_wh, power_w, context)
        self._enqueue("MeterValues", {"connectorId": connector.number, "meterValue": [sample]}, transaction)

    @staticmethod
    def _sample(at: datetime, register_wh: int, power_w: float, context: str) -> dict[str, Any]:
        values = [("Energy.Active.Import.Register", "Wh", f"{register_wh}")]
        if context in ("Sample.Periodic", "Trigger"):
            values.append(("Power.Active.Import", "W", f"{power_w:.0f}"))
            values.append(("Current.Import", "A", f"{power_w / _VOLTAGE_V:.1f}"))
            values.append(("Voltage", "V", f"{_VOLTAGE_V:.1f}"))
        return {
            "timestamp": _text(at),
            "sampledValue": [
                {"value": value, "context": context, "measurand": measurand, "unit": unit}
                for measurand, unit, value in values
            ],
        }

    # --- commands of the central system: the answer, and what to do after it ---

    def _remote_start(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
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

    def _remote_stop(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        for connector in self.connectors.values():
            transaction = connector.transaction
            if transaction is not None and transaction.id == payload["transactionId"]:
                transaction.remote = True
                return {"status": "Accepted"}, partial(self.stop, connector.number, "Remote")
        return {"status": "Rejected"}, None

    def _on_reset(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        return {"status": "Accepted"}, lambda: self._reset(payload["type"], f"{payload['type']}Reset")

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
        if self._socket is not None:
            await self._socket.close(1001, "reboot")

    def _trigger(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
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

    def _change_availability(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
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

    def _unlock(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        number = payload["connectorId"]
        if number not in self.connectors:
            return {"status": "NotSupported"}, None
        return {"status": "Unlocked"}, lambda: self.stop(number, "UnlockCommand")

    def _get_configuration(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        asked = payload.get("key") or list(self.configuration)
        known = [
            {"key": key, "readonly": self.configuration[key][1], "value": self.configuration[key][0]}
            for key in asked
            if key in self.configuration and key != "AuthorizationKey"  # write only (whitepaper A00.FR.204)
        ]
        unknown = [key for key in asked if key not in self.configuration]
        return {"configurationKey": known, **({"unknownKey": unknown} if unknown else {})}, None

    def _change_configuration(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        key, value = payload["key"], payload["value"]
        if key not in self.configuration:
            return {"status": "NotSupported"}, None
        old, readonly = self.configuration[key]
        if readonly or (old.isdigit() and not value.isdigit()):
            return {"status": "Rejected"}, None
        self.configuration[key] = (value, readonly)
        if key == "AuthorizationKey":
            try:
                self._password = bytes.fromhex(value)
            except ValueError:
                self._password = value.encode()
        return {"status": "Accepted"}, None

    def _clear_cache(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        return {"status": "Accepted"}, None

    def _data_transfer(self, payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        if payload["vendorId"] != self._identity["chargePointVendor"]:
            return {"status": "UnknownVendorId"}, None
        if payload.get("messageId") not in (None, "echo"):
            return {"status": "UnknownMessageId"}, None
        return {"status": "Accepted", **({"data": payload["data"]} if "data" in payload else {})}, None

    _HANDLERS: ClassVar[dict[str, Callable[[SimulatedStation, dict[str, Any]], tuple[dict[str, Any], Any]]]] = {
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
            {"connectorId": number, "errorCode": error, "status": status, "timestamp": _text(datetime.now(UTC))},
        )

    def _number(self, key: str) -> float:
        return float(self.configuration[key][0] or 0)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _start(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Simulator broke", exc_info=error, extra={"station_id": self.id})

    def _say(self, text: str) -> None:
        if self._say_to is not None:
            self._say_to(f"{self.id}: {text}")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
