from __future__ import annotations

import json
import logging

from ocpp_bridge.logs import JsonFormatter, TextFormatter, Throttle


def record(name: str, message: str, **facts: object) -> logging.LogRecord:
    made = logging.getLogger(name).makeRecord(name, logging.INFO, "f", 1, message, (), None, extra=facts)
    made.created, made.msecs = 0.0, 0.0
    return made


def test_a_stations_line_reads_as_in_the_old_service() -> None:
    line = TextFormatter().format(
        record("ChargePoint.TEST-001", "StopTransaction: energy=25.5kWh, amount=382.5 KGS", amount="382.5")
    )
    assert line.endswith(" ChargePoint.TEST-001 - INFO - StopTransaction: energy=25.5kWh, amount=382.5 KGS")


def test_facts_follow_the_message() -> None:
    line = TextFormatter().format(record("ocpp_bridge.server", "Station connected", station_id="A", reason=None))
    assert line.endswith(" ocpp_bridge.server - INFO - Station connected station_id=A")


def test_a_line_break_in_a_name_makes_no_second_line() -> None:
    line = TextFormatter().format(record("x", "Station connected", station_id="A\n2025 ROOT - ERROR - forged"))
    assert "\n" not in line


def test_json_carries_the_same_facts() -> None:
    line = json.loads(JsonFormatter().format(record("x", "Station connected", station_id="A\n", duration_ms=5)))
    assert line == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "INFO",
        "logger": "x",
        "message": "Station connected",
        "station_id": "A\n",
        "duration_ms": 5,
    }


def test_a_throttle_lets_one_through_per_period_and_counts_the_rest() -> None:
    throttle = Throttle(period_s=10)
    assert throttle.allow("a", now=0) == 0
    assert throttle.allow("a", now=5) is None
    assert throttle.allow("b", now=5) == 0
    assert throttle.allow("a", now=9) is None
    assert throttle.allow("a", now=11) == 2


def test_a_throttle_forgets_the_oldest_key() -> None:
    throttle = Throttle(period_s=10, keys=2)
    for name in ("a", "b", "c"):
        throttle.allow(name, now=0)
    assert throttle.allow("a", now=1) == 0
    assert throttle.allow("c", now=1) is None
