"""When each target is due: turn k of a target stands at `start + phase + k * interval`, always.

A turn is computed from k, never from the turn before, so that neither a slow probe nor a slow process makes the
schedule drift. Phases are drawn from a hash of vantage point and target: they spread the load over the interval,
differ between vantage points, and stay the same across restarts.
"""

from __future__ import annotations

import heapq
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

_HASH_SPAN = 2**32


@dataclass(frozen=True, slots=True)
class Turn:
    """One target's turn. `skipped` turns before it passed while nobody asked."""

    index: int
    due_s: float
    skipped: int


def phase_share(vantage: str, key: str) -> float:
    """Where in its interval a target is due: 0 to 1, spread evenly over targets."""
    return zlib.crc32(key.encode(), zlib.crc32(vantage.encode())) / _HASH_SPAN


class Schedule:
    """Turns of all targets in time order. Times are the caller's monotonic seconds."""

    def __init__(self, start_s: float, intervals_s: Sequence[float], shares: Sequence[float]) -> None:
        self._intervals_s = tuple(intervals_s)
        self._first_s = [start_s + share * interval for share, interval in zip(shares, intervals_s, strict=True)]
        self._turns = [0] * len(self._intervals_s)
        self._heap = [(first_s, index) for index, first_s in enumerate(self._first_s)]
        heapq.heapify(self._heap)

    @property
    def next_s(self) -> float:
        """When the next turn is; infinity where there are no targets."""
        return self._heap[0][0] if self._heap else math.inf

    def take(self, now_s: float, most: int) -> list[Turn]:
        """Turns that are due by now, oldest first, at most `most` of them."""
        turns: list[Turn] = []
        while self._heap and self._heap[0][0] <= now_s and len(turns) < most:
            _, index = self._heap[0]
            interval_s, first_s, k = self._intervals_s[index], self._first_s[index], self._turns[index]
            # The newest turn that is due stands for all that passed unasked.
            newest = max(k, math.floor((now_s - first_s) / interval_s))
            turns.append(Turn(index, first_s + newest * interval_s, newest - k))
            self._turns[index] = newest + 1
            heapq.heapreplace(self._heap, (first_s + (newest + 1) * interval_s, index))
        return turns
