"""A rehearsal or a search in a few lines on a terminal."""

from __future__ import annotations

from typing import Any

from evenkeel.region.rehearsing.rehearse import Outcome
from evenkeel.region.rehearsing.search import Searched
from evenkeel.sim.clients import Suffered
from evenkeel.sim.milestones import Reached
from evenkeel.sim.script import Script, Step, clock_text, seconds_text

STEPS_TOLD_MAX = 30


def summary(outcome: Outcome) -> list[str]:
    """What happened, what clients suffered, what held."""
    run, script = outcome.run, outcome.run.script
    span = f"{seconds_text(run.virtual_us)} from {clock_text(script, 0)} {script.clock}"
    size = f"{run.endpoints:,} endpoints, {run.records:,} records"
    lines = [script.title, f"policy {outcome.policy}, seed {run.seed}, {span}, {size}", ""]
    lines += _steps(script, run.happened.steps)
    if outcome.milestones:
        lines += ["", "milestones"] + [f"  {milestone_text(each, script)}" for each in outcome.milestones]
    lines += ["", "invariants"]
    for each in outcome.judged:
        mark = "holds " if each.holds else "BROKEN"
        asked = "" if each.is_required else "  (not asked for)"
        first = each.first
        at = f"  {clock_text(script, first.at_us)} {first.endpoint}: {first.detail}" if first is not None else ""
        lines.append(f"  {mark} {each.invariant.value:<17}{asked}{at}".rstrip())
    if outcome.clients:
        lines += ["", "clients"] + [f"  {clients_text(each)}" for each in outcome.clients.values()]
    verdict = "GOOD: all that the scenario asks for came true"
    if not outcome.is_good:
        verdict = "BAD: " + "; ".join(outcome.failures)
    speed = f"{run.events:,} events in {outcome.wall_s:.1f} s, digest {run.digest[:16]}"
    return [*lines, "", verdict, speed]


def _steps(script: Script, steps: list[tuple[int, Step]]) -> list[str]:
    lines = [f"  {clock_text(script, at_us)}  {step_text(step)}" for at_us, step in steps[:STEPS_TOLD_MAX]]
    if len(steps) > STEPS_TOLD_MAX:
        lines.append(f"  and {len(steps) - STEPS_TOLD_MAX} more")
    return lines


def clients_text(suffered: Suffered) -> str:
    """What a population suffered."""
    failed = f"{suffered.failed:,} of {suffered.requests:,} requests failed ({suffered.failed_share:.2%})"
    minutes = f"{suffered.no_answer_min:.1f} minutes without service on average"
    return f"{suffered.name}: {failed}, {minutes}, {suffered.worst / 10:g}% at worst"


def step_text(step: Step) -> str:
    """What was done, and why."""
    if step.kind.value == "say":
        return step.why
    return step.text() + (f": {step.why}" if step.why else "")


def milestone_text(each: Reached, script: Script) -> str:
    """`23:48:12  record empty   expected 23:48:00, 12 s late`."""
    milestone = each.milestone
    at = clock_text(script, each.at_us) if each.at_us >= 0 else "never   "
    text = f"{at}  {milestone.name:<34}"
    if milestone.expected_us < 0:
        return text.rstrip()
    expected = f"expected {clock_text(script, milestone.expected_us)}"
    if each.at_us < 0:
        return f"{text} {expected}  MISSED"
    off = "on time" if not each.off_us else f"{seconds_text(abs(each.off_us))} {'late' if each.off_us > 0 else 'early'}"
    return f"{text} {expected}, {off}" + ("" if each.is_met else "  OUT OF TOLERANCE")


def search_summary(searched: Searched) -> list[str]:
    """How many seeds broke, and the fewest faults that break the first."""
    if searched.is_good:
        return [f"GOOD: {searched.seeds:,} seeds, none breaks anything that the scenario asks for"]
    lines = [f"BAD: {len(searched.found):,} of {searched.seeds:,} seeds break something"]
    lines += [f"  seed {each.seed}: {', '.join(each.why)}" for each in searched.found[:10]]
    shrunk = searched.shrunk
    if shrunk is not None:
        kept, script = shrunk.kept, shrunk.outcome.run.script
        count = f"{len(shrunk.drawn)} faults shrink to {len(kept)}"
        lines += ["", f"seed {shrunk.seed}: {count}{' that still' if kept else ': without any fault it'} break it"]
        lines += [f"  {clock_text(script, step.at_us)}  {step_text(step)}" for step in kept]
        lines += ["", *summary(shrunk.outcome)]
    return lines


def sensitivity_summary(found: dict[str, Any]) -> list[str]:
    """One line a value of an assumption, beside the run as assumed."""
    lines = [f"{'assumption':<34} {'value':>8}  empty  wedged  {'failed requests':>16}  as asked"]
    for row in [found["base"], *found["rows"]]:
        lines.append(
            f"{row['assumption']:<34} {row['value']!s:>8}  {row['empty_answers']:>5}  {row['wedged']:>6}  "
            f"{row['failed_requests']:>16,}  {'yes' if row['good'] else 'no'}"
        )
    return lines
