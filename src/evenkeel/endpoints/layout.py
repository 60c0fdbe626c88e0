"""Where things stand in a zone, and the transactions that move them (DESIGN.md, zone layout; OUTAGE.md).

    endpoint                     tree: CNAME to a node    flat: the addresses themselves
    g146._tree.<endpoint>        tree: the node of generation 146, its addresses
    _weights.<owner>             TXT: weights of the addresses at <owner>, absent where they are alike
    _fence.<endpoint>            TXT: who published which generation last; exactly one
    _rollback.<endpoint>         the previous answer: CNAME to its node, or addresses (and their weights, as above)
    _lock.<endpoint>             TXT: October 2025's lock, "host epoch"
    _freeze.<zone>               TXT: the kill switch; every write requires its absence

Every function here is pure: a reading and a wish go in, a `Transaction` comes out. Each composed write states the
exact values that it replaces, so that a server refuses it once they have changed (RFC 2136 section 2.4).
"""

from __future__ import annotations

import msgspec

from evenkeel.model.fence import Fence
from evenkeel.model.plan import Answer, EndpointPlan, Layout
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import (
    AddRRs,
    Change,
    DeleteName,
    DeleteRRset,
    Prerequisite,
    RRsetAbsent,
    RRsetEquals,
    Transaction,
)
from evenkeel.ports.zone import NodeReading, Reading

# Fences, locks and the kill switch are read by automation only: never cached for long.
CONTROL_TTL_S = 1

A, AAAA, CNAME, TXT = RecordType.A, RecordType.AAAA, RecordType.CNAME, RecordType.TXT


def fence_name(endpoint: str) -> str:
    return "_fence." + endpoint


def lock_name(endpoint: str) -> str:
    return "_lock." + endpoint


def rollback_name(endpoint: str) -> str:
    return "_rollback." + endpoint


def weights_name(owner: str) -> str:
    return "_weights." + owner


def freeze_name(zone: str) -> str:
    return "_freeze." + zone


def node_name(endpoint: str, generation: int) -> str:
    return f"g{generation}._tree.{endpoint}"


def node_generation(node: str) -> int:
    """The generation in a node's name; -1 where `node` is not a node's name."""
    label, _, rest = node.partition(".")
    if rest.startswith("_tree.") and label[:1] == "g" and label[1:].isdigit():
        return int(label[1:])
    return -1


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What a client gets from an endpoint at one moment: the reading, with the node that it points to."""

    reading: Reading
    node: NodeReading | None = None

    @property
    def a(self) -> tuple[str, ...]:
        return self.node.a if self.node is not None else self.reading.a

    @property
    def aaaa(self) -> tuple[str, ...]:
        return self.node.aaaa if self.node is not None else self.reading.aaaa

    @property
    def weights(self) -> str:
        return self.node.weights if self.node is not None else self.reading.weights

    @property
    def size(self) -> int:
        return len(self.a) + len(self.aaaa)

    @property
    def is_dangling(self) -> bool:
        """The answer points to a node that is not there: what October 2025's record was left as."""
        return bool(self.reading.target) and (self.node is None or not self.node.exists)

    def shows(self, answer: Answer) -> bool:
        """Whether clients get `answer`: the same addresses by the same weights."""
        return self.a == answer.a and self.aaaa == answer.aaaa and self.weights == answer.weights_text()


class Target(msgspec.Struct, frozen=True, gc=False):
    """What an endpoint is to show: an answer, and in a tree the node that holds it."""

    endpoint: str
    layout: Layout
    answer: Answer
    node: str  # "" in a flat layout

    @classmethod
    def of(cls, planned: EndpointPlan, node_generation: int) -> Target:
        node = node_name(planned.name, node_generation) if planned.layout is Layout.TREE else ""
        return cls(planned.name, planned.layout, planned.answer, node)


def is_shown(target: Target, standing: Standing) -> bool:
    """Whether the endpoint stands as `target` says, the node's name included."""
    reading = standing.reading
    in_place = reading.target == target.node and not (target.node and (reading.a or reading.aaaa))
    return in_place and standing.shows(target.answer)


# --- transactions ---------------------------------------------------------------------------------


def not_frozen(zone: str) -> Prerequisite:
    return RRsetAbsent(freeze_name(zone), TXT)


def stands(name: str, type_: RecordType, rdatas: tuple[str, ...]) -> Prerequisite:
    """The set at `name` is exactly `rdatas`; absent where there are none."""
    return RRsetEquals(name, type_, rdatas) if rdatas else RRsetAbsent(name, type_)


def replaced(name: str, type_: RecordType, ttl_s: int, rdatas: tuple[str, ...]) -> tuple[Change, ...]:
    """The set at `name` becomes `rdatas`; it goes where there are none."""
    delete = DeleteRRset(name, type_)
    return (delete, AddRRs(RRset(name, type_, ttl_s, rdatas))) if rdatas else (delete,)


def _as_rdatas(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _answer_at(owner: str, answer: Answer) -> tuple[Change, ...]:
    """Addresses and weights of `answer` at `owner`, whatever stood there."""
    return (
        *replaced(owner, A, answer.ttl_s, answer.a),
        *replaced(owner, AAAA, answer.ttl_s, answer.aaaa),
        *replaced(weights_name(owner), TXT, answer.ttl_s, _as_rdatas(answer.weights_text())),
    )


def build_node(zone: str, target: Target) -> Transaction:
    """The node with just the target's addresses. Its name decides its content, so building twice does no harm."""
    return Transaction(zone, (not_frozen(zone),), _answer_at(target.node, target.answer))


def _as_read(endpoint: str, standing: Standing, target: Target) -> tuple[Prerequisite, ...]:
    """The old answer's exact value, and the new node's."""
    reading = standing.reading
    if target.layout is Layout.TREE:
        node = (stands(target.node, A, target.answer.a), stands(target.node, AAAA, target.answer.aaaa))
        return (stands(endpoint, CNAME, _as_rdatas(reading.target)), *node)
    # Families that neither stand nor come need no word; a foreign record of one shows as drift and is then read.
    families = ((A, reading.a, target.answer.a), (AAAA, reading.aaaa, target.answer.aaaa))
    return tuple(stands(endpoint, type_, old) for type_, old, new in families if old or new)


def _shown(standing: Standing, target: Target) -> tuple[Change, ...]:
    """The endpoint shows the target. Types that would conflict go in the same transaction (DNS.md, traps)."""
    endpoint, answer, reading = target.endpoint, target.answer, standing.reading
    changes: list[Change] = []
    if target.layout is Layout.TREE:
        changes += (DeleteRRset(endpoint, A), DeleteRRset(endpoint, AAAA))
        changes += replaced(endpoint, CNAME, answer.ttl_s, (target.node,))
        if reading.weights:
            changes.append(DeleteRRset(weights_name(endpoint), TXT))
        return tuple(changes)
    changes.append(DeleteRRset(endpoint, CNAME))
    for type_, old, new in ((A, reading.a, answer.a), (AAAA, reading.aaaa, answer.aaaa)):
        if old:
            changes.append(DeleteRRset(endpoint, type_))
        if new:
            changes.append(AddRRs(RRset(endpoint, type_, answer.ttl_s, new)))
    if reading.weights or answer.weights_text():
        changes += replaced(weights_name(endpoint), TXT, answer.ttl_s, _as_rdatas(answer.weights_text()))
    return tuple(changes)


def _rollback_set(standing: Standing, target: Target, *, weighed: bool) -> tuple[Change, ...]:
    """The rollback pointer takes the answer that is being replaced; one that shows the same, or nothing, leaves it.

    `weighed`: with its weights, where they stand beside it; those of a node stand at the node.
    """
    pointer, reading = rollback_name(target.endpoint), standing.reading
    if not standing.size or is_shown(target, standing):
        return ()
    ttl_s = target.answer.ttl_s
    weights = reading.weights if weighed and not reading.target else ""
    weights_set: tuple[Change, ...] = ()
    if weights or reading.rollback_weights:
        weights_set = replaced(weights_name(pointer), TXT, ttl_s, _as_rdatas(weights))
    if reading.target:
        changes = (DeleteRRset(pointer, A), DeleteRRset(pointer, AAAA))
        return (*changes, *replaced(pointer, CNAME, ttl_s, (reading.target,)), *weights_set)
    return (
        DeleteRRset(pointer, CNAME),
        *replaced(pointer, A, ttl_s, reading.a),
        *replaced(pointer, AAAA, ttl_s, reading.aaaa),
        *weights_set,
    )


def fence_set(endpoint: str, fence: Fence) -> tuple[Change, ...]:
    return replaced(fence_name(endpoint), TXT, CONTROL_TTL_S, (fence.text(),))


def flip(zone: str, target: Target, standing: Standing, fence: Fence) -> Transaction:
    """Answer, rollback pointer and fence in one, on condition of everything that was read."""
    endpoint = target.endpoint
    requires = (
        not_frozen(zone),
        stands(fence_name(endpoint), TXT, standing.reading.fences),
        *_as_read(endpoint, standing, target),
    )
    fenced = fence_set(endpoint, fence)
    if not standing.reading.fences:
        fenced = fenced[1:]  # its absence is required, so there is nothing to delete
    return Transaction(
        zone, requires, (*_shown(standing, target), *_rollback_set(standing, target, weighed=True), *fenced)
    )


def refence(zone: str, endpoint: str, standing: Standing, fence: Fence) -> Transaction:
    """A new fence and nothing else (pin, unpin, repair of a duplicated one)."""
    requires = (not_frozen(zone), stands(fence_name(endpoint), TXT, standing.reading.fences))
    return Transaction(zone, requires, fence_set(endpoint, fence))


def freeze(zone: str, reason: str) -> Transaction:
    """Set the kill switch with its reason; clear it with an empty one."""
    return Transaction(zone, (), replaced(freeze_name(zone), TXT, CONTROL_TTL_S, _as_rdatas(reason)))


def remove_node(zone: str, endpoint: str, node: str, standing: Standing) -> Transaction:
    """The node goes, on condition that fence, answer and rollback pointer are as they were when it was unreferenced."""
    reading = standing.reading
    requires = (
        not_frozen(zone),
        stands(fence_name(endpoint), TXT, reading.fences),
        stands(endpoint, CNAME, _as_rdatas(reading.target)),
        stands(rollback_name(endpoint), CNAME, _as_rdatas(reading.rollback)),
    )
    return Transaction(zone, requires, node_gone(node))


def node_gone(node: str) -> tuple[Change, ...]:
    return (DeleteName(node), DeleteName(weights_name(node)))


# --- October 2025 (OUTAGE.md: lock, flip under the lock, clean-up by age) -----------------------------


def take_lock(zone: str, endpoint: str, seen: tuple[str, ...], lock: str) -> Transaction:
    """DELETE of the exact old TXT and CREATE of the new one; a mismatch aborts."""
    return Transaction(
        zone,
        (stands(lock_name(endpoint), TXT, seen),),
        replaced(lock_name(endpoint), TXT, CONTROL_TTL_S, (lock,)),
    )


def flip_locked(zone: str, target: Target, standing: Standing, fence: Fence, lock: str) -> Transaction:
    """Answer, rollback pointer and note of the generation; releases the lock, which is the only condition."""
    endpoint = target.endpoint
    changes = (
        *_shown(standing, target),
        *_rollback_set(standing, target, weighed=False),  # its rollback pointers are not known to have had weights
        *fence_set(endpoint, fence),
        DeleteRRset(lock_name(endpoint), TXT),
    )
    return Transaction(zone, (stands(lock_name(endpoint), TXT, (lock,)),), changes)


def remove_node_by_age(zone: str, node: str) -> Transaction:
    return Transaction(zone, (), node_gone(node))
