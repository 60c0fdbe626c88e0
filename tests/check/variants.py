"""Deliberately broken Enactors and clean-ups. Each leaves out one thing that the design says is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evenkeel.check.exchange import ZONE
from evenkeel.endpoints import layout
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.model.fence import Fence
from evenkeel.model.plan import Plan
from evenkeel.model.policy import DnsPolicy
from evenkeel.model.transactions import Transaction
from evenkeel.ports.zone import Look, Write


def made_by(kind: type[GuardedZone]) -> Any:
    """A maker of zones of that kind, as the explorer takes it."""

    def make(server: Any, policy: DnsPolicy, writer: str, nonces: Any, clock: Any, journal: Any) -> GuardedZone:
        return kind(ZONE, server, policy, writer, nonces, clock, journal)

    return make


class EqualContentIsEnough(GuardedZone):
    """Leaves an endpoint alone that shows the plan's answer, though its fence is behind."""

    async def look(self, endpoint: str, plan: Plan) -> Look:
        look = await super().look(endpoint, plan)
        if look is Look.BEHIND and self.tickets[endpoint].standing.shows(plan.endpoints[endpoint].answer):
            return Look.CURRENT
        return look


class ReadsTheFenceAtTheWrite(GuardedZone):
    """Decides by one look, and makes the write conditional on what it reads only then."""

    async def flip(self, endpoint: str, plan: Plan) -> Write:
        standing = await self.standing(endpoint)
        self.tickets[endpoint] = replace(self.tickets[endpoint], standing=standing)
        return await super().flip(endpoint, plan)


class CleansUpByAge(GuardedZone):
    """Takes for spent what is old, as in October 2025; `remove` is fenced all the same."""

    async def spent_nodes(self, endpoint: str, plan: Plan) -> Sequence[str]:
        nodes = await self._server.nodes(endpoint)
        ages = [layout.node_generation(node) for node in nodes]
        return [node for node, age in zip(nodes, ages, strict=True) if age < max(ages) - self.policy.keep_generations]


async def remove_whatever_refers(endpoint: str, node: str, zone: Any, policy: DnsPolicy) -> bool:
    """Reads the fence, and deletes on condition of it, without asking whether anything refers to the node."""
    await zone.is_referenced(endpoint, node)
    return bool(await zone.remove(endpoint, node) is Write.APPLIED)


class SetsTheRollbackPointerAfterwards(GuardedZone):
    """Flips first, and sets the rollback pointer in a transaction of its own."""

    async def flip(self, endpoint: str, plan: Plan) -> Write:
        target, ticket = self._target(endpoint, plan), self.tickets.pop(endpoint)
        fence = Fence(plan.generation, self.writer, self._nonces.next())
        whole = layout.flip(self.zone, target, ticket.standing, fence)
        pointer = layout.rollback_name(endpoint)
        outside = tuple(change for change in whole.changes if _owner(change) != pointer)
        write = await self._commit(Transaction(self.zone, whole.requires, outside))
        if write is Write.APPLIED:
            afterwards = tuple(change for change in whole.changes if _owner(change) == pointer)
            await self._commit(Transaction(self.zone, (), afterwards))
        return write


def _owner(change: Any) -> str:
    return str(change.rrset.name if hasattr(change, "rrset") else change.name)


class RemovesByTheFenceAlone(GuardedZone):
    """Deletes on condition of the fence, and of nothing else that was read with it."""

    async def remove(self, endpoint: str, node: str) -> Write:
        standing = self.tickets.pop(endpoint).standing
        whole = layout.remove_node(self.zone, endpoint, node, standing)
        fence = layout.fence_name(endpoint)
        by_fence = tuple(need for need in whole.requires if need.name == fence)
        return await self._commit(Transaction(self.zone, by_fence, whole.changes))


class FlipsByTheFenceAlone(RemovesByTheFenceAlone):
    """And writes so too."""

    async def flip(self, endpoint: str, plan: Plan) -> Write:
        target, ticket = self._target(endpoint, plan), self.tickets.pop(endpoint)
        fence = Fence(plan.generation, self.writer, self._nonces.next())
        whole = layout.flip(self.zone, target, ticket.standing, fence)
        by_fence = tuple(need for need in whole.requires if need.name == layout.fence_name(endpoint))
        return await self._commit(Transaction(self.zone, by_fence, whole.changes))
