"""Endpoints, load balancers and components as tables. Texts are taken as they are: no markup, no control characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from evenkeel.cli.output import plain
from evenkeel.cli.times import age_text
from evenkeel.model.events import Event, EventKind
from evenkeel.model.health import Standing as HealthStanding
from evenkeel.region.picture import UNKNOWN, EndpointState, EndpointView, LeaseView, LoadBalancerView
from evenkeel.region.up_state import ComponentState

STATE_STYLES = {
    EndpointState.CURRENT: "green",
    EndpointState.HELD: "cyan",
    EndpointState.BEHIND: "yellow",
    EndpointState.UNPUBLISHED: "yellow",
}
STANDING_STYLES = {"healthy": "green", "failed": "bold red", "draining": "cyan"}
ALARMS = frozenset({EventKind.EMPTY, EventKind.FENCE_CORRUPT, EventKind.WEDGED, EventKind.REFUSED, EventKind.DRIFT})
WARNINGS = frozenset(
    {EventKind.UNREACHABLE, EventKind.STOPPED, EventKind.PLAN_WITHHELD, EventKind.SUPERSEDED, EventKind.FROZEN}
)
ADDRESSES_SHOWN = 8


def endpoint_table(views: Sequence[EndpointView], *, is_fitted: bool = False) -> Table:
    """One row an endpoint. Fitted to a screen, the answer's column gives way to all others."""
    table = _table("endpoint", "state", "answer", "gen", "age", "by", "healthy")
    if is_fitted:
        table.expand = True
        table.columns[2].ratio = 1
    for number in (3, 4):
        table.columns[number].justify = "right"
    for view in views:
        health = f"{view.healthy}/{view.pool}" if view.healthy != UNKNOWN else "-"
        table.add_row(
            cell(view.name),
            cell(view.state.value + (f" {view.lag}" if view.lag > 0 else ""), STATE_STYLES.get(view.state, "bold red")),
            cell(answer_text(view) or "-"),
            cell(str(view.generation) if view.generation != UNKNOWN else "-"),
            cell(age_text(view.age_ms) if view.age_ms != UNKNOWN else "-"),
            cell(view.writer or "-"),
            cell(health, "yellow" if 0 <= view.healthy < view.pool else ""),
        )
    return table


def load_balancer_table(views: Sequence[LoadBalancerView]) -> Table:
    """One row a load balancer."""
    table = _table("load balancer", "az", "standing", "capacity", "load")
    for view in views:
        table.add_row(
            cell(view.name),
            cell(view.az),
            cell(view.standing, STANDING_STYLES.get(view.standing, "yellow")),
            cell(f"{view.capacity:g}" if view.capacity >= 0 else "-"),
            cell(f"{view.load:g}" if view.load >= 0 else "-"),
        )
    return table


def lease_table(views: Sequence[LeaseView]) -> Table:
    """One row an az of the fleet."""
    has_standbys = any(view.standbys for view in views)
    managers = ("manager", "stands by") if has_standbys else ()
    table = _table("az", *managers, "leased", "held", "epoch", "store", "ETA", "x limit", "instances")
    for view in views:
        by = (cell(view.manager), cell(", ".join(view.standbys) or "nobody")) if has_standbys else ()
        is_whole = min(view.leased, view.covered) == view.hosts
        eta = "-" if is_whole else f"{view.eta_s:.0f} s" if view.eta_s >= 0 and not view.store_is_lost else "not known"
        instances = ", ".join(f"{count} {state}" for state, count in view.instances.items())
        table.add_row(
            cell(view.az),
            *by,
            cell(f"{view.leased}/{view.hosts}", "" if is_whole else "yellow"),
            cell(str(view.covered), "" if is_whole else "yellow"),
            cell(str(view.epoch)),
            cell("LOST", "bold red") if view.store_is_lost else cell("answers", "green"),
            cell(eta, "" if is_whole else "yellow"),
            cell(f"{view.x_bound:.2f}" if view.recovering_for_s else "-"),
            cell(instances or "-"),
        )
    return table


def load_balancer_lines(views: Sequence[LoadBalancerView], width: int, lines_max: int) -> list[Text]:
    """Load balancers side by side, as many a line as fit."""
    chips = [
        Text.assemble(
            ("\N{BLACK CIRCLE} ", STANDING_STYLES.get(view.standing, "yellow")),
            plain(view.name),
            (f" {view.az}", "dim"),
            "" if view.standing == HealthStanding.HEALTHY else f" {view.standing}",
            (f" {view.load:g}/{view.capacity:g}" if min(view.load, view.capacity) >= 0 else "", "dim"),
        )
        for view in views
    ]
    if not chips:
        return []
    column = max(chip.cell_len for chip in chips) + 3
    per_line = max(1, width // column)
    lines = []
    for start in range(0, len(chips), per_line):
        line = Text(no_wrap=True, overflow="ellipsis")
        for chip in chips[start : start + per_line]:
            chip.pad_right(column - chip.cell_len)
            line.append_text(chip)
        lines.append(line)
    if len(lines) > lines_max:
        hidden = len(chips) - (lines_max - 1) * per_line
        lines[lines_max - 1 :] = [Text(f"and {hidden} more", "dim")]
    return lines


def component_table(states: dict[str, ComponentState], now_ms: int) -> Table:
    """One row a component."""
    table = _table("component", "state", "pid", "for", "restarts", "metrics")
    for name, state in states.items():
        is_running = state.state == "running"
        table.add_row(
            cell(name),
            cell(state.state, "green" if is_running else "bold red"),
            cell(str(state.pid or "-")),
            cell(age_text(now_ms - state.since_ms) if state.since_ms else "-"),
            cell(str(state.restarts), "yellow" if state.restarts else ""),
            cell(state.metrics or "-"),
        )
    return table


def event_text(event: Event, line: str) -> Text:
    """An event's line, coloured by how much it matters."""
    style = "bold red" if event.kind in ALARMS else "yellow" if event.kind in WARNINGS else ""
    return Text(line, style, no_wrap=True, overflow="ellipsis")


def answer_text(view: EndpointView) -> str:
    """`127.0.0.11 x3, 127.0.0.12 x1`; without weights where they are alike."""
    pairs = [*zip(view.a, view.a_weights, strict=True), *zip(view.aaaa, view.aaaa_weights, strict=True)]
    has_weights = len({weight for _, weight in pairs}) > 1
    shown = [f"{address} \N{MULTIPLICATION SIGN}{weight}" if has_weights else address for address, weight in pairs]
    more = len(shown) - ADDRESSES_SHOWN
    return ", ".join(shown[:ADDRESSES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def state_counts(views: Iterable[EndpointView]) -> str:
    """`22 current, 2 behind`, worst first."""
    counts = Counter(view.state for view in views)
    return ", ".join(f"{counts[state]} {state.value}" for state in EndpointState if counts[state])


def cell(text: str, style: str = "") -> Text:
    return Text(plain(text), style)


def _table(*headers: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for header in headers:
        table.add_column(header, no_wrap=True, overflow="ellipsis")
    return table
