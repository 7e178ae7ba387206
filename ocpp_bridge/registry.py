"""Which stations are connected to this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .station import Station


class Registry:
    """The open connections of this process. The newest of a station wins; nobody removes but their own."""

    def __init__(self) -> None:
        self._by_station: dict[str, Station] = {}
        self._by_connection: dict[str, Station] = {}
        self._forced: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_connection)

    def __iter__(self) -> Iterator[Station]:
        return iter(list(self._by_connection.values()))

    def add(self, station: Station) -> Station | None:
        """Register; returns the connection that it replaces."""
        former = self._by_station.get(station.id)
        self._by_station[station.id] = station
        self._by_connection[station.connection_id] = station
        return former

    def remove(self, station: Station) -> None:
        """Forget this connection, and no other of the same station."""
        self._by_connection.pop(station.connection_id, None)
        if self._by_station.get(station.id) is station:
            del self._by_station[station.id]
        if station.answered_since_connect:
            self._forced.discard(station.id)

    def find(self, connection_id: str) -> Station | None:
        """The connection with that id."""
        return self._by_connection.get(connection_id)

    def may_force_reconnect(self, station_id: str) -> bool:
        """True once per station until it has answered a call again: a reconnect that did not help is not repeated."""
        if station_id in self._forced:
            return False
        self._forced.add(station_id)
        return True

    def seen(self) -> list[dict[str, Any]]:
        """All open sockets, as bridge_heartbeat wants them."""
        return [
            {
                "station_id": station.id,
                "connection_id": station.connection_id,
                "last_message_at": station.last_message_at,
            }
            for station in self._by_connection.values()
        ]
