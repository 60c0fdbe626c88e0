"""Planners over one plan store: the real `plan_once` in every interleaving, and what each safeguard is for."""

from __future__ import annotations

import pytest

from evenkeel.check.planners import Planners, Safeguard, protocol
from evenkeel.check.planners_story import subject
from evenkeel.check.protocol import explore
from evenkeel.check.subject import check_protocol
from evenkeel.check.verify import Verdict


@pytest.mark.parametrize(
    ("config", "states"),
    [
        (Planners(planners=1, faults=0), 226),
        (Planners(faults=0), 38_386),
        (Planners(), 1_225_410),
    ],
)
def test_generations_are_dense_and_unique_and_nobody_sees_what_is_not_appended(config: Planners, states: int) -> None:
    report = check_protocol(subject(config))
    assert (report.verdict, report.states) == (Verdict.HOLDS, states)
    assert {each.verdict for each in report.properties} == {Verdict.HOLDS}


@pytest.mark.parametrize(
    ("safeguard", "breaks", "steps"),
    [(Safeguard.COMPARE_AND_SET, "one-plan-a-generation", 6), (Safeguard.APPEND_FIRST, "seen-is-appended", 4)],
)
def test_each_safeguard_is_needed(safeguard: Safeguard, breaks: str, steps: int) -> None:
    report = check_protocol(subject(Planners(weakened=safeguard, faults=0)))
    assert (report.verdict, report.property, len(report.trace)) == (Verdict.VIOLATED, breaks, steps)
    assert breaks in report.trace[-1].breaks


def test_a_crash_between_reading_and_appending_is_among_the_steps() -> None:
    space = explore(protocol(Planners(planners=1)))
    labels = space.labels()
    assert "crash" in labels
    assert any(label.startswith("crash during store.append") for label in labels)
    assert any(label.startswith("late: store.append") and label.endswith("False") for label in labels)
    assert not {**space.broken, **space.together}
