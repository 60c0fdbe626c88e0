"""Answers that are ready to send: a question's octets lead to a ring of reply bodies, dealt in turn.

A reply is the client's id, a head (flags and counts), the question as the client wrote it, and a tail that was
compiled once. Rings are compiled when first asked for and dropped when an update touches a name that they were
compiled from, so an update costs nothing for what nobody asks. A negative answer ends in the zone's SOA, which
changes with every update: it is appended when the reply is put together, not compiled in.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from evenkeel.model.records import Rcode
from evenkeel.nameserver.lookup import ANY as ANY_NAME
from evenkeel.nameserver.lookup import Found, Kind, lookup
from evenkeel.nameserver.store import ZoneStore
from evenkeel.nameserver.weights import hands, parse_weights, turns
from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.wire.octets import NameWriter
from evenkeel.wire.rdata import TYPE_CODES
from evenkeel.wire.records import (
    ANY,
    CLASS_IN,
    FIXED,
    HEADER,
    soa_numbers,
    target_of,
    type_code,
    type_name,
    write_record,
)

WEIGHTS_LABEL = b"\x08_weights"
ROTATED_MAX = 64  # addresses of one set that are dealt in turn; larger sets are sent as they stand
SOURCES_MAX = 1_000_000  # names that a zone's ready answers hang on; all are dropped when there are more
ADDITIONAL_OCTETS_MAX = 4096  # addresses beside names in an answer are a courtesy: no more once a reply has this size

# Every answer's OPT: version 0, no options, our own limit for a reply (RFC 6891 section 6.1.2).
UDP_OCTETS_MAX = 1232
OPT_RECORD = b"\0" + FIXED.pack(41, UDP_OCTETS_MAX, 0, 0)

_QR, _AA, _TC, _RD = 0x8000, 0x0400, 0x0200, 0x0100
_ADDRESS_TYPES = ("A", "AAAA")
_FAMILY = {"A": "a", "AAAA": "aaaa"}
_QUESTION_AT = HEADER.size


class Ring:
    """One question's replies. `heads` by mode: bit 0 recursion desired (echoed), bit 1 EDNS."""

    __slots__ = ("at", "heads", "is_bulky", "is_kept", "packets", "rcode", "soa_at", "tails", "zone")

    def __init__(
        self, zone: ServedZone, rcode: Rcode, is_ours: bool, counts: tuple[int, int, int], tails: list[bytes]
    ) -> None:
        self.zone = zone
        self.rcode = rcode
        self.tails = tails
        self.at = 0
        self.packets: list[bytes] = []  # keys of the packets that are ready to be sent from this ring
        self.is_kept = False  # dropped when the zone changes; any other ring is for one reply
        self.soa_at = b""  # pointer to the zone's name: this is a negative answer
        self.is_bulky = False  # of a kind that pays for amplification: over UDP only while it is small
        answers, authority, additional = counts
        flags = _QR | (_AA if is_ours else 0) | rcode
        self.heads = tuple(
            HEADER.pack(0, flags | (_RD if mode & 1 else 0), 1, answers, authority, additional + (mode >> 1))[2:]
            for mode in range(4)
        )

    def tail(self) -> bytes:
        """What follows the question in the next reply."""
        at = self.at
        tails = self.tails
        self.at = at + 1 if at + 1 < len(tails) else 0
        return tails[at] + self.soa_tail()

    def soa_tail(self) -> bytes:
        """The SOA that ends a negative answer, as it is now; nothing for any other."""
        return self.soa_at + self.zone.soa_tail if self.soa_at else b""


class ServedZone:
    """A zone with its ready answers. `weighted_answers`: addresses in one reply where weights stand beside them.

    `packets` is shared between zones, so that one look-up finds the answer to any question.
    """

    def __init__(self, store: ZoneStore, packets: ReadyPackets, weighted_answers: int = 1) -> None:
        self.store = store
        self.packets = packets
        self.weighted_answers = weighted_answers
        self._rings: dict[bytes, Ring] = {}
        self._compiled_from: dict[bytes, set[bytes]] = {}  # name -> questions
        self.soa_tail = _soa_tail(store)

    def apply(self, nodes: Mapping[bytes, Node[bytes]]) -> None:
        """The zone takes new content at the names in `nodes`; answers that were compiled from them go."""
        cuts_changed = self.store.apply(nodes)
        self.soa_tail = _soa_tail(self.store)
        # A delegation that comes or goes changes what is said of every name below it.
        self.packets.forget_negatives()
        if cuts_changed:
            self._forget_all()
        for name in nodes:
            for question in self._compiled_from.pop(name, ()):
                self._forget(question)

    def ring(self, question: bytes) -> Ring:
        """The ring for `question` (lowercase name, type, class IN), whose name the zone contains."""
        found_ring = self._rings.get(question)
        if found_ring is not None:
            return found_ring
        name, code = question[:-4], int.from_bytes(question[-4:-2], "big")
        found = lookup(self.store, name, ANY_NAME if code == ANY else type_name(code))
        compiled = _Compiler(self, question).compile(found)
        compiled.is_bulky = code in (ANY, TYPE_CODES["TXT"]) or found.kind is Kind.REFERRAL
        if self._may_keep(found):
            self._keep(question, name, found, compiled)
        return compiled

    def _may_keep(self, found: Found[bytes, bytes]) -> bool:
        """Names that do not exist are without number; an empty non-terminal hangs on names other than its own."""
        if found.kind is Kind.NODATA:
            return bool(self.store.node(found.last))
        return found.kind is not Kind.NXDOMAIN

    def _keep(self, question: bytes, name: bytes, found: Found[bytes, bytes], ring: Ring) -> None:
        if len(self._compiled_from) >= SOURCES_MAX:
            self._forget_all()
        self._rings[question] = ring
        ring.is_kept = True
        sources = {name, found.last, *(owner for owner, _, _ in found.chain)}
        if found.chain and found.chain[-1][1] in _ADDRESS_TYPES:
            sources.add(WEIGHTS_LABEL + found.last)
        if found.kind is Kind.REFERRAL or (found.chain and found.chain[-1][1] in ("NS", "SRV", "MX")):
            sources.update(self.addressed_by(found))
        for source in sources:
            self._compiled_from.setdefault(source, set()).add(question)

    def _forget_all(self) -> None:
        for question in list(self._rings):
            self._forget(question)
        self._compiled_from.clear()

    def _forget(self, question: bytes) -> None:
        ring = self._rings.pop(question, None)
        if ring is not None:
            self.packets.forget(ring)

    def addressed_by(self, found: Found[bytes, bytes]) -> list[bytes]:
        """Names whose addresses go into the additional section (RFC 1034 section 4.3.2, RFC 2782)."""
        if found.kind is Kind.REFERRAL:
            type_, records = "NS", self.store.node(found.last)["NS"]
        elif found.kind is Kind.ANSWER and found.chain[-1][1] in ("NS", "SRV", "MX"):
            _, type_, records = found.chain[-1]
        else:
            return []
        targets = [target_of(type_code(type_), rdata) for rdata in records.rdatas]
        return [target for target in targets if self.store.contains(target)]


class ReadyPackets(Protocol):
    """What a zone tells `ready_packets.ReadyPackets` when its content changes."""

    def forget(self, ring: Ring) -> None: ...

    def forget_negatives(self) -> None: ...


def _soa_tail(store: ZoneStore) -> bytes:
    """The SOA of a negative answer, without its owner: its TTL is that of the denial (RFC 2308 section 3)."""
    soa = store.soa
    rdata = soa.rdatas[0]
    ttl_s = min(soa.ttl_s, soa_numbers(rdata)[4])
    return FIXED.pack(TYPE_CODES["SOA"], CLASS_IN, ttl_s, len(rdata)) + rdata


class _Compiler:
    """Puts one question's replies together."""

    def __init__(self, zone: ServedZone, question: bytes) -> None:
        self._zone = zone
        self._name = question[:-4]
        self._out = bytearray(_QUESTION_AT)
        self._names = NameWriter(self._out)
        self._names.note(self._name, _QUESTION_AT)
        self._out += question
        self._start = len(self._out)

    def compile(self, found: Found[bytes, bytes]) -> Ring:
        zone = self._zone
        chain = found.chain[:-1] if found.kind is Kind.ANSWER else found.chain
        answers = sum(self._write(owner, type_, records) for owner, type_, records in chain)
        if found.kind is Kind.ANSWER:
            return self._compile_answer(found, answers)
        if found.kind is Kind.REFERRAL:
            authority = self._write(found.last, "NS", zone.store.node(found.last)["NS"])
            additional = self._write_addresses(zone.addressed_by(found))
            return Ring(zone, found.rcode, bool(answers), (answers, authority, additional), [self._tail()])
        if found.kind is Kind.ELSEWHERE:
            return Ring(zone, found.rcode, True, (answers, 0, 0), [self._tail()])
        ring = Ring(zone, found.rcode, True, (answers, 1, 0), [self._tail()])
        ring.soa_at = (0xC000 | _QUESTION_AT + len(self._name) - len(zone.store.apex)).to_bytes(2, "big")
        return ring

    def _compile_answer(self, found: Found[bytes, bytes], answers: int) -> Ring:
        owner, type_, records = found.chain[-1]
        if type_ in _ADDRESS_TYPES and 1 < len(records.rdatas) <= ROTATED_MAX:
            size, tails = self._deal(owner, type_, records)
            return Ring(self._zone, found.rcode, True, (answers + size, 0, 0), tails)
        answers += self._write(owner, type_, records)
        additional = self._write_addresses(self._zone.addressed_by(found))
        return Ring(self._zone, found.rcode, True, (answers, 0, additional), [self._tail()])

    def _deal(self, owner: bytes, type_: str, records: Records[bytes]) -> tuple[int, list[bytes]]:
        """Addresses in one reply, and the tails of a whole cycle."""
        # Weights stand in the order of the sorted address texts (model.plan.Answer).
        ordered = sorted(records.rdatas, key=_address_text)
        weights = self._weights(owner, type_, len(ordered))
        size = self._zone.weighted_answers if weights else len(ordered)
        cycle = turns(weights or [1] * len(ordered))
        before = self._tail()
        end = len(self._out)
        self._names.write(owner)
        fixed = bytes(self._out[end:]) + FIXED.pack(type_code(type_), CLASS_IN, records.ttl_s, len(ordered[0]))
        parts = [fixed + rdata for rdata in ordered]
        shared: dict[tuple[int, ...], bytes] = {}
        tails = []
        for hand in hands(cycle, size):
            tail = shared.get(hand)
            if tail is None:
                tail = shared[hand] = before + b"".join([parts[place] for place in hand])
            tails.append(tail)
        return min(size, len(ordered)), tails

    def _weights(self, owner: bytes, type_: str, addresses: int) -> Sequence[int]:
        """The weights beside `owner`; none where there are none, or not one an address."""
        beside = self._zone.store.node(WEIGHTS_LABEL + owner).get("TXT")
        if beside is None or len(beside.rdatas) != 1:
            return ()
        text = beside.rdatas[0][1:].decode("ascii", "replace")
        weights = parse_weights(text).get(_FAMILY[type_], ())
        return weights if len(weights) == addresses and len(set(weights)) > 1 else ()

    def _write_addresses(self, targets: Iterable[bytes]) -> int:
        """Addresses of `targets`, also below a delegation: glue."""
        written = 0
        for target in dict.fromkeys(targets):
            if len(self._out) > ADDITIONAL_OCTETS_MAX:
                break
            node = self._zone.store.node(target)
            written += sum(self._write(target, type_, node[type_]) for type_ in _ADDRESS_TYPES if type_ in node)
        return written

    def _write(self, owner: bytes, type_: str, records: Records[bytes]) -> int:
        code = type_code(type_)
        for rdata in records.rdatas:
            write_record(self._names, owner, code, records.ttl_s, rdata)
        return len(records.rdatas)

    def _tail(self) -> bytes:
        return bytes(self._out[self._start :])


def _address_text(rdata: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(rdata) == 4 else socket.AF_INET6, rdata)
