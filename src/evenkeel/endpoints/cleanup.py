"""Clean-up: takes away the trees of old plans, so that a zone does not grow without bound.

By reachability: a node goes only in a transaction that requires the fence under which it was seen unreferenced. By
age, as in October 2025: what is much older than the plan just applied goes, referenced or not (OUTAGE.md, the race).
"""

from __future__ import annotations

from typing import TypeVar

from evenkeel.model.policy import CleanUpBy, DnsPolicy
from evenkeel.ports.zone import CleanUpZone, Write

P = TypeVar("P")


async def clean_up(endpoint: str, plan: P, zone: CleanUpZone[P], policy: DnsPolicy) -> tuple[str, ...]:
    """Remove the endpoint's spent nodes; the names of those that went."""
    removed = []
    for node in await zone.spent_nodes(endpoint, plan):
        if await remove_node(endpoint, node, zone, policy):
            removed.append(node)
    return tuple(removed)


async def remove_node(endpoint: str, node: str, zone: CleanUpZone[P], policy: DnsPolicy) -> bool:
    """Remove one spent node, by the policy's leave; whether it went."""
    if policy.clean_up is not CleanUpBy.AGE and await zone.is_referenced(endpoint, node):
        return False
    fenced = policy.clean_up is CleanUpBy.REACHABILITY
    write = await (zone.remove(endpoint, node) if fenced else zone.remove_unfenced(endpoint, node))
    return write is Write.APPLIED
