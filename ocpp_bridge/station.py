"""One connected station: its socket, its tasks, and the call that waits for an answer.

The reader never waits for anything but the socket. A CALL of the station goes to an ordered worker, an answer of the
station resolves the call that waits for it at once, so CALLs of both directions may cross (OCPP-J §4.1.1).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConcurrencyError, ConnectionClosed

from . import events, ocppj
from .errors import ConnectionGone, NotStored
from .ingest import Ingest
from .logs import RECORD_FIELDS, Throttle
from .metrics import Metrics
from .settings import Settings

log = logging.getLogger(__name__)

# Field notes 5: off-line only after three missed heartbeats.
MISSED_HEARTBEATS = 3
# Two calls in a row without an answer while other frames arrive: alive but deaf, cured by a reconnect (ibid.).
DEAF_AFTER_CALLS = 2
# Close codes that say the connection broke on what was sent over it (RFC 6455 §7.4.1).
_FAILED = frozenset({1002, 1003, 1007, 1008, 1009, 1011})
# How many calls that timed out are remembered for their late answers.
LATE_CALLS = 32


class Socket(ServerConnection):
    """A server-side connection that knows when it last heard anything: a message, a ping, a pong, a fragment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_life = time.monotonic()

    def process_event(self, event: Any) -> None:
        super().process_event(event)
        self.last_life = time.monotonic()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the database says of a station when it connects; see docs of ocpp_ingest, kind connect."""

    strict: bool = False
    ping_interval_s: float | None = None
    ping_timeout_s: float | None = None
    allow_no_subprotocol: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call: outcome is result (payload set), error (error set) or timeout.

    received_at is the frame's, for what the station does next may be received before the answer is stored.
    """

    outcome: str
    payload: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    received_at: str = field(default_factory=events.now)


def refused(code: str, description: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """An error as answer events carry it."""
    return {"code": code, "description": description, "details": details or {}}


LateAnswer = Callable[["Station", str, Answer], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all stations of a bridge share."""

    settings: Settings
    ingest: Ingest
    metrics: Metrics
    throttle: Throttle
    wake_commands: Callable[[], None]
    late_answer: LateAnswer
    may_force_reconnect: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A CALL waiting for the worker. `since` is monotonic."""

    message: ocppj.Call
    received_at: str
    since: float


@dataclass(frozen=True, slots=True)
class _Note:
    """An anomaly on its way to the database, in the station's queue like everything else."""

    event: events.Event


_Queued = _Pending | _Note | str | None


class Station:
    """Runs one connection. Every clean-up names this connection and leaves the one that replaced it alone."""

    def __init__(
        self, station_id: str, connection_id: str, socket: Socket, policy: Policy, around: Surroundings
    ) -> None:
        self.id = station_id
        self.connection_id = connection_id
        self.socket = socket
        self.policy = policy
        self.around = around
        self.connected_at = time.monotonic()
        self.last_message_at = events.now()
        self.answered_since_connect = False
        self._schemas = ocppj.schemas()
        self._log = logging.getLogger(f"ChargePoint.{station_id}")
        self._heartbeat_s = float(around.settings.heartbeat_interval)
        self._inbox: asyncio.Queue[_Queued] = asyncio.Queue()  # bounded by _accept and _reply
        self._under_way: dict[str, list[ocppj.Call]] = {}
        self._calling = asyncio.Lock()
        self._waiting: tuple[str, asyncio.Future[Answer]] | None = None
        self._late: OrderedDict[str, None] = OrderedDict()
        self._unanswered = 0
        self._frames = 0
        self._closing: asyncio.Task[None] | None = None
        self._close_reason = ""

    async def run(self) -> None:
        """Serve the connection until it is closed by either side and what had arrived is dealt with."""
        worker = asyncio.create_task(self._work())
        keep_alive = asyncio.create_task(self._keep_alive())
        try:
            async for frame in self.socket:
                self._receive(frame)
        except ConnectionClosed:
            pass  # logged below, by its code
        finally:
            if self._waiting is not None and not self._waiting[1].done():
                self._waiting[1].set_exception(ConnectionGone("the connection ended before the station answered"))
            keep_alive.cancel()
            self._inbox.put_nowait(None)
            # What had arrived is stored although nobody waits for the answer; the station will repeat it anyhow.
            for failure in await asyncio.gather(keep_alive, worker, return_exceptions=True):
                if isinstance(failure, Exception):
                    log.error("Task of a connection broke", exc_info=failure, extra={"station_id": self.id})
            if self._closing is not None:
                await self._closing

    async def farewell(self) -> None:
        """Log the end of the connection and tell the database; returns when that is stored or the bridge stops."""
        code, reason = self._end()
        self.around.metrics.disconnects.labels(code=str(code)).inc()
        log.log(
            logging.WARNING if code in _FAILED else logging.INFO,
            "Station disconnected",
            extra={
                "station_id": self.id,
                "connection_id": self.connection_id,
                "code": code,
                "reason": reason or None,
                "connected_s": round(time.monotonic() - self.connected_at),
            },
        )
        try:
            await self.around.ingest.deliver(events.disconnect(self.id, self.connection_id, code, reason))
        except NotStored:  # shutting down without Supabase: the lease runs out and says the same
            log.warning("Disconnect not stored", extra={"station_id": self.id, "connection_id": self.connection_id})

    def _end(self) -> tuple[int, str]:
        """Code and reason of the close. One that we sent counts where the station only hung up on it."""
        protocol = self.socket.protocol
        close = protocol.close_rcvd or protocol.close_sent
        code = 1006 if close is None else int(close.code)
        return code, self._close_reason or (close.reason if close is not None else "")

    def close(self, code: int, reason: str) -> None:
        """Begin to close the socket; run() ends when it is done. Safe to repeat."""
        if self._closing is None:
            self._close_reason = reason
            self._closing = asyncio.create_task(self.socket.close(code, reason))

    async def drained(self) -> None:
        """Wait until the CALLs that had arrived are answered."""
        await self._inbox.join()

    # --- frames of the station ---

    def _receive(self, frame: str | bytes) -> None:
        self.last_message_at = received_at = events.now()
        self._frames += 1
        if isinstance(frame, bytes):
            try:
                text = frame.decode()
            except UnicodeDecodeError:
                self._refuse(ocppj.BadFrame(ocppj.FORMATION_VIOLATION, "a binary frame"), repr(frame[:1000]))
                return
            self._anomaly("BinaryFrame", "a binary frame, read as text", text)
        else:
            text = frame
        if not text.strip():  # some stations do so to keep the line open
            self._anomaly("EmptyFrame", "an empty frame", text)
            return
        try:
            message = ocppj.parse(text)
        except ocppj.BadFrame as bad:
            self._refuse(bad, text)
            return
        if isinstance(message, ocppj.Call):
            self._accept(message, received_at)
        elif message is None:
            self._anomaly("UnknownMessageType", "an unknown message type, ignored", text)
        else:
            self._resolve(message, text)

    def _accept(self, message: ocppj.Call, received_at: str) -> None:
        """Queue a CALL. A repeat of one that is under way shares its answer."""
        twins = self._under_way.get(message.message_id)
        if twins is not None and twins[0].text == message.text:
            if len(twins) < self.around.settings.max_queued_calls:
                twins.append(message)
            return
        if self._inbox.qsize() >= self.around.settings.max_queued_calls:
            self._anomaly("TooManyCalls", "more CALLs at once than the bridge queues", message.text)
            self._reply(self._error(message.echo, ocppj.INTERNAL_ERROR, "too many CALLs at once"))
            return
        if twins is None:
            self._under_way[message.message_id] = [message]
        self._inbox.put_nowait(_Pending(message, received_at, time.monotonic()))

    def _reply(self, frame: str) -> None:
        """Queue an answer behind those that come before it; a station that floods the bridge gets none."""
        if self._inbox.qsize() < 2 * self.around.settings.max_queued_calls:
            self._inbox.put_nowait(frame)

    def _refuse(self, bad: ocppj.BadFrame, text: str) -> None:
        """A frame that cannot be used: note it, and answer it unless it was an answer itself."""
        self._anomaly(bad.code, bad.description, text)
        if bad.answer:
            self._reply(self._error(bad.message_id, bad.code, bad.description))
        elif self._waiting is not None and self._waiting[0] == bad.message_id and not self._waiting[1].done():
            self._waiting[1].set_result(Answer("error", error=refused(bad.code, bad.description)))

    def _resolve(self, message: ocppj.CallResult | ocppj.CallError, text: str) -> None:
        """Hand an answer to the call that waits for it; a late one to the command it belongs to."""
        if isinstance(message, ocppj.CallResult):
            answer = Answer("result", payload=message.payload)
        else:
            answer = Answer("error", error=refused(message.code, message.description, message.details))
        waiting = self._waiting
        # A station that could not read our CALL does not know its id; there is only the one it can mean.
        meant = message.message_id in ("-1", "", "None") and isinstance(message, ocppj.CallError)
        if waiting is not None and (message.message_id == waiting[0] or meant):
            if not waiting[1].done():
                waiting[1].set_result(answer)
        elif message.message_id in self._late:
            del self._late[message.message_id]
            self._unanswered = 0
            self.around.late_answer(self, message.message_id, answer)
        else:
            self._anomaly("UnexpectedAnswer", "an answer to nothing that was asked", text)

    def _anomaly(self, code: str, description: str, frame: str) -> None:
        """Note an unusable frame: a line in the log and a row in the database, both rate-limited per station."""
        self.around.metrics.anomalies.labels(code=code).inc()
        swallowed = self.around.throttle.allow(f"{self.id}\n{code}")
        if swallowed is None:
            return
        log.warning(
            "Unusable frame",
            extra={
                "station_id": self.id,
                "code": code,
                "description": description[:200],
                "bytes": len(frame),
                "more_before": swallowed or None,
            },
        )
        event = events.anomaly(self.id, self.connection_id, code, description, frame)
        self._inbox.put_nowait(_Note(event))

    # --- the worker ---

    async def _work(self) -> None:
        """Answer the station's CALLs, one after the other, in the order in which they came."""
        while True:
            item = await self._inbox.get()
            try:
                if item is None:
                    return
                if isinstance(item, str):
                    await self._send(item)
                elif isinstance(item, _Note):
                    await self._store_note(item.event)
                else:
                    await self._serve(item.message, item.received_at)
                    self.around.metrics.answer_s.observe(time.monotonic() - item.since)
            except Exception:
                # A bug must not leave the station without its worker; the station repeats what was not answered.
                log.exception("Answering a CALL broke", extra={"station_id": self.id})
            finally:
                self._inbox.task_done()

    async def _serve(self, message: ocppj.Call, received_at: str) -> None:
        twins = self._under_way.get(message.message_id, [message])
        try:
            reply = await self.answer(message, received_at)
        finally:
            if twins[0] is message:
                self._under_way.pop(message.message_id, None)
        for _ in twins if twins[0] is message else [message]:
            await self._send(reply)

    async def answer(self, message: ocppj.Call, received_at: str) -> str:
        """Store one CALL of the station and return the frame that answers it.

        A CALLRESULT only ever follows a commit. CALLERROR InternalError means: not stored, send it again (§3.7.1).
        """
        action = message.action
        self.around.metrics.messages.labels(action=action if action in self._schemas.actions else "other").inc()
        refusal = self._schemas.refusal(action)
        if refusal is not None:
            self._anomaly(refusal[0], refusal[1], message.text)
            return self._error(message.echo, *refusal)
        violations = self._schemas.check(action, message.payload)
        if violations or message.violations:
            message.violations = violations = (message.violations + violations)[: ocppj.MAX_VIOLATIONS]
            if self.policy.strict:
                first = violations[0]
                self._anomaly(first["code"], f"{action} {first['path']}: {first['message']}", message.text)
                return self._error(message.echo, first["code"], f"{first['path']}: {first['message']}")
        event = events.call(self.id, self.connection_id, received_at, message)
        try:
            reply = await self.around.ingest.submit(event, len(message.text) + 200)
        except NotStored as exc:
            log.warning(
                "Message not stored, the station has to repeat it",
                extra={"station_id": self.id, "action": action, "message_id": message.message_id, "error": str(exc)},
            )
            return self._error(message.echo, ocppj.INTERNAL_ERROR, "not stored, send it again")
        if (line := reply.get("log")) is not None:
            self._log_line(line)
        if reply.get("more"):
            self.around.wake_commands()
        result = reply.get("result")
        if isinstance(result, dict):
            if action == "BootNotification":
                self._note_boot(result)
            return ocppj.pack_result(message.echo, result)
        error = reply.get("error")
        if not isinstance(error, dict):
            log.error("ocpp_ingest gave neither result nor error", extra={"station_id": self.id, "action": action})
            error = {}
        details = error.get("details")
        return self._error(
            message.echo,
            str(error.get("code") or ocppj.INTERNAL_ERROR),
            str(error.get("description") or ""),
            details if isinstance(details, dict) else None,
        )

    async def _store_note(self, event: events.Event) -> None:
        try:
            await self.around.ingest.submit(event, len(event["frame"]) + 300)
        except NotStored as exc:  # it is in the log; the row is a convenience
            log.debug("Anomaly not stored", extra={"station_id": self.id, "error": str(exc)})

    def _note_boot(self, result: dict[str, Any]) -> None:
        interval = result.get("interval")
        if result.get("status") == "Accepted" and isinstance(interval, int) and interval > 0:
            self._heartbeat_s = float(interval)

    def _log_line(self, line: Any) -> None:
        if isinstance(line, dict) and isinstance(line.get("message"), str):
            level = logging.getLevelNamesMapping().get(str(line.get("level", "INFO")).upper(), logging.INFO)
            extra = line.get("extra") if isinstance(line.get("extra"), dict) else {}
            safe = {key: value for key, value in (extra or {}).items() if key not in RECORD_FIELDS}
            self._log.log(level, "%.300s", line["message"], extra={**safe, "station_id": self.id})

    def _error(self, echo: Any, code: str, description: str, details: dict[str, Any] | None = None) -> str:
        self.around.metrics.errors.labels(code=code).inc()
        return ocppj.pack_error(echo, code, description, details)

    async def _send(self, frame: str) -> None:
        """Send, unless the socket is closed. A station that does not read is cut off."""
        try:
            async with asyncio.timeout(self.around.settings.call_timeout):
                await self.socket.send(frame)
        except ConnectionClosed:
            pass  # the station will ask again on its next connection
        except TimeoutError:
            log.warning("Station does not read, cut off", extra={"station_id": self.id})
            self.socket.transport.abort()

    # --- calls to the station ---

    async def call(self, message_id: str, action: str, payload: dict[str, Any], timeout_s: float) -> Answer:
        """Send a CALL and return what became of it. One is outstanding at a time, further callers wait (§4.1.1).

        Raises ConnectionGone when the socket is closed, or closes before the answer.
        """
        async with self._calling:
            waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            if self.socket.state.name != "OPEN":
                raise ConnectionGone("the station is not connected any more")
            self._waiting = (message_id, waiting)
            frames_before = self._frames
            started = time.monotonic()
            try:
                async with asyncio.timeout(timeout_s):
                    try:
                        await self.socket.send(ocppj.pack_call(message_id, action, payload))
                    except ConnectionClosed as exc:
                        raise ConnectionGone("the connection closed while the call was sent") from exc
                    answer = await waiting
            except TimeoutError:
                self._late[message_id] = None
                while len(self._late) > LATE_CALLS:
                    self._late.popitem(last=False)
                self._unanswered += 1
                self._suspect_deafness(self._frames > frames_before)
                return Answer("timeout")
            finally:
                if waiting.done() and not waiting.cancelled():
                    waiting.exception()  # seen, also where sending failed first
                self._waiting = None
            self._unanswered = 0
            self.answered_since_connect = True
            self.around.metrics.call_s.observe(time.monotonic() - started)
            return answer

    def _suspect_deafness(self, frames_arrive: bool) -> None:
        if self._unanswered < DEAF_AFTER_CALLS or not frames_arrive:
            return
        if self.around.may_force_reconnect(self.id):
            log.warning("Station answers no calls although it sends, reconnect forced", extra={"station_id": self.id})
            self.close(1000, "calls are not answered, please reconnect")

    # --- signs of life ---

    async def _keep_alive(self) -> None:
        """Ping the station, and close a connection that shows no life any more.

        Any frame counts as life. The ping time-out holds only for stations that have answered a ping on this
        connection: some never do (field notes 5), and those are given three heartbeat intervals.
        """
        interval = self.policy.ping_interval_s
        for number in itertools.count():
            await asyncio.sleep(interval or self._heartbeat_s)
            if time.monotonic() - self.socket.last_life > MISSED_HEARTBEATS * self._heartbeat_s:
                log.warning("Station silent for three heartbeats, closed", extra={"station_id": self.id})
                self.close(1001, "no sign of life")
                return
            if interval is None:
                continue
            data = str(number).encode()
            pinged_at = time.monotonic()
            try:
                pong = asyncio.ensure_future(await self.socket.ping(data))
            except (ConnectionClosed, ConcurrencyError):
                return
            await asyncio.wait({pong}, timeout=self.policy.ping_timeout_s or interval)
            if pong.done():  # or the connection is, and this task about to be cancelled
                continue
            self.socket.pong_waiters.pop(data, None)  # or one would gather per ping to a station that never answers
            pong.cancel()
            has_ponged = self.socket.latency > 0  # measured by websockets with the first pong
            if has_ponged and self.policy.ping_timeout_s is not None and self.socket.last_life < pinged_at:
                log.warning("Station answers no ping, closed", extra={"station_id": self.id})
                self.close(1001, "no pong")
                return
