"""`evenkeel check takeover` and `check planners`: the region's other protocols, explored like its endpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from evenkeel.cli.output import print_json, say
from evenkeel.model.errors import InputError

if TYPE_CHECKING:  # numpy and numba take a while to load, and `--help` does without them
    from evenkeel.check.search import Bounds, Progress
    from evenkeel.check.subject import ProtocolReport, Subject

S = TypeVar("S", bound=StrEnum)


class What(StrEnum):
    """What is explored."""

    ENDPOINTS = "endpoints"
    PLANNERS = "planners"
    TAKEOVER = "takeover"


# Options, as parameters are called, that say something of some of these only.
ONLY = {
    "policy": {What.ENDPOINTS},
    "region": {What.ENDPOINTS},
    "enactors": {What.ENDPOINTS},
    "plans": {What.ENDPOINTS, What.PLANNERS},
    "unbounded": {What.ENDPOINTS},
    "endpoints": {What.ENDPOINTS},
    "keep": {What.ENDPOINTS},
    "layout": {What.ENDPOINTS},
    "failover": {What.ENDPOINTS},
    "fine": {What.ENDPOINTS},
    "guard": {What.ENDPOINTS},
    "compare": {What.ENDPOINTS},
    "replay": {What.ENDPOINTS},
    "zone": {What.ENDPOINTS},
    "planners": {What.PLANNERS},
    "managers": {What.TAKEOVER},
    "takeovers": {What.TAKEOVER},
    "weaken": {What.PLANNERS, What.TAKEOVER},
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, of any protocol. None: not said."""

    what: What
    planners: int | None
    plans: int | None
    managers: int | None
    takeovers: int | None
    faults: int | None
    weaken: str
    only: Sequence[str]
    without: Sequence[str]
    bounds: Bounds
    mermaid: Path | None
    page: Path | None
    json: bool


def refuse_what_says_nothing(context: typer.Context, what: What) -> None:
    """Raises `InputError` for an option that was given, and that does not go with `what`."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and what not in ONLY.get(name, {what}):
            others = " or ".join(f"`check {each.value}`" for each in sorted(ONLY[name]))
            raise InputError.one(parameter.opts[0], f"it says nothing of {what.value}", f"{others}, or leave it out")


def check_protocols(asked: Asked, on_progress: Callable[[Progress], None] | None) -> None:
    """Explore it, tell of it, and exit by the verdict."""
    from evenkeel.check.mermaid import as_mermaid
    from evenkeel.check.page import as_page
    from evenkeel.check.subject import check_protocol

    if unknown := sorted(set(asked.without) - {"symmetry"}):
        raise InputError.one("--without", f"there is no reduction {unknown[0]!r} of {asked.what.value}", "symmetry")
    subject = _subject(asked)
    report = check_protocol(subject, asked.only, asked.bounds, on_progress, symmetric=not asked.without)
    if asked.mermaid is not None and report.trace:
        asked.mermaid.write_text(as_mermaid(report.trace))
    if asked.page is not None:
        always = [each.name for each in report.properties if each.kind == "always"]
        extent = f"{subject.extent}{_weakened(report)}; {report.states:,} states searched"
        asked.page.write_text(as_page(_headline(report), extent, always, report.trace))
    if asked.json:
        print_json(report)
    else:
        say(_told(subject, report))
    raise typer.Exit(report.verdict.exit_code)


def _subject(asked: Asked) -> Subject:
    """With what was not said as it is by default: small enough for a few seconds."""
    faults = 1 if asked.faults is None else asked.faults
    if asked.what is What.TAKEOVER:
        from evenkeel.check import takeover
        from evenkeel.check.takeover_story import subject as of_takeover

        managers, takeovers = asked.managers or 2, asked.takeovers or 3
        weakened = _safeguard(takeover.Safeguard, asked)
        return of_takeover(takeover.Takeover(managers, takeovers, faults=faults, weakened=weakened))
    from evenkeel.check import planners
    from evenkeel.check.planners_story import subject as of_planners

    guard = _safeguard(planners.Safeguard, asked)
    return of_planners(planners.Planners(asked.planners or 2, asked.plans or 2, faults, guard))


def _safeguard(known: type[S], asked: Asked) -> S | None:
    if not asked.weaken:
        return None
    names = [each.value for each in known]
    if asked.weaken not in names:
        message = f"{asked.what.value} has no safeguard {asked.weaken!r}"
        raise InputError.one("--weaken", message, f"one of {', '.join(names)}")
    return known(asked.weaken)


def _headline(report: ProtocolReport) -> str:
    steps = f", in {len(report.trace)} steps" if report.trace else ""
    return f"{report.property} is violated{steps}" if report.property else "No property is violated"


def _weakened(report: ProtocolReport) -> str:
    return f", without {report.weakened}" if report.weakened else ""


def _told(subject: Subject, report: ProtocolReport) -> str:
    from evenkeel.check.subject import as_text
    from evenkeel.check.verify import Verdict

    lines = [f"{_headline(report)}:", "", as_text(report.trace), ""] if report.trace else []
    width = max(len(each.name) for each in report.properties)
    for each in report.properties:
        steps = f" in {each.steps} steps" if each.steps else ""
        lines.append(f"  {each.verdict.value:<10} {each.name:<{width}}  {each.says}{steps}")
    searched = f"{report.states:,} states, {report.transitions:,} steps, depth {report.depth}, {report.wall_s:.2f} s"
    ran = f"component code ran {report.component_runs:,} times"
    lines += ["", f"{report.verdict.value}: {searched}; {subject.extent}{_weakened(report)}; {ran}"]
    if report.verdict is Verdict.INCOMPLETE:
        lines.append(f"Stopped: {report.stopped}. Nothing is said of what lies beyond.")
    return "\n".join(lines)
