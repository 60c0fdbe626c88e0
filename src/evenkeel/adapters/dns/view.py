"""What a zone holds, endpoint by endpoint: compact, and never torn.

Two layers. The *base* is the zone at one serial, moved only by whole transfers. The *overlay* is our own acknowledged
commits that the base may not show yet: an entry goes as soon as a transfer that was asked for after its
acknowledgement has been taken in, because that transfer covers it and whatever came after it. So an answer that was
overtaken by a foreign writer lives no longer than one transfer, and no record is ever counted twice.

This is what decisions are prepared from; what decides is each commit's own prerequisites.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from evenkeel.endpoints.layout import node_generation
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
    RRsetExists,
    Transaction,
)
from evenkeel.ports.zone import NodeReading, Reading

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
    freezes: Texts  # the zone's kill switch, at the entry of the zone's own name
    nodes: dict[str, Node] | None  # by first label; None for the many that have no tree

    def __init__(self) -> None:
        self.fences = self.locks = self.targets = self.a = self.aaaa = self.weights = ()
        self.rollbacks = self.rollback_a = self.rollback_aaaa = self.freezes = ()
        self.nodes = None

    def copy(self) -> Held:
        twin = Held()
        if self is _NOTHING:
            return twin
        twin.fences, twin.locks, twin.targets = self.fences, self.locks, self.targets
        twin.a, twin.aaaa, twin.weights = self.a, self.aaaa, self.weights
        twin.rollbacks, twin.rollback_a, twin.rollback_aaaa = self.rollbacks, self.rollback_a, self.rollback_aaaa
        twin.freezes = self.freezes
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


_NOTHING = Held()


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


class ZoneView:
    """One zone's endpoints. Everything here is immediate; `follower.Follower` feeds it."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.serial = -1  # of the base; -1 until the first transfer
        self._base: dict[str, Held] = {}
        self._overlay: dict[str, tuple[Held, int]] = {}
        self._acknowledged = 0
        # Told what a transfer changed that was not our own doing: names, or None for the whole zone.
        self.on_touched: Callable[[list[str] | None], None] = lambda names: None

    # --- reading --------------------------------------------------------------------------------------

    def held(self, endpoint: str) -> Held:
        own = self._overlay.get(endpoint)
        return own[0] if own is not None else self._base.get(endpoint, _NOTHING)

    def reading(self, endpoint: str) -> Reading:
        held = self.held(endpoint)
        return Reading(
            held.fences,
            held.locks,
            _one(held.targets),
            held.a,
            held.aaaa,
            _one(held.weights),
            _one(held.rollbacks),
            held.rollback_a,
            held.rollback_aaaa,
        )

    def node(self, name: str) -> NodeReading:
        whose = owner(name)
        nodes = self.held(whose.endpoint).nodes
        node = nodes.get(whose.node) if nodes else None
        return NodeReading(name) if node is None else NodeReading(name, node.a, node.aaaa, _one(node.weights))

    def nodes(self, endpoint: str) -> list[str]:
        labels = self.held(endpoint).nodes or {}
        names = [f"{label}._tree.{endpoint}" for label, node in labels.items() if node.a or node.aaaa]
        return sorted(names, key=node_generation)

    def frozen(self) -> str:
        return _one(self.held(self.zone).freezes)

    def endpoints(self) -> Iterator[str]:
        """Names that hold anything the view keeps; foreign names with addresses are among them."""
        yield from self._base
        yield from (name for name in self._overlay if name not in self._base)

    def rrset(self, name: str, rtype: str) -> Texts | None:
        """The set's sorted texts; None where the view does not keep such a set."""
        whose = owner(name)
        slot = slot_of(whose, rtype)
        if not slot:
            return None
        held = self.held(whose.endpoint)
        if not whose.node:
            texts: Texts = getattr(held, slot)
            return texts
        node = held.nodes.get(whose.node) if held.nodes else None
        return getattr(node, slot) if node is not None else ()

    def holds(self, requirement: Prerequisite) -> bool:
        """Whether `requirement` holds as far as the view can tell: true where it cannot."""
        if not isinstance(requirement, RRsetEquals | RRsetAbsent | RRsetExists):
            return True
        texts = self.rrset(requirement.name, requirement.type)
        if texts is None:
            return True
        if isinstance(requirement, RRsetEquals):
            return texts == tuple(sorted(requirement.rdatas))
        return bool(texts) is isinstance(requirement, RRsetExists)

    # --- our own commits ------------------------------------------------------------------------------

    def applied(self, transaction: Transaction, owners: Mapping[str, Owner] | None = None) -> None:
        """Show what the server acknowledged. `owners`: of the changed names, where the caller has them already.

        The changes were made to what the prerequisites say, whatever the view has seen by now: a transfer may have
        overtaken the acknowledgement, and shown what a foreign writer put in the place of our own.
        """
        self._acknowledged += 1
        if owners is None:
            owners = {name: owner(name) for name in map(changed_name, transaction.changes)}
        fresh: dict[str, Held] = {}
        for whose in owners.values():
            if whose.endpoint not in fresh:
                fresh[whose.endpoint] = self.held(whose.endpoint).copy()
        for requirement in transaction.requires:
            found = owners.get(requirement.name)
            if found is not None:
                _suppose(fresh[found.endpoint], requirement, found)
        for change in transaction.changes:
            whose = owners[change.rrset.name if isinstance(change, AddRRs) else change.name]
            _CHANGES[type(change)](fresh[whose.endpoint], change, whose)
        for endpoint, held in fresh.items():
            self._overlay[endpoint] = (held, self._acknowledged)

    # --- transfers ------------------------------------------------------------------------------------

    def stage(self, *, whole: bool) -> Stage:
        """Begin to take in a transfer. Call it before the transfer is asked for."""
        return Stage(self, whole, self._acknowledged)

    def install(self, staged: dict[str, Held], serial: int, covered: int, *, whole: bool) -> None:
        """Take in what a transfer said, at once."""
        touched = None if whole else [name for name, held in staged.items() if not held.equals(self.held(name))]
        if whole:
            self._base = {endpoint: held for endpoint, held in staged.items() if not held.is_empty}
        else:
            for endpoint, held in staged.items():
                if held.is_empty:
                    self._base.pop(endpoint, None)
                else:
                    self._base[endpoint] = held
        self.serial = serial
        self.confirm(covered)
        if touched is None or touched:
            self.on_touched(touched)

    def confirm(self, covered: int) -> None:
        """The base shows every commit acknowledged up to `covered`."""
        if covered == self._acknowledged:
            self._overlay.clear()
        else:
            self._overlay = {name: own for name, own in self._overlay.items() if own[1] > covered}

    def base_of(self, endpoint: str) -> Held:
        return self._base.get(endpoint, _NOTHING)


class Stage:
    """A transfer while it comes in: what it changes stands beside the view until it is complete."""

    def __init__(self, view: ZoneView, whole: bool, covered: int) -> None:
        self.covered = covered
        self._view = view
        self._whole = whole
        self._staged: dict[str, Held] = {}
        self._name = ""
        self._owner = Owner("", "", "")

    def as_whole(self) -> None:
        """The server answers with the whole zone where differences were asked for; said before the first record."""
        self._whole = True

    def record(self, added: bool, name: str, rtype: str, text: str) -> None:
        whose = owner(name) if name != self._name else self._owner
        self._name, self._owner = name, whose  # records of one name come together
        slot = slot_of(whose, rtype)
        if not slot:
            return
        held = self._staged.get(whose.endpoint)
        if held is None:
            held = Held() if self._whole else self._view.base_of(whose.endpoint).copy()
            self._staged[whose.endpoint] = held
        label = whose.node
        thing = _node(held, label) if label else held
        texts: Texts = getattr(thing, slot)
        setattr(thing, slot, _with(texts, slot, text) if added else tuple(one for one in texts if one != text))
        if label and not added:
            _drop_if_empty(held, label)

    def finish(self, serial: int) -> None:
        self._view.install(self._staged, serial, self.covered, whole=self._whole)


def _one(texts: Texts) -> str:
    return texts[0] if texts else ""


def _with(texts: Texts, slot: str, text: str) -> Texts:
    if slot not in _ADDRESSES:
        return (*texts, text) if not texts else tuple(sorted({*texts, text}))
    # The same addresses stand at thousands of endpoints: one string, and one tuple, serve them all.
    return _shared(tuple(sorted({*texts, sys.intern(text)})))


@lru_cache(maxsize=16384)
def _shared(texts: Texts) -> Texts:
    return texts


def _node(held: Held, label: str) -> Node:
    if held.nodes is None:
        held.nodes = {}
    node = held.nodes.get(label)
    if node is None:
        node = held.nodes[label] = Node()
    return node


def _drop_if_empty(held: Held, label: str) -> None:
    nodes = held.nodes
    if nodes and label in nodes:
        node = nodes[label]
        if not (node.a or node.aaaa or node.weights):
            del nodes[label]
            if not nodes:
                held.nodes = None


def _suppose(held: Held, requirement: Prerequisite, whose: Owner) -> None:
    """Let the set be what a prerequisite that held says it was."""
    if isinstance(requirement, RRsetAbsent):
        _clear(held, whose, slot_of(whose, requirement.type))
    elif isinstance(requirement, RRsetEquals):
        slot = slot_of(whose, requirement.type)
        if slot:
            setattr(_node(held, whose.node) if whose.node else held, slot, tuple(sorted(requirement.rdatas)))


def _add(held: Held, change: AddRRs, whose: Owner) -> None:
    rrset = change.rrset
    slot = slot_of(whose, rrset.type)
    if not slot:
        return
    thing = _node(held, whose.node) if whose.node else held
    stood: Texts = getattr(thing, slot)
    setattr(thing, slot, tuple(sorted({*stood, *rrset.rdatas})) if stood else rrset.rdatas)


def _delete_rrset(held: Held, change: DeleteRRset, whose: Owner) -> None:
    _clear(held, whose, slot_of(whose, change.type))


def _delete_rrs(held: Held, change: DeleteRRs, whose: Owner) -> None:
    slot = slot_of(whose, change.type)
    if not slot:
        return
    thing = _node(held, whose.node) if whose.node else held
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


# Keyed by the change's own class, which mypy cannot follow into the argument's type: hence `...`.
_CHANGES: dict[type[Change], Callable[..., None]] = {
    AddRRs: _add,
    DeleteRRset: _delete_rrset,
    DeleteRRs: _delete_rrs,
    DeleteName: _delete_name,
}
