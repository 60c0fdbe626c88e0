"""Takeover and fencing, every interleaving: two managers that both want an az and stand by for each other, one host, a
store that loses replies, a network that delays, repeats and loses. The watch is at its worst: it may find any holder
silent.

The workflows, the store's twin and the host's rule are the code that runs; nothing is modelled beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from evenkeel.check.model import Always, AlwaysTogether, Properties, Sometimes
from evenkeel.check.protocol import Process, Protocol, Service, counterexample, explore
from evenkeel.check.replay import Call, Ports, Raised
from evenkeel.fleet.hosts import HostTable
from evenkeel.fleet.standby import look
from evenkeel.fleet.takeover import GrantEnd, grant
from evenkeel.model.errors import EvenkeelError, Unreachable
from evenkeel.model.fleet import Granted, Host, epoch_of, first_generation
from evenkeel.model.fleet_policy import SAFE_FLEET
from evenkeel.ports.fleet import Superseded
from evenkeel.twins import lease_store as twin

AZ = "a"
ONE = np.array([0], np.int32)
START = twin.join(twin.State(), Host(0, "host-1", AZ, 8, 4096))[0]
Told = tuple[int, int]  # epoch, generation
HostState = tuple[int, int, frozenset[Told]]  # greatest epoch seen, generation held, what is under way


def manager(name: str, leases: int = 2) -> Callable[[Ports], Any]:
    """One tenure, as a manager's process lives it: stand by, take over when the watch says so, then beat and grant
    until it hears that it is over; and then stand by again, where the process cycles."""

    async def run(ports: Ports) -> None:
        try:
            tenure = await look(ports.store, ports.watch, AZ, name, 60.0)
            if tenure is None:
                return
            await ports.store.beat(AZ, tenure.epoch)
        except (Unreachable, Superseded):
            return
        for lease in range(1, leases + 1):
            try:
                if await grant(ports.store, ports.host, AZ, tenure.epoch, 0, lease) is GrantEnd.OVER:
                    return
            except Unreachable:
                continue

    return run


async def network(ports: Ports) -> None:
    await ports.host.arrive()


def store(is_lossy: bool, checks_epoch: bool = True) -> Callable[[Any, Call], Iterable[tuple[Any, Any]]]:
    def step(state: twin.State, call: Call) -> Iterable[tuple[Any, Any]]:
        lost = Raised(Unreachable("no reply"))
        if call.method == "tenure":
            yield state, state.tenure(AZ)
            return
        try:
            if call.method == "beat":
                after, reply = twin.beat(state, *call.args), None
            elif call.method == "take":
                if state.tenure(AZ).epoch >= 3:
                    return  # enough of them: the third manager waits for ever
                after, reply = twin.take(state, *call.args)
            else:
                az, epoch, grants = call.args
                after = twin.record_grants(state, az, epoch if checks_epoch else state.tenure(az).epoch, grants)
                reply = None
        except EvenkeelError as error:
            yield state, Raised(error)
            return
        yield after, reply
        if is_lossy:
            yield after, lost  # done, and the reply is lost
            yield state, lost  # never arrived

    return step


def watch(state: Any, call: Call) -> Iterable[tuple[Any, Any]]:
    """A standby's watch, at its worst: it finds any holder silent or not, at any time."""
    if call.method == "may_take":
        yield state, True
        yield state, False
    else:
        yield state, None


def host(obeys_any: bool = False) -> Callable[[Any, Call], Iterable[tuple[Any, Any]]]:
    """The real table of one host behind a network that may deliver any message at any time, again and again."""

    def step(state: HostState, call: Call) -> Iterable[tuple[Any, Any]]:
        epoch, generation, under_way = state
        if call.method == "grant":
            number, told_epoch, told_generation = call.args
            assert number == 0
            yield (epoch, generation, under_way | {(told_epoch, told_generation)}), None
            return
        for told in sorted(under_way):
            held = heard(epoch, generation, told, obeys_any)
            yield (*held, under_way), None
            yield (*held, under_way - {told}), None

    return step


def heard(epoch: int, generation: int, told: Told, obeys_any: bool) -> tuple[int, int]:
    """What the host's table makes of a grant."""
    table = HostTable(1, SAFE_FLEET, np.random.default_rng(1))
    table.contact(ONE, 0.0)
    table.epoch[0], table.generation[0] = (0, 0) if obeys_any else (epoch, generation)
    some = np.array([60.0], np.float32)
    table.granted(ONE, told[0], np.array([told[1]]), table.sequence[ONE], some, some, some, some, 0.1)
    return int(table.epoch[0]), int(table.generation[0])


OBEYS_THE_NEWEST = Always(
    "obeys-the-newest",
    "a host never goes back to an older epoch or an older lease",
    of_step=lambda before, after: before[:2] <= after[:2] and before[1] <= after[1],
    services=("host",),
)
RECORDS_GROW = Always(
    "records-grow",
    "epochs and recorded generations never go back, and no generation is above its epoch's",
    of_step=lambda before, after: (
        before.tenure(AZ).epoch <= after.tenure(AZ).epoch and before.hosts[0].generation <= after.hosts[0].generation
    ),
    services=("store",),
)
RECORDED_FIRST = AlwaysTogether(
    "recorded-first",
    "a host holds no lease that is not recorded, so no two managers can each believe in another one",
    lambda states: (
        states["host"][1] <= states["store"].hosts[0].generation
        and epoch_of(states["host"][1]) <= states["store"].tenure(AZ).epoch
    ),
)
SUPERSEDED = Sometimes("superseded", "a manager hears that it is over", lambda label: "Superseded" in label)


def protocol(
    *, is_lossy: bool = True, checks_epoch: bool = True, obeys_any: bool = False, cycles: bool = False
) -> Protocol:
    leases = 1 if cycles else 2
    return Protocol(
        [
            Process("manager-1", manager("manager-1", leases), cycles=cycles),
            Process("manager-2", manager("manager-2", leases), cycles=cycles),
            Process("network", network, cycles=True),
        ],
        [
            Service("store", START, store(is_lossy, checks_epoch)),
            Service("watch", (), watch),
            Service("host", (0, 0, frozenset()), host(obeys_any)),
        ],
        Properties((OBEYS_THE_NEWEST, RECORDS_GROW), (RECORDED_FIRST,), (SUPERSEDED,)),
    )


@pytest.mark.parametrize("cycles", [False, True])
@pytest.mark.parametrize("is_lossy", [False, True])
def test_no_interleaving_of_two_managers_leases_a_host_twice(is_lossy: bool, cycles: bool) -> None:
    space = explore(protocol(is_lossy=is_lossy, cycles=cycles))
    assert space.complete
    assert not space.broken
    assert not space.together
    assert any("Superseded" in label for label in space.model.labels)


def test_the_space_of_managers_that_stand_by_again_is_as_large_as_the_documentation_says() -> None:
    assert explore(protocol(cycles=True)).count == 48_175


def test_a_host_that_obeys_any_manager_is_found_out() -> None:
    space = explore(protocol(obeys_any=True))
    assert counterexample(space, "obeys-the-newest")


def test_a_generation_tells_the_epoch_that_it_is_of() -> None:
    assert epoch_of(first_generation(7) + 12) == 7
    assert first_generation(8) > first_generation(7) + (1 << 39)


def test_a_superseded_manager_can_record_nothing() -> None:
    state, _ = twin.take(START, AZ, "one", 0, 60.0)
    state, _ = twin.take(state, AZ, "two", 1, 60.0)
    with pytest.raises(Superseded):
        twin.record_grants(state, AZ, 1, (Granted(0, first_generation(1) + 1),))
