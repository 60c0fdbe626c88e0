"""Zone transfers as they arrive: AXFR (RFC 5936) and IXFR (RFC 1995), message by message.

A transfer is one long sequence of records over many messages. It opens and closes with the zone's SOA; what stands
between tells the form:

    SOA(new)                                                         IXFR: nothing changed since the serial asked for
    SOA(new) other records ...                            SOA(new)   whole zone, also in answer to IXFR
    SOA(new) [SOA(old) deleted ... SOA(next) added ...]...  SOA(new)  differences, oldest first

Nothing is kept but the position: each `feed` answers with what that message said.
"""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import NamedTuple

from evenkeel.model.records import Rcode
from evenkeel.wire.names import Malformed, encode_name, read_name
from evenkeel.wire.rdata import SOA_CODE, TYPE_NAMES, encode_rdata, read_rdata

AXFR_CODE, IXFR_CODE = 252, 251
_CLASS_IN = 1
_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHIH")


class Step(NamedTuple):
    """What a transfer says of one record: it was added (or stands in the zone), or it was deleted.

    `type` is a mnemonic, or RFC 3597's `TYPE123` for one that evenkeel has no use for.
    """

    added: bool
    name: str
    type: str
    ttl_s: int
    text: str


class Kind(Enum):
    """What a transfer turned out to be; UNDECIDED until its second record, or its end."""

    UNDECIDED = auto()
    UP_TO_DATE = auto()
    WHOLE = auto()
    DIFFERENCES = auto()
    ROLLED_BACK = auto()  # the server's serial is older than the one asked from: only AXFR can tell what stands


class TransferRefused(Malformed):
    """The server answered with an error instead of a transfer."""

    def __init__(self, rcode: int, zone: str) -> None:
        self.rcode = rcode
        name = Rcode(rcode).name if rcode in Rcode.__members__.values() else str(rcode)
        super().__init__(f"transfer of {zone} answered {name}")


def encode_transfer_query(message_id: int, zone: str, serial: int | None) -> bytes:
    """AXFR, or with a serial IXFR since it (RFC 1995 section 3)."""
    qtype = AXFR_CODE if serial is None else IXFR_CODE
    authority = 0 if serial is None else 1
    query = _HEADER.pack(message_id, 0, 1, 0, authority, 0) + encode_name(zone) + struct.pack("!HH", qtype, _CLASS_IN)
    if serial is None:
        return query
    soa = encode_rdata("SOA", f". . {serial} 0 0 0 0")
    return query + b"\xc0\x0c" + _FIXED.pack(SOA_CODE, _CLASS_IN, 0, len(soa)) + soa


def is_newer(serial: int, than: int) -> bool:
    """Serial number arithmetic (RFC 1982 section 3.2)."""
    return 0 < (serial - than) % 2**32 < 2**31


class TransferReader:
    """Reads one transfer of `zone`. `since` is the serial that an IXFR asked for, None for AXFR."""

    def __init__(self, message_id: int, zone: str, since: int | None = None) -> None:
        self.kind = Kind.UNDECIDED
        self.serial = -1  # of the zone as transferred, once the first record has been read
        self.done = False
        self._id = message_id
        self._zone = zone
        self._since = since
        self._records = 0
        self._deleting = False
        self._position = -1  # serial that the differences so far lead to
        self._first_soa = ""

    def feed(self, message: bytes) -> list[Step]:
        """What one message (its signature verified and removed) says. Raises `Malformed`, `TransferRefused`."""
        try:
            return self._feed(message)
        except (IndexError, struct.error, ValueError) as error:
            raise Malformed(f"transfer of {self._zone}: message of {len(message)} octets is broken") from error

    def _feed(self, message: bytes) -> list[Step]:
        message_id, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
        if message_id != self._id or not flags & 0x8000:
            raise Malformed(f"transfer of {self._zone}: not a reply to message {self._id}")
        if flags & 0xF:
            raise TransferRefused(flags & 0xF, self._zone)
        seen: dict[int, str] = {}
        at = _HEADER.size
        for _ in range(questions):
            at = read_name(message, at, seen)[1] + 4
        if self.done and answers:
            raise Malformed(f"transfer of {self._zone}: records after its end")
        steps: list[Step] = []
        unpack, size = _FIXED.unpack_from, _FIXED.size
        for _ in range(answers):
            name, at = read_name(message, at, seen)
            rtype, _, ttl_s, rdlength = unpack(message, at)
            at += size
            end = at + rdlength
            if end > len(message):
                raise Malformed(f"transfer of {self._zone}: record at {name} runs past the end of the message")
            text = read_rdata(message, rtype, at, end, seen)
            at = end
            self._records += 1
            if rtype == SOA_CODE:
                self._soa(name, ttl_s, text, steps)
            else:
                self._record(name, rtype, ttl_s, text, steps)
        if self._records == 1 and self._since is not None and not is_newer(self.serial, self._since):
            self.kind = Kind.UP_TO_DATE if self.serial == self._since else Kind.ROLLED_BACK
            self.done = True
        return steps

    def _soa(self, name: str, ttl_s: int, text: str, steps: list[Step]) -> None:
        if name != self._zone or self.done:
            raise Malformed(f"transfer of {self._zone}: SOA of {name}, or after the end")
        serial = int(text.split()[2])
        if self._records == 1:
            self.serial = serial
            self._first_soa = text
            return
        if self._records == 2 and self._since is not None and serial != self.serial:
            if serial != self._since:
                raise Malformed(f"transfer of {self._zone}: differences from {serial}, asked for {self._since}")
            self.kind = Kind.DIFFERENCES
            self._deleting = True
            return
        if self.kind is not Kind.DIFFERENCES:
            self._close(Kind.WHOLE, text, steps, name, ttl_s)
        elif self._deleting:
            self._deleting = False
            self._position = serial
        elif serial == self.serial == self._position:
            self._close(Kind.DIFFERENCES, text, steps, name, ttl_s)
        elif serial != self._position:
            raise Malformed(f"transfer of {self._zone}: differences jump from {self._position} to {serial}")
        else:
            self._deleting = True

    def _close(self, kind: Kind, text: str, steps: list[Step], name: str, ttl_s: int) -> None:
        if text != self._first_soa:
            raise Malformed(f"transfer of {self._zone}: opens with SOA {self._first_soa!r}, closes with {text!r}")
        self.kind = kind
        self.done = True
        steps.append(Step(True, name, "SOA", ttl_s, text))

    def _record(self, name: str, rtype: int, ttl_s: int, text: str, steps: list[Step]) -> None:
        if self._records == 1 or self.done:
            raise Malformed(f"transfer of {self._zone}: record of {name} before the first SOA or after the last")
        if self.kind is Kind.UNDECIDED:
            self.kind = Kind.WHOLE
        steps.append(Step(not self._deleting, name, TYPE_NAMES.get(rtype) or f"TYPE{rtype}", ttl_s, text))
