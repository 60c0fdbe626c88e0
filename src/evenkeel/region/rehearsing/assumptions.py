"""Named unknowns: sets them in a region and a script, at their own value or at another to see what hangs on them.

A path names what is set: `region.` or `scenario.`, then keys as the files write them; a name picks from a list, `*`
takes all of it. Whole numbers stay whole; a span goes where the value is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from evenkeel.model.errors import InputError
from evenkeel.model.region import Region
from evenkeel.region.config.texts import BadText
from evenkeel.region.rehearsing.moments import SECOND_US, span_us
from evenkeel.region.rehearsing.reading import MILLE, Assumption
from evenkeel.sim.script import Script

Value = float | str

# Kept per mille in the script's values.
_SHARES = frozenset({"capacity_wobble", "share"})
# Keys that the script's values call otherwise.
_ALIASES = {"for": "for_us", "wobble-every": "wobble_every_us", "expected": "expected_us"}


def assumed(
    region: Region, script: Script, assumptions: Sequence[Assumption], others: dict[str, Value] | None = None
) -> tuple[Region, Script]:
    """Region and script with every assumption at its value, or at that in `others`. Raises `InputError`."""
    for assumption in assumptions:
        value = (others or {}).get(assumption.name, assumption.value)
        for path in assumption.sets:
            root, *keys = path.split(".")
            where = f"assumption {assumption.name!r}: {path}"
            if root == "region" and keys:
                region = _set(region, keys, value, where)
            elif root == "scenario" and keys:
                script = _set(script, keys, value, where)
            else:
                raise InputError.one(where, f"{root!r} is neither region nor scenario", "begin with one of them")
    return region, script


def _set(value: Any, keys: Sequence[str], new: Value, where: str) -> Any:
    """A copy of `value` with what `keys` lead to replaced."""
    if not keys:
        return _converted(value, new, where)
    key, rest = keys[0], keys[1:]
    if isinstance(value, dict):
        chosen = [each for each in value if key == "*" or each.rstrip(".") == key]
        if chosen:
            return {name: _set(each, rest, new, where) if name in chosen else each for name, each in value.items()}
    elif isinstance(value, tuple):
        if any(key in ("*", getattr(each, "name", None)) for each in value):
            return tuple(
                _set(each, rest, new, where) if key in ("*", getattr(each, "name", None)) else each for each in value
            )
    elif is_dataclass(value) and not isinstance(value, type):
        found = _attribute(value, key)
        if found:
            if not rest:
                new = _scaled(found, new, where)
            return replace(value, **{found: _set(getattr(value, found), rest, new, where)})
    raise InputError.one(where, f"there is no {key!r}", "name what it sets as the files do, list items by their name")


def _attribute(value: Any, key: str) -> str:
    names = {field.name for field in fields(value)}
    snake = key.replace("-", "_")
    for name in (_ALIASES.get(key, ""), snake, snake + "_us", snake + "_s", snake + "s"):
        if name in names:
            return name
    return ""


def _scaled(attribute: str, new: Value, where: str) -> Value:
    """A span, or a share, in the attribute's own unit."""
    if not isinstance(new, str):
        return new * MILLE if attribute in _SHARES else new
    try:
        us = span_us(new)
    except BadText as error:
        raise InputError.one(where, error.what, error.mend) from error
    return us if attribute.endswith("_us") else us / SECOND_US


def _converted(old: Any, new: Value, where: str) -> Any:
    if isinstance(old, bool) or not isinstance(old, int | float) or isinstance(new, str):
        raise InputError.one(where, f"{old!r} is not a number that can be set", "name a number or a span")
    return round(new) if isinstance(old, int) else float(new)
