"""A rehearsal's figures: plain values out of an outcome, and how to read each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from evenkeel.region.rehearsing.rehearse import Outcome
from evenkeel.sim.clients import Suffered
from evenkeel.sim.script import Script
from evenkeel.sim.watching import Moment
from evenkeel.ui.figures import Figure, Line, Mark, Span, Write, generations, marked, numbered, steps, zoomed
from evenkeel.ui.telling import main_endpoint

DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - any day: figures show times of the scenario's own clock
WRITES_MAX = 5_000
AROUND_US = 12 * 60 * 1_000_000  # shown before and after what happened

FAILING = (
    "The share of each population's clients that cannot be served: they need a new connection, and their resolver has "
    "no address for them. Numbers at the top are the milestones above. A double click shows the whole run."
)
ANSWERS = (
    "Each mark is a publication of {endpoint}: its height is the plan's generation, its colour who wrote it. Dotted: "
    "the newest plan there was. A mark far below the others is an old plan over a newer one. Red: no address."
)
CAPACITY = (
    "How much of the pool's live capacity clients could no longer reach through the answer, beside the best that was "
    "offered in this run."
)


def figures_of(outcome: Outcome) -> list[tuple[Figure, str]]:
    """Every figure of one outcome, with how to read it."""
    start_us, end_us = _interesting(outcome)
    marks = _marks(outcome, end_us - start_us)
    start, end = _at(outcome.run.script, start_us), _at(outcome.run.script, end_us)
    found: list[tuple[Figure, str]] = []
    if outcome.clients:
        lines = [_failing_line(each, outcome.run.script) for each in outcome.clients.values()]
        found.append((steps("Clients that are not served", lines, " %", top=105), FAILING))
    endpoint = main_endpoint(outcome)
    if endpoint in outcome.run.moments:
        found.append((_generations(outcome, endpoint), ANSWERS.format(endpoint=endpoint.rstrip("."))))
    if any(lost for _, lost in outcome.capacity_lost.get(endpoint, [])):
        found.append((_capacity(outcome, endpoint), CAPACITY))
    return [(zoomed(marked(figure, marks), start, end), how_to_read) for figure, how_to_read in found]


def _at(script: Script, at_us: int) -> str:
    return (DAY + timedelta(seconds=script.starts_s, microseconds=at_us)).isoformat(timespec="milliseconds")


def _marks(outcome: Outcome, shown_us: int) -> list[Mark]:
    """One line a milestone, numbered as in the table."""
    script = outcome.run.script
    came = [(each.at_us, number + 1) for number, each in enumerate(outcome.milestones) if each.at_us >= 0]
    return numbered([(at_us, number, _at(script, at_us)) for at_us, number in came], shown_us / 60)


def _interesting(outcome: Outcome) -> tuple[int, int]:
    """From a while before the first thing that happened to a while after the last."""
    run = outcome.run
    times = [at_us for at_us, _ in run.happened.steps]
    times += [each.at_us for each in outcome.milestones if each.at_us >= 0]
    times += [at_us for each in outcome.clients.values() if (at_us := each.recovered_at_us()) is not None]
    times += [at_us + step.for_us for at_us, step in run.happened.steps]
    if not times:
        return 0, run.virtual_us
    around_us = min(AROUND_US, run.virtual_us // 8)
    return max(0, min(times) - around_us), min(run.virtual_us, max(times) + around_us)


def _failing_line(suffered: Suffered, script: Script) -> Line:
    """Only where it changes."""
    at, values = [_at(script, 0)], [suffered.failing[0] / 10 if suffered.failing else 0.0]
    for window, share in enumerate(suffered.failing):
        if share / 10 != values[-1]:
            at.append(_at(script, window * suffered.window_us))
            values.append(share / 10)
    at.append(_at(script, len(suffered.failing) * suffered.window_us))
    values.append(values[-1])
    return Line(suffered.name, at, values)


def _generations(outcome: Outcome, endpoint: str) -> Figure:
    run = outcome.run
    moments = run.moments[endpoint]
    writes = [Write(_at(run.script, m.at_us), m.generation, m.by, _note(m)) for m in moments[:WRITES_MAX]]
    plans = Line("newest plan", [_at(run.script, at_us) for at_us, _ in run.plans], [g for _, g in run.plans])
    title = f"What {endpoint.rstrip('.')} showed, and who wrote it"
    return generations(title, writes, plans, _empty_spans(moments, run.virtual_us, run.script))


def _note(moment: Moment) -> str:
    return "no address is left" if moment.is_empty else f"{len(moment.addresses)} addresses"


def _empty_spans(moments: Sequence[Moment], until_us: int, script: Script) -> list[Span]:
    spans: list[Span] = []
    for moment, after in zip(moments, [*moments[1:], None], strict=True):
        if moment.is_empty:
            end_us = after.at_us if after is not None else until_us
            label = "no address" if not spans else ""
            spans.append(Span(_at(script, moment.at_us), _at(script, end_us), label))
    return spans


def _capacity(outcome: Outcome, endpoint: str) -> Figure:
    lost, script = outcome.capacity_lost[endpoint], outcome.run.script
    at = [_at(script, at_us) for at_us, _ in lost] + [_at(script, outcome.run.virtual_us)]
    values = [share / 10 for _, share in lost]
    return steps(
        "Capacity that the answer does not offer", [Line("capacity lost", at, [*values, values[-1]])], " %", 105
    )
