"""Small regions and worlds for tests of virtual time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evenkeel.model.policy import DnsPolicy
from evenkeel.model.region import Region
from evenkeel.region.config import load
from evenkeel.region.rehearsing.packaged import FOLDER
from evenkeel.sim.chance import LATENCIES
from evenkeel.sim.run import Cast, Rehearsal, Run
from evenkeel.sim.scheduler import SECOND_US
from evenkeel.sim.script import Must, Script, Step, World
from evenkeel.sim.world import World as SimWorld

DB = "db.demo.example."
CAST = Cast(("enactor-a", "enactor-b", "enactor-c"), ("planner-1", "planner-2"))
MINUTE_US = 60 * SECOND_US


def small_region(policy: DnsPolicy | None = None) -> Region:
    region = load(Path(FOLDER) / "regions" / "small.toml")
    return region if policy is None else replace(region, policy=policy)


def script(*steps: Step, lasts_us: int = MINUTE_US, musts: tuple[Must, ...] = ()) -> Script:
    surroundings = World(latency="cross-az", capacity_wobble=500, wobble_every_us=4 * SECOND_US)
    return Script("test", "test", "", 0, "UTC", lasts_us, world=surroundings, steps=steps, musts=musts)


def run(region: Region, *steps: Step, seed: int = 1, lasts_us: int = MINUTE_US, musts: tuple[Must, ...] = ()) -> Run:
    return Rehearsal(region, CAST, script(*steps, lasts_us=lasts_us, musts=musts), seed).run()


def world(seed: int = 1, latency: str = "cross-az") -> SimWorld:
    return SimWorld(seed, LATENCIES[latency])
