"""A Supabase in memory, for faults that the real one cannot be made to show at will and for tests of single parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ocpp_bridge.errors import RealtimeUnavailable, SupabaseUnavailable

Reply = dict[str, Any]
Event = dict[str, Any]


class FakeTopic:
    """A Realtime topic that is joined at once, and lost when the test says so."""

    def __init__(self, owner: FakeSupabase) -> None:
        self._owner = owner
        self.lost = asyncio.Event()
        self.why_lost = ""
        self.tokens: list[str] = []
        self.carried = asyncio.Event()  # set with the first of them
        self.alive = True
        self.closed = False
        self.send: Callable[[str, dict[str, Any]], None] = lambda event, payload: None

    async def join(self, on_message: Callable[[str, dict[str, Any]], None]) -> None:
        if self._owner.realtime_down:
            raise RealtimeUnavailable("down")
        self.send = on_message
        self._owner.topics.append(self)
        self._owner.joined.set()

    async def answers(self) -> bool:
        return self.alive

    async def set_auth(self, token: str) -> None:
        self.tokens.append(token)
        self.carried.set()

    async def close(self) -> None:
        self.closed = True

    def lose(self, why: str) -> None:
        self.why_lost = why
        self.lost.set()


class FakeSupabase:
    """Answers as ocpp_ingest does for well-behaved stations, and records what it was sent."""

    def __init__(self) -> None:
        self.on_token: Callable[[str], None] | None = None
        self.signed_in = True
        self.unavailable = False
        self.realtime_down = False
        self.stations: dict[str, dict[str, Any]] = {"TEST-001": {}}
        self.keys: dict[str, bytes] = {}
        self.batches: list[list[Event]] = []
        self.events: list[Event] = []
        self.heartbeats: list[dict[str, Any]] = []
        self.close_next: list[str] = []
        self.commands: list[dict[str, Any]] = []
        self.holding: list[str] = []  # what the last claim named
        self.topics: list[FakeTopic] = []
        self.joined = asyncio.Event()
        self.replies: dict[str, Reply] = {}
        self.poison: Callable[[Event], Exception | None] = lambda event: None
        self.hold: asyncio.Event | None = None  # requests wait for it when set
        self.holds: Callable[[Event], bool] = lambda event: True  # those with such an event
        self.closed = False
        self._changed = asyncio.Condition()

    async def start(self) -> None:
        pass

    async def wait_signed_in(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    def topic(self, name: str) -> FakeTopic:
        return FakeTopic(self)

    async def ingest(self, events: Sequence[Event]) -> list[Reply]:
        self.batches.append(list(events))
        await self._notify()
        if self.hold is not None and any(self.holds(event) for event in events):
            await self.hold.wait()
        if self.unavailable:
            raise SupabaseUnavailable("down")
        for event in events:
            error = self.poison(event)
            if error is not None:
                raise error
        self.events.extend(events)
        replies = [self._reply(event) for event in events]
        await self._notify()
        return replies

    async def bridge_heartbeat(
        self, bridge_id: str, settings: dict[str, Any], seen: list[dict[str, Any]]
    ) -> dict[str, Any]:
        if self.unavailable:
            raise SupabaseUnavailable("down")
        self.heartbeats.append({"bridge_id": bridge_id, "settings": settings, "seen": seen})
        closing, self.close_next = self.close_next, []
        await self._notify()
        return {"lease_expires_at": "2030-01-01T00:00:00Z", "close": closing}

    async def claim_commands(self, bridge_id: str, max_commands: int, holding: list[str]) -> list[dict[str, Any]]:
        if self.unavailable:
            raise SupabaseUnavailable("down")
        self.holding = holding
        claimed, self.commands = self.commands, []
        await self._notify()
        return claimed

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something that was sent here makes the condition true; returns its value."""
        async with asyncio.timeout(10), self._changed:
            while not (value := condition()):
                await self._changed.wait()
            return value

    async def event(self, kind: str, **fields: Any) -> Event:
        """Wait for a stored event of that kind with these fields."""
        found = await self.until(
            lambda: [
                event
                for event in self.events
                if event["kind"] == kind and all(event.get(key) == value for key, value in fields.items())
            ]
        )
        result: Event = found[-1]
        return result

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _reply(self, event: Event) -> Reply:
        if event["kind"] == "connect":
            return self._connect(event)
        if event["kind"] != "call":
            return {"ok": True}
        action = event["action"]
        if action in self.replies:
            return self.replies[action]
        if action == "BootNotification":
            result = {"status": "Accepted", "currentTime": "2025-01-01T00:00:00Z", "interval": 300}
            return {"result": result, "more": True}
        if action == "Heartbeat":
            return {"result": {"currentTime": "2025-01-01T00:00:00Z"}}
        if action == "Authorize":
            return {"result": {"idTagInfo": {"status": "Accepted"}}}
        if action == "StartTransaction":
            return {"result": {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}}
        return {"result": {}}

    def _connect(self, event: Event) -> Reply:
        canonical = {name.lower(): name for name in self.stations}.get(event["station_id"].lower())
        if canonical is None:
            return {"connect": "unknown"}
        key = self.keys.get(canonical)
        if key is not None and event.get("basic_key_hex") != key.hex():
            return {"connect": "unauthorized"}
        return {"connect": "accepted", "station_id": canonical, "station": self.stations[canonical]}
