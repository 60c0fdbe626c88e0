"""The lease store's twin: pure functions from a state and a request to a state and a reply.

States are immutable and hashable, so that an explorer can tell them apart. Everything is kept as plainly as it can be
said; what a real store does faster is compared with this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from evenkeel.model.errors import Refusal
from evenkeel.model.fleet import (
    EPOCH_MAX,
    Amnesty,
    Granted,
    Host,
    HostState,
    Instance,
    InstanceState,
    Tenure,
)
from evenkeel.ports.fleet import Superseded

T = TypeVar("T")
TERMINATED_KEPT_S = 3600.0


@dataclass(frozen=True, slots=True)
class State:
    """A region's store. `ended` is when an instance was terminated, by the store's wall clock."""

    tenures: tuple[tuple[str, Tenure], ...] = ()
    hosts: tuple[Host, ...] = ()
    instances: tuple[Instance, ...] = ()
    ended: tuple[tuple[str, float], ...] = ()

    def tenure(self, az: str) -> Tenure:
        return dict(self.tenures).get(az, Tenure())

    def with_tenure(self, az: str, tenure: Tenure) -> State:
        return replace(self, tenures=tuple(sorted({**dict(self.tenures), az: tenure}.items())))

    def hosts_of(self, az: str) -> tuple[Host, ...]:
        return tuple(sorted((host for host in self.hosts if host.az == az), key=lambda host: host.number))

    def with_host(self, changed: Host) -> State:
        return replace(self, hosts=(*(host for host in self.hosts if host.name != changed.name), changed))

    def instance(self, instance: str) -> Instance | None:
        return next((each for each in self.instances if each.instance == instance), None)


def check_epoch(state: State, az: str, epoch: int) -> None:
    """Raises `Superseded` where `epoch` is not the tenure's."""
    now = state.tenure(az).epoch
    if now != epoch:
        raise Superseded(f"epoch {epoch} of az {az} is over: it is {now}")


def take(state: State, az: str, manager: str, seen_epoch: int, extend_s: float) -> tuple[State, bool]:
    before = state.tenure(az)
    if before.epoch != seen_epoch:
        return state, False
    epoch = seen_epoch + 1
    if epoch > EPOCH_MAX:
        raise Refusal(f"az {az} has had {EPOCH_MAX} managers: there are no epochs left")
    newest = max((host.generation for host in state.hosts_of(az)), default=0)
    tenure = Tenure(epoch, manager, Amnesty(epoch, newest, extend_s), before.capacity_per_s)
    return state.with_tenure(az, tenure), True


def beat(state: State, az: str, epoch: int) -> State:
    check_epoch(state, az, epoch)
    tenure = state.tenure(az)
    return state.with_tenure(az, replace(tenure, beat=tenure.beat + 1))


def record_amnesty(state: State, az: str, amnesty: Amnesty) -> State:
    check_epoch(state, az, amnesty.epoch)
    return state.with_tenure(az, replace(state.tenure(az), amnesty=amnesty))


def record_capacity(state: State, az: str, epoch: int, capacity_per_s: float) -> State:
    check_epoch(state, az, epoch)
    return state.with_tenure(az, replace(state.tenure(az), capacity_per_s=capacity_per_s))


def record_grants(state: State, az: str, epoch: int, grants: Sequence[Granted]) -> State:
    check_epoch(state, az, epoch)
    for granted in grants:
        for host in state.hosts_of(az):
            if host.number == granted.number and host.generation < granted.generation:
                state = state.with_host(replace(host, generation=granted.generation))
    return state


def join(state: State, host: Host) -> tuple[State, Host]:
    known = next((each for each in state.hosts if each.name == host.name), None)
    if known is None:
        joined = replace(host, number=len(state.hosts_of(host.az)), state=HostState.ACTIVE, generation=0)
    elif known.az != host.az:
        raise Refusal(f"host {host.name} stands in az {known.az}, not in {host.az}")
    elif known.state is HostState.RETIRED:
        raise Refusal(f"host {host.name} was retired; its name is not used again")
    else:
        joined = replace(known, cpus=host.cpus, memory_mib=host.memory_mib)
    return state.with_host(joined), joined


def set_state(state: State, az: str, name: str, wanted: HostState) -> tuple[State, Host]:
    known = next((host for host in state.hosts_of(az) if host.name == name), None)
    if known is None:
        raise Refusal(f"az {az} has no host {name}")
    if known.state is HostState.RETIRED and wanted is not HostState.RETIRED:
        raise Refusal(f"host {name} was retired, which is for good")
    changed = replace(known, state=wanted)
    return state.with_host(changed), changed


def launch_of(state: State, account: str, token: str) -> tuple[Instance, ...]:
    return tuple(each for each in state.instances if (each.account, each.token) == (account, token))


def place(state: State, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[State, tuple[Instance, ...]]:
    check_epoch(state, az, epoch)
    if len({(each.account, each.token) for each in instances}) != 1:
        raise Refusal("a launch is of one account, under one token")
    before = launch_of(state, instances[0].account, instances[0].token)
    if before:
        return state, before
    return replace(state, instances=(*state.instances, *instances)), tuple(instances)


def set_instance(
    state: State, az: str, epoch: int, instance: str, wanted: InstanceState, address: str, now_s: float
) -> tuple[State, Instance | None]:
    check_epoch(state, az, epoch)
    known = state.instance(instance)
    if known is None or known.az != az:
        return state, None
    is_ending = known.state is InstanceState.STOPPING and wanted is not InstanceState.TERMINATED
    if known.state is InstanceState.TERMINATED or is_ending:
        return state, known
    return _moved(state, known, wanted, address, now_s)


def ask_to_stop(state: State, account: str, instance: str, now_s: float) -> tuple[State, Instance | None]:
    known = state.instance(instance)
    if known is None or known.account != account:
        return state, None
    if known.state in (InstanceState.TERMINATED, InstanceState.STOPPING):
        return state, known
    return _moved(state, known, InstanceState.STOPPING, known.address, now_s)


def _moved(state: State, known: Instance, wanted: InstanceState, address: str, now_s: float) -> tuple[State, Instance]:
    changed = replace(known, state=wanted, address=address)
    instances = tuple(changed if each.instance == known.instance else each for each in state.instances)
    ended = (*state.ended, (known.instance, now_s)) if wanted is InstanceState.TERMINATED else state.ended
    return replace(state, instances=instances, ended=ended), changed


def instances_of(state: State, az: str, account: str, now_s: float) -> tuple[Instance, ...]:
    ended = dict(state.ended)
    return tuple(
        each
        for each in state.instances
        if az in ("", each.az)
        and account in ("", each.account)
        and ended.get(each.instance, now_s) >= now_s - TERMINATED_KEPT_S
    )


class TwinLeaseStore:
    """The twin as a `ports.fleet.LeaseStore`, for one event loop or none."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        self.state = State()
        self._wall_s = wall_s

    def _set(self, result: tuple[State, T]) -> T:
        self.state, reply = result
        return reply

    async def tenure(self, az: str) -> Tenure:
        return self.state.tenure(az)

    async def take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        return self._set(take(self.state, az, manager, seen_epoch, extend_s))

    async def beat(self, az: str, epoch: int) -> None:
        self.state = beat(self.state, az, epoch)

    async def hosts(self, az: str) -> Sequence[Host]:
        return self.state.hosts_of(az)

    async def join(self, host: Host) -> Host:
        return self._set(join(self.state, host))

    async def set_state(self, az: str, name: str, state: HostState) -> Host:
        return self._set(set_state(self.state, az, name, state))

    async def record_grants(self, az: str, epoch: int, grants: Sequence[Granted]) -> None:
        self.state = record_grants(self.state, az, epoch, grants)

    async def record_amnesty(self, az: str, amnesty: Amnesty) -> None:
        self.state = record_amnesty(self.state, az, amnesty)

    async def record_capacity(self, az: str, epoch: int, capacity_per_s: float) -> None:
        self.state = record_capacity(self.state, az, epoch, capacity_per_s)

    async def place(self, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        return self._set(place(self.state, az, epoch, instances))

    async def launch_of(self, account: str, token: str) -> tuple[Instance, ...]:
        return launch_of(self.state, account, token)

    async def set_instance(
        self, az: str, epoch: int, instance: str, state: InstanceState, address: str = ""
    ) -> Instance | None:
        return self._set(set_instance(self.state, az, epoch, instance, state, address, self._wall_s()))

    async def ask_to_stop(self, account: str, instance: str) -> Instance | None:
        return self._set(ask_to_stop(self.state, account, instance, self._wall_s()))

    async def instances(self, az: str = "", account: str = "") -> Sequence[Instance]:
        return instances_of(self.state, az, account, self._wall_s())
