"""What the Planner knows of each load balancer: standing, capacity and load, as arrays over load balancers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from evenkeel.endpoints import members
from evenkeel.endpoints.pools import Floats, Ints, Pools, Standings
from evenkeel.model.health import Health

_BAD = (members.FAILED, members.DRAINING)
_UNDECIDED = (members.NEW, members.UNKNOWN)


class Observed:
    """The quorum's verdicts as last taken. `bad_since_s` is infinite for those that are not bad."""

    def __init__(self, pools: Pools) -> None:
        count = len(pools.load_balancers)
        self.standing: Standings = np.full(count, members.NEW, dtype=np.int8)
        self.capacity: Floats = np.array([lb.capacity for lb in pools.load_balancers], dtype=np.float64)
        self.load: Floats = np.full(count, -1.0)
        self.bad_since_s: Floats = np.full(count, math.inf)
        self.verdicts: dict[str, Health] = {}
        self._pools = pools

    def take(self, verdicts: Mapping[str, Health], now_s: float) -> Ints:
        """Numbers of the load balancers whose standing changed. One without a verdict is unknown."""
        changed = []
        for number, balancer in enumerate(self._pools.load_balancers):
            health = verdicts.get(balancer.name)
            if health is not None and health is self.verdicts.get(balancer.name):
                continue
            standing = self._take_one(number, health)
            if standing != self.standing[number]:
                self._set(number, standing, now_s)
                changed.append(number)
        return np.array(changed, dtype=np.int32)

    @property
    def is_decided(self) -> bool:
        """Whether there is a verdict on every load balancer."""
        return not np.isin(self.standing, _UNDECIDED).any()

    def _take_one(self, number: int, health: Health | None) -> int:
        balancer = self._pools.load_balancers[number]
        standing = members.UNKNOWN if self.standing[number] != members.NEW else members.NEW
        if health is not None:
            self.verdicts[balancer.name] = health
            standing = members.STANDING_CODES[health.standing]
            if standing not in _UNDECIDED:  # else the last capacity known still says more than the configured one
                self.capacity[number] = _sound(health.capacity, balancer.capacity)
                self.load[number] = _sound(health.load, -1.0)
        if balancer.draining and standing != members.FAILED:
            return members.DRAINING
        return standing

    def _set(self, number: int, standing: int, now_s: float) -> None:
        if (standing in _BAD) != (self.standing[number] in _BAD):
            self.bad_since_s[number] = now_s if standing in _BAD else math.inf
        self.standing[number] = standing


def _sound(value: float, otherwise: float) -> float:
    return value if 0 <= value < math.inf else otherwise
