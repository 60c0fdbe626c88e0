"""What runs where, in words: for the lines that `evenkeel up` begins with."""

from __future__ import annotations

from evenkeel.model.region import Endpoint, HostPort, LoadBalancer, Region, ServerKind, Zone
from evenkeel.region.components import Component, Kind, front_ends, manager_place
from evenkeel.region.processes.backend import dealt_to


def purpose(component: Component, region: Region) -> str:
    """What `component` does, in a few words."""
    match component.kind:
        case Kind.NAMESERVER:
            return "authoritative DNS for " + _listed([zone.name for zone in _served(region)])
        case Kind.PLAN_STORE:
            return f"keeps the last {region.generations_kept} plans"
        case Kind.BACKEND:
            played = dealt_to(region, _number(component))
            return "demo backend of " + _listed([each.name for each in played])
        case Kind.PLANNER:
            return f"plans {_counted(len(region.endpoints), 'endpoint')}"
        case Kind.VANTAGE:
            return f"probes {_counted(len(region.load_balancers), 'load balancer')}"
        case Kind.ENACTOR:
            return "brings plans into DNS"
        case Kind.AUDIT:
            return f"resolves every endpoint each {region.audit_every_s:g} s"
        case _:
            return _fleet_purpose(component, region)


def listens(component: Component, region: Region) -> tuple[HostPort, ...]:
    """Where `component` listens, metrics apart."""
    match component.kind:
        case Kind.NAMESERVER:
            return tuple(dict.fromkeys(zone.primary for zone in _served(region)))
        case Kind.PLAN_STORE:
            return (region.plan_store,)
        case Kind.PLANNER:
            return region.health_intake[_number(component) - 1 : _number(component)]
        case Kind.BACKEND:
            return tuple(address for each in dealt_to(region, _number(component)) for address in _probed(each))
        case Kind.VANTAGE:
            place = region.azs.index(component.name.removeprefix("vantage-"))
            return region.report_intake[place : place + 1]
        case _:
            return _fleet_listens(component, region)


def _fleet_purpose(component: Component, region: Region) -> str:
    match component.kind:
        case Kind.TABLE_SERVICE:
            return f"table service, front end {front_ends(region)[_number(component) - 1]}"
        case Kind.DROPLET_MANAGER:
            return f"keeps the leases of hosts in az {_managed(component, region)}"
        case Kind.LAUNCH_API:
            return "launches instances"
        case _:
            return f"agent of host {component.name.removeprefix('agent-')}"


def _fleet_listens(component: Component, region: Region) -> tuple[HostPort, ...]:
    fleet = region.fleet
    if fleet is None:
        return ()
    match component.kind:
        case Kind.TABLE_SERVICE:
            return front_end_addresses(region, _number(component))
        case Kind.DROPLET_MANAGER:
            place = manager_place(region, component.name)
            return (fleet.managers[place], fleet.controls[place])
        case Kind.LAUNCH_API:
            return (fleet.launch_api,)
        case _:
            return ()


def front_end_addresses(region: Region, number: int) -> tuple[HostPort, ...]:
    """Where front end `number` (from 1) of the table service listens: where its load balancer is probed."""
    load_balancer = region.load_balancers[front_ends(region)[number - 1]]
    return tuple(HostPort(host, load_balancer.probe.port) for host in load_balancer.ipv4)


def dig_line(region: Region) -> str:
    """A command that asks for the region's first endpoint; "" where there is none."""
    for endpoint in region.endpoints.values():
        zone = region.zones[endpoint.zone]
        return f"dig @{zone.primary.host} -p {zone.primary.port} {endpoint.name} {record_type(endpoint)} +short"
    return ""


def record_type(endpoint: Endpoint) -> str:
    return "A" if endpoint.ipv4 else "AAAA"


def _number(component: Component) -> int:
    return int(component.name.rpartition("-")[2])


def _managed(component: Component, region: Region) -> str:
    round_, place = divmod(manager_place(region, component.name), len(region.azs))
    return region.azs[place] + (", or stands by" if round_ else "")


def _served(region: Region) -> list[Zone]:
    return [zone for zone in region.zones.values() if zone.server is ServerKind.EMBEDDED]


def _probed(load_balancer: LoadBalancer) -> tuple[HostPort, ...]:
    return tuple(HostPort(host, load_balancer.probe.port) for host in load_balancer.ipv4 + load_balancer.ipv6)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
