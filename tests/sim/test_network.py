"""Exchanges: latency both ways, loss, doubling, cuts, crashes and pauses of either side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenkeel.model.errors import EvenkeelError
from evenkeel.sim.network import DEADLINE_US, Host, Trouble
from evenkeel.sim.process import Process
from evenkeel.sim.scheduler import Sleep
from evenkeel.sim.world import World
from tests.sim.worlds import world

HOUR_US = 3_600_000_000


class Counter:
    """A host that counts what it serves."""

    def __init__(self, world: World) -> None:
        self.host = Host("host")
        self.served = 0
        world.add_host(self.host)

    def serve(self) -> int:
        self.served += 1
        return self.served


def asked(prepare: Callable[[World, Counter], None], calls: int = 1) -> tuple[World, Counter, list[Any]]:
    """One process asks `calls` times; what it got, errors by name."""
    surroundings = world()
    counter = Counter(surroundings)
    got: list[Any] = []

    async def main(process: Process) -> None:
        for _ in range(calls):
            try:
                got.append(await surroundings.network.ask("caller", counter.host, counter.serve, "ask"))
            except EvenkeelError as error:
                got.append(type(error).__name__)

    surroundings.add_process("caller", main).start()
    prepare(surroundings, counter)
    surroundings.simulator.run(HOUR_US)
    return surroundings, counter, got


def trouble(world: World, trouble: Trouble, there: bool = True) -> None:
    route = world.network.route("caller", "host") if there else world.network.route("host", "caller")
    route.troubles.append(trouble)


def test_a_reply_comes_after_both_ways() -> None:
    surroundings, counter, got = asked(lambda world, counter: None)
    assert (got, counter.served) == ([1], 1)
    assert int(surroundings.trace.digest() != "") * 800 >= 800  # a line was hashed


def test_a_lost_request_is_not_served_and_a_lost_reply_leaves_the_caller_in_doubt() -> None:
    _, counter, got = asked(lambda world, counter: trouble(world, Trouble(is_cut=True)))
    assert (got, counter.served) == (["NoReply"], 0)
    _, counter, got = asked(lambda world, counter: trouble(world, Trouble(is_cut=True), there=False))
    assert (got, counter.served) == (["NoReply"], 1)


def test_a_doubled_request_is_served_twice_and_answered_once() -> None:
    _, counter, got = asked(lambda world, counter: trouble(world, Trouble(doubled=1000)), calls=3)
    assert (got, counter.served) in (([1, 3, 5], 6), ([1, 2, 4], 6), ([1, 3, 4], 6), ([1, 2, 5], 6))


def test_who_is_down_refuses_and_who_is_paused_serves_late() -> None:
    _, counter, got = asked(lambda world, counter: counter.host.crash())
    assert (got, counter.served) == (["Unreachable"], 0)

    def pause(world: World, counter: Counter) -> None:
        counter.host.pause()
        world.simulator.call_after(2 * DEADLINE_US, lambda _: counter.host.resume())

    _, counter, got = asked(pause)
    assert (got, counter.served) == (["NoReply"], 1), "the request took effect after its sender had given up"


def test_a_late_reply_is_not_heard() -> None:
    _, counter, got = asked(lambda world, counter: trouble(world, Trouble(extra_us=2 * DEADLINE_US), there=False))
    assert (got, counter.served) == (["NoReply"], 1)


def test_a_request_outlives_its_sender() -> None:
    surroundings = world()
    counter = Counter(surroundings)

    async def main(process: Process) -> None:
        await surroundings.network.ask("caller", counter.host, counter.serve, "ask")
        raise AssertionError("the caller is gone")

    caller = surroundings.add_process("caller", main)
    caller.start()
    surroundings.simulator.call_after(1, lambda _: caller.crash())
    surroundings.simulator.run(HOUR_US)
    assert counter.served == 1


def test_a_process_keeps_its_disk_and_nothing_else_over_a_crash() -> None:
    surroundings, seen = world(), []

    async def main(process: Process) -> None:
        memory = process.disk.setdefault("starts", 0)
        process.disk["starts"] = memory + 1
        seen.append((process.starts, memory))
        await Sleep((HOUR_US,))

    process = surroundings.add_process("p", main)
    process.start()
    surroundings.simulator.call_after(10, lambda _: process.crash())
    surroundings.simulator.call_after(20, lambda _: process.restart())
    surroundings.simulator.run(100)
    assert seen == [(1, 0), (2, 1)]


def test_a_paused_process_stands_still_and_knows_nothing_of_it() -> None:
    surroundings, ticks = world(), []

    async def main(process: Process) -> None:
        while True:
            await Sleep((10,))
            ticks.append(surroundings.now_us)

    process = surroundings.add_process("p", main)
    process.start()
    surroundings.simulator.call_after(25, lambda _: process.pause())
    surroundings.simulator.call_after(100, lambda _: process.resume())
    surroundings.simulator.run(125)
    assert ticks == [10, 20, 100, 110, 120]


def test_a_process_that_lets_an_error_pass_is_started_again() -> None:
    surroundings, starts = world(), []

    async def main(process: Process) -> None:
        starts.append(surroundings.now_us)
        if len(starts) < 3:
            raise EvenkeelError("broken")
        await Sleep((HOUR_US,))

    surroundings.add_process("p", main).start()
    surroundings.simulator.run(HOUR_US - 1)
    assert starts == [0, 1_000_000, 2_000_000]


def test_a_pause_of_what_is_down_does_not_outlive_its_restart() -> None:
    """Found by seed 1116 of the race: a server that was paused while it was down came back and never answered."""
    surroundings, ticks = world(), []
    counter = Counter(surroundings)

    async def main(process: Process) -> None:
        while True:
            await Sleep((10,))
            ticks.append(surroundings.now_us)

    process = surroundings.add_process("p", main)
    process.start()
    for party in (counter.host, process):
        party.crash()
        party.pause()
        party.restart()
        assert not party.is_paused
    surroundings.simulator.run(100)
    assert len(ticks) == 10
