"""`evenkeel.check` on small known protocols: published state counts, and a plain search of our own beside it."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from evenkeel.check.protocol import Process, Protocol, Service, counterexample, explore
from evenkeel.check.replay import Call, Ports, WorkflowFailed, after
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
