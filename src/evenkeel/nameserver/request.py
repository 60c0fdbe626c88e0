"""What a client asks: a message's header, its one question, EDNS and the serial of an IXFR.

Everything in a message is bounded by its length and read once, forwards; whatever does not add up is FORMERR.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from evenkeel.wire.names import Malformed, skip_name
from evenkeel.wire.octets import read_octets
from evenkeel.wire.records import FIXED, HEADER, IXFR, OPT, TSIG, soa_numbers

UDP_OCTETS_DEFAULT = 512  # RFC 1035 section 2.3.4
MESSAGE_OCTETS_MAX = 0xFFFF
_SOA = 6


@dataclass(slots=True)
class Request:
    """One parsed query. `question` is lowercase, `question_octets` as it came (its case is echoed)."""

    name: bytes
    type: int
    class_: int
    question_octets: bytes
    has_edns: bool = False
    edns_version: int = 0
    udp_octets: int = UDP_OCTETS_DEFAULT
    is_signed: bool = False
    serial: int = -1  # of the SOA in an IXFR's authority section

    has_options: bool = False  # in its OPT record, or other additional records

    @property
    def is_plain(self) -> bool:
        """Whether the next client with this question will most likely send the same octets."""
        return not (self.has_options or self.is_signed) and self.question_octets.startswith(self.name)

    @property
    def question(self) -> bytes:
        return self.name + self.question_octets[-4:]


def parse_request(message: bytes) -> Request:
    """Raises `Malformed`: FORMERR."""
    try:
        return _parse(message)
    except (IndexError, struct.error) as error:
        raise Malformed(f"query of {len(message)} octets ends within a record") from error


def _parse(message: bytes) -> Request:
    _, _, questions, answers, authority, additional = HEADER.unpack_from(message)
    if questions != 1 or answers:
        raise Malformed(f"a query with {questions} questions and {answers} answers")
    seen: dict[int, bytes] = {}
    name, at = read_octets(message, HEADER.size, seen)
    type_, class_ = struct.unpack_from("!HH", message, at)
    at += 4
    if len(name) + 4 != at - HEADER.size:
        raise Malformed("the question's name is compressed")
    request = Request(name, type_, class_, message[HEADER.size : at])
    if authority:
        if type_ != IXFR or authority != 1:
            raise Malformed("records in the authority section of a query")
        at = _read_serial(message, at, seen, request)
    for remaining in range(additional, 0, -1):
        at = _read_additional(message, at, remaining == 1, request)
    if at != len(message):
        raise Malformed(f"{len(message) - at} octets stand after the last record")
    return request


def _read_serial(message: bytes, at: int, seen: dict[int, bytes], request: Request) -> int:
    _, at = read_octets(message, at, seen)
    octets: int
    type_, _, _, octets = FIXED.unpack_from(message, at)
    at += FIXED.size
    if type_ != _SOA or octets < 22:
        raise Malformed("an IXFR has to bring its SOA (RFC 1995 section 3)")
    request.serial = soa_numbers(message[at : at + octets])[0]
    return at + octets


def _read_additional(message: bytes, at: int, is_last: bool, request: Request) -> int:
    is_root = not message[at]
    at = skip_name(message, at)
    octets: int
    type_, class_, ttl, octets = FIXED.unpack_from(message, at)
    if type_ == OPT:
        if request.has_edns or not is_root:
            raise Malformed("more than one OPT record, or one with a name (RFC 6891 section 6.1.1)")
        request.has_edns = True
        request.udp_octets = max(UDP_OCTETS_DEFAULT, class_)
        request.edns_version = ttl >> 16 & 0xFF
        request.has_options |= bool(octets)
    elif type_ == TSIG:
        if not is_last:
            raise Malformed("a TSIG record stands elsewhere than last (RFC 8945 section 5.1)")
        request.is_signed = True
    else:
        request.has_options = True
    return at + FIXED.size + octets
