"""The reference of region.toml, drawn from its schema: every table, key, type, default and what it means.

`python -m evenkeel.region.config.reference` in the source tree writes docs/reference/region.md (below its marker) and
examples/region.schema.json anew; a test holds both to what the code says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evenkeel.model.policy import DNS_PRESETS, DnsPreset
from evenkeel.region.config.schema import schema, schema_text

MARKER = "<!-- Below: drawn by `python -m evenkeel.region.config.reference` from the code. -->\n"
REFERENCE = Path("docs/reference/region.md")
SCHEMA = Path("examples/region.schema.json")
# Tables that stand inside others: each is explained after the first that it stands in.
_INNER = {
    "SelectTable": ("select", "In an endpoint or template."),
    "AccountsTable": ("accounts", "In an endpoint template."),
}


def with_tables(page: str) -> str:
    """`page` with everything below the marker drawn anew."""
    return page.partition(MARKER)[0] + MARKER + "\n" + "\n".join(_lines())


def _lines() -> Iterator[str]:
    drawn = schema()
    inner_left = dict(_INNER)
    for key, told in drawn["properties"].items():
        is_array = told.get("type") == "array"
        reference = (told["items"] if is_array else told)["$ref"]
        yield from _table(drawn, reference, f"`[[{key}]]`" if is_array else f"`[{key}]`")
        for name, (inner, where) in list(inner_left.items()):
            if inner in _definition(drawn, reference)["properties"]:
                del inner_left[name]
                yield from _table(drawn, f"#/$defs/{name}", f"`{inner}`", where)


def _table(drawn: dict[str, Any], reference: str, heading: str, where: str = "") -> Iterator[str]:
    table = _definition(drawn, reference)
    yield f"## {heading}\n"
    yield f"{table['description']} {where}".strip() + "\n"
    yield "| key | value | default | what it is |"
    yield "| --- | --- | --- | --- |"
    required = table.get("required", [])
    for key, told in sorted(table["properties"].items(), key=lambda item: item[0] not in required):
        default = "**needed**" if key in required else _shown(told["default"]) if "default" in told else ""
        if reference.endswith("/PolicyTable"):
            default = default or _policy_default(key)
        meaning = told.get("description", "").replace("\n", " ")
        yield f"| `{key}` | {_value(drawn, told)} | {default} | {meaning} |"
    yield ""


def _definition(drawn: dict[str, Any], reference: str) -> dict[str, Any]:
    found: dict[str, Any] = drawn["$defs"][reference.removeprefix("#/$defs/")]
    return found


def _value(drawn: dict[str, Any], told: dict[str, Any]) -> str:
    """What may stand at a key, in words."""
    if "$ref" in told:
        told = _definition(drawn, told["$ref"])
    match told.get("type"):
        case "string" if "enum" in told:
            return " or ".join(f"`{option}`" for option in told["enum"])
        case "string":
            return "text"
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _range(told)
        case "boolean":
            return "`true` or `false`"
        case "array":
            return f"list of {_value(drawn, told['items'])}"
    return "table of texts" if "additionalProperties" in told and "properties" not in told else "table"


def _range(told: dict[str, Any]) -> str:
    low = next((f"{word} {told[key]:g}" for key, word in _LOWS.items() if key in told), "")
    high = f"at most {told['maximum']:,.0f}" if "maximum" in told else ""
    return "".join(f", {part}" for part in (low, high) if part)


_LOWS = {"minimum": "at least", "exclusiveMinimum": "above"}


def _policy_default(key: str) -> str:
    safe, then = (getattr(DNS_PRESETS[preset], key.replace("-", "_")) for preset in DnsPreset)
    return f"`{safe}`" if safe == then else f"`{safe}` (`october-2025`: `{then}`)"


def _shown(default: Any) -> str:
    match default:
        case bool():
            return f"`{str(default).lower()}`"
        case str():
            return f'`"{default}"`'
        case _:
            return f"`{default}`"


def main() -> None:
    """Write both files in the source tree that is the current folder."""
    REFERENCE.write_text(with_tables(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {REFERENCE} and {SCHEMA}\n")


if __name__ == "__main__":
    main()
