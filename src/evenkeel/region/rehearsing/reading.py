"""From a scenario's file to a `Scenario`, or to a report of everything that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from evenkeel.model.errors import InputError
from evenkeel.model.region import Region
from evenkeel.region.components import components
from evenkeel.region.config import load
from evenkeel.region.config.documents import read_document
from evenkeel.region.config.fields import Table
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.tables import told
from evenkeel.region.rehearsing import shapes
from evenkeel.region.rehearsing.moments import SECOND_US, Moment
from evenkeel.sim.chance import LATENCIES
from evenkeel.sim.script import Chaos, Clients, Milestone, Must, Script, Step, StepKind, World

MILLE = 1000
T = TypeVar("T", bound=Table)

# Which steps are about processes and hosts, so that a name can be checked.
_ON_COMPONENTS = frozenset(
    {
        StepKind.CRASH,
        StepKind.STOP,
        StepKind.START,
        StepKind.PAUSE,
        StepKind.SKEW,
        StepKind.PARTITION,
        StepKind.LOSS,
        StepKind.DUPLICATE,
        StepKind.DELAY,
        StepKind.REORDER,
        StepKind.SLOW,
        StepKind.LOSE_LOCK,
        StepKind.HOLD,
    }
)


@dataclass(frozen=True, slots=True)
class Assumption:
    """A quantity that is not known: what is assumed, within which bounds it may be, and why."""

    name: str
    value: float | str
    sets: tuple[str, ...]
    low: float | str | None
    high: float | str | None
    why: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario's file with its region and its assumptions, as they stand in their files."""

    path: Path
    script: Script
    region: Region
    beside: tuple[str, ...]
    assumptions: tuple[Assumption, ...] = ()


def read_scenario(path: Path) -> Scenario:
    """The scenario in `path`. Raises `InputError` with every problem of it, of its region and of its assumptions."""
    text, document = read_document(path)
    report = Report(str(path), text)
    file = _validated(shapes.ScenarioFile, document, report)
    report.raise_if_any()
    if file is None:  # a report without problems has a file
        raise InputError.one(str(path), "cannot be read", "see docs/reference/scenario.md")
    region = load(path.parent / file.scenario.region)
    assumptions = _read_assumptions(path.parent / file.assumptions) if file.assumptions else ()
    _check_names(file, region, report)
    report.raise_if_any()
    return Scenario(path, _script(path.stem, file), region, tuple(file.scenario.beside), assumptions)


def _validated(shape: type[T], document: dict[str, Any], report: Report) -> T | None:
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            report.add(*told(detail, shape, Place()))
    return None


def _read_assumptions(path: Path) -> tuple[Assumption, ...]:
    text, document = read_document(path)
    report = Report(str(path), text)
    file = _validated(shapes.AssumptionsFile, document, report)
    report.raise_if_any()
    return tuple(
        Assumption(each.name, each.value, tuple(each.sets), each.low, each.high, each.why)
        for each in (file.assumption if file is not None else ())
    )


# --- names that must be known -------------------------------------------------------------------------


def _check_names(file: shapes.ScenarioFile, region: Region, report: Report) -> None:
    names = [each.name for each in components(region)]
    if "nameserver" not in names:
        names.insert(0, "nameserver")  # a foreign server plays under that name
    for index, step in enumerate(file.step):
        place = Place(("step", index))
        if step.do in _ON_COMPONENTS:
            _check_pattern(step.component, names, "component", place.at("component"), report)
        elif step.do in (StepKind.AZ_DOWN, StepKind.AZ_FLAP):
            _check_pattern(step.component, list(region.azs), "az", place.at("component"), report)
        elif step.do is StepKind.BALANCER_DOWN:
            _check_pattern(step.component, list(region.load_balancers), "load balancer", place.at("component"), report)
        _check_pattern(step.endpoint, list(region.endpoints), "endpoint", place.at("endpoint"), report)
    for index, clients in enumerate(file.clients):
        place = Place(("clients", index), clients.name)
        _check_pattern(clients.endpoint, list(region.endpoints), "endpoint", place.at("endpoint"), report)
        if clients.resolvers > clients.clients:
            report.add(place.at("resolvers"), "more resolvers than clients", f"use at most {clients.clients}")
    _check_latencies(file, report)


def _check_pattern(pattern: str, names: list[str], what: str, place: Place, report: Report) -> None:
    wanted = {pattern, pattern + "."} if what == "endpoint" else {pattern}
    if not any(fnmatchcase(name, each) for name in names for each in wanted):
        known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        report.add(place, f"{pattern!r} is no {what} of the region", f"known here: {known}")


def _check_latencies(file: shapes.ScenarioFile, report: Report) -> None:
    named = [(Place(("world", "latency")), file.world.latency)]
    named += [(Place(("link", index, "latency")), link.latency) for index, link in enumerate(file.link)]
    for place, name in named:
        if name not in LATENCIES:
            report.add(place, f"there is no latency {name!r}", "use one of " + ", ".join(LATENCIES))


# --- tables to values ---------------------------------------------------------------------------------


def _script(name: str, file: shapes.ScenarioFile) -> Script:
    scenario, world = file.scenario, file.world
    starts_s = scenario.starts
    return Script(
        name=name,
        title=scenario.title,
        story=" ".join(scenario.story.split()),
        starts_s=starts_s,
        clock=scenario.clock,
        lasts_us=scenario.lasts,
        seed=scenario.seed,
        world=World(
            latency=world.latency,
            links=tuple((link.between[0], link.between[1], link.latency) for link in file.link),
            capacity_wobble=round(world.capacity_wobble * MILLE),
            wobble_every_us=world.wobble_every,
            account_cohorts=world.account_cohorts,
            accounts=world.accounts,
            detect_us=world.detect,
            window_us=world.window,
        ),
        steps=tuple(_step(step, starts_s) for step in file.step),
        musts=tuple(Must(must.holds, _at(must.by, starts_s, 0), must.within, must.under) for must in file.must),
        milestones=tuple(_milestone(each, starts_s) for each in file.milestone),
        clients=tuple(_clients(each) for each in file.clients),
        chaos=_chaos(file.chaos, starts_s) if file.chaos is not None else None,
    )


def _at(moment: Moment | None, starts_s: int, otherwise: int) -> int:
    return moment.at_us(starts_s) if moment is not None else otherwise


def _endpoint(pattern: str) -> str:
    """As zones write it: absolute. A pattern's end is left as it is."""
    return pattern if pattern.endswith((".", "*")) or not pattern else pattern + "."


def _step(step: shapes.StepTable, starts_s: int) -> Step:
    return Step(
        at_us=step.at.at_us(starts_s),
        kind=step.do,
        name=step.name,
        component=step.component,
        other=step.other,
        endpoint=_endpoint(step.endpoint),
        step=step.step,
        nth=step.nth,
        times=step.times,
        for_us=step.for_,
        extra_us=step.extra,
        every_us=step.every,
        share=round(step.share * MILLE),
        keep=step.keep,
        under=step.under,
        why=" ".join(step.why.split()),
    )


def _milestone(each: shapes.MilestoneTable, starts_s: int) -> Milestone:
    return Milestone(
        name=each.name,
        event=each.event,
        expected_us=_at(each.expected, starts_s, -1),
        tolerance_us=each.tolerance,
        endpoint=_endpoint(each.endpoint),
        clients=each.clients,
        step=each.step,
        after_us=_at(each.after, starts_s, 0),
        under=each.under,
        source=each.source,
    )


def _clients(each: shapes.ClientsTable) -> Clients:
    return Clients(
        name=each.name,
        endpoint=_endpoint(each.endpoint),
        clients=each.clients,
        resolvers=each.resolvers,
        requests_per_minute=each.requests_per_minute,
        connection_s=max(1, each.connection // SECOND_US),
        negative_ttl_s=each.negative_ttl // SECOND_US if each.negative_ttl is not None else -1,
        stale_s=each.stale // SECOND_US,
        obeys_override=each.obeys_override,
        retries=each.retries,
        idle_s=each.idle // SECOND_US,
    )


def _chaos(table: shapes.ChaosTable, starts_s: int) -> Chaos:
    return Chaos(
        least=table.least,
        most=max(table.most, table.least),
        kinds=tuple(table.kinds),
        components=tuple(table.components),
        from_us=table.from_.at_us(starts_s),
        until_us=table.until.at_us(starts_s),
        for_us=table.longest,
    )
