"""The JSON schema of a scenario's file, by which editors complete and check it while it is written."""

from __future__ import annotations

from typing import Any

from evenkeel.region.config.fields import Table
from evenkeel.region.rehearsing.shapes import ScenarioFile


def schema(file: type[Table] = ScenarioFile) -> dict[str, Any]:
    """JSON Schema (2020-12) of the whole file, with the text of every key. `FleetFile`: of one about a fleet."""
    found = file.model_json_schema(by_alias=True, mode="validation")
    for table in [found, *found.get("$defs", {}).values()]:
        for key in table.get("properties", {}).values():
            # Spans are texts in the file and microseconds in the program: a default is no example of the former.
            if key.get("type") == "string" and not isinstance(key.get("default", ""), str):
                del key["default"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "scenario",
    }
