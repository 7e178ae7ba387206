"""Operators and drivers who go on pressing buttons while things break."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Row = dict[str, Any]
DRIVER = {"role": "authenticated", "sub": "a0000000-0000-4000-8000-000000000001", "aud": "authenticated"}
OPERATOR = {"role": "service_role"}
PACE_S = 0.1
# That one cannot be sent is learnt within the test.
EXPIRES_IN = "15 s"


class People:
    """Send commands that may be repeated and commands that may not, and start and stop charges, to random stations.

    They call the functions in the database itself, because the API may be the part that is away.
    """

    def __init__(self, db_url: str, stations: Sequence[str], seed: int) -> None:
        self._db_url = db_url
        self._stations = stations
        self._dice = random.Random(seed)
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.commands: list[UUID] = []  # those whose sender was told their id
        self.charges: list[UUID] = []
        self.refused = 0

    async def __aenter__(self) -> People:
        self._task = asyncio.create_task(self._press_buttons())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()

    async def finish(self, timeout_s: float = 120) -> None:
        """Start no more, stop the charges that run, and wait until every command and every charge has ended.

        A start that no station carries out ends when its command expires, after 60 s. Who sees that a charge goes on
        presses stop again: the command of the first time may have been lost with the line.
        """
        assert self._task is not None
        self._stopping = True
        async with asyncio.timeout(timeout_s):
            await self._task
            while True:
                await self._stop_charges(minimum_s=0, again=True)
                left = await self._ask(
                    OPERATOR,
                    "select action, status::text from commands"
                    " where status in ('queued', 'sent') and station_id = any (%s)"
                    " union all select 'charge', status::text from charging_sessions"
                    " where status in ('pending', 'started') and id = any (%s)",
                    list(self._stations),
                    self.charges,
                )
                if not left:
                    return
                await asyncio.sleep(PACE_S)

    async def _press_buttons(self) -> None:
        while not self._stopping:
            try:
                await self._press_one()
                await self._stop_charges(minimum_s=1, again=False)
            except psycopg.OperationalError:  # also: the database starts up, or shuts down
                if self._connection is not None:
                    await self._connection.close()
                self._connection = None
            await asyncio.sleep(PACE_S)

    async def _press_one(self) -> None:
        station = self._dice.choice(self._stations)
        kind = self._dice.choice(["DataTransfer", "DataTransfer", "ClearCache", "charge"])
        if kind == "charge":
            try:
                (session,) = await self._ask(DRIVER, "select id from start_charge(%s, 2)", station)
            except psycopg.DatabaseError as exc:
                if exc.sqlstate != "PGRST" or json.loads(str(exc.diag.message_primary))["code"] not in (
                    "OCBSY",
                    "OCOFF",
                ):
                    raise
                self.refused += 1
            else:
                self.charges.append(session["id"])
        else:
            payload = Jsonb({"vendorId": "org.example"} if kind == "DataTransfer" else {})
            (command,) = await self._ask(
                OPERATOR, "select id from send_command(%s, %s, %s, %s)", station, kind, payload, EXPIRES_IN
            )
            self.commands.append(command["id"])

    async def _stop_charges(self, minimum_s: float, again: bool) -> None:
        """Stop those that have run for that long; `again`: also those that were told to."""
        await self._ask(
            DRIVER,
            "select stop_charge(id) from charging_sessions where id = any (%s) and status = 'started'"
            " and (stop_requested_at is null or %s) and start_time < now() - make_interval(secs => %s)",
            self.charges,
            again,
            minimum_s,
        )

    async def _ask(self, claims: Row, query: str, *values: object) -> list[Row]:
        """Run a statement as PostgREST would for a caller with these claims."""
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._db_url, autocommit=True, row_factory=dict_row
            )
        async with self._connection.transaction():
            await self._connection.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
                [json.dumps(claims), claims["role"]],
            )
            return await (await self._connection.execute(query, values)).fetchall()  # type: ignore[arg-type]
