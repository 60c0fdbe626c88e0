"""What happens in a run, as values: steps at their times, what must hold, milestones, clients. No reader of files here.

Times are whole microseconds since the start. A step without an end of its own (`for_us` 0) lasts to the end of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evenkeel.sim.invariants import Invariant


class StepKind(StrEnum):
    """What can happen to a region, or be done to it."""

    # processes and hosts
    CRASH = "crash"  # ends at once, starts again after `for`
    STOP = "stop"  # ends, and stays down
    START = "start"
    PAUSE = "pause"  # held in mid-step for `for`
    SKEW = "skew"  # its wall clock is wrong by `extra` from now on
    STORE_FULL = "store-full"  # the plan store's disk takes no writes for `for`
    # between them
    PARTITION = "partition"
    LOSS = "loss"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    REORDER = "reorder"
    # within a workflow
    SLOW = "slow"  # exchanges about some endpoints take `extra` longer
    LOSE_LOCK = "lose-lock"  # the next `times` locks on some endpoints go to somebody else
    HOLD = "hold"  # a barrier: held before a named step, the `nth` time
    # load balancers
    BALANCER_DOWN = "balancer-down"
    AZ_DOWN = "az-down"
    AZ_FLAP = "az-flap"  # down and up again, every `every`
    # what somebody else does
    BAD_PLAN = "bad-plan"  # a plan that leaves `keep` addresses to each endpoint
    FOREIGN_WRITE = "foreign-write"  # an endpoint's addresses are overwritten by hand
    # operators
    FREEZE = "freeze"
    THAW = "thaw"
    PIN = "pin"
    UNPIN = "unpin"
    ROLLBACK = "rollback"
    REPAIR = "repair"
    OVERRIDE = "override"  # resolvers that obey answer an endpoint from a copy of its last good answer
    SAY = "say"  # people notice, meet, decide: nothing in the region changes


FAULTS = frozenset(
    {
        StepKind.CRASH,
        StepKind.PAUSE,
        StepKind.SKEW,
        StepKind.STORE_FULL,
        StepKind.PARTITION,
        StepKind.LOSS,
        StepKind.DUPLICATE,
        StepKind.DELAY,
        StepKind.REORDER,
        StepKind.SLOW,
        StepKind.LOSE_LOCK,
        StepKind.HOLD,
        StepKind.BALANCER_DOWN,
        StepKind.AZ_DOWN,
        StepKind.AZ_FLAP,
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens. Which fields count hangs on the kind; `component` and `endpoint` are shell patterns."""

    at_us: int
    kind: StepKind
    name: str = ""  # by which an assumption finds it
    component: str = ""
    other: str = "*"  # the other end of a link
    endpoint: str = "*"
    step: str = ""
    nth: int = 1
    times: int = 1
    for_us: int = 0
    extra_us: int = 0
    every_us: int = 0
    share: int = 0  # per mille
    keep: int = 1
    under: str = ""  # only with this policy
    why: str = ""

    def text(self) -> str:
        """For people: `pause enactor-a for 40 s`."""
        parts = [self.kind.value, self.component]
        if self.kind in (StepKind.PARTITION, StepKind.LOSS, StepKind.DUPLICATE, StepKind.DELAY, StepKind.REORDER):
            parts.append(f"with {self.other}")
        if self.kind is StepKind.HOLD:
            parts.append(f"before {self.step} number {self.nth}")
        if self.kind is StepKind.LOSE_LOCK:
            parts.append(f"{self.times} times")
        if self.share:
            parts.append(f"{self.share / 10:g}%")
        if self.extra_us:
            parts.append(f"by {seconds_text(self.extra_us)}")
        if self.endpoint != "*":
            parts.append(f"on {self.endpoint}")
        if self.for_us:
            parts.append(f"for {seconds_text(self.for_us)}")
        return " ".join(part for part in parts if part)


def clock_text(script: Script, at_us: int) -> str:
    """`23:48:07`, by the scenario's own clock."""
    seconds = (script.starts_s + at_us // 1_000_000) % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def seconds_text(us: int) -> str:
    """`90 s`, `12 min`, `1 h 5 min`."""
    seconds = us / 1_000_000
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if minutes < 120 else f"{hours} h" + (f" {rest} min" if rest else "")


class MilestoneEvent(StrEnum):
    EMPTY = "empty"  # the endpoint has no address any more
    ANSWERS = "answers"  # it has one again
    WEDGED = "wedged"  # an Enactor says so
    PLAN_REMOVED = "plan-removed"  # the node that the endpoint points to is taken away
    STALE = "stale"  # its generation goes back
    CLIENTS_FAILING = "clients-failing"  # 1% of the clients, or more
    CLIENTS_RECOVERED = "clients-recovered"  # fewer than 0.1%, to the end
    STEP = "step"  # somebody did what the script says


@dataclass(frozen=True, slots=True)
class Must:
    """What has to hold. `CONVERGED`: at `by_us` (0: the end) every endpoint is at or past the plan that was the newest
    `within_us` before."""

    invariant: Invariant
    by_us: int = 0
    within_us: int = 30_000_000
    under: str = ""  # only with this policy


@dataclass(frozen=True, slots=True)
class Milestone:
    """A moment of the run, beside the one expected (below 0: none is, and it is only told)."""

    name: str
    event: MilestoneEvent
    expected_us: int = -1
    tolerance_us: int = 0
    endpoint: str = ""
    clients: str = ""
    step: StepKind | None = None
    after_us: int = 0  # the first such event from then on
    under: str = ""  # only with this policy
    source: str = ""  # where the expected time is from


@dataclass(frozen=True, slots=True)
class Clients:
    """A population: `clients` behind `resolvers` caching resolvers, all of one endpoint."""

    name: str
    endpoint: str
    clients: int
    resolvers: int
    requests_per_minute: int  # of one client
    connection_s: int  # mean life of a connection; a new one needs an answer
    negative_ttl_s: int = -1  # how long "no answer" is kept; below 0: as the zone says
    stale_s: int = 0  # RFC 8767: an old answer is used this long when nobody can be asked
    obeys_override: bool = False
    retries: int = 1  # further addresses tried when one does not answer
    idle_s: int = 0  # mean time from an answer's expiry to the next demand at a resolver


@dataclass(frozen=True, slots=True)
class Chaos:
    """What a search draws for each seed: between `least` and `most` faults of `kinds` until `until_us`."""

    least: int
    most: int
    kinds: tuple[StepKind, ...]
    components: tuple[str, ...]
    from_us: int
    until_us: int
    for_us: int  # the longest that one lasts


@dataclass(frozen=True, slots=True)
class World:
    """What surrounds the region: network, load, how far the population of endpoints is folded."""

    latency: str = "cross-az"
    links: tuple[tuple[str, str, str], ...] = ()
    capacity_wobble: int = 0  # per mille of a load balancer's capacity
    wobble_every_us: int = 60_000_000
    account_cohorts: int = 0  # account endpoints are folded into this many; 0: each on its own
    accounts: int = 0  # they stand for this many; 0: for as many as the region's file has
    detect_us: int = 10_000_000  # until the quorum has seen a load balancer fail or come back
    window_us: int = 5_000_000  # of the clients' tables


@dataclass(frozen=True, slots=True)
class Script:
    """One scenario."""

    name: str
    title: str
    story: str
    starts_s: int  # of the day, in the scenario's own clock
    clock: str  # its name: "UTC", "PDT"
    lasts_us: int
    seed: int = 1
    world: World = World()
    steps: tuple[Step, ...] = ()
    musts: tuple[Must, ...] = ()
    milestones: tuple[Milestone, ...] = ()
    clients: tuple[Clients, ...] = ()
    chaos: Chaos | None = None
