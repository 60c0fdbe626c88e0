"""What a zone holds, endpoint by endpoint: compact, and never torn.

Two layers. The *base* is the zone at one serial, moved only by whole transfers. The *overlay* is our own acknowledged
commits that the base may not show yet: an entry goes as soon as a transfer that was asked for after its
acknowledgement has been taken in, because that transfer covers it and whatever came after it. So an answer that was
overtaken by a foreign writer lives no longer than one transfer, and no record is ever counted twice.

This is what decisions are prepared from; what decides is each commit's own prerequisites.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from evenkeel.adapters.dns.held import (
    NOTHING,
    Held,
    Owner,
    Texts,
    changed_name,
    make,
    owner,
    record,
    slot_of,
    suppose,
)
from evenkeel.endpoints.layout import node_generation
from evenkeel.model.transactions import (
    AddRRs,
    Prerequisite,
    RRsetAbsent,
    RRsetEquals,
    RRsetExists,
    Transaction,
)
from evenkeel.ports.zone import NodeReading, Reading


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
        return own[0] if own is not None else self._base.get(endpoint, NOTHING)

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
            _one(held.rollback_weights),
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
                suppose(fresh[found.endpoint], requirement, found)
        for change in transaction.changes:
            whose = owners[change.rrset.name if isinstance(change, AddRRs) else change.name]
            make(fresh[whose.endpoint], change, whose)
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
        return self._base.get(endpoint, NOTHING)


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
        record(held, added, whose, slot, text)

    def finish(self, serial: int) -> None:
        self._view.install(self._staged, serial, self.covered, whole=self._whole)


def _one(texts: Texts) -> str:
    return texts[0] if texts else ""
