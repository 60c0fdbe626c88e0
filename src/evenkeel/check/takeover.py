"""The fleet's takeover and fencing as a protocol: managers that all want one az, its store, one host, a network.

The workflows (`fleet.standby`, `fleet.takeover`), the store's twin and the host's table are the code that runs. A
manager stands by, takes over, grants lease after lease, beats, and steps down when it hears that it is over, to stand
by again; it may be stopped for any time between two calls. The watch of a standby is at its worst: it finds any holder
silent, at any time. The network delivers what it was given at any time, as often as it likes, or never. With faults a
manager crashes, and the store loses replies: the call has taken effect, or will at any later time, or never does.

What has to hold whatever happens: no two managers each believe in a lease of the same host. A weakening takes one of
the safeguards out that see to it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np

from evenkeel.check.model import Always, AlwaysTogether, Properties, Recoverable, Sometimes
from evenkeel.check.protocol import Process, Protocol, Service
from evenkeel.check.replay import Call, Ports, Raised, Workflow
from evenkeel.fleet.hosts import HostTable
from evenkeel.fleet.standby import look
from evenkeel.fleet.takeover import GrantEnd, grant
from evenkeel.model.errors import EvenkeelError, Unreachable
from evenkeel.model.fleet import Granted, Host, Tenure, epoch_of, first_generation
from evenkeel.model.fleet_policy import SAFE_FLEET
from evenkeel.ports.fleet import Superseded
from evenkeel.twins import lease_store as twin

AZ = "a"
HOST = "host-1"
NUMBER = 0
EXTEND_S = 60.0
STORE = twin.join(twin.State(), Host(NUMBER, HOST, AZ, 8, 4096))[0]

GrantWorkflow = Callable[[Any, Any, str, int, int, int], Coroutine[Any, Any, GrantEnd]]


class Safeguard(StrEnum):
    """What can be taken out, to see what it is for."""

    COMPARE_AND_SET = "compare-and-set"  # a takeover compares the epoch that it has seen
    EPOCH_CHECK = "epoch-check"  # the store refuses the records of an epoch that is over
    AMNESTY = "amnesty"  # a takeover lets recorded leases stand
    RECORD_FIRST = "record-first"  # a lease is recorded before its host is told
    OBEY_NEWEST = "obey-newest"  # a host refuses the word of an older epoch or lease


@dataclass(frozen=True, slots=True)
class Takeover:
    """What is explored. `takeovers`: epochs that there are; `leases`: grants of one host in one epoch."""

    managers: int = 2
    takeovers: int = 3
    leases: int = 2
    faults: int = 1
    weakened: Safeguard | None = None


@dataclass(frozen=True, slots=True)
class Office:
    """What a manager keeps between cycles: the epoch in which it manages, and the leases that it has granted in it."""

    epoch: int
    leases: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """A grant that is under way to the host."""

    epoch: int
    generation: int


@dataclass(frozen=True, slots=True)
class Droplet:
    """The host: the greatest epoch it has heard of, the lease that it holds, what may still reach it."""

    epoch: int = 0
    generation: int = 0
    under_way: frozenset[Told] = frozenset()


def protocol(config: Takeover) -> Protocol:
    """`config` as a protocol. Managers are alike."""
    names = [f"manager-{number}" for number in range(1, config.managers + 1)]
    granting = _told_first if config.weakened is Safeguard.RECORD_FIRST else grant
    return Protocol(
        [*(_manager(name, config, granting) for name in names), Process("links", _links, cycles=True)],
        [_store(config), Service("host", Droplet(), _host(config))],
        properties(config),
        alike=names,
        faults=config.faults,
    )


# --- the processes ----------------------------------------------------------------------------------------------------


def _manager(name: str, config: Takeover, granting: GrantWorkflow) -> Process:
    """One manager's process: each cycle is one thing that it does in its office, or tries to come into it."""

    async def seek(ports: Ports) -> Office | None:
        try:
            tenure = await look(ports.store, Impatient(), AZ, name, EXTEND_S)
        except Unreachable:
            return None  # it may have won: it looks again
        return Office(tenure.epoch) if tenure is not None else None

    def manage(office: Office) -> Workflow:
        async def run(ports: Ports) -> Office | None:
            try:
                if office.leases == config.leases:
                    await ports.store.beat(AZ, office.epoch)
                    return office
                granted = replace(office, leases=office.leases + 1)
                end = await granting(ports.store, ports.host, AZ, office.epoch, NUMBER, granted.leases)
            except Unreachable:
                return replace(office, leases=min(office.leases + 1, config.leases))
            except Superseded:
                return None
            return granted if end is GrantEnd.TOLD else None

        return run

    return Process(name, seek, next_cycle=manage, crashes=True)


class Impatient:
    """`fleet.standby.Watching` at its worst. To find the holder alive would be to look once more, and nothing else."""

    async def asks(self) -> None:
        """Nothing is remembered."""

    async def may_take(self, seen: Tenure) -> bool:
        return True

    async def tries(self, seen: Tenure) -> None:
        """Nothing is remembered."""


async def _links(ports: Ports) -> None:
    await ports.host.hear()


async def _told_first(store: Any, link: Any, az: str, epoch: int, number: int, lease: int) -> GrantEnd:
    """Weakened: the host is told, and the lease is recorded afterwards."""
    generation = first_generation(epoch) + lease
    await link.grant(number, epoch, generation)
    try:
        await store.record_grants(az, epoch, (Granted(number, generation),))
    except Superseded:
        return GrantEnd.OVER
    return GrantEnd.TOLD


# --- the services -----------------------------------------------------------------------------------------------------


def _store(config: Takeover) -> Service:
    """The twin. Of takeovers there are as many as are explored: one more waits for ever."""

    def step(state: twin.State, call: Call) -> Iterable[tuple[twin.State, Any]]:
        match call.method:
            case "tenure":
                yield state, state.tenure(AZ)
            case "take":
                _, manager, seen, extend_s = call.args
                if state.tenure(AZ).epoch < config.takeovers or seen != state.tenure(AZ).epoch:
                    yield _take(state, manager, seen, extend_s, config.weakened)
            case "record_grants":
                _, epoch, grants = call.args
                try:
                    checked = state.tenure(AZ).epoch if config.weakened is Safeguard.EPOCH_CHECK else epoch
                    yield twin.record_grants(state, AZ, checked, grants), None
                except EvenkeelError as error:
                    yield state, Raised(error)
            case "beat":
                try:
                    twin.beat(state, *call.args)
                    yield state, None  # how many there were says nothing to who finds anybody silent
                except EvenkeelError as error:
                    yield state, Raised(error)

    return Service("store", STORE, step, Raised(Unreachable("no reply")), frozenset({"take", "record_grants"}))


def _take(
    state: twin.State, manager: str, seen: int, extend_s: float, weakened: Safeguard | None
) -> tuple[twin.State, bool]:
    if weakened is Safeguard.COMPARE_AND_SET:
        state = state.with_tenure(AZ, replace(state.tenure(AZ), epoch=seen))
    after, is_taken = twin.take(state, AZ, manager, seen, extend_s)
    amnesty = after.tenure(AZ).amnesty
    if weakened is Safeguard.AMNESTY and is_taken and amnesty is not None:
        after = after.with_tenure(AZ, replace(after.tenure(AZ), amnesty=replace(amnesty, generation=0)))
    return after, is_taken


def _host(config: Takeover) -> Callable[[Any, Call], Iterable[tuple[Droplet, Any]]]:
    def step(state: Droplet, call: Call) -> Iterable[tuple[Droplet, Any]]:
        if call.method == "grant":
            _, epoch, generation = call.args
            yield replace(state, under_way=state.under_way | {Told(epoch, generation)}), None
            return
        for told in sorted(state.under_way):
            epoch, generation = _heard(state.epoch, state.generation, told, config.weakened is Safeguard.OBEY_NEWEST)
            is_obeyed = (epoch, generation) == (told.epoch, told.generation)
            yield replace(state, epoch=epoch, generation=generation), Heard(told, is_obeyed)

    return step


@dataclass(frozen=True, slots=True)
class Heard:
    """The host has got a grant, and obeys it or not."""

    told: Told
    is_obeyed: bool


@lru_cache(maxsize=4096)
def _heard(epoch: int, generation: int, told: Told, obeys_any: bool) -> tuple[int, int]:
    """What the host's own table makes of a grant: the epoch and generation that it then goes by."""
    one, some = np.array([0], np.int32), np.array([EXTEND_S], np.float32)
    table = HostTable(1, SAFE_FLEET, np.random.default_rng(1))
    table.contact(one, 0.0)
    table.epoch[0], table.generation[0] = (0, 0) if obeys_any else (epoch, generation)
    table.granted(one, told.epoch, np.array([told.generation]), table.sequence[one], some, some, some, some, 0.1)
    return int(table.epoch[0]), int(table.generation[0])


# --- the properties ---------------------------------------------------------------------------------------------------


def properties(config: Takeover) -> Properties:
    """What has to hold, worst first."""
    return Properties(
        always=(
            Always(
                "recorded-in-office",
                "a lease is recorded by the manager in office alone, and none goes back to an older one",
                of_step=_is_recorded_in_office,
                services=("store",),
            ),
            Always(
                "epochs-only-rise",
                "epochs rise one by one, and an epoch has one manager",
                of_step=_is_epoch_rising,
                services=("store",),
            ),
            Always(
                "obeys-the-newest",
                "the host never goes back to an older epoch, nor to an older lease",
                of_step=lambda before, after: before.epoch <= after.epoch and before.generation <= after.generation,
                services=("host",),
            ),
        ),
        together=(
            AlwaysTogether(
                "one-believer",
                "whoever is in office knows of the lease that the host holds, so no two managers each believe in one",
                _knows_who_is_in_office,
            ),
            AlwaysTogether("recorded-first", "the host holds no lease that is not recorded", _is_recorded),
        ),
        sometimes=(
            Sometimes("taken-over", "a manager takes over", lambda label: _is(label, "store.take", "True")),
            Sometimes(
                "rival-first", "of two that take over, one is told so", lambda label: _is(label, "store.take", "False")
            ),
            Sometimes("superseded", "the store refuses who is out of office", lambda label: "Superseded" in label),
            Sometimes("obeyed", "the host obeys a grant", lambda label: _is(label, "host.hear", "is_obeyed=True")),
            Sometimes("outdated", "the host refuses a grant", lambda label: _is(label, "host.hear", "is_obeyed=False")),
        ),
        recoverable=Recoverable(
            "manageable",
            f"from everywhere somebody can come into office and lease the host (within {config.takeovers} takeovers)",
            lambda states: _is_managed(states, config.takeovers),
        ),
    )


def _is(label: str, call: str, reply: str) -> bool:
    called, _, replied = label.partition(" -> ")
    return call in called and reply in replied


def _recorded(state: twin.State) -> int:
    return state.hosts[NUMBER].generation


def _is_recorded_in_office(before: twin.State, after: twin.State) -> bool:
    was, now = _recorded(before), _recorded(after)
    return was == now or (was < now and epoch_of(now) == before.tenure(AZ).epoch)


def _is_epoch_rising(before: twin.State, after: twin.State) -> bool:
    was, now = before.tenure(AZ), after.tenure(AZ)
    return now.epoch == was.epoch + 1 or (now.epoch, now.manager) == (was.epoch, was.manager)


def _knows_who_is_in_office(states: dict[str, Any]) -> bool:
    """The host's lease is of the epoch in office, or under the amnesty that its manager took over with."""
    tenure, held = states["store"].tenure(AZ), states["host"].generation
    covered = tenure.amnesty.generation if tenure.amnesty is not None else 0
    return bool(held <= covered or epoch_of(held) == tenure.epoch)


def _is_recorded(states: dict[str, Any]) -> bool:
    return bool(states["host"].generation <= _recorded(states["store"]))


def _is_managed(states: dict[str, Any], takeovers: int) -> bool:
    epoch = states["store"].tenure(AZ).epoch
    return bool(epoch == takeovers or (epoch and epoch_of(states["host"].generation) == epoch))
