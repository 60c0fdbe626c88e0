"""Circular dependencies: what evenkeel needs to publish an endpoint may not be found through that endpoint.

In October 2025 the automation that was to mend a name depended on services that were found by it. Here no control host
may be named at or under a managed endpoint: when that answer is wrong or gone, nothing could put it right. Addresses
are always good. The `host` of a probe is sent and never resolved, so it may well be an endpoint's name. At a zone's
apex only the name itself counts, since every name of the zone stands under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evenkeel.model.errors import InputError
from evenkeel.model.names import absolute
from evenkeel.model.region import Endpoint, Region
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.tables import Tables

MEND = "give an address, or a name that is neither a managed endpoint nor under one"


@dataclass(frozen=True, slots=True)
class Need:
    """A name that something needs: `{endpoint}` in the circle stands for the endpoint that it runs through."""

    place: Place
    host: str
    circle: str


def check_circles(region: Region, tables: Tables, report: Report) -> None:
    """Reports every need that is met through one of the region's endpoints."""
    for need in _needs(region, tables):
        endpoint = _endpoint_over(need.host, region)
        if endpoint:
            stands = "is" if _name(need.host) == endpoint.name else "stands under"
            circle = need.circle.format(endpoint=endpoint.name)
            what = f"circular dependency: {circle} is found at {need.host}, which {stands} {endpoint.name}"
            report.add(need.place, what, MEND)


def _needs(region: Region, tables: Tables) -> Iterator[Need]:
    store = "{endpoint} is published by the Enactors, they follow the plan store, and the plan store"
    yield Need(tables.plan_store.place.at("listen"), region.plan_store.host, store)
    intake = "{endpoint} is planned by the Planners, they take health reports at their intake, and the intake"
    for index, address in enumerate(region.health_intake):
        yield Need(tables.planner.place.at("health-intake", index), address.host, intake)
    reports = "{endpoint} is planned from what load balancers report to the vantage points, and one of these"
    for index, address in enumerate(region.report_intake):
        yield Need(tables.vantage.place.at("report-intake", index), address.host, reports)
    watched = "{endpoint} is mended by people who watch the processes, and the host of their metrics and status"
    yield Need(tables.metrics.place.at("host"), region.metrics_host, watched)
    for entry in tables.zones.entries:
        zone = region.zones[entry.table.name]
        publish = f"{{endpoint}} is published by the Enactors, they need every zone's primary, and that of {zone.name}"
        yield Need(entry.place.at("primary"), zone.primary.host, publish)
        audit = f"{{endpoint}} is watched by the audit, it asks every zone's servers, and a secondary of {zone.name}"
        for index, secondary in enumerate(zone.secondaries):
            yield Need(entry.place.at("secondaries", index), secondary.host, audit)
        ask = f"{{endpoint}} is a name that moves, clients find {zone.name} by its nameservers, and one of these"
        for index, nameserver in enumerate(zone.nameservers):
            yield Need(entry.place.at("nameservers", index), nameserver, ask)


def _endpoint_over(host: str, region: Region) -> Endpoint | None:
    """The endpoint that `host` is, or stands under."""
    name = _name(host)
    parent = name
    while parent:
        endpoint = region.endpoints.get(parent)
        if endpoint and (parent == name or parent != endpoint.zone):
            return endpoint
        parent = parent.partition(".")[2]
    return None


def _name(host: str) -> str:
    """`host` as an absolute name; "" for an address."""
    if ":" in host or host.replace(".", "").isdigit():
        return ""
    try:
        return absolute(host)
    except InputError:
        return ""
