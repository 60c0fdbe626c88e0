"""Instances of an az: what is recorded, what hosts are told to run, what they say runs.

An instance belongs to its host for good, so it can never run at two places: a host whose lease ended fences it, and
runs it again, the same one, when it has a lease again. What is wanted of a host is told whole (`Desired`), again and
again until the host echoes its revision; what a host reports moves the records on, again and again until the store has
taken it. So a loss anywhere delays, and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from evenkeel.adapters.droplet_manager.roster import Roster
from evenkeel.adapters.droplet_manager.storekeeper import Storekeeper
from evenkeel.adapters.fleet_messages import Desired, Report, encoder
from evenkeel.fleet.arrays import Flags, ids_of
from evenkeel.fleet.launches import RoomTable
from evenkeel.fleet.manager import LeaseManager
from evenkeel.model.errors import EvenkeelError
from evenkeel.model.fleet import HostState, Instance, InstanceSpec, InstanceState
from evenkeel.ports.fleet import LeaseStore, Superseded

TELL_AGAIN_S = 2.0  # a host that has not echoed what it was told
LOOK_EVERY_S = 0.25
RECORDS_READ_S = 30.0  # what users asked to stop while nobody could be told
RETRY_S = 1.0
ENDED_KEPT_S = 120.0  # much longer than any listing is under way
_OVER = (InstanceState.STOPPING, InstanceState.TERMINATED)


@dataclass(slots=True)
class _OnHost:
    """What one host is told, and what it has said."""

    instances: dict[str, Instance] = field(default_factory=dict)  # not terminated
    revision: int = 1
    told_at_s: float = -1e9
    said: Report | None = None


class Instances:
    """Used on one event loop. `send` hands a frame to a host's link."""

    def __init__(
        self,
        manager: LeaseManager,
        store: LeaseStore,
        storekeeper: Storekeeper,
        roster: Roster,
        room: RoomTable,
        az: str,
        send: Callable[[str, bytes], bool],
        clock: Callable[[], float],
    ) -> None:
        self._manager, self._store, self._storekeeper = manager, store, storekeeper
        self._roster, self.room, self._az = roster, room, az
        self._send, self._clock = send, clock
        self._hosts: dict[int, _OnHost] = {}
        self._covered: set[int] = set()  # hosts that say they hold a lease
        self._is_linked = np.zeros(0, np.bool_)  # by number, with room to grow
        self._by_id: dict[str, Instance] = {}
        self._moves: dict[str, tuple[InstanceState, str]] = {}  # to be recorded
        self._read_at_s = clock() + RECORDS_READ_S
        self._ended: dict[str, float] = {}  # when each was known to be terminated, for a while

    # --- records --------------------------------------------------------------------------------------

    def host_is(self, number: int) -> None:
        """Take in a host as the roster has it."""
        host = self._roster.host(number)
        self.room.set_host(number, host.cpus, host.memory_mib, host.state is HostState.ACTIVE)

    def take_in(self, records: Iterable[Instance]) -> None:
        """Instances as recorded: new ones are placed and told, changed ones told again.

        A listing that was long under way may be older than what is known by now; an end is never taken back by one.
        """
        for record in records:
            number = self._roster.number(record.host)
            known = self._by_id.get(record.instance)
            if number is None or record.az != self._az or (known is None and _is_gone(record)):
                continue
            is_over = known.state in _OVER if known is not None else record.instance in self._ended
            if is_over and record.state not in _OVER:
                continue
            self._put(number, record, known)

    def _put(self, number: int, record: Instance, known: Instance | None) -> None:
        on_host = self._hosts.setdefault(number, _OnHost())
        if known is None:
            self.room.place(number, record.spec)
        if _is_gone(record):
            self.room.free(number, record.spec)
            self._by_id.pop(record.instance, None)
            self._ended[record.instance] = self._clock()
            on_host.instances.pop(record.instance, None)
            self._tell_anew(on_host)
            return
        self._by_id[record.instance] = record
        on_host.instances[record.instance] = record
        if known is None or (known.state in _OVER) != (record.state in _OVER):
            self._tell_anew(on_host)

    def _tell_anew(self, on_host: _OnHost) -> None:
        on_host.revision += 1
        on_host.told_at_s = -1e9

    @property
    def covered(self) -> int:
        """Hosts that hold a lease by their own word, where that was heard over a link that is up."""
        return len(self._covered)

    def count(self) -> dict[str, int]:
        """Instances by state."""
        states = [record.state.value for record in self._by_id.values()]
        return {state.value: states.count(state.value) for state in InstanceState if state.value in states}

    # --- hosts ----------------------------------------------------------------------------------------

    def on_report(self, number: int, report: Report) -> None:
        """What a host says runs there."""
        on_host = self._hosts.setdefault(number, _OnHost())
        if report.is_covered:
            self._covered.add(number)
        else:
            self._covered.discard(number)
        if report.epoch == self._manager.epoch:
            on_host.said = report
        else:  # told by an earlier manager
            on_host.said = None
            on_host.told_at_s = -1e9
        self._look_at(number, on_host)

    def _look_at(self, number: int, on_host: _OnHost) -> None:
        """Move the records of one host on to what it says."""
        said = on_host.said
        if said is None:
            return
        running = dict(said.running)
        here = running.keys() | set(said.others)
        for instance, record in list(on_host.instances.items()):
            address = running.get(instance)
            if record.state is InstanceState.STOPPING:
                if instance not in here and said.revision >= on_host.revision:
                    self._moves[instance] = (InstanceState.TERMINATED, "")
            elif address and (record.state is not InstanceState.RUNNING or record.address != address):
                self._moves[instance] = (InstanceState.RUNNING, address)

    def tell(self) -> None:
        """Tell every host that has not echoed it what it is to run."""
        now_s = self._clock()
        for number, on_host in self._hosts.items():
            has_echoed = on_host.said is not None and on_host.said.revision >= on_host.revision
            if has_echoed or now_s - on_host.told_at_s < TELL_AGAIN_S:
                continue
            on_host.told_at_s = now_s
            self._send(self._roster.name(number), encoder.encode(self._desired(on_host)))

    def _desired(self, on_host: _OnHost) -> Desired:
        wanted: list[tuple[str, InstanceSpec]] = [
            (instance, record.spec) for instance, record in on_host.instances.items() if record.state not in _OVER
        ]
        return Desired(self._manager.epoch, on_host.revision, tuple(sorted(wanted, key=lambda each: each[0])))

    def linked(self, host: str, is_up: bool) -> None:
        """`links.base.OnLinked`: a host with a new link is told what it is to run."""
        number = self._roster.number(host)
        if number is None:
            return
        self._set_size(number + 1)
        self._is_linked[number] = is_up
        if not is_up:
            self._covered.discard(number)
            return
        on_host = self._hosts.setdefault(number, _OnHost())
        on_host.said = None
        on_host.told_at_s = -1e9

    # --- keeping on -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell hosts, record what they say, and look at the records, until cancelled."""
        while not self._manager.is_superseded:
            self._lost_and_found()
            self.tell()
            wait_s = LOOK_EVERY_S
            try:
                await self._record()
                if self._clock() >= self._read_at_s:
                    self._read_at_s = self._clock() + RECORDS_READ_S  # first: it may be wanted anew meanwhile
                    await self.read()
            except Superseded:
                return
            except EvenkeelError:
                wait_s = RETRY_S  # the storekeeper has heard why
                self.read_soon()
            await asyncio.sleep(wait_s)

    async def read(self) -> None:
        """Take in all records anew. Raises as the store does."""
        records = await self._storekeeper.call(self._store.instances(self._az))
        self.take_in(records)
        since_s = self._clock() - ENDED_KEPT_S
        self._ended = {name: at_s for name, at_s in self._ended.items() if at_s >= since_s}

    def read_soon(self) -> None:
        """A write had no reply: what it did is to be looked up."""
        self._read_at_s = self._clock()

    def _lost_and_found(self) -> None:
        """Instances of hosts without a lease may not be running; what is reported again is found again."""
        for number, on_host in self._hosts.items():
            if not on_host.instances:
                continue
            if not self._manager.leased(ids_of(number))[0]:
                on_host.said = None
                for instance, record in on_host.instances.items():
                    if record.state is InstanceState.RUNNING:
                        self._moves[instance] = (InstanceState.LOST, "")
            else:
                self._look_at(number, on_host)

    async def _record(self) -> None:
        """Bring the store to where the hosts are."""
        for instance, (state, address) in list(self._moves.items()):
            work = self._store.set_instance(self._az, self._manager.epoch, instance, state, address)
            record = await self._storekeeper.call(work)
            if self._moves.get(instance) == (state, address):
                del self._moves[instance]
            if record is not None:
                self.take_in([record])

    async def stop(self, instance: str) -> None:
        """A user asked for its end, and the store has it: tell its host. Raises as the store does."""
        if instance in self._by_id:
            await self.read()
            self.tell()

    def placed(self, records: Iterable[Instance]) -> None:
        """A launch was recorded: its hosts are told at once."""
        self.take_in(records)
        self.tell()

    def able_flags(self) -> Flags:
        """Whether each host of the roster can be given instances: it is leased, and has a link.

        A lease alone is not enough: after a takeover that of a dead host stands for hours.
        """
        size = len(self._roster)
        self._set_size(size)
        able: Flags = self._manager.leased(np.arange(size, dtype=np.int32)) & self._is_linked[:size]
        return able

    def _set_size(self, size: int) -> None:
        if size > len(self._is_linked):
            more = max(size, 2 * len(self._is_linked)) - len(self._is_linked)
            self._is_linked = np.concatenate([self._is_linked, np.zeros(more, np.bool_)])


def _is_gone(record: Instance) -> bool:
    return record.state is InstanceState.TERMINATED
