"""A night in which a fleet's store is away: one fleet, under October 2025's policy or the safe one (OUTAGE.md, act
two).

Everything that is not public is a number of `Night`; the scenario's file names each, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from evenkeel.model.fleet_policy import FLEET_PRESETS, FleetPolicy, FleetPreset
from evenkeel.sim.fleet.run import rehearse
from evenkeel.sim.fleet.scene import Lever, Measured, Scene


@dataclass(frozen=True, slots=True)
class Night:
    """Seconds since the start, units of work a second, counts."""

    hosts: int
    capacity_per_s: float
    renew_cost: float
    message_cost: float
    term_s: float
    request_timeout_s: float
    queued_max: int
    throttle_per_s: float
    launches_per_s: float
    store_lost_s: float
    store_back_s: float
    remedy_s: float
    lasts_s: float
    seed: int = 1

    def policy(self, preset: FleetPreset) -> FleetPolicy:
        """The preset's switches, with this fleet's sizes."""
        base = FLEET_PRESETS[preset]
        costs = replace(base.costs, renew=self.renew_cost, message=self.message_cost)
        return replace(
            base,
            costs=costs,
            term_s=self.term_s,
            request_timeout_s=self.request_timeout_s,
            queued_max=self.queued_max,
        )

    def scene(self, preset: FleetPreset, has_remedy: bool = True) -> Scene:
        """The whole night."""
        remedy = Lever(self.remedy_s, throttle_per_s=self.throttle_per_s, restart_share=1.0)
        return Scene(
            f"act two, {preset}",
            hosts=self.hosts,
            capacity=((0.0, self.capacity_per_s),),
            policy=self.policy(preset),
            lasts_s=self.lasts_s,
            starts_leased=True,
            store_down=((self.store_lost_s, self.store_back_s),),
            launches_per_s=self.launches_per_s,
            levers=(remedy,) if has_remedy else (),
            stops_when_leased=False,
            held_every_s=15.0,
            window_max_s=4.0,
            window_storm_s=2.0,
            seed=self.seed,
        )

    def smaller(self, times: float) -> Night:
        """The same night of a fleet `times` smaller on managers as much smaller: it takes as long."""
        return replace(
            self,
            hosts=max(1, round(self.hosts / times)),
            capacity_per_s=self.capacity_per_s / times,
            queued_max=max(1, round(self.queued_max / times)),
            throttle_per_s=self.throttle_per_s / times,
            launches_per_s=self.launches_per_s / times,
        )

    def worst_case(self, times: float) -> Scene:
        """What amnesty spares the fleet: no lease is left when the store is back, and the sweep has to bring back all
        of them. Of a fleet `times` smaller."""
        small = self.smaller(times)
        return Scene(
            "act two, every lease lost",
            hosts=small.hosts,
            capacity=((0.0, small.capacity_per_s),),
            policy=self.policy(FleetPreset.SAFE),
            lasts_s=3 * self.hosts / self.capacity_per_s,
            window_s=0.1,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class Came:
    """What a night came to. None: never."""

    measured: Measured
    leased_at_s: float | None  # when every host held its lease again, since the start of the night
    recovery_s: float | None  # since the store was back
    bound_s: float  # hosts over capacity
    launches_well_at_s: float | None  # when launches went well again, after the store was lost
    launched_share: float


def live_through(night: Night, preset: FleetPreset, on_progress: Callable[[float], None] | None = None) -> Came:
    """Rehearse the whole night. `on_progress` is told of the virtual time."""
    measured = rehearse(night.scene(preset), on_progress)
    recovery_s = measured.leased_at_s
    return Came(
        measured,
        None if recovery_s is None else night.store_back_s + recovery_s,
        recovery_s,
        night.hosts / night.capacity_per_s,
        measured.launches_well_at_s,
        measured.launched / max(measured.launches_asked, 1),
    )
