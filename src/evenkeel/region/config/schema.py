"""The JSON schema of region.toml, by which editors complete and check it while it is written."""

from __future__ import annotations

import json
from typing import Any

from evenkeel.region.config.shapes import RegionFile


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the whole file, with the text of every key. What spans tables is beyond it."""
    drawn: dict[str, Any] = _without_null(RegionFile.model_json_schema(by_alias=True, mode="validation"))
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "region.toml"}
    return head | drawn


def schema_text() -> str:
    """As it stands in `examples/region.schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _without_null(drawn: Any) -> Any:
    """TOML has no null: a key that may be left out is not one that may be null. Titles would repeat the keys."""
    if isinstance(drawn, list):
        return [_without_null(item) for item in drawn]
    if not isinstance(drawn, dict):
        return drawn
    rest = {key: value for key, value in drawn.items() if not _is_noise(key, value)}
    options = rest.get("anyOf", [])
    if {"type": "null"} in options and len(options) == 2:
        del rest["anyOf"]
        rest = next(option for option in options if option != {"type": "null"}) | rest
    return {key: _without_null(value) for key, value in rest.items()}


def _is_noise(key: str, value: Any) -> bool:
    is_title = key == "title" and isinstance(value, str)
    is_no_default = key == "default" and (value is None or isinstance(value, dict) or value == [])
    return is_title or is_no_default
