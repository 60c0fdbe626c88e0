"""Takeover and fencing, every interleaving: managers that all want an az, one host, a store that loses replies, a
network that delays, repeats and loses. The protocol is `evenkeel check takeover`'s own.
"""

from __future__ import annotations

import pytest

from evenkeel.check.protocol import counterexample, explore
from evenkeel.check.subject import as_text, check_protocol
from evenkeel.check.takeover import AZ, STORE, Safeguard, Takeover, protocol
from evenkeel.check.takeover_story import subject
from evenkeel.check.verify import Verdict
from evenkeel.model.fleet import Granted, epoch_of, first_generation
from evenkeel.ports.fleet import Superseded
from evenkeel.twins import lease_store as twin


@pytest.mark.parametrize(
    ("config", "states"),
    [
        (Takeover(faults=0), 969),
        (Takeover(faults=1), 14_592),
        (Takeover(faults=2), 112_092),
        (Takeover(managers=3), 104_699),
    ],
)
def test_no_interleaving_leases_a_host_to_two_managers_who_both_believe(config: Takeover, states: int) -> None:
    report = check_protocol(subject(config))
    assert (report.verdict, report.states) == (Verdict.HOLDS, states)
    assert {each.verdict for each in report.properties} == {Verdict.HOLDS}


def test_managers_that_are_alike_are_searched_as_such_and_nothing_is_lost() -> None:
    reduced, whole = explore(protocol(Takeover())), explore(protocol(Takeover()), symmetric=False)
    assert (reduced.count, whole.count) == (14_592, 29_180)
    assert reduced.complete
    assert whole.complete
    assert not {**whole.broken, **whole.together}


@pytest.mark.parametrize(
    ("safeguard", "breaks", "steps", "last"),
    [
        (Safeguard.COMPARE_AND_SET, "epochs-only-rise", 4, "Manager 2 takes az a over, in epoch 1."),
        (Safeguard.EPOCH_CHECK, "one-believer", 8, "The links bring host-1 the word of lease 1.1: it obeys."),
        (Safeguard.AMNESTY, "one-believer", 8, "Manager 2 takes az a over, in epoch 2."),
        (Safeguard.RECORD_FIRST, "one-believer", 7, "Manager 2 takes az a over, in epoch 2."),
        (Safeguard.OBEY_NEWEST, "obeys-the-newest", 9, "The links bring host-1 the word of lease 1.1: it obeys."),
    ],
)
@pytest.mark.parametrize("faults", [0, 1])
def test_each_safeguard_is_needed_and_the_shortest_trace_says_why(
    safeguard: Safeguard, breaks: str, steps: int, last: str, faults: int
) -> None:
    report = check_protocol(subject(Takeover(weakened=safeguard, faults=faults)))
    assert (report.verdict, report.property, len(report.trace)) == (Verdict.VIOLATED, breaks, steps)
    assert report.trace[-1].text.startswith(last)
    assert breaks in report.trace[-1].breaks


def test_what_a_fault_leaves_under_way_is_told() -> None:
    """A manager's record is under way when it crashes, and lands in the epoch of the next one."""
    space = explore(protocol(Takeover(weakened=Safeguard.EPOCH_CHECK)))
    assert any(label.startswith("late: store.record_grants") for label in space.labels())
    assert any(label.startswith("crash during store.take") for label in space.labels())
    trace = counterexample(space, "recorded-in-office")
    assert trace is not None
    assert trace[-1].said.call.method == "record_grants"


def test_the_story_shows_what_each_step_changes() -> None:
    told = as_text(check_protocol(subject(Takeover(weakened=Safeguard.AMNESTY))).trace)
    assert "   5.  Manager 1 records lease 1.1 for host-1.\n" in told
    assert (
        "        store: az a is managed by manager-2 | epoch 2 | recorded for host-1 1.1 | amnesty up to none" in told
    )


def test_a_generation_tells_the_epoch_that_it_is_of() -> None:
    assert epoch_of(first_generation(7) + 12) == 7
    assert first_generation(8) > first_generation(7) + (1 << 39)


def test_a_superseded_manager_can_record_nothing() -> None:
    state, _ = twin.take(STORE, AZ, "one", 0, 60.0)
    state, _ = twin.take(state, AZ, "two", 1, 60.0)
    with pytest.raises(Superseded):
        twin.record_grants(state, AZ, 1, (Granted(0, first_generation(1) + 1),))
