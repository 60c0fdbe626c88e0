"""Rdata between presentation text and octets, for the types that evenkeel writes and follows.

TXT is the bare text of one character-string: UTF-8, other octets as surrogate escapes, so that whatever stands in a
zone survives the way there and back. Names inside rdata are not compressed here (RFC 3597 section 4).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import lru_cache

from evenkeel.wire.names import Malformed, encode_name, read_name

TYPE_CODES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "TXT": 16, "AAAA": 28, "SRV": 33}
TYPE_NAMES = {code: name for name, code in TYPE_CODES.items()}
SOA_CODE = 6
_ADDRESS_TYPES = frozenset({"A", "AAAA"})
TXT_OCTETS_MAX = 255

_SRV = struct.Struct("!3H")
_SOA_NUMBERS = struct.Struct("!5I")


def _a(text: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET, text)
    except OSError as error:
        raise ValueError(f"A {text!r} is not an IPv4 address") from error


def _aaaa(text: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except OSError as error:
        raise ValueError(f"AAAA {text!r} is not an IPv6 address") from error


def _txt(text: str) -> bytes:
    octets = text.encode("utf-8", "surrogateescape")
    if len(octets) > TXT_OCTETS_MAX:
        raise ValueError(f"TXT of {len(octets)} octets, {TXT_OCTETS_MAX} fit into its one string: {text[:40]!r}...")
    return bytes((len(octets),)) + octets


def _srv(text: str) -> bytes:
    fields = text.split()
    if len(fields) != 4:
        raise ValueError(f"SRV {text!r} needs priority, weight, port and target")
    return _SRV.pack(*map(int, fields[:3])) + encode_name(fields[3])


def _soa(text: str) -> bytes:
    fields = text.split()
    if len(fields) != 7:
        raise ValueError(f"SOA {text!r} needs two names and five numbers")
    return encode_name(fields[0]) + encode_name(fields[1]) + _SOA_NUMBERS.pack(*map(int, fields[2:]))


_ENCODERS: dict[str, Callable[[str], bytes]] = {
    "A": _a,
    "AAAA": _aaaa,
    "TXT": _txt,
    "CNAME": encode_name,
    "NS": encode_name,
    "SRV": _srv,
    "SOA": _soa,
}


def encode_rdata(rtype: str, text: str) -> bytes:
    """Raises `ValueError` that names what is wrong with `text`."""
    try:
        return _ENCODERS[rtype](text)
    except struct.error as error:
        raise ValueError(f"{rtype} {text!r}: a number is out of its range") from error


@lru_cache(maxsize=8192)
def _framed_address(rtype: str, text: str) -> bytes:
    rdata = encode_rdata(rtype, text)
    return len(rdata).to_bytes(2, "big") + rdata


def framed_rdata(rtype: str, text: str) -> bytes:
    """The rdata with its length before it. The same addresses come again and again: they are remembered."""
    if rtype in _ADDRESS_TYPES:
        return _framed_address(rtype, text)
    rdata = encode_rdata(rtype, text)
    return len(rdata).to_bytes(2, "big") + rdata


def read_rdata(wire: bytes, rtype: int, at: int, end: int, seen: dict[int, str]) -> str:
    """The presentation text of the rdata in `wire[at:end]`; RFC 3597's form for other types. Raises `Malformed`."""
    if rtype == 1 and end - at == 4:
        return socket.inet_ntop(socket.AF_INET, wire[at:end])
    if rtype == 28 and end - at == 16:
        return socket.inet_ntop(socket.AF_INET6, wire[at:end])
    reader = _READERS.get(rtype)
    if reader is None:
        return f"\\# {end - at} {wire[at:end].hex()}"
    text, after = reader(wire, at, end, seen)
    if after != end:
        raise Malformed(f"{TYPE_NAMES[rtype]} rdata at offset {at} has {end - at} octets, used are {after - at}")
    return text


def _read_txt(wire: bytes, at: int, end: int, _: dict[int, str]) -> tuple[str, int]:
    octets = wire[at + 1 : min(at + 1 + wire[at], end)] if at < end else b""
    at += 1 + (wire[at] if at < end else 0)
    while at < end:  # a foreign record of several strings reads as their concatenation
        octets += wire[at + 1 : min(at + 1 + wire[at], end)]
        at += 1 + wire[at]
    return octets.decode("utf-8", "surrogateescape"), at


def _read_target(wire: bytes, at: int, end: int, seen: dict[int, str]) -> tuple[str, int]:
    return read_name(wire, at, seen)


def _read_srv(wire: bytes, at: int, end: int, seen: dict[int, str]) -> tuple[str, int]:
    priority, weight, port = _SRV.unpack_from(wire, at)
    target, after = read_name(wire, at + _SRV.size, seen)
    return f"{priority} {weight} {port} {target}", after


def _read_soa(wire: bytes, at: int, end: int, seen: dict[int, str]) -> tuple[str, int]:
    primary, at = read_name(wire, at, seen)
    mailbox, at = read_name(wire, at, seen)
    numbers = " ".join(map(str, _SOA_NUMBERS.unpack_from(wire, at)))
    return f"{primary} {mailbox} {numbers}", at + _SOA_NUMBERS.size


def _read_fixed(wire: bytes, at: int, end: int, _: dict[int, str]) -> tuple[str, int]:
    raise Malformed(f"address of {end - at} octets at offset {at}")


_READERS: dict[int, Callable[[bytes, int, int, dict[int, str]], tuple[str, int]]] = {
    1: _read_fixed,
    28: _read_fixed,
    16: _read_txt,
    5: _read_target,
    2: _read_target,
    33: _read_srv,
    6: _read_soa,
}
