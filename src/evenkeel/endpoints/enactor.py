"""The Enactor: brings each endpoint to the newest plan, beside other Enactors that do the same.

Two forms of one walk. `enact_endpoint` is the safe one: look, build, flip on condition of what was seen; refused
means superseded or contended, so look again with the newest plan (DESIGN.md, Enact). `enact_run` is October 2025's:
one staleness check, then the plan is pushed to its end, endpoint by endpoint, under locks (OUTAGE.md, the race).

A workflow: no clock, no randomness, no input or output but through its ports; each `await` is one port call. The
plan is opaque here: its type is a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from evenkeel.endpoints.cleanup import clean_up
from evenkeel.model.policy import DnsPolicy
from evenkeel.ports.clock import Clock
from evenkeel.ports.plans import PlanReader
from evenkeel.ports.zone import AutomatedZone, EnactorZone, Look, Write

P = TypeVar("P")

# October 2025: back-off doubles up to a cap, without jitter, so whoever has waited longest waits longest (OUTAGE.md).
LOCK_BACK_OFF_S = 0.1
LOCK_BACK_OFF_MAX_S = 30.0


class Enacted(Enum):
    """How an endpoint was left."""

    PUBLISHED = auto()
    CURRENT = auto()  # it was at or past the plan already
    HELD = auto()
    FROZEN = auto()
    CORRUPT = auto()
    WEDGED = auto()
    UNSAFE = auto()  # a safeguard refused the plan's answer
    CONTENDED = auto()  # still behind after the policy's attempts; the next cycle goes on
    NO_PLAN = auto()
    ABSENT = auto()  # the newest plan no longer has it


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did: how each endpoint was left, and the nodes that its clean-up took away."""

    walked: dict[str, Enacted]
    removed: tuple[str, ...]


_LEFT_ALONE = {
    Look.CURRENT: Enacted.CURRENT,
    Look.HELD: Enacted.HELD,
    Look.FROZEN: Enacted.FROZEN,
    Look.CORRUPT: Enacted.CORRUPT,
    Look.WEDGED: Enacted.WEDGED,
    Look.ABSENT: Enacted.ABSENT,
}


async def enact_endpoint(endpoint: str, plans: PlanReader[P], zone: EnactorZone[P], policy: DnsPolicy) -> Enacted:
    """Compare and set until the endpoint is at or past the newest plan, which is asked for anew at every attempt."""
    for _ in range(policy.attempts_max):
        plan = await plans.newest()
        if plan is None:
            return Enacted.NO_PLAN
        look = await zone.look(endpoint, plan)
        if look is not Look.BEHIND:
            return _LEFT_ALONE[look]
        built = await zone.build(endpoint, plan)
        if built is Write.UNSAFE:
            return Enacted.UNSAFE
        if built is not Write.APPLIED:
            continue
        write = await zone.flip(endpoint, plan)
        if write is Write.APPLIED:
            return Enacted.PUBLISHED
        if write is Write.UNSAFE:
            return Enacted.UNSAFE
    return Enacted.CONTENDED


async def enact_run(
    endpoints: Sequence[str], plans: PlanReader[P], zone: AutomatedZone[P], policy: DnsPolicy, clock: Clock
) -> Run:
    """One run of October 2025's Enactor, clean-up at its end included. An empty run had nothing newer to apply."""
    plan = await begin_run(endpoints, plans, zone)
    if plan is None:
        return Run({}, ())
    walked = {}
    for endpoint in endpoints:
        walked[endpoint] = await enact_locked(endpoint, plan, zone, policy, clock)
    removed: list[str] = []
    for endpoint in endpoints:
        removed += (await clean_up(endpoint, plan, zone, policy)).removed
    return Run(walked, tuple(removed))


async def begin_run(endpoints: Sequence[str], plans: PlanReader[P], zone: EnactorZone[P]) -> P | None:
    """The run's one staleness check, and the whole plan's tree before any root (OUTAGE.md, layout in the zone).

    The plan to walk with; None where no endpoint is behind it.
    """
    plan = await plans.newest()
    if plan is None or not await _is_newer(endpoints, plan, zone):
        return None
    for endpoint in endpoints:
        await zone.build(endpoint, plan)
    return plan


async def _is_newer(endpoints: Sequence[str], plan: P, zone: EnactorZone[P]) -> bool:
    for endpoint in endpoints:
        if await zone.is_newer(endpoint, plan):
            return True
    return False


async def enact_locked(endpoint: str, plan: P, zone: EnactorZone[P], policy: DnsPolicy, clock: Clock) -> Enacted:
    """Take the endpoint's lock, however long it takes, then write this plan, however old it has become."""
    back_off_s = LOCK_BACK_OFF_S
    for _ in range(policy.attempts_max):
        look = await zone.look(endpoint, plan)
        if look in _LEFT_ALONE:
            return _LEFT_ALONE[look]
        if look is Look.BEHIND and await zone.lock(endpoint) is Write.APPLIED:
            write = await zone.flip_locked(endpoint, plan)
            if write is Write.UNSAFE:
                return Enacted.UNSAFE
            if write is Write.APPLIED:
                return Enacted.PUBLISHED
        await clock.sleep(back_off_s)
        back_off_s = min(2 * back_off_s, LOCK_BACK_OFF_MAX_S)
    return Enacted.CONTENDED
