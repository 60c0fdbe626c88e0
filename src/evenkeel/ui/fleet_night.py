"""A fleet's rehearsal on a terminal and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import starmap
from typing import Any

from evenkeel import __version__
from evenkeel.region.rehearsing.fleet import FleetOutcome, FleetScenario, fleet_milestones
from evenkeel.sim.fleet.scene import Minute
from evenkeel.ui.figures import Figure, Line, marked, numbered, steps, zoomed
from evenkeel.ui.markup import Markup, element, joined, row, table
from evenkeel.ui.shell import document, drawn_figure

DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - any day: figures show times of the scenario's own clock
NEARLY_NONE = 0.01  # of all hosts
AFTER_S = 3600.0  # shown after the last thing that happened

HELD = (
    "Hosts that hold a lease by their own clock. Numbers at the top are those of the account above. A double click "
    "shows the whole night."
)
WORK = (
    "Leases established in each minute beside the most that the managers can do. Work at the limit while the figure "
    "above stays at nothing is congestive collapse: every grant comes after its host has given that request up."
)
QUEUE = "Requests that wait at the managers at each minute's end."
LAUNCHES = "Customers' launches that went well, of those asked for in each minute."


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened; `at_s` since the start."""

    at_s: float
    text: str
    is_bad: bool = False


def fleet_summary(outcome: FleetOutcome) -> list[str]:
    """The outcome for people."""
    scenario, came = outcome.scenario, outcome.came
    lines = [
        f"{scenario.title} (policy {outcome.preset})",
        f"  leases held at the least    {came.measured.held_min:,} of {scenario.night.hosts:,}",
        f"  every lease held again      {_clock(scenario, came.leased_at_s)}",
        f"  recovery over its limit     {_times(outcome.x_bound)} of {came.bound_s / 60:.0f} min",
        f"  launches well again         {_clock(scenario, came.launches_well_at_s)}",
        f"  launches that succeeded     {came.launched_share:.1%}",
    ]
    if outcome.sweep_x_bound is not None:
        lines.append(f"  had every lease been lost   {outcome.sweep_x_bound:.3f} of the limit, by the sweep")
    return [*lines, f"  {'as expected' if outcome.is_good else 'NOT as expected'}; {outcome.wall_s:.1f} s"]


def fleet_sensitivity_lines(found: dict[str, Any]) -> list[str]:
    """One line a value of an assumption, beside the night as assumed."""
    lines = [f"{'assumption':<18} {'value':>9}  all leased  {'x limit':>7}  held at least  launches well"]
    for each in [found["base"], *found["rows"]]:
        leased = each["leased_at"] or "never"
        lines.append(
            f"{each['assumption']:<18} {each['value']!s:>9}  {leased:>10}  {_times(each['x_bound']):>7}  "
            f"{each['held_min_share']:>13.0%}  {each['launched_share']:>13.1%}"
        )
    return lines


def fleet_account(outcome: FleetOutcome) -> list[Told]:
    """What happened, in order, told from the run's minutes."""
    return sorted(_account(outcome), key=lambda told: told.at_s)


def _account(outcome: FleetOutcome) -> Iterator[Told]:
    night, came, minutes = outcome.scenario.night, outcome.came, outcome.came.measured.minutes
    yield Told(night.store_lost_s, "The managers can no longer reach their store.")
    none_held = next((m for m in minutes if m.ends_s > night.store_lost_s and m.held < NEARLY_NONE * night.hosts), None)
    if came.measured.held_min == night.hosts:
        text = "The store is back. No lease has ended meanwhile: the lease clock stood still."
    else:
        text = "The store is back, and every host without a lease asks for one."
    yield Told(night.store_back_s, text)
    if none_held is not None:
        yield Told(none_held.ends_s, "Next to no host holds a lease any more; launches find no host.", True)
        yield from _collapse(outcome, night.store_back_s, min(night.remedy_s, came.leased_at_s or night.remedy_s))
        if outcome.came.measured.scene.levers:
            what = f"lets {night.throttle_per_s:g} hosts a second in, and throws the queues away."
            yield Told(night.remedy_s, f"An operator {what}")
    if came.leased_at_s is None:
        yield Told(night.lasts_s, "The night is over, and not every lease is held.", True)
    else:
        yield Told(came.leased_at_s, f"Every lease is held, at {_times(outcome.x_bound)} of the limit.")


def _collapse(outcome: FleetOutcome, from_s: float, until_s: float) -> Iterator[Told]:
    """What the managers did between the store's return and the remedy."""
    during = [m for m in outcome.came.measured.minutes if from_s < m.ends_s <= until_s]
    if not during:
        return
    established, best = sum(m.established for m in during), max(m.held for m in during)
    if established > 2 * best:
        text = (
            f"The managers have established {established:,} leases since the store is back, and at no moment did "
            f"{f'more than {best:,} hosts' if best else 'a host'} hold one; {during[-1].queued:,} requests wait."
        )
        yield Told(during[-1].ends_s - 30.0, text, True)


def fleet_page(outcomes: Sequence[FleetOutcome]) -> str:
    """One night under each policy, on one page that needs nothing else."""
    scenario = outcomes[0].scenario
    body = element(
        "main",
        _head(scenario, outcomes[0].scenario.night.seed),
        element("section", *map(_tiles, outcomes), kind="columns"),
        *(_section(number, outcome) for number, outcome in enumerate(outcomes)),
        _assumptions(scenario),
        _again(outcomes),
    )
    return document(scenario.title, body)


def _head(scenario: FleetScenario, seed: int) -> Markup:
    night = scenario.night
    span = f"{scenario.clock_text(0)} to {scenario.clock_text(night.lasts_s)} {scenario.clock}"
    size = f"{night.hosts:,} hosts, {night.capacity_per_s:g} leases a second at most"
    return element(
        "header",
        element("p", "evenkeel rehearsal", kind="kind"),
        element("h1", scenario.title),
        element("p", f"{size}; {span} ({night.lasts_s / 3600:g} h); seed {seed}", kind="facts"),
        element("p", scenario.story, kind="story"),
    )


def _tiles(outcome: FleetOutcome) -> Markup:
    scenario, came = outcome.scenario, outcome.came
    rows = [
        (f"{came.measured.held_min:,}", f"of {scenario.night.hosts:,} leases held, at the least"),
        (_clock(scenario, came.leased_at_s), "every lease held again"),
        (_times(outcome.x_bound), f"of the physical limit of {came.bound_s / 60:.0f} min, from the store's return"),
        (f"{came.launched_share:.1%}", "of all launches went well"),
    ]
    if outcome.sweep_x_bound is not None:
        rows.append((f"{outcome.sweep_x_bound:.3f}", "of the limit, had every lease been lost"))
    tiles = [element("div", element("b", value), element("span", what), kind="tile") for value, what in rows]
    is_hurt = came.measured.held_min < scenario.night.hosts
    verdict = "as expected" if outcome.is_good else "not as expected"
    title = element("h2", outcome.preset.value)
    return element(
        "div", title, element("p", verdict, kind="verdict"), *tiles, kind=f"column {'bad' if is_hurt else 'good'}"
    )


def _section(number: int, outcome: FleetOutcome) -> Markup:
    drawn = [drawn_figure(f"figure-{number}-{place}", *each) for place, each in enumerate(_figures(outcome))]
    return element(
        "section",
        element("h2", "Under ", element("code", outcome.preset.value)),
        element("h3", "What happened"),
        element("ol", *starmap(partial(_item, outcome.scenario), enumerate(fleet_account(outcome))), kind="account"),
        *drawn,
        _milestones(outcome),
    )


def _item(scenario: FleetScenario, index: int, told: Told) -> Markup:
    time, number = element("time", scenario.clock_text(told.at_s)), element("span", f"{index + 1}. ", kind="quiet")
    return element("li", time, " ", number, told.text, kind="alarm" if told.is_bad else "")


def _figures(outcome: FleetOutcome) -> list[tuple[Figure, str]]:
    """Every figure of one night, with how to read it."""
    scenario, minutes = outcome.scenario, outcome.came.measured.minutes
    night = scenario.night
    at = [_at(scenario, minute.ends_s - 60.0) for minute in minutes]
    held = [100.0 * count / night.hosts for _, count in outcome.came.measured.held]
    held_at = [_at(scenario, at_s) for at_s, _ in outcome.came.measured.held]
    limit = [60.0 * night.capacity_per_s] * len(minutes)
    work = [Line("established", at, [float(m.established) for m in minutes]), Line("the limit", at, limit)]
    queue = [Line("waiting", at, [float(m.queued) for m in minutes])]
    launches = [Line("went well", at, [_launched_share(m) for m in minutes])]
    found = [
        (steps("Hosts that hold a lease", [Line("hosts", held_at, held)], " %", top=105), HELD),
        (steps("Leases established", work, " a minute"), WORK),
        (steps("Requests that wait", queue, ""), QUEUE),
        (steps("Launches that went well", launches, " %", top=105), LAUNCHES),
    ]
    account = fleet_account(outcome)
    ends_s = min(account[-1].at_s + AFTER_S, night.lasts_s)
    moments = [(told.at_s, number + 1, _at(scenario, told.at_s)) for number, told in enumerate(account)]
    marks, start, end = numbered(moments, ends_s / 60), _at(scenario, 0), _at(scenario, ends_s)
    return [(zoomed(marked(figure, marks), start, end), how_to_read) for figure, how_to_read in found]


def _launched_share(minute: Minute) -> float:
    return 100.0 * min(1.0, minute.launched / minute.launches_asked) if minute.launches_asked else 100.0


def _milestones(outcome: FleetOutcome) -> Markup:
    scenario, rows = outcome.scenario, []
    for each in fleet_milestones(outcome):
        expected, off = each["expected_s"], each["off_s"]
        cells = (
            _clock(scenario, outcome.came.leased_at_s),
            str(each["name"]),
            scenario.clock_text(expected) if isinstance(expected, float) else "",
            f"{off:+.0f} s" if isinstance(off, float) else "",
        )
        rows.append(row(cells, kind="" if each["met"] else "alarm"))
    return joined([element("h3", "Milestones"), table(("came at", "what", "expected", "off by"), rows)])


def _assumptions(scenario: FleetScenario) -> Markup:
    rows = [
        row(
            (name, value, " to ".join(map(str, scenario.others[name])), scenario.reasons[name]),
            ("", "", "nowrap", "quiet"),
        )
        for name, value in scenario.assumed.items()
    ]
    command = element("code", f"evenkeel rehearse {scenario.name} --sensitivity")
    return element(
        "section",
        element("h2", "Assumptions"),
        element("p", "What is not known, and was chosen; ", command, " says what hangs on each."),
        table(("what", "value", "may be", "why"), rows),
    )


def _again(outcomes: Sequence[FleetOutcome]) -> Markup:
    kinds = ("", "", "number", "number")
    rows = [
        row(
            (
                each.preset.value,
                element("code", each.came.measured.digest),
                f"{each.came.measured.grants + each.came.measured.renewals:,}",
                f"{each.wall_s:.0f} s",
            ),
            kinds,
        )
        for each in outcomes
    ]
    command = element("code", f"evenkeel rehearse {outcomes[0].scenario.name}")
    said = f" with evenkeel {__version__}. The digest is over every host's lease at the end."
    return element(
        "section",
        element("h2", "Again"),
        element("p", "The same seed gives the same run, to the byte: ", command, said),
        table(("policy", "digest (SHA-256)", "grants and renewals", "took"), rows, kinds),
    )


def _at(scenario: FleetScenario, at_s: float) -> str:
    return (DAY + timedelta(seconds=scenario.starts_s + at_s)).isoformat(timespec="seconds")


def _clock(scenario: FleetScenario, at_s: float | None) -> str:
    return "never that night" if at_s is None else f"{scenario.clock_text(at_s)} {scenario.clock}"


def _times(x_bound: float | None) -> str:
    return "-" if x_bound is None else f"{x_bound:.3f}"
