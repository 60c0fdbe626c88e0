"""A region that changes without pause, so that clean-up has no leisure: its share alone keeps the zone small.

120 endpoints, each changed by every plan, a plan a second, exchanges of 70 ms and more: the three Enactors together
publish as fast as they can, and always have more to publish.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from evenkeel.endpoints.spent import PRESSING_NODES
from evenkeel.region.rehearsing.assumptions import assumed
from evenkeel.region.rehearsing.packaged import packaged
from evenkeel.region.rehearsing.policies import policy_named
from evenkeel.region.rehearsing.reading import read_scenario
from evenkeel.region.rehearsing.rehearse import cast_of
from evenkeel.sim.automation import SimDesk
from evenkeel.sim.run import Rehearsal, Run
from evenkeel.sim.scheduler import SECOND_US

LASTS_US = 90 * SECOND_US
KEEP = 3
ENDPOINTS = 120
# Beside what clean-up keeps and the node that clients are pointed to: each Enactor's bound, and its first publication.
BOUND = ENDPOINTS * (KEEP + 2 + 3 * (PRESSING_NODES + 1))


@dataclass(frozen=True, slots=True)
class Busy:
    run: Run
    nodes: list[int]  # in the zone, sampled a hundred times


def busy_minutes() -> Busy:
    night = read_scenario(packaged()["october-2025"])
    region, script = assumed(night.region, night.script, night.assumptions, {"a plan every": "1s"})
    region = replace(
        region,
        endpoints=dict(list(region.endpoints.items())[:ENDPOINTS]),
        policy=replace(policy_named("safe", region.policy), keep_generations=KEEP),
        planner=replace(region.planner, cycle_s=1.0, weight_hysteresis=0.0),
    )
    world = replace(script.world, latency="cross-region", account_cohorts=0)
    script = replace(script, lasts_us=LASTS_US, world=world, steps=(), musts=(), clients=(), milestones=())
    rehearsal = Rehearsal(region, cast_of(region), script, seed=1)
    nodes: list[int] = []

    def sample(now_us: int) -> None:
        zones = [host.zone for host in rehearsal.zones.values()]
        nodes.append(sum(len(zone.nodes_of(name)) for zone in zones for name in rehearsal.region.endpoints))

    return Busy(rehearsal.run(sample), nodes)


def test_nodes_stay_below_the_bound_while_every_endpoint_changes_without_pause() -> None:
    busy = busy_minutes()
    assert max(busy.nodes) <= BOUND
    assert max(busy.nodes[50:]) <= 1.2 * max(busy.nodes[:50])
    assert not any(busy.run.counts.values())


def test_without_its_share_clean_up_never_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimDesk, "clean_up_share", 0.0)
    busy = busy_minutes()
    assert max(busy.nodes) > 2 * BOUND
    assert max(busy.nodes[50:]) > 1.1 * max(busy.nodes[:50])
