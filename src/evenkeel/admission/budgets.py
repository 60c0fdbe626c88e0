"""Token buckets by name: what an account may ask of a control plane, and when to come back (RFC 6585, section 4).

A bucket that nobody touched for long is full, and a full one need not be remembered: so memory is bounded by what is in
use, and an attacker with many names pushes nobody else's bucket out before it is full again.
"""

from __future__ import annotations

from collections import OrderedDict


class Budgets:
    """Each name has `burst` tokens, which come back at `per_s`."""

    def __init__(self, per_s: float, burst: float, names_max: int = 100_000) -> None:
        self._per_s, self._burst, self._names_max = per_s, burst, names_max
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, as of when; oldest use first

    def take(self, name: str, tokens: float, now_s: float) -> float:
        """Take `tokens` and return 0, or take none and return after how many seconds they will be there. More than the
        burst is asked of a full bucket, and leaves it in debt: it pays by waiting before the next time."""
        had, at_s = self._left.pop(name, (self._burst, now_s))
        has = min(self._burst, had + max(0.0, now_s - at_s) * self._per_s)
        needed = min(tokens, self._burst)
        is_enough = has >= needed - 1e-9
        self._left[name] = (has - tokens if is_enough else has, max(now_s, at_s))
        self._forget(now_s)
        return 0.0 if is_enough else (needed - has) / self._per_s

    def _forget(self, now_s: float) -> None:
        """Drop full buckets from the oldest on; beyond `names_max` the oldest goes in any case."""
        while self._left:
            name, (had, at_s) = next(iter(self._left.items()))
            is_full = had + (now_s - at_s) * self._per_s >= self._burst
            if not is_full and len(self._left) <= self._names_max:
                return
            del self._left[name]

    def __len__(self) -> int:
        """Names that are remembered."""
        return len(self._left)


class WorkShare:
    """A share of a worker that is kept for one kind of work, and lent to others while it has none.

    What is not used is not saved up, but for what one turn could not be cut to.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._credit = 0.0

    def room(self, units: float, wanted: float, others: float) -> float:
        """Of `units` to hand out now, how many may go to this kind, which wants `wanted` while others want `others`."""
        self._credit = min(self._credit + self._share * units, max(self._share * units, 1.0) + 1.0)
        free = max(units - others, 0.0)
        return min(wanted, max(self._credit, free))

    def used(self, units: float) -> None:
        self._credit = max(self._credit - units, -1.0)
