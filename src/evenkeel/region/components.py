"""Which processes a region consists of, what each is named, and where each one's metrics are.

| kind | names | module of `evenkeel.region.processes` |
| --- | --- | --- |
| nameserver | `nameserver`, where a zone is served by evenkeel itself | `nameserver` |
| plan store | `plan-store` | `plan_store` |
| demo backend | `backend-1`.. | `backend` |
| Planner | `planner-1`.. | `planner` |
| vantage point | `vantage-<az>` | `vantage` |
| Enactor | `enactor-<az>`, then `enactor-<az>-2`.. where there are more Enactors than azs | `enactor` |
| audit | `audit` | `audit` |
| table service | `table-1`.., one a front end of the fleet's endpoint | `table_service` |
| droplet manager | `manager-<az>`, then `manager-<az>-2`.. where an az has more of them | `droplet_manager` |
| launch API | `launch-api` | `launch_api` |
| agent | `agent-<az>-1`.. for demo hosts; any `agent-<az>-<label>` may be run | `agent` |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from evenkeel.model.errors import InputError
from evenkeel.model.region import HostPort, Region, ServerKind

PORT_MAX = 65535
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Kind(StrEnum):
    """A kind of component; the value is the name of its module."""

    NAMESERVER = "nameserver"
    PLAN_STORE = "plan_store"
    BACKEND = "backend"
    PLANNER = "planner"
    VANTAGE = "vantage"
    ENACTOR = "enactor"
    AUDIT = "audit"
    TABLE_SERVICE = "table_service"
    DROPLET_MANAGER = "droplet_manager"
    LAUNCH_API = "launch_api"
    AGENT = "agent"


# Started in this order, stopped in the reverse one. Nothing depends on it but quiet journals: every component
# bears that what it talks to is not there yet.
WAVES: tuple[tuple[Kind, ...], ...] = (
    (Kind.NAMESERVER, Kind.PLAN_STORE, Kind.BACKEND, Kind.TABLE_SERVICE),
    (Kind.PLANNER, Kind.VANTAGE),
    (Kind.ENACTOR, Kind.AUDIT),
    (Kind.DROPLET_MANAGER, Kind.LAUNCH_API),
    (Kind.AGENT,),
)


@dataclass(frozen=True, slots=True)
class Component:
    """One process of the region. `metrics` is where it answers HTTP, None where that is off."""

    name: str
    kind: Kind
    wave: int
    metrics: HostPort | None


def components(region: Region) -> tuple[Component, ...]:
    """Every component of `region`, in the order in which they start."""
    found: list[Component] = []
    for wave, kinds in enumerate(WAVES):
        for kind in kinds:
            for name in _names(kind, region):
                found.append(Component(name, kind, wave, _metrics(region, len(found))))
    return tuple(found)


def component(region: Region, name: str) -> Component:
    """The component of that name. Raises `InputError` that lists the names there are."""
    everyone = components(region)
    for each in everyone:
        if each.name == name:
            return each
    if is_host_component(region, name):
        return Component(name, Kind.AGENT, len(WAVES) - 1, None)
    raise InputError.one(
        "component",
        f"{name!r} is not a component of region {region.name!r}",
        "use one of " + ", ".join(each.name for each in everyone),
    )


def _names(kind: Kind, region: Region) -> list[str]:
    match kind:
        case Kind.NAMESERVER:
            is_served = any(zone.server is ServerKind.EMBEDDED for zone in region.zones.values())
            return ["nameserver"] if is_served else []
        case Kind.PLAN_STORE:
            return ["plan-store"]
        case Kind.BACKEND:
            return [f"backend-{number + 1}" for number in range(region.backends)]
        case Kind.PLANNER:
            return [f"planner-{number + 1}" for number in range(region.planners)]
        case Kind.VANTAGE:
            return [f"vantage-{az}" for az in region.azs]
        case Kind.ENACTOR:
            return [_of_az("enactor", region, number) for number in range(region.enactors)]
        case Kind.AUDIT:
            return ["audit"]
        case _:
            return _fleet_names(kind, region)


def _fleet_names(kind: Kind, region: Region) -> list[str]:
    fleet = region.fleet
    if fleet is None:
        return []
    match kind:
        case Kind.TABLE_SERVICE:
            return [f"table-{number + 1}" for number in range(len(front_ends(region)))]
        case Kind.DROPLET_MANAGER:
            return [_of_az("manager", region, number) for number in range(managers(region))]
        case Kind.LAUNCH_API:
            return ["launch-api"]
        case _:
            return [f"agent-{az}-{number + 1}" for az in region.azs for number in range(fleet.hosts)]


def front_ends(region: Region) -> tuple[str, ...]:
    """Load balancers that are front ends of the table service, by name."""
    endpoint = region.endpoints.get(region.fleet.endpoint) if region.fleet is not None else None
    return tuple(sorted(endpoint.load_balancers)) if endpoint is not None else ()


def played(region: Region) -> tuple[str, ...]:
    """Load balancers that demo backends play, by name: all but the table service's front ends."""
    return tuple(sorted(region.load_balancers.keys() - set(front_ends(region))))


def host_az(region: Region, host: str) -> str:
    """The az in the name of a host, `<az>-<label>`; "" where there is none of this region in it."""
    fitting = [az for az in region.azs if host.startswith(f"{az}-") and len(host) > len(az) + 1]
    return max(fitting, key=len, default="")


def is_host_component(region: Region, name: str) -> bool:
    """Whether `name` is the agent of some host, perhaps one that this file does not count."""
    prefix, _, host = name.partition("-")
    is_host = _HOST.fullmatch(host) is not None and bool(host_az(region, host))
    return region.fleet is not None and prefix == "agent" and is_host


def managers(region: Region) -> int:
    """How many droplet managers the region has, those that stand by included."""
    return len(region.azs) * region.fleet.managers_per_az if region.fleet is not None else 0


def manager_place(region: Region, component: str) -> int:
    """Which of the region's droplet managers `component` is, from 0: one an az in their order, then the second ones."""
    return [_of_az("manager", region, number) for number in range(managers(region))].index(component)


def manager_names(region: Region, az: str) -> tuple[str, ...]:
    """The components that may have `az`."""
    first, step = region.azs.index(az), len(region.azs)
    return tuple(_of_az("manager", region, number) for number in range(first, managers(region), step))


def _of_az(kind: str, region: Region, number: int) -> str:
    """The `number`-th of a kind that goes round the azs, again and again."""
    round_, place = divmod(number, len(region.azs))
    return f"{kind}-{region.azs[place]}" + (f"-{round_ + 1}" if round_ else "")


def _metrics(region: Region, place: int) -> HostPort | None:
    port = region.metrics_port_base + place
    if not region.metrics_port_base or port > PORT_MAX:
        return None
    return HostPort(region.metrics_host, port)
