"""The zone server's twin: `step(state, request) -> (state, reply)`, pure, for checking and for virtual time.

It applies the very rules that the embedded nameserver applies (`evenkeel.nameserver`), to a zone held as text. A
zone without SOA is allowed, and is what a model checker wants: no serial grows in it, so equal content is an
equal state. States are hashable and compare by content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

from evenkeel.model.errors import InternalError
from evenkeel.model.names import is_at_or_under
from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.transactions import (
    PREREQUISITE_RCODES,
    AddRRs,
    Commit,
    DeleteName,
    DeleteRRs,
    DeleteRRset,
    NameInUse,
    NameNotInUse,
    RRsetAbsent,
    RRsetEquals,
    RRsetExists,
    Transaction,
)
from evenkeel.nameserver.lookup import lookup
from evenkeel.nameserver.never_empty import emptied
from evenkeel.nameserver.update_rules import Edit, EditRecord, Need, NeedRecord, Outcome, Update, evaluate
from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.ports.zone import NodeReading, Reading

_FENCE = "_fence."
_NOTHING: Node[str] = {}


class ZoneState:
    """One zone's content; immutable. Implements `nameserver.zone_view.ZoneView` over text.

    `guarded`: endpoints with a fence beside them may not be emptied (`nameserver.never_empty`).
    """

    __slots__ = ("_aliases", "_hash", "_nodes", "apex", "guarded")

    def __init__(self, apex: str, nodes: Mapping[str, Node[str]], guarded: bool = True) -> None:
        self.apex = apex
        self.guarded = guarded
        self._nodes = dict(nodes)
        self._aliases: dict[str, frozenset[str]] = {}
        self._hash = hash((apex, guarded))
        for name, node in self._nodes.items():
            self._hash ^= _node_hash(name, node)
            _index_alias(self._aliases, name, _NOTHING, node)

    @classmethod
    def of(cls, apex: str, rrsets: Iterable[RRset] = (), guarded: bool = True) -> ZoneState:
        """The zone that holds just `rrsets`."""
        nodes: dict[str, dict[str, Records[str]]] = {}
        for rrset in rrsets:
            nodes.setdefault(rrset.name, {})[str(rrset.type)] = Records(rrset.ttl_s, tuple(sorted(rrset.rdatas)))
        return cls(apex, nodes, guarded)

    def replacing(self, nodes: Mapping[str, Node[str]]) -> ZoneState:
        """The state that follows when the names in `nodes` take that content."""
        state = ZoneState(self.apex, _NO_NODES, self.guarded)
        state._nodes, state._aliases, state._hash = dict(self._nodes), dict(self._aliases), self._hash
        for name, node in nodes.items():
            old = state._nodes.pop(name, _NOTHING)
            if old:
                state._hash ^= _node_hash(name, old)
            if node:
                state._nodes[name] = node
                state._hash ^= _node_hash(name, node)
            _index_alias(state._aliases, name, old, node)
        return state

    def rrsets(self) -> tuple[RRset, ...]:
        """Everything in the zone, by name and type."""
        return tuple(
            RRset(name, RecordType(type_), records.ttl_s, records.rdatas)
            for name in sorted(self._nodes)
            for type_, records in sorted(self._nodes[name].items())
        )

    def names(self) -> Iterable[str]:
        return self._nodes.keys()

    def texts(self, name: str, type_: str) -> tuple[str, ...]:
        """The rdatas of one set; empty where there is none."""
        records = self.node(name).get(type_)
        return records.rdatas if records is not None else ()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ZoneState):
            return NotImplemented
        return (
            self._hash == other._hash
            and self.apex == other.apex
            and self.guarded == other.guarded
            and self._nodes == other._nodes
        )

    def __reduce__(self) -> tuple[type[ZoneState], tuple[object, ...]]:
        return (ZoneState, (self.apex, self._nodes, self.guarded))  # string hashes differ from process to process

    def __repr__(self) -> str:
        return f"ZoneState({self.apex!r}, {len(self._nodes)} names)"

    # --- ZoneView -------------------------------------------------------------------------------------

    def contains(self, name: str) -> bool:
        return is_at_or_under(name, self.apex)

    def node(self, name: str) -> Node[str]:
        return self._nodes.get(name, _NOTHING)

    def has_below(self, name: str) -> bool:
        return any(each != name and is_at_or_under(each, name) for each in self._nodes)

    def aliases_of(self, name: str) -> Iterable[str]:
        return self._aliases.get(name, ())

    def cut_above(self, name: str) -> str | None:
        cut = None
        while name != self.apex:
            if "NS" in self.node(name):
                cut = name
            name = name.partition(".")[2]
        return cut

    def target(self, rdata: str) -> str:
        return rdata

    def is_newer_soa(self, new: str, old: str) -> bool:
        return 0 < (_serial(new) - _serial(old)) & 0xFFFFFFFF < 0x80000000

    def next_soa(self, soa: str) -> str:
        fields = soa.split()
        fields[2] = str((_serial(soa) + 1) & 0xFFFFFFFF or 1)
        return " ".join(fields)

    def fenced(self, name: str) -> str | None:
        return name.removeprefix(_FENCE) if name.startswith(_FENCE) else None

    def fence_of(self, name: str) -> str:
        return _FENCE + name


_NO_NODES: dict[str, Node[str]] = {}


def _serial(soa: str) -> int:
    return int(soa.split()[2])


def _node_hash(name: str, node: Node[str]) -> int:
    return hash((name, frozenset(node.items())))


def _index_alias(aliases: dict[str, frozenset[str]], name: str, old: Node[str], new: Node[str]) -> None:
    before, after = old.get("CNAME"), new.get("CNAME")
    if before is not None:
        aliases[before.rdatas[0]] -= {name}
        if not aliases[before.rdatas[0]]:
            del aliases[before.rdatas[0]]
    if after is not None:
        aliases[after.rdatas[0]] = aliases.get(after.rdatas[0], frozenset()) | {name}


# --- requests -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Query:
    """A client's question. `type` may be "ANY"."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Dump:
    """Everything in the zone, as a transfer would show it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer section, CNAMEs first; empty with NOERROR is "no data"."""

    rcode: Rcode
    rrsets: tuple[RRset, ...] = ()


@overload
def step(state: ZoneState, request: Transaction) -> tuple[ZoneState, Rcode]: ...
@overload
def step(state: ZoneState, request: Query) -> tuple[ZoneState, Answered]: ...
@overload
def step(state: ZoneState, request: Dump) -> tuple[ZoneState, tuple[RRset, ...]]: ...
def step(
    state: ZoneState, request: Transaction | Query | Dump
) -> tuple[ZoneState, Rcode | Answered | tuple[RRset, ...]]:
    """What the server does with one request. Raises nothing that a request could cause."""
    match request:
        case Transaction():
            return _commit(state, request)
        case Query():
            return state, _answer(state, request)
        case Dump():
            return state, state.rrsets()


def _commit(state: ZoneState, transaction: Transaction) -> tuple[ZoneState, Rcode]:
    if transaction.zone != state.apex:
        return state, Rcode.NOTAUTH
    update = as_update(transaction)
    outcome: Outcome[str, str] = evaluate(state, update)
    if outcome.rcode or not outcome.nodes:
        return state, outcome.rcode
    if state.guarded and emptied(state, outcome.nodes, update.needs) is not None:
        return state, Rcode.REFUSED
    return state.replacing(outcome.nodes), Rcode.NOERROR


def _answer(state: ZoneState, query: Query) -> Answered:
    if not state.contains(query.name):
        return Answered(Rcode.REFUSED)
    found = lookup(state, query.name, query.type)
    rrsets = (RRset(name, RecordType(type_), each.ttl_s, each.rdatas) for name, type_, each in found.chain)
    return Answered(found.rcode, tuple(rrsets))


@lru_cache(maxsize=4096)
def as_update(transaction: Transaction) -> Update[str, str]:
    """The transaction as the records of a message, in order."""
    needs: list[NeedRecord[str, str]] = []
    for need in transaction.requires:
        match need:
            case NameInUse(name):
                needs.append((Need.NAME_IN_USE, name, "", None))
            case NameNotInUse(name):
                needs.append((Need.NAME_NOT_IN_USE, name, "", None))
            case RRsetExists(name, type_):
                needs.append((Need.RRSET_EXISTS, name, str(type_), None))
            case RRsetAbsent(name, type_):
                needs.append((Need.RRSET_ABSENT, name, str(type_), None))
            case RRsetEquals(name, type_, rdatas):
                # Equal to nothing is sent as "absent" (wire.update), the only form that a message has for it.
                absent: list[NeedRecord[str, str]] = [(Need.RRSET_ABSENT, name, str(type_), None)]
                needs += [(Need.RRSET_HOLDS, name, str(type_), rdata) for rdata in rdatas] or absent
    return Update(tuple(needs), tuple(edit for change in transaction.changes for edit in _edits(change)))


def _edits(change: AddRRs | DeleteRRset | DeleteName | DeleteRRs) -> Iterable[EditRecord[str, str]]:
    match change:
        case AddRRs(rrset):
            return [(Edit.ADD, rrset.name, str(rrset.type), rrset.ttl_s, rdata) for rdata in rrset.rdatas]
        case DeleteRRset(name, type_):
            return [(Edit.DELETE_RRSET, name, str(type_), 0, None)]
        case DeleteName(name):
            return [(Edit.DELETE_NAME, name, "", 0, None)]
        case DeleteRRs(name, type_, rdatas):
            return [(Edit.DELETE_RECORD, name, str(type_), 0, rdata) for rdata in rdatas]


# --- as the systems' port -----------------------------------------------------------------------------


def reading(state: ZoneState, endpoint: str) -> Reading:
    """The endpoint as `ports.zone.ZoneServer.read` tells it."""
    rollback = "_rollback." + endpoint
    return Reading(
        fences=state.texts(_FENCE + endpoint, "TXT"),
        locks=state.texts("_lock." + endpoint, "TXT"),
        target="".join(state.texts(endpoint, "CNAME")),
        a=state.texts(endpoint, "A"),
        aaaa=state.texts(endpoint, "AAAA"),
        weights="".join(state.texts("_weights." + endpoint, "TXT")[:1]),
        rollback="".join(state.texts(rollback, "CNAME")),
        rollback_a=state.texts(rollback, "A"),
        rollback_aaaa=state.texts(rollback, "AAAA"),
        rollback_weights="".join(state.texts("_weights." + rollback, "TXT")[:1]),
    )


def node_reading(state: ZoneState, node: str) -> NodeReading:
    """One node of a tree as `ports.zone.ZoneServer.read_node` tells it."""
    weights = "".join(state.texts("_weights." + node, "TXT")[:1])
    return NodeReading(node, state.texts(node, "A"), state.texts(node, "AAAA"), weights)


def tree_nodes(state: ZoneState, endpoint: str) -> tuple[str, ...]:
    """The endpoint's nodes, oldest generation first."""
    tree = "._tree." + endpoint
    found = []
    for name in state.names():
        label = name.removesuffix(tree)
        if label != name and label[:1] == "g" and label[1:].isdigit():
            found.append((int(label[1:]), name))
    return tuple(name for _, name in sorted(found))


class TwinZoneServer:
    """Implements `ports.zone.ZoneServer` over a state in memory: every call happens at once."""

    def __init__(self, state: ZoneState) -> None:
        self.state = state

    async def read(self, endpoint: str) -> Reading:
        return reading(self.state, endpoint)

    async def read_node(self, node: str) -> NodeReading:
        return node_reading(self.state, node)

    async def nodes(self, endpoint: str) -> tuple[str, ...]:
        return tree_nodes(self.state, endpoint)

    async def frozen(self) -> str:
        return "".join(self.state.texts("_freeze." + self.state.apex, "TXT")[:1])

    async def commit(self, transaction: Transaction) -> Commit:
        self.state, rcode = step(self.state, transaction)
        if rcode is Rcode.NOERROR:
            return Commit.APPLIED
        if rcode in PREREQUISITE_RCODES or rcode is Rcode.REFUSED:
            return Commit.REFUSED
        raise InternalError(f"the twin answered {rcode.name} to {transaction!r}")
