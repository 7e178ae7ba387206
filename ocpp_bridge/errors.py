"""Every exception the bridge raises on purpose, in one tree."""

from __future__ import annotations


class BridgeError(Exception):
    """Base of all of them."""


class SupabaseUnavailable(BridgeError):
    """Supabase could not be reached, was too slow or too busy. The request may be repeated."""


class SupabaseRejected(BridgeError):
    """A rule in SQL said no; the message begins with its OC… code. Repeating does not help."""


class SupabaseError(BridgeError):
    """Supabase refused the request for a reason nobody planned: a bug, or a database that is not migrated."""


class NotStored(BridgeError):
    """An event did not reach the database in time; its sender has to send it again (OCPP 1.6 §3.7.1)."""


class ConnectionGone(BridgeError):
    """The station's socket closed before, or while, a CALL waited for its answer."""


class CannotListen(BridgeError):
    """The port for stations is taken, or the address is none of this machine's."""


class RealtimeUnavailable(BridgeError):
    """The bridge's Realtime topic cannot be joined at present."""
