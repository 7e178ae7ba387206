from __future__ import annotations

import base64
import ipaddress

import pytest

from ocpp_bridge import handshake


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/ws/TEST-001", "TEST-001"),
        ("/ocpp/TEST-001", "TEST-001"),
        ("/ws/TEST-001/", "TEST-001"),
        ("//ws//TEST-001", "TEST-001"),
        ("/WS/TEST-001", "TEST-001"),
        ("/ocpp/ws/TEST-001", "TEST-001"),
        ("/ws/TEST-001/some/tail", "TEST-001"),
        ("/ws/TEST-001?token=abc", "TEST-001"),
        ("/ws/TEST%2F001", "TEST/001"),
        ("/ws/a%20b", "a b"),
        ("/ws/%D0%91%D0%B8%D1%88%D0%BA%D0%B5%D0%BA", "Бишкек"),
        ("/ws/100%2525", "100%25"),  # decoded once
        ("/ws/a%3Ab", "a:b"),
        ("/ws/", None),
        ("/ws", None),
        ("/", None),
        ("/chargers/TEST-001", None),
        ("/ws/%FF%FE", None),
        ("/ws/a%00b", None),
        ("/ws/" + "x" * 256, None),
    ],
)
def test_the_station_id_is_the_segment_after_the_prefix(target: str, name: str | None) -> None:
    assert handshake.station_id(target) == name


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["ocpp1.6"], "ocpp1.6"),
        (["OCPP1.6"], "OCPP1.6"),
        (["ocpp2.0.1", "ocpp1.6"], "ocpp1.6"),
        (["ocpp1.6J"], "ocpp1.6J"),
        (["ocpp16"], "ocpp16"),
        (["ocpp1.6j", "ocpp1.6"], "ocpp1.6"),
        (["ocpp2.0.1"], None),
        (["ocpp1.5"], None),
        ([], None),
    ],
)
def test_the_subprotocol_is_found_in_the_stations_own_spelling(offered: list[str], chosen: str | None) -> None:
    assert handshake.choose_protocol(offered) == chosen


def test_offered_protocols_are_split_tolerantly() -> None:
    assert handshake.offered_protocols(["ocpp1.6, ocpp1.5,", " ocpp2.0.1"]) == ["ocpp1.6", "ocpp1.5", "ocpp2.0.1"]


def basic(raw: bytes) -> str:
    return "Basic " + base64.b64encode(raw).decode()


def test_the_key_of_basic_auth_is_kept_as_bytes() -> None:
    key = bytes(range(236, 256))
    assert handshake.basic_credentials(basic(b"TEST-001:" + key)) == handshake.Credentials("TEST-001", key)


def test_the_key_may_contain_colons() -> None:
    assert handshake.basic_credentials(basic(b"u:a:b")) == handshake.Credentials("u", b"a:b")


@pytest.mark.parametrize("header", [None, "", "Basic", "Basic !!!", "Bearer abc", basic(b"nocolon")])
def test_other_authorization_headers_carry_no_credentials(header: str | None) -> None:
    assert handshake.basic_credentials(header) is None


PROXIES = (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not a proxy of ours: anybody can write a header
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        (None, ["198.51.100.1"], None),
    ],
)
def test_forwarded_addresses_count_as_far_as_proxies_are_trusted(
    peer: str | None, forwarded: list[str], address: str | None
) -> None:
    assert handshake.remote_address(peer, forwarded, PROXIES) == address
