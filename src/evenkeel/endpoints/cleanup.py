"""Clean-up: takes away the trees of old plans, so that a zone does not grow without bound.

By reachability: a node goes only in a transaction that requires the fence under which it was seen unreferenced. By
age, as in October 2025: what is much older than the plan just applied goes, referenced or not (OUTAGE.md, the race).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from evenkeel.model.policy import CleanUpBy, DnsPolicy
from evenkeel.ports.zone import CleanUpZone, Write

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class CleanedUp:
    """What became of an endpoint's spent nodes. `left`: how many may still stand, refused or unanswered."""

    removed: tuple[str, ...]
    left: int


async def clean_up(endpoint: str, plan: P, zone: CleanUpZone[P], policy: DnsPolicy) -> CleanedUp:
    """Remove the endpoint's spent nodes, but those that its answer or its rollback pointer refers to."""
    removed, left = [], 0
    for node in await zone.spent_nodes(endpoint, plan):
        write = await remove_node(endpoint, node, zone, policy)
        if write is Write.APPLIED:
            removed.append(node)
        elif write is not None:
            left += 1
    return CleanedUp(tuple(removed), left)


async def remove_node(endpoint: str, node: str, zone: CleanUpZone[P], policy: DnsPolicy) -> Write | None:
    """Remove one spent node, by the policy's leave; None where something refers to it."""
    if policy.clean_up is not CleanUpBy.AGE and await zone.is_referenced(endpoint, node):
        return None
    fenced = policy.clean_up is CleanUpBy.REACHABILITY
    return await (zone.remove(endpoint, node) if fenced else zone.remove_unfenced(endpoint, node))
