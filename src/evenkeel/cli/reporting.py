"""`evenkeel report`: a load balancer says how it is, to every vantage point (probes of kind `reported`)."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from evenkeel.adapters.probes.reported import LoadReport, report
from evenkeel.adapters.secrets import read_secret
from evenkeel.cli.output import REGION_DEFAULT, Json, RegionOption, load_region, print_json, say
from evenkeel.model.errors import InputError, Unreachable
from evenkeel.model.health import ProbeKind
from evenkeel.model.region import HostPort, Region

EVERY_S_MIN = 0.1


def add_to(app: typer.Typer) -> None:
    app.command(
        "report",
        rich_help_panel="Run",
        epilog="Example: evenkeel report edge-a-1 --load 120 --capacity 500 --every 2 -r region.toml",
    )(report_load)


def report_load(
    load_balancer: Annotated[str, typer.Argument(help="Its name in region.toml; its probe is of kind `reported`.")],
    ready: Annotated[bool, typer.Option("--ready/--not-ready", help="Whether it takes clients.")] = True,
    draining: Annotated[bool, typer.Option("--draining", help="No new clients, please.")] = False,
    capacity: Annotated[
        float, typer.Option(help="What it can carry, in the operator's unit; as configured if left out.")
    ] = -1,
    load: Annotated[float, typer.Option(help="What it carries now, in the same unit.")] = -1,
    every: Annotated[float, typer.Option(help="Report again every so many seconds, until stopped; 0: once.")] = 0,
    region: RegionOption = REGION_DEFAULT,
    json: Json = False,
) -> None:
    """Report a load balancer's own health, capacity and load to every vantage point.

    Silence for longer than the probe's interval counts as a failed probe, so report at least that often.
    """
    found = load_region(region)
    _check(found, load_balancer, every)
    value = LoadReport(load_balancer, ready, draining, capacity, load)
    heard = asyncio.run(_send(found, value, every))
    if json:
        print_json({"load_balancer": load_balancer, "heard_by": [str(address) for address in heard]})
        return
    say(f"{load_balancer}: heard by {len(heard)} of {len(found.report_intake)} vantage points")


def _check(region: Region, name: str, every_s: float) -> None:
    balancer = region.load_balancers.get(name)
    if balancer is None:
        raise InputError.one("LOAD_BALANCER", f"{name!r} is no load balancer of the region", "see region.toml")
    if balancer.probe.kind is not ProbeKind.REPORTED:
        what = f"{name!r} is probed by {balancer.probe.kind.value}; nobody would take its word"
        raise InputError.one("LOAD_BALANCER", what, 'give it probe = { kind = "reported" }')
    if every_s and not every_s >= EVERY_S_MIN:
        raise InputError.one("--every", f"{every_s:g} s is too often", f"{EVERY_S_MIN:g} s or more; 0 reports once")


async def _send(region: Region, value: LoadReport, every_s: float) -> list[HostPort]:
    """Report, again and again where that is asked for. Raises `Unreachable` where no vantage point is there."""
    token = read_secret(region.state_dir, "report")
    while True:
        heard: list[HostPort] = []
        problems: list[str] = []
        for address in region.report_intake:
            try:
                await report(address, token, value)
                heard.append(address)
            except Unreachable as error:
                problems.append(str(error))
        if not every_s:
            if not heard:
                raise Unreachable("no vantage point takes reports: " + "; ".join(problems))
            return heard
        await asyncio.sleep(every_s)
