"""The verb on the next plan: plan."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from evenkeel.cli.output import REGION_DEFAULT, Json, RegionArgument, load_region, print_json, say
from evenkeel.region.outlook import Outlook, approve, look_ahead


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look", epilog="Example: evenkeel plan region.toml --approve 1f3a09c2b7de4456")(plan)


def plan(
    region: RegionArgument = REGION_DEFAULT,
    checksum: Annotated[
        str, typer.Option("--approve", metavar="CHECKSUM", help="Approve the proposal of this checksum.")
    ] = "",
    json: Json = False,
) -> None:
    """What the next plan would change against what is published, with a checksum over the whole of it.

    It is computed from the file as it is now: with a changed file, the change is what you see. Where the file says
    `approval = "required"`, Planners publish nothing that was not approved by its checksum.
    """
    found = load_region(region)
    if checksum:
        asyncio.run(approve(found, checksum))
        if json:
            print_json({"approved": checksum})
        else:
            say(f"approved {checksum}: a Planner publishes it, unless what clients would see has changed meanwhile")
        return
    outlook = asyncio.run(look_ahead(found))
    if json:
        print_json(_as_json(outlook))
    else:
        _show(outlook)


def _show(outlook: Outlook) -> None:
    published, preview = outlook.published, outlook.preview
    say(f"published: plan {published.generation} by {published.planner}" if published.generation else "published: none")
    if preview.is_empty:
        say("next: no change")
    for line in preview.lines():
        say(line)
    if not preview.is_empty:
        say(f"next: {len(preview.endpoints)} endpoints changed, {len(preview.removed)} removed")
        say(f"checksum: {preview.checksum}")
    for each in outlook.proposals:
        what = "this" if each.checksum == preview.checksum else "another plan"
        say(f"{each.planner} awaits approval of {what}: evenkeel plan --approve {each.checksum}")
        if each.checksum != preview.checksum:
            for line in each.lines:
                say(f"  {line}")


def _as_json(outlook: Outlook) -> dict[str, object]:
    return {
        "published": {"generation": outlook.published.generation, "planner": outlook.published.planner},
        "next": outlook.preview.document(),
        "proposals": [
            {
                "planner": each.planner,
                "checksum": each.checksum,
                "base_generation": each.base_generation,
                "changed": each.changed,
                "removed": each.removed,
                "lines": each.lines,
            }
            for each in outlook.proposals
        ],
    }
