"""A rehearsal as Markdown, for an issue, a wiki or a postmortem."""

from __future__ import annotations

from collections.abc import Sequence

from evenkeel.region.rehearsing.rehearse import Outcome, figures
from evenkeel.sim.script import clock_text, seconds_text
from evenkeel.ui.summary import clients_text, milestone_text, step_text
from evenkeel.ui.telling import main_endpoint, why_it_broke

STEPS_MAX = 100


def markdown_report(outcomes: Sequence[Outcome]) -> str:
    """The first outcome in full, the others beside it."""
    first = outcomes[0]
    script = first.run.script
    lines = [f"# {script.title}", "", script.story or "", ""]
    lines += _beside(outcomes)
    for outcome in outcomes:
        lines += ["", f"## Under `{outcome.policy}`", "", *_told(outcome)]
    lines += _assumptions(first)
    lines += ["", "## Again", "", f"`evenkeel rehearse {script.name} --seed {first.run.seed}` repeats it; the digests:"]
    lines += ["", *(f"- `{each.policy}`: `{each.run.digest}`" for each in outcomes), ""]
    return "\n".join(lines)


def _beside(outcomes: Sequence[Outcome]) -> list[str]:
    rows = {
        "as the scenario asks": ["yes" if each.is_good else "no: " + "; ".join(each.failures) for each in outcomes],
        "requests that failed": [f"{figures(each)['failed_requests']:,}" for each in outcomes],
        "empty answers": [str(figures(each)["empty_answers"]) for each in outcomes],
        "longest without an address": [seconds_text(max(each.run.empty_us.values(), default=0)) for each in outcomes],
        "generations": [str(figures(each)["generations"]) for each in outcomes],
    }
    head = ["", *(f"`{each.policy}`" for each in outcomes)]
    lines = [_row(head), _row(["---"] * len(head))]
    return lines + [_row([name, *cells]) for name, cells in rows.items()]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _told(outcome: Outcome) -> list[str]:
    run, script = outcome.run, outcome.run.script
    lines = []
    sentences = why_it_broke(outcome, main_endpoint(outcome))
    for sentence in sentences:
        lines.append(f"- {clock_text(script, sentence.at_us)} {sentence.text}")
    if not sentences:
        lines.append("Nothing happened to the answers.")
    if outcome.milestones:
        lines += ["", "Milestones:", "", "```", *(milestone_text(each, script) for each in outcome.milestones), "```"]
    lines += ["", "Clients:", "", *(f"- {clients_text(each)}" for each in outcome.clients.values())]
    lines += ["", "Invariants:", ""]
    for each in outcome.judged:
        first = each.first
        at = f", first at {clock_text(script, first.at_us)}: {first.endpoint} {first.detail}" if first else ""
        lines.append(f"- {each.invariant.value}: {'holds' if each.holds else 'broken' + at}")
    steps = run.happened.steps[:STEPS_MAX]
    if steps:
        lines += ["", "What was done:", ""]
        lines += [f"- {clock_text(script, at_us)} {step_text(step)}" for at_us, step in steps]
    return lines


def _assumptions(outcome: Outcome) -> list[str]:
    assumptions = outcome.scenario.assumptions
    if not assumptions:
        return []
    lines = ["", "## Assumptions", "", _row(["what", "value", "may be", "why"]), _row(["---"] * 4)]
    for each in assumptions:
        bounds = " to ".join(str(bound) for bound in (each.low, each.high) if bound is not None)
        lines.append(_row([each.name, str(outcome.assumed[each.name]), bounds, each.why]))
    return lines
