"""The JSON schema of region.toml, by which editors complete and check it while it is written."""

from __future__ import annotations

import json
from typing import Any

from evenkeel.region.config.shapes import RegionFile


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the whole file, with the text of every key."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **RegionFile.model_json_schema(by_alias=True, mode="validation"),
        "title": "region.toml",
    }


def schema_text() -> str:
    """As it stands in `examples/region.schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
