"""OCPP-J 1.6 frames: parse, pack, error codes and the compiled JSON schemas.

What a station sends is read tolerantly: only a frame that cannot be used at all raises BadFrame. Deviations from the
schemas are listed as violations and travel with the message.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs

CALL, CALLRESULT, CALLERROR = 2, 3, 4

# Spelled as OCPP-J 1.6 §4.2.3 spells them ("Occurence" sic).
NOT_IMPLEMENTED = "NotImplemented"
NOT_SUPPORTED = "NotSupported"
INTERNAL_ERROR = "InternalError"
PROTOCOL_ERROR = "ProtocolError"
FORMATION_VIOLATION = "FormationViolation"
PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
OCCURENCE_CONSTRAINT_VIOLATION = "OccurenceConstraintViolation"
TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"
GENERIC_ERROR = "GenericError"

FROM_STATION = frozenset(
    {
        "Authorize",
        "BootNotification",
        "DataTransfer",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "SecurityEventNotification",
        "SignCertificate",
        "SignedFirmwareStatusNotification",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
    }
)

# Deeper than any message of OCPP (6 levels) and shallower than what a JSON encoder refuses.
MAX_DEPTH = 32
# A message with more faults than this is described well enough.
MAX_VIOLATIONS = 20
# OCPP-J §4.1.4 allows 36 characters; longer ids are echoed, absurd ones are not.
MAX_MESSAGE_ID = 1000

Violation = dict[str, str]


class BadFrame(Exception):
    """A frame that cannot be used. `message_id` is what a CALLERROR has to echo: "-1" where it cannot be read."""

    def __init__(self, code: str, description: str, message_id: Any = "-1", *, answer: bool = True) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.message_id = message_id
        self.answer = answer  # a broken answer is never answered


@dataclass(slots=True)
class Call:
    """A request. `echo` is the message id as it came: a reply repeats it even where it is not a string."""

    message_id: str
    action: str
    payload: dict[str, Any]
    echo: Any
    text: str  # the frame, to recognise a repeat
    violations: list[Violation] = field(default_factory=list)


@dataclass(slots=True)
class CallResult:
    """The answer to a request."""

    message_id: str
    payload: dict[str, Any]


@dataclass(slots=True)
class CallError:
    """The refusal of a request, with one of the codes of OCPP-J §4.2.3 (stations invent others)."""

    message_id: str
    code: str
    description: str
    details: dict[str, Any]


Message = Call | CallResult | CallError


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


# Strict JSON: NaN, Infinity and 1e999 would not pass as jsonb. Python itself refuses integers beyond 4,300 digits.
_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant).decode
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

_ID_OF_BROKEN_CALL = re.compile(r'\s*\[\s*(\d+)\s*,\s*"((?:[^"\\]|\\.){1,200})"')
_BAD_CHARACTER = re.compile("[\x00\ud800-\udfff]")


def parse(text: str) -> Message | None:
    """The message in a text frame; None for a message type that OCPP-J does not know, to be ignored (§4.1.3).

    Extra list elements and over-long message ids are tolerated, null (and the [] of some encoders) is an empty payload;
    U+0000 and lone surrogates, which PostgreSQL cannot hold, become U+FFFD. Raises BadFrame.
    """
    try:
        frame = _decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise _broken(text, "JSON is nested too deeply") from None
    except ValueError as exc:
        raise _broken(text, f"not valid JSON: {exc}") from None
    if not isinstance(frame, list):
        raise BadFrame(FORMATION_VIOLATION, "an OCPP-J frame is a JSON array")
    if not frame:
        raise BadFrame(FORMATION_VIOLATION, "the array is empty")
    kind = frame[0]
    if isinstance(kind, bool) or not isinstance(kind, int):
        raise BadFrame(FORMATION_VIOLATION, "the first element is not a message type number")
    if kind not in (CALL, CALLRESULT, CALLERROR):
        return None
    echo = frame[1] if len(frame) > 1 else None
    if isinstance(echo, bool) or not isinstance(echo, str | int) or len(str(echo)) > MAX_MESSAGE_ID:
        raise BadFrame(FORMATION_VIOLATION, "the second element is not a message id", answer=kind == CALL)
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(frame) > MAX_DEPTH:
        raise BadFrame(FORMATION_VIOLATION, "JSON is nested too deeply", echo, answer=kind == CALL)
    if "\\u" in text:  # only an escape can smuggle in what UTF-8 itself does not carry
        frame = clean(frame)
    message_id = str(frame[1])
    if kind == CALL:
        return _call(frame, message_id, echo, text)
    if kind == CALLRESULT:
        payload = frame[2] if len(frame) > 2 else None
        if payload is None or payload == []:
            payload = {}
        if not isinstance(payload, dict):
            raise BadFrame(FORMATION_VIOLATION, "the payload is not an object", message_id, answer=False)
        return CallResult(message_id, payload)
    code, description, details = (*frame[2:5], None, None, None)[:3]
    return CallError(
        message_id,
        str(code or GENERIC_ERROR)[:100],
        "" if description is None else str(description)[:1000],
        details if isinstance(details, dict) else {} if details is None else {"details": details},
    )


def _call(frame: list[Any], message_id: str, echo: Any, text: str) -> Call:
    if len(frame) < 3 or not isinstance(frame[2], str) or not frame[2]:
        raise BadFrame(PROTOCOL_ERROR, "the CALL has no action", echo)
    payload = frame[3] if len(frame) > 3 else None
    violations: list[Violation] = []
    if len(frame) == 3:
        violations.append(_violation(FORMATION_VIOLATION, "", "the payload is missing"))
    elif payload == []:
        violations.append(_violation(TYPE_CONSTRAINT_VIOLATION, "", "the payload is an empty list"))
    if not payload and (payload is None or payload == []):
        payload = {}
    if not isinstance(payload, dict):
        raise BadFrame(FORMATION_VIOLATION, "the payload is not an object", echo)
    if len(message_id) > 36:
        violations.append(_violation(PROPERTY_CONSTRAINT_VIOLATION, "messageId", "longer than 36 characters"))
    if not isinstance(echo, str):
        violations.append(_violation(TYPE_CONSTRAINT_VIOLATION, "messageId", "not a string"))
    return Call(message_id, frame[2][:100], payload, echo, text, violations)


def _broken(text: str, description: str) -> BadFrame:
    """The error for a frame that is no JSON, with its message id where the beginning can still be read."""
    match = _ID_OF_BROKEN_CALL.match(text)
    if match is None:
        return BadFrame(FORMATION_VIOLATION, description)
    try:
        message_id = json.loads(f'"{match[2]}"', strict=False)
    except ValueError:
        message_id = "-1"
    return BadFrame(FORMATION_VIOLATION, description, message_id, answer=match[1] not in ("3", "4"))


def _depth(value: Any) -> int:
    """How deep lists and objects are nested. Level by level, because recursion is what such a frame attacks."""
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(child for child in item.values() if isinstance(child, dict | list))
            elif isinstance(item, list):
                below.extend(child for child in item if isinstance(child, dict | list))
        level = below
        depth += 1
    return depth


def clean(value: Any) -> Any:
    """The same value with U+FFFD in place of U+0000 and lone surrogates, which jsonb refuses. Nested ≤ MAX_DEPTH."""
    if isinstance(value, str):
        return _BAD_CHARACTER.sub("\ufffd", value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return value


def pack_call(message_id: str, action: str, payload: dict[str, Any]) -> str:
    """A CALL frame."""
    return _encode([CALL, message_id, action, payload])


def pack_result(message_id: Any, payload: dict[str, Any]) -> str:
    """A CALLRESULT frame."""
    if not payload:  # the answer to MeterValues, most of all frames: spares the encoder its set-up
        return f"[{CALLRESULT},{_encode(message_id)},{{}}]"
    return _encode([CALLRESULT, message_id, payload])


def pack_error(message_id: Any, code: str, description: str = "", details: dict[str, Any] | None = None) -> str:
    """A CALLERROR frame; description at most 255 characters and details an object, as §4.2.3 demands."""
    return _encode([CALLERROR, message_id, code, description[:255], details or {}])


def _violation(code: str, path: str, message: str) -> Violation:
    return {"code": code, "path": path, "message": message[:200]}


# Which error code tells a station about which kind of fault.
_CODE_OF_KEYWORD = {
    "type": TYPE_CONSTRAINT_VIOLATION,
    "required": OCCURENCE_CONSTRAINT_VIOLATION,
    "minItems": OCCURENCE_CONSTRAINT_VIOLATION,
    "maxItems": OCCURENCE_CONSTRAINT_VIOLATION,
}


class Schemas:
    """The OCPP 1.6 schemas, security extension included, compiled once. A check costs a few microseconds."""

    def __init__(self) -> None:
        self._validators: dict[str, Any] = {}
        for entry in files("ocpp.v16").joinpath("schemas").iterdir():
            if entry.name.endswith(".json"):
                schema = json.loads(entry.read_text(encoding="utf-8-sig"))
                self._validators[entry.name.removesuffix(".json")] = jsonschema_rs.validator_for(schema)
        self.actions = frozenset(name for name in self._validators if not name.endswith("Response"))

    def check(self, action: str, payload: dict[str, Any]) -> list[Violation]:
        """How a request deviates from its schema; empty for a valid one and for an unknown action."""
        validator = self._validators.get(action)
        if validator is None or validator.is_valid(payload):
            return []
        found: list[Violation] = []
        for error in validator.iter_errors(payload):
            code = _CODE_OF_KEYWORD.get(error.kind.name, PROPERTY_CONSTRAINT_VIOLATION)
            found.append(_violation(code, "/".join(map(str, error.instance_path)), error.message))
            if len(found) == MAX_VIOLATIONS:
                break
        return found

    def refusal(self, action: str) -> tuple[str, str] | None:
        """Code and description with which a CALL of this action is refused; None for what a station may send."""
        if action in FROM_STATION:
            return None
        if action in self.actions:
            return NOT_SUPPORTED, f"{action} is not sent by stations"
        return NOT_IMPLEMENTED, f"OCPP 1.6 has no action {action[:50]}"


@cache
def schemas() -> Schemas:
    """The one compiled set of this process."""
    return Schemas()
