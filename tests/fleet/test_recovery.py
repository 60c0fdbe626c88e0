"""Recoveries in virtual time, of fleets twenty times smaller than the benchmark's; figures of one seed, to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evenkeel.sim.fleet.run import rehearse
from evenkeel.sim.fleet.scene import Scene
from evenkeel.sim.fleet.scenes import HOSTS, PEERS, PER_S, recoveries, smaller

LIMIT = 1.05
SMALL = [
    "base",
    "capacity halves",
    "estimate 10x high",
    "manager restarts at 150 s",
    "launches 100/s besides",
    "10% dead hosts",
    "2% lost replies",
    "a message costs 5%",
]


@pytest.mark.parametrize("name", SMALL)
def test_the_sweep_recovers_at_the_limit(name: str) -> None:
    measured = rehearse(replace(smaller(recoveries()[name], 50), window_s=0.1))
    assert measured.x_bound is not None
    assert measured.x_bound <= LIMIT


def test_the_same_seed_gives_the_same_recovery() -> None:
    scene = replace(smaller(recoveries()["2% lost replies"], 200), window_s=0.2)
    assert rehearse(scene).digest == rehearse(scene).digest
    assert rehearse(scene).digest != rehearse(replace(scene, seed=2)).digest


COLLAPSES = ["october-2025 (FIFO, retries at once)", "full jitter, FIFO", "Nomad-style timers"]


@pytest.mark.parametrize("name", COLLAPSES)
def test_what_waits_to_be_asked_and_works_off_a_queue_collapses(name: str) -> None:
    measured = rehearse(smaller(Scene(name, HOSTS, ((0.0, PER_S),), PEERS[name], lasts_s=1200.0), 50))
    assert measured.x_bound is None
    assert measured.leased_share < 0.05


def test_dropping_what_is_late_turns_a_collapse_into_a_slow_recovery() -> None:
    name = "deadline drop with full jitter"
    measured = rehearse(smaller(Scene(name, HOSTS, ((0.0, PER_S),), PEERS[name], lasts_s=1200.0), 50))
    assert measured.x_bound is not None
    assert 1.1 < measured.x_bound < 2.0
