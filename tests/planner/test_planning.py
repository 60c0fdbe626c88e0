"""What the Planner publishes: first answers, removals and their limits, additions, weights, lanes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from evenkeel.endpoints.proposals import Why
from evenkeel.model.health import Standing
from evenkeel.model.plan import Lane, Layout
from evenkeel.model.region import PlannerSettings
from evenkeel.ports.plan_store import Head
from tests.planner.regions import DB, WARM_UP_S, Day, balancers, endpoint, region

NEW, HEALTHY, FAILED, UNKNOWN, DRAINING = (
    Standing.NEW,
    Standing.HEALTHY,
    Standing.FAILED,
    Standing.UNKNOWN,
    Standing.DRAINING,
)


# --- first answers --------------------------------------------------------------------------------


def test_the_first_plan_waits_for_a_verdict_on_every_load_balancer() -> None:
    day = Day(region(balancers(4))).mark(NEW, "lb-4")
    assert day.plan().is_empty
    assert day.plan(1.0).is_empty
    day.mark(HEALTHY, "lb-4")
    first = day.plan(1.0)
    assert (first.generation, first.previous) == (1, 0)
    assert day.members() == {"lb-1", "lb-2", "lb-3", "lb-4"}


def test_after_the_warm_up_the_first_plan_has_those_that_are_ready() -> None:
    day = Day(region(balancers(4))).mark(NEW, "lb-4")
    day.plan()
    day.plan(WARM_UP_S)
    assert day.members() == {"lb-1", "lb-2", "lb-3"}


def test_a_pool_never_heard_of_is_published_as_configured_after_the_warm_up() -> None:
    day = Day(region(balancers(4))).mark(NEW)
    assert day.plan().is_empty
    day.plan(WARM_UP_S)
    assert day.members() == {"lb-1", "lb-2", "lb-3", "lb-4"}


def test_a_pool_that_is_mostly_down_at_first_is_published_as_far_as_it_is_known() -> None:
    day = Day(region(balancers(4))).mark(FAILED, "lb-1", "lb-2", "lb-3")
    day.plan()
    assert day.members() == {"lb-1", "lb-2", "lb-3", "lb-4"}


def test_a_new_endpoint_waits_for_its_own_pool_only() -> None:
    pools = [endpoint(), endpoint("new.demo.example.", ["lb-1"]), endpoint("late.demo.example.", ["lb-2"])]
    before = Day(region(balancers(3), [endpoint(pool=["lb-1", "lb-2", "lb-3"])]))
    before.plan()
    day = Day(region(balancers(3), pools), before.now_s)
    day.table.adopt(before.published(), 0.0)
    day.mark(NEW, "lb-2").plan()
    assert set(day.table.published.endpoints) == {DB, "new.demo.example."}


# --- removal ----------------------------------------------------------------------------------------


def test_a_failed_load_balancer_goes_at_once_in_the_urgent_lane() -> None:
    day = Day(region(balancers(4)))
    day.plan()
    removal = day.mark(FAILED, "lb-2").plan(0.1)
    assert removal.lane is Lane.URGENT
    assert (day.of().changed_in, day.of().lane) == (2, Lane.URGENT)
    assert day.members() == {"lb-1", "lb-3", "lb-4"}
    assert removal.changes[0].why is Why.FAILED


@pytest.mark.parametrize("standing", [UNKNOWN, NEW])
def test_no_word_about_a_published_load_balancer_changes_nothing(standing: Standing) -> None:
    day = Day(region(balancers(4)))
    day.plan()
    assert day.mark(standing).plan(0.1).is_empty
    assert day.plan(300.0, routine=True).is_empty


def test_everything_down_means_nothing_is_removed() -> None:
    day = Day(region(balancers(4)))
    day.plan()
    assert day.mark(FAILED).plan(0.1).is_empty
    assert day.plan(600.0, routine=True).is_empty
    assert {held.reason for held in day.table.withheld} == {"panic"}


def test_removals_stop_where_too_few_are_ready() -> None:
    day = Day(region(balancers(4), settings=PlannerSettings(removals_share_max=1.0)))
    day.plan()
    day.mark(FAILED, "lb-1", "lb-2", "lb-3").plan(0.1)
    assert len(day.members()) == 4


def test_no_more_than_the_share_of_a_pool_goes_within_the_window() -> None:
    settings = PlannerSettings(removals_share_max=0.34, removals_window_s=60.0)
    day = Day(region(balancers(9), [endpoint(members_max=9)], settings))
    day.plan()
    day.mark(FAILED, "lb-1", "lb-2", "lb-3", "lb-4").plan(0.1)
    assert len(day.members()) == 6
    assert [(held.reason, held.endpoints) for held in day.table.withheld] == [("velocity", 1)]
    assert day.plan(30.0).is_empty
    assert day.plan(32.0).lane is Lane.URGENT
    assert day.members() == {"lb-5", "lb-6", "lb-7", "lb-8", "lb-9"}


def test_a_withheld_removal_is_cancelled_by_recovery() -> None:
    settings = PlannerSettings(removals_share_max=0.34, removals_window_s=60.0)
    day = Day(region(balancers(5), settings=settings))
    day.plan()
    day.mark(FAILED, "lb-1").plan(0.1)
    day.mark(FAILED, "lb-2").plan(0.1)
    assert day.members() == {"lb-2", "lb-3", "lb-4", "lb-5"}
    day.mark(HEALTHY, "lb-2").plan(0.1)
    assert day.table.withheld == ()
    assert day.plan(120.0).is_empty
    assert "lb-2" in day.members()


def test_whoever_failed_first_goes_first() -> None:
    settings = PlannerSettings(removals_share_max=0.2, removals_window_s=60.0)
    day = Day(region(balancers(8), settings=settings))
    day.plan()
    day.mark(FAILED, "lb-7").plan(0.1)
    day.mark(FAILED, "lb-5").plan(1.0)
    day.mark(FAILED, "lb-1").plan(1.0)
    day.plan(61.0)
    assert {"lb-1"} == {"lb-1", "lb-5", "lb-7"} & day.members()


def test_a_planner_that_restarts_gets_no_new_allowance() -> None:
    settings = PlannerSettings(removals_share_max=0.34, removals_window_s=60.0)
    day = Day(region(balancers(5), settings=settings))
    day.plan()
    before = day.published()
    day.mark(FAILED, "lb-1").plan(0.1)
    after = day.published()
    again = Day(day.region, day.now_s).mark(FAILED, "lb-1", "lb-2")
    again.table.adopt(before, again.now_s)
    again.table.adopt(after, again.now_s)
    assert again.plan(0.1).is_empty
    assert again.plan(62.0).lane is Lane.URGENT


def test_a_drained_load_balancer_goes_unless_the_floor_needs_it() -> None:
    day = Day(region(balancers(3), [endpoint(members_min=2)], PlannerSettings(removals_share_max=1.0)))
    day.plan()
    day.mark(DRAINING, "lb-1").plan(0.1)
    assert day.members() == {"lb-2", "lb-3"}
    day.mark(DRAINING, "lb-2").plan(120.0)
    assert day.members() == {"lb-2", "lb-3"}
    assert {held.reason for held in day.table.withheld} == {"floor"}


def test_draining_by_configuration_is_draining() -> None:
    lbs = balancers(3)
    day = Day(region(lbs))
    day.plan()
    drained = region({**lbs, "lb-3": replace(lbs["lb-3"], draining=True)})
    again = Day(drained, day.now_s)
    again.table.adopt(day.published(), 0.0)
    again.plan()
    assert again.members() == {"lb-1", "lb-2"}


def test_failed_ones_go_before_drained_ones() -> None:
    day = Day(region(balancers(6), settings=PlannerSettings(removals_share_max=0.1)))
    day.plan()
    day.mark(DRAINING, "lb-1").mark(FAILED, "lb-6").plan(0.1)
    assert day.members() == {"lb-1", "lb-2", "lb-3", "lb-4", "lb-5"}


def test_a_stand_in_takes_the_place_of_what_failed_at_once() -> None:
    day = Day(region(balancers(6), [endpoint(members_max=3)]))
    day.plan()
    before = day.members()
    gone = min(before)
    removal = day.mark(FAILED, gone).plan(0.1)
    assert len(day.members()) == 3
    assert len(before & day.members()) == 2
    assert removal.changes[0].why is Why.FAILED | Why.STAND_IN


def test_in_panic_ready_ones_take_the_place_of_failed_ones_and_the_answer_never_shrinks() -> None:
    settings = PlannerSettings(removals_share_max=1.0)
    day = Day(region(balancers(10), [endpoint(members_max=4)], settings))
    day.plan()
    published = day.members()
    spare = sorted(set(day.health) - published)
    day.mark(FAILED, *published, *spare[:4]).plan(0.1)
    assert len(day.members()) == 4
    assert set(spare[4:]) <= day.members()


def test_what_comes_back_while_failed_ones_are_kept_is_published_at_once() -> None:
    day = Day(region(balancers(4), settings=PlannerSettings(removals_share_max=1.0)))
    day.plan()
    day.mark(FAILED, "lb-1").plan(0.1)
    day.mark(FAILED).plan(0.1)
    assert day.members() == {"lb-2", "lb-3", "lb-4"}
    back = day.mark(HEALTHY, "lb-1").plan(0.1)
    assert back.lane is Lane.URGENT
    assert "lb-1" in day.members()


# --- additions, rebalancing ---------------------------------------------------------------------------


def test_an_addition_waits_for_the_routine_lane() -> None:
    day = Day(region(balancers(4))).mark(FAILED, "lb-4")
    day.plan()
    day.mark(HEALTHY, "lb-4")
    assert day.plan(1.0).is_empty
    added = day.plan(1.0, routine=True)
    assert added.lane is Lane.ROUTINE
    assert "lb-4" in day.members()


def test_no_change_no_generation() -> None:
    day = Day(region(balancers(4)))
    day.plan()
    for _ in range(5):
        assert day.plan(60.0, routine=True).is_empty
    assert day.table.generation == 1


def test_members_are_spread_over_azs() -> None:
    names = [f"n{n}.demo.example." for n in range(40)]
    day = Day(region(balancers(30), [endpoint(name, members_max=3) for name in names]))
    day.plan()
    for name in names:
        assert {day.region.load_balancers[lb].az for lb in day.members(name)} == {"a", "b", "c"}


def test_endpoints_choose_differently_so_that_a_large_pool_is_used_evenly() -> None:
    names = [f"n{n}.demo.example." for n in range(300)]
    day = Day(region(balancers(30), [endpoint(name, members_max=3) for name in names]))
    day.plan()
    used = [lb for name in names for lb in day.members(name)]
    counts = [used.count(lb) for lb in day.region.load_balancers]
    assert min(counts) > 10
    assert max(counts) < 60


def test_one_load_balancer_more_moves_little() -> None:
    names = [f"n{n}.demo.example." for n in range(200)]
    day = Day(region(balancers(30), [endpoint(name, members_max=3) for name in names])).mark(FAILED, "lb-30")
    day.plan()
    before = {name: day.members(name) for name in names}
    day.mark(HEALTHY, "lb-30").plan(60.0, routine=True)
    moved = sum(len(before[name] - day.members(name)) for name in names)
    assert 0 < moved <= sum("lb-30" in day.members(name) for name in names)


def test_only_what_a_change_concerns_changes() -> None:
    names = [f"n{n}.demo.example." for n in range(50)]
    day = Day(region(balancers(12), [endpoint(name, members_max=3) for name in names]))
    day.plan()
    concerned = {name for name in names if "lb-5" in day.members(name)}
    removal = day.mark(FAILED, "lb-5").plan(0.1)
    assert {change.plan.name for change in removal.changes} == concerned
    assert all(day.of(name).changed_in == (2 if name in concerned else 1) for name in names)


# --- weights ------------------------------------------------------------------------------------------


def test_weights_follow_capacity() -> None:
    lbs = balancers(2)
    day = Day(region({"lb-1": replace(lbs["lb-1"], capacity=300.0), "lb-2": lbs["lb-2"]}))
    day.plan()
    assert day.shares() == pytest.approx({"lb-1": 0.75, "lb-2": 0.25}, abs=0.02)


def test_reported_capacity_overrides_the_configured_one() -> None:
    day = Day(region(balancers(2))).capacity(lb_1=25.0)
    day.plan()
    assert day.shares() == pytest.approx({"lb-1": 0.2, "lb-2": 0.8}, abs=0.02)


def test_shared_capacity_is_counted_once() -> None:
    own, shared = endpoint("own.demo.example.", ["lb-1", "lb-2"]), endpoint("shared.demo.example.", ["lb-2"])
    day = Day(region(balancers(2), [own, shared]))
    day.plan()
    # lb-2 serves two endpoints alike, so half of it is the first one's.
    assert day.shares("own.demo.example.") == pytest.approx({"lb-1": 2 / 3, "lb-2": 1 / 3}, abs=0.02)


def test_a_shared_load_balancer_is_split_by_demand() -> None:
    own, shared = endpoint("own.demo.example.", ["lb-1", "lb-2"]), endpoint("big.demo.example.", ["lb-2"], demand=3.0)
    day = Day(region(balancers(2), [own, shared]))
    day.plan()
    assert day.shares("own.demo.example.") == pytest.approx({"lb-1": 0.8, "lb-2": 0.2}, abs=0.02)


def test_a_small_change_of_capacity_is_not_published() -> None:
    day = Day(region(balancers(4)))
    day.plan()
    assert day.capacity(lb_1=90.0).plan(60.0, routine=True).is_empty
    moved = day.capacity(lb_1=50.0).plan(60.0, routine=True)
    assert moved.changes[0].why is Why.WEIGHTS
    assert moved.lane is Lane.ROUTINE


def test_weights_wait_for_the_routine_lane() -> None:
    day = Day(region(balancers(4)))
    day.plan()
    assert day.capacity(lb_1=10.0).plan(60.0).is_empty


def test_while_a_member_is_unknown_nobody_moves_weights_by_what_they_remember_of_it() -> None:
    day = Day(region(balancers(2))).capacity(lb_1=20.0)
    day.plan()
    other = successor(day, Day(day.region)).mark(UNKNOWN, "lb-1")  # never heard of its capacity
    assert other.plan(60.0, routine=True).is_empty


def test_load_aware_weights_lean_away_from_the_loaded_one() -> None:
    for aware, expected in ((False, 0.5), (True, 1 / 3)):
        day = Day(region(balancers(2), settings=PlannerSettings(load_aware=aware)))
        day.health["lb-1"] = replace(day.health["lb-1"], load=80.0)
        day.health["lb-2"] = replace(day.health["lb-2"], load=20.0)
        day.plan()
        assert day.shares()["lb-1"] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("reported", [float("nan"), float("inf"), -5.0])
def test_a_nonsensical_capacity_is_not_believed(reported: float) -> None:
    day = Day(region(balancers(2))).capacity(lb_1=reported)
    day.plan()
    assert day.shares() == {"lb-1": 0.5, "lb-2": 0.5}


def test_capacity_zero_everywhere_still_answers() -> None:
    day = Day(region(balancers(2))).capacity(lb_1=0.0, lb_2=0.0)
    day.plan()
    assert day.shares() == {"lb-1": 0.5, "lb-2": 0.5}


# --- addresses and families -----------------------------------------------------------------------------


def test_an_answer_holds_the_families_that_the_endpoint_wants() -> None:
    both = endpoint("both.demo.example.", ipv6=True)
    six = endpoint("six.demo.example.", ipv4=False, ipv6=True)
    day = Day(region(balancers(2), [endpoint(), both, six]))
    day.plan()
    assert (len(day.of().answer.a), len(day.of().answer.aaaa)) == (2, 0)
    assert (len(day.of("both.demo.example.").answer.a), len(day.of("both.demo.example.").answer.aaaa)) == (2, 2)
    assert (len(day.of("six.demo.example.").answer.a), len(day.of("six.demo.example.").answer.aaaa)) == (0, 2)


def test_a_load_balancer_with_two_addresses_gets_no_more_clients_for_it() -> None:
    lbs = balancers(2)
    day = Day(region({"lb-1": replace(lbs["lb-1"], ipv4=("192.0.2.1", "192.0.2.101")), "lb-2": lbs["lb-2"]}))
    day.plan()
    assert day.of().answer.a_weights == (1, 1, 2)
    assert day.of().answer.a == ("192.0.2.1", "192.0.2.101", "192.0.2.2")
    assert day.restarted().plan(routine=True).is_empty


def test_a_family_never_loses_its_last_load_balancer() -> None:
    lbs = balancers(4, ipv6=())
    lbs["lb-4"] = replace(lbs["lb-4"], ipv6=("2001:db8::4",))
    day = Day(region(lbs, [endpoint(ipv6=True)]))
    day.plan()
    assert day.mark(FAILED, "lb-4").plan(0.1).is_empty
    assert day.of().answer.aaaa == ("2001:db8::4",)


def test_a_small_choice_from_a_large_pool_has_both_families() -> None:
    lbs = balancers(12, ipv6=())
    lbs["lb-7"] = replace(lbs["lb-7"], ipv6=("2001:db8::7",))
    names = [f"n{n}.demo.example." for n in range(20)]
    day = Day(region(lbs, [endpoint(name, members_max=2, ipv6=True) for name in names]))
    day.plan()
    assert all(day.of(name).answer.aaaa == ("2001:db8::7",) for name in names)
    assert day.plan(60.0, routine=True).is_empty


# --- configuration ----------------------------------------------------------------------------------------


def successor(day: Day, new: Day) -> Day:
    new.table.adopt(day.published(), new.now_s)
    return new


def test_a_restart_publishes_nothing() -> None:
    day = Day(region(balancers(8), [endpoint(members_max=5), endpoint("o.demo.example.", ipv6=True)]))
    day.capacity(lb_1=30.0, lb_2=77.0).plan()
    assert day.restarted().plan(routine=True).is_empty


def test_an_endpoint_that_is_no_longer_configured_is_removed_in_the_routine_lane() -> None:
    day = Day(region(balancers(2), [endpoint(), endpoint("old.demo.example.")]))
    day.plan()
    after = successor(day, Day(region(balancers(2))))
    assert after.plan().is_empty
    removal = after.plan(routine=True)
    assert removal.removed == ("old.demo.example.",)
    assert set(after.table.published.endpoints) == {DB}


def test_a_changed_ttl_or_layout_is_published() -> None:
    day = Day(region(balancers(2)))
    day.plan()
    after = successor(day, Day(region(balancers(2), [endpoint(ttl_s=5, layout=Layout.FLAT)])))
    change = after.plan(routine=True).changes[0]
    assert change.why is Why.CONFIGURATION
    assert (after.of().answer.ttl_s, after.of().layout) == (5, Layout.FLAT)


def test_a_replaced_pool_takes_over_step_by_step_and_never_before_it_is_ready() -> None:
    day = Day(region(balancers(4)))
    day.plan()
    moved = {name: replace(lb, ipv4=(f"198.51.100.{n}",)) for n, (name, lb) in enumerate(balancers(2).items())}
    after = successor(day, Day(region(moved))).mark(NEW)
    old = after.of().answer
    assert after.plan(5.0).is_empty
    after.mark(HEALTHY)
    sizes = [old.size]
    for _ in range(4):
        after.plan(30.0, routine=True)
        sizes.append(after.of().answer.size)
    assert after.of().answer.a == ("198.51.100.0", "198.51.100.1")
    assert all(now <= 2 * was and was - now <= was / 2 for was, now in pairwise(sizes))


# --- where the store stands ---------------------------------------------------------------------------------


def test_a_store_that_lost_its_plans_gets_everything_anew_above_what_is_known() -> None:
    day = Day(region(balancers(2), [endpoint(), endpoint("o.demo.example.")]))
    day.plan()
    day.mark(FAILED, "lb-1").plan(0.1)
    day.table.stand_on(Head(0, 146))
    again = day.plan(0.1)
    assert (again.previous, again.generation) == (0, 147)
    assert {change.plan.changed_in for change in again.changes} == {147}
    assert len(again.changes) == 2
    day.table.stand_on(Head(147, 146))
    assert day.plan(0.1).is_empty


def test_the_same_again_without_accept() -> None:
    day = Day(region(balancers(5)))
    first, second = day.propose(), day.propose()
    assert first.delta("planner-1") == second.delta("planner-1")


def test_weights_are_read_back_whole_where_each_family_is_in_lowest_terms_of_its_own() -> None:
    lbs = balancers(3)
    lbs["lb-2"] = replace(lbs["lb-2"], ipv4=(), capacity=6.25)
    lbs["lb-3"] = replace(lbs["lb-3"], capacity=12.5)
    day = Day(region(lbs, [endpoint(ipv6=True)]))
    day.plan()
    assert (day.of().answer.a_weights, day.of().answer.aaaa_weights) == ((8, 1), (16, 1, 2))
    assert day.restarted().plan(routine=True).is_empty


def test_a_region_without_endpoints_or_load_balancers_plans_nothing() -> None:
    empty = replace(region(balancers(2)), endpoints={})
    assert Day(empty).plan(routine=True).is_empty
    assert Day(replace(empty, load_balancers={})).plan(WARM_UP_S, routine=True).is_empty


def test_a_stand_in_that_brings_the_lost_family_comes_before_others_so_the_answer_does_not_grow() -> None:
    lbs = balancers(9, ipv4=())
    for name in ("lb-4", "lb-8"):
        lbs[name] = replace(lbs[name], ipv4=(f"192.0.2.{name[-1]}",))
    names = [f"n{n}.demo.example." for n in range(20)]
    day = Day(region(lbs, [endpoint(name, members_max=2, ipv6=True) for name in names]))
    day.mark(FAILED, "lb-8").plan()
    sizes = {name: len(day.members(name)) for name in names}
    day.mark(HEALTHY, "lb-8").mark(FAILED, "lb-4").plan(0.1)
    assert all(day.of(name).answer.a == ("192.0.2.8",) for name in names)
    assert {name: len(day.members(name)) for name in names} == sizes


def test_a_plan_never_drops_more_addresses_at_once_than_an_enactor_takes_out() -> None:
    lbs = balancers(3)
    lbs["lb-1"] = replace(lbs["lb-1"], ipv4=tuple(f"192.0.2.{n}" for n in range(101, 106)))
    day = Day(region(lbs))
    day.plan()
    assert day.mark(FAILED, "lb-1").plan(0.1).is_empty  # 5 of 7 addresses
    assert {held.reason for held in day.table.withheld} == {"floor"}


def test_a_smaller_answer_is_reached_step_by_step() -> None:
    day = Day(region(balancers(30), [endpoint(members_max=16)]))
    day.plan()
    after = successor(day, Day(region(balancers(30), [endpoint(members_max=2)])))
    sizes = [16]
    while sizes[-1] > 2:
        after.plan(30.0, routine=True)
        sizes.append(after.of().answer.size)
    assert all(was - now <= was / 2 for was, now in pairwise(sizes))
