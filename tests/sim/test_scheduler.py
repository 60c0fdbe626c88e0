"""Virtual time: order, parking, holding, ending; nothing depends on anything but the inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.model.errors import InternalError, Refusal
from evenkeel.sim.scheduler import SECOND_US, Pending, Simulator, Sleep, Wake, as_us

HOUR_US = 3600 * SECOND_US


def test_events_of_one_moment_happen_in_the_order_they_were_asked_for() -> None:
    simulator = Simulator()
    seen: list[str] = []
    for name in "abc":
        simulator.call_after(10, seen.append, name)
    simulator.call_after(5, seen.append, "first")
    simulator.run(HOUR_US)
    assert seen == ["first", "a", "b", "c"]


@given(st.lists(st.lists(st.integers(0, 50), max_size=6), max_size=6))
def test_time_never_goes_back_and_every_sleep_is_exact(sleeps: list[list[int]]) -> None:
    simulator, woke = Simulator(), []

    async def sleeper(own: list[int]) -> None:
        at_us = 0
        for delay_us in own:
            await Sleep((delay_us,))
            at_us += delay_us
            assert simulator.now_us == at_us
            woke.append(simulator.now_us)

    for own in sleeps:
        simulator.start("sleeper", sleeper(own))
    simulator.run(HOUR_US)
    assert woke == sorted(woke)
    assert len(woke) == sum(map(len, sleeps))


def test_the_clock_stands_where_the_run_ends_and_goes_on_from_there() -> None:
    simulator, woke = Simulator(), []

    async def sleeper() -> None:
        await Sleep((as_us(2.5),))
        woke.append(simulator.now_us)

    simulator.start("sleeper", sleeper())
    simulator.run(SECOND_US)
    assert (simulator.now_us, woke) == (SECOND_US, [])
    simulator.run(3 * SECOND_US)
    assert (simulator.now_us, woke) == (3 * SECOND_US, [2_500_000])


def test_what_is_settled_first_counts_and_an_error_is_raised_where_it_is_awaited() -> None:
    simulator, seen = Simulator(), []

    async def waiter(pending: Pending[str]) -> None:
        try:
            seen.append(await pending)
        except Refusal as refusal:
            seen.append(str(refusal))

    good, bad = Pending[str](simulator), Pending[str](simulator)
    simulator.start("good", waiter(good))
    simulator.start("bad", waiter(bad))
    simulator.call_after(5, lambda _: good.settle("first"))
    simulator.call_after(5, lambda _: good.settle("second"))
    simulator.call_after(6, lambda _: bad.fail(Refusal("no")))
    simulator.run(10)
    assert seen == ["first", "no"]


def test_a_held_task_gets_what_came_meanwhile_once_it_goes_on() -> None:
    simulator, seen = Simulator(), []

    async def ticker() -> None:
        for _ in range(3):
            await Sleep((10,))
            seen.append(simulator.now_us)

    task = simulator.start("ticker", ticker())
    simulator.run(15)
    task.hold()
    simulator.run(1000)
    assert seen == [10]
    for value in task.release():
        simulator.wake(task, value)
    simulator.run(2000)
    assert seen == [10, 1000, 1010]


def test_an_ended_task_is_unwound_and_never_runs_again() -> None:
    simulator, seen = Simulator(), []

    async def worker() -> None:
        try:
            await Sleep((10,))
            seen.append("woke")
        finally:
            seen.append("unwound")

    task = simulator.start("worker", worker())
    simulator.run(5)
    task.end()
    simulator.run(100)
    assert seen == ["unwound"]


def test_a_wake_before_the_wait_is_not_lost_and_a_wait_ends_by_itself() -> None:
    simulator, seen = Simulator(), []
    wake = Wake(simulator)

    async def waiter() -> None:
        for _ in range(3):
            was_set = await wake.wait(100)
            seen.append((simulator.now_us, was_set))

    wake.set()
    simulator.start("waiter", waiter())
    simulator.call_after(40, lambda _: wake.set())
    simulator.run(1000)
    assert seen == [(0, True), (40, True), (140, False)]


def test_an_error_that_a_task_lets_pass_is_our_own_fault_and_names_the_task() -> None:
    simulator = Simulator()

    async def careless() -> None:
        raise Refusal("nobody catches this")

    simulator.start("careless", careless())
    with pytest.raises(InternalError, match="careless at 0 us: nobody catches this"):
        simulator.run(10)
