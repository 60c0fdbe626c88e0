"""Verbs that look and change nothing: status, events."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.lines import now_ms
from evenkeel.cli.output import (
    REGION_DEFAULT,
    Json,
    RegionArgument,
    event_line,
    is_terminal,
    load_region,
    print_json,
    say,
)
from evenkeel.cli.rendering import component_table, endpoint_table, lease_table, load_balancer_table, state_counts
from evenkeel.cli.times import since_ms
from evenkeel.model.errors import InputError, Problem
from evenkeel.model.events import Event, EventKind
from evenkeel.model.names import absolute
from evenkeel.model.region import Region
from evenkeel.region.observing import component_states, observing
from evenkeel.region.picture import BAD_STATES, EndpointState, Picture

FOLLOW_POLL_S = 0.2
WIDTH_UNBOUND = 1000  # in a pipe nothing is cut off


def add_to(app: typer.Typer) -> None:
    app.command(
        rich_help_panel="Look", epilog="Example: evenkeel status region.toml --endpoint db.demo.example --json"
    )(status)
    app.command(
        rich_help_panel="Look", epilog="Example: evenkeel events region.toml --since 10m --kind published --follow"
    )(events)


def status(
    region: RegionArgument = REGION_DEFAULT,
    endpoint: Annotated[list[str] | None, typer.Option(help="Only this endpoint; may be repeated.")] = None,
    json: Json = False,
) -> None:
    """How every endpoint stands: generation, age, by whom, health, lag; and which processes run.

    Read from the zones themselves, so it works with everything else gone. Exit code 1: an endpoint is empty or its
    fence is corrupt; 3: a zone could not be read.
    """
    found = load_region(region)
    picture = asyncio.run(_picture(found, _known(found, endpoint)))
    if json:
        print_json(picture)
    else:
        _print_picture(picture)
    states = {view.state for view in picture.endpoints} & BAD_STATES
    raise typer.Exit(0 if not states else 3 if states == {EndpointState.UNREACHABLE} else 1)


def _known(region: Region, endpoints: list[str] | None) -> list[str] | None:
    if not endpoints:
        return None
    names = [absolute(text, "--endpoint") for text in endpoints]
    problems = [
        Problem("--endpoint", f"{name!r} is no endpoint of the region", "see `evenkeel status` for all of them")
        for name in names
        if name not in region.endpoints
    ]
    if problems:
        raise InputError(problems)
    return names


async def _picture(region: Region, names: list[str] | None) -> Picture:
    async with observing(region) as observer:
        observer.ages.note(JournalReader(journal_folder(region.state_dir)).history())
        return await observer.picture(await component_states(region), names)


def _print_picture(picture: Picture) -> None:
    plan = f"plan {picture.generation} by {picture.planner}" if picture.generation > 0 else "no plan known"
    say(f"region {picture.region}: {plan}; {state_counts(picture.endpoints) or 'no endpoints'}")
    for zone, why in picture.frozen.items():
        say(f"FROZEN {zone}: {why}")
    for note in picture.notes:
        say(f"! {note}")
    for table in (
        endpoint_table(picture.endpoints, is_fitted=is_terminal()),
        load_balancer_table(picture.load_balancers),
        lease_table(picture.leases),
        component_table(picture.components, picture.at_ms),
    ):
        if table.row_count:
            say()
            _print_table(table)


def _print_table(table: Table) -> None:
    if is_terminal():
        Console(highlight=False).print(table)
        return
    console = Console(highlight=False, width=WIDTH_UNBOUND, no_color=True)
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().rstrip().split("\n")))


def events(
    region: RegionArgument = REGION_DEFAULT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come, until Ctrl-C.")] = False,
    since: Annotated[str, typer.Option(help="Only what is newer: 90s, 10m, 2h, 1d or an ISO 8601 time.")] = "",
    last: Annotated[int, typer.Option(min=0, help="At most this many of what there is; 0: all.")] = 100,
    kind: Annotated[list[EventKind] | None, typer.Option(help="Only events of this kind; may be repeated.")] = None,
    endpoint: Annotated[str, typer.Option(help="Only events of this endpoint.")] = "",
    json: Json = False,
) -> None:
    """The region's event journal: who published what, who refused what, and why.

    With --since all of it is shown, without it the last 100 events.
    """
    found = load_region(region)
    reader = JournalReader(journal_folder(found.state_dir), since_ms=since_ms(since, now_ms()) if since else 0)
    name = endpoint.lower().rstrip(".")

    def wanted(event: Event) -> bool:
        return (not kind or event.kind in kind) and (not name or event.endpoint.rstrip(".") == name)

    history = filter(wanted, reader.history())
    _show(history if since or not last else deque(history, maxlen=last), json)
    try:
        while follow:
            batch = reader.poll()
            _show(filter(wanted, batch), json)
            if not batch:
                time.sleep(FOLLOW_POLL_S)
    except KeyboardInterrupt:
        return


def _show(events: Iterable[Event], as_json: bool) -> None:
    for event in events:
        if as_json:
            print_json(event)
        else:
            say(event_line(event))
