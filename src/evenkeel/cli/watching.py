"""Verbs that look and change nothing: events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Annotated

import typer

from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.lines import now_ms
from evenkeel.cli.output import REGION_DEFAULT, Json, RegionArgument, event_line, load_region, print_json, say
from evenkeel.cli.times import since_ms
from evenkeel.model.events import Event, EventKind

FOLLOW_POLL_S = 0.2


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: evenkeel events region.toml --since 10m --kind published --follow")(events)


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
