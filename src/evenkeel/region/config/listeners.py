"""Ports on which evenkeel itself listens: no two processes of the region at the same one."""

from __future__ import annotations

from collections.abc import Iterator

from evenkeel.model.health import ProbeKind
from evenkeel.model.region import HostPort, Region, ServerKind
from evenkeel.region.components import PORT_MAX, components
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.tables import Tables
from evenkeel.region.config.zones import UNSPECIFIED


def check_listeners(region: Region, tables: Tables, report: Report) -> None:
    """Reports clashes, process names that occur twice, and metrics ports past the last one."""
    taken: dict[int, list[tuple[HostPort, str]]] = {}
    for address, what, place in _listeners(region, tables):
        for other, other_what in taken.setdefault(address.port, []):
            if _overlap(address.host, other.host):
                report.add(place, f"{what} would listen at {address}, where {other_what} does", "use another port")
                break
        taken[address.port].append((address, what))
    everyone = components(region)
    names = [component.name for component in everyone]
    for name in sorted({name for name in names if names.count(name) > 1}):
        report.add(Place(("region", "azs")), f"two processes would be named {name}", "rename an az")
    last = region.metrics_port_base + len(everyone) - 1
    if region.metrics_port_base and last > PORT_MAX:
        what = f"{len(everyone)} processes from port {region.metrics_port_base} on run past {PORT_MAX}"
        report.add(tables.metrics.place.at("port-base"), what, f"use at most {PORT_MAX - len(everyone) + 1}")


def _listeners(region: Region, tables: Tables) -> Iterator[tuple[HostPort, str, Place]]:
    served: set[HostPort] = set()
    for entry in tables.zones.entries:
        zone = region.zones[entry.table.name]
        if zone.server is ServerKind.EMBEDDED and zone.primary not in served:
            served.add(zone.primary)  # one nameserver process serves every such zone
            yield zone.primary, "the nameserver", entry.place.at("primary")
    yield region.plan_store, "the plan store", tables.plan_store.place.at("listen")
    for index, address in enumerate(region.health_intake):
        yield address, f"the health intake of planner-{index + 1}", tables.planner.place.at("health-intake", index)
    for index, (address, az) in enumerate(zip(region.report_intake, region.azs, strict=False)):
        yield address, f"the report intake of vantage-{az}", tables.vantage.place.at("report-intake", index)
    for component in components(region):
        if component.metrics:
            yield component.metrics, f"the metrics of {component.name}", tables.metrics.place.at("port-base")
    if region.backends:
        yield from _played(region, tables.demo.place.at("backends"))


def _played(region: Region, place: Place) -> Iterator[tuple[HostPort, str, Place]]:
    """What demo backends listen at."""
    for name, load_balancer in region.load_balancers.items():
        if load_balancer.probe.kind is not ProbeKind.REPORTED:
            for address in load_balancer.ipv4 + load_balancer.ipv6:
                yield HostPort(address, load_balancer.probe.port), f"the demo backend of {name}", place


def _overlap(one: str, other: str) -> bool:
    return one == other or one in UNSPECIFIED or other in UNSPECIFIED
