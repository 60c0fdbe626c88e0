"""Launches beside a recovery: where there is room, in what order, and refusals that say why (RECOVERY.md, 7).

In October 2025 a host without a lease was reported as "insufficient capacity". Here that word is kept for a fleet that
is whole and full; while hosts that had fit are only waiting for their leases, the answer says so, and when.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from evenkeel.fleet.arrays import Flags, Ids, no_ids
from evenkeel.model.fleet import InstanceSpec, InsufficientCapacity, Recovering

SAMPLE = 64  # hosts looked at before all of them are: the emptiest of a few is nearly the emptiest of all
_WAITING_MAX = 10_000


class LaunchLine:
    """Launches by number, in order, each with a deadline; bounded."""

    def __init__(self, queued_max: int, deadline_s: float) -> None:
        self._line: deque[tuple[float, int]] = deque()
        self._queued_max, self._deadline_s = queued_max, deadline_s
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._line)

    def offer(self, numbers: Ids, now_s: float) -> Flags:
        """Which of them are in line now."""
        room = max(self._queued_max - len(self._line), 0)
        self._line.extend((now_s + self._deadline_s, int(number)) for number in numbers[:room])
        taken: Flags = np.arange(len(numbers)) < room
        return taken

    def take(self, count: int, now_s: float) -> Ids:
        """Up to `count` that are still waited for."""
        taken: list[int] = []
        while self._line and len(taken) < count:
            deadline_s, number = self._line.popleft()
            if deadline_s >= now_s:
                taken.append(number)
            else:
                self.dropped += 1
        return np.array(taken, np.int32)


class RoomTable:
    """What is free on each host: its size less what is recorded as placed there."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.cpus = np.zeros(0, np.int32)
        self.memory_mib = np.zeros(0, np.int32)
        self.cpus_free = np.zeros(0, np.int32)
        self.memory_free_mib = np.zeros(0, np.int32)
        self.takes_new = np.zeros(0, np.bool_)  # neither draining nor retired

    def __len__(self) -> int:
        return len(self.cpus)

    def reserve(self, size: int) -> None:
        """Have places for hosts 0 to `size - 1`, at once: one after the other, a large inventory takes minutes."""
        more = size - len(self)
        if more <= 0:
            return
        for name in ("cpus", "memory_mib", "cpus_free", "memory_free_mib", "takes_new"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros(more, array.dtype)]))

    def set_host(self, number: int, cpus: int, memory_mib: int, takes_new: bool) -> None:
        """A host as the inventory has it; what is placed there stays placed."""
        self.reserve(number + 1)
        self.cpus_free[number] += cpus - self.cpus[number]
        self.memory_free_mib[number] += memory_mib - self.memory_mib[number]
        self.cpus[number], self.memory_mib[number], self.takes_new[number] = cpus, memory_mib, takes_new

    def place(self, number: int, spec: InstanceSpec) -> None:
        self.cpus_free[number] -= spec.cpus
        self.memory_free_mib[number] -= spec.memory_mib

    def free(self, number: int, spec: InstanceSpec) -> None:
        self.cpus_free[number] += spec.cpus
        self.memory_free_mib[number] += spec.memory_mib

    def _times(self, ids: Ids, spec: InstanceSpec) -> Ids:
        """How often the spec fits on each."""
        by_cpus = self.cpus_free[ids] // max(spec.cpus, 1)
        by_memory = self.memory_free_mib[ids] // max(spec.memory_mib, 1)
        fits: Ids = np.maximum(np.minimum(by_cpus, by_memory), 0)
        return fits

    def find(self, spec: InstanceSpec, count: int, is_leased: Flags) -> Ids:
        """A host for each of `count` instances, the emptiest first; fewer than `count` where there is no more room.
        Nothing is placed yet. `is_leased` is of all hosts."""
        able = is_leased[: len(self)] & self.takes_new[: len(is_leased)]
        if count == 1 and len(self) > SAMPLE:
            some = self._rng.integers(0, len(able), SAMPLE).astype(np.int32)
            some = some[able[some]]
            if len(some):
                fits = self._times(some, spec)
                if fits.max() > 0:
                    return some[[int(np.argmax(fits))]]
        ids = np.flatnonzero(able).astype(np.int32)
        fits = self._times(ids, spec)
        ids, fits = ids[fits > 0], fits[fits > 0]
        order = np.argsort(-fits, kind="stable")[:count]
        return spread(ids[order], fits[order], count)

    def could_hold(self, spec: InstanceSpec, is_unleased: Flags) -> Ids:
        """Hosts that had room, if they were leased: what the launch waits for."""
        ids = np.flatnonzero(is_unleased[: len(self)] & self.takes_new[: len(is_unleased)]).astype(np.int32)
        return ids[self._times(ids, spec) > 0]


def spread(ids: Ids, fits: Ids, count: int) -> Ids:
    """`count` places on `ids`, no host more often than it fits, evenly: one on each, then a second one."""
    rounds: list[Ids] = []
    left, depth = count, 0
    while left > 0:
        able = ids[fits > depth][:left]
        if not len(able):
            break
        rounds.append(able)
        left, depth = left - len(able), depth + 1
    return np.concatenate(rounds) if rounds else no_ids()


def refusal(
    az: str, asked: int, room: int, could_hold: int, leased: int, hosts: int, eta_s: float
) -> InsufficientCapacity | Recovering:
    """Why a launch of `asked` instances found room for `room` only; `could_hold` hosts without a lease had helped."""
    if could_hold > 0:
        return Recovering(az, leased, hosts, eta_s)
    return InsufficientCapacity(az, asked, room)
