"""The operators' levers: freeze, thaw, pin, unpin, rollback, repair, audit. They work with the plan store gone."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Annotated

import typer

from evenkeel.adapters.journal import FileJournal
from evenkeel.cli.output import REGION_DEFAULT, Json, RegionArgument, RegionOption, load_region, print_json, say
from evenkeel.endpoints.audit import Audited, Finding
from evenkeel.model.errors import InputError, InternalError, Unfinished
from evenkeel.model.plan import Answer
from evenkeel.model.region import Region
from evenkeel.region.observing import newest_plan
from evenkeel.region.operating import OPERATOR, Operator, Outcome, operating
from evenkeel.region.picture import weights_of

AUDIT_DEADLINE_S = 600.0
SHOWN_MAX = 50  # bad answers told one by one; `--json` has them all

Endpoints = Annotated[list[str], typer.Argument(metavar="ENDPOINT...", help="Names, with or without the final dot.")]
Zones = Annotated[list[str] | None, typer.Option("--zone", metavar="ZONE", help="Only this zone; may be repeated.")]


def add_to(app: typer.Typer) -> None:
    panel = "Levers"
    app.command(rich_help_panel=panel, epilog="Example: evenkeel freeze region.toml --reason 'INC-7'")(freeze)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel thaw region.toml")(thaw)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel pin db.demo.example -r region.toml")(pin)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel unpin db.demo.example -r region.toml")(unpin)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel rollback db.demo.example -r region.toml")(rollback)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel repair --all -r region.toml")(repair)
    app.command(rich_help_panel=panel, epilog="Example: evenkeel audit region.toml --json")(audit)


def freeze(
    region: RegionArgument = REGION_DEFAULT,
    reason: Annotated[str, typer.Option(help="Why; whoever is refused will read it.")] = "",
    zone: Zones = None,
    json: Json = False,
) -> None:
    """Set the kill switch: from then on the zones refuse every write of the automation, until thawed."""
    text = reason or f"by {_user()}"
    _finish(_with_operator(load_region(region), lambda operator: operator.set_frozen(zone or [], text)), json)


def thaw(region: RegionArgument = REGION_DEFAULT, zone: Zones = None, json: Json = False) -> None:
    """Clear the kill switch; the Enactors go on with the newest plan."""
    _finish(_with_operator(load_region(region), lambda operator: operator.set_frozen(zone or [], "")), json)


def pin(endpoints: Endpoints, region: RegionOption = REGION_DEFAULT, json: Json = False) -> None:
    """Hold the present answers against every plan. Refused where an answer is empty."""
    _pull("pin", endpoints, load_region(region), json)


def unpin(endpoints: Endpoints, region: RegionOption = REGION_DEFAULT, json: Json = False) -> None:
    """Give held endpoints back to the plan."""
    _pull("unpin", endpoints, load_region(region), json)


def rollback(endpoints: Endpoints, region: RegionOption = REGION_DEFAULT, json: Json = False) -> None:
    """Put the previous answers back, and hold them until unpinned. Refused where they are empty by now."""
    _pull("rollback", endpoints, load_region(region), json)


def repair(
    endpoints: Annotated[list[str] | None, typer.Argument(metavar="[ENDPOINT...]", help="Names of endpoints.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every endpoint of the region, and any with a fence.")
    ] = False,
    region: RegionOption = REGION_DEFAULT,
    json: Json = False,
) -> None:
    """Make endpoints sound again from what their zone holds alone: an answer with addresses, exactly one fence.

    What is sound already is left as it is.
    """
    found = load_region(region)
    if bool(endpoints) is everything:
        raise InputError.one("repair", "which endpoints?", "name some, or say --all")

    async def act(operator: Operator) -> list[Outcome]:
        names = list(endpoints or [])
        if everything:
            published = [name for zone in found.zones for name in await operator.published(zone)]
            names = sorted({*found.endpoints, *published})
        return await operator.pull("repair", names)

    _finish(_with_operator(found, act), json)


def audit(region: RegionArgument = REGION_DEFAULT, json: Json = False) -> None:
    """Resolve every endpoint at every authoritative server, as a client would: empty, or other than planned?

    With the plan store gone, what the primaries hold stands in for the plan.
    """
    found = load_region(region)
    audited, source = asyncio.run(_audit(found))
    bad = [each for each in audited if each.is_bad]
    counts = Counter(each.finding for each in audited)
    if json:
        print_json({"against": source, "counts": {kind.value: counts[kind] for kind in Finding}, "bad": bad})
    else:
        for each in bad[:SHOWN_MAX]:
            say(f"{each.finding.value:<12} {each.endpoint} at {each.server}: {each.detail}")
        if len(bad) > SHOWN_MAX:
            say(f"and {len(bad) - SHOWN_MAX} more; --json has them all")
        told = ", ".join(f"{counts[kind]} {kind.value}" for kind in Finding if counts[kind]) or "nothing to ask"
        say(f"{len(audited)} answers against the {source}: {told}")
    raise typer.Exit(1 if bad else 0)


async def _audit(region: Region) -> tuple[list[Audited], str]:
    try:
        async with asyncio.timeout(AUDIT_DEADLINE_S), _operator(region) as operator:
            plan = await newest_plan(region)
            if plan is not None:
                expected, source = {name: each.answer for name, each in plan.endpoints.items()}, "plan"
            else:
                expected, source = await _answers_of(region, operator), "primaries"
            return [each async for each in operator.audit(expected)], source
    except TimeoutError:
        raise Unfinished(f"the audit did not end within {AUDIT_DEADLINE_S:g} s") from None


async def _answers_of(region: Region, operator: Operator) -> dict[str, Answer]:
    answers = {}
    for name, endpoint in region.endpoints.items():
        standing = await operator.standing(name)
        a_weights, aaaa_weights = weights_of(standing)
        answers[name] = Answer(endpoint.ttl_s, standing.a, a_weights, standing.aaaa, aaaa_weights)
    return answers


def _pull(lever: str, endpoints: Sequence[str], region: Region, as_json: bool) -> None:
    _finish(_with_operator(region, lambda operator: operator.pull(lever, endpoints)), as_json)


def _with_operator(region: Region, act: Callable[[Operator], Awaitable[list[Outcome]]]) -> list[Outcome]:
    async def run() -> list[Outcome]:
        async with _operator(region) as operator:
            return await act(operator)

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def _operator(region: Region) -> AsyncIterator[Operator]:
    journal = FileJournal(region.state_dir, OPERATOR)
    try:
        async with operating(region, journal) as operator:
            yield operator
    finally:
        journal.close()


def _finish(outcomes: Iterable[Outcome], as_json: bool) -> None:
    """Print what was done to each, and exit by the worst of it."""
    rows = list(outcomes)
    if as_json:
        print_json({"outcomes": [_as_json(row) for row in rows]})
    else:
        for row in rows:
            how = "refused" if row.error is not None else "done" if row.changed else "as it was"
            say(f"{how:<10} {row.endpoint}  {row.detail.removeprefix(row.endpoint + ': ')}")
    if any(isinstance(row.error, InternalError) for row in rows):
        raise next(row.error for row in rows if isinstance(row.error, InternalError))
    raise typer.Exit(max((row.error.exit_code for row in rows if row.error is not None), default=0))


def _as_json(row: Outcome) -> dict[str, object]:
    error = type(row.error).__name__ if row.error is not None else None
    return {"endpoint": row.endpoint, "changed": row.changed, "detail": row.detail, "error": error}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        return "an operator"
