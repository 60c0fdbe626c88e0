"""One endpoint's record sets as a zone holds them, and what a change does to them.

Compact on purpose: an Enactor keeps tens of thousands of these. A set is a sorted tuple of texts; the many that are
empty share one, and address sets that are alike share one too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from evenkeel.model.records import RecordType
from evenkeel.model.transactions import (
    AddRRs,
    Change,
    DeleteName,
    DeleteRRs,
    DeleteRRset,
    Prerequisite,
    RRsetAbsent,
    RRsetEquals,
)

Texts = tuple[str, ...]


class Node:
    """One node of an endpoint's tree."""

    __slots__ = ("a", "aaaa", "weights")

    def __init__(self) -> None:
        self.a: Texts = ()
        self.aaaa: Texts = ()
        self.weights: Texts = ()

    def equals(self, other: Node) -> bool:
        return (self.a, self.aaaa, self.weights) == (other.a, other.aaaa, other.weights)

    def copy(self) -> Node:
        twin = Node()
        twin.a, twin.aaaa, twin.weights = self.a, self.aaaa, self.weights
        return twin


_SLOTS = (
    "fences",
    "locks",
    "targets",
    "a",
    "aaaa",
    "weights",
    "rollbacks",
    "rollback_a",
    "rollback_aaaa",
    "rollback_weights",
    "freezes",
)


class Held:
    """Everything that the zone holds for one endpoint, sorted texts a record set. Copied before it is changed."""

    __slots__ = (*_SLOTS, "nodes")

    fences: Texts
    locks: Texts
    targets: Texts
    a: Texts
    aaaa: Texts
    weights: Texts
    rollbacks: Texts
    rollback_a: Texts
    rollback_aaaa: Texts
    rollback_weights: Texts
    freezes: Texts  # the zone's kill switch, at the entry of the zone's own name
    nodes: dict[str, Node] | None  # by first label; None for the many that have no tree

    def __init__(self) -> None:
        self.fences = self.locks = self.targets = self.a = self.aaaa = self.weights = ()
        self.rollbacks = self.rollback_a = self.rollback_aaaa = self.rollback_weights = self.freezes = ()
        self.nodes = None

    def copy(self) -> Held:
        twin = Held()
        if self is NOTHING:
            return twin
        twin.fences, twin.locks, twin.targets = self.fences, self.locks, self.targets
        twin.a, twin.aaaa, twin.weights = self.a, self.aaaa, self.weights
        twin.rollbacks, twin.rollback_a, twin.rollback_aaaa = self.rollbacks, self.rollback_a, self.rollback_aaaa
        twin.rollback_weights, twin.freezes = self.rollback_weights, self.freezes
        if self.nodes is not None:
            twin.nodes = {label: node.copy() for label, node in self.nodes.items()}
        return twin

    @property
    def is_empty(self) -> bool:
        return self.nodes is None and not any(getattr(self, slot) for slot in _SLOTS)

    def equals(self, other: Held) -> bool:
        """Whether both hold the same for the endpoint."""
        if any(getattr(self, slot) != getattr(other, slot) for slot in _SLOTS):
            return False
        mine, theirs = self.nodes or {}, other.nodes or {}
        return mine.keys() == theirs.keys() and all(node.equals(theirs[label]) for label, node in mine.items())


NOTHING = Held()


class Owner(NamedTuple):
    """Whom a name belongs to: an endpoint, its node's first label or "", and the control label before either or ""."""

    endpoint: str
    node: str
    prefix: str


# Where the view keeps a set, by the control label of its name ("node" for a tree's node) and its type.
_SLOT_OF: dict[tuple[str, str], str] = {
    ("", "CNAME"): "targets",
    ("", "A"): "a",
    ("", "AAAA"): "aaaa",
    ("node", "A"): "a",
    ("node", "AAAA"): "aaaa",
    ("_weights", "TXT"): "weights",
    ("_fence", "TXT"): "fences",
    ("_lock", "TXT"): "locks",
    ("_freeze", "TXT"): "freezes",
    ("_rollback", "CNAME"): "rollbacks",
    ("_rollback", "A"): "rollback_a",
    ("_rollback", "AAAA"): "rollback_aaaa",
    ("_weights_rollback", "TXT"): "rollback_weights",
}
_ADDRESSES = frozenset({"a", "aaaa", "rollback_a", "rollback_aaaa"})
_PREFIXES = frozenset({"_fence", "_lock", "_freeze", "_rollback"})


def owner(name: str) -> Owner:
    """Whom `name` belongs to."""
    label, _, rest = name.partition(".")
    if label in _PREFIXES:
        return Owner(rest, "", label)
    if label == "_weights":
        inner = owner(rest)
        return Owner(inner.endpoint, inner.node, label + inner.prefix)
    if rest.startswith("_tree."):
        return Owner(rest[len("_tree.") :], sys.intern(label), "")
    return Owner(name, "", "")


def slot_of(whose: Owner, rtype: str) -> str:
    """Where the view keeps a set of `rtype` at that name; "" where it does not."""
    return _SLOT_OF.get((whose.prefix or (whose.node and "node"), rtype), "")


def changed_name(change: Change) -> str:
    return change.rrset.name if isinstance(change, AddRRs) else change.name


# --- changes --------------------------------------------------------------------------------------------


def suppose(held: Held, requirement: Prerequisite, whose: Owner) -> None:
    """Let the set be what a prerequisite that held says it was."""
    if isinstance(requirement, RRsetAbsent):
        _clear(held, whose, slot_of(whose, requirement.type))
    elif isinstance(requirement, RRsetEquals):
        slot = slot_of(whose, requirement.type)
        if slot:
            setattr(_thing(held, whose), slot, tuple(sorted(requirement.rdatas)))


def make(held: Held, change: Change, whose: Owner) -> None:
    """Make one change of a transaction."""
    _CHANGES[type(change)](held, change, whose)


def record(held: Held, added: bool, whose: Owner, slot: str, text: str) -> None:
    """Take in one record of a transfer."""
    thing = _thing(held, whose)
    texts: Texts = getattr(thing, slot)
    setattr(thing, slot, _with(texts, slot, text) if added else tuple(one for one in texts if one != text))
    if whose.node and not added:
        _drop_if_empty(held, whose.node)


def _thing(held: Held, whose: Owner) -> Held | Node:
    """What has the slots of that name: the endpoint, or one of its nodes, made if need be."""
    if not whose.node:
        return held
    if held.nodes is None:
        held.nodes = {}
    node = held.nodes.get(whose.node)
    if node is None:
        node = held.nodes[whose.node] = Node()
    return node


def _drop_if_empty(held: Held, label: str) -> None:
    nodes = held.nodes
    if nodes and label in nodes:
        node = nodes[label]
        if not (node.a or node.aaaa or node.weights):
            del nodes[label]
            if not nodes:
                held.nodes = None


def _add(held: Held, change: AddRRs, whose: Owner) -> None:
    rrset = change.rrset
    slot = slot_of(whose, rrset.type)
    if not slot:
        return
    thing = _thing(held, whose)
    stood: Texts = getattr(thing, slot)
    setattr(thing, slot, tuple(sorted({*stood, *rrset.rdatas})) if stood else rrset.rdatas)


def _delete_rrset(held: Held, change: DeleteRRset, whose: Owner) -> None:
    _clear(held, whose, slot_of(whose, change.type))


def _delete_rrs(held: Held, change: DeleteRRs, whose: Owner) -> None:
    slot = slot_of(whose, change.type)
    if not slot:
        return
    thing = _thing(held, whose)
    setattr(thing, slot, tuple(one for one in getattr(thing, slot) if one not in change.rdatas))
    if whose.node:
        _drop_if_empty(held, whose.node)


def _delete_name(held: Held, change: DeleteName, whose: Owner) -> None:
    for rtype in RecordType:
        _clear(held, whose, slot_of(whose, rtype))


def _clear(held: Held, whose: Owner, slot: str) -> None:
    if not slot:
        return
    if not whose.node:
        setattr(held, slot, ())
    elif held.nodes and whose.node in held.nodes:
        setattr(held.nodes[whose.node], slot, ())
        _drop_if_empty(held, whose.node)


def _with(texts: Texts, slot: str, text: str) -> Texts:
    if slot not in _ADDRESSES:
        return (*texts, text) if not texts else tuple(sorted({*texts, text}))
    # The same addresses stand at thousands of endpoints: one string, and one tuple, serve them all.
    return _shared(tuple(sorted({*texts, sys.intern(text)})))


@lru_cache(maxsize=16384)
def _shared(texts: Texts) -> Texts:
    return texts


# Keyed by the change's own class, which mypy cannot follow into the argument's type: hence `...`.
_CHANGES: dict[type[Change], Callable[..., None]] = {
    AddRRs: _add,
    DeleteRRset: _delete_rrset,
    DeleteRRs: _delete_rrs,
    DeleteName: _delete_name,
}
