"""The tables of a scenario about a fleet: what stands in its file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evenkeel.model.fleet_policy import FleetPreset
from evenkeel.region.config.fields import ByValue, Table
from evenkeel.region.rehearsing.moments import SECOND_US
from evenkeel.region.rehearsing.shapes import ClockTime, Moment, Span


class FleetScenarioTable(Table):
    """The scenario itself."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    """One line that names it."""
    story: str = ""
    """What happens and why it matters, for people."""
    starts: ClockTime = 0
    """The time of the day at which it begins; every host holds a lease then."""
    clock: Annotated[str, Field(max_length=16)] = "UTC"
    """The name of that clock, for people."""
    lasts: Span
    """How long it goes on, in virtual time."""
    seed: Annotated[int, Field(ge=0, le=2**63)] = 1
    """The seed of all chance, unless one is given."""
    policy: Annotated[FleetPreset, ByValue] = FleetPreset.OCTOBER_2025
    """The fleet's policy, unless one is given."""


class NightTable(Table):
    """What happens when; a file with this table is about a fleet."""

    store_lost: Moment
    """The managers can no longer reach their store."""
    store_back: Moment
    """They can again."""
    remedy: Moment
    """An operator throttles requests and restarts managers, where the policy knows no better."""
    leased_by: Moment
    """When the last lease is expected to be held again."""
    tolerance: Span = 300 * SECOND_US
    """How far from that it may be."""


class FleetAssumptionTable(Table):
    """A number that is not public: what is assumed, what else it may be, and why."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    """Which: hosts, capacity-per-s, renew-cost, message-cost, term, request-timeout, queued-max, throttle-per-s,
    launches-per-s; each is needed once."""
    value: float | str
    """What is assumed: a number, or a span."""
    low: float | str | None = None
    """The least that is plausible, for --sensitivity."""
    high: float | str | None = None
    """The most that is plausible, for --sensitivity."""
    why: Annotated[str, Field(min_length=1, max_length=500)]
    """Why."""


class FleetFile(Table):
    """A scenario about a fleet."""

    scenario: FleetScenarioTable
    night: NightTable
    assumption: list[FleetAssumptionTable]
