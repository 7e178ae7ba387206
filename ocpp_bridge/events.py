"""The events of `ocpp_ingest(events jsonb)`: plain JSON objects, built on the hot path and sent as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from . import ocppj

Event = dict[str, Any]
Reply = dict[str, Any]

# The column that keeps an unusable frame is for a look at it, not for an archive.
FRAME_EXCERPT = 4000


def now() -> str:
    """The time as events carry it: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def connect(
    station_id: str,
    connection_id: str,
    *,
    bridge_id: str,
    protocol: str | None,
    offered: list[str],
    remote_address: str | None,
    user_agent: str | None,
    basic_user: str | None,
    basic_key: bytes | None,
) -> Event:
    """A station knocks. `basic_key` is the password's raw bytes (OCPP-J §6.2.2: up to 20 bytes, not text)."""
    event: Event = {
        "kind": "connect",
        "station_id": station_id,
        "connection_id": connection_id,
        "received_at": now(),
        "bridge_id": bridge_id,
        "protocol": protocol,
        "offered": offered,
        "remote_address": remote_address,
        "user_agent": user_agent,
    }
    if basic_key is not None:
        event["basic_user"] = basic_user
        event["basic_key_hex"] = basic_key.hex()
    return event


def call(station_id: str, connection_id: str, received_at: str, message: ocppj.Call) -> Event:
    """A CALL of the station."""
    return {
        "kind": "call",
        "station_id": station_id,
        "connection_id": connection_id,
        "received_at": received_at,
        "message_id": message.message_id,
        "action": message.action,
        "payload": message.payload,
        "violations": message.violations,
    }


def answer(
    station_id: str,
    connection_id: str,
    command_id: str,
    outcome: str,
    *,
    received_at: str,
    payload: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> Event:
    """What became of a command: outcome is result, error, timeout or failed."""
    event: Event = {
        "kind": "answer",
        "station_id": station_id,
        "connection_id": connection_id,
        "received_at": received_at,
        "command_id": command_id,
        "outcome": outcome,
    }
    if payload is not None:
        event["payload"] = payload
    if error is not None:
        event["error"] = error
    return event


def disconnect(station_id: str, connection_id: str, code: int | None, reason: str | None) -> Event:
    """The socket is closed. Concerns this connection only, never the one that replaced it."""
    return {
        "kind": "disconnect",
        "station_id": station_id,
        "connection_id": connection_id,
        "received_at": now(),
        "code": code,
        "reason": ocppj.clean(reason) if reason else reason,
    }


def anomaly(station_id: str, connection_id: str, code: str, description: str, frame: str) -> Event:
    """A frame that could not be used."""
    return {
        "kind": "anomaly",
        "station_id": station_id,
        "connection_id": connection_id,
        "received_at": now(),
        "code": code,
        "description": ocppj.clean(description)[:1000],
        "frame": ocppj.clean(frame[:FRAME_EXCERPT]),
    }
