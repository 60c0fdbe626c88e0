"""Finds a script's milestones in what happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from evenkeel.sim.clients import Suffered
from evenkeel.sim.run import Run
from evenkeel.sim.script import Milestone, MilestoneEvent
from evenkeel.sim.watching import Moment


@dataclass(frozen=True, slots=True)
class Reached:
    """A milestone, and when it came; `at_us` below 0: never."""

    milestone: Milestone
    at_us: int

    @property
    def off_us(self) -> int:
        """How much later than expected; meaningful where something was expected and it came."""
        return self.at_us - self.milestone.expected_us

    @property
    def is_met(self) -> bool:
        """Within its tolerance, where a time is expected."""
        if self.milestone.expected_us < 0:
            return True
        return self.at_us >= 0 and abs(self.off_us) <= self.milestone.tolerance_us


def reached(milestones: Iterable[Milestone], run: Run, clients: Mapping[str, Suffered]) -> list[Reached]:
    """Every milestone, in the script's order."""
    return [Reached(each, _at_us(each, run, clients)) for each in milestones]


def _at_us(milestone: Milestone, run: Run, clients: Mapping[str, Suffered]) -> int:
    after_us = milestone.after_us
    match milestone.event:
        case MilestoneEvent.STEP:
            steps = run.happened.steps
            found = [at_us for at_us, step in steps if step.kind is milestone.step and at_us >= after_us]
        case MilestoneEvent.WEDGED:
            found = [
                noted.at_us
                for noted in run.noted
                if noted.kind == "wedged"
                and noted.at_us >= after_us
                and fnmatchcase(noted.endpoint, milestone.endpoint or "*")
            ]
        case MilestoneEvent.CLIENTS_FAILING | MilestoneEvent.CLIENTS_RECOVERED:
            found = _of_clients(milestone, clients)
        case _:
            found = _of_answers(milestone, run.moments)
    return min(found, default=-1)


def _of_clients(milestone: Milestone, clients: Mapping[str, Suffered]) -> list[int]:
    chosen = [each for name, each in clients.items() if fnmatchcase(name, milestone.clients or "*")]
    if milestone.event is MilestoneEvent.CLIENTS_FAILING:
        times = [each.failing_from_us(milestone.after_us) for each in chosen]
        return [at_us for at_us in times if at_us is not None]
    recovered = [at_us for each in chosen if (at_us := each.recovered_at_us()) is not None]
    return [max(recovered)] if recovered else []


def _of_answers(milestone: Milestone, moments: Mapping[str, Sequence[Moment]]) -> list[int]:
    found = []
    for endpoint, shown in moments.items():
        if not fnmatchcase(endpoint, milestone.endpoint or "*"):
            continue
        for before, now in zip([None, *shown], shown, strict=False):
            if now.at_us >= milestone.after_us and _is_event(milestone.event, before, now):
                found.append(now.at_us)
                break
    return found


def _is_event(event: MilestoneEvent, before: Moment | None, now: Moment) -> bool:
    if before is None:
        return False
    match event:
        case MilestoneEvent.EMPTY:
            return now.is_empty and not before.is_empty
        case MilestoneEvent.ANSWERS:
            return before.is_empty and not now.is_empty
        case MilestoneEvent.STALE:
            return now.generation < before.generation
        case MilestoneEvent.PLAN_REMOVED:
            return now.is_empty and not before.is_empty and now.generation == before.generation
        case _:
            return False
