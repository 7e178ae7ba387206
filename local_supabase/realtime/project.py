"""What the sockets, their channels and the HTTP endpoints share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .broker import Broker
from .database import Database
from .listener import Listener
from .settings import RealtimeSettings


@dataclass(frozen=True, slots=True)
class Project:
    """One project: its secret, its topics, its database.

    `users` counts the sockets with at least one channel. `translate` gives the JWT for an API key; a JWT is its own.
    """

    settings: RealtimeSettings
    jwt_secret: str
    broker: Broker
    database: Database
    listener: Listener
    users: Callable[[], int]
    translate: Callable[[str], str]


def policy_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """request.headers as policies see them: the client's own headers, without its credentials."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower().startswith("x-") and name.lower() != "x-api-key"
    }
