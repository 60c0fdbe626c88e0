"""Verbs on the region's file itself: validate, schema, keys."""

from __future__ import annotations

from collections import Counter

import typer

from evenkeel.adapters.secrets import make_missing_secrets, secret_names, secret_path
from evenkeel.cli.output import REGION_DEFAULT, Json, RegionArgument, load_region, print_json, say
from evenkeel.model.region import Region
from evenkeel.region.components import components


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Files", epilog="Example: evenkeel validate examples/demo/region.toml")(validate)
    app.command(rich_help_panel="Files", epilog="Example: evenkeel schema > region.schema.json")(schema)
    app.command(rich_help_panel="Files", epilog="Example: evenkeel keys region.toml")(keys)


def validate(region: RegionArgument = REGION_DEFAULT, json: Json = False) -> None:
    """Check a region's file: every problem at once, or what the file comes to."""
    counts = region_counts(load_region(region))
    if json:
        print_json({"region": str(region), "valid": True, **counts})
        return
    say(f"{region}: good")
    for what, count in counts.items():
        say(f"  {what.replace('_', ' '):<15} {count}")


def schema() -> None:
    """Print the JSON schema of region.toml, for editors."""
    from evenkeel.region.config import schema as region_schema  # pydantic, as in output.load_region

    print_json(region_schema())


def keys(region: RegionArgument = REGION_DEFAULT, json: Json = False) -> None:
    """Make the secrets that are missing, and say where each stands. The secrets themselves are not printed."""
    found = load_region(region)
    names = secret_names(found)
    made = make_missing_secrets(found.state_dir, names)
    rows = [{"name": name, "path": str(secret_path(found.state_dir, name)), "made": name in made} for name in names]
    if json:
        print_json({"secrets": rows})
        return
    for row in rows:
        say(f"{row['name']:<20} {row['path']}{'  (made now)' if row['made'] else ''}")


def region_counts(region: Region) -> dict[str, int | str]:
    """What a region holds, in numbers."""
    layouts = Counter(endpoint.layout.value for endpoint in region.endpoints.values())
    return {
        "name": region.name,
        "azs": len(region.azs),
        "zones": len(region.zones),
        "endpoints": len(region.endpoints),
        "tree_endpoints": layouts["tree"],
        "flat_endpoints": layouts["flat"],
        "load_balancers": len(region.load_balancers),
        "planners": region.planners,
        "enactors": region.enactors,
        "components": len(components(region)),
    }
