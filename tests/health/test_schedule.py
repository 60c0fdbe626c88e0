"""The schedule: no drift, even load, every turn accounted for."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from evenkeel.adapters.probes.loop_watch import LoopWatch
from evenkeel.adapters.probes.schedule import Schedule, phase_share


def test_turns_stand_at_whole_intervals_however_late_they_are_taken() -> None:
    schedule = Schedule(100.0, [5.0], [0.5])
    due: list[float] = []
    now_s = 100.0
    while len(due) < 1000:
        now_s = schedule.next_s + 0.3  # always taken late: a schedule by `last + interval` would drift 300 s
        due.extend(turn.due_s for turn in schedule.take(now_s, 10))
    assert due[-1] == 100.0 + 2.5 + 999 * 5.0


def test_turns_that_passed_unasked_are_one_turn_that_says_how_many() -> None:
    schedule = Schedule(0.0, [1.0], [0.0])
    (first,) = schedule.take(0.0, 10)
    assert (first.due_s, first.skipped) == (0.0, 0)
    (late,) = schedule.take(7.5, 10)
    assert (late.due_s, late.skipped) == (7.0, 6)
    assert schedule.next_s == 8.0


def test_a_batch_is_bounded_and_the_rest_is_taken_next() -> None:
    schedule = Schedule(0.0, [1.0] * 10, [k / 10 for k in range(10)])
    assert len(schedule.take(0.95, 4)) == 4
    assert [turn.index for turn in schedule.take(0.95, 100)] == [4, 5, 6, 7, 8, 9]


def test_no_targets_are_never_due() -> None:
    schedule = Schedule(0.0, [], [])
    assert schedule.next_s == math.inf
    assert schedule.take(1e9, 10) == []


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 1.0, 5.0, 7.0]), st.integers(0, 15)), min_size=1, max_size=20),
    st.lists(st.integers(1, 200), min_size=1, max_size=40),
)
def test_every_turn_is_taken_or_counted_as_skipped_exactly_once(
    targets: list[tuple[float, int]], gaps: list[int]
) -> None:
    """Sixteenths and eighths are exact in binary, so the counts are, too."""
    schedule = Schedule(0.0, [interval for interval, _ in targets], [share / 16 for _, share in targets])
    seen = [0] * len(targets)
    now_s = 0.0
    for gap in gaps:
        now_s += gap / 8
        taken = schedule.take(now_s, 10_000)
        assert all(turn.due_s <= now_s + 1e-9 for turn in taken)
        assert [turn.index for turn in schedule.take(now_s, 10_000)] == []
        for turn in taken:
            seen[turn.index] += 1 + turn.skipped
    for count, (interval_s, share) in zip(seen, targets, strict=True):
        assert count == max(0, math.floor((now_s - share / 16 * interval_s) / interval_s) + 1)


def test_phases_spread_the_load_and_differ_between_vantages() -> None:
    keys = [f"lb-{k}/192.0.2.{k % 250}" for k in range(10_000)]
    shares = [phase_share("vantage-a", key) for key in keys]
    assert all(0 <= share < 1 for share in shares)
    tenths = [sum(int(share * 10) == tenth for share in shares) for tenth in range(10)]
    assert max(tenths) < 1.15 * min(tenths)
    others = [phase_share("vantage-b", key) for key in keys]
    differences = [(a - b) % 1.0 for a, b in zip(shares, others, strict=True)]
    assert len({round(difference, 6) for difference in differences}) > 1, "vantages must not probe in step"
    assert shares == [phase_share("vantage-a", key) for key in keys]


def test_absence_is_what_lies_between_meaning_to_wake_and_waking() -> None:
    watch = LoopWatch(0.0)
    watch.expect(1.0)
    assert watch.absent_s(0.5) == 0.0
    assert watch.absent_s(3.0) == 2.0  # not awake yet: it counts already
    watch.woke(3.0)
    watch.expect(3.05)
    watch.woke(3.052)  # ordinary scheduling
    assert watch.absent_s(3.052) == 2.0
    watch.expect(3.5)
    assert watch.absent_s(4.5) == 3.0
