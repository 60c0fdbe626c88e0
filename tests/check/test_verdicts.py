"""`check` on the real automation: verdicts, counts and counterexamples, pinned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evenkeel.check.automation import Automation
from evenkeel.check.compare import BETWEEN, compare
from evenkeel.check.config import Config
from evenkeel.check.dns_properties import ALWAYS, dns_properties
from evenkeel.check.mermaid import as_mermaid
from evenkeel.check.search import Bounds, Search
from evenkeel.check.story import as_beats, as_text
from evenkeel.check.verify import Judged, Reduction, Report, Verdict, Wanted, check
from evenkeel.check.zone_steps import Step
from evenkeel.model.errors import InputError
from evenkeel.model.plan import Layout
from evenkeel.model.policy import OCTOBER_2025, SAFE, DnsPolicy

SAFE_1 = replace(SAFE, keep_generations=1, attempts_max=1)
OCTOBER_1 = replace(OCTOBER_2025, keep_generations=1, attempts_max=1)
OCTOBER_SMALL = Config(policy=OCTOBER_1, enactors=2, plans=3, endpoints=1)


def judged(report: Report, name: str) -> Judged:
    return next(each for each in report.properties if each.name == name)


def test_the_october_race_is_found_with_a_shortest_trace() -> None:
    report = check(Config(policy=OCTOBER_1, enactors=3, plans=6, endpoints=3))
    assert (report.verdict, report.property) == (Verdict.VIOLATED, "never-empty")
    assert (len(report.trace), report.states, report.plans_read) == (27, 51_504, (1, 2, 3))
    last = report.trace[-1]
    assert last.action == "remove_unfenced: applied"
    assert not next(shown for shown in last.zone if shown.endpoint == last.endpoint).answer


def test_among_fewer_plans_the_race_is_as_short_as_among_all() -> None:
    whole = Wanted(reductions=frozenset(Reduction) - {Reduction.APPENDS})
    report = check(Config(policy=OCTOBER_1, enactors=3, plans=6, endpoints=3), whole)
    assert (report.property, len(report.trace), report.states, report.plans_read) == ("never-empty", 27, 334_784, ())


@pytest.mark.parametrize("policy", [policy for name, policy in BETWEEN if policy is not SAFE])
def test_among_fewer_plans_each_near_fix_falls_short_as_soon_as_among_all(policy: DnsPolicy) -> None:
    config = replace(OCTOBER_SMALL, policy=replace(policy, keep_generations=1, attempts_max=1), plans=5)
    few, all_ = check(config), check(config, Wanted(reductions=frozenset(Reduction) - {Reduction.APPENDS}))
    assert (few.property, few.plans_read, all_.plans_read) == ("never-empty", (1, 2, 3), ())
    assert (all_.property, len(all_.trace)) == ("never-empty", len(few.trace))


def test_no_reduction_makes_the_race_longer_or_shorter() -> None:
    for reductions in (frozenset(Reduction), frozenset[Reduction]()):
        assert len(check(OCTOBER_SMALL, Wanted(reductions=reductions)).trace) == 17


def test_among_thirty_plans_with_twenty_kept_the_race_is_found_in_a_part_of_the_space() -> None:
    report = check(Config(policy=replace(OCTOBER_1, keep_generations=20), enactors=3, plans=30, endpoints=3))
    assert (report.verdict, report.property, report.plans_read) == (Verdict.VIOLATED, "never-empty", (1, 22, 30))
    assert [step.action for step in report.trace].count("append: applied") == 22


def test_the_story_of_the_race_is_the_incidents() -> None:
    report = check(OCTOBER_SMALL)
    told = [step.action for step in report.trace]
    assert len(told) == 17
    assert told[-3:] == ["lock: applied", "flip_locked: applied", "remove_unfenced: applied"]
    late, deleter = report.trace[-2], report.trace[-1]
    assert late.process != deleter.process
    assert "has gone back from plan 3 to plan 1" in late.text
    assert "NOERROR without a single address" in deleter.text
    assert "answers NOTHING | trees 3" in as_text(report.trace)


def test_the_diagram_has_an_arrow_a_step_and_notes_what_breaks() -> None:
    diagram = as_mermaid(as_beats(check(OCTOBER_SMALL).trace))
    assert diagram.startswith("sequenceDiagram\n")
    assert diagram.count("->>") == 17
    assert "never-empty, active-plan-never-deleted BROKEN" in diagram


def test_the_wedge_is_found_by_what_can_no_longer_be_reached() -> None:
    report = check(OCTOBER_SMALL, Wanted(names=("recoverable",)))
    assert (report.verdict, report.property, report.states) == (Verdict.VIOLATED, "recoverable", 3827)
    assert not report.trace[-1].zone[0].answer


def test_without_the_wedge_the_empty_record_heals() -> None:
    from evenkeel.model.policy import MissingPlan

    heals = replace(OCTOBER_SMALL, policy=replace(OCTOBER_1, missing_plan=MissingPlan.CONTINUE))
    assert check(heals, Wanted(names=("recoverable",))).verdict is Verdict.HOLDS
    assert check(heals).property == "never-empty"


@pytest.mark.parametrize(
    ("config", "states"),
    [
        (Config(policy=SAFE_1, enactors=3, plans=4, endpoints=3), 23_572),
        (Config(policy=SAFE_1, enactors=2, plans=4, endpoints=3, step=Step.EXCHANGE), 6_197),
        (Config(policy=SAFE_1, enactors=2, plans=3, endpoints=1, faults=1), 4_888),
        (Config(policy=SAFE_1, enactors=2, plans=3, endpoints=1, faults=2), 23_574),
    ],
    ids=["calls", "exchanges", "one-fault", "two-faults"],
)
def test_safe_holds_and_every_state_was_seen(config: Config, states: int) -> None:
    report = check(config)
    assert [each.name for each in report.properties if each.verdict is not Verdict.HOLDS] == []
    assert (report.verdict, report.stopped, report.states) == (Verdict.HOLDS, "", states)


def test_the_flat_layout_holds_too() -> None:
    flat = Config(policy=SAFE_1, enactors=3, plans=4, endpoints=1, layout=Layout.FLAT)
    assert check(flat, Wanted(names=tuple(each.name for each in ALWAYS))).verdict is Verdict.HOLDS


def test_a_check_that_would_be_vacuous_fails() -> None:
    report = check(Config(policy=replace(SAFE_1, keep_generations=9), enactors=2, plans=2, endpoints=1))
    assert report.verdict is Verdict.VIOLATED
    assert judged(report, "a spent tree is deleted").verdict is Verdict.VIOLATED
    assert judged(report, "never-empty").verdict is Verdict.HOLDS


@pytest.mark.parametrize("bounds", [Bounds(states_max=1000), Bounds(memory_max=1), Bounds(seconds_max=0.0)])
def test_past_a_bound_nothing_is_said_to_hold(bounds: Bounds) -> None:
    report = check(Config(policy=SAFE_1, enactors=3, plans=6, endpoints=1), Wanted(bounds=bounds))
    assert report.verdict is Verdict.INCOMPLETE
    assert report.verdict.exit_code == 3
    assert report.stopped
    assert judged(report, "never-empty").verdict is Verdict.INCOMPLETE


def test_a_property_that_does_not_exist_is_wrong_input() -> None:
    with pytest.raises(InputError, match="there is no property 'never-tired'"):
        check(OCTOBER_SMALL, Wanted(names=("never-tired",)))


def test_each_near_fix_falls_short_and_compare_and_set_holds() -> None:
    rows = compare(Config(policy=SAFE_1, enactors=2, plans=3, endpoints=1), Wanted())
    assert [(row.verdict.value, row.property, row.steps) for row in rows] == [
        ("violated", "never-empty", 17),
        ("violated", "never-empty", 17),
        ("violated", "never-empty", 18),
        ("violated", "never-empty", 18),
        ("holds", "", 0),
    ]


def test_the_servers_own_guard_keeps_october_from_emptying_a_record() -> None:
    report = check(replace(OCTOBER_SMALL, server_guard=True))
    assert judged(report, "never-empty").verdict is Verdict.HOLDS
    assert judged(report, "never-regress").verdict is Verdict.VIOLATED


def test_component_code_runs_for_new_table_entries_only() -> None:
    config = Config(policy=SAFE_1, enactors=3, plans=4, endpoints=1)
    model = Automation(config, dns_properties(config.policy, 4, 3))
    space = Search(model).run()
    before = model.runs
    Search(model).run()
    assert space.steps > 50 * before
    assert model.runs < 2 * before
