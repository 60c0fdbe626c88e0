"""Velocity: how many members of a pool may be taken away within a sliding window.

A checker that goes wrong must not take a pool away faster than people or panic can notice. Removals beyond the
limit wait; nothing is remembered of them, so a member that recovers meanwhile is simply not asked for again
(Mesos limits agent removals in the same way, and cancels them by a pong: RECOVERY.md).

A table over pools: methods take arrays of pool numbers, and `now_s`; no clock is read.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int32]
Pools = npt.NDArray[np.int32] | npt.NDArray[np.int64]

# Spendings are remembered in slices of the window, so the memory is bounded; a slice leaves as a whole, late by at
# most its own length.
_SLICES = 64


def removals_max(sizes: Counts, share: float) -> Counts:
    """How many of each pool may go within a window: `share` of it rounded down, but always one."""
    limits: Counts = np.maximum(np.floor(sizes * share + 1e-9), 1).astype(np.int32)
    return limits


class VelocityWindow:
    """What each pool has spent of `limits` within the last `window_s`."""

    def __init__(self, limits: Counts, window_s: float) -> None:
        self._limits = limits
        self._spent = np.zeros_like(limits)
        self._window_s = window_s
        self._slice_s = window_s / _SLICES
        self._log: deque[tuple[float, list[Pools]]] = deque()  # start of the slice, pools once a removal

    def left(self, pools: Pools, now_s: float) -> Counts:
        """How many removals each of `pools` has left; never negative."""
        self._forget(now_s)
        left: Counts = np.maximum(self._limits[pools] - self._spent[pools], 0)
        return left

    def spend(self, pools: Pools, now_s: float) -> None:
        """One removal for each entry of `pools`; a pool may stand there more than once."""
        if not len(pools):
            return
        self._forget(now_s)
        np.add.at(self._spent, pools, 1)
        start_s = math.floor(now_s / self._slice_s) * self._slice_s
        if not self._log or self._log[-1][0] < start_s:
            self._log.append((start_s, []))
        self._log[-1][1].append(pools.copy())

    def frees_at_s(self) -> float:
        """When the oldest spending leaves the window; infinite where nothing is spent."""
        return self._leaves_at_s(self._log[0][0]) if self._log else math.inf

    def _forget(self, now_s: float) -> None:
        while self._log and self._leaves_at_s(self._log[0][0]) <= now_s:
            for pools in self._log.popleft()[1]:
                np.subtract.at(self._spent, pools, 1)

    def _leaves_at_s(self, slice_start_s: float) -> float:
        return slice_start_s + self._slice_s + self._window_s
