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
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evenkeel.model.errors import InputError
from evenkeel.model.region import HostPort, Region, ServerKind

PORT_MAX = 65535


class Kind(StrEnum):
    """A kind of component; the value is the name of its module."""

    NAMESERVER = "nameserver"
    PLAN_STORE = "plan_store"
    BACKEND = "backend"
    PLANNER = "planner"
    VANTAGE = "vantage"
    ENACTOR = "enactor"
    AUDIT = "audit"


# Started in this order, stopped in the reverse one. Nothing depends on it but quiet journals: every component
# bears that what it talks to is not there yet.
WAVES: tuple[tuple[Kind, ...], ...] = (
    (Kind.NAMESERVER, Kind.PLAN_STORE, Kind.BACKEND),
    (Kind.PLANNER, Kind.VANTAGE),
    (Kind.ENACTOR, Kind.AUDIT),
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
            return [_enactor_name(region, number) for number in range(region.enactors)]
        case Kind.AUDIT:
            return ["audit"]


def _enactor_name(region: Region, number: int) -> str:
    round_, place = divmod(number, len(region.azs))
    return f"enactor-{region.azs[place]}" + (f"-{round_ + 1}" if round_ else "")


def _metrics(region: Region, place: int) -> HostPort | None:
    port = region.metrics_port_base + place
    if not region.metrics_port_base or port > PORT_MAX:
        return None
    return HostPort(region.metrics_host, port)
