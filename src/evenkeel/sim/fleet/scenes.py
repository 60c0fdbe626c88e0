"""The recoveries that the sweep is held to, and the designs beside it, by name (RECOVERY.md).

200,000 hosts lose their leases at once and say so within a second, at 500 units of work a second: bound 400 s.
"""

from __future__ import annotations

from dataclasses import replace

from evenkeel.model.errors import InputError
from evenkeel.model.fleet_policy import SAFE_FLEET, FleetPolicy, LeaseRecovery, OnStoreLoss, Retry, WorkCosts
from evenkeel.sim.fleet.scene import Scene

HOSTS, PER_S = 200_000, 500.0
MIDWAY_S = 200.0
DEAR_MESSAGES = replace(SAFE_FLEET, costs=WorkCosts(message=0.05))

_HALVES = ((0.0, PER_S), (MIDWAY_S, PER_S / 2))
_ALL_OVER = ((0.0, PER_S), (600.0, PER_S / 2), (1200.0, PER_S), (1800.0, PER_S / 4), (2400.0, PER_S))


def recoveries() -> dict[str, Scene]:
    """Every recovery of the sweep, by name."""
    scenes = [
        Scene("base"),
        Scene("capacity halves", capacity=_HALVES),
        Scene("capacity doubles", capacity=((0.0, PER_S), (MIDWAY_S, 2 * PER_S))),
        Scene("capacity falls to a quarter", capacity=((0.0, PER_S), (MIDWAY_S, PER_S / 4)), lasts_s=3000.0),
        Scene("estimate 20x low", capacity_known=PER_S / 20),
        Scene("estimate 10x high", capacity_known=PER_S * 10),
        Scene("manager restarts at 150 s", restart_at_s=150.0),
        Scene("launches 100/s besides", launches_per_s=100.0),
        Scene("10% dead hosts", dead_share=0.1),
        Scene("2% lost replies", lost_replies=0.02),
        Scene("a message costs 5%", policy=DEAR_MESSAGES),
        Scene("a million hosts", hosts=1_000_000, lasts_s=4000.0),
        Scene(
            "all at once",
            hosts=1_000_000,
            capacity=_ALL_OVER,
            policy=DEAR_MESSAGES,
            capacity_known=PER_S * 10,
            restart_at_s=150.0,
            launches_per_s=50.0,
            dead_share=0.1,
            lost_replies=0.02,
            lasts_s=8000.0,
        ),
    ]
    return {scene.name: scene for scene in scenes}


def _asked(recovery: LeaseRecovery, retry: Retry) -> FleetPolicy:
    return replace(SAFE_FLEET, on_store_loss=OnStoreLoss.CLOCK_RUNS, recovery=recovery, retry=retry)


# Designs that wait to be asked, by the names their users know.
PEERS: dict[str, FleetPolicy] = {
    "october-2025 (FIFO, retries at once)": _asked(LeaseRecovery.FIFO, Retry.AT_ONCE),
    "full jitter, FIFO": _asked(LeaseRecovery.FIFO, Retry.FULL_JITTER),
    "token bucket at 0.9 of capacity": _asked(LeaseRecovery.TOKEN_BUCKET, Retry.FULL_JITTER),
    "Nomad-style timers": _asked(LeaseRecovery.TIMER_SPREAD, Retry.AT_ONCE),
    "Gradient2 with full jitter": _asked(LeaseRecovery.GRADIENT2, Retry.FULL_JITTER),
    "deadline drop with full jitter": _asked(LeaseRecovery.DEADLINE_DROP, Retry.FULL_JITTER),
}


def scene_named(name: str) -> Scene:
    """Raises `InputError` that names those there are."""
    found = recoveries()
    if name not in found:
        raise InputError.one("scene", f"there is no recovery {name!r}", "use one of " + ", ".join(found))
    return found[name]


def smaller(scene: Scene, times: float) -> Scene:
    """The same recovery of a fleet `times` smaller, on a worker as much smaller: it takes as long."""
    return replace(
        scene,
        hosts=int(scene.hosts / times),
        capacity=tuple((at_s, per_s / times) for at_s, per_s in scene.capacity),
        capacity_known=scene.capacity_known / times,
        launches_per_s=scene.launches_per_s / times,
        policy=replace(scene.policy, admitted_per_s=scene.policy.admitted_per_s / times),
    )
