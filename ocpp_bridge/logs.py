"""Log lines: one per operation, as text or JSON, never two because a station put a line break into its name."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import OrderedDict
from typing import Any

from .settings import LogFormat, Settings

# What a LogRecord has itself: logging refuses some of these names in `extra`.
RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_NO_FACTS = RECORD_FIELDS | {"taskName", "websocket"}

# These log whole frames (with id tags in them) or a traceback per failed handshake below these levels.
_LIBRARIES = {
    "ocpp": logging.WARNING,
    "websockets": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "hpack": logging.WARNING,
    # wake_ups.py supervises Realtime and reports its state itself.
    "realtime": logging.CRITICAL,
}


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What was passed as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _NO_FACTS}


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00,123 ChargePoint.TEST-001 - INFO - StopTransaction: energy=25.5kWh, amount=382.5 KGS`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(name)s - %(levelname)s - %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        if not record.name.startswith("ChargePoint."):  # these lines carry their facts in the text
            extra = " ".join(f"{key}={value}" for key, value in facts(record).items() if value is not None)
            line = f"{line} {extra}" if extra else line
        return _one_line(line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message and the facts beside them."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(settings: Settings) -> None:
    """Send the process's log to stderr in the chosen format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format is LogFormat.JSON else TextFormatter())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name, level in _LIBRARIES.items():
        logging.getLogger(name).setLevel(level)


class Throttle:
    """Lets one event per key and period through, so that a mad station cannot flood the log or the inbox."""

    def __init__(self, period_s: float = 10.0, keys: int = 10_000) -> None:
        self._period_s = period_s
        self._keys = keys  # bounds the memory that strangers can claim by inventing names
        self._last: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def allow(self, key: str, now: float | None = None) -> int | None:
        """None: keep quiet. Otherwise go ahead; the number says how many were swallowed before."""
        now = time.monotonic() if now is None else now
        last, swallowed = self._last.get(key, (None, 0))
        if last is not None and now - last < self._period_s:
            self._last[key] = (last, swallowed + 1)
            return None
        self._last[key] = (now, 0)
        self._last.move_to_end(key)
        if len(self._last) > self._keys:
            self._last.popitem(last=False)
        return swallowed
