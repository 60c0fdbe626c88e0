"""`evenkeel rehearse`: a scenario in virtual time, a search over seeds, a report."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenkeel.cli.output import Json, is_terminal, print_json, say
from evenkeel.model.errors import InputError, Problem

if TYPE_CHECKING:
    from evenkeel.region.rehearsing.fleet import FleetOutcome, FleetScenario
    from evenkeel.region.rehearsing.reading import Scenario
    from evenkeel.region.rehearsing.rehearse import Outcome

SEEDS_FORM = re.compile(r"(\d{1,18})\.\.(\d{1,18})\Z")
SEEDS_MAX = 1_000_000

Tell = Callable[[int, str], None]


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: evenkeel rehearse october-2025 --report october.html; "
        "evenkeel rehearse race --policy check-references --seeds 1..1000"
    )(rehearse)


def rehearse(
    scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of a ready one (see --list).")] = "",
    policy: Annotated[str, typer.Option(help="Run under this DNS policy instead of the region's own.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="The seed of all chance; repeats a seed of --seeds.")] = None,
    seeds: Annotated[str, typer.Option(metavar="A..B", help="Search these seeds for a broken invariant.")] = "",
    workers: Annotated[int, typer.Option(min=0, help="Processes of a search; 0: one a core.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the report as Markdown.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Write every event and exchange, one a line.")] = None,
    sensitivity: Annotated[bool, typer.Option("--sensitivity", help="What hangs on each assumption.")] = False,
    validate: Annotated[Path | None, typer.Option(help="Check a live region's journal against the twins.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the ready scenarios.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a scenario's file.")] = False,
    json: Json = False,
) -> None:
    """Run a region's own components through a scenario of faults in virtual time, and say what clients would suffer.

    Ends with 0 where all that the scenario asks for came true, with 1 where it did not.
    """
    if list_:
        _list(json)
    elif schema:
        _schema(scenario)
    elif validate is not None:
        _validate(validate, json)
    elif not scenario:
        raise InputError.one("SCENARIO", "is missing", "give a file or a name; --list shows the ready ones")
    elif _is_fleet(scenario):
        _refuse_for_fleet({"--seeds": seeds, "--markdown": markdown, "--trace": trace})
        if sensitivity:
            _fleet_sensitivity(scenario, policy, json)
        else:
            _run_fleet(scenario, policy, seed, report, json)
    elif seeds:
        _search(_read(scenario), _seeds(seeds), policy, workers, json)
    elif sensitivity:
        _sensitivity(_read(scenario), policy, json)
    else:
        _run(_read(scenario), policy, seed, trace, report, markdown, json)


def _read(text: str) -> Scenario:
    from evenkeel.region.rehearsing.packaged import scenario_path  # numpy and pydantic: `--help` does without
    from evenkeel.region.rehearsing.reading import read_scenario

    return read_scenario(scenario_path(text))


def _seeds(text: str) -> range:
    match = SEEDS_FORM.match(text)
    if match is None or int(match[1]) > int(match[2]) or int(match[2]) - int(match[1]) >= SEEDS_MAX:
        raise InputError.one("--seeds", f"{text!r} is no range of seeds", f"write 1..1000; at most {SEEDS_MAX} of them")
    return range(int(match[1]), int(match[2]) + 1)


def _is_fleet(text: str) -> bool:
    from evenkeel.region.rehearsing.fleet import fleet_path

    return fleet_path(text) is not None


def _run_fleet(text: str, policy: str, seed: int | None, report: Path | None, as_json: bool) -> None:
    """A scenario about a fleet: tables, no region, no DNS."""
    from evenkeel.region.rehearsing.fleet import fleet_json, rehearse_fleet

    scenario = _read_fleet(text)
    with _progress(scenario.title, int(scenario.night.lasts_s), as_json) as tell:
        outcome = rehearse_fleet(scenario, policy, seed, lambda now_s: tell(int(now_s), ""))
    if report is not None:
        _write_fleet_report(outcome, policy, seed, report, as_json)
    if as_json:
        print_json(fleet_json(outcome))
    else:
        from evenkeel.ui.fleet_night import fleet_summary

        say("\n".join(fleet_summary(outcome)))
    if not outcome.is_good:
        raise typer.Exit(1)


def _write_fleet_report(outcome: FleetOutcome, policy: str, seed: int | None, report: Path, as_json: bool) -> None:
    """The night; beside the same under the other policy, where none was asked for."""
    from evenkeel.model.fleet_policy import FleetPreset
    from evenkeel.region.rehearsing.fleet import rehearse_fleet
    from evenkeel.ui.fleet_night import fleet_page

    scenario, outcomes = outcome.scenario, [outcome]
    for preset in () if policy else FleetPreset:
        if preset is not outcome.preset:
            with _progress(f"the same under {preset}", int(scenario.night.lasts_s), as_json) as tell:
                outcomes.append(rehearse_fleet(scenario, preset, seed, lambda now_s: tell(int(now_s), "")))
    report.write_text(fleet_page(outcomes), encoding="utf-8")


def _fleet_sensitivity(text: str, policy: str, as_json: bool) -> None:
    from evenkeel.region.rehearsing.fleet_sensitivity import fleet_sensitivity, fleet_swings
    from evenkeel.ui.fleet_night import fleet_sensitivity_lines

    scenario = _read_fleet(text)
    with _progress("assumptions", 1 + len(fleet_swings(scenario)), as_json) as tell:
        found = fleet_sensitivity(scenario, policy, lambda done: tell(done, ""))
    if as_json:
        print_json(found)
    else:
        say("\n".join(fleet_sensitivity_lines(found)))


def _read_fleet(text: str) -> FleetScenario:
    from evenkeel.region.rehearsing.fleet import fleet_path, read_fleet

    path = fleet_path(text)
    if path is None:  # `_is_fleet` found it
        raise InputError.one(text, "is gone", "give the file again")
    return read_fleet(path)


def _refuse_for_fleet(given: dict[str, object]) -> None:
    """Options that say nothing about a fleet."""
    problems = [
        Problem(option, "is not for scenarios about a fleet", "leave it out; --report, --sensitivity and --json are")
        for option, value in given.items()
        if value
    ]
    if problems:
        raise InputError(problems)


# --- one run --------------------------------------------------------------------------------------------


def _run(
    scenario: Scenario,
    policy: str,
    seed: int | None,
    trace: Path | None,
    report: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    from evenkeel.region.rehearsing.rehearse import as_json as json_of
    from evenkeel.region.rehearsing.search import rehearse_once

    with _progress(scenario.script.title, scenario.script.lasts_us, as_json) as tell:
        outcome = rehearse_once(scenario, seed, policy, trace, lambda now_us: tell(now_us, ""))
    if report is not None or markdown is not None:
        _write_reports(outcome, policy, seed, report, markdown)
    if as_json:
        print_json(json_of(outcome))
    else:
        from evenkeel.ui.summary import summary

        say("\n".join(summary(outcome)))
    if not outcome.is_good:
        raise typer.Exit(1)


def _write_reports(outcome: Outcome, policy: str, seed: int | None, report: Path | None, markdown: Path | None) -> None:
    """The run, beside the same night under the policies that the scenario names."""
    from evenkeel.region.rehearsing.search import rehearse_once
    from evenkeel.ui.markdown import markdown_report
    from evenkeel.ui.page import page

    scenario = outcome.scenario
    beside = [name for name in scenario.beside if name != outcome.policy] if not policy else []
    outcomes = [outcome, *(rehearse_once(scenario, seed, name) for name in beside)]
    if report is not None:
        report.write_text(page(outcomes), encoding="utf-8")
    if markdown is not None:
        markdown.write_text(markdown_report(outcomes), encoding="utf-8")


@contextmanager
def _progress(what: str, total: int, as_json: bool) -> Iterator[Tell]:
    """A bar on standard error, for people who wait."""
    if as_json or not (sys.stderr.isatty() and is_terminal()):
        yield lambda done, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what[:60], total=total, text="")
        yield lambda done, text: bar.update(task, completed=done, text=text)


# --- search and sensitivity -------------------------------------------------------------------------------


def _search(scenario: Scenario, seeds: range, policy: str, workers: int, as_json: bool) -> None:
    from evenkeel.region.rehearsing.search import search, searched_json
    from evenkeel.ui.summary import search_summary

    with _progress(f"{len(seeds)} seeds", len(seeds), as_json) as tell:
        searched = search(
            scenario, seeds, policy, workers=workers, on_progress=lambda done, found: tell(done, f"{found} broken")
        )
    if as_json:
        print_json(searched_json(searched))
    else:
        say("\n".join(search_summary(searched)))
    if not searched.is_good:
        raise typer.Exit(1)


def _sensitivity(scenario: Scenario, policy: str, as_json: bool) -> None:
    from evenkeel.region.rehearsing.sensitivity import sensitivity, swings
    from evenkeel.ui.summary import sensitivity_summary

    with _progress("assumptions", len(swings(scenario)), as_json) as tell:
        found = sensitivity(scenario, policy, on_progress=lambda done: tell(done, ""))
    if as_json:
        print_json(found)
    else:
        say("\n".join(sensitivity_summary(found)))


# --- the rest ---------------------------------------------------------------------------------------------


def _list(as_json: bool) -> None:
    from evenkeel.region.rehearsing.fleet import fleet_scenarios, read_fleet
    from evenkeel.region.rehearsing.packaged import packaged
    from evenkeel.region.rehearsing.reading import read_scenario

    rows = [{"name": name, "title": read_scenario(path).script.title} for name, path in packaged().items()]
    rows += [{"name": name, "title": read_fleet(path).title} for name, path in fleet_scenarios().items()]
    if as_json:
        print_json({"scenarios": rows})
        return
    for row in rows:
        say(f"{row['name']:<20} {row['title']}")


def _schema(scenario: str) -> None:
    from evenkeel.region.rehearsing.fleet_shapes import FleetFile
    from evenkeel.region.rehearsing.schema import schema

    print_json(schema(FleetFile) if scenario and _is_fleet(scenario) else schema())


def _validate(journal: Path, as_json: bool) -> None:
    from evenkeel.region.rehearsing.validate import validate_journal

    found = validate_journal(journal)
    if as_json:
        print_json(found.as_json())
    else:
        say("\n".join(found.lines()))
    if not found.is_good:
        raise typer.Exit(1)
