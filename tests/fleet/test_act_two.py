"""The night without a store, of a fleet fifty times smaller: the collapse, its remedy, the policy that needs none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evenkeel.cli.main import app
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
from evenkeel.region.rehearsing.fleet_sensitivity import fleet_sensitivity
from evenkeel.sim.fleet.run import rehearse
from evenkeel.ui.fleet_night import fleet_account, fleet_page, fleet_sensitivity_lines

TIMES = 50


@pytest.fixture(scope="module")
def scenario() -> FleetScenario:
    full = read_fleet(fleet_scenarios()["act-two"])
    return replace(full, night=replace(full.night.smaller(TIMES), lasts_s=8 * 3600.0))


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


def test_the_page_tells_the_night_under_both_policies(scenario: FleetScenario) -> None:
    told: list[float] = []
    outcomes = [rehearse_fleet(scenario, policy, on_progress=told.append) for policy in ("october-2025", "safe")]
    assert told[0] >= 60.0  # of virtual time, minute by minute
    assert len(told) > 2 * 450
    october, safe = map(fleet_account, outcomes)
    assert [each.is_bad for each in october] == [False, True, False, True, False, False]
    assert "and at no moment did" in october[3].text
    assert ["No lease has ended" in each.text for each in safe] == [False, True, False]
    page = fleet_page(outcomes)
    assert page.count("data-figure=") == 8
    for part in ("throws the queues away", "the lease clock stood still", *(scenario.assumed)):
        assert part in page


def test_what_hangs_on_an_assumption_is_told_in_numbers(scenario: FleetScenario) -> None:
    night = replace(scenario.night, hosts=scenario.night.hosts * 10, capacity_per_s=scenario.night.capacity_per_s * 10)
    small = replace(scenario, night=night, others={"throttle-per-s": (40.0, 50.0)})
    found = fleet_sensitivity(small, "safe")
    assert [row["value"] for row in found["rows"]] == [40.0, 50.0]
    assert [row["held_min_share"] for row in found["rows"]] == [1.0, 1.0]
    assert len(fleet_sensitivity_lines(found)) == 4


def test_options_that_say_nothing_about_a_fleet_are_refused() -> None:
    ran = CliRunner().invoke(app, ["rehearse", "act-two", "--seeds", "1..9", "--trace", "t.txt"])
    assert isinstance(ran.exception, InputError)
    assert [problem.where for problem in ran.exception.problems] == ["--seeds", "--trace"]


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
