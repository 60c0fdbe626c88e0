"""Resource record sets in presentation form (RFC 1035, RFC 3596, RFC 2782)."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec


class RecordType(StrEnum):
    """The record types that evenkeel serves and writes, by mnemonic."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    TXT = "TXT"
    SOA = "SOA"
    NS = "NS"
    SRV = "SRV"

    __hash__ = str.__hash__  # the same value as Enum's own, which is a Python function: types are keys in hot paths


class Rcode(IntEnum):
    """Response codes (RFC 1035 section 4.1.1, RFC 2136 section 2.2, RFC 8945 section 3)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    YXDOMAIN = 6
    YXRRSET = 7
    NXRRSET = 8
    NOTAUTH = 9
    NOTZONE = 10
    BADVERS = 16


class RRset(msgspec.Struct, frozen=True, gc=False):
    """One record set. `name` is absolute and lowercase; `rdatas` are sorted presentation texts.

    TXT rdata is the bare text of its single character-string (no quotes), at most 255 octets.
    """

    name: str
    type: RecordType
    ttl_s: int
    rdatas: tuple[str, ...]

    @classmethod
    def of(cls, name: str, type: RecordType, ttl_s: int, *rdatas: str) -> RRset:  # noqa: A002 - the DNS term
        return cls(name, type, ttl_s, tuple(sorted(set(rdatas))))
