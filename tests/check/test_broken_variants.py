"""The explorer finds what is left out: each broken variant, and by which property."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evenkeel.check.config import Config
from evenkeel.check.dns_properties import ALWAYS, published_stays
from evenkeel.check.model import Properties
from evenkeel.check.program import Workflows
from evenkeel.check.verify import Report, Verdict, Wanted, check
from evenkeel.check.zone_steps import Fault, Step
from evenkeel.model.plan import Layout
from evenkeel.model.policy import SAFE
from tests.check import variants
from tests.check.variants import made_by

KEEP_1 = replace(SAFE, keep_generations=1, attempts_max=1)
SMALL = Config(policy=KEEP_1, enactors=2, plans=3, endpoints=1)


def broken(report: Report) -> set[str]:
    return {each.name for each in report.properties if each.verdict is Verdict.VIOLATED and each.kind == "always"}


def test_the_sound_automation_breaks_nothing_in_the_same_bounds() -> None:
    assert broken(check(SMALL)) == set()
    assert broken(check(replace(SMALL, step=Step.EXCHANGE))) == set()
    assert broken(check(replace(SMALL, layout=Layout.FLAT), Wanted(names=tuple(each.name for each in ALWAYS)))) == set()


CYCLING = replace(SMALL, layout=Layout.FLAT, answers=2, notes_published=True)
STAYS = Properties((published_stays(2, 3),))


def test_leaving_the_fence_alone_when_the_content_is_equal_lets_an_older_plan_land() -> None:
    assert check(CYCLING, properties=STAYS).verdict is Verdict.HOLDS
    found = check(replace(CYCLING, zone_maker=made_by(variants.EqualContentIsEnough)), properties=STAYS)
    assert broken(found) == {"published-stays"}
    assert found.trace[-1].action == "flip: applied"


def test_reading_the_fence_after_the_decision_lets_an_older_plan_land() -> None:
    found = check(replace(SMALL, zone_maker=made_by(variants.ReadsTheFenceAtTheWrite)))
    assert "never-regress" in broken(found)


def test_a_fence_does_not_make_clean_up_by_age_safe() -> None:
    by_age = replace(
        SMALL,
        policy=replace(KEEP_1, keep_generations=0),
        zone_maker=made_by(variants.CleansUpByAge),
        workflows=Workflows(remove=variants.remove_whatever_refers),
    )
    found = check(by_age)
    assert "never-empty" in broken(found)
    assert found.trace[-1].action == "remove: applied"


def test_a_rollback_pointer_outside_the_transaction_is_missing_for_a_while() -> None:
    apart = replace(SMALL, zone_maker=made_by(variants.SetsTheRollbackPointerAfterwards), step=Step.EXCHANGE)
    assert "rollback-set-with-the-flip" in broken(check(apart))


FAILING_OVER = replace(SMALL, faults=1, fault_kinds=frozenset({Fault.FAILOVER}))


def test_failing_over_to_a_secondary_that_lags_breaks_nothing_of_ours() -> None:
    assert check(FAILING_OVER).verdict is Verdict.HOLDS
    assert check(replace(FAILING_OVER, faults=2, fault_kinds=frozenset(Fault))).verdict is Verdict.HOLDS


def test_a_nonce_that_repeats_meets_a_fence_that_a_failover_brought_back() -> None:
    """It takes two faults of ours: the exact values that a deletion also compares make up for the nonce, and it for
    them. Without either, what was seen unreferenced under one fence is deleted under another that reads the same."""
    by_fence = made_by(variants.RemovesByTheFenceAlone)
    assert broken(check(replace(FAILING_OVER, nonce="same"))) == set()
    assert broken(check(replace(FAILING_OVER, zone_maker=by_fence))) == set()
    found = check(replace(FAILING_OVER, nonce="same", zone_maker=by_fence))
    assert broken(found) == {"rollback-target-valid"}
    assert [step.action for step in found.trace if step.process == "secondary-1"] == ["transfer", "failover"]


def test_a_write_that_does_not_ask_for_its_tree_is_emptied_by_a_failover() -> None:
    found = check(replace(FAILING_OVER, zone_maker=made_by(variants.FlipsByTheFenceAlone)))
    assert "never-empty" in broken(found)


@pytest.mark.parametrize("layout", list(Layout))
def test_one_generation_kept_or_none_is_safe(layout: Layout) -> None:
    names = tuple(each.name for each in ALWAYS)
    none_kept = replace(SMALL, policy=replace(KEEP_1, keep_generations=0), layout=layout)
    assert check(none_kept, Wanted(names=names)).verdict is Verdict.HOLDS
