"""The Planner: health and capacity in, at most one new generation out.

    verdicts, published plan -> next answers -> append on condition that nobody appended meanwhile

Planners are redundant by that condition alone: of two that plan on the same generation the first wins; the other one
finds the winner's plan and plans again, mostly to find nothing left to do. They do not undo each other, because each
measures its next step against what is *published*: within the hysteresis nothing moves, whoever looks. To keep them
from doing everything twice they take turns, by generation (`Turn`): whoever's turn it is acts at once, the next in line
one cycle later, should the first be dead; routine work likewise, one routine interval later.

A workflow: its ports are all it knows of the world.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from evenkeel.endpoints.planning import PlanningTable, Proposal
from evenkeel.endpoints.preview import Preview, preview
from evenkeel.endpoints.proposals import Withheld
from evenkeel.model.events import EventKind
from evenkeel.model.health import Health
from evenkeel.model.plan import Lane, Plan
from evenkeel.model.region import Approval, PlannerSettings, Region
from evenkeel.ports.clock import Clock
from evenkeel.ports.health import HealthReader
from evenkeel.ports.journal import Journal
from evenkeel.ports.plan_store import PlannerStore, Proposed

ATTEMPTS_MAX = 4
HISTORY_LOOKED_AT = 1000


class Outcome(Enum):
    NOTHING = auto()  # what is published is what would be planned
    APPENDED = auto()
    CONTENDED = auto()  # others were first each time; the next cycle goes on
    AWAITS_APPROVAL = auto()


@dataclass(frozen=True, slots=True)
class Planned:
    """How one cycle ended."""

    outcome: Outcome
    generation: int = 0
    lane: Lane = Lane.ROUTINE
    changed: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """Planner `index` (from 0) of `planners`."""

    index: int
    planners: int

    def place(self, generation: int) -> int:
        """0: this Planner is the one to plan on top of `generation`; 1: next in line, and so on."""
        return (self.index - generation) % self.planners

    def is_routine_due(self, table: PlanningTable, settings: PlannerSettings, now_s: float) -> bool:
        """Routine work is done once an interval, by the next in line when who is before did not; never while
        verdicts are still to come."""
        wait_s = settings.routine_every_s * (1 + self.place(table.generation))
        return now_s - table.routine_at_s >= wait_s and table.is_settled(now_s)


async def plan_once(
    planner: str,
    health: HealthReader,
    store: PlannerStore,
    clock: Clock,
    table: PlanningTable,
    journal: Journal,
    *,
    routine: bool,
    approval: Approval = Approval.NONE,
    attempts_max: int = ATTEMPTS_MAX,
) -> Planned:
    """One cycle. Raises `Unreachable` or `StoreUnwritable` with nothing lost: the next cycle says the same again."""
    for _ in range(attempts_max):
        table.stand_on(await store.head())
        known = await store.newest()
        verdicts = await health.verdicts()
        now_s = clock.monotonic_s()
        if known is not None:
            table.adopt(known, now_s)
        table.observe(verdicts, now_s)
        proposal = table.propose(now_s, routine=routine)
        if proposal.is_empty:
            _accept(table, proposal, now_s, journal)
            return Planned(Outcome.NOTHING, table.generation)
        if approval is Approval.REQUIRED and not await store.propose(proposed(planner, table, proposal)):
            return _planned(Outcome.AWAITS_APPROVAL, proposal)
        if await store.append(proposal.delta(planner)):
            _accept(table, proposal, now_s, journal)
            _tell_appended(proposal, journal)
            return _planned(Outcome.APPENDED, proposal)
        journal.record(EventKind.PLAN_CONTENDED, generation=proposal.generation, detail="another Planner was first")
    return Planned(Outcome.CONTENDED, table.generation)


async def recall(store: PlannerStore, clock: Clock, table: PlanningTable, window_s: float) -> None:
    """Have a new `table` remember the removals of the last `window_s`, whoever made them: a Planner that restarts, or
    crashes in a loop, gets no new allowance by it."""
    history = await store.history(HISTORY_LOOKED_AT)
    before = next((info for info in history if info.age_s >= window_s), history[-1] if history else None)
    if before is not None:
        table.adopt(await store.plan_at(before.generation), clock.monotonic_s())


def proposed(planner: str, table: PlanningTable, proposal: Proposal) -> Proposed:
    """`proposal` as it is laid before the operators."""
    shown = preview(table.published, proposal.changes, proposal.removed, proposal.withheld)
    return Proposed(
        planner=planner,
        base_generation=shown.base_generation,
        checksum=shown.checksum,
        lines=shown.lines(),
        changed=len(proposal.changes),
        removed=len(proposal.removed),
        verdicts=tuple(table.verdicts[name] for name in sorted(table.verdicts)),
    )


def foresee(region: Region, published: Plan, verdicts: Iterable[Health]) -> Preview:
    """What a Planner with `region` would publish on top of `published`, everything routine included.

    For a look ahead, also with a changed region.toml; the velocity limit starts afresh, so it may show removals that
    in fact would wait.
    """
    table = PlanningTable(region, -region.planner.warm_up_s)
    table.adopt(published, 0.0)
    table.observe({health.load_balancer: health for health in verdicts}, 0.0)
    proposal = table.propose(0.0, routine=True)
    return preview(published, proposal.changes, proposal.removed, proposal.withheld)


def _accept(table: PlanningTable, proposal: Proposal, now_s: float, journal: Journal) -> None:
    before = {(held.load_balancer, held.reason): held for held in table.withheld}
    after = {(held.load_balancer, held.reason): held for held in proposal.withheld}
    table.accept(proposal, now_s)
    for key, held in after.items():
        if key not in before:
            _tell_withheld(journal, held, table.generation, "stays published")
    for key, held in before.items():
        if key not in after:
            _tell_withheld(journal, held, table.generation, "is withheld no longer")


def _tell_withheld(journal: Journal, held: Withheld, generation: int, what: str) -> None:
    journal.record(
        EventKind.PLAN_WITHHELD,
        generation=generation,
        detail=f"{held.load_balancer} {what} at {held.endpoints} endpoints ({held.reason})",
        load_balancer=held.load_balancer,
        reason=held.reason,
        endpoints=str(held.endpoints),
    )


def _tell_appended(proposal: Proposal, journal: Journal) -> None:
    counts = f"{len(proposal.changes)} endpoints changed, {len(proposal.removed)} removed"
    reasons = sorted({reason for change in proposal.changes for reason in change.why.text().split(", ")})
    journal.record(
        EventKind.PLAN_APPENDED,
        generation=proposal.generation,
        detail=f"{counts} ({', '.join(reasons) or 'no longer managed'})",
        lane=proposal.lane.value,
        changed=str(len(proposal.changes)),
        removed=str(len(proposal.removed)),
    )


def _planned(outcome: Outcome, proposal: Proposal) -> Planned:
    return Planned(outcome, proposal.generation, proposal.lane, len(proposal.changes), len(proposal.removed))
