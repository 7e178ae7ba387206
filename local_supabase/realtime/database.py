"""What the stand-in asks the database, as supabase_admin: permissions of a token, messages, partitions."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, TypeVar
from uuid import UUID, uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from .settings import RealtimeSettings
from .tokens import Token

logger = logging.getLogger(__name__)

Connection = AsyncConnection[TupleRow]
T = TypeVar("T")


class DatabaseUnavailable(Exception):
    """No connection, or it broke under the question."""


@dataclass(frozen=True, slots=True)
class Message:
    """One row of realtime.messages; payload is its JSON text as PostgreSQL prints it."""

    id: UUID
    topic: str
    event: str | None
    private: bool
    payload: str | None
    binary_payload: bytes | None


_COLUMNS: LiteralString = (
    "m.id, m.topic, m.event, coalesce(m.private, false), "
    "case when octet_length(m.payload::text) <= %(max)s then m.payload::text end, "
    "case when octet_length(m.binary_payload) <= %(max)s then m.binary_payload end"
)


async def connect(url: str, timeout_s: float) -> Connection:
    """An autocommit connection in UTC; raises psycopg.Error or TimeoutError."""
    async with asyncio.timeout(timeout_s):
        return await AsyncConnection.connect(
            url, autocommit=True, application_name="realtime", options="-c timezone=UTC -c jit=off"
        )


class Database:
    """A few connections, opened when needed. An outage is reported at once and over as soon as PostgreSQL is back."""

    def __init__(self, url: str, settings: RealtimeSettings, size: int = 3) -> None:
        self._url = url
        self._settings = settings
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(size)
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def may_read(self, topic: str, token: Token, headers: dict[str, str], extensions: Sequence[str]) -> set[str]:
        """The extensions (broadcast, presence) of which the token may read messages on the topic, by RLS.

        Raises DatabaseUnavailable.
        """
        probes = {uuid4(): extension for extension in extensions}

        async def ask(connection: Connection) -> set[str]:
            try:
                async with connection.transaction(force_rollback=True):
                    for id_, extension in probes.items():
                        await connection.execute(
                            "insert into realtime.messages (id, topic, extension) values (%s, %s, %s)",
                            (id_, topic, extension),
                        )
                    await self._become(connection, topic, token, headers)
                    rows = await connection.execute(
                        "select id from realtime.messages where id = any(%s) and inserted_at = now()::timestamp",
                        (list(probes),),
                    )
                    return {probes[row[0]] for row in await rows.fetchall()}
            except psycopg.Error as exc:
                return self._refused(connection, exc, topic)

        return await self._run(ask)

    async def may_write(self, topic: str, token: Token, headers: dict[str, str], extension: str) -> bool:
        """Whether RLS lets the token insert a message of this extension on the topic. Raises DatabaseUnavailable."""

        async def ask(connection: Connection) -> set[str]:
            try:
                async with connection.transaction(force_rollback=True):
                    await self._become(connection, topic, token, headers)
                    await connection.execute(
                        "insert into realtime.messages (topic, extension) values (%s, %s)", (topic, extension)
                    )
                    return {extension}
            except psycopg.Error as exc:
                return self._refused(connection, exc, topic)

        return bool(await self._run(ask))

    async def fetch(self, places: Sequence[tuple[UUID, datetime]]) -> dict[UUID, Message]:
        """Rows by id; one that was deleted meanwhile is missing. Raises DatabaseUnavailable."""

        async def ask(connection: Connection) -> dict[UUID, Message]:
            # lateral with limit: one look-up in one partition per row, whatever the planner thinks of the table's size
            rows = await connection.execute(
                "select r.* from unnest(%(ids)s::uuid[], %(at)s::timestamp[]) as p(id, inserted_at), lateral ("
                f"select {_COLUMNS} from realtime.messages as m "
                "where m.id = p.id and m.inserted_at = p.inserted_at limit 1) as r",
                {
                    "ids": [place[0] for place in places],
                    "at": [place[1] for place in places],
                    "max": self._settings.max_payload_bytes,
                },
                binary=True,
            )
            return {row[0]: Message(*row) for row in await rows.fetchall()}

        return await self._run(ask)

    async def replay(self, topic: str, since: datetime, limit: int) -> list[Message]:
        """The newest private broadcasts on the topic since then (naive UTC), oldest first."""

        async def ask(connection: Connection) -> list[Message]:
            rows = await connection.execute(
                f"select {_COLUMNS} from realtime.messages as m where m.topic = %(topic)s and m.private "
                "and m.extension = 'broadcast' and m.inserted_at >= %(since)s "
                "order by m.inserted_at desc limit %(limit)s",
                {"topic": topic, "since": since, "limit": limit, "max": self._settings.max_payload_bytes},
            )
            return [Message(*row) for row in reversed(await rows.fetchall())]

        return await self._run(ask)

    async def maintain_partitions(self) -> None:
        """Partitions for the next days, none beyond the retention. Raises DatabaseUnavailable, psycopg.Error."""

        async def ask(connection: Connection) -> None:
            await connection.execute(
                "select _realtime.maintain_partitions(%s, %s)",
                (self._settings.retention_days, self._settings.partitions_ahead_days),
            )

        await self._run(ask)

    @staticmethod
    async def _become(connection: Connection, topic: str, token: Token, headers: dict[str, str]) -> None:
        """Role and settings as policies see them (supabase/realtime, authorization.ex), until the transaction ends."""
        await connection.execute(
            "select set_config('role', %s, true), set_config('realtime.topic', %s, true), "
            "set_config('request.jwt.claims', %s, true), set_config('request.jwt.claim.sub', %s, true), "
            "set_config('request.jwt.claim.role', %s, true), set_config('request.headers', %s, true)",
            (
                token.role,
                topic,
                token.claims_json,
                str(token.claims.get("sub") or ""),
                token.role,
                json.dumps(headers),
            ),
        )

    @staticmethod
    def _refused(connection: Connection, exc: psycopg.Error, topic: str) -> set[str]:
        """A role that does not exist, a policy that raises, a missing partition: all of it means no."""
        if connection.broken or connection.closed:
            raise exc
        if not isinstance(exc, psycopg.errors.InsufficientPrivilege):
            logger.warning("authorization of a topic failed", extra={"topic": topic, "error": str(exc)})
        return set()

    async def _run(self, ask: Callable[[Connection], Awaitable[T]]) -> T:
        """Answer a question. Each may be asked twice: an idle connection can be dead since PostgreSQL restarted."""
        async with self._slots:
            while True:
                reused = bool(self._idle)
                connection = self._idle.pop() if reused else await self._connect()
                try:
                    async with asyncio.timeout(self._settings.database_timeout_s):
                        answer = await ask(connection)
                except BaseException as exc:
                    lost = connection.broken or connection.closed or isinstance(exc, TimeoutError)
                    if lost or not isinstance(exc, psycopg.Error):
                        await connection.close()  # also after a cancel: the state of the connection is unknown
                    else:
                        await self._give_back(connection)
                    if not lost:
                        raise
                    if not reused:
                        raise DatabaseUnavailable(str(exc)) from exc
                else:
                    await self._give_back(connection)
                    return answer

    async def _give_back(self, connection: Connection) -> None:
        if self._closed:
            await connection.close()
        else:
            self._idle.append(connection)

    async def _connect(self) -> Connection:
        try:
            return await connect(self._url, self._settings.database_timeout_s)
        except (psycopg.Error, OSError, TimeoutError) as exc:
            raise DatabaseUnavailable(str(exc)) from exc
