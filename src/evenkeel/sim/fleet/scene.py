"""What is rehearsed, as values. Times are seconds since the start."""

from __future__ import annotations

from dataclasses import dataclass, field

from evenkeel.model.fleet_policy import SAFE_FLEET, FleetPolicy


@dataclass(frozen=True, slots=True)
class Lever:
    """Something that operators do to the manager."""

    at_s: float
    throttle_per_s: float | None = None  # let in only so many requests a second; below 0: take the throttle away
    restart_share: float = 0.0  # throw away so much of what is queued


@dataclass(frozen=True, slots=True)
class Scene:
    """One fleet and what befalls it. `capacity` is units of work a second from each moment on."""

    name: str
    hosts: int = 200_000
    capacity: tuple[tuple[float, float], ...] = ((0.0, 500.0),)
    policy: FleetPolicy = SAFE_FLEET
    lasts_s: float = 1200.0
    burst_s: float = 1.0  # within which all hosts make their first contact
    starts_leased: bool = False
    dead_share: float = 0.0
    lost_replies: float = 0.0
    one_way_s: float = 0.02
    capacity_known: float = 0.0  # units/s that the manager believes at its start; 0: nothing is persisted
    restart_at_s: float | None = None  # the manager is killed, and back, with a new epoch, after `restart_takes_s`
    restart_takes_s: float = 2.0
    launches_per_s: float = 0.0
    launches_from_s: float = 0.0
    store_down: tuple[tuple[float, float], ...] = ()  # from, until
    levers: tuple[Lever, ...] = ()
    stops_when_leased: bool = True
    window_s: float = 0.05  # of a recovery by sweep; a live manager ticks every 0.02
    window_max_s: float = 1.0
    held_every_s: float = 0.25  # between two counts of the hosts that hold a lease, in a recovery
    window_storm_s: float = 0.1  # of managers that do not tick, while hosts retry
    seed: int = 1

    def capacity_at(self, now_s: float) -> float:
        return next(per_s for from_s, per_s in reversed(self.capacity) if from_s <= now_s)

    def store_is_down(self, now_s: float) -> bool:
        return any(from_s <= now_s < until_s for from_s, until_s in self.store_down)


@dataclass(frozen=True, slots=True)
class Minute:
    """What a minute of the run came to. Counts; `held` and `queued` are of its end."""

    ends_s: float
    held: int  # hosts that hold a lease, when last counted
    queued: int  # requests that wait at the manager
    established: int
    launches_asked: int
    launched: int


@dataclass(slots=True)
class Measured:
    """What came of it. Shares of 1, seconds, counts."""

    scene: Scene
    hosts_alive: int
    leased_at_s: float | None = None  # when every live host held its lease, by its own clock
    leased_share: float = 0.0  # at the end
    bound_s: float = 0.0
    held: list[tuple[float, int]] = field(default_factory=list)  # hosts that hold a lease, over time
    held_min: int = 0
    minutes: list[Minute] = field(default_factory=list)
    launched: int = 0
    launches_asked: int = 0
    launches_well_at_s: float | None = None  # from then on nearly all went well, once the store had been away
    messages: int = 0
    units: float = 0.0
    calls: int = 0
    waits: int = 0
    regrants: int = 0
    grants: int = 0
    renewals: int = 0
    amnesties: int = 0
    dropped: int = 0
    windows: int = 0
    octets_a_host: float = 0.0
    own_x_bound: float = 0.0  # by the manager's own reckoning
    events: int = 0  # contacts, grants, renewals
    broken: dict[str, int] = field(default_factory=dict)  # hosts that were seen to break each invariant
    digest: str = ""

    @property
    def x_bound(self) -> float | None:
        """Recovery over its physical limit; None where it never ended."""
        return None if self.leased_at_s is None or not self.bound_s else self.leased_at_s / self.bound_s
