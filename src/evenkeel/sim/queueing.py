"""Hosts that renew through a queue with several servers: the same model as a table and as workflows.

The table takes a window of virtual time at once. With one service time for all, first come first served with c servers
has a closed form: the n-th departure waits for the (n - c)-th, so every c-th arrival makes a queue of its own with
D(k) = max(A(k), D(k - 1)) + s, which is a running maximum of A(j) - s j. Whole microseconds, so sums are exact.

`RenewalTable` and `renew` are exact copies of each other in what they say: when each renewal is done.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from evenkeel.sim.scheduler import Pending, Simulator, Sleep

Moments = npt.NDArray[np.int64]


class ServerTable:
    """`servers` that each take `service_us` for a request; arrivals come in order, window after window."""

    def __init__(self, servers: int, service_us: int) -> None:
        self._service_us = service_us
        self._last: Moments = np.full(servers, np.iinfo(np.int64).min // 4, dtype=np.int64)  # departures, in order

    def serve(self, arrivals_us: Moments) -> Moments:
        """When each of `arrivals_us` (ascending) departs, first come first served."""
        servers, count = len(self._last), len(arrivals_us)
        rounds = -(-count // servers)
        # Row k, column r: the (k * servers + r)-th arrival; the r-th column is a queue of its own.
        grid: Moments = np.full(rounds * servers, np.iinfo(np.int64).max // 4, dtype=np.int64)
        grid[:count] = arrivals_us
        grid = grid.reshape(rounds, servers)
        offsets = self._service_us * np.arange(rounds, dtype=np.int64)[:, None]
        free = np.maximum.accumulate(np.vstack([self._last[None, :], grid - offsets]), axis=0)[1:]
        departures: Moments = (free + offsets + self._service_us).reshape(-1)[:count]
        self._last = np.concatenate([self._last, departures])[count:] if count < servers else departures[-servers:]
        return departures


class RenewalTable:
    """Hosts that renew `every_us` after their last renewal was done. `due_us` is when each is due first."""

    def __init__(self, due_us: Moments, every_us: int, servers: int, service_us: int) -> None:
        if servers < 1 or every_us < 1:
            raise ValueError(f"{servers} servers, every {every_us} us: both have to be at least 1")
        self.done = 0
        self.waited_us = 0
        self._due_us = due_us.copy()
        self._every_us = every_us
        self._service_us = service_us
        self._queue = ServerTable(servers, service_us)

    def window(self, until_us: int) -> None:
        """Everything that becomes due before `until_us`; a window is at most as long as a renewal takes to recur."""
        hosts = np.flatnonzero(self._due_us < until_us)
        due_us = self._due_us[hosts]
        order = np.argsort(due_us, kind="stable")
        hosts, due_us = hosts[order], due_us[order]
        departures = self._queue.serve(due_us)
        self._due_us[hosts] = departures + self._every_us
        self.done += len(hosts)
        self.waited_us += int((departures - due_us).sum()) - self._service_us * len(hosts)


class Servers:
    """The same queue for workflows: `await take()`, sleep for the service, `give_back()`."""

    def __init__(self, simulator: Simulator, servers: int) -> None:
        self._simulator = simulator
        self._free = servers
        self._waiting: deque[Pending[None]] = deque()

    @property
    def is_free(self) -> bool:
        """Whether one can be taken without waiting."""
        return self._free > 0

    def take_free(self) -> None:
        """Take one that is free."""
        self._free -= 1

    async def take(self) -> None:
        """Take one, as soon as it is this caller's turn."""
        if self._free:
            self._free -= 1
            return
        turn: Pending[None] = Pending(self._simulator)
        self._waiting.append(turn)
        await turn

    def give_back(self) -> None:
        if self._waiting:
            self._waiting.popleft().settle(None)
        else:
            self._free += 1


class Renewals:
    """What workflows have done, for comparison with the table."""

    def __init__(self) -> None:
        self.done = 0
        self.waited_us = 0


async def renew(
    simulator: Simulator, servers: Servers, first_us: int, every_us: int, service_us: int, seen: Renewals
) -> None:
    """One host, for ever."""
    wait, service = Sleep((every_us,)), Sleep((service_us,))
    await Sleep((first_us,))
    while True:
        due_us = simulator.now_us
        seen.done += 1
        if servers.is_free:
            servers.take_free()
        else:
            await servers.take()
            seen.waited_us += simulator.now_us - due_us
        await service
        servers.give_back()
        await wait
