"""What a sweeping manager does with contacts, calls, work and its store, one rule at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evenkeel.fleet.arrays import JobKind, ReplyKind
from evenkeel.fleet.manager import LeaseManager, make_manager
from evenkeel.fleet.sweep import SweepManager
from evenkeel.model.errors import InternalError
from evenkeel.model.fleet import EPOCH_MAX, epoch_of
from evenkeel.model.fleet_policy import FLEET_PRESETS, SAFE_FLEET, OnStoreLoss
from tests.fleet.worlds import SmallFleet, ids


def leased_fleet(size: int = 20, **policy: object) -> SmallFleet:
    fleet = SmallFleet(size, replace(SAFE_FLEET, **policy))  # type: ignore[arg-type]  # keys are the policy's own
    fleet.sweep(fleet.take_over())
    assert fleet.hosts.holds(fleet.everyone, fleet.now_s).all()
    return fleet


@pytest.mark.parametrize("preset", list(FLEET_PRESETS))
def test_every_policy_has_a_manager(preset: str) -> None:
    manager: LeaseManager = make_manager(FLEET_PRESETS[preset], "a", 1, np.random.default_rng(1), 0.0)  # type: ignore[index]  # an enum's text
    manager.add(0, 3)
    assert manager.status(0.0).hosts == 3


def test_an_epoch_that_no_store_can_give_is_our_own_mistake() -> None:
    for epoch in (0, EPOCH_MAX + 1):
        with pytest.raises(InternalError):
            make_manager(SAFE_FLEET, "a", epoch, np.random.default_rng(1), 0.0)


def test_a_sweep_leases_every_host_and_records_before_it_grants() -> None:
    fleet = leased_fleet()
    assert (fleet.hosts.generation == fleet.recorded()).all()
    assert {epoch_of(int(each)) for each in fleet.recorded()} == {1}
    assert len(set(fleet.recorded().tolist())) == fleet.size


def test_hosts_that_launches_wait_for_are_called_first() -> None:
    fleet = SmallFleet(200, replace(SAFE_FLEET, work_ahead_s=0.1))
    seat = fleet.take_over()
    wanted = ids(7, 77, 177)
    seat.manager.demand(wanted, np.array([1, 3, 2], np.int32))
    assert seat.manager.tick(0.0).ids[:3].tolist() == [77, 177, 7]


def test_no_more_is_called_than_the_measured_capacity_can_do_within_the_time_ahead() -> None:
    fleet = SmallFleet(1000)
    seat = fleet.take_over()
    called = len(seat.manager.tick(0.0))
    assert called <= SAFE_FLEET.work_ahead_s * 100.0 + 1
    assert len(seat.manager.tick(0.02)) == 0


def test_a_host_that_does_not_answer_is_called_later_and_holds_up_nobody() -> None:
    fleet = SmallFleet(50)
    fleet.hosts.stop(ids(*range(10)))
    seat = fleet.take_over()
    fleet.sweep(seat, turns=200)
    assert fleet.hosts.holds(ids(*range(10, 50)), fleet.now_s).all()
    status = seat.manager.status(fleet.now_s)
    assert status.leased == 40
    fleet.hosts.start(ids(*range(10)), fleet.now_s)
    fleet.sweep(seat, turns=4000)
    assert fleet.hosts.holds(fleet.everyone, fleet.now_s).all()


def test_an_unasked_contact_in_a_recovery_is_told_to_wait_without_any_work() -> None:
    fleet = SmallFleet(1000)
    seat = fleet.take_over()
    replies = fleet.contact(seat, fleet.everyone)
    assert set(replies.kinds.tolist()) == {ReplyKind.WAIT}
    assert (replies.nexts_s > 0).all()
    assert not seat.manager.take(100.0, 0.0)


def test_the_pace_of_waiting_hosts_costs_no_more_than_its_share_of_the_capacity() -> None:
    fleet = SmallFleet(1000)
    seat = fleet.take_over()
    replies = fleet.contact(seat, fleet.everyone)
    units_per_s = len(replies) / float(replies.nexts_s.mean()) * SAFE_FLEET.costs.message
    assert units_per_s <= 1.1 * SAFE_FLEET.poll_share * seat.manager.estimate.per_s


def test_a_single_host_that_comes_is_served_at_once() -> None:
    fleet = leased_fleet()
    seat = fleet.seats[0]
    seat.manager.add(fleet.size, 0)
    seat.manager.table.end(ids(3))
    fleet.hosts.stop(ids(3))
    fleet.hosts.start(ids(3), fleet.now_s)
    assert not len(fleet.contact(seat, ids(3)))
    fleet.obey(seat, fleet.work(seat))
    assert fleet.hosts.holds(ids(3), fleet.now_s).all()


def test_a_lost_grant_is_told_again_for_a_message() -> None:
    fleet = SmallFleet(1)
    seat = fleet.take_over()
    fleet.call(seat)
    lost = fleet.work(seat)
    assert lost.kinds.tolist() == [ReplyKind.GRANT]
    again = fleet.contact(seat, ids(0))
    assert again.generations.tolist() == lost.generations.tolist()
    assert not seat.manager.take(10.0, fleet.now_s)
    fleet.obey(seat, again)
    assert fleet.hosts.holds(ids(0), fleet.now_s).all()
    assert seat.manager.status(fleet.now_s).regrants == 1


def test_hosts_that_have_not_shown_that_they_know_their_lease_are_asked() -> None:
    fleet = SmallFleet(1)
    seat = fleet.take_over()
    fleet.call(seat)
    fleet.work(seat)  # the grant is lost
    fleet.now_s += 1.0
    fleet.call(seat)
    assert fleet.hosts.holds(ids(0), fleet.now_s).all()


def test_a_replayed_contact_renews_nothing() -> None:
    fleet = leased_fleet(1, term_s=60.0)
    seat = fleet.seats[0]
    fleet.now_s += 30.0
    generation, sequence = fleet.hosts.generation[:1].copy(), fleet.hosts.sequence[:1].copy()
    epochs = np.array([1])
    assert not len(fleet.hear(seat, ids(0), generation, epochs, sequence))
    assert not seat.manager.take(10.0, fleet.now_s)
    assert seat.manager.stale == 1


def test_a_million_stale_contacts_in_a_burst_leave_no_trace() -> None:
    fleet = leased_fleet()
    seat = fleet.seats[0]
    who = np.tile(fleet.everyone, 50_000)
    old = np.zeros(len(who), np.int64)
    assert not len(fleet.hear(seat, who, old, old, old))
    assert seat.manager.status(fleet.now_s).queued == 0


def test_a_renewal_prolongs_the_lease_and_is_the_same_lease() -> None:
    fleet = leased_fleet(5, term_s=30.0)
    seat = fleet.seats[0]
    before, ends_s = fleet.hosts.generation.copy(), fleet.hosts.ends_s.copy()
    fleet.now_s += 12.0
    fleet.obey(seat, fleet.contact(seat, fleet.everyone))
    fleet.obey(seat, fleet.work(seat))
    assert (fleet.hosts.generation == before).all()
    assert (fleet.hosts.ends_s > ends_s).all()


def test_a_lease_that_nobody_renews_ends_at_the_host_first_and_then_at_its_manager() -> None:
    fleet = leased_fleet(5, term_s=30.0)
    seat = fleet.seats[0]
    at_host_s, at_manager_s = fleet.hosts.ends_s.copy(), seat.manager.table.ends_s.copy()
    assert (at_host_s <= at_manager_s).all()
    fleet.now_s = float(at_manager_s.max()) + 0.1
    calls = seat.manager.tick(fleet.now_s)
    assert not fleet.hosts.holds(fleet.everyone, fleet.now_s).any()
    assert not seat.manager.leased(fleet.everyone).any()
    assert len(calls) > 0


def test_while_the_store_is_lost_no_lease_ends_and_no_new_one_is_made() -> None:
    fleet = leased_fleet(5, term_s=30.0)
    seat = fleet.seats[0]
    seat.manager.table.end(ids(4))
    seat.manager.store_lost(fleet.now_s)
    for _ in range(600):
        fleet.now_s += 10.0
        assert not len(seat.manager.tick(fleet.now_s))
        fleet.obey(seat, fleet.contact(seat, ids(0, 1, 2, 3)))
        assert all(work.kind is JobKind.RENEW for work in seat.manager.take(100.0, fleet.now_s))
    assert seat.manager.leased(fleet.everyone).tolist() == [True] * 4 + [False]
    assert fleet.hosts.holds(ids(0, 1, 2, 3), fleet.now_s).all()


def test_the_lease_clock_goes_on_only_when_the_amnesty_is_recorded() -> None:
    fleet = leased_fleet(5, term_s=30.0)
    manager = fleet.seats[0].manager
    manager.store_lost(fleet.now_s)
    fleet.now_s += 3600.0
    amnesty = manager.store_back(fleet.now_s)
    assert amnesty is not None
    assert (amnesty.epoch, amnesty.generation) == (1, int(fleet.recorded().max()))
    manager.amnesty_recorded(False, fleet.now_s)
    assert manager.status(fleet.now_s).store_is_lost
    manager.amnesty_recorded(True, fleet.now_s)
    assert not manager.status(fleet.now_s).store_is_lost
    assert manager.status(fleet.now_s).amnesties == 1
    manager.tick(fleet.now_s)
    assert manager.leased(fleet.everyone).all()


def test_a_manager_that_was_stopped_promises_no_more_than_a_later_one_lets_stand() -> None:
    fleet = leased_fleet(3, term_s=30.0, amnesty_max_s=600.0, term_max_s=90.0)
    seat = fleet.seats[0]
    seat.manager.store_lost(fleet.now_s)
    fleet.now_s += 630.0  # stopped as a whole: no tick came in between
    told = fleet.contact(seat, fleet.everyone)
    assert not (told.kinds == ReplyKind.GRANT).any()
    assert not seat.manager.leased(fleet.everyone).any()


def test_terms_are_cut_to_what_a_takeover_waits_for() -> None:
    fleet = leased_fleet(3, term_s=60.0, amnesty_max_s=30.0, term_max_s=90.0)
    seat = fleet.seats[0]
    fleet.now_s += 50.0  # its store was last seen 50 s ago, and nobody said that it is lost
    told = fleet.contact(seat, fleet.everyone)
    later = fleet.work(seat)
    for replies in (told, later):
        assert (replies.terms_s <= 30.0 + 90.0 - 50.0).all()
    seat.manager.store_seen(fleet.now_s)
    fleet.now_s += 30.0
    fleet.contact(seat, fleet.everyone)
    assert (fleet.work(seat).terms_s > 30.0).all()


def test_an_amnesty_ends_after_its_longest_time() -> None:
    fleet = leased_fleet(5, term_s=30.0, amnesty_max_s=600.0)
    manager = fleet.seats[0].manager
    manager.store_lost(fleet.now_s)
    fleet.now_s += 600.0
    manager.tick(fleet.now_s)
    assert manager.leased(fleet.everyone).all()
    fleet.now_s += 300.0
    manager.tick(fleet.now_s)
    assert not manager.leased(fleet.everyone).any()


def test_where_the_clock_runs_leases_end_while_the_store_is_lost() -> None:
    fleet = leased_fleet(5, term_s=30.0, on_store_loss=OnStoreLoss.CLOCK_RUNS)
    manager = fleet.seats[0].manager
    manager.store_lost(fleet.now_s)
    fleet.now_s += 300.0
    manager.tick(fleet.now_s)
    assert not manager.leased(fleet.everyone).any()
    assert manager.store_back(fleet.now_s) is None


def test_a_host_that_has_seen_a_later_manager_makes_this_one_ask_its_store_and_nothing_more() -> None:
    fleet = leased_fleet(3)
    manager = fleet.seats[0].manager
    fleet.hosts.contact(ids(1), fleet.now_s)
    replies = fleet.hear(
        fleet.seats[0], ids(1), fleet.hosts.generation[ids(1)], np.array([9]), fleet.hosts.sequence[ids(1)]
    )
    assert replies.kinds.tolist() == [ReplyKind.FENCED]
    assert manager.should_check_tenure
    assert not manager.is_superseded
    assert manager.leased(ids(0, 1, 2)).all()


def test_a_superseded_manager_grants_calls_and_launches_nothing() -> None:
    fleet = leased_fleet(5)
    manager = fleet.seats[0].manager
    manager.launch(ids(1), fleet.now_s)
    manager.superseded()
    assert not len(manager.tick(fleet.now_s))
    assert not manager.take(100.0, fleet.now_s)
    assert not manager.launch(ids(2), fleet.now_s).any()
    assert not manager.leased(fleet.everyone).any()


def test_the_next_manager_takes_recorded_leases_over_and_hosts_follow_it() -> None:
    fleet = leased_fleet(8)
    before = fleet.hosts.generation.copy()
    second = fleet.take_over(skew_s=3600.0)
    assert second.manager.leased(fleet.everyone).all()
    fleet.obey(second, fleet.contact(second, fleet.everyone))
    fleet.obey(second, fleet.work(second))
    assert (fleet.hosts.generation == before).all()
    assert (fleet.hosts.epoch == 2).all()
    assert not len(fleet.hosts.called(fleet.everyone, 1, fleet.now_s))


def test_launches_are_dropped_when_nobody_waits_for_them_any_more() -> None:
    fleet = leased_fleet(5)
    manager = fleet.seats[0].manager
    assert manager.launch(ids(1, 2), fleet.now_s).all()
    fleet.now_s += SAFE_FLEET.launch_deadline_s + 1
    assert manager.launch(ids(3), fleet.now_s).all()
    (work,) = manager.take(100.0, fleet.now_s)
    assert (work.kind, work.ids.tolist()) == (JobKind.LAUNCH, [3])


def test_launches_get_their_share_of_a_recovery_and_no_more() -> None:
    fleet = SmallFleet(1000)
    seat = fleet.take_over()
    seat.manager.launch(np.arange(5000, dtype=np.int32), 0.0)
    units = {JobKind.LAUNCH: 0.0, JobKind.ESTABLISH: 0.0}
    for _ in range(100):
        fleet.now_s += 0.1
        fleet.call(seat)
        for work in seat.manager.take(10.0, fleet.now_s):
            units[work.kind] += work.units
            fleet.obey(seat, seat.manager.completed(work, np.ones(len(work), np.bool_), fleet.now_s))
        seat.manager.spent(0.0, 0.0, 0.1, fleet.now_s)
    assert units[JobKind.LAUNCH] / sum(units.values()) == pytest.approx(0.2, abs=0.03)


def test_a_retired_host_is_leased_no_more_and_not_heard() -> None:
    fleet = leased_fleet(5)
    manager = fleet.seats[0].manager
    manager.remove(ids(2))
    assert manager.leased(fleet.everyone).tolist() == [True, True, False, True, True]
    assert not len(fleet.contact(fleet.seats[0], ids(2)))
    assert manager.status(fleet.now_s).hosts == 4


def test_a_store_put_back_from_an_old_copy_gets_new_leases_above_the_lost_ones() -> None:
    fleet = leased_fleet(3)
    lost = fleet.hosts.generation.copy()
    second = fleet.take_over()
    second.manager.table.generation[ids(0, 1, 2)] -= 2  # as an old copy had them
    fleet.obey(second, fleet.contact(second, fleet.everyone))
    fleet.sweep(second)
    assert (fleet.hosts.generation > lost).all()


def test_tables_hold_a_host_in_less_than_200_octets() -> None:
    manager = SweepManager(SAFE_FLEET, "a", 1, np.random.default_rng(1), 0.0)
    manager.add(0, 100_000)
    assert manager.octets / 100_000 <= 200
