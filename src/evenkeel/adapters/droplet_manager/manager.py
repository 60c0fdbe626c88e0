"""One tenure of one manager: takes the az over, serves until told to stop or until another takes over.

What can be known only from the store (who manages, which hosts and instances there are) is read before the first link
is taken; a manager without its store at the start waits for it. From then on the store may come and go.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evenkeel.adapters import pki
from evenkeel.adapters.droplet_manager.control import HostView, ManagerView
from evenkeel.adapters.droplet_manager.instances import Instances
from evenkeel.adapters.droplet_manager.joining import Joining, Register
from evenkeel.adapters.droplet_manager.launching import Launching
from evenkeel.adapters.droplet_manager.leases import Doing, LeaseDriver
from evenkeel.adapters.droplet_manager.roster import Roster
from evenkeel.adapters.droplet_manager.storekeeper import Storekeeper, beat_on
from evenkeel.adapters.links.base import ManagerLinks
from evenkeel.adapters.links.tcp import TcpManagerLinks
from evenkeel.fleet.arrays import Ids, ids_of
from evenkeel.fleet.launches import RoomTable
from evenkeel.fleet.manager import make_manager
from evenkeel.fleet.retries import RetryManager
from evenkeel.model.errors import Refusal
from evenkeel.model.events import EventKind
from evenkeel.model.fleet import Granted, Host, HostState, LaunchOutcome, LaunchRequest, Tenure
from evenkeel.model.fleet_policy import FleetPolicy, OnStoreLoss
from evenkeel.model.region import HostPort
from evenkeel.ports.fleet import LeaseStore, Superseded
from evenkeel.ports.journal import Journal


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a manager sits, and what it is given."""

    region: str
    az: str
    policy: FleetPolicy
    store: LeaseStore
    journal: Journal
    clock: Callable[[], float]
    address: HostPort  # of its links
    credentials: pki.Credentials
    authority: pki.Authority
    register: Register
    join_token: str
    is_of_az: Callable[[str], bool]
    state_check_s: float = 0.0
    nats: str = ""
    manager: str = ""  # whose tenure, for people


class Manager:
    """`control.ManagerDesk`. Made by `opened`; used on one event loop."""

    def __init__(self, seat: Seat, tenure: Tenure, hosts: Sequence[Host], taken_at_s: float) -> None:
        self._seat, policy, clock = seat, seat.policy, seat.clock
        self.epoch = tenure.epoch
        rng = np.random.default_rng()
        self.leases = make_manager(policy, seat.az, tenure.epoch, rng, taken_at_s, tenure.capacity_per_s)
        self._roster = Roster(hosts)
        self._room = RoomTable(rng)
        self.storekeeper = Storekeeper(self.leases, seat.store, seat.az, seat.journal, policy.on_store_loss, clock)
        self.instances = Instances(
            self.leases, seat.store, self.storekeeper, self._roster, self._room, seat.az, self._send, clock
        )
        self.launching = Launching(
            self.leases,
            seat.store,
            self.storekeeper,
            self._roster,
            self.instances,
            seat.az,
            policy.launch_deadline_s,
            clock,
        )
        needs_store = policy.on_store_loss is OnStoreLoss.CLOCK_RUNS
        doing = Doing(self._establish, self._renew if needs_store else None, self.launching.work_on)
        self.driver = LeaseDriver(
            self.leases,
            policy,
            self._roster,
            self._send,
            doing,
            clock,
            self.instances.on_report,
            takes_one_by_one=isinstance(self.leases, RetryManager),
        )
        self._links = self._make_links()
        self._adopt(tenure, clock())

    def _make_links(self) -> list[ManagerLinks]:
        """TCP always: newcomers join there. NATS beside it, where there is one."""
        seat = self._seat
        joining = Joining(
            seat.authority, seat.register, seat.region, seat.az, seat.join_token, seat.is_of_az, self._add_host
        )
        tcp = TcpManagerLinks(
            seat.address,
            seat.credentials,
            seat.region,
            on_frames=self.driver.on_frames,
            on_linked=self._linked,
            on_join=joining,
        )
        links: list[ManagerLinks] = [tcp]
        if seat.nats:
            from evenkeel.adapters.links.nats import NatsManagerLinks  # an extra: only who uses it needs it

            links.append(
                NatsManagerLinks(
                    seat.nats,
                    seat.credentials,
                    seat.region,
                    seat.az,
                    on_frames=self.driver.on_frames,
                    on_linked=self._linked,
                )
            )
        return links

    def _adopt(self, tenure: Tenure, now_s: float) -> None:
        """Take the inventory into the tables, and leases recorded before under the takeover's amnesty."""
        hosts = self._roster.all()
        self.leases.add(0, len(hosts))
        self._room.reserve(len(hosts))
        for host in hosts:
            self.instances.host_is(host.number)
        retired = np.array([host.number for host in hosts if host.state is HostState.RETIRED], np.int32)
        self.leases.remove(retired)
        held = [host for host in hosts if host.generation and host.state is not HostState.RETIRED]
        extend_s = tenure.amnesty.extend_s if tenure.amnesty is not None else 0.0
        if held and extend_s > 0:
            numbers = np.array([host.number for host in held], np.int32)
            generations = np.array([host.generation for host in held], np.int64)
            self.leases.adopt(numbers, generations, extend_s, now_s)

    # --- life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take in the instances, then links. Raises as the store does; `OSError`, `Unreachable` for the links, none of
        which is left open then."""
        await self.instances.read()
        try:
            for links in self._links:
                await links.start()
        except BaseException:
            await self.close_links()
            raise

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping` is set, or another manager has taken over."""
        work = [self.driver.run(), self.driver.work(), self.instances.run()]
        tasks = [asyncio.ensure_future(each) for each in work]
        watching = asyncio.ensure_future(self.storekeeper.watch())  # ends when this manager is superseded
        stop = asyncio.create_task(_until(stopping))
        try:
            await asyncio.wait({*tasks, watching, stop}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not self.leases.is_superseded:
                    task.result()  # a worker that ended by itself is a fault of ours, and has to be seen
        finally:
            for task in (*tasks, watching, stop):
                task.cancel()
            await asyncio.gather(*tasks, watching, stop, return_exceptions=True)
            self.launching.drop_all()
            await self.close_links()

    async def close_links(self) -> None:
        """No host has a link to it any more, and none gets one."""
        for links in self._links:
            await links.stop()

    @property
    def address(self) -> HostPort:
        """Where it takes links."""
        tcp = self._links[0]
        return tcp.address if isinstance(tcp, TcpManagerLinks) else self._seat.address

    @property
    def refused(self) -> Counter[str]:
        """What its links did not let in, by reason."""
        return sum((links.refused for links in self._links), Counter())

    def _send(self, host: str, frame: bytes) -> bool:
        return any(links.send(host, frame) for links in self._links)

    def _linked(self, host: str, is_up: bool) -> None:
        self.instances.linked(host, is_up)

    def is_linked(self, host: str) -> bool:
        return any(links.is_linked(host) for links in self._links)

    # --- the worker's jobs ----------------------------------------------------------------------------

    async def _establish(self, grants: Sequence[Granted]) -> None:
        await self._check(len(grants))
        await self.storekeeper.call(self._seat.store.record_grants(self._seat.az, self.epoch, grants))

    async def _renew(self, count: int) -> None:
        """October 2025: a renewal is a state check like any other, and that needs the store."""
        await self._check(count)
        await self.storekeeper.call(self._seat.store.tenure(self._seat.az))

    async def _check(self, hosts: int) -> None:
        if self._seat.state_check_s:
            await asyncio.sleep(hosts * self._seat.state_check_s)

    # --- hosts ----------------------------------------------------------------------------------------

    async def _add_host(self, host: Host) -> Host:
        recorded = await self.storekeeper.call(self._seat.store.join(host))
        if recorded.number >= len(self._roster) + 1:
            # Others have joined through another manager, before this one had the az.
            for each in await self.storekeeper.call(self._seat.store.hosts(self._seat.az)):
                self._put_host(each)
        self._put_host(recorded)
        return recorded

    def _put_host(self, host: Host) -> None:
        if self._roster.put(host):
            self.leases.add(host.number, 1)
            self._seat.journal.record(EventKind.JOINED, detail=f"host {host.name} has joined as number {host.number}")
        self.instances.host_is(host.number)

    async def set_state(self, name: str, state: HostState) -> Host:
        """Drain, retire, take back. Raises `Refusal`, and as the store does."""
        number = self._roster.number(name)
        if number is None:
            raise Refusal(f"az {self._seat.az} has no host {name!r:.100}")
        host = await self.storekeeper.call(self._seat.store.set_state(self._seat.az, name, state))
        self._roster.put(host)
        self.instances.host_is(number)
        if state is HostState.RETIRED:
            self.leases.remove(ids_of(number))
            for links in self._links:
                links.drop(name)
        return host

    # --- control.ManagerDesk --------------------------------------------------------------------------

    async def launch(self, request: LaunchRequest) -> LaunchOutcome:
        return await self.launching.launch(request)

    async def stopped(self, instance: str) -> None:
        await self.instances.stop(instance)

    async def status(self) -> ManagerView:
        return self.view()

    def view(self) -> ManagerView:
        return ManagerView(
            self.leases.status(self._seat.clock()),
            sum(links.linked for links in self._links),
            self.instances.covered,
            self._roster.count(HostState.DRAINING),
            self.instances.count(),
            self.launching.waiting,
            self.storekeeper.trouble,
            self._seat.manager,
        )

    async def hosts(self) -> tuple[HostView, ...]:
        leased: Ids = self.leases.leased(np.arange(len(self._roster), dtype=np.int32)).tolist()
        return tuple(
            HostView(
                host,
                bool(leased[host.number]),
                self.is_linked(host.name),
                int(self._room.cpus_free[host.number]),
                int(self._room.memory_free_mib[host.number]),
            )
            for host in self._roster.all()
        )

    async def throttle(self, per_s: float) -> None:
        manager = self._retrying()
        manager.throttle(per_s if per_s > 0 else None)
        how = f"{per_s:g} requests/s are let in" if per_s > 0 else "throttle lifted"
        self._seat.journal.record(EventKind.THROTTLED, detail=how)

    async def restart(self) -> int:
        gone = self._retrying().restart()
        self._seat.journal.record(EventKind.THROTTLED, detail=f"the queue was thrown away: {gone} requests")
        return gone

    def _retrying(self) -> RetryManager:
        if not isinstance(self.leases, RetryManager):
            raise Refusal("this policy's manager paces itself: there is nothing to throttle, and no queue to lose")
        return self.leases


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def opened(seat: Seat, tenure: Tenure) -> Manager:
    """The manager of `tenure`, with its inventory and its links. Raises as the store does, and `Superseded` where the
    tenure is somebody else's by now."""
    opening = asyncio.ensure_future(_open(seat, tenure))
    beating = asyncio.ensure_future(beat_on(seat.store, seat.az, tenure.epoch))
    try:
        await asyncio.wait((opening, beating), return_when=asyncio.FIRST_COMPLETED)
        return opening.result() if opening.done() else beating.result()
    finally:
        opening.cancel()
        beating.cancel()
        await asyncio.gather(opening, beating, return_exceptions=True)


async def _open(seat: Seat, tenure: Tenure) -> Manager:
    asked_at_s = seat.clock()
    now = await seat.store.tenure(seat.az)
    if now.epoch != tenure.epoch:
        raise Superseded(f"epoch {tenure.epoch} of az {seat.az} is over: it is {now.epoch}")
    hosts = await seat.store.hosts(seat.az)
    # On a thread: a large inventory takes seconds, and the beat has to go on meanwhile.
    manager = await asyncio.to_thread(Manager, seat, tenure, hosts, asked_at_s)
    await manager.start()
    return manager
