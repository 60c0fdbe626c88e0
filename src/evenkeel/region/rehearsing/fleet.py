"""Rehearsals of a fleet: the scenario's file, the night, and what it comes to.

A file with a `[night]` table is about a fleet; it needs no region, for a fleet's managers know nothing of DNS.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evenkeel.model.errors import InputError
from evenkeel.model.fleet_policy import FleetPreset
from evenkeel.region.config.documents import read_document
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.tables import told
from evenkeel.region.config.texts import BadText
from evenkeel.region.rehearsing.fleet_shapes import FleetFile
from evenkeel.region.rehearsing.moments import SECOND_US, span_us
from evenkeel.region.rehearsing.packaged import FOLDER
from evenkeel.region.rehearsing.rehearse import peak_rss_mb
from evenkeel.sim.fleet.night import Came, Night, live_through
from evenkeel.sim.fleet.run import rehearse as rehearse_scene

FLEET_FOLDER = FOLDER / "fleet"
WORST_CASE_TIMES = 100.0  # smaller: the same recovery, in a hundredth of the work


# Of each: the field of `Night`, whether it is a whole number, its bounds.
NUMBERS: dict[str, tuple[str, bool, float, float]] = {
    "hosts": ("hosts", True, 100, 10_000_000),
    "capacity-per-s": ("capacity_per_s", False, 0.1, 1e7),
    "renew-cost": ("renew_cost", False, 1e-6, 1.0),
    "message-cost": ("message_cost", False, 0.0, 1.0),
    "term": ("term_s", False, 1.0, 86_400.0),
    "request-timeout": ("request_timeout_s", False, 0.1, 3600.0),
    "queued-max": ("queued_max", True, 1, 100_000_000),
    "throttle-per-s": ("throttle_per_s", False, 0.1, 1e7),
    "launches-per-s": ("launches_per_s", False, 0.0, 1e5),
}


@dataclass(frozen=True, slots=True)
class FleetScenario:
    """A fleet's scenario, as its file has it."""

    name: str
    title: str
    story: str
    starts_s: int
    clock: str
    preset: FleetPreset
    night: Night
    leased_by_s: float
    tolerance_s: float
    assumed: dict[str, float | str]
    reasons: dict[str, str]  # of each assumption
    others: dict[str, tuple[float | str, ...]]  # what else each may be

    def clock_text(self, at_s: float) -> str:
        """`02:25`: the scenario's clock, so many seconds after its start."""
        minutes = round((self.starts_s + at_s) / 60) % 1440
        return f"{minutes // 60:02}:{minutes % 60:02}"


@dataclass(frozen=True, slots=True)
class FleetOutcome:
    """What a fleet's rehearsal came to."""

    scenario: FleetScenario
    preset: FleetPreset
    came: Came
    sweep_x_bound: float | None  # of the worst case; None where it was not asked for
    wall_s: float

    @property
    def is_good(self) -> bool:
        """October's night ends when it did; under the safe policy the leases are back at the limit or before. Neither
        breaks an invariant."""
        if self.came.leased_at_s is None or any(self.came.measured.broken.values()):
            return False
        if self.preset is FleetPreset.OCTOBER_2025:
            return abs(self.came.leased_at_s - self.scenario.leased_by_s) <= self.scenario.tolerance_s
        return (self.x_bound or 0.0) <= 1.05

    @property
    def x_bound(self) -> float | None:
        """Recovery over hosts / capacity: below 1 where leases were never lost. None: not within the night."""
        return None if self.came.recovery_s is None else self.came.recovery_s / self.came.bound_s


def fleet_scenarios() -> dict[str, Path]:
    """The ready scenarios of fleets, by name."""
    return {path.stem: path for path in sorted(FLEET_FOLDER.glob("*.toml"))}


def fleet_path(text: str) -> Path | None:
    """The file that `text` names, where it is about a fleet: a ready one's name, or a file with a `[night]`."""
    ready = fleet_scenarios()
    if text in ready:
        return ready[text]
    path = Path(text)
    if path.suffix == ".toml" and path.is_file() and "night" in read_document(path)[1]:
        return path
    return None


def read_fleet(path: Path) -> FleetScenario:
    """The scenario in `path`. Raises `InputError` with every problem of it."""
    text, document = read_document(path)
    report = Report(str(path), text)
    try:
        file = FleetFile.model_validate(document)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            report.add(*told(detail, FleetFile, Place()))
        report.raise_if_any()
        raise
    numbers = _numbers(file, report)
    report.raise_if_any()
    starts_s = file.scenario.starts

    def at_s(moment: Any) -> float:
        return float(moment.at_us(starts_s) / SECOND_US)

    night = Night(
        **numbers,
        store_lost_s=at_s(file.night.store_lost),
        store_back_s=at_s(file.night.store_back),
        remedy_s=at_s(file.night.remedy),
        lasts_s=file.scenario.lasts / SECOND_US,
        seed=file.scenario.seed,
    )
    return FleetScenario(
        path.stem,
        file.scenario.title,
        " ".join(file.scenario.story.split()),
        starts_s,
        file.scenario.clock,
        file.scenario.policy,
        night,
        at_s(file.night.leased_by),
        file.night.tolerance / SECOND_US,
        {each.name: each.value for each in file.assumption},
        {each.name: each.why for each in file.assumption},
        {each.name: tuple(v for v in (each.low, each.high) if v is not None) for each in file.assumption},
    )


def number_of(name: str, value: float | str) -> float | int:
    """An assumption's value as `Night` takes it. Raises `BadText`."""
    _, is_whole, least, most = NUMBERS[name]
    number = value if not isinstance(value, str) else span_us(value) / SECOND_US
    if not least <= number <= most:
        raise BadText(f"{value!r} is out of range", f"use {least:g} to {most:g}")
    return round(number) if is_whole else float(number)


def _numbers(file: FleetFile, report: Report) -> dict[str, Any]:
    """Every assumption once, as `Night` takes it."""
    found: dict[str, Any] = {}
    for index, each in enumerate(file.assumption):
        place = Place(("assumption", index), each.name)
        if each.name not in NUMBERS:
            report.add(place.at("name"), f"{each.name!r} is no assumption", "use one of " + ", ".join(NUMBERS))
            continue
        name = NUMBERS[each.name][0]
        if name in found:
            report.add(place.at("name"), f"{each.name!r} is there twice", "leave one of them")
        for key, value in (("value", each.value), ("low", each.low), ("high", each.high)):
            try:
                number = number_of(each.name, value) if value is not None else None
            except BadText as error:
                report.add(place.at(key), error.what, error.mend)
                continue
            if key == "value":
                found[name] = number
    missing = [name for name, (field, *_) in NUMBERS.items() if field not in found]
    if missing:
        report.add(Place(("assumption",)), "is without " + ", ".join(missing), "assume each of them, and say why")
    return found


def preset_named(name: str, scenario: FleetScenario) -> FleetPreset:
    """A fleet policy by name; "" is the scenario's own. Raises `InputError`."""
    if not name:
        return scenario.preset
    try:
        return FleetPreset(name)
    except ValueError:
        mend = "use one of " + ", ".join(FleetPreset)
        raise InputError.one("--policy", f"there is no fleet policy {name!r}", mend) from None


def rehearse_fleet(
    scenario: FleetScenario,
    policy: str = "",
    seed: int | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> FleetOutcome:
    """Rehearse the night; under the safe policy also what the sweep would do had every lease been lost.
    `on_progress` is told of the virtual seconds gone by. Raises `InputError` where there is no such policy."""
    began_s = time.perf_counter()
    preset = preset_named(policy, scenario)
    night = scenario.night if seed is None else replace(scenario.night, seed=seed)
    came = live_through(night, preset, on_progress)
    worst = None
    if preset is FleetPreset.SAFE:
        worst = rehearse_scene(night.worst_case(WORST_CASE_TIMES)).x_bound
    return FleetOutcome(scenario, preset, came, worst, time.perf_counter() - began_s)


def fleet_json(outcome: FleetOutcome) -> dict[str, object]:
    """The outcome as `--json` prints it. Times in seconds since the start."""
    scenario, came = outcome.scenario, outcome.came
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "policy": outcome.preset.value,
        "good": outcome.is_good,
        "digest": came.measured.digest,
        "seed": scenario.night.seed,
        "virtual_s": scenario.night.lasts_s,
        "wall_s": round(outcome.wall_s, 3),
        "events": came.measured.events,
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "milestones": fleet_milestones(outcome),
        "invariants": [
            {"name": name, "required": True, "holds": not broken, "broken": broken}
            for name, broken in came.measured.broken.items()
        ],
        "figures": fleet_figures(outcome),
        "assumptions": scenario.assumed,
    }


def fleet_figures(outcome: FleetOutcome) -> dict[str, object]:
    """What a night is judged by."""
    came, measured, night = outcome.came, outcome.came.measured, outcome.scenario.night
    well_s = came.launches_well_at_s
    return {
        "lease_recovery_x_bound": outcome.x_bound,
        "lease_recovery_s": came.recovery_s,
        "bound_s": came.bound_s,
        "sweep_x_bound_had_all_been_lost": outcome.sweep_x_bound,
        "leased_at_s": came.leased_at_s,
        "leases_held_min": measured.held_min,
        "launches_well_after_s": None if well_s is None else max(0.0, well_s - night.store_back_s),
        "launched_share": came.launched_share,
        "hosts": night.hosts,
        "grants": measured.grants,
        "renewals": measured.renewals,
        "amnesties": measured.amnesties,
        "dropped": measured.dropped,
        "held": [[round(at_s, 1), count] for at_s, count in _thinned(measured.held)],
    }


def _thinned(held: list[tuple[float, int]], every_s: float = 60.0) -> list[tuple[float, int]]:
    """One count a minute."""
    kept: list[tuple[float, int]] = []
    for at_s, count in held:
        if not kept or at_s >= kept[-1][0] + every_s:
            kept.append((at_s, count))
    return kept


def fleet_milestones(outcome: FleetOutcome) -> list[dict[str, object]]:
    """Every lease held: when it is expected, and when it was."""
    scenario, came = outcome.scenario, outcome.came
    is_october = outcome.preset is FleetPreset.OCTOBER_2025
    off_s = None if came.leased_at_s is None else came.leased_at_s - scenario.leased_by_s
    return [
        {
            "name": "every lease held",
            "expected_s": scenario.leased_by_s if is_october else None,
            "at_s": came.leased_at_s,
            "off_s": off_s if is_october else None,
            "tolerance_s": scenario.tolerance_s if is_october else None,
            "met": outcome.is_good,
        }
    ]
