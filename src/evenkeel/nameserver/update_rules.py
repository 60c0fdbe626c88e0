"""What a dynamic update means (RFC 2136 sections 3.1 to 3.4), as one pure function. The twin and the server share it.

    prerequisites  in order; those that compare whole sets are gathered and compared at the end (3.2)
    prescan        every change is looked at before any is made (3.4.1)
    changes        in order, on a copy of each name that they touch (3.4.2)
    serial         the SOA's serial grows by one where anything changed and no change set it (3.6)

Where RFC 2136 leaves a choice, this does as BIND and Knot do: a CNAME added beside other data, and other data
added beside a CNAME, is skipped in silence; an SOA is taken only if its serial is past the zone's; one TTL for a
whole RRset, that of the record added last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic

from evenkeel.model.records import Rcode
from evenkeel.nameserver.zone_view import D, N, Node, Records, ZoneView


class Need(IntEnum):
    """A prerequisite's kind (RFC 2136 section 2.4)."""

    NAME_IN_USE = 0
    NAME_NOT_IN_USE = 1
    RRSET_EXISTS = 2
    RRSET_ABSENT = 3
    RRSET_HOLDS = 4  # one record of a set that has to be equal as a whole
    MALFORMED = 5  # FORMERR, but only once what stands before it holds


class Edit(IntEnum):
    """A change's kind (RFC 2136 section 2.5)."""

    ADD = 0
    DELETE_RRSET = 1
    DELETE_NAME = 2
    DELETE_RECORD = 3
    MALFORMED = 4


# One record of a message each, as on the wire: plain tuples, because a batch has thousands.
NeedRecord = tuple[Need, N, str, D | None]
EditRecord = tuple[Edit, N, str, int, D | None]


@dataclass(frozen=True, slots=True)
class Update(Generic[N, D]):
    """The prerequisite and update sections of one message. Types are "" where the kind needs none."""

    needs: Sequence[NeedRecord[N, D]]
    edits: Sequence[EditRecord[N, D]]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[N, D]):
    """NOERROR and the new content of every name that changed; or the refusal, and nothing."""

    rcode: Rcode
    nodes: dict[N, Node[D]] = field(default_factory=dict)


def evaluate(view: ZoneView[N, D], update: Update[N, D]) -> Outcome[N, D]:
    """What `update` does to the zone in `view`, which stays as it is."""
    rcode = _check_needs(view, update.needs) or _prescan(view, update.edits)
    if rcode:
        return Outcome(rcode)
    worked = _edited(view, update.edits)
    nodes: dict[N, Node[D]] = {name: node for name, node in worked.items() if node != view.node(name)}
    if nodes:
        _grow_serial(view, nodes)
    return Outcome(Rcode.NOERROR, nodes)


# --- prerequisites (RFC 2136 section 3.2) -----------------------------------------------------------


def _check_needs(view: ZoneView[N, D], needs: Sequence[NeedRecord[N, D]]) -> Rcode:
    wanted: dict[tuple[N, str], set[D]] = {}
    holds, malformed = Need.RRSET_HOLDS, Need.MALFORMED
    for kind, name, type_, rdata in needs:
        if kind is malformed:
            return Rcode.FORMERR
        if not view.contains(name):
            return Rcode.NOTZONE
        if kind is holds and rdata is not None:
            wanted.setdefault((name, type_), set()).add(rdata)
            continue
        rcode = _check_presence(view.node(name), kind, type_)
        if rcode:
            return rcode
    for (name, type_), rdatas in wanted.items():
        stands = view.node(name).get(type_)
        if stands is None or len(stands.rdatas) != len(rdatas) or not rdatas.issuperset(stands.rdatas):
            return Rcode.NXRRSET
    return Rcode.NOERROR


def _check_presence(node: Node[D], kind: Need, type_: str) -> Rcode:
    if kind is Need.RRSET_EXISTS:
        return Rcode.NOERROR if type_ in node else Rcode.NXRRSET
    if kind is Need.RRSET_ABSENT:
        return Rcode.YXRRSET if type_ in node else Rcode.NOERROR
    if kind is Need.NAME_IN_USE:
        return Rcode.NOERROR if node else Rcode.NXDOMAIN
    return Rcode.YXDOMAIN if node else Rcode.NOERROR


# --- changes (RFC 2136 section 3.4) -----------------------------------------------------------------


def _prescan(view: ZoneView[N, D], edits: Sequence[EditRecord[N, D]]) -> Rcode:
    malformed, previous = Edit.MALFORMED, None
    for kind, name, _, _, _ in edits:
        if kind is malformed:
            return Rcode.FORMERR
        if name is not previous and not view.contains(name):
            return Rcode.NOTZONE
        previous = name
    return Rcode.NOERROR


def _edited(view: ZoneView[N, D], edits: Sequence[EditRecord[N, D]]) -> dict[N, dict[str, Records[D]]]:
    """The new content of every name that the changes speak of, changed or not."""
    apex = view.apex
    nodes: dict[N, dict[str, Records[D]]] = {}
    add, delete_rrset, delete_name = Edit.ADD, Edit.DELETE_RRSET, Edit.DELETE_NAME
    growing: dict[tuple[N, str], set[D]] = {}  # sets that took several records: frozen once, at the end
    for kind, name, type_, ttl_s, rdata in edits:
        node = nodes.get(name)
        if node is None:
            node = nodes[name] = dict(view.node(name))
        if kind is add and rdata is not None:
            _add(view, node, name, type_, ttl_s, rdata, growing)
            continue
        if kind is delete_rrset:
            if not (name == apex and type_ in ("SOA", "NS")):
                node.pop(type_, None)
                growing.pop((name, type_), None)
        elif kind is delete_name:
            for each in [each for each in node if not (name == apex and each in ("SOA", "NS"))]:
                del node[each]
                growing.pop((name, each), None)
        elif rdata is not None:
            _settle(node, name, type_, growing)
            _delete_record(node, name == apex, type_, rdata)
    for name, type_ in list(growing):
        _settle(nodes[name], name, type_, growing)
    return nodes


def _add(
    view: ZoneView[N, D],
    node: dict[str, Records[D]],
    name: N,
    type_: str,
    ttl_s: int,
    rdata: D,
    growing: dict[tuple[N, str], set[D]],
) -> None:
    """One record more (3.4.2.2). A set that grows holds its records in `growing`; in `node` only its TTL counts."""
    if type_ == "CNAME":
        if not node or "CNAME" in node:
            node[type_] = Records(ttl_s, (rdata,))
        return
    if "CNAME" in node:
        return
    if type_ == "SOA":
        soa = node.get("SOA")
        if name == view.apex and soa is not None and view.is_newer_soa(rdata, soa.rdatas[0]):
            node[type_] = Records(ttl_s, (rdata,))
        return
    stands = node.get(type_)
    if stands is None:
        node[type_] = Records(ttl_s, (rdata,))
        return
    members = growing.get((name, type_))
    if members is None:
        members = growing[name, type_] = set(stands.rdatas)
    members.add(rdata)
    if stands.ttl_s != ttl_s:
        node[type_] = Records(ttl_s, stands.rdatas)


def _settle(node: dict[str, Records[D]], name: N, type_: str, growing: dict[tuple[N, str], set[D]]) -> None:
    members = growing.pop((name, type_), None)
    if members is not None:
        node[type_] = Records(node[type_].ttl_s, tuple(sorted(members)))


def _delete_record(node: dict[str, Records[D]], is_apex: bool, type_: str, rdata: D) -> None:
    """One record less (3.4.2.4): never the SOA, never the apex's last NS."""
    stands = node.get(type_)
    if stands is None or rdata not in stands.rdatas or type_ == "SOA":
        return
    left = tuple(each for each in stands.rdatas if each != rdata)
    if left:
        node[type_] = Records(stands.ttl_s, left)
    elif not (is_apex and type_ == "NS"):
        del node[type_]


def _grow_serial(view: ZoneView[N, D], nodes: dict[N, Node[D]]) -> None:
    apex = view.apex
    old = view.node(apex).get("SOA")
    node = nodes.get(apex, view.node(apex))
    soa = node.get("SOA")
    if old is None or soa is None or view.is_newer_soa(soa.rdatas[0], old.rdatas[0]):
        return  # the twin may hold a zone without SOA; or a change set the serial
    nodes[apex] = {**node, "SOA": Records(soa.ttl_s, (view.next_soa(soa.rdatas[0]),))}
