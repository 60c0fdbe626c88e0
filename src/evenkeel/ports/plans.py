"""The plan store as Planners and Enactors see it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from evenkeel.model.plan import Plan, PlanDelta

P_co = TypeVar("P_co", covariant=True)


class PlanReader(Protocol[P_co]):
    """What an Enactor needs: the newest plan, which it passes on without looking inside.

    The plan's type is a parameter, so a workflow over `PlanReader[P]` cannot depend on what a plan holds.
    """

    async def newest(self) -> P_co | None:
        """The newest plan known, or None where there has never been one. Never older than an earlier reply."""
        ...


class PlanAppender(Protocol):
    """What a Planner needs."""

    async def newest(self) -> Plan:
        """The newest plan in the store (generation 0: none yet). Raises `Unreachable`."""
        ...

    async def append(self, delta: PlanDelta) -> bool:
        """Append `delta` if the store's newest generation is still `delta.previous`; False where it is not."""
        ...
