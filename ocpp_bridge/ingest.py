"""Gathers the events of all stations into few requests.

An idle bridge sends an event at once; while a request is under way the next events gather, and go when it ends, when
they fill a request, or when the one under way takes long. After a request with many events it waits a few milliseconds
for the stations that it answered. So no timer delays an idle bridge, and the busier it is the larger its batches. Under
load a request takes half of what is on its way, so that two of them overlap: the bridge works while the database does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .errors import BridgeError, NotStored, SupabaseError, SupabaseUnavailable
from .events import Event, Reply
from .metrics import Metrics
from .settings import Settings

log = logging.getLogger(__name__)

# Pauses between repeats of a request; the last one is repeated while the retry window lasts.
_RETRY_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
_BUSY = 8  # events in a request from which on the bridge is under load
_WORTH_A_REQUEST = 16  # events; of fewer the cost of a request of their own is more than two at once save
# Pauses of deliver(), whose events nobody else will repeat.
_DELIVER_PAUSES_S = (1.0, 2.0, 5.0, 10.0)


class IngestsEvents(Protocol):
    """What the ingest needs of Supabase."""

    async def ingest(self, events: Sequence[Event]) -> list[Reply]:
        """Store events in one request; replies are aligned with events. Safe to repeat."""


@dataclass(slots=True, eq=False)
class _Item:
    """An event that waits for its reply. Size in bytes; submitted_at is monotonic."""

    event: Event
    size: int
    future: asyncio.Future[Reply]
    submitted_at: float


class Ingest:
    """Owns the events that wait and the requests under way."""

    def __init__(self, supabase: IngestsEvents, settings: Settings, metrics: Metrics) -> None:
        self._supabase = supabase
        self._settings = settings
        self._metrics = metrics
        self._pending: deque[_Item] = deque()
        self._busy: set[str] = set()  # stations with an event in a request under way
        self._requests: set[asyncio.Task[None]] = set()
        self._last_started = self._last_ended = 0.0
        self._expected = 0  # under load: how many events will be on their way once the stations answered have gone on
        self._timer: asyncio.TimerHandle | None = None
        self._down = False
        self._closed = False

    async def submit(self, event: Event, size: int = 300) -> Reply:
        """Store an event and return the database's reply; events of one station are stored in the order submitted.

        `size` is about how many bytes it takes. Raises NotStored when Supabase stays away for longer than the retry
        window, refuses the event, or too much is waiting already.
        """
        if self._closed or len(self._pending) >= self._settings.ingest_queue:
            raise NotStored("the bridge is shutting down" if self._closed else "too many events are waiting")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending.append(_Item(event, size, future, time.monotonic()))
        self._send()
        return await future

    async def deliver(self, event: Event) -> Reply:
        """Like submit(), for events that nobody will repeat: goes on until it is stored or the caller is cancelled."""
        attempt = 0
        while True:
            try:
                return await self.submit(event)
            except NotStored:
                if self._closed:
                    raise
            await asyncio.sleep(_DELIVER_PAUSES_S[min(attempt, len(_DELIVER_PAUSES_S) - 1)])
            attempt += 1

    async def close(self) -> None:
        """Refuse further events and wait until the requests under way have ended."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for item in self._pending:
            _fail(item, NotStored("the bridge is shutting down"))
        self._pending.clear()
        while self._requests:
            await asyncio.wait(set(self._requests))

    @property
    def _full(self) -> int:
        """How many events make a request that waits for no more."""
        half = (self._expected + 1) // 2
        return (
            min(half, self._settings.ingest_batch_size)
            if half >= _WORTH_A_REQUEST
            else self._settings.ingest_batch_size
        )

    def _send(self) -> None:
        """Start as many requests as there may be."""
        # While Supabase is away one request at a time is enough to find out when it is back.
        limit = 1 if self._down else self._settings.ingest_in_flight
        while self._pending and len(self._requests) < limit:
            if (wait := self._wait_s()) > 0:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = asyncio.get_running_loop().call_later(wait, self._timed)
                break
            batch = self._take()
            if not batch:
                break
            self._last_started = time.monotonic()
            task = asyncio.create_task(self._request(batch))
            self._requests.add(task)
            task.add_done_callback(self._finished)
        self._metrics.queue.set(len(self._pending))

    def _wait_s(self) -> float:
        """How long the next request had better wait for more events, seconds; 0 or less: not at all."""
        if len(self._pending) >= self._full:
            return 0
        if self._requests:
            # A near database answers in less than the spacing: then one full request at a time costs everybody the
            # least. Towards a far one requests overlap, and the wait for it is not added up.
            return self._last_started + self._settings.ingest_spacing - time.monotonic()
        if len(self._pending) < self._expected:
            # Under load the stations just answered send their next message at once. Without this the first of them
            # would go alone and the others wait for it: two requests where one does, 1.7 times the messages a second.
            return self._last_ended + self._settings.ingest_linger - time.monotonic()
        return 0

    def _timed(self) -> None:
        self._timer = None
        self._send()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        self._last_ended = time.monotonic()
        if not task.cancelled() and task.exception() is not None:  # a bug; its futures were failed by _request
            log.error("Ingest request broke", exc_info=task.exception())
        if not self._closed:
            self._send()

    def _take(self) -> list[_Item]:
        """The next batch. A station whose event is under way waits, so that its events cannot overtake each other."""
        batch: list[_Item] = []
        waiting: list[_Item] = []
        passed_over: set[str] = set()
        size = 0
        full = self._full
        while self._pending and len(batch) < full:
            item = self._pending.popleft()
            if item.future.done():  # its submitter was cancelled
                continue
            station = _order_key(item.event)
            if station in self._busy or station in passed_over:
                waiting.append(item)
                passed_over.add(station)
                continue
            if batch and size + item.size > self._settings.ingest_batch_bytes:
                waiting.append(item)
                break
            batch.append(item)
            size += item.size
        self._pending.extendleft(reversed(waiting))
        self._busy.update(_order_key(item.event) for item in batch)
        return batch

    async def _request(self, batch: list[_Item]) -> None:
        try:
            await self._store(batch)
        finally:
            self._busy.difference_update(_order_key(item.event) for item in batch)
            for item in batch:
                _fail(item, NotStored("the request was given up"))

    async def _store(self, batch: list[_Item]) -> None:
        """Store a batch, repeating it while Supabase is away; one that is refused as a whole is halved until the
        guilty event stands alone."""
        attempt = 0
        while True:
            started = time.monotonic()
            try:
                replies = await self._supabase.ingest([item.event for item in batch])
            except SupabaseUnavailable as exc:
                self._metrics.ingest_failures.labels(error="unavailable").inc()
                pause = _RETRY_PAUSES_S[min(attempt, len(_RETRY_PAUSES_S) - 1)]
                deadline = min(item.submitted_at for item in batch) + self._settings.ingest_retry_window
                if not self._down:
                    self._down = True
                    log.warning("Supabase is away, events wait", extra={"error": str(exc), "events": len(batch)})
                if self._closed or time.monotonic() + pause > deadline:
                    self._give_up(batch, exc)
                    return
                await asyncio.sleep(pause)
                attempt += 1
            except SupabaseError as exc:
                self._metrics.ingest_failures.labels(error="refused").inc()
                if len(batch) == 1:
                    event = batch[0].event
                    log.error(
                        "Event refused by the database",
                        extra={"station_id": event["station_id"], "kind": event["kind"], "error": str(exc)},
                    )
                    _fail(batch[0], NotStored("the database refused the message"))
                    return
                middle = len(batch) // 2
                await self._store(batch[:middle])
                await self._store(batch[middle:])
                return
            except BridgeError as exc:  # SupabaseRejected: the bridge's account may not write at all
                self._metrics.ingest_failures.labels(error="rejected").inc()
                log.error("Supabase rejects the bridge", extra={"error": str(exc), "events": len(batch)})
                self._give_up(batch, exc)
                return
            else:
                self._metrics.batch_s.observe(time.monotonic() - started)
                self._metrics.batch_events.observe(len(batch))
                if self._down:
                    self._down = False
                    log.info("Supabase is back")
                # Those that wait, those of other requests, and the next of each station answered now.
                self._expected = len(self._pending) + len(self._busy) if len(batch) >= _BUSY else 0
                for item, reply in zip(batch, replies, strict=True):
                    if not item.future.done():
                        item.future.set_result(reply)
                return

    def _give_up(self, batch: list[_Item], reason: BridgeError) -> None:
        """Fail a batch and whatever has waited as long as it, so that stations learn it before their own time-out."""
        for item in batch:
            _fail(item, NotStored(str(reason)))
        too_old = time.monotonic() - self._settings.ingest_retry_window
        while self._pending and self._pending[0].submitted_at <= too_old:
            _fail(self._pending.popleft(), NotStored(str(reason)))


def _order_key(event: Event) -> str:
    """Events with the same key keep their order. Ids differ in case only by a station's mood (see server.py)."""
    key: str = event["station_id"]
    return key.lower()


def _fail(item: _Item, reason: NotStored) -> None:
    if not item.future.done():
        item.future.set_exception(reason)
