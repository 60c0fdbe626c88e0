"""Dynamic updates on the wire (RFC 2136): many transactions in one message, at about 10 us each.

A message is all or nothing, so what stands together is refused together; who sends decides which transactions may
share one. Every prerequisite of all of them is checked before the first change is made (section 3.2), hence none may
read what another one writes.

Names are compressed (RFC 1035 section 4.1.4): each is written once, relative to the zone's own name at offset 12,
and pointed at wherever it comes again within the first 16 KiB.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from evenkeel.model.errors import WriteRejected
from evenkeel.model.transactions import (
    AddRRs,
    Change,
    DeleteName,
    DeleteRRs,
    DeleteRRset,
    NameInUse,
    NameNotInUse,
    Prerequisite,
    RRsetAbsent,
    RRsetEquals,
    RRsetExists,
    Transaction,
)
from evenkeel.wire.names import POINTABLE_OCTETS
from evenkeel.wire.rdata import SOA_CODE, TYPE_CODES, framed_rdata

OPCODE_UPDATE = 5
MESSAGE_OCTETS_MAX = 60_000  # leaves room for a signature within the 65,535 of a TCP message
_COUNT_MAX = 0xFFFF

_CLASS_IN, _CLASS_NONE, _CLASS_ANY = 1, 254, 255
_TYPE_ANY = 255
_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHI")  # type, class, TTL
_EMPTY_RR = struct.Struct("!HHIH")  # the same, and RDLENGTH


class TooBig(WriteRejected):
    """The transactions do not fit into one message. `octets` is where encoding stopped."""

    def __init__(self, transactions: int, octets: int, octets_max: int) -> None:
        self.octets = octets
        super().__init__(
            f"{transactions} transaction(s) take more than {octets} octets, {octets_max} fit into one message; "
            "mend: fewer changes in one transaction"
        )


class BadTransaction(WriteRejected):
    """A transaction that has no wire form. `index` is its place among those given."""

    def __init__(self, index: int, transaction: Transaction, why: str) -> None:
        self.index = index
        super().__init__(f"transaction on zone {transaction.zone}: {why}")


def encode_update(
    message_id: int, zone: str, transactions: Sequence[Transaction], octets_max: int = MESSAGE_OCTETS_MAX
) -> bytes:
    """One unsigned UPDATE message. All transactions are of `zone`. Raises `TooBig` or `BadTransaction`.

    A prerequisite that several transactions share is sent once. `RRsetEquals` of nothing is sent as `RRsetAbsent`,
    which is what it means and the only form that has octets.
    """
    encoder = _Encoder(zone)
    prerequisites = encoder.write(transactions, _prerequisites, octets_max)
    changes = encoder.write(transactions, _changes, octets_max)
    _HEADER.pack_into(encoder.out, 0, message_id, OPCODE_UPDATE << 11, 1, prerequisites, changes, 0)
    return bytes(encoder.out)


def _prerequisites(encoder: _Encoder, transaction: Transaction) -> int:
    fresh = encoder.unseen(transaction.requires)
    return sum([_PREREQUISITES[type(requirement)](encoder, requirement) for requirement in fresh])


def _changes(encoder: _Encoder, transaction: Transaction) -> int:
    return sum([_CHANGES[type(change)](encoder, change) for change in transaction.changes])


class _Encoder:
    """A message under construction. Writers answer with the number of records they wrote."""

    __slots__ = ("_asked", "names", "out")

    def __init__(self, zone: str) -> None:
        self.out = bytearray(_HEADER.size)
        self.names: dict[str, bytes] = {}
        self._asked: dict[str, list[Prerequisite]] = {}
        self.name(zone)
        self.out += struct.pack("!HH", SOA_CODE, _CLASS_IN)

    def write(
        self,
        transactions: Sequence[Transaction],
        section: Callable[[_Encoder, Transaction], int],
        octets_max: int,
    ) -> int:
        records = 0
        out = self.out
        for index, transaction in enumerate(transactions):
            try:
                records += section(self, transaction)
            except (ValueError, KeyError, OverflowError, struct.error) as error:
                raise BadTransaction(index, transaction, str(error)) from error
            if len(out) > octets_max or records > _COUNT_MAX:
                raise TooBig(len(transactions), len(out), octets_max)
        return records

    def unseen(self, requires: Iterable[Prerequisite]) -> list[Prerequisite]:
        """Those not sent before in this message. Exact values differ by endpoint, so only the others are looked at."""
        fresh: list[Prerequisite] = []
        for requirement in requires:
            if type(requirement) is not RRsetEquals:
                asked = self._asked.get(requirement.name)
                if asked is None:
                    self._asked[requirement.name] = [requirement]
                elif requirement in asked:
                    continue
                else:
                    asked.append(requirement)
            fresh.append(requirement)
        return fresh

    def name(self, name: str) -> None:
        """Write `name`, compressed."""
        names, out = self.names, self.out
        while True:
            pointer = names.get(name)
            if pointer is not None:
                out += pointer
                return
            if not name:
                out.append(0)
                return
            if len(out) < POINTABLE_OCTETS:
                names[name] = (0xC000 | len(out)).to_bytes(2, "big")
            label, _, rest = name.partition(".")
            octets = label.encode("ascii")
            if not 0 < len(octets) < 64:
                raise ValueError(f"{name!r}: a label has {len(octets)} octets, 1 to 63 are allowed")
            out.append(len(octets))
            out += octets
            name = rest

    def empty(self, name: str, rest: bytes) -> int:
        """A record without rdata; `rest` as `_rest_of_empty` makes it."""
        self.name(name)
        self.out += rest
        return 1

    def filled(self, name: str, rtype: str, rclass: int, ttl_s: int, rdatas: tuple[str, ...]) -> int:
        """One record a rdata."""
        out = self.out
        fixed = _FIXED.pack(TYPE_CODES[rtype], rclass, ttl_s)
        for text in rdatas:
            pointer = self.names.get(name)
            if pointer is not None:
                out += pointer
            else:
                self.name(name)
            out += fixed
            if rtype == "CNAME":  # its target stands in the same zone as a rule, so compression pays
                at = len(out)
                out += b"\0\0"
                self.name(text)
                struct.pack_into("!H", out, at, len(out) - at - 2)
            else:
                out += framed_rdata(rtype, text)
        return len(rdatas)


@lru_cache(maxsize=64)  # every type with every class that a record without rdata has
def _rest_of_empty(rtype: int, rclass: int) -> bytes:
    return _EMPTY_RR.pack(rtype, rclass, 0, 0)


_ANY_ANY = _rest_of_empty(_TYPE_ANY, _CLASS_ANY)
_ANY_NONE = _rest_of_empty(_TYPE_ANY, _CLASS_NONE)


def _name_in_use(encoder: _Encoder, requirement: NameInUse) -> int:
    return encoder.empty(requirement.name, _ANY_ANY)


def _name_not_in_use(encoder: _Encoder, requirement: NameNotInUse) -> int:
    return encoder.empty(requirement.name, _ANY_NONE)


def _rrset_exists(encoder: _Encoder, requirement: RRsetExists) -> int:
    return encoder.empty(requirement.name, _rest_of_empty(TYPE_CODES[requirement.type], _CLASS_ANY))


def _rrset_absent(encoder: _Encoder, requirement: RRsetAbsent) -> int:
    return encoder.empty(requirement.name, _rest_of_empty(TYPE_CODES[requirement.type], _CLASS_NONE))


def _rrset_equals(encoder: _Encoder, requirement: RRsetEquals) -> int:
    if not requirement.rdatas:
        return encoder.empty(requirement.name, _rest_of_empty(TYPE_CODES[requirement.type], _CLASS_NONE))
    return encoder.filled(requirement.name, requirement.type, _CLASS_IN, 0, requirement.rdatas)


def _add(encoder: _Encoder, change: AddRRs) -> int:
    rrset = change.rrset
    return encoder.filled(rrset.name, rrset.type, _CLASS_IN, rrset.ttl_s, rrset.rdatas)


def _delete_rrset(encoder: _Encoder, change: DeleteRRset) -> int:
    return encoder.empty(change.name, _rest_of_empty(TYPE_CODES[change.type], _CLASS_ANY))


def _delete_name(encoder: _Encoder, change: DeleteName) -> int:
    return encoder.empty(change.name, _ANY_ANY)


def _delete_rrs(encoder: _Encoder, change: DeleteRRs) -> int:
    return encoder.filled(change.name, change.type, _CLASS_NONE, 0, change.rdatas)


# Keyed by the value's own class, which mypy cannot follow into the argument's type: hence `...`.
_PREREQUISITES: dict[type[Prerequisite], Callable[..., int]] = {
    NameInUse: _name_in_use,
    NameNotInUse: _name_not_in_use,
    RRsetExists: _rrset_exists,
    RRsetAbsent: _rrset_absent,
    RRsetEquals: _rrset_equals,
}
_CHANGES: dict[type[Change], Callable[..., int]] = {
    AddRRs: _add,
    DeleteRRset: _delete_rrset,
    DeleteName: _delete_name,
    DeleteRRs: _delete_rrs,
}
