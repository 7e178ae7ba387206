"""Delays and limits of the Realtime stand-in; the defaults are those of a hosted project on the free plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """Values observed on the server. Tests shorten the delays; a bench may lift the limits (math.inf)."""

    refused_join_delay_s: float = 5.0  # CHANNEL_ERROR_BACKOFF_MS: the whole socket waits
    refused_handshake_delay_s: float = 2.0  # CONNECT_ERROR_BACKOFF_MS
    idle_timeout_s: float = 60.0  # without any byte from the client
    no_channel_timeout_s: float = 600.0  # NO_CHANNEL_TIMEOUT_IN_MS
    replication_ready_timeout_s: float = 60.0
    max_events_per_second: float = 100
    max_joins_per_second: float = 100
    max_presence_events_per_second: float = 1000
    max_concurrent_users: float = 200  # sockets with at least one channel
    max_channels_per_client: float = 100
    max_payload_bytes: int = 3_000_000
    max_frame_bytes: int = 5_000_000
    max_presence_calls: int = 5  # per channel within presence_window_s
    presence_window_s: float = 30.0
    rate_bucket_s: float = 5.0
    rate_buckets: int = 12
    private_only: bool = False
    retention_days: int = 3
    partitions_ahead_days: int = 3
    maintenance_interval_s: float = 600.0
    database_timeout_s: float = 5.0  # per authorization; hosted gives up between 5 and 17 s
    listener_retry_s: float = 0.5  # after the database went away
    max_outbox_bytes: int = 64_000_000  # frames a client has not taken yet; beyond it the socket is cut
