"""From single probes to a verdict: pure rules, no clock of their own.

Three steps, each a function of values:

1. `observe` moves one target (an address of a load balancer, as one vantage point sees it) by one probe's
   outcome: rise, fall, grace, and the rule that *our own lateness is never the target's failure*.
2. `combine` makes one opinion of a load balancer's addresses.
3. `decide` makes one verdict of the vantage points' opinions: a removal needs a quorum that says so now.

In October 2025 health checks of newcomers without network state alternated, the checker saturated, and late
results counted as failures until healthy capacity was taken away (OUTAGE.md, RECOVERY.md). Here a newcomer is not
counted, a late result moves nothing, and a vantage point that has lost its own footing has no vote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

from evenkeel.model.health import Probe, Standing


class Evidence(Enum):
    """What an outcome says about the target."""

    READY = auto()
    FAILING = auto()  # the target, or something on its side, answered with a failure
    SILENT = auto()  # nothing came back: the target, or the network between
    OURS = auto()  # the vantage point's own trouble: says nothing about the target


class Outcome(StrEnum):
    """How one probe ended."""

    READY = "ready"
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"  # the peer closed before its reply was whole
    STATUS = "status"  # an HTTP status outside 200-399
    MALFORMED = "malformed"  # not HTTP, or more of a header than is read
    TLS = "tls"  # handshake or certificate
    NOT_READY = "not-ready"  # the load balancer reported so itself
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"  # ICMP: no such host or port filtered
    NO_REPORT = "no-report"  # a self-reporting load balancer fell silent
    LATE = "late"  # the deadline passed while we were not looking, or the turn was skipped
    LOCAL = "local"  # no descriptor, no port, no route here


_EVIDENCE = {
    Outcome.READY: Evidence.READY,
    Outcome.REFUSED: Evidence.FAILING,
    Outcome.RESET: Evidence.FAILING,
    Outcome.CLOSED: Evidence.FAILING,
    Outcome.STATUS: Evidence.FAILING,
    Outcome.MALFORMED: Evidence.FAILING,
    Outcome.TLS: Evidence.FAILING,
    Outcome.NOT_READY: Evidence.FAILING,
    Outcome.TIMEOUT: Evidence.SILENT,
    Outcome.UNREACHABLE: Evidence.SILENT,
    Outcome.NO_REPORT: Evidence.SILENT,
    Outcome.LATE: Evidence.OURS,
    Outcome.LOCAL: Evidence.OURS,
}


@dataclass(frozen=True, slots=True)
class Observation:
    """One probe's result, and what the target reported with it (negative: nothing reported)."""

    outcome: Outcome
    capacity: float = -1.0
    load: float = -1.0
    draining: bool = False
    detail: str = ""

    @property
    def evidence(self) -> Evidence:
        return _EVIDENCE[self.outcome]


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target as one vantage point knows it. Times are the caller's monotonic seconds.

    `successes` and `failures` count consecutive results, up to the probe's `rise` and `fall`; at most one of
    them is not zero. `heard_at_s` is when the last result came that says anything about the target.
    """

    watched_since_s: float
    heard_at_s: float
    standing: Standing = Standing.NEW
    successes: int = 0
    failures: int = 0
    was_ready: bool = False
    capacity: float = -1.0
    load: float = -1.0
    why: str = "not probed yet"


def newcomer(now_s: float) -> TargetState:
    """A target that is watched from now on."""
    return TargetState(now_s, now_s)


def blind_after_s(probe: Probe) -> float:
    """How long a standing holds without a result that says anything: one turn more than `fall` failures take."""
    return probe.interval_s * (probe.fall + 1) + probe.timeout_s


def expire(state: TargetState, probe: Probe, now_s: float) -> TargetState:
    """`UNKNOWN` once nothing was learnt for `blind_after_s`; both counts begin again from there."""
    if now_s - state.heard_at_s <= blind_after_s(probe):
        return state
    return forget(state, f"nothing learnt for {now_s - state.heard_at_s:.0f} s")


def forget(state: TargetState, why: str) -> TargetState:
    """`UNKNOWN` for the reason `why`: `rise` or `fall` results in a row are needed again."""
    if state.standing is Standing.UNKNOWN and not state.successes and not state.failures:
        return state
    return replace(state, standing=Standing.UNKNOWN, successes=0, failures=0, why=why)


def observe(state: TargetState, seen: Observation, probe: Probe, now_s: float) -> TargetState:
    """The state after one result."""
    state = expire(state, probe, now_s)
    evidence = seen.evidence
    if evidence is Evidence.OURS:
        return state
    if evidence is Evidence.READY:
        return _after_success(state, seen, probe, now_s)
    return _after_failure(state, seen, probe, now_s)


def _after_success(state: TargetState, seen: Observation, probe: Probe, now_s: float) -> TargetState:
    successes = min(state.successes + 1, probe.rise)
    standing = state.standing
    if successes >= probe.rise or standing in (Standing.HEALTHY, Standing.DRAINING):
        standing = Standing.DRAINING if seen.draining else Standing.HEALTHY
    return TargetState(
        watched_since_s=state.watched_since_s,
        heard_at_s=now_s,
        standing=standing,
        successes=successes,
        failures=0,
        was_ready=state.was_ready or standing in (Standing.HEALTHY, Standing.DRAINING),
        capacity=seen.capacity,
        load=seen.load,
        why=f"{'asks to drain' if seen.draining else 'ready'} ({successes} of {probe.rise})",
    )


def _after_failure(state: TargetState, seen: Observation, probe: Probe, now_s: float) -> TargetState:
    in_grace = not state.was_ready and now_s - state.watched_since_s < probe.grace_s
    failures = 0 if in_grace else min(state.failures + 1, probe.fall)
    what = f"{seen.outcome.value}{': ' + seen.detail if seen.detail else ''}"
    return TargetState(
        watched_since_s=state.watched_since_s,
        heard_at_s=now_s,
        standing=Standing.FAILED if failures >= probe.fall else state.standing,
        successes=0,
        failures=failures,
        was_ready=state.was_ready,
        capacity=state.capacity,
        load=state.load,
        why=f"{what} ({'newcomer in grace' if in_grace else f'{failures} of {probe.fall}'})",
    )


# The first of these that any address has is the load balancer's: one dead address is published with the others, so
# it fails them all; an address that cannot be judged from here (no IPv6, say) is overruled by one that can.
_PRECEDENCE = (Standing.FAILED, Standing.NEW, Standing.DRAINING, Standing.HEALTHY, Standing.UNKNOWN)


def combine(standings: Iterable[Standing]) -> Standing:
    """A vantage point's opinion of a load balancer from those of its addresses; `UNKNOWN` where there are none."""
    found = set(standings)
    return next((standing for standing in _PRECEDENCE if standing in found), Standing.UNKNOWN)


def decide(previous: Standing, opinions: Iterable[Standing], quorum: int) -> Standing:
    """The verdict that follows `previous`.

    `opinions` holds one entry a vantage point; the caller passes `UNKNOWN` for those that are silent, stale or
    doubt themselves. Where the voices are enough but do not agree, the verdict stays as it was.
    """
    votes = list(opinions)
    failed = votes.count(Standing.FAILED)
    healthy = votes.count(Standing.HEALTHY)
    draining = votes.count(Standing.DRAINING)
    alive = healthy + draining
    if failed >= quorum and failed > alive:
        return Standing.FAILED
    if alive >= quorum and alive > failed:
        return _alive(previous, healthy, draining, quorum)
    if previous is Standing.NEW or failed + alive >= quorum:
        return previous
    return Standing.UNKNOWN


def _alive(previous: Standing, healthy: int, draining: int, quorum: int) -> Standing:
    if draining >= quorum:
        return Standing.DRAINING
    if healthy >= quorum:
        return Standing.HEALTHY
    return previous if previous in (Standing.HEALTHY, Standing.DRAINING) else Standing.DRAINING
