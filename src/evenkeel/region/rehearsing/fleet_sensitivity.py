"""What hangs on each assumption of a fleet's night: once more with each at its least and at its most plausible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from evenkeel.region.rehearsing.fleet import NUMBERS, FleetScenario, number_of, preset_named
from evenkeel.sim.fleet.night import Night, live_through

TIMES = 50.0  # smaller, so that a night takes seconds; it goes as that of the whole fleet does

Row = dict[str, object]


def fleet_swings(scenario: FleetScenario) -> list[tuple[str, float | str]]:
    """Every assumption with every other value it may have."""
    return [(name, value) for name, values in scenario.others.items() for value in values]


def fleet_sensitivity(
    scenario: FleetScenario, policy: str = "", on_progress: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """The night as assumed, and with each assumption changed alone. Raises `InputError` for an unknown policy."""
    preset, rows = preset_named(policy, scenario), []

    def row(name: str, value: float | str, night: Night) -> Row:
        came = live_through(night.smaller(TIMES), preset)
        leased = came.leased_at_s
        return {
            "assumption": name,
            "value": value,
            "leased_at_s": leased,
            "leased_at": None if leased is None else scenario.clock_text(leased),
            "off_s": None if leased is None else leased - scenario.leased_by_s,
            "x_bound": None if came.recovery_s is None else came.recovery_s / came.bound_s,
            "held_min_share": came.measured.held_min / came.measured.hosts_alive,
            "launched_share": came.launched_share,
        }

    base = row("as assumed", "", scenario.night)
    for done, (name, value) in enumerate(fleet_swings(scenario)):
        on_progress(done + 1)
        changed: dict[str, Any] = {NUMBERS[name][0]: number_of(name, value)}
        rows.append(row(name, value, replace(scenario.night, **changed)))
    return {"policy": preset.value, "base": base, "rows": rows}
