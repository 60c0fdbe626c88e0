"""Ready scenarios with their golden outputs; search, shrinking, assumptions, folding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.model.errors import InputError
from evenkeel.region.rehearsing.assumptions import assumed
from evenkeel.region.rehearsing.packaged import packaged
from evenkeel.region.rehearsing.policies import WEAKENED
from evenkeel.region.rehearsing.reading import Scenario, read_scenario
from evenkeel.region.rehearsing.rehearse import as_json, rehearse
from evenkeel.region.rehearsing.search import faults_of, rehearse_seed, search, shrink_seed
from evenkeel.region.rehearsing.sensitivity import swings
from evenkeel.region.rehearsing.shrink import shrunk
from evenkeel.sim.folding import folded
from evenkeel.sim.invariants import Invariant
from evenkeel.sim.script import FAULTS, Step, StepKind
from evenkeel.ui.summary import summary


def ready(name: str) -> Scenario:
    return read_scenario(packaged()[name])


SMALL = [name for name in packaged() if not name.startswith("october")]


@pytest.mark.parametrize("name", SMALL)
def test_a_ready_scenario_ends_as_it_asks(name: str) -> None:
    outcome = rehearse(ready(name))
    assert outcome.is_good, outcome.failures


def test_the_race_reads_as_a_story() -> None:
    """Golden: what a person sees of the race under October 2025's policy."""
    told = "\n".join(summary(rehearse(ready("race"), policy="october-2025"))[:-1])
    assert told == (GOLDEN / "race-october-2025.txt").read_text().rstrip("\n")


GOLDEN = Path(__file__).parent / "golden"


def test_october_act_one_meets_its_milestones_and_the_safe_policy_has_nothing_to_tell() -> None:
    night = ready("october-2025")
    outcome = rehearse(night)
    assert outcome.is_good, outcome.failures
    expected = [each for each in outcome.milestones if each.milestone.expected_us >= 0]
    assert len(expected) == 6
    assert all(abs(each.off_us) <= 120_000_000 for each in expected)
    assert outcome.run.counts[Invariant.NEVER_EMPTY] == 3, "regional, FIPS and IPv6"
    assert 200_000 < outcome.run.records < 1_000_000
    emptied = next(m for m in outcome.run.moments["database.region-1.example."] if m.is_empty)
    assert emptied.by != emptied.writer, "it was another Enactor's clean-up that took the addresses away"

    safe = rehearse(night, policy="safe")
    assert safe.is_good, safe.failures
    assert safe.run.counts[Invariant.NEVER_EMPTY] == 0
    assert sum(each.failed for each in safe.clients.values()) == 0


def test_json_has_what_programs_ask_for() -> None:
    found = as_json(rehearse(ready("race")))
    wanted = {"digest", "seed", "virtual_s", "wall_s", "events", "peak_rss_mb", "milestones", "invariants", "figures"}
    assert wanted <= found.keys()
    assert found["good"] is True


# --- search -----------------------------------------------------------------------------------------------


def test_a_seed_is_repeated_exactly_and_draws_its_own_faults() -> None:
    race = ready("race")
    assert rehearse_seed(race, 11).run.digest == rehearse_seed(race, 11).run.digest
    assert faults_of(race, 11) == faults_of(race, 11)
    assert faults_of(race, 11) != faults_of(race, 12)
    assert all(step.kind in FAULTS for step in faults_of(race, 11))


def test_random_faults_break_nothing_under_the_safe_policy() -> None:
    race = ready("race")
    assert [seed for seed in range(1, 31) if not rehearse_seed(race, seed).is_good] == []


# A seed each that breaks it, found by a search of the first hundred.
BREAKING = {
    "october-2025": 7,
    "recheck-before-write": 7,
    "check-references": 7,
    "recheck-and-references": 7,
    "no-wedge": 7,
    "no-lock": 1,
}


@pytest.mark.parametrize("policy", ["october-2025", *WEAKENED])
def test_each_weakened_policy_breaks_and_shrinks_to_three_faults_at_most(policy: str) -> None:
    found = shrink_seed(ready("race"), BREAKING[policy], policy)
    assert not found.outcome.is_good
    assert len(found.kept) <= 3
    assert set(found.kept) <= set(found.drawn)


def test_a_search_in_parallel_processes_finds_the_same_seeds_as_one_by_one() -> None:
    race = ready("race")
    first = BREAKING["october-2025"]
    seeds = range(first, first + 20)
    found = search(race, seeds, "october-2025", workers=2)
    alone = [seed for seed in seeds if not rehearse_seed(race, seed, "october-2025").is_good]
    assert [each.seed for each in found.found] == alone
    assert found.shrunk is not None
    assert found.shrunk.seed == first


def test_a_scenario_without_random_faults_cannot_be_searched() -> None:
    with pytest.raises(InputError, match="chaos"):
        search(ready("bad-plan"), range(1, 3))


@given(st.sets(st.integers(0, 30), min_size=1), st.data())
def test_shrinking_finds_exactly_the_faults_that_are_needed(numbers: set[int], data: st.DataObject) -> None:
    steps = [Step(number, StepKind.PAUSE) for number in sorted(numbers)]
    needed = set(data.draw(st.lists(st.sampled_from(steps), max_size=3)))
    assert set(shrunk(steps, lambda kept: needed <= set(kept))) == needed


# --- assumptions and folding ------------------------------------------------------------------------------


def test_assumptions_reach_region_and_script() -> None:
    night = ready("october-2025")
    region, script = assumed(
        night.region, night.script, night.assumptions, {"TTL of an answer": 7, "a plan every": "40s"}
    )
    assert {endpoint.ttl_s for endpoint in region.endpoints.values()} == {7}
    assert region.planner.routine_every_s == 40.0
    assert script.world.wobble_every_us == 40_000_000
    assert script.world.capacity_wobble == 500
    assert [step.times for step in script.steps if step.name == "lost-locks"] == [26, 26, 26]
    assert len(swings(night)) > len(night.assumptions)


@pytest.mark.parametrize("path", ["scenario.nothing", "region.policy", "weather.rain", "scenario.steps.delay.times"])
def test_an_assumption_that_sets_nothing_is_told(path: str) -> None:
    night = ready("race")
    wrong = replace(ready("october-2025").assumptions[0], sets=(path,))
    with pytest.raises(InputError, match="account endpoints"):
        assumed(night.region, night.script, [wrong])


def test_folding_keeps_every_endpoint_its_demand_and_the_order() -> None:
    region = ready("october-2025").region
    small, times = folded(region, 24)
    assert sum(times.get(name, 1) for name in small.endpoints) == len(region.endpoints) == 6003
    total = sum(endpoint.demand for endpoint in region.endpoints.values())
    assert sum(endpoint.demand for endpoint in small.endpoints.values()) == pytest.approx(total)
    assert folded(region, 0) == (region, {})


def test_a_folded_walk_takes_as_long_as_one_by_one() -> None:
    """The length of an Enactor's walk over all endpoints has to come out of the folded region."""
    night = ready("october-2025")
    script = replace(night.script, lasts_us=20 * 60_000_000, steps=(), musts=(), clients=(), milestones=())
    published = {}
    for cohorts in (12, 60):
        world = replace(script.world, account_cohorts=cohorts, accounts=1_200)
        outcome = rehearse(replace(night, script=replace(script, world=world), assumptions=()))
        published[cohorts] = len(outcome.run.moments["database.region-1.example."])
    assert published[12] == pytest.approx(published[60], rel=0.25)
