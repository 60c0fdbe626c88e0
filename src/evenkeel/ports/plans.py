"""The newest plan as Enactors read it; `ports.plan_store` is the store in full."""

from __future__ import annotations

from typing import Protocol, TypeVar

P_co = TypeVar("P_co", covariant=True)


class PlanReader(Protocol[P_co]):
    """What an Enactor needs: the newest plan, which it passes on without looking inside.

    The plan's type is a parameter, so a workflow over `PlanReader[P]` cannot depend on what a plan holds.
    """

    async def newest(self) -> P_co | None:
        """The newest plan known, or None where there has never been one. Never older than an earlier reply."""
        ...
