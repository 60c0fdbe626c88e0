"""The verb `check`: every interleaving of the region's automation, a verdict, and the shortest trace where it fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenkeel.cli.checking_protocols import Asked, What, check_protocols, refuse_what_says_nothing
from evenkeel.cli.output import Json, load_region, print_json, say
from evenkeel.model.errors import InputError
from evenkeel.model.plan import Layout
from evenkeel.model.policy import DNS_PRESETS, DnsPolicy, DnsPreset

if TYPE_CHECKING:  # numpy and numba take a while to load, and `--help` does without them
    from evenkeel.check.config import Config
    from evenkeel.check.search import Progress
    from evenkeel.check.verify import Report, Wanted

ENACTORS_MAX, ENDPOINTS_MAX, PLANS_MAX, FAULTS_MAX = 8, 16, 250, 4
PLANNERS_MAX, MANAGERS_MAX, TAKEOVERS_MAX = 4, 4, 8
PLANS = 6
STATES_MAX = 2_000_000_000  # states are numbered by 32 bits
EXAMPLE = "evenkeel check --policy october-2025 --enactors 3 --plans 6 --endpoints 3 --keep 1"


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Rehearse", epilog=f"Example: {EXAMPLE}")(check)


def check(
    context: typer.Context,
    what: Annotated[
        What,
        typer.Argument(
            help="The endpoints' automation, Planners over one store, or how an az of the fleet is taken over."
        ),
    ] = What.ENDPOINTS,
    policy: Annotated[DnsPreset | None, typer.Option(help="The policy; the region's own with --region.")] = None,
    region: Annotated[
        Path | None, typer.Option("--region", "-r", metavar="REGION.toml", help="Take policy and Enactors from here.")
    ] = None,
    enactors: Annotated[int | None, typer.Option(min=1, max=ENACTORS_MAX, help="Enactors; 3.")] = None,
    plans: Annotated[int | None, typer.Option(min=1, max=PLANS_MAX, help="Plans that the Planner appends; 6.")] = None,
    unbounded: Annotated[bool, typer.Option("--unbounded", help="Plans without end; not with --plans.")] = False,
    endpoints: Annotated[int, typer.Option(min=1, max=ENDPOINTS_MAX, help="Endpoints of the zone.")] = 3,
    keep: Annotated[int | None, typer.Option(min=0, help="Generations that clean-up leaves; the policy's own.")] = None,
    layout: Annotated[Layout, typer.Option(help="How answers are laid out in the zone.")] = Layout.TREE,
    faults: Annotated[
        int | None,
        typer.Option(
            min=0, max=FAULTS_MAX, help="Crashes, lost replies, duplicates at most; 0, of others than endpoints 1."
        ),
    ] = None,
    failover: Annotated[bool, typer.Option("--failover", help="A fault may be a failover, too.")] = False,
    fine: Annotated[
        bool, typer.Option("--fine", help="Every exchange with a server is a step, not every call.")
    ] = False,
    guard: Annotated[bool, typer.Option("--server-guard", help="The server refuses to empty an endpoint.")] = False,
    only: Annotated[list[str] | None, typer.Option("--property", help="Only this property; may be repeated.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Without symmetry, endpoints, appends or hopeless; may be repeated.")
    ] = None,
    planners: Annotated[int | None, typer.Option(min=1, max=PLANNERS_MAX, help="Of planners: how many; 2.")] = None,
    managers: Annotated[int | None, typer.Option(min=1, max=MANAGERS_MAX, help="Of takeover: how many; 2.")] = None,
    takeovers: Annotated[int | None, typer.Option(min=1, max=TAKEOVERS_MAX, help="Of takeover: at most; 3.")] = None,
    weaken: Annotated[str, typer.Option(help="Of planners and takeover: take a safeguard out, to see what for.")] = "",
    compare: Annotated[bool, typer.Option("--compare", help="The policies between the two ends, as a table.")] = False,
    max_states: Annotated[
        int, typer.Option(min=1, max=STATES_MAX, help="Give up beyond as many states.")
    ] = 200_000_000,
    max_memory: Annotated[int, typer.Option(min=1, help="Give up beyond as many MiB of states.")] = 4096,
    max_seconds: Annotated[float, typer.Option(min=0.01, help="Give up after as many seconds.")] = 3600.0,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="TRACE.json",
            help="Take a trace (of --json) again: in virtual time, or with --region and --zone on that zone's server.",
        ),
    ] = None,
    zone: Annotated[str, typer.Option(help="With --replay: the zone of the region to take it in.")] = "",
    mermaid: Annotated[Path | None, typer.Option(help="Write the trace there as a Mermaid diagram.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write the trace there as an HTML page with swim lanes.")] = None,
    json: Json = False,
) -> None:
    """Explore every interleaving of Planner, Enactors and clean-up (or of what WHAT names), and judge every state.

    The code that runs is what is explored: the real workflows over the zone's twin. Exit code 0: every property
    holds; 1: one is violated, with the shortest trace that shows it; 3: a bound was met first, and nothing is said
    of what lies beyond.
    """
    refuse_what_says_nothing(context, what)
    if replay is not None:
        _replay(replay, region, zone, json)
        return
    from evenkeel.check.config import Config
    from evenkeel.check.search import Bounds
    from evenkeel.check.verify import Reduction, Wanted
    from evenkeel.check.zone_steps import Fault, Step

    bounds = Bounds(max_states, max_memory << 20, max_seconds)
    if what is not What.ENDPOINTS:
        only, without = only or [], without or []
        counts = (planners, plans, managers, takeovers, faults)
        asked = Asked(what, *counts, weaken, only, without, bounds, mermaid, page, json)
        check_protocols(asked, None if json else _progress())
    if failover and not faults:
        raise InputError.one("--failover", "no fault may happen", "--faults 1 or more")
    if unbounded and (plans is not None or compare):
        other = "--compare" if compare else "--plans"
        raise InputError.one("--unbounded", f"it goes not with {other}", f"one of --unbounded and {other}")
    chosen, enactors = _policy(policy, region, enactors)
    explored = replace(chosen, attempts_max=1, keep_generations=chosen.keep_generations if keep is None else keep)
    config = Config(
        policy=explored,
        enactors=enactors,
        plans=plans or PLANS,
        unbounded=unbounded,
        endpoints=endpoints,
        layout=layout,
        step=Step.EXCHANGE if fine else Step.CALL,
        faults=faults or 0,
        fault_kinds=frozenset(Fault) if failover else frozenset(Fault) - {Fault.FAILOVER},
        server_guard=guard,
    )
    names = [reduction.value for reduction in Reduction]
    if unknown := sorted(set(without or ()) - set(names)):
        raise InputError.one("--without", f"there is no reduction {unknown[0]!r}", f"one of {', '.join(names)}")
    reductions = frozenset(each for each in Reduction if each.value not in (without or ()))
    wanted = Wanted(tuple(only or ()), reductions, bounds)
    if compare:
        _compare(config, wanted, json)
    else:
        _check(config, wanted, mermaid, page, json)


def _policy(preset: DnsPreset | None, region: Path | None, enactors: int | None) -> tuple[DnsPolicy, int]:
    if region is None:
        return DNS_PRESETS[preset or DnsPreset.SAFE], enactors or 3
    loaded = load_region(region)
    if enactors is None and loaded.enactors > ENACTORS_MAX:
        raise InputError.one(
            f"{region}: enactors", f"{loaded.enactors} is too many to explore", f"--enactors {ENACTORS_MAX} or fewer"
        )
    return DNS_PRESETS[preset] if preset else loaded.policy, enactors or loaded.enactors


def _check(config: Config, wanted: Wanted, mermaid: Path | None, page: Path | None, json: bool) -> None:
    from evenkeel.check.mermaid import as_mermaid
    from evenkeel.check.page import as_page
    from evenkeel.check.story import as_beats
    from evenkeel.check.verify import check as explore

    report = explore(config, wanted, None if json else _progress())
    if mermaid is not None and report.trace:
        mermaid.write_text(as_mermaid(as_beats(report.trace)))
    if page is not None:
        always = [each.name for each in report.properties if each.kind == "always"]
        page.write_text(as_page(_headline(report), _searched(report), always, as_beats(report.trace)))
    if json:
        print_json(report)
    else:
        say(_told(report))
    raise typer.Exit(report.verdict.exit_code)


def _compare(config: Config, wanted: Wanted, json: bool) -> None:
    from evenkeel.check.compare import as_text, compare

    rows = compare(config, wanted, None if json else _progress())
    if json:
        print_json({"rows": rows})
    else:
        say(as_text(rows))
    raise typer.Exit(max(row.verdict.exit_code for row in rows if row.is_safe))


def _replay(trace: Path, region: Path | None, zone: str, json: bool) -> None:
    import asyncio

    from evenkeel.cli.replaying import replayed

    driven = asyncio.run(replayed(trace, load_region(region) if region else None, zone))
    if json:
        print_json({"trace": str(trace), "steps": driven, "same": True})
        return
    for step in driven:
        shown = f"  {step.endpoint} answers {', '.join(step.answer) or 'NOTHING'}" if step.endpoint else ""
        say(f"{step.number:>4}. {step.action:<28}{shown}")
    say(f"Taken again in {len(driven)} steps, each with the outcome that was explored.")


def _progress() -> Callable[[Progress], None] | None:
    """One line on a terminal's standard error, redrawn."""
    if not sys.stderr.isatty():
        return None

    def show(progress: Progress) -> None:
        rate = progress.states / max(progress.seconds, 1e-9)
        line = (
            f"{progress.states:,} states, depth {progress.depth}, {rate:,.0f} states/s, {progress.memory >> 20:,} MiB, "
            f"{progress.seconds:.0f} s"
        )
        sys.stderr.write(f"\r\033[K{line}" if progress.waiting else "\r\033[K")
        sys.stderr.flush()

    return show


def _told(report: Report) -> str:
    from evenkeel.check.story import as_text
    from evenkeel.check.verify import Verdict

    lines = []
    if report.trace:
        lines += [f"{report.property} is violated, in {len(report.trace)} steps:", "", as_text(report.trace), ""]
    width = max(len(each.name) for each in report.properties)
    for each in report.properties:
        steps = f" in {each.steps} steps" if each.steps else ""
        says = each.says if each.says != each.name else ""
        lines.append(f"  {each.verdict.value:<10} {each.name:<{width}}  {says}{steps}".rstrip())
    lines += ["", f"{report.verdict.value}: {_extent(report)}"]
    if report.verdict is Verdict.INCOMPLETE:
        lines.append(f"Stopped: {report.stopped}. Nothing is said of what lies beyond.")
    return "\n".join(lines)


def _headline(report: Report) -> str:
    steps = f", in {len(report.trace)} steps" if report.trace else ""
    return f"{report.property} is violated{steps}" if report.property else "No property is violated"


def _searched(report: Report) -> str:
    return (
        f"{report.enactors} Enactors, {_plans(report)}, {report.endpoints} endpoints, keep {report.keep}; "
        f"{report.states:,} states searched"
    )


def _plans(report: Report) -> str:
    if not report.unbounded:
        return f"{report.plans} plans"
    return f"plans unbounded ({report.plans} in the trace)" if report.trace else "plans unbounded"


def _extent(report: Report) -> str:
    each = " (one explored for all of them)" if report.endpoints_explored < report.endpoints else ""
    return (
        f"{report.states:,} states, {report.transitions:,} steps, depth {report.depth}, {report.wall_s:.2f} s, "
        f"{report.states_per_s:,.0f} states/s; {report.enactors} Enactors, {_plans(report)}, "
        f"{report.endpoints} endpoints{each}, keep {report.keep}, {report.faults} faults; "
        f"component code ran {report.component_runs:,} times"
    )
