"""From a TOML document to the tables in `shapes`, every one on its own, with all of their faults reported.

A table with faults is read once more without the keys at fault, so that the checks that take several tables run over
what is sound; those keys stay known as doubtful, lest one mistake be reported twice.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from evenkeel.region.config import limits, shapes
from evenkeel.region.config.fields import Table, kebab
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.texts import did_you_mean, shown

T = TypeVar("T", bound=Table)


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A table that could be read, perhaps without its `doubtful` keys."""

    table: T
    place: Place
    doubtful: frozenset[str] = frozenset()

    def is_sound(self, *keys: str) -> bool:
        return self.doubtful.isdisjoint(keys)


@dataclass(slots=True)
class Rows(Generic[T]):
    """An array of tables. `lost` are the names of those that could not be read at all."""

    entries: list[Entry[T]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    is_whole: bool = True  # False: one without a name is lost too, so no reference can be called unknown

    @property
    def is_absent(self) -> bool:
        """Whether the file has none, not even one at fault."""
        return self.is_whole and not self.entries and not self.lost


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything in the file; `region` is None where it could not be read."""

    region: Entry[shapes.RegionTable] | None
    policy: Entry[shapes.PolicyTable]
    zones: Rows[shapes.ZoneTable]
    probe_defaults: Entry[shapes.ProbeTable]
    load_balancers: Rows[shapes.LoadBalancerTable]
    groups: Rows[shapes.LoadBalancerGroupTable]
    endpoints: Rows[shapes.EndpointTable]
    templates: Rows[shapes.EndpointTemplateTable]
    vantage: Entry[shapes.VantageTable]
    planner: Entry[shapes.PlannerTable]
    enactor: Entry[shapes.EnactorTable]
    plan_store: Entry[shapes.PlanStoreTable]
    audit: Entry[shapes.AuditTable]
    metrics: Entry[shapes.MetricsTable]
    fleet: Entry[shapes.FleetTable]
    demo: Entry[shapes.DemoTable]


def read_tables(document: dict[str, Any], report: Report) -> Tables:
    """Every table of `document`; what is wrong goes to `report`."""
    known = [alias for info in shapes.RegionFile.model_fields.values() if (alias := info.alias)]
    for key in document.keys() - set(known):
        report.add(Place((key,)), "unknown table", did_you_mean(key, known, "tables here"))
    read = _Reading(document, report)
    region = read.one("region", shapes.RegionTable) if "region" in document else None
    if "region" not in document:
        report.add(Place(), "the table `[region]` is missing", "add it, with `name` and `azs`")
    if not document.get("zone"):
        report.add(Place(), "there is no `[[zone]]`", "add one; endpoints stand in zones")
    return Tables(
        region=region,
        policy=read.optional("policy", shapes.PolicyTable),
        zones=read.rows("zone", shapes.ZoneTable, limits.ZONES_MAX),
        probe_defaults=read.optional("probe-defaults", shapes.ProbeTable),
        load_balancers=read.rows("load-balancer", shapes.LoadBalancerTable, limits.LOAD_BALANCERS_MAX),
        groups=read.rows("load-balancer-group", shapes.LoadBalancerGroupTable, limits.GROUPS_MAX),
        endpoints=read.rows("endpoint", shapes.EndpointTable, limits.ENDPOINTS_MAX),
        templates=read.rows("endpoint-template", shapes.EndpointTemplateTable, limits.TEMPLATES_MAX),
        vantage=read.optional("vantage", shapes.VantageTable),
        planner=read.optional("planner", shapes.PlannerTable),
        enactor=read.optional("enactor", shapes.EnactorTable),
        plan_store=read.optional("plan-store", shapes.PlanStoreTable),
        audit=read.optional("audit", shapes.AuditTable),
        metrics=read.optional("metrics", shapes.MetricsTable),
        fleet=read.optional("fleet", shapes.FleetTable),
        demo=read.optional("demo", shapes.DemoTable),
    )


class _Reading:
    """The document, the report, and how one takes tables from them."""

    def __init__(self, document: dict[str, Any], report: Report) -> None:
        self._document = document
        self._report = report

    def optional(self, key: str, shape: type[T]) -> Entry[T]:
        """A table whose keys all have defaults."""
        entry = self.one(key, shape)
        return entry if entry else Entry(shape(), Place((key,)), frozenset(map(kebab, shape.model_fields)))

    def one(self, key: str, shape: type[T]) -> Entry[T] | None:
        raw = self._document.get(key, {})
        if isinstance(raw, list):
            self._report.add(Place((key,)), f"`[[{key}]]` is an array of tables", f"write `[{key}]`, once")
            return None
        return self._entry(raw, shape, Place((key,)))

    def rows(self, key: str, shape: type[T], rows_max: int) -> Rows[T]:
        raw = self._document.get(key, [])
        if not isinstance(raw, list):
            self._report.add(Place((key,)), f"`[{key}]` is a single table", f"write `[[{key}]]`, once for each")
            return Rows(is_whole=False)
        if len(raw) > rows_max:
            self._report.add(Place((key,)), f"{len(raw)} of them are more than {rows_max}", "split the region")
            return Rows(is_whole=False)
        rows: Rows[T] = Rows()
        for index, item in enumerate(raw):
            name = item.get("name") if isinstance(item, dict) else None
            name = name if isinstance(name, str) else ""
            entry = self._entry(item, shape, Place((key, index), name))
            if entry:
                rows.entries.append(entry)
            elif name:
                rows.lost.add(name)
            else:
                rows.is_whole = False
        return rows

    def _entry(self, raw: object, shape: type[T], place: Place) -> Entry[T] | None:
        try:
            return Entry(shape.model_validate(raw), place)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            self._report.add(*told(detail, shape, place))
        if not isinstance(raw, dict):
            return None
        doubtful = frozenset(str(detail["loc"][0]) for detail in details if detail["loc"])
        try:
            sound = {key: value for key, value in raw.items() if key not in doubtful}
            stand_ins = {key: value for key, value in shape.stand_ins.items() if key in doubtful}
            return Entry(shape.model_validate(sound | stand_ins), place, doubtful)
        except ValidationError:
            return None  # what is needed is at fault


def told(detail: ErrorDetails, shape: type[BaseModel], place: Place) -> tuple[Place, str, str]:
    """One of pydantic's errors in our words: place, what, mend."""
    place = place.at(*detail["loc"])
    value, kind, context = shown(detail["input"]), detail["type"], detail.get("ctx", {})
    match kind:
        case "text":
            return place, context["what"], context["mend"]
        case "missing":
            key = str(detail["loc"][-1])
            return Place(place.keys[:-1], place.name), f"`{key}` is missing", f"add `{key} = ...`"
        case "extra_forbidden":
            return place, "unknown key", did_you_mean(str(detail["loc"][-1]), _keys(shape, detail["loc"]), "keys here")
        case "enum":
            options = [option.strip("'") for option in context["expected"].replace(" or ", ", ").split(", ")]
            return place, f"{value} is not known here", did_you_mean(str(detail["input"]), options, "known")
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            ((_, bound),) = context.items()
            return place, f"{value} is out of range", f"use a number {_BOUNDS[kind]} {bound:g}"
        case "too_long" | "string_too_long":
            return place, f"{value} is too long", f"use at most {context['max_length']}"
        case "too_short" | "string_too_short":
            return place, f"{value} is too short", f"use at least {context['min_length']}"
    what, mend = _TYPES.get(kind, (detail["msg"], "see the reference of this file in docs/reference"))
    if kind in ("int_type", "float_type", "bool_type") and isinstance(detail["input"], str):
        mend = "write it without quotes"
    return place, f"{value} {what}", mend


_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "of at least",
    "less_than": "below",
    "less_than_equal": "of at most",
}
_TYPES = {
    "string_type": ("is not a text", "put it between quotes"),
    "int_type": ("is not a whole number", "write a whole number"),
    "float_type": ("is not a number", "write a number"),
    "finite_number": ("is not a finite number", "write a finite number"),
    "bool_type": ("is neither true nor false", "write `true` or `false`"),
    "list_type": ("is not a list", "put it between [ and ]"),
    "dict_type": ("is not a table", "write `{ key = value }`"),
    "model_type": ("is not a table", "write `{ key = value }`, or a header of its own"),
}


def _keys(shape: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The keys known in the table that holds the last key of `loc`."""
    for key in loc[:-1]:
        for info in shape.model_fields.values():
            if info.alias == key:
                shape = _model_in(info.annotation) or shape
    return [alias for info in shape.model_fields.values() if (alias := info.alias)]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) in (typing.Union, list):
        return next((model for part in typing.get_args(annotation) if (model := _model_in(part))), None)
    return None
