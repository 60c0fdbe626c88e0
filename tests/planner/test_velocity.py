"""The velocity window, against the plainest thing that could be right."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.admission.velocity import VelocityWindow, removals_max

WINDOW_S = 60.0
SLICE_S = WINDOW_S / 64


def pools(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(numbers, dtype=np.int32)


def test_a_share_is_rounded_down_but_one_may_always_go() -> None:
    sizes = pools(1, 2, 3, 5, 6, 9, 10, 100)
    assert removals_max(sizes, 0.34).tolist() == [1, 1, 1, 1, 2, 3, 3, 34]
    assert removals_max(sizes, 0.3).tolist()[-2:] == [3, 30]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 40.0), st.lists(st.integers(0, 3), max_size=4)), max_size=30))
def test_no_window_ever_holds_more_than_the_limit_and_what_left_it_is_free_again(
    steps: list[tuple[float, list[int]]],
) -> None:
    limits = pools(1, 2, 3, 4)
    window, now_s, spent = VelocityWindow(limits, WINDOW_S), 0.0, list[tuple[float, int]]()
    for wait_s, wanted in steps:
        now_s += wait_s
        for pool in wanted:
            if window.left(pools(pool), now_s)[0]:
                window.spend(pools(pool), now_s)
                spent.append((now_s, pool))
        for pool in range(4):
            within = sum(1 for at, other in spent if other == pool and at > now_s - WINDOW_S)
            lately = sum(1 for at, other in spent if other == pool and at > now_s - WINDOW_S - 2 * SLICE_S)
            left = int(window.left(pools(pool), now_s)[0])
            assert limits[pool] - lately <= left <= limits[pool] - within


def test_it_says_when_the_next_allowance_is_free() -> None:
    window = VelocityWindow(pools(1), WINDOW_S)
    assert window.frees_at_s() == math.inf
    window.spend(pools(0), 100.0)
    free_at_s = window.frees_at_s()
    assert 160.0 < free_at_s <= 160.0 + SLICE_S
    assert window.left(pools(0), free_at_s - 0.01)[0] == 0
    assert window.left(pools(0), free_at_s)[0] == 1
