"""How often a host without a lease may say so (RECOVERY.md, the sweep, 3 and 8).

Two paces. One who was *read* and has to wait is told when to come back, so that all that wait take no more than a
share of the capacity; no fixed cap can do that for every size of fleet. One who was not read yet sits at its own link,
where a newer contact takes the place of the older one: that costs its manager nothing, and keeps the contact fresh, so
it only has to be seldom enough for the network. The second pace comes with every grant, before there is any outage.
"""

from __future__ import annotations

import numpy as np

from evenkeel.fleet.arrays import Durations, Seconds
from evenkeel.model.fleet_policy import FleetPolicy


def wait_s(policy: FleetPolicy, unleased: int, capacity_per_s: float, draws: Seconds) -> Durations:
    """Until the next contact of hosts that were read; `draws` uniform in [0, 1)."""
    by_cost_s = unleased * policy.costs.message / (policy.poll_share * capacity_per_s)
    by_turn_s = unleased * policy.costs.establish / capacity_per_s
    waits: Durations = (max(by_cost_s, by_turn_s, policy.poll_min_s) * (0.5 + draws)).astype(np.float32)
    return waits


def reads_per_s(policy: FleetPolicy, capacity_per_s: float) -> float:
    """How many contacts of hosts that must wait are worth reading."""
    return policy.poll_share * capacity_per_s / max(policy.costs.message, 1e-9)


def armed(policy: FleetPolicy, draws: Seconds) -> tuple[Durations, Durations]:
    """The plan that goes with a grant: poll floor and phase."""
    polls: Durations = np.full(len(draws), policy.poll_max_s, np.float32)
    phases: Durations = (draws * policy.poll_max_s).astype(np.float32)
    return polls, phases
