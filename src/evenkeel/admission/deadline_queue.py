"""A queue with one place a member and a deadline for each: no queue of storms, and no work that nobody waits for.

Whoever asks again while its place is taken keeps it: a thousand retries of one host are one entry. What cannot be done
in time is dropped when its turn comes, before any work is spent (RECOVERY.md, the sweep, 4; dropping expired work is
what turns a collapse into a slow recovery). First come, first served among what is left.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

_OUT = 0


class DeadlineQueue:
    """Over members 0 to `size - 1`; four octets a member, and four a waiting one."""

    def __init__(self, size: int) -> None:
        self._place = np.zeros(size, np.int32)  # number of the batch in which the member waits; 0: it does not
        self._batches: deque[tuple[int, float, Ids]] = deque()
        self._last = 0
        self._waiting = 0
        self.dropped = 0

    def __len__(self) -> int:
        """Members that wait, expired ones among them."""
        return self._waiting

    @property
    def octets(self) -> int:
        """Of its tables, at the most: every member waits."""
        return 2 * self._place.nbytes

    def grow(self, size: int) -> None:
        """Members up to `size - 1` from now on."""
        if size > len(self._place):
            self._place = np.concatenate([self._place, np.zeros(size - len(self._place), np.int32)])

    def holds(self, ids: Ids) -> Flags:
        held: Flags = self._place[ids] != _OUT
        return held

    def offer(self, ids: Ids, deadline_s: float) -> Ids:
        """Those of `ids` (each at most once) that had no place and have one now; all of them are due by
        `deadline_s`."""
        fresh: Ids = ids[self._place[ids] == _OUT]
        if len(fresh):
            self._last = self._last % 0x7FFF_FFFF + 1
            self._place[fresh] = self._last
            self._batches.append((self._last, deadline_s, fresh))
            self._waiting += len(fresh)
        return fresh

    def cancel(self, ids: Ids) -> None:
        """They wait no longer."""
        held = ids[self._place[ids] != _OUT]
        self._place[held] = _OUT
        self._waiting -= len(held)

    def take(self, count: int, now_s: float) -> tuple[Ids, Ids]:
        """Up to `count` members whose turn it is, and those that were dropped on the way for being late."""
        taken: list[Ids] = []
        late: list[Ids] = []
        while count > 0 and self._batches:
            number, deadline_s, ids = self._batches.popleft()
            ids = ids[self._place[ids] == number]
            if deadline_s < now_s:
                late.append(ids)
                continue
            now, then = ids[:count], ids[count:]
            if len(then):
                self._batches.appendleft((number, deadline_s, then))
            taken.append(now)
            count -= len(now)
        came, went = _joined(taken), _joined(late)
        for gone in (came, went):
            self._place[gone] = _OUT
            self._waiting -= len(gone)
        self.dropped += len(went)
        return came, went


def _joined(parts: list[Ids]) -> Ids:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, np.int32)
