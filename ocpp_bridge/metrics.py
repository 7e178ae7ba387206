"""What /metrics tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """One set per bridge, in a registry of its own so that tests can have many."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.connections = Gauge("ocpp_connections", "Stations connected now.", registry=registry)
        self.connects = Counter("ocpp_connects", "Handshakes by outcome.", ["outcome"], registry=registry)
        self.disconnects = Counter("ocpp_disconnects", "Closed connections by code.", ["code"], registry=registry)
        self.messages = Counter("ocpp_messages", "CALLs of stations by action.", ["action"], registry=registry)
        self.errors = Counter("ocpp_call_errors", "CALLERRORs sent to stations by code.", ["code"], registry=registry)
        self.answer_s = Histogram(
            "ocpp_answer_seconds", "From a station's CALL to its answer.", buckets=_LATENCY_S, registry=registry
        )
        self.anomalies = Counter("ocpp_anomalies", "Unusable frames, by code.", ["code"], registry=registry)
        self.batch_events = Histogram(
            "ingest_batch_events", "Events in a request.", buckets=(1, 2, 5, 10, 20, 30, 40, 50, 60), registry=registry
        )
        self.batch_s = Histogram("ingest_batch_seconds", "One request.", buckets=_LATENCY_S, registry=registry)
        self.ingest_failures = Counter(
            "ingest_failures", "Requests that failed, by error.", ["error"], registry=registry
        )
        self.queue = Gauge("ingest_queue_events", "Events waiting for a request.", registry=registry)
        self.commands = Counter("commands", "Commands by outcome.", ["outcome"], registry=registry)
        self.call_s = Histogram(
            "ocpp_call_seconds", "From a CALL to a station to its answer.", buckets=_LATENCY_S, registry=registry
        )
        self.realtime_joins = Counter("realtime_joins", "Joins of the bridge's topic.", registry=registry)
        self.realtime_joined = Gauge("realtime_joined", "1 while the bridge's topic is joined.", registry=registry)
        self.lease_renewals = Counter(
            "lease_renewals", "Renewals of the bridge's lease by outcome.", ["outcome"], registry=registry
        )

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
