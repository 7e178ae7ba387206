"""Frames of both serializers: nothing a client sends raises anything but BadFrame, and nothing is lost on the way."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_supabase.realtime.frames import (
    BadFrame,
    BinaryPush,
    FanOut,
    Frame,
    UserBroadcast,
    Version,
    parse_binary,
    parse_text,
    reply,
)

from .world import decode_broadcast

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=10,
)


@given(st.text())
def test_any_text_is_a_frame_or_a_bad_frame(text: str) -> None:
    for version in Version:
        with suppress(BadFrame):
            parse_text(version, text)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_a_bad_frame(data: bytes) -> None:
    for version in Version:
        for candidate in (data, b"\x03" + data):
            with suppress(BadFrame):
                parse_binary(version, candidate)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '[null,null,"t","e",NaN]',
        '[null,null,"t","e","\\ud800"]',
        '[null,null,"t",5,{}]',
        '[5,null,"t","e",{}]',
        "[null,null,null,null,null]",
        "{}",
    ],
)
def test_what_could_not_be_passed_on_is_a_bad_frame(text: str) -> None:
    with pytest.raises(BadFrame):
        parse_text(Version.V2, text)


@given(texts, texts, values)
def test_a_frame_means_the_same_in_both_serializers(topic: str, event: str, payload: Any) -> None:
    names = ("join_ref", "ref", "topic", "event", "payload")
    fields = ["1", "2", topic, event, payload]
    first = parse_text(Version.V1, json.dumps(dict(zip(names, fields, strict=True))))
    second = parse_text(Version.V2, json.dumps(fields))
    for frame in (first, second):
        assert [getattr(frame, name) for name in names] == fields


@given(texts, texts, values)
def test_a_broadcast_of_the_database_says_the_same_as_text_and_as_bytes(topic: str, event: str, payload: Any) -> None:
    message = UserBroadcast(topic, event, json.dumps(payload), '{"id":"m"}')
    text, binary = message.frame(Version.V1), message.frame(Version.V2)
    assert isinstance(text, str)
    body = {"event": event, "meta": {"id": "m"}, "payload": payload, "type": "broadcast"}
    assert json.loads(text) == {"event": "broadcast", "payload": body, "ref": None, "topic": topic}
    assert isinstance(binary, bytes)
    decoded = decode_broadcast(binary)
    assert (decoded["topic"], decoded["user_event"], decoded["payload"]) == (topic, event, payload)


@given(texts, texts, values)
def test_a_binary_push_is_read_back(topic: str, event: str, payload: Any) -> None:
    body = json.dumps(payload)
    parts = [part.encode() for part in ("7", "8", topic, event, "")]
    data = bytes([3, *map(len, parts), 1]) + b"".join(parts) + body.encode()
    assert parse_binary(Version.V2, data) == Frame("7", "8", topic, "broadcast", BinaryPush(event, "", body), len(data))


def test_bytes_are_not_for_serializer_1() -> None:
    assert UserBroadcast("t", "e", b"\x00").frame(Version.V1) is None


def test_a_binary_push_whose_meta_is_no_json_is_a_bad_frame() -> None:
    parts = [b"", b"", b"realtime:t", b"e", b"{,"]
    with pytest.raises(BadFrame):
        parse_binary(Version.V2, bytes([3, *map(len, parts), 1]) + b"".join(parts) + b"{}")


def test_names_of_more_than_255_bytes_have_no_binary_frame() -> None:
    assert UserBroadcast("t", "é" * 127 + "a", "{}").frame(Version.V2) is not None
    assert UserBroadcast("t", "é" * 128, "{}").frame(Version.V2) is None


def test_join_ref_is_never_sent_in_serializer_1_and_null_in_what_is_fanned_out() -> None:
    frame = Frame("1", "2", "t", "phx_join", {})
    assert "join_ref" not in json.loads(reply(Version.V1, frame, "ok", {}, join_ref="1"))
    assert json.loads(reply(Version.V2, frame, "ok", {}, join_ref="1"))[:2] == ["1", "2"]
    sent = FanOut("t", "broadcast", {}).frame(Version.V2)
    assert isinstance(sent, str)
    assert json.loads(sent)[:2] == [None, None]


@pytest.mark.parametrize(
    ("vsn", "version"),
    [(None, Version.V1), ("1.0.0", Version.V1), ("2.0.0", Version.V2), ("9.9.9", None), ("", None), ("1.0.0x", None)],
)
def test_vsn_chooses_the_serializer(vsn: str | None, version: Version | None) -> None:
    assert Version.of(vsn) is version
