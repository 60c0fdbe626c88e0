"""How long a lease is, and when its renewal comes (RECOVERY.md, the sweep, 6).

Renewals of a whole fleet must fit beside everything else: `interval_s` grows until they take no more than
`RENEWAL_SHARE` of the capacity. While hosts are without a lease, those that have one are told to come back when the
recovery will be over, and not all at once. The price is that a dead host is noticed later, within a cap.
"""

from __future__ import annotations

import numpy as np

from evenkeel.fleet.arrays import Durations, Seconds
from evenkeel.model.fleet_policy import FleetPolicy

RENEWAL_SHARE = 0.4
AFTER_RECOVERY = 2.0  # times the time still needed: when renewals begin. It may turn out longer
AFTER_RECOVERY_MAX_S = 3600.0
SPARE = 1.0  # as much again does a lease last beyond, so that a renewal can be put off
PUT_OFF_SHARE = 0.7  # of what is left of a lease; the rest is for the renewal
_TOLD_PARTS = 64  # of a second: exact in 32 bits up to three days
SHORT_RECOVERY = 0.02  # of the interval: not worth stretching for


def interval_s(policy: FleetPolicy, hosts: int, capacity_per_s: float) -> float:
    """Between two renewals of a host, on average, when nothing is the matter."""
    fleet_s = hosts * policy.costs.renew / (RENEWAL_SHARE * capacity_per_s)
    return min(max(policy.term_s / 3, fleet_s), policy.term_max_s / 4)


def due_in_s(interval: float, left_s: float, draws: Seconds) -> Seconds:
    """Until the next renewal: `left_s` of recovery still to come, `draws` uniform in [0, 1), one a lease."""
    if is_recovering(interval, left_s):
        return min(AFTER_RECOVERY * left_s, AFTER_RECOVERY_MAX_S) + interval * (0.1 + 0.9 * draws)
    return interval * (0.95 + 0.1 * draws)


def terms_s(interval: float, left_s: float, due: Seconds, policy: FleetPolicy) -> Seconds:
    """Two renewals may be missed before a lease ends."""
    spare_s = SPARE * min(AFTER_RECOVERY * left_s, AFTER_RECOVERY_MAX_S) if is_recovering(interval, left_s) else 0.0
    return np.minimum(due + spare_s + 2 * interval, policy.term_max_s)


def is_recovering(interval: float, left_s: float) -> bool:
    """Whether what is still to do is worth stretching leases for."""
    return left_s > SHORT_RECOVERY * interval


def put_off_s(interval: float, left_s: float, remaining: Seconds, draws: Seconds) -> Seconds:
    """Until the next renewal of leases that have `remaining` to go, should this one wait for the recovery's end."""
    return np.minimum(due_in_s(interval, left_s, draws), PUT_OFF_SHARE * remaining)


def told(terms: Seconds) -> Durations:
    """Terms as hosts are told them: never longer than they are, so rounded down to what 32 bits hold exactly."""
    rounded: Durations = (np.floor(terms * _TOLD_PARTS) / _TOLD_PARTS).astype(np.float32)
    return rounded
