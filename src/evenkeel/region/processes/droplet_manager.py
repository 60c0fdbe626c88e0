"""`manager-<az>`: the droplet manager of an az. Takes the az over in the store, then leases, launches, recovers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from evenkeel.adapters.droplet_manager.control import ControlService
from evenkeel.adapters.droplet_manager.joining import Register
from evenkeel.adapters.droplet_manager.manager import Manager, Seat, opened
from evenkeel.adapters.pki import Authority
from evenkeel.fleet.takeover import take_over
from evenkeel.model.errors import StoreUnwritable, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.fleet import FleetStatus
from evenkeel.ports.fleet import LeaseStore, Superseded
from evenkeel.region.components import host_az
from evenkeel.region.fleet import (
    authority_folder,
    fleet_of,
    manager_credentials,
    manager_of,
    register_folder,
    table_service,
)
from evenkeel.region.runtime import Runtime

RETRY_S = 1.0
TELL_EVERY_S = 5.0


class _Current:
    """The tenure under way, if there is one, for status and metrics."""

    def __init__(self) -> None:
        self.manager: Manager | None = None
        self.waits_for = "the table service"

    def fleet(self) -> dict[str, object]:
        return asdict(self.manager.view().fleet) if self.manager is not None else {}

    def view(self, key: str) -> object:
        return getattr(self.manager.view(), key) if self.manager is not None else None


class _Collector(Collector):
    def __init__(self, current: _Current) -> None:
        self._current = current

    def collect(self) -> Iterator[Metric]:
        manager = self._current.manager
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
    """Manage until told to stop. Raises `Superseded` where another manager takes the az over."""
    current = _Current()
    runtime.registry.register(_Collector(current))
    runtime.status.update(
        fleet=current.fleet,
        waits_for=lambda: current.waits_for,
        linked=lambda: current.view("linked"),
        covered=lambda: current.view("covered"),
        instances=lambda: current.view("instances"),
        store_trouble=lambda: current.view("store_trouble"),
    )
    az = runtime.component.removeprefix("manager-")
    async with table_service(runtime.region) as store:
        manager = await _seated(runtime, az, store, current)
        if manager is None:
            return
        control = ControlService(manager)
        await control.start(manager_of(runtime.region, az)[1], runtime.secret("fleet"))
        telling = asyncio.create_task(_tell_recoveries(runtime, manager))
        try:
            await manager.run(runtime.stopping)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await control.stop()
        if manager.leases.is_superseded:
            raise Superseded(f"another manager has taken az {az} over")


async def _seated(runtime: Runtime, az: str, store: LeaseStore, current: _Current) -> Manager | None:
    """The manager of a tenure that was just taken; None where the process is told to stop before that."""
    seat = _seat(runtime, az, store)
    name = f"{runtime.component}@{socket.gethostname()}"
    # As long as a manager before this one may go on renewing without its store, and a term.
    extend_s = seat.policy.amnesty_max_s + seat.policy.term_max_s
    while not runtime.stopping.is_set():
        try:
            tenure = await take_over(store, az, name, extend_s)
            if tenure is not None:
                current.manager = await opened(seat, tenure)
                current.waits_for = ""
                runtime.journal.record(
                    EventKind.TOOK_OVER, generation=tenure.epoch, detail=f"manages az {az} in epoch {tenure.epoch}"
                )
                return current.manager
        except (Unreachable, StoreUnwritable) as error:
            if str(error) != current.waits_for:
                current.waits_for = str(error)
                runtime.log.warning("waiting", why=str(error))
        await _pause(runtime, RETRY_S)
    return None


def _seat(runtime: Runtime, az: str, store: LeaseStore) -> Seat:
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
        address=manager_of(region, az)[0],
        credentials=manager_credentials(region, az),
        authority=Authority.at(authority_folder(region), region.name),
        register=Register(register_folder(region)),
        join_token=runtime.secret("join"),
        is_of_az=is_of_az,
        state_check_s=fleet.state_check_s,
        nats=fleet.nats,
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
