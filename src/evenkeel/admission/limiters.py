"""Limiters that others put before a queue, to compare with: how many requests may come in.

They stand here complete and in their own terms, so that a benchmark can show what each can do for a fleet that comes
back all at once. None of them knows how many are still to come.
"""

from __future__ import annotations

import math
from typing import Protocol


class Limiter(Protocol):
    def admit(self, asking: int, inside: int, now_s: float) -> int:
        """How many of `asking` come in, where `inside` are queued or in work already."""
        ...

    def finished(self, waited_s: float, inside: int) -> None:
        """Requests were done that had waited for `waited_s` on average, with `inside` still inside."""
        ...


class NoLimit:
    """Everything up to a bound of memory."""

    def __init__(self, inside_max: int) -> None:
        self._inside_max = inside_max

    def admit(self, asking: int, inside: int, now_s: float) -> int:
        return min(asking, max(0, self._inside_max - inside))

    def finished(self, waited_s: float, inside: int) -> None:
        pass


class TokenBucket:
    """`per_s` requests a second, and `burst_s` seconds' worth at once."""

    def __init__(self, per_s: float, burst_s: float = 1.0) -> None:
        self.per_s = per_s
        self._burst = per_s * burst_s
        self._tokens, self._at_s = self._burst, -math.inf

    def admit(self, asking: int, inside: int, now_s: float) -> int:
        if self._at_s > -math.inf:
            self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        admitted = min(asking, int(self._tokens))
        self._tokens -= admitted
        return admitted

    def finished(self, waited_s: float, inside: int) -> None:
        pass


class Gradient2:
    """A limit of concurrency learnt from latency: the long-term average over the present one, with some queue allowed
    (Netflix concurrency-limits, Gradient2Limit: tolerance 1.5, smoothing 0.2, long window 600 samples)."""

    TOLERANCE, SMOOTHING, WINDOW, LIMIT_MAX = 1.5, 0.2, 600, 2000.0

    def __init__(self, limit: float = 20.0) -> None:
        self.limit = limit
        self._long_s = 0.0
        self._samples = 0

    def admit(self, asking: int, inside: int, now_s: float) -> int:
        return min(asking, max(0, int(self.limit) - inside))

    def finished(self, waited_s: float, inside: int) -> None:
        short_s = max(waited_s, 1e-4)
        self._samples += 1
        self._long_s += (short_s - self._long_s) / min(self._samples, self.WINDOW)
        if self._long_s / short_s > 2:
            self._long_s *= 0.95  # as its authors do: recover faster from a long bad time
        if inside < self.limit / 2:
            return  # not limited by the limit: nothing is learnt
        gradient = min(1.0, max(0.5, self.TOLERANCE * self._long_s / short_s))
        wanted = self.limit * gradient + math.sqrt(self.limit)
        self.limit += self.SMOOTHING * (wanted - self.limit)
        self.limit = min(max(self.limit, 1.0), self.LIMIT_MAX)
