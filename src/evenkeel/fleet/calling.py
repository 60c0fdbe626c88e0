"""Whom to call next, and which calls are under way (RECOVERY.md, 2).

Those that launches wait for come first, the others in a random order.
A random order, so that no rack, link or shard of a store gets all the load at once. A host that does not answer is
asked again later and later, and costs a message each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from evenkeel.fleet.arrays import Calls, Flags, Ids, no_ids
from evenkeel.fleet.sweep_table import CALLED, FREE, SweepTable

AGAIN_AFTER_S = 1.0
AGAIN_AFTER_MAX_S = 64.0
SILENT_MISSES = 3  # from then on nobody waits for the host in an ETA
_MISSES_MAX = 7
LOOK_AGAIN_S = 0.25  # between two looks at all hosts
ANSWERS_MIN = 0.05  # of calls that are expected to be answered, at the least
_CALL_MAX = 0x7FFF_FFFF


class CallOrder:
    """Hands out hosts in order. Looks through all hosts seldom, and then walks a list."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._misses = np.zeros(size, np.uint8)
        self._not_before_s = np.zeros(size, np.float32)  # since `_origin_s`, so that four octets are enough
        self._weights = np.zeros(size, np.int32)
        self._origin_s: float | None = None
        self._line = no_ids()
        self._at = 0
        self._looked_at_s = -np.inf
        self._is_stale = True
        self._have_missed = False
        self.silent = 0  # hosts without a lease that have not answered for long

    def grow(self, size: int) -> None:
        for name in ("_misses", "_not_before_s", "_weights"):
            array = getattr(self, name)
            if size > len(array):
                setattr(self, name, np.concatenate([array, np.zeros(size - len(array), array.dtype)]))
        self._is_stale = True

    @property
    def octets(self) -> int:
        return sum(array.nbytes for array in (self._misses, self._not_before_s, self._weights, self._line))

    def demand(self, ids: Ids, weights: Ids) -> None:
        """What launches wait for."""
        self._weights[:] = 0
        self._weights[ids] = weights
        self._is_stale = True

    def next(self, count: int, may_be_called: Callable[[Ids | slice], Flags], now_s: float) -> Ids:
        """Up to `count` hosts of those that may be called now, which is asked of a few at a time."""
        if count <= 0:
            return no_ids()
        if self._at >= len(self._line) or self._is_stale:
            self._look(may_be_called, now_s)
        found: list[Ids] = []
        while count > 0 and self._at < len(self._line):
            part = self._line[self._at : self._at + count]
            self._at += len(part)
            part = part[may_be_called(part)]
            found.append(part)
            count -= len(part)
        return np.concatenate(found) if found else no_ids()

    def _look(self, may_be_called: Callable[[Ids | slice], Flags], now_s: float) -> None:
        if now_s < self._looked_at_s + LOOK_AGAIN_S:
            return
        self._looked_at_s, self._is_stale = now_s, False
        self._have_missed = bool(self._misses.any())
        ids: Ids = np.flatnonzero(may_be_called(slice(None))).astype(np.int32)
        ids = ids[self._not_before_s[ids] <= self._since(now_s)]
        self._rng.shuffle(ids)
        weights = self._weights[ids]
        if weights.any():
            ids = ids[np.argsort(-weights, kind="stable")]
        self._line, self._at = ids, 0

    def missed(self, ids: Ids, now_s: float) -> None:
        """They did not answer."""
        self._have_missed |= len(ids) > 0
        misses = np.minimum(self._misses[ids] + 1, _MISSES_MAX)
        self.silent += int(np.count_nonzero((misses == SILENT_MISSES) & (self._misses[ids] < SILENT_MISSES)))
        self._misses[ids] = misses
        after_s = np.minimum(AGAIN_AFTER_S * 2.0 ** (misses - 1.0), AGAIN_AFTER_MAX_S)
        after_s *= 0.5 + self._rng.random(len(ids))
        self._not_before_s[ids] = self._since(now_s) + after_s

    def answered(self, ids: Ids) -> None:
        """They were heard of, or are gone for good."""
        if not self._have_missed:
            return
        self.silent -= int(np.count_nonzero(self._misses[ids] >= SILENT_MISSES))
        self._misses[ids] = 0
        self._not_before_s[ids] = 0.0

    def _since(self, now_s: float) -> float:
        if self._origin_s is None:
            self._origin_s = now_s - 1.0
        return now_s - self._origin_s


class CallsOut:
    """Calls under way: to whom, since when, and which share of them is answered."""

    def __init__(self, table: SweepTable, timeout_s: float) -> None:
        self._table, self._timeout_s = table, timeout_s
        self._out: deque[tuple[float, int, Ids]] = deque()
        self._last = 0
        self._answers = 1.0  # a moving average
        self.under_way = 0
        self.made = 0

    @property
    def answered_share(self) -> float:
        """Of calls, as of late."""
        return max(self._answers, ANSWERS_MIN)

    def call(self, ids: Ids, now_s: float) -> Calls:
        """Call them; nobody is no call."""
        if len(ids):
            self._last = self._last % _CALL_MAX + 1
            self._table.place[ids], self._table.call[ids], self._table.called_s[ids] = CALLED, self._last, now_s
            self._out.append((now_s, self._last, ids))
            self.under_way += len(ids)
            self.made += len(ids)
        return Calls(self._last, ids)

    def heard(self, ids: Ids) -> None:
        """They have said something: a call to one of them is answered."""
        if not self.under_way:
            return
        called = ids[self._table.place[ids] == CALLED]
        self.dropped(len(called))
        self._table.place[called] = FREE
        self._answers += 0.002 * len(called) * (1.0 - self._answers) / (1.0 + 0.002 * len(called))

    def dropped(self, count: int) -> None:
        """So many are no longer called, whatever has become of them."""
        self.under_way -= count

    def given_up(self, now_s: float) -> Iterator[Ids]:
        """Who has not answered in time, call by call; they are free again."""
        while self._out and self._out[0][0] <= now_s - self._timeout_s:
            _, call, ids = self._out.popleft()
            silent = ids[(self._table.call[ids] == call) & (self._table.place[ids] == CALLED)]
            self.dropped(len(silent))
            self._table.place[silent] = FREE
            self._answers += 0.05 * ((1.0 - len(silent) / len(ids)) - self._answers)
            yield silent
