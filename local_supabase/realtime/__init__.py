"""A stand-in for Supabase Realtime: broadcast and presence, public and private topics, serializers 1.0.0 and 2.0.0.

It answers as supabase/realtime 2.128 was recorded to answer; tests replay the recordings. Not served: postgres_changes.
There is one project, so no tenants: a project cannot be unknown or suspended.
"""

from .server import RealtimeServer
from .settings import RealtimeSettings

__all__ = ["RealtimeServer", "RealtimeSettings"]
