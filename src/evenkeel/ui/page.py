"""A rehearsal as one HTML page that needs nothing else: scripts, styles and data are inside."""

from __future__ import annotations

from collections.abc import Sequence

from evenkeel import __version__
from evenkeel.region.rehearsing.rehearse import Outcome, figures
from evenkeel.sim.milestones import Reached
from evenkeel.sim.script import Script, clock_text, seconds_text
from evenkeel.sim.trace import Noted
from evenkeel.ui.markup import Markup, element, joined, row, table
from evenkeel.ui.rehearsed import figures_of
from evenkeel.ui.shell import document, drawn_figure
from evenkeel.ui.summary import step_text
from evenkeel.ui.telling import TOLD_KINDS, main_endpoint, why_it_broke

EVENTS_MAX = 300


def page(outcomes: Sequence[Outcome]) -> str:
    """The first outcome in full, the others beside it, on one page."""
    first = outcomes[0]
    body = element(
        "main",
        _head(first),
        element("section", *map(_tiles, outcomes), kind="columns"),
        *(_section_of(number, outcome) for number, outcome in enumerate(outcomes)),
        _assumptions(first),
        _again(outcomes),
    )
    return document(first.run.script.title, body)


def _head(outcome: Outcome) -> Markup:
    run, script = outcome.run, outcome.run.script
    size = f"{run.endpoints:,} endpoints, {len(run.region.load_balancers):,} load balancers, {run.records:,} records"
    span = f"{clock_text(script, 0)} to {clock_text(script, run.virtual_us)} {script.clock}"
    return element(
        "header",
        element("p", "evenkeel rehearsal", kind="kind"),
        element("h1", script.title),
        element("p", f"{size}; {span} ({seconds_text(run.virtual_us)}); seed {run.seed}", kind="facts"),
        element("p", script.story, kind="story"),
    )


def _tiles(outcome: Outcome) -> Markup:
    """The figures that count, one column a policy."""
    found = figures(outcome)
    failed = sum(each.failed for each in outcome.clients.values())
    asked = sum(each.requests for each in outcome.clients.values())
    worst = max((each.worst for each in outcome.clients.values()), default=0)
    longest = max(outcome.run.empty_us.values(), default=0)
    rows = [
        (
            f"{failed:,}",
            f"requests failed ({failed / asked:.2%})" if asked else "requests failed; there are no clients",
        ),
        (f"{worst / 10:.0f}%", "of a population's clients failing at the worst moment"),
        (seconds_text(longest) if longest else "0 s", "without an address, the longest of all endpoints"),
        (str(found["empty_answers"]), "times an endpoint lost its last address"),
    ]
    tiles = [element("div", element("b", value), element("span", what), kind="tile") for value, what in rows]
    verdict = "as the scenario asks" if outcome.is_good else "; ".join(outcome.failures)
    is_hurt = bool(failed or found["empty_answers"])
    title = element("h2", outcome.policy)
    state = "bad" if is_hurt or not outcome.is_good else "good"
    return element("div", title, element("p", verdict, kind="verdict"), *tiles, kind=f"column {state}")


# --- one policy -----------------------------------------------------------------------------------------


def _section_of(number: int, outcome: Outcome) -> Markup:
    drawn = [drawn_figure(f"figure-{number}-{place}", *each) for place, each in enumerate(figures_of(outcome))]
    return element(
        "section",
        element("h2", "Under ", element("code", outcome.policy)),
        _account(outcome),
        _milestones(outcome.milestones, outcome.run.script),
        *drawn,
        _invariants(outcome),
        _clients(outcome),
        _steps(outcome),
        _events(outcome),
    )


def _account(outcome: Outcome) -> Markup:
    """What broke and why, in sentences."""
    endpoint = main_endpoint(outcome)
    name = endpoint.rstrip(".")
    sentences = why_it_broke(outcome, endpoint)
    if not sentences:
        shown = len(outcome.run.moments.get(endpoint, []))
        fine = "was never without an address, and never went back to an older plan"
        return element("p", f"{name} was published {shown} times, {fine}.")
    items = [_item(outcome, each.at_us, each.text, "alarm" if each.is_bad else "") for each in sentences]
    return joined([element("h3", f"What happened to {name}"), element("ol", *items, kind="account")])


def _item(outcome: Outcome, at_us: int, text: str, kind: str = "") -> Markup:
    return element("li", element("time", clock_text(outcome.run.script, at_us)), " ", text, kind=kind)


def _milestones(reached: Sequence[Reached], script: Script) -> Markup:
    if not reached:
        return Markup()
    head = ("#", "came at", "what", "expected", "off by", "where the expected time is from")
    rows = [_milestone_row(number + 1, each, script) for number, each in enumerate(reached)]
    return joined([element("h3", "Milestones"), table(head, rows)])


def _milestone_row(number: int, each: Reached, script: Script) -> Markup:
    milestone = each.milestone
    came = clock_text(script, each.at_us) if each.at_us >= 0 else "never"
    expected, off = "", ""
    if milestone.expected_us >= 0:
        expected = clock_text(script, milestone.expected_us)
        late = f"{'+' if each.off_us >= 0 else '-'}{abs(each.off_us) // 1_000_000} s " if each.at_us >= 0 else ""
        off = late + ("✓" if each.is_met else "✗")
    cells = (number, element("time", came), milestone.name, expected, off, milestone.source)
    return row(cells, ("", "", "", "", "", "quiet"), kind="" if each.is_met else "alarm")


def _invariants(outcome: Outcome) -> Markup:
    rows = []
    for each in outcome.judged:
        first = each.first
        at = clock_text(outcome.run.script, first.at_us) if first is not None else ""
        told = f"{at} {first.endpoint.rstrip('.')}: {first.detail}" if first is not None else ""
        state = "holds" if each.holds else f"broken {each.broken}×"
        cells = (each.invariant.value, state, "yes" if each.is_required else "", told)
        rows.append(row(cells, ("", "nowrap", "", "quiet"), kind="" if each.holds else "alarm"))
    return joined([element("h3", "Invariants"), table(("what", "", "asked for", "first broken"), rows)])


def _clients(outcome: Outcome) -> Markup:
    if not outcome.clients:
        return Markup()
    head = ("population", "requests", "failed", "share", "minutes without service, on average", "failing at worst")
    kinds = ("", *["number"] * 5)
    rows = [
        row(
            (
                each.name,
                f"{each.requests:,}",
                f"{each.failed:,}",
                f"{each.failed_share:.2%}",
                f"{each.no_answer_min:.1f}",
                f"{each.worst / 10:g}%",
            ),
            kinds,
        )
        for each in outcome.clients.values()
    ]
    return joined([element("h3", "Clients"), table(head, rows, kinds)])


def _steps(outcome: Outcome) -> Markup:
    items = [_item(outcome, at_us, step_text(step)) for at_us, step in outcome.run.happened.steps[:EVENTS_MAX]]
    if not items:
        return Markup()
    title = element("h3", "What was done to the region, and by its operators")
    return joined([title, element("ol", *items, kind="account")])


def _events(outcome: Outcome) -> Markup:
    told = [noted for noted in outcome.run.noted if noted.kind in TOLD_KINDS]
    rows = [_event_row(noted, outcome.run.script) for noted in told[:EVENTS_MAX]]
    shown = f"Events worth a look ({len(rows)} of {len(outcome.run.noted):,} noted)"
    left = len(told) - len(rows)
    more = element("p", f"and {left:,} more; --trace writes them all", kind="quiet") if left else None
    return element("details", element("summary", shown), table(("at", "who", "what", "endpoint", ""), rows), more)


def _event_row(noted: Noted, script: Script) -> Markup:
    generation = f"generation {noted.generation} " if noted.generation else ""
    at = element("time", clock_text(script, noted.at_us))
    cells = (at, noted.process, noted.kind, noted.endpoint.rstrip("."), generation + noted.detail)
    is_alarm = noted.kind in ("violated", "wedged", "empty")
    return row(cells, ("", "", "", "", "quiet"), kind="alarm" if is_alarm else "")


# --- what it stands on ----------------------------------------------------------------------------------


def _assumptions(outcome: Outcome) -> Markup:
    assumptions = outcome.scenario.assumptions
    if not assumptions:
        return Markup()
    rows = []
    for each in assumptions:
        bounds = " to ".join(str(bound) for bound in (each.low, each.high) if bound is not None)
        rows.append(row((each.name, outcome.assumed[each.name], bounds, each.why), ("", "", "nowrap", "quiet")))
    run = outcome.run
    folded = (
        f"{run.endpoints:,} endpoints are told by {len(run.region.endpoints)} simulated ones: account endpoints stand "
        "in cohorts, each of whose exchanges takes as long as those of all its members one by one."
    )
    command = element("code", f"evenkeel rehearse {run.script.name} --sensitivity")
    return element(
        "section",
        element("h2", "Assumptions"),
        element("p", "What is not known, and was chosen; ", command, " says what hangs on each."),
        element("p", folded) if run.times else None,
        table(("what", "value", "may be", "why"), rows),
    )


def _again(outcomes: Sequence[Outcome]) -> Markup:
    kinds = ("", "", "number", "number")
    rows = [
        row((each.policy, element("code", each.run.digest), f"{each.run.events:,}", f"{each.wall_s:.1f} s"), kinds)
        for each in outcomes
    ]
    command = element("code", f"evenkeel rehearse {outcomes[0].run.script.name}")
    said = f" with evenkeel {__version__}. The digest is over every event and exchange."
    return element(
        "section",
        element("h2", "Again"),
        element("p", "The same seed gives the same run, to the byte: ", command, said),
        table(("policy", "digest (SHA-256)", "events", "took"), rows, kinds),
    )
