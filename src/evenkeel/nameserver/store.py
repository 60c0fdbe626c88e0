"""One zone's content as wire octets, with the indexes that questions and guards need.

`ZoneStore` is what is served and durable. `Staged` lies over it while transactions are evaluated and journalled;
only once they are on disk does the store take them. A node is replaced, never mutated, so a copy of the table of
names is a consistent picture of the zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.wire.octets import is_at_or_under, parent, suffixes
from evenkeel.wire.rdata import TYPE_CODES
from evenkeel.wire.records import is_newer_serial, next_serial, soa_numbers, target_of, with_serial

FENCE_LABEL = b"\x06_fence"
_CNAME = TYPE_CODES["CNAME"]
_NOTHING: Node[bytes] = {}


class OctetRules:
    """What the rules have to know of names and rdatas, for wire octets."""

    __slots__ = ("apex",)

    def __init__(self, apex: bytes) -> None:
        self.apex = apex

    def target(self, rdata: bytes) -> bytes:
        return target_of(_CNAME, rdata)

    def is_newer_soa(self, new: bytes, old: bytes) -> bool:
        return is_newer_serial(soa_numbers(new)[0], soa_numbers(old)[0])

    def next_soa(self, soa: bytes) -> bytes:
        return with_serial(soa, next_serial(soa_numbers(soa)[0]))

    def fenced(self, name: bytes) -> bytes | None:
        return name[len(FENCE_LABEL) :] if name.startswith(FENCE_LABEL) else None

    def fence_of(self, name: bytes) -> bytes:
        return FENCE_LABEL + name


class ZoneStore(OctetRules):
    """Implements `zone_view.LookupView` over octets. `soa` is the apex's SOA rdata."""

    __slots__ = ("_aliases", "_below", "_cuts", "_nodes")

    def __init__(self, apex: bytes, nodes: Mapping[bytes, Node[bytes]]) -> None:
        super().__init__(apex)
        self._nodes: dict[bytes, Node[bytes]] = {}
        self._below: dict[bytes, int] = {}  # names that stand below each name
        self._aliases: dict[bytes, set[bytes]] = {}
        self._cuts: set[bytes] = set()
        self.apply(nodes)

    def apply(self, nodes: Mapping[bytes, Node[bytes]]) -> bool:
        """Each name in `nodes` takes that content; an empty one goes. Whether a delegation came, went or changed."""
        cuts_changed = False
        for name, node in nodes.items():
            old = self._nodes.get(name, _NOTHING)
            if "CNAME" in old or "CNAME" in node:
                self._index_alias(name, old, node)
            if name != self.apex and ("NS" in node or "NS" in old):
                cuts_changed = True
                (self._cuts.add if "NS" in node else self._cuts.discard)(name)
            if node:
                self._nodes[name] = node
                if not old:
                    self._count_below(name, 1)
            elif old:
                del self._nodes[name]
                self._count_below(name, -1)
        return cuts_changed

    def _index_alias(self, name: bytes, old: Node[bytes], new: Node[bytes]) -> None:
        before, after = old.get("CNAME"), new.get("CNAME")
        if before is not None:
            owners = self._aliases[before.rdatas[0]]
            owners.discard(name)
            if not owners:
                del self._aliases[before.rdatas[0]]
        if after is not None:
            self._aliases.setdefault(after.rdatas[0], set()).add(name)

    def _count_below(self, name: bytes, change: int) -> None:
        while name != self.apex:
            name = parent(name)
            count = self._below.get(name, 0) + change
            if count:
                self._below[name] = count
            else:
                del self._below[name]

    @property
    def soa(self) -> Records[bytes]:
        return self._nodes[self.apex]["SOA"]

    @property
    def serial(self) -> int:
        return soa_numbers(self.soa.rdatas[0])[0]

    def picture(self) -> dict[bytes, Node[bytes]]:
        """The zone at this moment; what is applied later does not show in it."""
        return dict(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def contains(self, name: bytes) -> bool:
        return name in self._nodes or is_at_or_under(name, self.apex)

    def node(self, name: bytes) -> Node[bytes]:
        return self._nodes.get(name, _NOTHING)

    def has_below(self, name: bytes) -> bool:
        return name in self._below

    def aliases_of(self, name: bytes) -> Iterable[bytes]:
        return self._aliases.get(name, ())

    def cut_above(self, name: bytes) -> bytes | None:
        if not self._cuts:
            return None
        cut = None
        for suffix in suffixes(name):
            if suffix == self.apex:
                break
            if suffix in self._cuts:
                cut = suffix
        return cut


class Staged(OctetRules):
    """A store with changes laid over it that are not durable yet. Implements `zone_view.ZoneView`."""

    __slots__ = ("_aliases", "_beneath", "_store", "nodes")

    def __init__(self, store: ZoneStore) -> None:
        super().__init__(store.apex)
        self._beneath = store._nodes  # read here as often as there are records in a batch
        self._store = store
        self.nodes: dict[bytes, Node[bytes]] = {}
        self._aliases: dict[bytes, set[bytes]] = {}

    @property
    def serial(self) -> int:
        return soa_numbers(self.node(self.apex)["SOA"].rdatas[0])[0]

    def take(self, nodes: Mapping[bytes, Node[bytes]]) -> None:
        """Lay `nodes` over what is there."""
        self.nodes.update(nodes)
        for name, node in nodes.items():
            alias = node.get("CNAME")
            if alias is not None:
                self._aliases.setdefault(alias.rdatas[0], set()).add(name)

    def contains(self, name: bytes) -> bool:
        return name in self._beneath or is_at_or_under(name, self.apex)

    def node(self, name: bytes) -> Node[bytes]:
        node = self.nodes.get(name)
        return self._beneath.get(name, _NOTHING) if node is None else node

    def aliases_of(self, name: bytes) -> Iterator[bytes]:
        """Those in the store and the staged ones; some may have been staged away since."""
        yield from self._store.aliases_of(name)
        yield from self._aliases.get(name, ())
