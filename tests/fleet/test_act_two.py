"""The night without a store, of a fleet fifty times smaller: the collapse, its remedy, the policy that needs none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evenkeel.model.errors import InputError
from evenkeel.model.fleet_policy import FleetPreset
from evenkeel.region.rehearsing.fleet import (
    FleetScenario,
    fleet_figures,
    fleet_path,
    fleet_scenarios,
    read_fleet,
    rehearse_fleet,
)
from evenkeel.sim.fleet.run import rehearse

TIMES = 50


@pytest.fixture(scope="module")
def scenario() -> FleetScenario:
    full = read_fleet(fleet_scenarios()["act-two"])
    night = full.night
    small = replace(
        night,
        hosts=night.hosts // TIMES,
        capacity_per_s=night.capacity_per_s / TIMES,
        queued_max=night.queued_max // TIMES,
        throttle_per_s=night.throttle_per_s / TIMES,
        launches_per_s=night.launches_per_s / TIMES,
        lasts_s=8 * 3600.0,
    )
    return replace(full, night=small)


def test_under_october_every_lease_runs_out_the_managers_collapse_and_the_remedy_clears_it(
    scenario: FleetScenario,
) -> None:
    outcome = rehearse_fleet(scenario, "october-2025")
    assert outcome.came.measured.held_min == 0
    assert outcome.is_good, outcome.came.leased_at_s
    before_remedy = [
        held
        for at_s, held in outcome.came.measured.held
        if scenario.night.store_back_s + 600 < at_s < scenario.night.remedy_s
    ]
    assert max(before_remedy) < scenario.night.hosts / 100


def test_without_the_remedy_october_stays_collapsed(scenario: FleetScenario) -> None:
    measured = rehearse(scenario.night.scene(FleetPreset.OCTOBER_2025, has_remedy=False))
    assert measured.leased_at_s is None
    assert measured.leased_share < 0.01


def test_under_the_safe_policy_no_lease_is_lost_and_launches_go_on_within_minutes(scenario: FleetScenario) -> None:
    outcome = rehearse_fleet(scenario, "safe")
    figures = fleet_figures(outcome)
    assert outcome.is_good
    assert outcome.came.measured.held_min == scenario.night.hosts
    assert outcome.came.measured.amnesties == 1
    assert outcome.x_bound is not None
    assert outcome.x_bound <= 1.05
    assert outcome.sweep_x_bound is not None
    assert outcome.sweep_x_bound <= 1.05
    after_s = figures["launches_well_after_s"]
    assert isinstance(after_s, float)
    assert after_s <= 300


def test_a_fleets_scenario_tells_every_mistake_at_once(tmp_path: Path) -> None:
    text = fleet_scenarios()["act-two"].read_text()
    text = text.replace('name = "hosts"', 'name = "hoasts"').replace('value = "15m"', 'value = "ten"')
    text = text.replace("value = 229", "value = -1")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert fleet_path(str(path)) == path
    with pytest.raises(InputError) as caught:
        read_fleet(path)
    told = str(caught.value)
    for part in ("'hoasts'", '"ten"', "-1", "is without hosts"):
        assert part in told
    with pytest.raises(InputError, match="no fleet policy"):
        rehearse_fleet(read_fleet(fleet_scenarios()["act-two"]), "october-2024")
