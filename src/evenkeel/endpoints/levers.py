"""The operators' levers on one endpoint: pin, unpin, rollback, repair (DESIGN.md; freeze is `GuardedZone.set_frozen`).

Each works from the zone alone, with the plan store gone, by the same conditional transactions as the Enactors; each
is refused with its reason where it would leave an endpoint empty. A held endpoint is left alone until unpinned.
"""

from __future__ import annotations

from dataclasses import dataclass

from evenkeel.endpoints import layout
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.endpoints.layout import Standing, Target
from evenkeel.model.errors import CorruptFence, Refusal, Unfinished
from evenkeel.model.fence import Fence, greatest_generation, only_fence
from evenkeel.model.plan import Answer, Layout
from evenkeel.ports.zone import NodeReading, Write, ZoneServer

LEVER_ATTEMPTS_MAX = 8
ROLLBACK_TTL_S = 60


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a lever did to an endpoint, for people."""

    endpoint: str
    changed: bool
    detail: str


async def pin(endpoint: str, zone: GuardedZone) -> Pulled:
    """Hold the endpoint's present answer against every plan. Refused where that answer is empty."""
    for _ in range(LEVER_ATTEMPTS_MAX):
        standing = await zone.standing(endpoint)
        fence = _fence_of(endpoint, standing)
        if not standing.size:
            raise Refusal(f"{endpoint}: refused, its present answer is empty; `evenkeel repair {endpoint}` mends that")
        if fence.pinned:
            return Pulled(endpoint, False, "already held")
        if await zone.refence(endpoint, standing, fence.generation, pinned=True) is Write.APPLIED:
            return Pulled(endpoint, True, f"held at generation {fence.generation}: {_shown(standing)}")
    raise Unfinished(_contended(endpoint))


async def unpin(endpoint: str, zone: GuardedZone) -> Pulled:
    """Give the endpoint back to the plan; the Enactors bring it to the newest one."""
    for _ in range(LEVER_ATTEMPTS_MAX):
        standing = await zone.standing(endpoint)
        fence = _fence_of(endpoint, standing)
        if not fence.pinned:
            return Pulled(endpoint, False, "was not held")
        if await zone.refence(endpoint, standing, fence.generation, pinned=False) is Write.APPLIED:
            return Pulled(endpoint, True, "given back to the plan")
    raise Unfinished(_contended(endpoint))


async def rollback(endpoint: str, zone: GuardedZone, server: ZoneServer) -> Pulled:
    """Put the previous answer back, and hold it. Refused where there is none, or it is empty by now."""
    for _ in range(LEVER_ATTEMPTS_MAX):
        standing = await zone.standing(endpoint)
        fence = _fence_of(endpoint, standing)
        target = await _rollback_target(endpoint, standing, server)
        if target is None:
            raise Refusal(f"{endpoint}: refused, there is no previous answer to go back to that still has addresses")
        if await zone.show(target, standing, fence.generation, pinned=True) is Write.APPLIED:
            return Pulled(endpoint, True, f"rolled back to {_named(target)} and held; `evenkeel unpin` gives it back")
    raise Unfinished(_contended(endpoint))


async def repair(endpoint: str, zone: GuardedZone, server: ZoneServer) -> Pulled:
    """Make the endpoint sound again from what the zone holds: an answer with addresses, exactly one good fence.

    An answer that is there stays. An empty or dangling one becomes the rollback target, else the newest node that
    has addresses. The fence keeps the greatest generation that stands, so generations never go back.
    """
    for _ in range(LEVER_ATTEMPTS_MAX):
        standing = await zone.standing(endpoint)
        generation = _greatest_generation(standing)
        if standing.size:
            if _is_sound(endpoint, standing):
                return Pulled(endpoint, False, f"sound: {_shown(standing)}")
            if await zone.refence(endpoint, standing, generation, pinned=False) is Write.APPLIED:
                return Pulled(endpoint, True, f"one fence again, generation {generation}")
            continue
        target = await _rollback_target(endpoint, standing, server) or await _newest_node(endpoint, server)
        if target is None:
            raise Refusal(
                f"{endpoint}: the zone holds no earlier answer with addresses; "
                "an Enactor with its last good plan on disk will publish one, start it"
            )
        if await zone.show(target, standing, generation, pinned=False) is Write.APPLIED:
            return Pulled(endpoint, True, f"answers again by {_named(target)}")
    raise Unfinished(_contended(endpoint))


def _fence_of(endpoint: str, standing: Standing) -> Fence:
    fence = only_fence(standing.reading.fences, endpoint)
    if fence is None:
        raise Refusal(f"{endpoint}: refused, no Enactor has published it yet (it has no fence)")
    return fence


def _is_sound(endpoint: str, standing: Standing) -> bool:
    try:
        return only_fence(standing.reading.fences, endpoint) is not None
    except CorruptFence:
        return False


def _greatest_generation(standing: Standing) -> int:
    return max(layout.node_generation(standing.reading.target), greatest_generation(standing.reading.fences), 0)


async def _rollback_target(endpoint: str, standing: Standing, server: ZoneServer) -> Target | None:
    reading = standing.reading
    if reading.rollback:
        return _node_target(endpoint, await server.read_node(reading.rollback))
    if reading.rollback_a or reading.rollback_aaaa:
        answer = Answer.weighed(ROLLBACK_TTL_S, reading.rollback_a, reading.rollback_aaaa, reading.rollback_weights)
        return Target(endpoint, Layout.FLAT, answer, "")
    return None


async def _newest_node(endpoint: str, server: ZoneServer) -> Target | None:
    for node in reversed(await server.nodes(endpoint)):
        target = _node_target(endpoint, await server.read_node(node))
        if target is not None:
            return target
    return None


def _node_target(endpoint: str, node: NodeReading) -> Target | None:
    if not node.exists:
        return None
    # Weights stand at the node itself and are not written again; the flip compares addresses only.
    answer = Answer(ROLLBACK_TTL_S, node.a, (1,) * len(node.a), node.aaaa, (1,) * len(node.aaaa))
    return Target(endpoint, Layout.TREE, answer, node.name)


def _named(target: Target) -> str:
    return target.node or ", ".join(target.answer.a + target.answer.aaaa)


def _shown(standing: Standing) -> str:
    return ", ".join(standing.a + standing.aaaa)


def _contended(endpoint: str) -> str:
    return f"{endpoint}: others wrote it {LEVER_ATTEMPTS_MAX} times meanwhile; try again, or `evenkeel freeze` first"
