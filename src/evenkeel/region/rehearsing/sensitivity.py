"""What hangs on each assumption: the scenario once more with each at its least and at its most plausible value."""

from __future__ import annotations

from collections.abc import Callable

from evenkeel.region.rehearsing.assumptions import Value
from evenkeel.region.rehearsing.reading import Scenario
from evenkeel.region.rehearsing.rehearse import Outcome, figures, rehearse
from evenkeel.sim.invariants import Invariant

Row = dict[str, object]


def swings(scenario: Scenario) -> list[tuple[str, Value]]:
    """Every assumption with every other value it may have."""
    return [(each.name, value) for each in scenario.assumptions for value in (each.low, each.high) if value is not None]


def sensitivity(
    scenario: Scenario, policy: str = "", on_progress: Callable[[int], None] = lambda done: None
) -> dict[str, object]:
    """The outcome as assumed, and with each assumption changed alone; one run each."""
    rows = []
    for done, (name, value) in enumerate(swings(scenario)):
        on_progress(done)
        rows.append(_row(name, value, rehearse(scenario, policy=policy, others={name: value})))
    base = rehearse(scenario, policy=policy)
    return {"base": _row("as assumed", "", base), "rows": rows}


def _row(name: str, value: Value, outcome: Outcome) -> Row:
    run = outcome.run
    return {
        "assumption": name,
        "value": value,
        "good": outcome.is_good,
        "empty_answers": run.counts[Invariant.NEVER_EMPTY],
        "wedged": run.counts[Invariant.NO_WEDGE],
        "failed_requests": figures(outcome)["failed_requests"],
        "milestones": {
            each.milestone.name: each.at_us / 1_000_000 if each.at_us >= 0 else None for each in outcome.milestones
        },
    }
