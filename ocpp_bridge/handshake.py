"""What a WebSocket handshake says: which station, which sub-protocol, which credentials, from where. Pure functions."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from .settings import IPNetwork

# Segments before the station's id; more of them may follow each other ("/ocpp/ws/ID").
_PREFIXES = frozenset({"ws", "ocpp"})
# OCPP-J 1.6 §3.1.1 names no limit; ids are at most 48 characters in OCPP 2.0.1. Longer ones are nobody's station.
MAX_STATION_ID = 255

# After lower() and without punctuation; "ocpp16j" and the like are sent by stations in the field.
_OCPP_16 = frozenset({"ocpp16", "ocpp16j", "ocpp16json", "ocppj16", "ocpp160", "ocppv16"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """HTTP Basic. The key is bytes: stations send the 20 raw bytes of a hex key, which are not UTF-8."""

    user: str
    key: bytes


def station_id(target: str) -> str | None:
    """The station's id in a request target: the segment after /ws/ or /ocpp/, percent-decoded once.

    Double slashes, a trailing slash, a query and further segments do not matter. None where there is no id.
    """
    path = target.partition("?")[0].partition("#")[0]
    segments = [segment for segment in path.split("/") if segment]
    if not segments or segments[0].lower() not in _PREFIXES:
        return None
    while len(segments) > 1 and segments[0].lower() in _PREFIXES:
        segments.pop(0)
    if len(segments) == 1 and segments[0].lower() in _PREFIXES:
        return None
    name = unquote(segments[0], errors="strict") if _decodable(segments[0]) else None
    if name is None or not 0 < len(name) <= MAX_STATION_ID or not name.isprintable():
        return None
    return name


def _decodable(segment: str) -> bool:
    try:
        unquote(segment, errors="strict").encode()
    except UnicodeError:  # percent-escapes or raw bytes that are no UTF-8
        return False
    return True


def offered_protocols(headers: Sequence[str]) -> list[str]:
    """The sub-protocols of one or more Sec-WebSocket-Protocol headers, as spelled; empty items are dropped."""
    return [name for header in headers for name in header.replace(";", ",").replace(",", " ").split()]


def choose_protocol(offered: Sequence[str]) -> str | None:
    """The offered name that means OCPP 1.6, in the station's own spelling; None if there is none."""
    for name in offered:
        if name.lower() == "ocpp1.6":
            return name
    for name in offered:
        if "".join(char for char in name.lower() if char.isalnum()) in _OCPP_16:
            return name
    return None


def basic_credentials(header: str | None) -> Credentials | None:
    """User and key of an Authorization header; None if it is missing or not Basic or malformed."""
    scheme, _, encoded = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        raw = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, key = raw.partition(b":")
    if not colon:
        return None
    return Credentials(user.decode(errors="replace").replace("\x00", "\ufffd"), key)


def remote_address(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[IPNetwork]) -> str | None:
    """The station's address: the peer's own, or what trusted proxies say of it.

    X-Forwarded-For is read from the right, each trusted proxy vouching for the entry it appended; what stands left of
    the first stranger could have been written by anybody.
    """
    address = peer
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    while address is not None and hops and _is_trusted(address, trusted):
        hop = hops.pop()
        if _address(hop) is None:
            break
        address = hop
    return address


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_trusted(text: str, trusted: Sequence[IPNetwork]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in trusted)
