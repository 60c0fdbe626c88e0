"""The plan store in full: what its server, its twin and its clients agree on.

Values of a conversation are plain: a request, then a reply. `PlanStore` is the same as calls, for workflows.

The rule of appending is compare-and-set on the newest generation: of any number of Planners that plan on top of the
same one, the first wins and the others are told so. Generations only ever grow, also past a store that was lost: a
reader that knows a greater one than the store has raises the store's `floor`, and the next append has to be above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from evenkeel.model.health import Health
from evenkeel.model.plan import Plan, PlanDelta


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """One entry of the store's history. `age_s` is by the store's own clock, at the time of the reply."""

    generation: int
    planner: str
    at_ms: int
    age_s: float
    changed: int
    removed: int


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a Planner would publish next, laid before the operators: a preview and what it was planned from.

    `lines` is readable and bounded; `verdicts` lets another process plan the same. `checksum` binds the whole next
    plan as clients would see it.
    """

    planner: str
    base_generation: int
    checksum: str
    lines: tuple[str, ...] = ()
    changed: int = 0
    removed: int = 0
    verdicts: tuple[Health, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """The newest generation in the store (0: none yet), and the generation that the next one has to be above."""

    generation: int
    floor: int


class PlanStore(Protocol):
    """Every call may raise `Unreachable`; one that cannot write raises `StoreUnwritable` and has changed nothing."""

    async def append(self, delta: PlanDelta) -> bool:
        """Whether `delta` was appended: False where the store's newest generation is not `delta.previous`, or where
        `delta.generation` is not above the floor. Raises `Refusal` for a delta that no store may hold."""
        ...

    async def head(self) -> Head: ...

    async def since(self, generation: int) -> PlanDelta:
        """From `generation` to the newest, as one delta; told from nothing (`previous` 0) where the history does not
        reach back so far. Without anything newer its `changed` is empty and both its generations are the newest."""
        ...

    async def plan_at(self, generation: int) -> Plan:
        """The plan as it was. Raises `Refusal` where the history does not have that generation."""
        ...

    async def history(self, limit: int) -> tuple[GenerationInfo, ...]:
        """The newest generations, newest first."""
        ...

    async def raise_floor(self, generation: int) -> None:
        """Somebody knows a plan of that generation: what comes next has to be above it."""
        ...

    async def propose(self, proposed: Proposed) -> bool:
        """Lay a proposal before the operators, in place of the Planner's last one. Whether its checksum is approved."""
        ...

    async def proposals(self) -> tuple[Proposed, ...]:
        """What every Planner proposes now, by Planner."""
        ...

    async def approve(self, checksum: str) -> None:
        """Approve the proposal with that checksum, in place of any earlier approval. Raises `Refusal` where no
        Planner proposes it (any more)."""
        ...


class PlannerStore(PlanStore, Protocol):
    """What a Planner needs: the store, and what it knows of it without asking."""

    async def newest(self) -> Plan | None:
        """The newest plan known here, from the store or from before it was lost; None where there is none. Never
        older than an earlier reply, so it may be newer than `head`."""
        ...
