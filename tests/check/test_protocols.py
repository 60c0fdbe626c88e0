"""`evenkeel.check` on small known protocols: published state counts, and a plain search of our own beside it."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from evenkeel.check.protocol import Process, Protocol, Service, counterexample, explore
from evenkeel.check.replay import Call, Ports, Raised, WorkflowFailed, after
from evenkeel.model.errors import Unreachable
from tests.check.protocols import leases, two_phase_commit


def plainly_counted(protocol: Protocol) -> int:
    """Distinct states by the plainest search there is: whole reply histories, ends told apart by their result."""

    def settled(process: Process, history: tuple[Any, ...]) -> Any:
        pending = after(process.workflow, history)[0]
        return (history, pending) if isinstance(pending, Call) else ((), pending)

    steps = {service.name: (k, service.step) for k, service in enumerate(protocol.services)}
    start = (
        tuple(settled(process, ()) for process in protocol.processes),
        tuple(service.start for service in protocol.services),
    )
    seen, waiting = {start}, deque([start])
    while waiting:
        locals_, services = waiting.popleft()
        for k, (history, pending) in enumerate(locals_):
            if not isinstance(pending, Call):
                continue
            number, step = steps[pending.port]
            for state, reply in step(services[number], pending):
                local = settled(protocol.processes[k], (*history, reply))
                new = (
                    (*locals_[:k], local, *locals_[k + 1 :]),
                    (*services[:number], state, *services[number + 1 :]),
                )
                if new not in seen:
                    seen.add(new)
                    waiting.append(new)
    return len(seen)


@pytest.mark.parametrize(("managers", "states"), [(3, 288), (5, 8832)])
def test_two_phase_commit_has_the_published_number_of_states(managers: int, states: int) -> None:
    """TLC and Stateright report 288 for three resource managers; Stateright's tests 8,832 for five."""
    space = explore(two_phase_commit(managers))
    assert (space.count, space.complete, space.together) == (states, True, {})


def test_two_phase_commit_under_symmetry() -> None:
    """Of three resource managers that are alike there are 80 ways to stand: counted by orbits of the whole space."""
    reduced = explore(two_phase_commit(3, symmetric=True))
    assert reduced.complete
    assert reduced.together == {}
    assert reduced.count == 80


def test_an_impatient_manager_that_commits_alone_breaks_agreement() -> None:
    protocol = two_phase_commit(2)
    hasty = Process("tm", _commits_after_one)
    broken = Protocol([*protocol.processes[:-1], hasty], protocol.services, protocol.properties)
    trace = counterexample(explore(broken), "agreement")
    assert trace is not None
    assert [event.process for event in trace][-1].startswith("rm-")
    assert len(trace) == 5


async def _commits_after_one(ports: Ports) -> str:
    await ports.network.collect(False)
    return str(await ports.network.collect(True))


@pytest.mark.parametrize("clients", [2, 3])
def test_a_lease_alone_does_not_keep_writes_in_order_and_fencing_does(clients: int) -> None:
    fenced, plain = explore(leases(clients, fenced=True)), explore(leases(clients, fenced=False))
    assert fenced.complete
    assert not fenced.broken
    trace = counterexample(plain, "writes-in-order")
    assert trace is not None
    assert [event.call.partition("(")[0] for event in trace] == [
        "lock.acquire",
        "lock.acquire",
        "storage.write",
        "storage.write",
    ]
    assert counterexample(fenced, "writes-in-order") is None


@pytest.mark.parametrize(
    "protocol", [two_phase_commit(2), leases(2, fenced=True), leases(2, fenced=False), leases(3, fenced=True)]
)
def test_the_search_counts_what_a_plain_search_counts(protocol: Protocol) -> None:
    assert explore(protocol).count == plainly_counted(protocol)


def test_processes_in_cycles_make_a_finite_space() -> None:
    async def toggles(ports: Ports) -> None:
        await ports.switch.set(not await ports.switch.get())

    def switch(state: bool, call: Call) -> list[tuple[bool, Any]]:
        return [(state, state)] if call.method == "get" else [(call.args[0], None)]

    space = explore(Protocol([Process("hand", toggles, cycles=True)], [Service("switch", False, switch)]))
    assert (space.count, space.complete) == (4, True)


def test_an_error_that_a_workflow_lets_pass_is_told_with_the_process() -> None:
    async def divides(ports: Ports) -> float:
        return 1 / int(await ports.dial.read())

    dial = Service("dial", 0, lambda state, call: [(state, 0)])
    with pytest.raises(WorkflowFailed, match="meter: ZeroDivisionError"):
        explore(Protocol([Process("meter", divides)], [dial]))


def counter(state: int, call: Call) -> list[tuple[int, Any]]:
    return [(state + 1, None)] if state < 3 else []


def test_what_a_cycle_returns_is_what_the_next_one_begins_with_until_a_crash() -> None:
    def counts(seen: int) -> Any:
        async def run(ports: Ports) -> int:
            await ports.counter.add(seen)
            return seen + 1

        return run

    clerk = Process("clerk", counts(0), next_cycle=counts, crashes=True)
    calm = explore(Protocol([clerk], [Service("counter", 0, counter)]))
    assert (calm.count, calm.labels()) == (4, [f"counter.add({seen}) -> None" for seen in range(3)])
    shaken = explore(Protocol([clerk], [Service("counter", 0, counter)], faults=1))
    assert shaken.count == 4 + 6  # after its crash the clerk has counted less than there is: 0 of 1, 0 or 1 of 2, ...
    assert "crash" in shaken.labels()


@pytest.mark.parametrize("faults", [0, 1, 2])
def test_a_lost_write_has_taken_effect_or_will_or_never_does(faults: int) -> None:
    """Adding is not idempotent: who is told nothing and asks again may have it twice, once a fault."""

    async def adds(ports: Ports) -> str:
        for _ in range(faults + 1):
            try:
                await ports.counter.add()
            except Unreachable:
                continue
            return "done"
        return "gave up"

    lost = Raised(Unreachable("no reply"))
    service = Service("counter", 0, lambda state, call: [(state + 1, None)], lost, frozenset({"add"}))
    space = explore(Protocol([Process("clerk", adds)], [service], faults=faults))
    local = space.model.shape.locals
    ends = {int(row[local]) for row in space.fields(slice(0, space.count)) if space.model.result(0, int(row[0]))[0]}
    assert {space.model.service_state(0, state) for state in ends} == set(range(1, faults + 2))


def test_a_counterexample_under_symmetry_keeps_everybodys_name() -> None:
    protocol = two_phase_commit(2, symmetric=True)
    hasty = Process("tm", _commits_after_one)
    broken = Protocol([*protocol.processes[:-1], hasty], protocol.services, protocol.properties, alike=protocol.alike)
    trace = counterexample(explore(broken), "agreement")
    assert trace is not None
    assert len(trace) == 5
    assert len({event.process for event in trace}) == 3
