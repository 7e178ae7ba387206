"""Stations that charge all the time, with a ledger of what they were promised, to be held against the tables.

They behave as OCPP 1.6 demands of a station whose line breaks: transaction messages are repeated, in order, until a
CALLRESULT comes (§3.7.1); a reconnect is no reboot, so they need not boot again (OCPP-J §5.4).
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from tests.fakes.charger import BOOT, energy_sample, iso

Json = dict[str, Any]
METER_VALUES = 5  # in a session
PACE_S = 0.2  # between two messages of a connector
RETRY_S = 0.4  # TransactionMessageRetryInterval, and the wait before the next attempt to connect
ANSWER_S = 30  # how long a station waits for an answer


@dataclass(frozen=True)
class Charged:
    """A session as the station knows it. Registers in Wh."""

    station_id: str
    connector_id: int
    id_tag: str
    transaction_id: int
    meter_start_wh: int
    meter_stop_wh: int
    remote: bool


@dataclass
class Ledger:
    """What was acknowledged to the stations, and what they were told to do."""

    meter_values: dict[tuple[str, int, str], int] = field(default_factory=dict)  # station, connector, time -> Wh
    sessions: list[Charged] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)  # command id -> how often it reached a station
    refused: int = 0  # CALLERROR InternalError: to be repeated
    repeated: int = 0  # messages sent again because the line broke
    disconnects: int = 0


class LineLost(Exception):
    """The socket closed before the answer."""


class LoadStation:
    """Connector 1 charges one session after the other by card; connector 2 charges when it is started remotely."""

    def __init__(
        self, number: int, name: str, urls: Callable[[], Sequence[str]], ledger: Ledger, *, boots_again: bool
    ) -> None:
        self.name = name
        self.ledger = ledger
        self.finished = 0  # sessions on connector 1
        self.at = ""  # the bridge that it is connected to
        self._number = number
        self._urls = urls
        self._ids = itertools.count(1)
        self._attempt = number
        self._boots_again = boots_again
        self._booted = False
        self._stopping = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._connected = asyncio.Event()
        self._answers: dict[str, asyncio.Future[list[Any]]] = {}
        self._calling = asyncio.Lock()
        self._remote: asyncio.Task[None] | None = None
        self._remote_transaction: int | None = None
        self._remote_stop = asyncio.Event()
        self._registers = {1: 1000 * number, 2: 500_000 + 1000 * number}
        self.changed: Callable[[], Awaitable[None]]

    async def run(self) -> None:
        """Charge until stop(), then finish what was begun."""
        line = asyncio.create_task(self._stay_connected())
        try:
            while not self._stopping.is_set():
                await self._session(1, f"CARD{self._number:04d}", remote=False)
                self.finished += 1
                await self.changed()
            if self._remote is not None:
                await self._remote
        finally:
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)

    def stop(self) -> None:
        """Let the session under way be the last. A remote one ends when it is stopped remotely."""
        self._stopping.set()

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    # --- a session ---

    async def _session(self, connector: int, id_tag: str, *, remote: bool) -> None:
        meter_start = self._registers[connector]
        started_at = datetime.now(UTC)
        start = {"connectorId": connector, "idTag": id_tag, "meterStart": meter_start, "timestamp": iso(started_at)}
        answer = await self._deliver("StartTransaction", start)
        transaction = answer["transactionId"]
        assert transaction > 0, answer
        if remote:
            self._remote_transaction = transaction
        for number in itertools.count(1):
            await self._pause()
            if self._remote_stop.is_set() if remote else number > METER_VALUES:
                break
            self._registers[connector] += 100 + 10 * self._number
            at = datetime.now(UTC)
            sample = energy_sample(at, self._registers[connector], context="Sample.Periodic")
            payload = {"connectorId": connector, "transactionId": transaction, "meterValue": [sample]}
            assert await self._deliver("MeterValues", payload) == {}
            self.ledger.meter_values[(self.name, connector, iso(at))] = self._registers[connector]
        self._registers[connector] += 7  # what the last meter value did not see
        stop = {
            "transactionId": transaction,
            "meterStop": self._registers[connector],
            "timestamp": iso(datetime.now(UTC)),
            "reason": "Remote" if remote else "Local",
        }
        await self._deliver("StopTransaction", stop)
        self.ledger.sessions.append(
            Charged(self.name, connector, id_tag, transaction, meter_start, self._registers[connector], remote)
        )

    async def _pause(self) -> None:
        await asyncio.sleep(PACE_S)  # the interval between messages of a connector, not a wait for anything

    async def _remote_session(self, id_tag: str) -> None:
        self._remote_stop.clear()
        await self._session(2, id_tag, remote=True)
        self._remote_transaction = None

    async def _deliver(self, action: str, payload: Json) -> Json:
        """Send until it is confirmed."""
        while True:
            try:
                answer = await self._call(action, payload)
            except (LineLost, TimeoutError):
                self.ledger.repeated += 1
                continue
            if answer[0] == 3:
                found: Json = answer[2]
                return found
            assert answer[2] == "InternalError", answer  # the only CALLERROR that is not this station's fault
            self.ledger.refused += 1
            await asyncio.sleep(RETRY_S)

    # --- the line ---

    async def _call(self, action: str, payload: Json) -> list[Any]:
        async with self._calling:
            await self._connected.wait()
            socket = self._socket
            assert socket is not None
            name = f"{self.name}-{next(self._ids)}"
            answer = self._answers[name] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(ANSWER_S):
                    await socket.send(json.dumps([2, name, action, payload]))
                    return await answer
            except ConnectionClosed as exc:
                self._connected.clear()  # before the reader has seen it: or a repeat would fail again at once, for ever
                raise LineLost from exc
            finally:
                self._answers.pop(name, None)
                if answer.done() and not answer.cancelled():
                    answer.exception()  # seen

    async def _stay_connected(self) -> None:
        while True:
            urls = self._urls()
            url = urls[self._attempt % len(urls)]
            try:
                async with connect(
                    f"{url}/{self.name}", subprotocols=[Subprotocol("ocpp1.6")], ping_interval=None
                ) as socket:
                    await self._serve(socket, url)
                self.ledger.disconnects += 1
            except (OSError, InvalidHandshake, TimeoutError, EOFError):
                pass  # nobody there yet, or 503
            self._attempt += 1  # the next time another bridge, if there is one
            await asyncio.sleep(RETRY_S)

    async def _serve(self, socket: ClientConnection, url: str) -> None:
        self._socket, self.at = socket, url
        hello = asyncio.create_task(self._hello())
        try:
            async for text in socket:
                frame = json.loads(text)
                if frame[0] == 2:
                    await socket.send(json.dumps([3, frame[1], self._obey(frame)]))
                elif (answer := self._answers.get(frame[1])) is not None and not answer.done():
                    answer.set_result(frame)
        except ConnectionClosed:
            pass
        finally:
            hello.cancel()
            self._connected.clear()
            self._socket, self.at = None, ""
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(LineLost())
            await asyncio.gather(hello, return_exceptions=True)

    async def _hello(self) -> None:
        self._connected.set()
        while not self._booted or self._boots_again:
            try:
                answer = await self._call("BootNotification", BOOT)
            except (LineLost, TimeoutError):
                continue
            if answer[0] == 3:
                self._booted = True
                return
            await asyncio.sleep(RETRY_S)

    def _obey(self, frame: list[Any]) -> Json:
        """The answer to a command; a remote start or stop begins at once."""
        _, command_id, action, payload = frame
        self.ledger.commands[command_id] += 1
        status = "Accepted"
        if action == "RemoteStartTransaction":
            if self._remote is not None and not self._remote.done():
                status = "Rejected"  # occupied; also by this very start, when it comes twice
            else:
                self._remote = asyncio.create_task(self._remote_session(payload["idTag"]))
        elif action == "RemoteStopTransaction":
            if payload["transactionId"] == self._remote_transaction:
                self._remote_stop.set()
            else:
                status = "Rejected"
        return {"status": status}


class Load:
    """Twenty stations, each on its way by itself. `async with Load(...) as load`: they run; leaving it ends them."""

    def __init__(
        self, prefix: str, count: int, urls: Callable[[], Sequence[str]], *, all_boot_again: bool = False
    ) -> None:
        """all_boot_again: after a reconnect every station boots; otherwise a quarter of them, and to the others no
        command goes for 10 s."""
        self.ledger = Ledger()
        self._progress = asyncio.Condition()
        self.stations = [
            LoadStation(n, f"{prefix}-{n:02d}", urls, self.ledger, boots_again=all_boot_again or n % 4 == 0)
            for n in range(1, count + 1)
        ]
        for station in self.stations:
            station.changed = self._notify
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def names(self) -> list[str]:
        return [station.name for station in self.stations]

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(station.run()) for station in self.stations]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def progress(self, sessions: int = 1, timeout_s: float = 60) -> None:
        """Wait until every station has begun and finished that many further sessions."""
        goals = {station.name: station.finished + sessions + 1 for station in self.stations}  # one was under way
        waiting = asyncio.create_task(self._reached(goals))
        await self._unless_broken(waiting, timeout_s)

    async def finish(self, timeout_s: float = 60) -> None:
        """Let every station finish what it has begun, and wait for it."""
        for station in self.stations:
            station.stop()
        await self._unless_broken(asyncio.gather(*self._tasks), timeout_s)

    async def _reached(self, goals: dict[str, int]) -> None:
        async with self._progress:
            await self._progress.wait_for(lambda: all(s.finished >= goals[s.name] for s in self.stations))

    async def _unless_broken(self, waiting: asyncio.Future[Any], timeout_s: float) -> None:
        """Wait; a station that breaks fails the test at once rather than by the time-out."""
        async with asyncio.timeout(timeout_s):
            await asyncio.wait({waiting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
            await waiting

    async def _notify(self) -> None:
        async with self._progress:
            self._progress.notify_all()
