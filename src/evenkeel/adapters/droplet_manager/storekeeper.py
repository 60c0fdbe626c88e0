"""The manager's eye on its store: lost at the first call that fails, back when one succeeds; amnesty in between.

It looks by beating: the write that says "I live" to standbys (`fleet.standby`) says here that the tenure stands. The
order on return is the contract (docs/explanation/recovery-contract.md): first who manages, by the store's word;
then the amnesty's one record; only then does the lease clock go on and is anything granted again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

from evenkeel.fleet.manager import LeaseManager
from evenkeel.fleet.standby import BEAT_EVERY_S
from evenkeel.model.errors import EvenkeelError, StoreUnwritable, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.fleet_policy import OnStoreLoss
from evenkeel.ports.fleet import LeaseStore, Superseded
from evenkeel.ports.journal import Journal

RETRY_S = 0.5
CAPACITY_EVERY_S = 30.0

T = TypeVar("T")


class Storekeeper:
    """Every call of the manager to its store goes through `call`."""

    def __init__(
        self,
        manager: LeaseManager,
        store: LeaseStore,
        az: str,
        journal: Journal,
        policy: OnStoreLoss,
        clock: Callable[[], float],
    ) -> None:
        self._manager, self._store, self._az = manager, store, az
        self._journal, self._policy, self._clock = journal, policy, clock
        self.is_lost = False
        self.trouble = ""
        self._lost_at_s = 0.0

    async def call(self, work: Awaitable[T]) -> T:
        """Raises as the store does; `Superseded` ends the manager's grants, `Unreachable` starts an amnesty."""
        try:
            return await work
        except Superseded as error:
            self._superseded(str(error))
            raise
        except (Unreachable, StoreUnwritable) as error:
            self._lose(str(error))
            raise

    async def watch(self) -> None:
        """Look at the store again and again, until this manager is superseded."""
        capacity_at_s = self._clock() + CAPACITY_EVERY_S
        while not self._manager.is_superseded:
            try:
                await self._look()
                if self._clock() >= capacity_at_s:
                    capacity_at_s = self._clock() + CAPACITY_EVERY_S
                    per_s = self._manager.status(self._clock()).capacity_per_s
                    await self.call(self._store.record_capacity(self._az, self._manager.epoch, per_s))
            except Superseded:
                return
            except EvenkeelError as error:
                self._lose(str(error))
            await asyncio.sleep(RETRY_S if self.is_lost else BEAT_EVERY_S)

    async def _look(self) -> None:
        asked_at_s = self._clock()
        await self.call(self._store.beat(self._az, self._manager.epoch))
        self._manager.store_seen(asked_at_s)
        if not self.is_lost:
            return
        amnesty = self._manager.store_back(self._clock())
        if amnesty is not None:
            await self.call(self._store.record_amnesty(self._az, amnesty))
            self._manager.amnesty_recorded(True, self._clock())
        self.is_lost, self.trouble = False, ""
        lost_for_s = self._clock() - self._lost_at_s
        told = "amnesty: the lease clock stood still" if amnesty is not None else "the lease clock ran on"
        self._journal.record(EventKind.RECOVERED, detail=f"the store answers again after {lost_for_s:.1f} s; {told}")

    def _lose(self, why: str) -> None:
        self.trouble = why
        if self.is_lost or self._manager.is_superseded:
            return
        self.is_lost, self._lost_at_s = True, self._clock()
        self._manager.store_lost(self._lost_at_s)
        stands = "the lease clock stands still" if self._policy is OnStoreLoss.AMNESTY else "the lease clock runs on"
        self._journal.record(EventKind.UNREACHABLE, detail=f"the store does not answer, {stands}: {why}")

    def _superseded(self, why: str) -> None:
        if not self._manager.is_superseded:
            self._manager.superseded()
            self._journal.record(EventKind.SUPERSEDED, generation=self._manager.epoch, detail=why)


async def beat_on(store: LeaseStore, az: str, epoch: int) -> NoReturn:
    """For a manager that is still reading its inventory: it lives, however long that takes. Ends by `Superseded`, and
    as the store does where that is no outage."""
    while True:
        with contextlib.suppress(Unreachable, StoreUnwritable):  # who reads the inventory finds that out too
            await store.beat(az, epoch)
        await asyncio.sleep(BEAT_EVERY_S)
