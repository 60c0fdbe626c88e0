"""The last guard against an empty answer: inside the server's own commit, below every writer (DESIGN.md, never empty).

An endpoint is protected by the fence that stands beside it. A transaction that touches a protected endpoint's
addresses, its CNAME, the node that the CNAME leads to, or the fence itself, must leave it with at least one
address. Whoever removes an endpoint for good says so: by a prerequisite that holds the fence's exact value, in the
transaction that deletes that fence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evenkeel.nameserver.update_rules import Need, NeedRecord
from evenkeel.nameserver.zone_view import D, N, Node, ZoneView

CHAIN_MAX = 16  # CNAMEs followed from one name


def emptied(view: ZoneView[N, D], nodes: Mapping[N, Node[D]], needs: Sequence[NeedRecord[N, D]]) -> N | None:
    """A protected endpoint that has no address once `nodes` replace what `view` shows; None where there is none."""
    for endpoint in _affected(view, nodes):
        fence = view.fence_of(endpoint)
        stood, stays = "TXT" in view.node(fence), "TXT" in nodes.get(fence, view.node(fence))
        if not stays and (not stood or _is_named(needs, fence)):
            continue
        if not _has_address(view, nodes, endpoint):
            return endpoint
    return None


def _affected(view: ZoneView[N, D], nodes: Mapping[N, Node[D]]) -> set[N]:
    """Endpoints whose answer or fence the transaction may have changed."""
    affected: set[N] = set()
    for name, node in nodes.items():
        endpoint = view.fenced(name)
        if endpoint is not None:
            affected.add(endpoint)
        elif _may_lose(view.node(name), node):
            _add_with_aliases(view, name, affected)
    return affected


def _may_lose(before: Node[D], after: Node[D]) -> bool:
    """Whether an answer that stood at this name, or led on from it, is other than it was."""
    return any(type_ in before and before[type_] != after.get(type_) for type_ in ("A", "AAAA", "CNAME"))


def _add_with_aliases(view: ZoneView[N, D], name: N, affected: set[N]) -> None:
    """`name`, and every name from which CNAMEs led to it before; a loop of CNAMEs ends the walk."""
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in affected:
            affected.add(each)
            waiting.extend(view.aliases_of(each))


def _is_named(needs: Sequence[NeedRecord[N, D]], fence: N) -> bool:
    return any(kind is Need.RRSET_HOLDS and name == fence and type_ == "TXT" for kind, name, type_, _ in needs)


def _has_address(view: ZoneView[N, D], nodes: Mapping[N, Node[D]], name: N) -> bool:
    for _ in range(CHAIN_MAX):
        if not view.contains(name):
            return True  # leads out of the zone: not ours to judge
        node = nodes.get(name)
        if node is None:
            node = view.node(name)
        if "A" in node or "AAAA" in node:
            return True
        alias = node.get("CNAME")
        if alias is None:
            return False
        name = view.target(alias.rdatas[0])
    return False
