"""Overload control: the capacity estimate, the queue with one place a member, budgets and shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.admission.budgets import Budgets, WorkShare
from evenkeel.admission.capacity import CapacityEstimate
from evenkeel.admission.deadline_queue import DeadlineQueue
from evenkeel.admission.limiters import Gradient2, NoLimit, TokenBucket


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


# --- the estimate ---------------------------------------------------------------------------------------


def work(estimate: CapacityEstimate, true_per_s: float, over_s: float, held_back: bool = True) -> None:
    """A worker of `true_per_s` that is given as much as the estimate allows, for `over_s`."""
    for _ in range(round(over_s / 0.1)):
        units = 0.1 * min(true_per_s, estimate.per_s)
        estimate.done(units)
        estimate.spent(0.1 - units / true_per_s, 0.0, 0.1, held_back)


@pytest.mark.parametrize("start", [2.0, 25.0, 100.0, 500.0, 5000.0, 50_000.0])
def test_the_estimate_finds_a_capacity_of_500_from_anywhere(start: float) -> None:
    estimate = CapacityEstimate(start)
    work(estimate, 500.0, 15.0)
    assert estimate.per_s == pytest.approx(500.0, rel=0.1)


@pytest.mark.parametrize("becomes", [62.5, 125.0, 250.0, 1000.0, 4000.0])
def test_the_estimate_follows_a_capacity_that_changes(becomes: float) -> None:
    estimate = CapacityEstimate(500.0)
    work(estimate, 500.0, 5.0)
    work(estimate, becomes, 15.0)
    assert estimate.per_s == pytest.approx(becomes, rel=0.1)


def test_a_worker_with_nothing_to_do_teaches_nothing() -> None:
    estimate = CapacityEstimate(500.0)
    for _ in range(1000):
        estimate.spent(0.1, 0.0, 0.1, held_back=False)
    assert estimate.per_s == 500.0


def test_messages_do_not_count_as_slowness() -> None:
    estimate = CapacityEstimate(500.0)
    for _ in range(50):
        estimate.done(40.0)
        estimate.spent(0.0, 0.02, 0.1, held_back=True)
    assert estimate.per_s == pytest.approx(500.0, rel=0.02)


def test_what_was_done_in_a_time_can_be_done_in_it_however_idle_it_looked() -> None:
    estimate = CapacityEstimate(20.0)
    for _ in range(5):
        estimate.done(20.0)
        estimate.spent(0.05, 0.0, 0.1, held_back=True)
    assert estimate.per_s >= 200.0


# --- the queue ------------------------------------------------------------------------------------------


def test_who_asks_a_thousand_times_has_one_place() -> None:
    queue = DeadlineQueue(10)
    for _ in range(1000):
        queue.offer(ids(3), 5.0)
    queue.offer(ids(4), 5.0)
    assert len(queue) == 2
    taken, late = queue.take(100, 0.0)
    assert taken.tolist() == [3, 4]
    assert not len(late)
    assert len(queue) == 0


def test_what_is_late_is_dropped_when_its_turn_comes_and_told() -> None:
    queue = DeadlineQueue(10)
    queue.offer(ids(1, 2), 5.0)
    queue.offer(ids(3), 9.0)
    taken, late = queue.take(10, 6.0)
    assert (taken.tolist(), sorted(late.tolist())) == ([3], [1, 2])
    assert queue.dropped == 2


def test_who_was_taken_out_and_came_again_waits_once() -> None:
    queue = DeadlineQueue(10)
    queue.offer(ids(1, 2), 5.0)
    queue.cancel(ids(1))
    queue.offer(ids(1), 5.0)
    assert queue.take(10, 0.0)[0].tolist() == [2, 1]


@given(st.lists(st.tuples(st.sampled_from(["offer", "cancel", "take"]), st.integers(0, 7), st.integers(1, 9))))
def test_the_queue_is_a_list_without_repetitions(steps: list[tuple[str, int, int]]) -> None:
    queue, plain, now_s = DeadlineQueue(8), list[tuple[int, float]](), 0.0
    for what, who, number in steps:
        now_s += 1.0
        if what == "offer":
            queue.offer(ids(who), now_s + number)
            if who not in [each for each, _ in plain]:
                plain.append((who, now_s + number))
        elif what == "cancel":
            queue.cancel(ids(who))
            plain = [each for each in plain if each[0] != who]
        else:
            expected: list[int] = []
            while plain and len(expected) < number:
                each, deadline_s = plain.pop(0)
                expected += [each] if deadline_s >= now_s else []
            assert queue.take(number, now_s)[0].tolist() == expected
        assert len(queue) == len(plain)


# --- budgets --------------------------------------------------------------------------------------------


def test_a_budget_says_when_to_come_again_and_means_it() -> None:
    budgets = Budgets(per_s=2.0, burst=4.0)
    assert [budgets.take("acct", 1.0, 0.0) for _ in range(4)] == [0.0] * 4
    retry_s = budgets.take("acct", 1.0, 0.0)
    assert retry_s == pytest.approx(0.5)
    assert budgets.take("acct", 1.0, retry_s) == 0.0
    assert budgets.take("another", 4.0, 0.0) == 0.0


def test_more_than_the_burst_is_paid_for_by_waiting_afterwards() -> None:
    budgets = Budgets(per_s=1.0, burst=2.0)
    assert budgets.take("acct", 10.0, 0.0) == 0.0
    assert budgets.take("acct", 1.0, 1.0) == pytest.approx(8.0)


def test_names_without_number_cost_bounded_memory() -> None:
    budgets = Budgets(per_s=0.001, burst=1.0, names_max=100)
    for number in range(10_000):
        budgets.take(f"acct-{number}", 1.0, 0.0)
    assert len(budgets) <= 101


def test_a_share_is_lent_while_it_is_not_wanted_and_kept_while_it_is() -> None:
    share = WorkShare(0.2)
    assert share.room(10.0, wanted=8.0, others=0.0) == 8.0
    busy = WorkShare(0.2)
    used = 0.0
    for _ in range(100):
        units = busy.room(10.0, wanted=100.0, others=1000.0)
        busy.used(units)
        used += units
    assert used == pytest.approx(200.0, rel=0.05)


def test_limiters_bound_what_comes_in() -> None:
    assert NoLimit(10).admit(8, 5, 0.0) == 5
    bucket = TokenBucket(100.0)
    assert bucket.admit(1000, 0, 0.0) == 100
    assert bucket.admit(1000, 0, 0.5) == 50
    gradient = Gradient2()
    for _ in range(1000):
        gradient.finished(0.01, 1000)
    assert 1.0 <= gradient.limit <= Gradient2.LIMIT_MAX
