"""Resource records as octets: what a server stores and sends (RFC 1035 section 3.2, RFC 3597).

Rdata is kept uncompressed, the names in it lowercase, so that equal records have equal octets.
"""

from __future__ import annotations

import struct

from evenkeel.wire.names import Malformed
from evenkeel.wire.octets import NameWriter, read_octets
from evenkeel.wire.rdata import TYPE_CODES, TYPE_NAMES

CLASS_IN, CLASS_NONE, CLASS_ANY = 1, 254, 255
OPT, TSIG, IXFR, AXFR, ANY = 41, 250, 251, 252, 255
HEADER = struct.Struct("!6H")
FIXED = struct.Struct("!HHIH")  # type, class, TTL, RDLENGTH
SOA_NUMBERS = struct.Struct("!5I")

# Octets before the names in an rdata, and how many names: the types whose names may arrive compressed.
_NAMES_IN = {2: (0, 1), 5: (0, 1), 6: (0, 2), 12: (0, 1), 15: (2, 1), 33: (6, 1), 39: (0, 1)}
# Those whose names are compressed when sent: the ones of RFC 1035 (RFC 3597 section 4).
_COMPRESSED = frozenset({2, 5, 12, 15})
_FIXED_OCTETS = {1: 4, 28: 16}
_TXT = TYPE_CODES["TXT"]
_SOA = TYPE_CODES["SOA"]
_names_by_code = dict(TYPE_NAMES)
_codes_by_name: dict[str, int] = dict(TYPE_CODES)


def type_name(code: int) -> str:
    """The mnemonic; `TYPE123` where evenkeel has none (RFC 3597 section 5)."""
    return _names_by_code.get(code) or f"TYPE{code}"


def type_code(name: str) -> int:
    return _codes_by_name.get(name) or int(name.removeprefix("TYPE"))


def is_meta(code: int) -> bool:
    """Types that are questions or message parts, never data (RFC 6895 section 3.1)."""
    return code in (0, OPT) or 128 <= code <= 255


def read_rdata_octets(wire: bytes, code: int, at: int, end: int, seen: dict[int, bytes]) -> bytes:
    """The rdata in `wire[at:end]`, uncompressed and checked as far as its type is known. Raises `Malformed`."""
    if end > len(wire):
        raise Malformed(f"rdata at offset {at} runs past the end of the message")
    octets = _FIXED_OCTETS.get(code)
    if octets is not None:
        if end - at != octets:
            raise Malformed(f"{type_name(code)} rdata of {end - at} octets at offset {at}, {octets} are required")
    elif code == _TXT:
        _check_strings(wire, at, end)
    elif code in _NAMES_IN:
        return _read_with_names(wire, code, at, end, seen)
    return wire[at:end]


def _check_strings(wire: bytes, at: int, end: int) -> None:
    start = at
    while at < end:
        at += wire[at] + 1
    if at != end or start == end:
        raise Malformed(f"TXT rdata at offset {start}: its strings do not add up to {end - start} octets")


def _read_with_names(wire: bytes, code: int, at: int, end: int, seen: dict[int, bytes]) -> bytes:
    prefix, names = _NAMES_IN[code]
    parts = [wire[at : at + prefix]]
    after = at + prefix
    for _ in range(names):
        name, after = read_octets(wire, after, seen)
        parts.append(name)
    rest = SOA_NUMBERS.size if code == _SOA else 0
    if after + rest != end:
        raise Malformed(f"{type_name(code)} rdata at offset {at} has {end - at} octets, used are {after + rest - at}")
    parts.append(wire[after:end])
    return b"".join(parts)


def write_record(names: NameWriter, owner: bytes, code: int, ttl_s: int, rdata: bytes) -> None:
    """Append one record of class IN, its names compressed where that is allowed."""
    out = names.out
    names.write(owner)
    if code not in _COMPRESSED:
        out += FIXED.pack(code, CLASS_IN, ttl_s, len(rdata))
        out += rdata
        return
    prefix = _NAMES_IN[code][0]
    out += FIXED.pack(code, CLASS_IN, ttl_s, 0)
    at = len(out)
    out += rdata[:prefix]
    names.write(rdata[prefix:])
    struct.pack_into("!H", out, at - 2, len(out) - at)


def target_of(code: int, rdata: bytes) -> bytes:
    """The name that NS, CNAME, PTR, MX or SRV rdata leads to."""
    return rdata[_NAMES_IN[code][0] :]


def soa_numbers(rdata: bytes) -> tuple[int, int, int, int, int]:
    """Serial, refresh, retry, expire, minimum (RFC 1035 section 3.3.13); seconds but for the serial."""
    serial, refresh, retry, expire, minimum = SOA_NUMBERS.unpack_from(rdata, len(rdata) - SOA_NUMBERS.size)
    return serial, refresh, retry, expire, minimum


def with_serial(rdata: bytes, serial: int) -> bytes:
    at = len(rdata) - SOA_NUMBERS.size
    return rdata[:at] + serial.to_bytes(4, "big") + rdata[at + 4 :]


def is_newer_serial(new: int, old: int) -> bool:
    """Serial number arithmetic (RFC 1982 section 3.2)."""
    return 0 < (new - old) & 0xFFFFFFFF < 0x80000000


def next_serial(serial: int) -> int:
    """The serial that follows; 0 is left out, as it has a special meaning to some secondaries."""
    return (serial + 1) & 0xFFFFFFFF or 1
