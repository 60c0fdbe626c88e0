"""Small known protocols, written as workflows: two-phase commit, and a lock with leases and fencing tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evenkeel.check.model import Always, AlwaysTogether, Properties
from evenkeel.check.protocol import Process, Protocol, Service
from evenkeel.check.replay import Call, Ports, Workflow

# --- two-phase commit (Gray and Lamport, Consensus on Transaction Commit, ACM TODS 31(1), 2006) -----------------------

Messages = frozenset[str]  # what was ever sent; the network loses nothing and delivers again


def resource_manager(name: str) -> Workflow:
    """Votes, then waits for the decision; one that votes no has decided for itself."""

    async def run(ports: Ports) -> str:
        if await ports.network.vote(name) == "no":
            return "aborted"
        return str(await ports.network.decision(name))

    return run


def transaction_manager(managers: int) -> Workflow:
    """Commits when everyone has voted yes; may lose patience before."""

    async def run(ports: Ports) -> str:
        prepared = 0
        while True:
            word = await ports.network.collect(prepared == managers)
            if word != "one more":
                return str(word)
            prepared += 1

    return run


def network(state: tuple[Messages, Messages], call: Call) -> Iterable[tuple[tuple[Messages, Messages], str]]:
    """The set of messages sent, and of the votes that the transaction manager has received."""
    sent, received = state
    match call.method:
        case "vote":
            yield (sent | {f"yes {call.args[0]}"}, received), "yes"
            yield (sent, received), "no"
        case "decision":
            for decision in sorted(sent & {"committed", "aborted"}):
                yield state, decision
        case "collect":
            for vote in sorted(sent - received - {"committed", "aborted"}):
                yield (sent, received | {vote}), "one more"
            yield (sent | {"aborted"}, received), "aborted"
            if call.args[0]:
                yield (sent | {"committed"}, received), "committed"


def agree(values: dict[str, Any]) -> bool:
    return len({result for name, result in values.items() if name.startswith("rm-")}) < 2


def two_phase_commit(managers: int, *, symmetric: bool = False) -> Protocol:
    names = [f"rm-{number}" for number in range(1, managers + 1)]
    return Protocol(
        [*(Process(name, resource_manager(name)) for name in names), Process("tm", transaction_manager(managers))],
        [Service("network", (frozenset(), frozenset()), network)],
        Properties(together=(AlwaysTogether("agreement", "nobody commits what another has aborted", agree),)),
        alike=names if symmetric else (),
    )


# --- a lock with leases, and storage that checks fencing tokens or does not -------------------------------------------


def client(name: str) -> Workflow:
    """Takes the lock, writes under its token, releases. It may pause for any time between two steps."""

    async def run(ports: Ports) -> None:
        token = await ports.lock.acquire(name)
        await ports.storage.write(token)
        await ports.lock.release(name)

    return run


def lease_lock(state: tuple[str, int], call: Call) -> Iterable[tuple[tuple[str, int], Any]]:
    """Who holds the lock, and the last token given. A lease may have expired whenever another asks."""
    holder, token = state
    if call.method == "acquire":
        yield (call.args[0], token + 1), token + 1
    else:
        yield ("" if holder == call.args[0] else holder, token), None


def fenced_storage(state: int, call: Call) -> Iterable[tuple[int, bool]]:
    """The token of the last write taken; an older one is refused."""
    yield (call.args[0], True) if call.args[0] >= state else (state, False)


def plain_storage(state: int, call: Call) -> Iterable[tuple[int, bool]]:
    yield call.args[0], True


def leases(clients: int, *, fenced: bool) -> Protocol:
    in_order = Always(
        "writes-in-order",
        "no write follows one under a later lease",
        of_step=lambda before, after: before <= after,
        services=("storage",),
    )
    return Protocol(
        [Process(f"client-{number}", client(f"client-{number}")) for number in range(1, clients + 1)],
        [Service("lock", ("", 0), lease_lock), Service("storage", 0, fenced_storage if fenced else plain_storage)],
        Properties((in_order,)),
    )
