"""The fleet's policies: each switch is named for what it does; `safe` and `october-2025` stand at the ends (DESIGN.md).

Values between the ends exist so that it can be shown why each falls short (RECOVERY.md has the figures). Units: a unit
of work is one establishment; capacity is in units a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OnStoreLoss(StrEnum):
    CLOCK_RUNS = "clock-runs"  # leases run out while nobody can renew them
    AMNESTY = "amnesty"  # the lease clock stands still; one record on return


class LeaseRecovery(StrEnum):
    """How hosts without a lease get one."""

    SWEEP = "sweep"  # the manager calls, at the capacity that it measures
    FIFO = "fifo"  # hosts retry; whatever comes is queued and worked off, however late
    DEADLINE_DROP = "deadline-drop"  # the same, without the work that nobody waits for any more
    TOKEN_BUCKET = "token-bucket"  # noqa: S105 - a limiter's name; what is over the rate is refused
    GRADIENT2 = "gradient2"  # what is over a limit learnt from latency is refused
    TIMER_SPREAD = "timer-spread"  # Nomad: the time to live grows with the number of live timers


class Retry(StrEnum):
    """When a host tries again after an attempt that came to nothing."""

    AT_ONCE = "at-once"  # after its request timeout, and again
    FULL_JITTER = "full-jitter"  # after U(0, min(cap, base * 2^n))
    AS_TOLD = "as-told"  # by the pace of its last grant, or when called


@dataclass(frozen=True, slots=True)
class WorkCosts:
    """What things cost a manager. The contact that is established or renewed is part of that cost; `message` is what
    any other message costs, either way."""

    establish: float = 1.0
    renew: float = 0.1
    message: float = 0.01
    launch: float = 1.0


@dataclass(frozen=True, slots=True)
class FleetPolicy:
    """How a lease manager and its agents behave. Units: seconds, shares of 1."""

    on_store_loss: OnStoreLoss = OnStoreLoss.AMNESTY
    recovery: LeaseRecovery = LeaseRecovery.SWEEP
    retry: Retry = Retry.AS_TOLD
    term_s: float = 300.0
    term_max_s: float = 7200.0  # of a stretched term: dead hosts are noticed within this
    amnesty_max_s: float = 14_400.0  # the lease clock stands still for no longer; a takeover waits this out
    request_timeout_s: float = 5.0
    costs: WorkCosts = WorkCosts()
    # the sweep
    tick_s: float = 0.02
    work_ahead_s: float = 0.25  # called and queued work, at the measured capacity
    call_timeout_s: float = 0.5
    poll_share: float = 0.002  # of the capacity that unasked contacts may cost
    poll_min_s: float = 2.0  # no host polls more often than this
    poll_max_s: float = 10.0  # a host that waits in line says so this often, so that its contact is never older
    launch_share: float = 0.2  # of the capacity, work-conserving
    launch_deadline_s: float = 30.0
    launches_queued_max: int = 10_000
    capacity_at_start: float = 20.0  # units/s, where none was persisted; low on purpose
    # the others
    jitter_base_s: float = 1.0
    jitter_cap_s: float = 60.0
    queued_max: int = 4_000_000  # a FIFO's end; what comes then is dropped
    admitted_per_s: float = 450.0  # token bucket
    spread_per_s: float = 50.0  # timer spread: renewals a second that a time to live is sized for


SAFE_FLEET = FleetPolicy()
OCTOBER_2025_FLEET = FleetPolicy(on_store_loss=OnStoreLoss.CLOCK_RUNS, recovery=LeaseRecovery.FIFO, retry=Retry.AT_ONCE)


class FleetPreset(StrEnum):
    SAFE = "safe"
    OCTOBER_2025 = "october-2025"


FLEET_PRESETS = {FleetPreset.SAFE: SAFE_FLEET, FleetPreset.OCTOBER_2025: OCTOBER_2025_FLEET}
