"""Faults of a fleet: kill -9 and SIGSTOP of what keeps it, one part or all of a role; of instances and PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from benchmarks.chaos.signals import Signals
from evenkeel.testing.fleets import RunningFleet
from evenkeel.testing.postgres import Cluster

EVERY_S = (0.4, 2.5)
ROLES = ("manager", "agent", "table", "launch", "nameserver")
WEIGHTS = (5, 5, 4, 2, 2)
PAUSE_S = (0.3, 6.0)
PAUSE_LONG_S = (6.0, 12.0)  # longer than a lease
LONG_SHARE = 0.3
DATABASE_DOWN_S = (0.1, 4.0)


class FleetFaults:
    """Draws faults from one seed and carries them out; counts each."""

    def __init__(self, fleet: RunningFleet, database: Cluster | None, counts: Counter[str], seed: int) -> None:
        self._fleet, self._database, self._counts = fleet, database, counts
        self._random = random.Random(seed)
        self._signals = Signals()
        self.spares_managers = True

    async def run(self, stopping: asyncio.Event) -> None:
        """Fault after fault until told to stop; then everything that is stopped goes on."""
        kinds: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._kill_one, 10),
            (self._pause_one, 8),
            (self._kill_role, 2),
            (self._pause_role, 2),
            (self._kill_instance, 2),
            (self._kill_database, 2 if self._database is not None else 0),
        ]
        try:
            while not stopping.is_set():
                await self._random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()
                await asyncio.sleep(self._random.uniform(*EVERY_S))
        finally:
            await self._signals.heal()

    def _role(self) -> str:
        role = self._random.choices(ROLES, WEIGHTS)[0]
        return "agent" if role == "manager" and self.spares_managers else role

    def _of(self, role: str) -> list[int]:
        """Its running processes that are not stopped."""
        pids = sorted(self._fleet.pids().items())
        return [pid for name, pid in pids if name.split("-")[0] == role and pid not in self._signals.paused]

    def _pause_s(self) -> float:
        return self._random.uniform(*(PAUSE_LONG_S if self._random.random() < LONG_SHARE else PAUSE_S))

    async def _kill_one(self) -> None:
        role = self._role()
        pids = self._of(role)
        if pids and self._signals.kill(self._random.choice(pids)):
            self._counts[f"kill -9 {role}"] += 1

    async def _pause_one(self) -> None:
        role = self._role()
        pids = self._of(role)
        if pids and self._signals.pause(self._random.choice(pids), self._pause_s()):
            self._counts[f"SIGSTOP {role}"] += 1

    async def _kill_role(self) -> None:
        role = self._role()
        for pid in self._of(role):
            self._signals.kill(pid)
        self._counts[f"kill -9 every {role}"] += 1

    async def _pause_role(self) -> None:
        role, for_s = self._role(), self._pause_s()
        for pid in self._of(role):
            self._signals.pause(pid, for_s)
        self._counts[f"SIGSTOP every {role}"] += 1

    async def _kill_instance(self) -> None:
        """Its process, or the keeper above it."""
        found = self._fleet.workloads()
        if not found:
            return
        chosen = self._random.choice(found)
        is_keeper = self._random.random() < 0.5
        pid = chosen.keeper if is_keeper else chosen.pid
        if pid and self._signals.kill(pid):
            self._counts[f"kill -9 {'keeper' if is_keeper else 'instance'}"] += 1

    async def _kill_database(self) -> None:
        if self._database is None:
            return
        self._counts["kill -9 postgres"] += 1
        await asyncio.to_thread(self._database.kill)
        try:
            await asyncio.sleep(self._random.uniform(*DATABASE_DOWN_S))
        finally:
            await asyncio.to_thread(self._database.start)
