"""The preview: what a reader sees, and what the checksum binds."""

from __future__ import annotations

import json
from dataclasses import replace

from evenkeel.endpoints.planner import foresee
from evenkeel.endpoints.preview import Preview, preview
from evenkeel.model.health import Standing
from evenkeel.model.region import PlannerSettings
from tests.planner.regions import DB, Day, balancers, endpoint, region


def shown(day: Day, *, routine: bool = False) -> Preview:
    proposal = day.propose(0.1, routine=routine)
    return preview(day.table.published, proposal.changes, proposal.removed, proposal.withheld)


def test_a_removal_reads_as_one() -> None:
    day = Day(region(balancers(4)))
    day.plan()
    found = shown(day.mark(Standing.FAILED, "lb-2"))
    assert found.lines() == (f"{DB}  4 -> 3 addresses  [urgent: failed out]", "  - 192.0.2.2  25%")
    assert found.base_generation == 1


def test_a_stand_in_an_addition_and_shifted_weights_are_told_apart() -> None:
    day = Day(region(balancers(4))).mark(Standing.FAILED, "lb-4")
    day.plan()
    found = shown(day.mark(Standing.HEALTHY, "lb-4").capacity(lb_1=50.0), routine=True)
    assert found.lines() == (
        f"{DB}  3 -> 4 addresses  [routine: added]",
        "  + 192.0.2.4  29%",
        "  ~ 192.0.2.1  33% -> 14%",
        "  ~ 192.0.2.2  33% -> 29%",
        "  ~ 192.0.2.3  33% -> 29%",
    )


def test_configuration_and_what_is_withheld_are_told() -> None:
    day = Day(region(balancers(2), [endpoint(), endpoint("old.demo.example.")]))
    day.plan()
    after = Day(region(balancers(2), [endpoint(ttl_s=5)], PlannerSettings())).mark(Standing.FAILED)
    after.table.adopt(day.published(), 0.0)
    assert shown(after, routine=True).lines() == (
        f"{DB}  2 -> 2 addresses  [routine: configuration]",
        "  ~ ttl 60 -> 5",
        "old.demo.example.  no longer managed",
        "withheld: lb-1 stays at 1 endpoints (panic)",
        "withheld: lb-2 stays at 1 endpoints (panic)",
    )


def test_a_long_preview_is_cut_and_says_by_how_much() -> None:
    day = Day(region(balancers(3), [endpoint(f"n{n}.demo.example.") for n in range(50)]))
    lines = shown(day).lines(limit=10)
    assert len(lines) == 10
    assert lines[-1] == "... and 191 more lines"


def test_the_checksum_is_that_of_the_next_plan() -> None:
    day = Day(region(balancers(4)))
    day.plan()
    first, same = shown(day.mark(Standing.FAILED, "lb-2")), shown(day)
    other = shown(day.mark(Standing.HEALTHY, "lb-2").mark(Standing.FAILED, "lb-3"))
    assert first.checksum == same.checksum != other.checksum
    day.mark(Standing.HEALTHY, "lb-3").mark(Standing.FAILED, "lb-2").plan(0.1)
    assert day.published().checksum() == first.checksum


def test_a_preview_is_json() -> None:
    day = Day(region(balancers(2)))
    document = json.loads(json.dumps(shown(day).document()))
    assert document["endpoints"][0]["added"][0] == {"address": "192.0.2.1", "before": 0.0, "after": 0.5}


def test_a_look_ahead_with_an_edited_region_shows_what_it_would_change() -> None:
    day = Day(region(balancers(3)))
    day.plan()
    edited = region(balancers(3), [replace(endpoint(), ttl_s=30), endpoint("new.demo.example.")])
    found = foresee(edited, day.published(), day.health.values())
    assert [each.name for each in found.endpoints] == [DB, "new.demo.example."]
    assert not foresee(day.region, day.published(), day.health.values()).endpoints
