"""How long a change takes to its endpoint in a region of 6,003 endpoints that changes all the time, in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evenkeel.model.plan import Lane, Plan
from evenkeel.region.rehearsing.assumptions import assumed
from evenkeel.region.rehearsing.packaged import packaged
from evenkeel.region.rehearsing.policies import policy_named
from evenkeel.region.rehearsing.reading import read_scenario
from evenkeel.region.rehearsing.rehearse import cast_of
from evenkeel.sim.run import Rehearsal
from evenkeel.sim.scheduler import SECOND_US
from evenkeel.sim.script import Step, StepKind

MINUTE_US = 60 * SECOND_US
ONE_BY_ONE = "database"  # the regional endpoints; each of the others stands for 250, and takes as long as they would


@dataclass(frozen=True, slots=True)
class Change:
    """An endpoint's change, from the plan to the zone."""

    endpoint: str
    lane: Lane
    took_us: int


def changes(plan_every: str, minutes: int) -> list[Change]:
    """Those of a region in which an az fails every four minutes, and capacities move all the time."""
    night = read_scenario(packaged()["october-2025"])
    region, script = assumed(night.region, night.script, night.assumptions, {"a plan every": plan_every})
    region = replace(region, policy=replace(policy_named("safe", region.policy), keep_generations=3))
    failures = tuple(
        Step(number * 4 * MINUTE_US, StepKind.AZ_DOWN, component=region.azs[number % 3], for_us=2 * MINUTE_US)
        for number in range(1, minutes // 4)
    )
    script = replace(script, lasts_us=minutes * MINUTE_US, steps=failures, musts=(), clients=(), milestones=())
    rehearsal = Rehearsal(region, cast_of(region), script, seed=1)
    planned: list[tuple[int, str, Lane, int]] = []

    def note(plan: Plan) -> None:
        for name, each in plan.endpoints.items():
            if each.changed_in == plan.generation:
                planned.append((plan.generation, name, each.lane, rehearsal.world.now_us))

    rehearsal.plan_host.on_appended = note
    moments = rehearsal.run().moments
    found = []
    for generation, name, lane, at_us in planned:
        shown = [m.at_us for m in moments.get(name, ()) if m.generation >= generation]
        found += [Change(name, lane, shown[0] - at_us)] if shown else []
    return found


def test_an_urgent_change_goes_before_clean_up_and_routine_changes_however_busy_the_region() -> None:
    """Clean-up of one endpoint at a time held it up by a minute, where it came beside a plan's routine changes."""
    urgent = [each for each in changes("15s", 40) if each.lane is Lane.URGENT]
    alone = [each.took_us for each in urgent if ONE_BY_ONE in each.endpoint.split(".")[0]]
    assert len(alone) >= 10
    assert max(alone) < 5 * SECOND_US


def test_a_plan_that_comes_while_the_fences_are_read_for_the_floor_is_not_held_up() -> None:
    """Once a minute all fences are read one by one; nobody heard of a plan meanwhile, which took 50 s here."""
    assert max(each.took_us for each in changes("55s", 16)) < 30 * SECOND_US
