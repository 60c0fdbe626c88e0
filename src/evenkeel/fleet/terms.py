"""How long a lease is, and when its renewal comes (RECOVERY.md, the sweep, 6).

Renewals of a whole fleet must fit beside everything else: `interval_s` grows until they take no more than
`RENEWAL_SHARE` of the capacity. While hosts are without a lease, those that have one are told to come back when the
recovery will be over, and not all at once. The price is that a dead host is noticed later, within a cap.
"""

from __future__ import annotations

import numpy as np

from evenkeel.fleet.arrays import Seconds
from evenkeel.model.fleet_policy import FleetPolicy

RENEWAL_SHARE = 0.4
AFTER_RECOVERY = 1.5  # renewals begin when this much of the time still needed has passed
AFTER_RECOVERY_MAX_S = 1800.0
SHORT_RECOVERY = 0.02  # of the interval: not worth stretching for


def interval_s(policy: FleetPolicy, hosts: int, capacity_per_s: float) -> float:
    """Between two renewals of a host, on average, when nothing is the matter."""
    fleet_s = hosts * policy.costs.renew / (RENEWAL_SHARE * capacity_per_s)
    return min(max(policy.term_s / 3, fleet_s), policy.term_max_s / 4)


def due_in_s(interval: float, left_s: float, draws: Seconds) -> Seconds:
    """Until the next renewal: `left_s` of recovery still to come, `draws` uniform in [0, 1), one a lease."""
    if left_s > SHORT_RECOVERY * interval:
        return min(AFTER_RECOVERY * left_s, AFTER_RECOVERY_MAX_S) + interval * (0.1 + 0.9 * draws)
    return interval * (0.95 + 0.1 * draws)


def terms_s(interval: float, due: Seconds, policy: FleetPolicy) -> Seconds:
    """Two renewals may be missed before a lease ends."""
    return np.minimum(due + 2 * interval, policy.term_max_s)
