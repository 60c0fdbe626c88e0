"""AXFR and IXFR as streams of messages (RFC 5936, RFC 1995), made piece by piece while queries go on.

A stream tells the zone as it was when the stream was begun, whatever is committed while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from evenkeel.nameserver.history import Change, decoded
from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.wire.octets import NameWriter
from evenkeel.wire.rdata import TYPE_CODES
from evenkeel.wire.records import HEADER, type_code, write_record

MESSAGE_OCTETS_TARGET = 16_000  # names can be pointed at within 16 KiB; and a message is made in a few ms
_QR_AA = 0x8400
_SOA = TYPE_CODES["SOA"]

RecordOctets = tuple[bytes, int, int, bytes]  # owner, type, TTL, rdata


def full_zone(apex: bytes, soa: Records[bytes], picture: Mapping[bytes, Node[bytes]]) -> Iterator[RecordOctets]:
    """Every record, between two copies of the SOA (RFC 5936 section 2.2)."""
    yield _soa_record(apex, soa)
    for name, node in picture.items():
        for type_, records in node.items():
            if type_ == "SOA" and name == apex:
                continue
            code = type_code(type_)
            for rdata in records.rdatas:
                yield name, code, records.ttl_s, rdata
    yield _soa_record(apex, soa)


def increments(apex: bytes, soa: Records[bytes], encoded: Sequence[bytes]) -> Iterator[RecordOctets]:
    """Each commit as what went and what came (RFC 1995 section 4); the SOA alone where there is nothing new."""
    current = _soa_record(apex, soa)
    yield current
    if not encoded:
        return
    for delta in decoded(encoded):
        for change in delta.changes:
            if change.type == _SOA:
                old_soa = Records(change.old_ttl_s, change.old)
                new_soa = Records(change.new_ttl_s, change.new)
        yield _soa_record(apex, old_soa)
        yield from _records(delta.changes, is_old=True)
        yield _soa_record(apex, new_soa)
        yield from _records(delta.changes, is_old=False)
    yield current


def _records(changes: Iterable[Change], is_old: bool) -> Iterator[RecordOctets]:
    """The records that only one side has. A new TTL is a new record."""
    for change in changes:
        if change.type == _SOA:
            continue
        mine, ttl_s, others = (
            (change.old, change.old_ttl_s, change.new) if is_old else (change.new, change.new_ttl_s, change.old)
        )
        kept = set(others) if change.old_ttl_s == change.new_ttl_s else ()
        for rdata in mine:
            if rdata not in kept:
                yield change.name, change.type, ttl_s, rdata


def _soa_record(apex: bytes, soa: Records[bytes]) -> RecordOctets:
    return apex, _SOA, soa.ttl_s, soa.rdatas[0]


def messages(
    message_id: bytes, question_octets: bytes, apex: bytes, records: Iterable[RecordOctets]
) -> Iterator[bytes]:
    """The stream, unsigned. The question's name is `apex`, so every owner is told relative to it."""
    out, names, count = _begun(message_id, question_octets, apex)
    for owner, code, ttl_s, rdata in records:
        if count and len(out) + len(rdata) > MESSAGE_OCTETS_TARGET:
            yield _ended(out, count)
            out, names, count = _begun(message_id, question_octets, apex)
        write_record(names, owner, code, ttl_s, rdata)
        count += 1
    yield _ended(out, count)


def _begun(message_id: bytes, question_octets: bytes, apex: bytes) -> tuple[bytearray, NameWriter, int]:
    out = bytearray(message_id + HEADER.pack(0, _QR_AA, 1, 0, 0, 0)[2:] + question_octets)
    names = NameWriter(out)
    names.note(apex, HEADER.size)
    return out, names, 0


def _ended(out: bytearray, count: int) -> bytes:
    out[6:8] = count.to_bytes(2, "big")
    return bytes(out)
