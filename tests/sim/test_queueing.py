"""The renewal model: the table, the workflows and a plain loop say the same, to the microsecond."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.sim.queueing import Renewals, RenewalTable, Servers, ServerTable, renew
from evenkeel.sim.scheduler import Simulator


def plainly(arrivals: list[int], servers: int, service_us: int) -> list[int]:
    """First come first served, one arrival at a time."""
    free, departures = [-(10**15)] * servers, []
    for arrival in arrivals:
        start = max(arrival, heapq.heappop(free))
        departures.append(start + service_us)
        heapq.heappush(free, start + service_us)
    return departures


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 500), max_size=12), max_size=6),
    st.integers(1, 5),
    st.integers(1, 90),
)
def test_windows_of_arrivals_depart_as_they_would_one_by_one(
    windows: list[list[int]], servers: int, service_us: int
) -> None:
    table, arrivals, departures = ServerTable(servers, service_us), [], []
    for number, offsets in enumerate(windows):
        own = sorted(number * 500 + offset for offset in offsets)
        arrivals += own
        departures += table.serve(np.array(own, dtype=np.int64)).tolist()
    assert departures == plainly(arrivals, servers, service_us)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 400), st.integers(0, 2**32))
def test_table_and_workflows_renew_alike(hosts: int, servers: int, service_us: int, seed: int) -> None:
    every_us, until_us = 10_000, 50_000
    due = np.random.default_rng(seed).choice(every_us, hosts, replace=False).astype(np.int64)
    table = RenewalTable(due, every_us, servers, service_us)
    for end_us in range(1_000, until_us + 1, 1_000):
        table.window(end_us)
    simulator, seen = Simulator(), Renewals()
    pool = Servers(simulator, servers)
    for first_us in due.tolist():
        simulator.start_plain(renew(simulator, pool, first_us, every_us, service_us, seen))
    simulator.run(until_us - 1)
    assert seen.done == table.done


def test_a_queue_without_servers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RenewalTable(np.zeros(1, dtype=np.int64), 1, 0, 1)
