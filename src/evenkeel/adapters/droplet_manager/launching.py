"""Launches of an az: idempotent, in line beside the recovery, all or nothing, and refused with the true reason.

What makes a repetition harmless is the store: a launch is recorded under its account and token in one write, and
whoever comes second, through whatever manager, gets what the first one got. Nothing is told to a host before that.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evenkeel.adapters.droplet_manager.instances import Instances
from evenkeel.adapters.droplet_manager.joining import CPUS_MAX, MEMORY_MIB_MAX
from evenkeel.adapters.droplet_manager.roster import Roster
from evenkeel.adapters.droplet_manager.storekeeper import Storekeeper
from evenkeel.fleet.arrays import Flags, Ids, ids_of
from evenkeel.fleet.launches import refusal
from evenkeel.fleet.manager import LeaseManager
from evenkeel.model.errors import EvenkeelError, Refusal, Unreachable
from evenkeel.model.fleet import (
    Instance,
    Launched,
    LaunchOutcome,
    LaunchRequest,
    Recovering,
    RequestLimitExceeded,
)
from evenkeel.ports.fleet import LeaseStore

NAME_LETTERS = 17  # 85 bits: two instances alike are not to be expected
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
COUNT_MAX = 10_000  # as of the launch API
ETA_UNKNOWN_S = -1.0


@dataclass(slots=True)
class _Waiting:
    request: LaunchRequest
    outcome: asyncio.Future[LaunchOutcome]


class Launching:
    """Used on one event loop."""

    def __init__(
        self,
        manager: LeaseManager,
        store: LeaseStore,
        storekeeper: Storekeeper,
        roster: Roster,
        instances: Instances,
        az: str,
        deadline_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._manager, self._store, self._storekeeper = manager, store, storekeeper
        self._roster, self._instances, self._az = roster, instances, az
        self._deadline_s, self._clock = deadline_s, clock
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}

    async def launch(self, request: LaunchRequest) -> LaunchOutcome:
        """What became of it, within the policy's launch deadline. Raises `Unreachable`, `Superseded`; `Refusal` for a
        size that no launch has."""
        _check_size(request)
        before = await self._storekeeper.call(self._store.launch_of(request.account, request.token))
        if before:
            self._instances.placed(before)
            return Launched(before)
        if self._storekeeper.is_lost:
            return self._recovering(ETA_UNKNOWN_S)
        number = next(self._numbers) & 0x7FFF_FFFF
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting[number] = waiting
        try:
            if self._manager.is_superseded:
                raise Unreachable(f"this manager of az {self._az} is superseded")
            if not self._manager.launch(ids_of(number), self._clock())[0]:
                return RequestLimitExceeded(1.0)
            async with asyncio.timeout(self._deadline_s):
                return await waiting.outcome
        except TimeoutError:
            return self._late()
        finally:
            self._waiting.pop(number, None)

    async def work_on(self, numbers: Ids) -> None:
        """The worker has come to these launches."""
        for number in numbers.tolist():
            waiting = self._waiting.get(number)
            if waiting is None or waiting.outcome.done():
                continue  # nobody waits for it any more, and nothing has been done for it
            try:
                outcome = await self._place(waiting.request)
            except EvenkeelError as error:
                if not waiting.outcome.done():
                    waiting.outcome.set_exception(error)
            else:
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)

    async def _place(self, request: LaunchRequest) -> LaunchOutcome:
        able = self._instances.able_flags()
        room = self._instances.room
        places = room.find(request.spec, request.count, able)
        if len(places) < request.count:
            return self._no_room(request, len(places), able)
        generations = self._manager.generations(places)
        wanted = tuple(
            Instance(
                new_name(),
                request.account,
                request.token,
                request.spec,
                self._az,
                self._roster.name(number),
                generation,
            )
            for number, generation in zip(places.tolist(), generations.tolist(), strict=True)
        )
        try:
            recorded = await self._storekeeper.call(self._store.place(self._az, self._manager.epoch, wanted))
        except Unreachable:
            self._instances.read_soon()  # it may be recorded: then its hosts are told, and its room is taken
            raise
        self._instances.placed(recorded)
        return Launched(recorded)

    def _no_room(self, request: LaunchRequest, found: int, able: Flags) -> LaunchOutcome:
        could_hold = self._instances.room.could_hold(request.spec, ~able)
        unleased = could_hold[~self._manager.leased(could_hold)]
        if len(unleased):
            self._manager.demand(unleased, np.ones(len(unleased), np.int32))
        status = self._manager.status(self._clock())
        return refusal(self._az, request.count, found, len(could_hold), status.leased, status.hosts, status.eta_s)

    def _late(self) -> LaunchOutcome:
        """Its place in line did not come up in time."""
        status = self._manager.status(self._clock())
        if self._storekeeper.is_lost or status.leased < status.hosts:
            return self._recovering(ETA_UNKNOWN_S if self._storekeeper.is_lost else status.eta_s)
        return RequestLimitExceeded(self._deadline_s)

    def _recovering(self, eta_s: float) -> Recovering:
        status = self._manager.status(self._clock())
        return Recovering(self._az, status.leased, status.hosts, eta_s)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def drop_all(self) -> None:
        """This manager is over: whoever waits asks the next one."""
        for waiting in self._waiting.values():
            if not waiting.outcome.done():
                waiting.outcome.set_exception(Unreachable(f"the manager of az {self._az} was superseded"))


def new_name() -> str:
    """A fresh instance's name."""
    return "i-" + "".join(secrets.choice(_ALPHABET) for _ in range(NAME_LETTERS))


def _check_size(request: LaunchRequest) -> None:
    """The launch API lets no such launch through; whoever comes by another way must not break the tables either."""
    spec = request.spec
    if not (0 < spec.cpus <= CPUS_MAX and 0 < spec.memory_mib <= MEMORY_MIB_MAX):
        raise Refusal(f"an instance of {spec.cpus} cpus and {spec.memory_mib} MiB fits no host that there is")
    if not 0 < request.count <= COUNT_MAX:
        raise Refusal(f"{request.count} instances: a launch is of 1 to {COUNT_MAX}")
