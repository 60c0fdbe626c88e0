"""A conditional transaction on a zone: RFC 2136's prerequisites and updates as values.

All or nothing: a server applies every change, in order, only when every prerequisite holds (RFC 2136
sections 2.4, 2.5 and 3). TTLs play no part in a prerequisite.

These, and the other values that a write is made of, are msgspec structs: frozen and slotted as a dataclass, made in a
fifteenth of its time. A first publication makes hundreds of thousands of them.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from evenkeel.model.records import Rcode, RecordType, RRset

# --- prerequisites (RFC 2136 section 2.4) ---------------------------------------------------------


class NameInUse(msgspec.Struct, frozen=True, gc=False):
    """At least one record stands at `name` (2.4.4); else NXDOMAIN."""

    name: str


class NameNotInUse(msgspec.Struct, frozen=True, gc=False):
    """No record stands at `name` (2.4.5); else YXDOMAIN."""

    name: str


class RRsetExists(msgspec.Struct, frozen=True, gc=False):
    """A record of that type stands at `name` (2.4.1); else NXRRSET."""

    name: str
    type: RecordType


class RRsetAbsent(msgspec.Struct, frozen=True, gc=False):
    """No record of that type stands at `name` (2.4.3); else YXRRSET."""

    name: str
    type: RecordType


class RRsetEquals(msgspec.Struct, frozen=True, gc=False):
    """The set at `name` has exactly these rdatas (2.4.2); else NXRRSET."""

    name: str
    type: RecordType
    rdatas: tuple[str, ...]


Prerequisite = NameInUse | NameNotInUse | RRsetExists | RRsetAbsent | RRsetEquals

# --- changes (RFC 2136 section 2.5) ---------------------------------------------------------------


class AddRRs(msgspec.Struct, frozen=True, gc=False):
    """Add each record of the set (2.5.1)."""

    rrset: RRset


class DeleteRRset(msgspec.Struct, frozen=True, gc=False):
    """Delete every record of that type at `name` (2.5.2)."""

    name: str
    type: RecordType


class DeleteName(msgspec.Struct, frozen=True, gc=False):
    """Delete every record at `name` (2.5.3)."""

    name: str


class DeleteRRs(msgspec.Struct, frozen=True, gc=False):
    """Delete just these records (2.5.4)."""

    name: str
    type: RecordType
    rdatas: tuple[str, ...]


Change = AddRRs | DeleteRRset | DeleteName | DeleteRRs


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """What must hold, and what then changes; atomic within one `zone`."""

    zone: str
    requires: tuple[Prerequisite, ...]
    changes: tuple[Change, ...]


class Commit(Enum):
    """How a transaction ended, as far as the writer can know."""

    APPLIED = auto()
    REFUSED = auto()  # a prerequisite did not hold; nothing changed
    UNKNOWN = auto()  # the reply was lost: it may have been applied, or may yet be


# The response codes by which a server says that a prerequisite did not hold.
PREREQUISITE_RCODES = frozenset({Rcode.YXDOMAIN, Rcode.YXRRSET, Rcode.NXDOMAIN, Rcode.NXRRSET})
