"""The settings of processes and policy, where defaults depend on the rest of the region."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from evenkeel.model.health import ProbeKind
from evenkeel.model.policy import DNS_PRESETS, DnsPolicy
from evenkeel.model.region import HostPort, PlannerSettings
from evenkeel.region.config.load_balancers import LoadBalancers
from evenkeel.region.config.report import Report
from evenkeel.region.config.shapes import PlannerTable, PolicyTable, VantageTable
from evenkeel.region.config.tables import Entry, Tables
from evenkeel.region.config.zones import UNSPECIFIED

PLANNERS = 2
LOOPBACK = "127.0.0.1"
HEALTH_INTAKE_PORT = 5311
REPORT_INTAKE_PORT = 5321
QUORUM = 2


def build_policy(table: PolicyTable) -> DnsPolicy:
    """The preset, with the switches that are given."""
    switches: dict[str, Any] = table.model_dump(exclude={"preset"}, exclude_none=True)
    return replace(DNS_PRESETS[table.preset], **switches)


@dataclass(frozen=True, slots=True)
class Planning:
    """How many Planners, where vantage points report to each, and how they move."""

    count: int
    health_intake: tuple[HostPort, ...]
    settings: PlannerSettings


def build_planning(entry: Entry[PlannerTable], azs: tuple[str, ...], report: Report) -> Planning:
    """`azs` empty: unknown, through a fault reported elsewhere."""
    table = entry.table
    count = table.count or (len(table.health_intake) if table.health_intake else PLANNERS)
    intake = tuple(table.health_intake or _row(HEALTH_INTAKE_PORT, count))
    if len(intake) != count:
        what = f"{len(intake)} addresses for {count} Planners"
        report.add(entry.place.at("health-intake"), what, "give one for each, or leave out one of the two keys")
    for index, address in enumerate(table.health_intake or ()):
        if address.host in UNSPECIFIED:
            place = entry.place.at("health-intake", index)
            report.add(place, f"{address} is no address to report to", "use the Planner's own address")
    quorum = table.quorum or (min(QUORUM, len(azs)) if azs else QUORUM)
    if azs and quorum > len(azs):
        what = f"a quorum of {quorum} is more than the {len(azs)} azs, each of which has one vantage point"
        report.add(entry.place.at("quorum"), what, f"use at most {len(azs)}")
    given = {field.name: getattr(table, field.name) for field in fields(PlannerSettings)}
    return Planning(count, intake, PlannerSettings(**(given | {"quorum": quorum})))


def _row(port_first: int, count: int) -> tuple[HostPort, ...]:
    return tuple(HostPort(LOOPBACK, port_first + number) for number in range(count))


def build_report_intake(
    entry: Entry[VantageTable], azs: tuple[str, ...], load_balancers: LoadBalancers, report: Report
) -> tuple[HostPort, ...]:
    """Where load balancers report themselves: one address an az, none where no probe is `reported`."""
    given = entry.table.report_intake
    if given is None:
        probes = (each.value.probe for each in load_balancers.by_name.values())
        is_needed = any(probe.kind is ProbeKind.REPORTED for probe in probes)
        return _row(REPORT_INTAKE_PORT, len(azs)) if is_needed else ()
    if azs and len(given) != len(azs):
        what = f"{len(given)} addresses for {len(azs)} azs"
        report.add(entry.place.at("report-intake"), what, "give one for the vantage point of each az, in their order")
    for index, address in enumerate(given):
        if address.host in UNSPECIFIED:
            place = entry.place.at("report-intake", index)
            report.add(place, f"{address} is no address to report to", "use the vantage point's own address")
    return tuple(given)


def check_settings(tables: Tables, load_balancers: LoadBalancers, report: Report) -> None:
    """What is wrong with the plan store's address and with demo backends."""
    plan_store, demo = tables.plan_store, tables.demo
    if plan_store.table.listen.host in UNSPECIFIED:
        what = f"{plan_store.table.listen} is no address to connect to"
        report.add(plan_store.place.at("listen"), what, "use the plan store's own address")
    count = len(load_balancers.by_name)
    if demo.table.backends > count and load_balancers.is_whole and not load_balancers.lost:
        what = f"{demo.table.backends} backends are more than the {count} load balancers"
        report.add(demo.place.at("backends"), what, f"use at most {count}")
    https = [name for name, each in load_balancers.by_name.items() if each.value.probe.kind is ProbeKind.HTTPS]
    if demo.table.backends and https:
        what = f"a demo backend has no certificate, and {https[0]} is probed by https"
        report.add(demo.place.at("backends"), what, "probe it by `http` or `tcp`, or leave `backends` at 0")
