"""Drives the Enactor's desk for one zone on asyncio: many looks at a time, and waiting for something to do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

from evenkeel.endpoints.desk import Desk, rotated
from evenkeel.endpoints.enactor import Enacted
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.model.plan import Lane, Plan
from evenkeel.model.policy import DnsPolicy
from evenkeel.ports.clock import Clock
from evenkeel.ports.journal import Journal
from evenkeel.ports.plans import PlanReader

# Enough to fill the client's messages in flight (16 of 100 endpoints), few enough to stay small in memory.
WORKERS_MAX = 1600

__all__ = ["WORKERS_MAX", "ZoneEnacting", "rotated"]


class ZoneEnacting(Desk):
    """One zone's endpoints, kept at the newest plan."""

    def __init__(
        self,
        zone: GuardedZone,
        plans: PlanReader[Plan],
        policy: DnsPolicy,
        clock: Clock,
        journal: Journal,
        on_outcome: Callable[[Enacted, int], None],
    ) -> None:
        super().__init__(zone, plans, policy, clock, journal, on_outcome)
        self._wake = asyncio.Event()

    def offer(self, names: Iterable[str], lane: Lane) -> None:
        super().offer(names, lane)
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop; whatever fails is tried again, with back-off."""
        while not stopping.is_set():
            pause = await self.cycle(self._drain)
            wait_s = pause.at_most_s * random.uniform(0.5, 1.0)
            if pause.until_offered:
                await self._wait_for_work(wait_s)
            elif wait_s:
                await asyncio.sleep(wait_s)
            self.offer_unfinished()

    async def _wait_for_work(self, at_most_s: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(at_most_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _drain(self) -> None:
        """Look at everything that waits, and at what is offered meanwhile without waiting for what is under way.

        Raises the first `Unreachable`, when all workers have stopped.
        """
        workers: set[asyncio.Task[None]] = set()
        failed: list[BaseException] = []

        def ended(worker: asyncio.Task[None]) -> None:
            workers.discard(worker)
            if not worker.cancelled() and (error := worker.exception()) is not None:
                failed.append(error)
            self._wake.set()

        try:
            while True:
                wanted = 0 if failed else min(WORKERS_MAX - len(workers), self.ready)
                for _ in range(wanted):
                    worker = asyncio.create_task(self.work())
                    workers.add(worker)
                    worker.add_done_callback(ended)
                if not workers:
                    break
                self._wake.clear()
                await self._wake.wait()
        finally:
            for worker in workers:
                worker.cancel()
        if failed:
            raise failed[0]
