from __future__ import annotations

import json

import pytest

from ocpp_bridge import ocppj
from ocpp_bridge.ocppj import BadFrame, Call, CallError, CallResult, parse

NOON = "2025-01-01T12:00:00Z"
METER_VALUES = {
    "connectorId": 1,
    "transactionId": 7,
    "meterValue": [
        {"timestamp": "2025-01-01T10:00:00Z", "sampledValue": [{"value": "12.5", "unit": "Celcius"}, {"value": "1"}]}
    ],
}


def test_a_call_is_parsed() -> None:
    message = parse('[2,"19223201","Heartbeat",{}]')
    assert isinstance(message, Call)
    assert (message.message_id, message.action, message.payload, message.echo) == (
        "19223201",
        "Heartbeat",
        {},
        "19223201",
    )
    assert message.violations == []


@pytest.mark.parametrize("payload", [",null", "", ",[]"])
def test_an_absent_payload_is_an_empty_one(payload: str) -> None:
    """OCPP-J 1.6 §4.2.1 for null; the list comes from encoders that do not tell [] from {}."""
    message = parse(f'[2,"1","Heartbeat"{payload}]')
    assert isinstance(message, Call)
    assert message.payload == {}


def test_further_list_elements_are_ignored() -> None:
    message = parse('[2,"1","Heartbeat",{},"extra",{}]')
    assert isinstance(message, Call)
    assert message.payload == {}


def test_a_byte_order_mark_is_ignored() -> None:
    assert isinstance(parse('\ufeff[2,"1","Heartbeat",{}]'), Call)


@pytest.mark.parametrize("kind", [0, 1, 5, 99, -2])
def test_an_unknown_message_type_is_ignored(kind: int) -> None:
    """OCPP-J 1.6 §4.1.3."""
    assert parse(json.dumps([kind, "1", "x", {}])) is None


def test_a_message_id_beyond_36_characters_is_echoed_and_noted() -> None:
    name = "x" * 60
    message = parse(json.dumps([2, name, "Heartbeat", {}]))
    assert isinstance(message, Call)
    assert message.echo == name
    assert [violation["path"] for violation in message.violations] == ["messageId"]


def test_a_numeric_message_id_is_echoed_as_a_number() -> None:
    message = parse('[2,42,"Heartbeat",{}]')
    assert isinstance(message, Call)
    assert (message.message_id, message.echo) == ("42", 42)


@pytest.mark.parametrize(
    ("text", "code", "message_id"),
    [
        ("", ocppj.FORMATION_VIOLATION, "-1"),
        ("hello", ocppj.FORMATION_VIOLATION, "-1"),
        ("{}", ocppj.FORMATION_VIOLATION, "-1"),
        ("[]", ocppj.FORMATION_VIOLATION, "-1"),
        ("null", ocppj.FORMATION_VIOLATION, "-1"),
        ('["2","1","Heartbeat",{}]', ocppj.FORMATION_VIOLATION, "-1"),
        ('[true,"1","Heartbeat",{}]', ocppj.FORMATION_VIOLATION, "-1"),
        ("[2]", ocppj.FORMATION_VIOLATION, "-1"),
        ('[2,null,"Heartbeat",{}]', ocppj.FORMATION_VIOLATION, "-1"),
        ('[2,{},"Heartbeat",{}]', ocppj.FORMATION_VIOLATION, "-1"),
        ('[2,"7"]', ocppj.PROTOCOL_ERROR, "7"),
        ('[2,"7",5,{}]', ocppj.PROTOCOL_ERROR, "7"),
        ('[2,"7","Heartbeat","x"]', ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",[1]]', ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",{"a":1', ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",{"a":NaN}]', ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",{"a":-Infinity}]', ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",{"a":1e999}]', ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",{"a":' + "9" * 5000 + "}]", ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",' + "[" * 10_000 + "]" * 10_000 + "]", ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",' + '{"a":' * 100 + "1" + "}" * 100 + "]", ocppj.FORMATION_VIOLATION, "7"),
        ('[2,"7","Heartbeat",{"a":"\x00"}]', ocppj.FORMATION_VIOLATION, "7"),
    ],
)
def test_an_unusable_frame_is_refused_with_its_message_id(text: str, code: str, message_id: str) -> None:
    with pytest.raises(BadFrame) as caught:
        parse(text)
    assert (caught.value.code, caught.value.message_id, caught.value.answer) == (code, message_id, True)


@pytest.mark.parametrize("text", ['[3,"7","x"]', '[3,"7",{"a":', '[4,"7","x","y",{"a":NaN}]'])
def test_a_broken_answer_is_not_to_be_answered(text: str) -> None:
    with pytest.raises(BadFrame) as caught:
        parse(text)
    assert (caught.value.message_id, caught.value.answer) == ("7", False)


def test_characters_that_postgresql_cannot_hold_are_replaced() -> None:
    message = parse(r'[2,"1","DataTransfer",{"vendorId":"a\u0000b","da\uD800ta":["\uDFFF","\ud83d\ude00"]}]')
    assert isinstance(message, Call)
    assert message.payload == {"vendorId": "a\ufffdb", "da\ufffdta": ["\ufffd", "\U0001f600"]}
    json.dumps(message.payload, ensure_ascii=False).encode()


def test_the_last_of_duplicate_keys_counts() -> None:
    message = parse('[2,"1","DataTransfer",{"vendorId":"a","vendorId":"b"}]')
    assert isinstance(message, Call)
    assert message.payload == {"vendorId": "b"}


def test_answers_are_parsed() -> None:
    result, error = parse('[3,"1",null]'), parse('[4,"1","GenericError","no",{"a":1}]')
    assert result == CallResult("1", {})
    assert error == CallError("1", "GenericError", "no", {"a": 1})


@pytest.mark.parametrize("text", ['[4,"1","GenericError"]', '[4,"1","GenericError",null,null]'])
def test_a_callerror_may_be_short(text: str) -> None:
    assert parse(text) == CallError("1", "GenericError", "", {})


def test_frames_are_packed_as_ocpp_j_spells_them() -> None:
    assert ocppj.pack_call("1", "Reset", {"type": "Soft"}) == '[2,"1","Reset",{"type":"Soft"}]'
    assert ocppj.pack_result(5, {}) == "[3,5,{}]"
    assert ocppj.pack_error("1", ocppj.OCCURENCE_CONSTRAINT_VIOLATION, "x" * 300) == (
        '[4,"1","OccurenceConstraintViolation","' + "x" * 255 + '",{}]'
    )


def test_a_valid_message_has_no_violations() -> None:
    assert ocppj.schemas().check("MeterValues", METER_VALUES) == []


@pytest.mark.parametrize(
    ("action", "payload", "code", "path"),
    [
        ("StartTransaction", {"connectorId": "1", "idTag": "A", "meterStart": 0, "timestamp": NOON},
         ocppj.TYPE_CONSTRAINT_VIOLATION, "connectorId"),
        ("StartTransaction", {"connectorId": 1, "idTag": "A" * 21, "meterStart": 0, "timestamp": NOON},
         ocppj.PROPERTY_CONSTRAINT_VIOLATION, "idTag"),
        ("StartTransaction", {"connectorId": 1, "meterStart": 0, "timestamp": NOON},
         ocppj.OCCURENCE_CONSTRAINT_VIOLATION, ""),
        ("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Sleeping"},
         ocppj.PROPERTY_CONSTRAINT_VIOLATION, "status"),
        ("Heartbeat", {"x": 1}, ocppj.PROPERTY_CONSTRAINT_VIOLATION, ""),
        ("MeterValues", {"connectorId": 1, "meterValue": []}, ocppj.OCCURENCE_CONSTRAINT_VIOLATION, "meterValue"),
        ("MeterValues", {"connectorId": 1, "meterValue": {}}, ocppj.TYPE_CONSTRAINT_VIOLATION, "meterValue"),
    ],
)  # fmt: skip
def test_each_kind_of_violation_has_its_code(action: str, payload: dict, code: str, path: str) -> None:
    violations = ocppj.schemas().check(action, payload)
    assert [(violation["code"], violation["path"]) for violation in violations] == [(code, path)]


def test_stop_without_reason_is_valid() -> None:
    """errata-J: the published schema is wrong to ask for it."""
    stop = {"transactionId": 1, "meterStop": 5, "timestamp": "2025-01-01T10:00:00Z"}
    assert ocppj.schemas().check("StopTransaction", stop) == []


def test_violations_are_capped() -> None:
    bad = {"connectorId": 1, "meterValue": [{} for _ in range(100)]}
    assert len(ocppj.schemas().check("MeterValues", bad)) == ocppj.MAX_VIOLATIONS


def test_every_action_of_stations_has_a_schema() -> None:
    assert ocppj.schemas().actions >= ocppj.FROM_STATION


@pytest.mark.parametrize(
    ("action", "code"), [("Reset", ocppj.NOT_SUPPORTED), ("MakeCoffee", ocppj.NOT_IMPLEMENTED), ("Heartbeat", None)]
)
def test_actions_that_stations_do_not_send_are_refused(action: str, code: str | None) -> None:
    refusal = ocppj.schemas().refusal(action)
    assert (refusal and refusal[0]) == code
