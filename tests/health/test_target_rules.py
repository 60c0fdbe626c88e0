"""Rise, fall, grace and lateness of one target, as one vantage point sees it (docs/explanation/health.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.endpoints.verdicts import (
    Evidence,
    Observation,
    Outcome,
    TargetState,
    blind_after_s,
    combine,
    expire,
    newcomer,
    observe,
)
from evenkeel.model.health import Probe, Standing

READY = Observation(Outcome.READY)
TIMEOUT = Observation(Outcome.TIMEOUT)
REFUSED = Observation(Outcome.REFUSED)
LATE = Observation(Outcome.LATE)
DRAIN = Observation(Outcome.READY, draining=True)
PROBE = Probe(interval_s=5.0, timeout_s=2.0, rise=3, fall=3, grace_s=30.0)

PROBES = st.builds(
    Probe,
    interval_s=st.just(5.0),
    timeout_s=st.just(2.0),
    rise=st.integers(1, 5),
    fall=st.integers(1, 5),
    grace_s=st.sampled_from([0.0, 12.0, 30.0]),
)
RESULTS = st.lists(
    st.tuples(st.sampled_from(list(Outcome)), st.booleans(), st.sampled_from([5.0, 5.0, 5.0, 5.0, 60.0])), max_size=60
)


def run(
    observations: list[Observation], probe: Probe = PROBE, state: TargetState | None = None, start_s: float = 0.0
) -> TargetState:
    """One observation an interval."""
    state = state or newcomer(start_s)
    for turn, seen in enumerate(observations):
        state = observe(state, seen, probe, start_s + (turn + 1) * probe.interval_s)
    return state


def healthy(probe: Probe = PROBE) -> TargetState:
    return run([READY] * probe.rise, probe)


def test_a_newcomer_is_new_until_it_was_ready_rise_times_in_a_row() -> None:
    assert run([READY, READY]).standing is Standing.NEW
    assert run([READY, READY, TIMEOUT, READY, READY]).standing is Standing.NEW
    assert run([READY, READY, READY]).standing is Standing.HEALTHY


@pytest.mark.parametrize("failure", [outcome for outcome in Outcome if outcome not in (Outcome.LATE, Outcome.LOCAL)])
def test_fall_failures_in_a_row_and_not_fewer_fail_it(failure: Outcome) -> None:
    if failure is Outcome.READY:
        return
    seen = Observation(failure)
    assert run([seen] * 2, state=healthy(), start_s=15.0).standing is Standing.HEALTHY
    assert run([seen] * 3, state=healthy(), start_s=15.0).standing is Standing.FAILED
    assert run([seen, seen, READY, seen, seen], state=healthy(), start_s=15.0).standing is Standing.HEALTHY


@pytest.mark.parametrize("ours", [Outcome.LATE, Outcome.LOCAL])
def test_our_own_trouble_fails_nobody_and_ends_in_unknown(ours: Outcome) -> None:
    seen = Observation(ours)
    assert run([seen] * 3, state=healthy(), start_s=15.0).standing is Standing.HEALTHY
    assert run([seen] * 50, state=healthy(), start_s=15.0).standing is Standing.UNKNOWN


def test_a_failed_one_returns_after_rise_successes() -> None:
    failed = run([REFUSED] * 3, state=healthy(), start_s=15.0)
    assert run([READY] * 2, state=failed, start_s=30.0).standing is Standing.FAILED
    assert run([READY] * 3, state=failed, start_s=30.0).standing is Standing.HEALTHY


def test_a_newcomers_failures_do_not_count_in_its_grace() -> None:
    assert run([REFUSED] * 5).standing is Standing.NEW  # 25 s of 30 s
    assert run([REFUSED] * 7).standing is Standing.NEW  # grace is over, 2 of 3
    assert run([REFUSED] * 8).standing is Standing.FAILED


def test_grace_is_for_newcomers_only() -> None:
    young = healthy()
    assert run([REFUSED] * 3, state=young, start_s=15.0).standing is Standing.FAILED  # 30 s old, was ready


def test_draining_follows_the_targets_own_word_at_once_and_back() -> None:
    draining = run([DRAIN], state=healthy(), start_s=15.0)
    assert draining.standing is Standing.DRAINING
    assert run([READY], state=draining, start_s=20.0).standing is Standing.HEALTHY
    assert run([REFUSED] * 3, state=draining, start_s=20.0).standing is Standing.FAILED
    assert run([DRAIN] * 3).standing is Standing.DRAINING
    assert run([DRAIN] * 2).standing is Standing.NEW


def test_after_a_blind_time_both_counts_begin_again() -> None:
    state = run([REFUSED] * 2, state=healthy(), start_s=15.0)
    later_s = 25.0 + blind_after_s(PROBE) + 0.1
    assert observe(state, REFUSED, PROBE, later_s).standing is Standing.UNKNOWN
    assert run([REFUSED] * 3, state=state, start_s=later_s).standing is Standing.FAILED


def test_a_regular_schedule_with_slow_replies_is_never_blind() -> None:
    probe = replace(PROBE, fall=1, rise=1)
    state = observe(newcomer(0.0), READY, probe, 0.0)
    slow_s = probe.interval_s + probe.timeout_s + 0.05
    assert expire(state, probe, slow_s) is state


def test_what_was_reported_is_kept_through_failures() -> None:
    state = run([Observation(Outcome.READY, capacity=80.0, load=7.0)] * 3)
    assert (state.capacity, state.load) == (80.0, 7.0)
    failed = run([REFUSED] * 3, state=state, start_s=15.0)
    assert failed.capacity == 80.0


@given(PROBES, RESULTS)
def test_failed_always_rests_on_fall_failures_in_a_row_seen_in_time(
    probe: Probe, results: list[tuple[Outcome, bool, float]]
) -> None:
    """Lateness, however much of it and wherever, neither makes a failure nor completes one."""
    state, now_s, in_a_row, last_s = newcomer(0.0), 0.0, 0, 0.0
    for outcome, draining, gap_s in results:
        now_s += gap_s
        before = state.standing
        seen = Observation(outcome, draining=draining)
        state = observe(state, seen, probe, now_s)
        if seen.evidence is not Evidence.OURS:
            blind = now_s - last_s > blind_after_s(probe)
            in_a_row = 0 if seen.evidence is Evidence.READY else (0 if blind else in_a_row) + 1
            last_s = now_s
        if state.standing is Standing.FAILED and before is not Standing.FAILED:
            assert in_a_row >= probe.fall
            assert seen.evidence in (Evidence.FAILING, Evidence.SILENT)


@given(PROBES, RESULTS)
def test_healthy_always_rests_on_rise_successes_in_a_row(
    probe: Probe, results: list[tuple[Outcome, bool, float]]
) -> None:
    state, now_s, in_a_row = newcomer(0.0), 0.0, 0
    for outcome, draining, gap_s in results:
        now_s += gap_s
        before = state.standing
        seen = Observation(outcome, draining=draining)
        state = observe(state, seen, probe, now_s)
        if seen.evidence is not Evidence.OURS:
            in_a_row = in_a_row + 1 if seen.evidence is Evidence.READY else 0
        alive = (Standing.HEALTHY, Standing.DRAINING)
        if state.standing in alive and before not in alive:
            assert in_a_row >= probe.rise
        assert not (state.successes and state.failures)
        assert state.successes <= probe.rise
        assert state.failures <= probe.fall


@given(PROBES, RESULTS)
def test_lateness_can_be_left_out_of_any_regular_history(
    probe: Probe, results: list[tuple[Outcome, bool, float]]
) -> None:
    """With a result in every blind window, late ones in between change nothing at all."""
    with_late, without, now_s = newcomer(0.0), newcomer(0.0), 0.0
    for outcome, draining, _ in results:
        now_s += probe.interval_s
        seen = Observation(outcome, draining=draining)
        if seen.evidence is Evidence.OURS:
            seen = READY
        with_late = observe(with_late, LATE, probe, now_s - 1.0)
        with_late = observe(with_late, seen, probe, now_s)
        without = observe(without, seen, probe, now_s)
        assert with_late == without


def test_flapping_faster_than_rise_and_fall_changes_nothing() -> None:
    flapping = [REFUSED, READY] * 20
    assert run(flapping, state=healthy(), start_s=15.0).standing is Standing.HEALTHY
    failed = run([REFUSED] * 3, state=healthy(), start_s=15.0)
    assert run(flapping, state=failed, start_s=30.0).standing is Standing.FAILED
    assert run(flapping).standing is Standing.NEW


@pytest.mark.parametrize(
    ("addresses", "together"),
    [
        ([], Standing.UNKNOWN),
        ([Standing.HEALTHY, Standing.HEALTHY], Standing.HEALTHY),
        ([Standing.HEALTHY, Standing.FAILED], Standing.FAILED),
        ([Standing.HEALTHY, Standing.NEW], Standing.NEW),
        ([Standing.HEALTHY, Standing.DRAINING], Standing.DRAINING),
        ([Standing.HEALTHY, Standing.UNKNOWN], Standing.HEALTHY),  # no IPv6 here: IPv4 speaks for it
        ([Standing.UNKNOWN], Standing.UNKNOWN),
    ],
)
def test_a_load_balancer_is_as_its_addresses_are(addresses: list[Standing], together: Standing) -> None:
    assert combine(addresses) is together
