"""Ports on which evenkeel itself listens: no two processes of the region at the same one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evenkeel.model.health import ProbeKind
from evenkeel.model.region import HostPort, Region, ServerKind
from evenkeel.region.components import PORT_MAX, Kind, components, front_ends, played
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.tables import Tables
from evenkeel.region.config.zones import UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Listener:
    """Where something listens, what it is, and the key that says so."""

    address: HostPort
    what: str
    place: Place


def check_listeners(region: Region, tables: Tables, report: Report) -> None:
    """Reports clashes, process names that occur twice, and metrics ports past the last one."""
    taken: dict[int, list[Listener]] = {}
    for listener in _listeners(region, tables):
        others = taken.setdefault(listener.address.port, [])
        other = next((other for other in others if _overlap(listener.address.host, other.address.host)), None)
        if other:
            # The one to blame is the one that is written; the other may be a default that the file does not show.
            one = other if report.is_written(other.place) and not report.is_written(listener.place) else listener
            two = listener if one is other else other
            what = f"{one.what} would listen at {one.address}, where {two.what} does"
            report.add(one.place, what, "use another port")
        others.append(listener)
    everyone = components(region)
    names = [component.name for component in everyone]
    for name in sorted({name for name in names if names.count(name) > 1}):
        report.add(Place(("region", "azs")), f"two processes would be named {name}", "rename an az")
    last = region.metrics_port_base + len(everyone) - 1
    if region.metrics_port_base and last > PORT_MAX:
        what = f"{len(everyone)} processes from port {region.metrics_port_base} on run past {PORT_MAX}"
        report.add(tables.metrics.place.at("port-base"), what, f"use at most {PORT_MAX - len(everyone) + 1}")


def _listeners(region: Region, tables: Tables) -> Iterator[Listener]:
    served: set[HostPort] = set()
    for entry in tables.zones.entries:
        zone = region.zones[entry.table.name]
        if zone.server is ServerKind.EMBEDDED and zone.primary not in served:
            served.add(zone.primary)  # one nameserver process serves every such zone
            yield Listener(zone.primary, "the nameserver", entry.place.at("primary"))
    yield Listener(region.plan_store, "the plan store", tables.plan_store.place.at("listen"))
    for index, address in enumerate(region.health_intake):
        place = tables.planner.place.at("health-intake")
        yield Listener(address, f"the health intake of planner-{index + 1}", place)
    for address, az in zip(region.report_intake, region.azs, strict=False):
        place = tables.vantage.place.at("report-intake")
        yield Listener(address, f"the report intake of vantage-{az}", place)
    yield from _of_fleet(region, tables)
    for component in components(region):
        if component.metrics:
            place = tables.metrics.place.at("port-base")
            yield Listener(component.metrics, f"the metrics of {component.name}", place)
    if region.backends:
        yield from _played(region, tables.demo.place.at("backends"))


def _of_fleet(region: Region, tables: Tables) -> Iterator[Listener]:
    fleet, place = region.fleet, tables.fleet.place
    if fleet is None:
        return
    names = [each.name for each in components(region) if each.kind is Kind.DROPLET_MANAGER]
    for key, what, addresses in (
        ("manager-listen", "the links of", fleet.managers),
        ("manager-control", "the control of", fleet.controls),
    ):
        for address, name in zip(addresses, names, strict=False):
            yield Listener(address, f"{what} {name}", place.at(key))
    yield Listener(fleet.launch_api, "the launch API", place.at("launch-api"))
    for name in front_ends(region):
        load_balancer = region.load_balancers[name]
        for host in load_balancer.ipv4:
            listens_at = HostPort(host, load_balancer.probe.port)
            yield Listener(listens_at, f"the table service's front end {name}", place.at("endpoint"))


def _played(region: Region, place: Place) -> Iterator[Listener]:
    """What demo backends listen at."""
    for name in played(region):
        load_balancer = region.load_balancers[name]
        if load_balancer.probe.kind is not ProbeKind.REPORTED:
            for address in load_balancer.ipv4 + load_balancer.ipv6:
                listens_at = HostPort(address, load_balancer.probe.port)
                yield Listener(listens_at, f"the demo backend of {name}", place)


def _overlap(one: str, other: str) -> bool:
    return one == other or one in UNSPECIFIED or other in UNSPECIFIED
