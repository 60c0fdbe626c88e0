"""Virtual time beside SimPy (and happysim, where it is installed: it needs Python 3.13), in one run.

    hosts       100,000 hosts renew every 60 s through 16 servers of 8 ms, first come first served
      table     windows of 5 s                                                      >= 50x SimPy's events/s
      tasks     the same hosts, a coroutine each                                    told, no bar
    calls       200 workflows call a server with a deadline, and think              >= 5x SimPy's
    October     act one, 15 h virtual, both policies                                < 30 s each
    search      1,000 seeds of the race, 2 processes                                < 60 s

An event is what the model says: a renewal arrives, a renewal departs; a call arrives, its reply arrives. All sides
count the same ones and the same waiting, or the comparison is void. Time is that of processors, so that other programs
on the machine count for less; the clock's is told beside it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evenkeel.region.rehearsing.packaged import packaged
from evenkeel.region.rehearsing.reading import read_scenario
from evenkeel.region.rehearsing.rehearse import rehearse
from evenkeel.region.rehearsing.search import search
from evenkeel.sim.queueing import Renewals, RenewalTable, Servers, renew
from evenkeel.sim.scheduler import SECOND_US, Pending, Simulator, Sleep

HOSTS = 100_000
EVERY_US = 60 * SECOND_US
SERVERS = 16
SERVICE_US = 8_000
WINDOW_US = 5 * SECOND_US
ROUNDS = 3
WORKFLOWS = 200
THERE_US, BACK_US, THINK_US, DEADLINE_US = 700, 700, 5_000, 3 * SECOND_US
TABLE_MIN, CALLS_MIN, OCTOBER_MAX_S, SEEDS_MAX_S = 50.0, 5.0, 30.0, 60.0
SEEDS = 1_000
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Took:
    """One way of running the model."""

    name: str
    done: int
    waited_us: int
    seconds: float  # of the processor

    @property
    def events_per_s(self) -> float:
        return 2 * self.done / self.seconds


def first_due() -> list[int]:
    """Each host's first renewal, all at different microseconds: ties would be broken differently by each."""
    due: list[int] = np.random.default_rng(1).choice(EVERY_US, HOSTS, replace=False).tolist()
    return due


def by_table(due: list[int], until_us: int) -> Took:
    table = RenewalTable(np.array(due, dtype=np.int64), EVERY_US, SERVERS, SERVICE_US)
    began = time.process_time()
    for end_us in range(WINDOW_US, until_us + 1, WINDOW_US):
        table.window(end_us)
    return Took("evenkeel, table", table.done, table.waited_us, time.process_time() - began)


def by_tasks(due: list[int], until_us: int) -> Took:
    simulator, seen = Simulator(), Renewals()
    servers = Servers(simulator, SERVERS)
    for first_us in due:
        simulator.start_plain(renew(simulator, servers, first_us, EVERY_US, SERVICE_US, seen))
    began = time.process_time()
    simulator.run(until_us - 1)
    return Took("evenkeel, tasks", seen.done, seen.waited_us, time.process_time() - began)


def by_simpy(due: list[int], until_us: int) -> Took:
    import simpy

    environment = simpy.Environment()
    servers = simpy.Resource(environment, SERVERS)
    seen = Renewals()

    def host(first_us: int) -> Any:
        yield environment.timeout(first_us)
        while True:
            due_us = environment.now
            seen.done += 1
            with servers.request() as turn:
                yield turn
                seen.waited_us += int(environment.now - due_us)
                yield environment.timeout(SERVICE_US)
            yield environment.timeout(EVERY_US)

    for first_us in due:
        environment.process(host(first_us))
    began = time.process_time()
    environment.run(until=until_us)
    return Took("SimPy", seen.done, seen.waited_us, time.process_time() - began)


def calls_by_tasks(due: list[int], until_us: int) -> Took:
    simulator, seen = Simulator(), Renewals()

    def serve(call: Pending[int]) -> None:
        call.settle(1, BACK_US)  # a deadline needs a timer only where the reply would come after it

    async def workflow(first_us: int) -> None:
        think = Sleep((THINK_US,))
        await Sleep((first_us,))
        while True:
            call: Pending[int] = Pending(simulator)
            simulator.call_after(THERE_US, serve, call)
            reply = await call  # not within the sum: it would be read before the wait, and lose what others add
            seen.done += reply
            await think

    for first_us in due:
        simulator.start_plain(workflow(first_us))
    began = time.process_time()
    simulator.run(until_us - 1)
    return Took("evenkeel, calls", seen.done, 0, time.process_time() - began)


def calls_by_simpy(due: list[int], until_us: int) -> Took:
    import simpy

    environment, seen = simpy.Environment(), Renewals()

    def serve(reply: Any) -> None:
        environment.timeout(BACK_US).callbacks.append(lambda _: reply.succeed(1))

    def deliver(reply: Any, _: Any) -> None:
        serve(reply)

    def workflow(first_us: int) -> Any:
        yield environment.timeout(first_us)
        while True:
            reply = environment.event()
            environment.timeout(THERE_US).callbacks.append(partial(deliver, reply))
            yield reply | environment.timeout(DEADLINE_US)
            seen.done += int(reply.value or 0)
            yield environment.timeout(THINK_US)

    for first_us in due:
        environment.process(workflow(first_us))
    began = time.process_time()
    environment.run(until=until_us)
    return Took("SimPy, calls", seen.done, 0, time.process_time() - began)


def best(run: Callable[[list[int], int], Took], due: list[int], until_us: int) -> Took:
    """The fastest of a few: a shared machine slows single runs, and speeds none up."""
    return min((run(due, until_us) for _ in range(ROUNDS)), key=lambda took: took.seconds)


def ratios(peer: Took, *ours: Took) -> list[float]:
    """How much faster each is than the peer; nothing where they do not agree."""
    for took in (peer, *ours):
        print(f"  {took.name:<17} {took.events_per_s:>14,.0f} events/s   {took.done:,} done")
    if len({(took.done, took.waited_us) for took in (peer, *ours)}) != 1:
        print("  VOID: they do not agree", [(took.done, took.waited_us) for took in (peer, *ours)])
        return [0.0] * len(ours)
    return [took.events_per_s / peer.events_per_s for took in ours]


def compare_engines() -> bool:
    due, until_us = first_due(), 120 * SECOND_US
    table, tasks = ratios(best(by_simpy, due, until_us), best(by_table, due, until_us), best(by_tasks, due, until_us))
    print(f"  100,000 hosts: the table {table:.0f}x SimPy (bar {TABLE_MIN:.0f}x), as tasks {tasks:.1f}x")
    few, until_us = [37 * number for number in range(WORKFLOWS)], 5 * SECOND_US
    (calls,) = ratios(best(calls_by_simpy, few, until_us), best(calls_by_tasks, few, until_us))
    print(f"  workflows' calls: {calls:.1f}x SimPy (bar {CALLS_MIN:.0f}x)")
    is_ahead = compare_happysim(best(by_table, due, 120 * SECOND_US))
    return table >= TABLE_MIN and calls >= CALLS_MIN and is_ahead


def compare_happysim(ours: Took) -> bool:
    """Beside happysim, which needs Python 3.13: HAPPYSIM_PYTHON names an interpreter that has it."""
    python = os.environ.get("HAPPYSIM_PYTHON")
    if python is None:
        print("  happysim: set HAPPYSIM_PYTHON to a Python 3.13 that has it (see happysim_peer.py); not compared")
        return True
    peer = Path(__file__).with_name("happysim_peer.py")
    ran = subprocess.run([python, str(peer), "120"], capture_output=True, text=True, check=True, timeout=600)
    theirs = float(ran.stdout.split()[-2].replace(",", ""))
    ratio = ours.done / ours.seconds / theirs
    print(f"  {ran.stdout.strip()}; the table {ours.done / ours.seconds:,.0f}: {ratio:.0f}x (bar {TABLE_MIN:.0f}x)")
    return ratio >= TABLE_MIN


def october() -> bool:
    night = read_scenario(packaged()["october-2025"])
    is_met = True
    for policy in ("", "safe"):
        began = time.process_time()
        outcome = rehearse(night, policy=policy)
        seconds = time.process_time() - began
        is_met &= outcome.is_good and seconds < OCTOBER_MAX_S
        hours = outcome.run.virtual_us / 3600 / SECOND_US
        print(
            f"  October act one under {outcome.policy}: {hours:.1f} h virtual in {seconds:.1f} s of a processor, "
            f"{outcome.wall_s:.1f} s by the clock (bar {OCTOBER_MAX_S:.0f} s), good: {outcome.is_good}"
        )
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return is_met


def seeds() -> bool:
    race = read_scenario(packaged()["race"])
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    found = search(race, range(1, SEEDS + 1), workers=PROCESSES)
    clock_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / PROCESSES
    print(
        f"  {SEEDS:,} seeds of the race in {seconds:.1f} s of each of {PROCESSES} processors, {clock_s:.1f} s by the "
        f"clock (bar {SEEDS_MAX_S:.0f} s), {len(found.found)} broken"
    )
    return seconds < SEEDS_MAX_S and found.is_good


def main() -> int:
    outcomes = [compare_engines(), october(), seeds()]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
