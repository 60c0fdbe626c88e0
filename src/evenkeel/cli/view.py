"""The live view of `evenkeel up`: endpoints, load balancers, components in trouble, events; redrawn as they change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.lines import now_ms
from evenkeel.cli.output import event_line
from evenkeel.cli.rendering import (
    component_table,
    endpoint_table,
    event_text,
    load_balancer_lines,
    state_counts,
)
from evenkeel.cli.times import age_text
from evenkeel.model.errors import EvenkeelError
from evenkeel.model.events import Event
from evenkeel.model.health import Standing as HealthStanding
from evenkeel.model.region import Region
from evenkeel.region.addresses import dig_line
from evenkeel.region.observing import Observer, observing
from evenkeel.region.picture import BAD_STATES, EndpointView, LoadBalancerView, Picture
from evenkeel.region.up import Up
from evenkeel.region.up_state import ComponentState

REDRAW_S = 0.25
PICTURE_S = 0.5
REOPEN_S = 2.0
EVENTS_KEPT = 200
EVENTS_SHARE = 0.3  # of the screen's height
ENDPOINTS_READ_MAX = 2_000  # in a larger region only so many are looked at, to spare this machine
LOAD_BALANCER_LINES_MAX = 4
TROUBLED_MAX = 4
ROWS_MIN = 3
EVENTS_MIN = 3
SKIP_DATE = len("2026-11-21 ")  # of an event's line: a view has no room for it


@dataclass(slots=True)
class Screen:
    """What there is to show now, and how it is laid out."""

    region: Region
    started_s: float
    picture: Picture | None = None
    is_stopping: bool = False
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))

    def draw(self, states: dict[str, ComponentState], width: int, height: int) -> RenderableType:
        """Everything, cut to `width` columns and `height` lines."""
        picture = self.picture or Picture(self.region.name, now_ms())
        notes = [Text(f"! {note}", "yellow", no_wrap=True, overflow="ellipsis") for note in picture.notes[:3]]
        top: list[RenderableType] = [self._head(picture, states), *notes, self._hint()]
        # Endpoints and events have two lines of their own (a rule, a header) and a rule, and a few rows at the least.
        spare = height - len(top) - 3 - ROWS_MIN - EVENTS_MIN
        bottom: list[RenderableType] = []
        for section in (self._troubled(states), self._balancers(picture, width)):
            lines = sum(part.row_count + 1 if isinstance(part, Table) else 1 for part in section)
            if lines <= spare:
                bottom += section
                spare -= lines
        endpoints = worst_first(picture.endpoints)
        shared = max(spare, 0) + ROWS_MIN + EVENTS_MIN
        event_lines = max(EVENTS_MIN, int(height * EVENTS_SHARE), shared - len(endpoints))
        event_lines = min(event_lines, shared - ROWS_MIN)
        rows = shared - event_lines
        return Group(
            *top,
            _rule(_endpoints_title(endpoints, rows)),
            endpoint_table(endpoints[:rows], is_fitted=True),
            *bottom,
            _rule("events"),
            *(event_text(event, event_line(event)[SKIP_DATE:]) for event in list(self.events)[-event_lines:]),
        )

    def _troubled(self, states: dict[str, ComponentState]) -> list[RenderableType]:
        troubled = [(name, state) for name, state in states.items() if state.state != "running"][:TROUBLED_MAX]
        return [_rule("not running"), component_table(dict(troubled), now_ms())] if troubled else []

    def _balancers(self, picture: Picture, width: int) -> list[RenderableType]:
        worst = worst_standing_first(picture.load_balancers)
        lines = load_balancer_lines(worst, width, LOAD_BALANCER_LINES_MAX)
        return [_rule("load balancers (load/capacity)"), *lines] if lines else []

    def _head(self, picture: Picture, states: dict[str, ComponentState]) -> Text:
        running = sum(state.state == "running" for state in states.values())
        facts = [
            picture.region,
            state_counts(picture.endpoints) or "zones not read yet",
            f"plan {picture.generation} by {picture.planner}" if picture.generation > 0 else "no plan yet",
            f"{running}/{len(states)} processes",
            f"up {age_text(int((time.monotonic() - self.started_s) * 1000))}",
        ]
        has_alarm = any(view.state in BAD_STATES for view in picture.endpoints)
        text = Text("evenkeel", "bold red" if has_alarm else "bold green", no_wrap=True, overflow="ellipsis")
        text.append(" \N{MIDDLE DOT} " + " \N{MIDDLE DOT} ".join(facts), "default not bold")
        for zone, why in picture.frozen.items():
            text.append(f" \N{MIDDLE DOT} FROZEN {zone} ({why})", "bold cyan")
        return text

    def _hint(self) -> Text:
        if self.is_stopping:
            return Text("stopping in order; Ctrl-C again kills", "bold yellow", no_wrap=True, overflow="ellipsis")
        return Text(f"try: {dig_line(self.region)}   stop: Ctrl-C", "dim", no_wrap=True, overflow="ellipsis")


def worst_first(views: Sequence[EndpointView]) -> list[EndpointView]:
    """What needs an eye on top; else the file's order, so that rows stay where they are."""
    return sorted(views, key=lambda view: view.state not in BAD_STATES)


def worst_standing_first(views: Sequence[LoadBalancerView]) -> list[LoadBalancerView]:
    return sorted(views, key=lambda view: view.standing == HealthStanding.HEALTHY)


async def show(up: Up, reader: JournalReader, stopping: asyncio.Event) -> None:
    """Draw until `stopping` is set, and a last time when all has ended (the caller cancels)."""
    screen = Screen(up.region, time.monotonic())
    console = Console()
    looking = asyncio.create_task(_look(screen, up, stopping))
    try:
        with Live(console=console, screen=True, auto_refresh=False, transient=True) as live:
            while True:
                screen.events.extend(reader.poll())
                screen.is_stopping = stopping.is_set()
                live.update(screen.draw(up.supervisor.states(), console.width, console.height), refresh=True)
                await asyncio.sleep(REDRAW_S)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _look(screen: Screen, up: Up, stopping: asyncio.Event) -> None:
    """Take pictures; a view must never end the region that it shows, so what goes wrong is a note."""
    names = list(up.region.endpoints)[:ENDPOINTS_READ_MAX]
    while not stopping.is_set():
        try:
            async with observing(up.region) as observer:
                history = JournalReader(journal_folder(up.region.state_dir)).history()
                await asyncio.to_thread(observer.ages.note, history)
                await _take_pictures(screen, up, observer, names, stopping)
        except EvenkeelError as error:
            screen.picture = Picture(up.region.name, now_ms(), notes=(str(error),))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), REOPEN_S)


async def _take_pictures(screen: Screen, up: Up, observer: Observer, names: list[str], stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        observer.ages.note(screen.events)
        screen.picture = await observer.picture(up.supervisor.states(), names)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), PICTURE_S)


def _endpoints_title(endpoints: Sequence[EndpointView], rows: int) -> str:
    return "endpoints" if len(endpoints) <= rows else f"endpoints ({rows} of {len(endpoints)})"


def _rule(title: str) -> Rule:
    return Rule(Text(title), style="dim", align="left")
