"""Messages from the database: a notification on commit says where the row is, the row is fetched and handed on.

At most once, as the server: what is committed while nobody listens is never delivered, and no client gets a sign.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg

from .database import Database, DatabaseUnavailable, Message, connect
from .settings import RealtimeSettings

logger = logging.getLogger(__name__)

_CHANNEL = "realtime_messages"
_BATCH = 500  # rows of a burst fetched in one query
_MAX_WAITING = 200_000  # some 40 MB; the server's buffer is PostgreSQL's WAL


class Announced(NamedTuple):
    """A committed row; topic is None when it was too long for the notification."""

    id: UUID
    inserted_at: datetime
    private: bool
    topic: str | None

    @classmethod
    def parse(cls, payload: str) -> Announced:
        id_, inserted_at, access, *topic = payload.split(" ", 3)
        return cls(UUID(id_), datetime.fromisoformat(inserted_at), access == "private", topic[0] if topic else None)


class Listener:
    """Calls `deliver` for every committed row that `wanted` asks for, in the order of insertion."""

    def __init__(
        self,
        url: str,
        database: Database,
        settings: RealtimeSettings,
        wanted: Callable[[Announced], bool],
        deliver: Callable[[Message], None],
    ) -> None:
        self.ready = asyncio.Event()  # set while notifications arrive
        self._url = url
        self._database = database
        self._settings = settings
        self._wanted = wanted
        self._deliver = deliver
        self._waiting: deque[Announced] = deque()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when it listens, or after the first failed attempt; it goes on trying."""
        attempted = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen(attempted)), asyncio.create_task(self._hand_on())]
        await attempted.wait()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, attempted: asyncio.Event) -> None:
        failing = False
        while True:
            try:
                async with await connect(self._url, self._settings.database_timeout_s) as connection:
                    await connection.execute(f"listen {_CHANNEL}")
                    self.ready.set()
                    attempted.set()
                    if failing:
                        logger.warning("notifications from the database again")
                    failing = False
                    async for notification in connection.notifies():
                        self._take(notification.payload)
            except (psycopg.Error, OSError, TimeoutError) as exc:
                if not failing:  # once per outage
                    logger.warning("no notifications from the database: %s", str(exc).strip().partition("\n")[0])
                failing = True
            finally:
                self.ready.clear()
                attempted.set()
            await asyncio.sleep(self._settings.listener_retry_s)

    def _take(self, payload: str) -> None:
        try:
            announced = Announced.parse(payload)
        except ValueError:  # anybody may NOTIFY on this channel
            logger.warning("notification that is not a message's")
            return
        if len(self._waiting) >= _MAX_WAITING:
            logger.error("messages from the database dropped: they come faster than they can be delivered")
            self._waiting.clear()
        if self._wanted(announced):
            self._waiting.append(announced)
            self._wake.set()

    async def _hand_on(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
                try:
                    rows = await self._database.fetch([(place.id, place.inserted_at) for place in batch])
                except (DatabaseUnavailable, psycopg.Error) as exc:
                    logger.warning("messages lost", extra={"messages": len(batch), "error": str(exc).strip()})
                    continue
                for place in batch:
                    if row := rows.get(place.id):
                        self._deliver_one(row)

    def _deliver_one(self, row: Message) -> None:
        try:
            self._deliver(row)
        except Exception:  # a fault of ours must not end all delivery
            logger.exception("message of the database not delivered", extra={"message_id": str(row.id)})
