"""`manager-<az>`, `manager-<az>-2`..: a droplet manager. Stands by until its az is free, takes it over in the store,
then leases, launches, recovers; and stands by again when another has taken over.

A process that stands by takes calls, and says so. It does not listen for links: agents are refused by its kernel.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

from msgspec import to_builtins
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from evenkeel.adapters.droplet_manager.control import ControlService
from evenkeel.adapters.droplet_manager.desk import Desk
from evenkeel.adapters.droplet_manager.joining import Register
from evenkeel.adapters.droplet_manager.manager import Manager, Seat, opened
from evenkeel.adapters.pki import Authority
from evenkeel.fleet.standby import Watch, look
from evenkeel.model.errors import StoreUnwritable, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.fleet import FleetStatus, Tenure
from evenkeel.model.region import HostPort
from evenkeel.ports.fleet import LeaseStore, Superseded
from evenkeel.region.components import host_az, manager_place
from evenkeel.region.fleet import (
    authority_folder,
    fleet_of,
    manager_credentials,
    register_folder,
    table_service,
)
from evenkeel.region.runtime import Runtime

LOOK_EVERY_S = 1.0  # at who has the az
TELL_EVERY_S = 5.0


class _Collector(Collector):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        is_holder = float(self._desk.view().is_holder)
        yield GaugeMetricFamily(
            "evenkeel_manager_has_az", "Whether this manager has its az; 0: it stands by", is_holder
        )
        manager = self._desk.manager
        if manager is None:
            return
        view = manager.view()
        yield from _lease_metrics(view.fleet)
        instances = GaugeMetricFamily("evenkeel_instances", "Instances by state", labels=["state"])
        for state, count in view.instances.items():
            instances.add_metric([state], count)
        yield instances
        yield GaugeMetricFamily("evenkeel_agents_linked", "Hosts with a link", view.linked)
        yield GaugeMetricFamily("evenkeel_agents_covered", "Hosts with a lease by their own word", view.covered)
        refused = CounterMetricFamily("evenkeel_link_refusals", "What links did not let in", labels=["why"])
        for why, count in {**manager.refused, **manager.driver.counts}.items():
            refused.add_metric([why], count)
        yield refused


def _lease_metrics(fleet: FleetStatus) -> Iterator[Metric]:
    gauges = {
        "hosts": "Hosts that should hold a lease",
        "leased": "Hosts that hold one",
        "queued": "Requests that wait for work",
        "called": "Hosts called and not heard of yet",
        "capacity_per_s": "The measured capacity, units of work a second",
        "eta_s": "Until every reachable host is leased",
        "x_bound": "How far above the physical limit the recovery runs",
        "store_is_lost": "Whether the store does not answer",
        "epoch": "The manager's epoch",
    }
    for name, told in gauges.items():
        yield GaugeMetricFamily(f"evenkeel_lease_{name}", told, float(getattr(fleet, name)))
    counters = CounterMetricFamily("evenkeel_lease_messages", "What the manager did", labels=["of"])
    for name in ("grants", "renewals", "regrants", "waits", "calls", "dropped", "expired", "amnesties"):
        counters.add_metric([name], getattr(fleet, name))
    yield counters


async def main(runtime: Runtime) -> None:
    """Stand by and manage, in turn, until told to stop. Raises `OSError` where it could not listen."""
    place = manager_place(runtime.region, runtime.component)
    az = runtime.region.azs[place % len(runtime.region.azs)]
    desk = Desk(runtime.component, az)
    _publish(runtime, desk)
    fleet = fleet_of(runtime.region)
    check_can_listen(fleet.managers[place])
    name = f"{runtime.component}@{socket.gethostname()}"
    watch = Watch(name, fleet.takeover_after_s, time.monotonic, goes_first=place < len(runtime.region.azs))
    async with table_service(runtime.region) as store:
        seat = _seat(runtime, az, fleet.managers[place], store, watch.manager)
        control = ControlService(desk)
        await control.start(fleet.controls[place], runtime.secret("fleet"))
        try:
            while not runtime.stopping.is_set():
                manager = await _seated(runtime, seat, watch, desk)
                if manager is not None:
                    await _manage(runtime, manager, desk)
                    watch.superseded()
        finally:
            await control.stop()


def _publish(runtime: Runtime, desk: Desk) -> None:
    def view(key: str) -> object:
        return getattr(desk.manager.view(), key) if desk.manager is not None else None

    runtime.registry.register(_Collector(desk))
    runtime.status.update(
        role=lambda: to_builtins(desk.view()),
        fleet=lambda: asdict(desk.manager.view().fleet) if desk.manager is not None else {},
        waits_for=lambda: desk.waits_for,
        linked=lambda: view("linked"),
        covered=lambda: view("covered"),
        instances=lambda: view("instances"),
        store_trouble=lambda: view("store_trouble"),
    )


def check_can_listen(address: HostPort) -> None:
    """A manager that could not take links must not take the az from one that can. Raises `OSError`."""
    family, kind, protocol, _, at = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind(at)


# --- standing by --------------------------------------------------------------------------------------


async def _seated(runtime: Runtime, seat: Seat, watch: Watch, desk: Desk) -> Manager | None:
    """The manager of a tenure that was just taken; None where the process is told to stop before that."""
    # As long as a manager before this one may go on renewing without its store, and a term.
    extend_s = seat.policy.amnesty_max_s + seat.policy.term_max_s
    telling = _StandbyTeller(runtime, seat.az)
    while not runtime.stopping.is_set():
        try:
            tenure = await look(seat.store, watch, seat.az, watch.manager, extend_s)
            desk.seen, desk.waits_for = tenure or watch.seen, ""
            if tenure is not None:
                desk.manager = await opened(seat, tenure)
                detail = f"manages az {seat.az} in epoch {tenure.epoch}"
                runtime.journal.record(EventKind.TOOK_OVER, generation=tenure.epoch, detail=detail)
                return desk.manager
            telling.tell(watch.seen)
        except Superseded as error:
            watch.superseded()
            runtime.log.warning("superseded", why=str(error))
        except (Unreachable, StoreUnwritable) as error:
            watch.lost()
            if str(error) != desk.waits_for:
                desk.waits_for = str(error)
                runtime.log.warning("waiting", why=str(error))
        await _pause(runtime, LOOK_EVERY_S)
    return None


class _StandbyTeller:
    """Journals whom a manager stands by for, once for each tenure that it finds."""

    def __init__(self, runtime: Runtime, az: str) -> None:
        self._runtime, self._az = runtime, az
        self._told = 0

    def tell(self, seen: Tenure) -> None:
        if seen.epoch == self._told:
            return
        self._told = seen.epoch
        detail = f"stands by: {seen.manager} manages az {self._az} in epoch {seen.epoch}"
        self._runtime.journal.record(EventKind.STANDS_BY, generation=seen.epoch, detail=detail)


# --- managing -----------------------------------------------------------------------------------------


async def _manage(runtime: Runtime, manager: Manager, desk: Desk) -> None:
    """Until told to stop, or another manager has taken over."""
    telling = asyncio.create_task(_tell_recoveries(runtime, manager))
    try:
        await manager.run(runtime.stopping)
    finally:
        desk.manager = None
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


def _seat(runtime: Runtime, az: str, address: HostPort, store: LeaseStore, name: str) -> Seat:
    region, fleet = runtime.region, fleet_of(runtime.region)

    def is_of_az(host: str) -> bool:
        return host_az(region, host) == az

    return Seat(
        region=region.name,
        az=az,
        policy=fleet.policy,
        store=store,
        journal=runtime.journal,
        clock=time.monotonic,
        address=address,
        credentials=manager_credentials(region, az),
        authority=Authority.at(authority_folder(region), region.name),
        register=Register(register_folder(region)),
        join_token=runtime.secret("join"),
        is_of_az=is_of_az,
        state_check_s=fleet.state_check_s,
        nats=fleet.nats,
        manager=name,
    )


async def _tell_recoveries(runtime: Runtime, manager: Manager) -> None:
    """Journal how a recovery of leases goes: that it began, and what it came to."""
    tell = _RecoveryTeller(runtime.journal.record)
    while True:
        tell.look(manager.view().fleet)
        await asyncio.sleep(0.5)


class _RecoveryTeller:
    def __init__(self, record: Callable[..., None]) -> None:
        self._record = record
        self._is_under_way = False
        self._told_at_s = 0.0
        self._began_s = 0.0

    def look(self, fleet: FleetStatus) -> None:
        now_s, is_whole = time.monotonic(), fleet.leased == fleet.hosts
        if is_whole:
            if self._is_under_way:
                took_s = now_s - self._began_s
                self._record(EventKind.LEASES, detail=f"all {fleet.hosts} hosts are leased, after {took_s:.1f} s")
            self._is_under_way = False
            return
        if not self._is_under_way:
            self._is_under_way, self._began_s = True, now_s
        elif now_s - self._told_at_s < TELL_EVERY_S:
            return
        self._told_at_s = now_s
        eta = f"ETA {fleet.eta_s:.1f} s" if fleet.eta_s >= 0 and not fleet.store_is_lost else "ETA not known"
        self._record(EventKind.LEASES, detail=f"{fleet.leased} of {fleet.hosts} hosts are leased, {eta}")


async def _pause(runtime: Runtime, delay_s: float) -> None:
    try:
        async with asyncio.timeout(delay_s):
            await runtime.stopping.wait()
    except TimeoutError:
        return
