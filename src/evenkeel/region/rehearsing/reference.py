"""The reference of a scenario's file, drawn from its schema and from the lists of what it may name.

`python -m evenkeel.region.rehearsing.reference` in the source tree writes docs/reference/scenario.md anew below its
marker; a test holds the page to what the code says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evenkeel.region.rehearsing.fleet_shapes import FleetFile
from evenkeel.region.rehearsing.policies import POLICIES
from evenkeel.region.rehearsing.schema import schema
from evenkeel.region.rehearsing.shapes import AssumptionsFile
from evenkeel.sim.chance import LATENCIES

MARKER = "<!-- Below: drawn by `python -m evenkeel.region.rehearsing.reference` from the code. -->\n"
REFERENCE = Path("docs/reference/scenario.md")


def with_tables(page: str) -> str:
    """`page` with everything below the marker drawn anew."""
    return page.partition(MARKER)[0] + MARKER + "\n" + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    drawn = schema()
    for key, told in drawn["properties"].items():
        is_array = told.get("type") == "array"
        reference = _reference(told["items"] if is_array else told)
        if not reference:
            yield from (f"## `{key}`\n", f"{told['description']}\n")
            continue
        yield from _table(drawn, reference, f"`[[{key}]]`" if is_array else f"`[{key}]`")
    assumptions = AssumptionsFile.model_json_schema(by_alias=True)
    yield from _table(assumptions, "#/$defs/AssumptionTable", "`[[assumption]]`, in a file of assumptions")
    fleet = schema(FleetFile)
    for key, heading in (("scenario", "`[scenario]`"), ("night", "`[night]`"), ("assumption", "`[[assumption]]`")):
        told = fleet["properties"][key]
        yield from _table(fleet, _reference(told.get("items", told)), f"{heading}, in a scenario about a fleet")
    yield "## Latencies\n"
    yield "| name | one way: median | mean | slowest |"
    yield "| --- | --- | --- | --- |"
    for name, latency in LATENCIES.items():
        table = latency.table_us
        yield f"| `{name}` | {table[len(table) // 2]:,} us | {latency.mean_us:,} us | {table[-1]:,} us |"
    yield "\n## Policies\n"
    yield "`--policy`, `under` and `beside` take one of: " + ", ".join(f"`{name}`" for name in POLICIES) + "."


def _reference(told: dict[str, Any]) -> str:
    for each in (told, *told.get("anyOf", [])):
        if "$ref" in each:
            return str(each["$ref"])
    return ""


def _table(drawn: dict[str, Any], reference: str, heading: str) -> Iterator[str]:
    table = drawn["$defs"][reference.removeprefix("#/$defs/")]
    yield f"## {heading}\n"
    yield f"{table['description']}\n"
    yield "| key | value | what it is |"
    yield "| --- | --- | --- |"
    required = table.get("required", [])
    for key, told in sorted(table["properties"].items(), key=lambda item: item[0] not in required):
        needed = " (needed)" if key in required else ""
        meaning = str(told.get("description", "")).replace("\n", " ").replace("|", "\\|")
        yield f"| `{key}`{needed} | {_value(drawn, told)} | {meaning} |"
    yield ""


def _value(drawn: dict[str, Any], told: dict[str, Any]) -> str:
    """What may stand at a key, in words."""
    if "anyOf" in told:
        return " or ".join(_value(drawn, each) for each in told["anyOf"] if each.get("type") != "null")
    if "$ref" in told:
        return _value(drawn, drawn["$defs"][told["$ref"].removeprefix("#/$defs/")])
    match told.get("type"):
        case "string" if "enum" in told:
            return " or ".join(f"`{option}`" for option in told["enum"])
        case "string" if "examples" in told:
            return "text such as " + " or ".join(f'`"{example}"`' for example in told["examples"])
        case "array":
            return f"list of {_value(drawn, told['items'])}"
        case "integer" | "number" as kind:
            return "whole number" if kind == "integer" else "number"
        case "boolean":
            return "`true` or `false`"
    return "text"


def main() -> None:
    """Write the page in the source tree that is the current folder."""
    REFERENCE.write_text(with_tables(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote {REFERENCE}\n")


if __name__ == "__main__":
    main()
