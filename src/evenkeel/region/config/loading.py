"""From region.toml to a `Region`, or to a report of everything that is wrong with it.

    text -> TOML document -> tables (shapes, types, ranges) -> load balancers, zones, endpoints, settings -> Region

Every step goes on past what is wrong, with what is sound, so that one run tells all; only a file that is not TOML ends
at once.
"""

from __future__ import annotations

from pathlib import Path

from evenkeel.model.region import Region
from evenkeel.region.config.circles import check_circles
from evenkeel.region.config.documents import read_document
from evenkeel.region.config.endpoints import build_endpoints
from evenkeel.region.config.fleet import build_fleet
from evenkeel.region.config.listeners import check_listeners
from evenkeel.region.config.load_balancers import build_load_balancers
from evenkeel.region.config.pools import Pools
from evenkeel.region.config.report import Report
from evenkeel.region.config.settings import build_planning, build_policy, build_report_intake, check_settings
from evenkeel.region.config.shapes import RegionTable
from evenkeel.region.config.tables import Entry, Tables, read_tables
from evenkeel.region.config.zones import build_zones


def load(path: Path) -> Region:
    """The region that the file describes. Raises `InputError` with every problem in it.

    Paths in the file are relative to its folder; `state_dir` comes out absolute.
    """
    text, document = read_document(path)
    report = Report(str(path), text)
    tables = read_tables(document, report)
    region = _build(tables, path.resolve().parent, report)
    check_circles(region, tables, report)
    check_listeners(region, tables, report)
    report.raise_if_any()
    return region


def _build(tables: Tables, folder: Path, report: Report) -> Region:
    azs = _azs(tables.region, report)
    policy = build_policy(tables.policy.table)
    planning = build_planning(tables.planner, azs, report)
    zones = build_zones(tables.zones, report)
    load_balancers = build_load_balancers(tables, azs, folder, report)
    check_settings(tables, load_balancers, report)
    pools = Pools(load_balancers, planning.settings.weight_steps, report)
    endpoints = build_endpoints(tables, zones, pools, policy, folder, report)
    table = tables.region.table if tables.region else None
    return Region(
        name=table.name if table else "",
        azs=azs or ("unknown",),  # the report is raised then; a region has one at least
        zones=zones,
        load_balancers={name: each.value for name, each in load_balancers.by_name.items()},
        endpoints=endpoints,
        policy=policy,
        planner=planning.settings,
        plan_store=tables.plan_store.table.listen,
        health_intake=planning.health_intake,
        metrics_host=tables.metrics.table.host,
        metrics_port_base=tables.metrics.table.port_base,
        planners=planning.count,
        enactors=tables.enactor.table.count or len(azs),
        audit_every_s=tables.audit.table.every_s,
        state_dir=str((folder / (table.state_dir if table else "state")).absolute()),
        generations_kept=tables.plan_store.table.generations_kept,
        report_intake=build_report_intake(tables.vantage, azs, load_balancers, report),
        backends=tables.demo.table.backends,
        fleet=build_fleet(tables, azs, endpoints, load_balancers, report),
    )


def _azs(entry: Entry[RegionTable] | None, report: Report) -> tuple[str, ...]:
    """The azs; empty where they are at fault."""
    if entry is None or not entry.is_sound("azs"):
        return ()
    azs = tuple(entry.table.azs)
    for index, az in enumerate(azs):
        if az in azs[:index]:
            report.add(entry.place.at("azs", index), f"the az {az} stands twice", "remove one")
    return tuple(dict.fromkeys(azs))
