"""The region's own workflows in virtual time: the race, its absence, and the same run for the same seed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from evenkeel.model.policy import OCTOBER_2025, SAFE, DnsPolicy, EmptyAnswer
from evenkeel.sim.invariants import Invariant
from evenkeel.sim.scheduler import SECOND_US
from evenkeel.sim.script import Must, Step, StepKind
from tests.sim.worlds import DB, MINUTE_US, run, small_region

OCTOBER = replace(OCTOBER_2025, keep_generations=3, attempts_max=50)
STALL = Step(20 * SECOND_US, StepKind.HOLD, component="enactor-a", endpoint=DB, step="lock", for_us=40 * SECOND_US)


def test_an_undisturbed_region_publishes_every_plan_and_empties_nothing() -> None:
    done = run(small_region(), musts=(Must(Invariant.CONVERGED),))
    assert len(done.plans) > 5
    assert done.moments[DB][-1].generation >= done.plans[-2][1]
    assert not any(done.counts.values())


def test_under_october_2025_a_stall_empties_the_record_and_wedges_the_region_by_itself() -> None:
    done = run(small_region(OCTOBER), STALL, lasts_us=2 * MINUTE_US)
    assert done.counts[Invariant.NEVER_EMPTY] == 1
    assert done.counts[Invariant.FENCE_NEVER_BACK] >= 1
    assert done.counts[Invariant.NO_WEDGE] == 1
    emptied = next(moment for moment in done.moments[DB] if moment.is_empty)
    stale = next(noted for noted in done.violations if noted.invariant is Invariant.FENCE_NEVER_BACK)
    assert stale.at_us <= emptied.at_us
    assert done.empty_us[DB] > 30 * SECOND_US


def test_the_same_stall_does_nothing_under_the_safe_policy() -> None:
    region = small_region(replace(SAFE, keep_generations=3))
    stall = replace(STALL, step="flip")
    done = run(region, stall, lasts_us=2 * MINUTE_US, musts=(Must(Invariant.CONVERGED),))
    assert any(step.kind is StepKind.HOLD for _, step in done.happened.steps), "the barrier was never met"
    assert not any(done.counts.values())


FAULTS = {
    "a pause": Step(10 * SECOND_US, StepKind.PAUSE, component="enactor-b", for_us=20 * SECOND_US),
    "a crash": Step(10 * SECOND_US, StepKind.CRASH, component="enactor-*", for_us=3 * SECOND_US),
    "the zone server lost": Step(10 * SECOND_US, StepKind.CRASH, component="nameserver", for_us=15 * SECOND_US),
    "the zone server slow": Step(10 * SECOND_US, StepKind.PAUSE, component="nameserver", for_us=8 * SECOND_US),
    "the store lost": Step(10 * SECOND_US, StepKind.CRASH, component="plan-store", for_us=20 * SECOND_US),
    "the store full": Step(10 * SECOND_US, StepKind.STORE_FULL, for_us=20 * SECOND_US),
    "a partition": Step(
        10 * SECOND_US, StepKind.PARTITION, component="enactor-a", other="nameserver", for_us=20 * SECOND_US
    ),
    "loss": Step(10 * SECOND_US, StepKind.LOSS, component="enactor-*", share=300, for_us=30 * SECOND_US),
    "duplicates": Step(10 * SECOND_US, StepKind.DUPLICATE, component="enactor-*", share=500, for_us=30 * SECOND_US),
    "reordering": Step(
        10 * SECOND_US, StepKind.REORDER, component="*", share=300, extra_us=4 * SECOND_US, for_us=30 * SECOND_US
    ),
    "delay": Step(10 * SECOND_US, StepKind.DELAY, component="enactor-c", extra_us=SECOND_US, for_us=30 * SECOND_US),
    "a wrong clock": Step(10 * SECOND_US, StepKind.SKEW, component="enactor-a", extra_us=3600 * SECOND_US),
    "a foreign hand": Step(10 * SECOND_US, StepKind.FOREIGN_WRITE, endpoint=DB),
    "a bad plan": Step(20 * SECOND_US, StepKind.BAD_PLAN),
    "an az that flaps": Step(
        10 * SECOND_US, StepKind.AZ_FLAP, component="a", every_us=5 * SECOND_US, for_us=20 * SECOND_US
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_safe_policy_bears_each_fault_and_converges_afterwards(fault: Step) -> None:
    done = run(small_region(), fault, lasts_us=2 * MINUTE_US, musts=(Must(Invariant.CONVERGED),))
    assert not any(done.counts.values()), done.violations
    assert done.happened.steps


def test_a_freeze_stops_every_write_and_a_thaw_lets_the_plans_go_on() -> None:
    freeze = Step(20 * SECOND_US, StepKind.FREEZE, why="drill")
    thaw = Step(60 * SECOND_US, StepKind.THAW)
    done = run(small_region(), freeze, thaw, lasts_us=2 * MINUTE_US, musts=(Must(Invariant.CONVERGED),))
    assert not [m for m in done.moments[DB] if 21 * SECOND_US < m.at_us < 60 * SECOND_US]
    assert [m for m in done.moments[DB] if m.at_us > 60 * SECOND_US]
    assert not any(done.counts.values())


def test_levers_work_in_virtual_time_as_they_do_for_real() -> None:
    pin = Step(20 * SECOND_US, StepKind.PIN, endpoint=DB)
    unpin = Step(60 * SECOND_US, StepKind.UNPIN, endpoint=DB)
    done = run(small_region(), pin, unpin, lasts_us=2 * MINUTE_US, musts=(Must(Invariant.CONVERGED),))
    held = [m for m in done.moments[DB] if 21 * SECOND_US < m.at_us < 60 * SECOND_US]
    assert not held
    assert not any(done.counts.values())


def test_repair_gives_an_emptied_endpoint_an_address_again() -> None:
    stop = Step(100 * SECOND_US, StepKind.STOP, component="enactor-*")
    repair = Step(101 * SECOND_US, StepKind.REPAIR, endpoint=DB)
    done = run(small_region(OCTOBER), STALL, stop, repair, lasts_us=2 * MINUTE_US)
    assert done.counts[Invariant.NEVER_EMPTY] == 1
    assert not done.moments[DB][-1].is_empty
    assert done.moments[DB][-1].by == "operator"


def test_without_a_guard_below_it_an_empty_plan_would_pass_so_the_store_refuses_it() -> None:
    """Every layer is asked alone: the store's own rule holds where Enactor and server allow anything."""
    region = small_region(replace(SAFE, empty_answer=EmptyAnswer.ALLOWED, removed_share_max=1.0))
    done = run(region, Step(20 * SECOND_US, StepKind.BAD_PLAN, keep=0))
    assert done.counts[Invariant.NEVER_EMPTY] == 0
    assert any(noted.process == "stranger" and noted.kind == "refused" for noted in done.noted)


# --- determinism ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [SAFE, OCTOBER], ids=["safe", "october-2025"])
def test_the_same_seed_gives_the_same_run_and_another_seed_another(policy: DnsPolicy) -> None:
    one, again, other = (run(small_region(policy), STALL, seed=seed) for seed in (5, 5, 6))
    assert one.digest == again.digest
    assert one.noted == again.noted
    assert one.digest != other.digest


def test_the_run_does_not_hang_on_hash_order() -> None:
    code = (
        "from tests.sim.worlds import run, small_region; from tests.sim.test_run import OCTOBER, STALL;"
        "print(run(small_region(OCTOBER), STALL).digest, run(small_region()).digest)"
    )
    digests = set()
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_a_fault_that_is_left_out_changes_nothing_before_it() -> None:
    """Streams hang on names: shrinking compares runs that differ by the fault alone."""
    late = Step(50 * SECOND_US, StepKind.LOSS, component="enactor-*", share=900, for_us=5 * SECOND_US)
    with_it, without = run(small_region(), late), run(small_region())
    before = [noted for noted in with_it.noted if noted.at_us < 50 * SECOND_US]
    assert before == [noted for noted in without.noted if noted.at_us < 50 * SECOND_US]
