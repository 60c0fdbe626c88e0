"""The zone's primary in virtual time: the twin's rules on a zone that changes in place, watched at every commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from evenkeel.endpoints.layout import freeze_name
from evenkeel.model.records import Rcode, RRset
from evenkeel.model.transactions import PREREQUISITE_RCODES, Commit, Transaction
from evenkeel.nameserver.zone_view import Node
from evenkeel.ports.zone import NodeReading, Reading
from evenkeel.sim.network import Host
from evenkeel.twins.zone import Query, ZoneState, node_reading, reading, step

_TREE = "._tree."


class ChangingZone(ZoneState):
    """The twin's state, changed in place: a run goes one way, so nobody asks for an earlier state again."""

    __slots__ = ("_trees", "changed")

    def __init__(self, apex: str, nodes: Mapping[str, Node[str]] | None = None, guarded: bool = True) -> None:
        super().__init__(apex, nodes or {}, guarded)
        self.changed: list[str] = []  # names that the last commit changed
        self._trees: dict[str, dict[str, None]] = {}

    def replacing(self, nodes: Mapping[str, Node[str]]) -> ZoneState:
        self.changed = list(nodes)
        for name, node in nodes.items():
            old = self._nodes.pop(name, {})
            if node:
                self._nodes[name] = node
            self._index(name, old, node)
        return self

    def _index(self, name: str, old: Node[str], new: Node[str]) -> None:
        """Aliases by their target, and nodes by their endpoint."""
        before, after = old.get("CNAME"), new.get("CNAME")
        if before is not None:
            self._aliases[before.rdatas[0]] = self._aliases[before.rdatas[0]] - {name}
        if after is not None:
            self._aliases[after.rdatas[0]] = self._aliases.get(after.rdatas[0], frozenset()) | {name}
        label, tree, endpoint = name.partition(_TREE)
        if tree and label[:1] == "g":
            if new:
                self._trees.setdefault(endpoint, {})[name] = None
            else:
                self._trees.get(endpoint, {}).pop(name, None)

    def count(self, times: Mapping[str, int]) -> int:
        """Records in the zone, each as often as its endpoint stands for others (`times`, 1 where not named)."""
        total = 0
        for name, node in self._nodes.items():
            endpoint = endpoint_of(name) or name.partition(".")[2]
            records = sum(len(each.rdatas) for each in node.values())
            total += records * times.get(endpoint, 1)
        return total

    def nodes_of(self, endpoint: str) -> tuple[str, ...]:
        """The endpoint's nodes, oldest generation first."""
        return tuple(sorted(self._trees.get(endpoint, ()), key=lambda name: int(name[1 : name.index(".")])))


@dataclass(frozen=True, slots=True)
class Seen:
    """One view of an endpoint, with what is read along with it."""

    reading: Reading
    node: NodeReading | None
    frozen: str


def endpoint_of(name: str) -> str:
    """The endpoint that a name of its layout belongs to; "" for what no client's answer hangs on."""
    if name.startswith("_fence."):
        return name[len("_fence.") :]
    _, tree, endpoint = name.partition(_TREE)
    if tree:
        return endpoint if not name.startswith("_") else ""
    return "" if name.startswith("_") else name


class ZoneHost(Host):
    """A primary. `watch` is called after every commit with the endpoints that it may have touched."""

    def __init__(self, name: str, apex: str, guarded: bool) -> None:
        super().__init__(name)
        self.zone = ChangingZone(apex, guarded=guarded)
        self.watch: Callable[[Iterable[str]], None] = lambda endpoints: None
        self.commits = 0
        self.refusals = 0

    def read(self, endpoint: str) -> Seen:
        found = reading(self.zone, endpoint)
        node = node_reading(self.zone, found.target) if found.target else None
        return Seen(found, node, self.frozen())

    def read_one_node(self, node: str) -> NodeReading:
        return node_reading(self.zone, node)

    def frozen(self) -> str:
        return "".join(self.zone.texts(freeze_name(self.zone.apex), "TXT")[:1])

    def commit(self, transaction: Transaction) -> Commit:
        self.zone.changed = []
        _, rcode = step(self.zone, transaction)
        if rcode is not Rcode.NOERROR:
            self.refusals += 1
            is_ours = rcode in PREREQUISITE_RCODES or rcode is Rcode.REFUSED
            return Commit.REFUSED if is_ours else Commit.UNKNOWN
        self.commits += 1
        touched = dict.fromkeys(filter(None, map(endpoint_of, self.zone.changed)))
        if touched:
            self.watch(touched)
        return Commit.APPLIED

    def answer(self, endpoint: str, type_: str) -> tuple[RRset, ...]:
        """What a resolver gets."""
        _, answered = step(self.zone, Query(endpoint, type_))
        return answered.rrsets
