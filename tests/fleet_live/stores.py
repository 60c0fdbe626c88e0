"""A lease store in memory, with faults to order: the live parts are tested against its outages, not its storage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from evenkeel.model.errors import Refusal, Unreachable
from evenkeel.model.fleet import Amnesty, Granted, Host, HostState, Instance, InstanceState, Tenure
from evenkeel.ports.fleet import Superseded


@dataclass
class FaultyStore:
    """`ports.fleet.LeaseStore`. While `is_lost` nothing is done; `loses_replies` does it, and then says nothing."""

    is_lost: bool = False
    loses_replies: bool = False
    tenures: dict[str, Tenure] = field(default_factory=dict)
    by_name: dict[str, Host] = field(default_factory=dict)
    by_id: dict[str, Instance] = field(default_factory=dict)
    calls: int = 0
    listing_waits: asyncio.Event | None = None  # the next listing is made now, and arrives when this is set

    def _asked(self) -> None:
        self.calls += 1
        if self.is_lost:
            raise Unreachable("the store is lost, as ordered")

    def _done(self) -> None:
        if self.loses_replies:
            raise Unreachable("the reply is lost, as ordered")

    def _check(self, az: str, epoch: int) -> None:
        if self.tenures.get(az, Tenure()).epoch != epoch:
            raise Superseded(f"epoch {epoch} of az {az} is over")

    async def tenure(self, az: str) -> Tenure:
        self._asked()
        return self.tenures.get(az, Tenure())

    async def take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        self._asked()
        before = self.tenures.get(az, Tenure())
        if before.epoch != seen_epoch:
            return False
        newest = max((host.generation for host in self.by_name.values() if host.az == az), default=0)
        epoch = seen_epoch + 1
        self.tenures[az] = Tenure(epoch, manager, Amnesty(epoch, newest, extend_s), before.capacity_per_s)
        self._done()
        return True

    async def beat(self, az: str, epoch: int) -> None:
        self._asked()
        self._check(az, epoch)
        self.tenures[az] = replace(self.tenures[az], beat=self.tenures[az].beat + 1)
        self._done()

    async def hosts(self, az: str) -> Sequence[Host]:
        self._asked()
        return sorted((host for host in self.by_name.values() if host.az == az), key=lambda host: host.number)

    async def join(self, host: Host) -> Host:
        self._asked()
        known = self.by_name.get(host.name)
        if known is not None and (known.az != host.az or known.state is HostState.RETIRED):
            raise Refusal(f"{host.name} cannot join")
        number = known.number if known is not None else len(await self.hosts(host.az))
        base = known or replace(host, number=number)
        self.by_name[host.name] = replace(base, cpus=host.cpus, memory_mib=host.memory_mib)
        self._done()
        return self.by_name[host.name]

    async def set_state(self, az: str, name: str, state: HostState) -> Host:
        self._asked()
        known = self.by_name.get(name)
        if known is None or known.az != az or known.state is HostState.RETIRED:
            raise Refusal(f"{name} is unknown or retired")
        self.by_name[name] = replace(known, state=state)
        return self.by_name[name]

    async def record_grants(self, az: str, epoch: int, grants: Sequence[Granted]) -> None:
        self._asked()
        self._check(az, epoch)
        names = {host.number: host.name for host in self.by_name.values() if host.az == az}
        for grant in grants:
            host = self.by_name[names[grant.number]]
            if grant.generation > host.generation:
                self.by_name[host.name] = replace(host, generation=grant.generation)
        self._done()

    async def record_amnesty(self, az: str, amnesty: Amnesty) -> None:
        self._asked()
        self._check(az, amnesty.epoch)
        self.tenures[az] = replace(self.tenures[az], amnesty=amnesty)

    async def record_capacity(self, az: str, epoch: int, capacity_per_s: float) -> None:
        self._asked()
        self._check(az, epoch)
        self.tenures[az] = replace(self.tenures[az], capacity_per_s=capacity_per_s)

    async def place(self, az: str, epoch: int, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        self._asked()
        self._check(az, epoch)
        first = instances[0]
        before = await self.launch_of(first.account, first.token)
        if before:
            return before
        self.by_id |= {each.instance: each for each in instances}
        self._done()
        return tuple(instances)

    async def launch_of(self, account: str, token: str) -> tuple[Instance, ...]:
        self._asked()
        return tuple(each for each in self.by_id.values() if (each.account, each.token) == (account, token))

    async def set_instance(
        self, az: str, epoch: int, instance: str, state: InstanceState, address: str = ""
    ) -> Instance | None:
        self._asked()
        self._check(az, epoch)
        known = self.by_id.get(instance)
        if known is None:
            return None
        is_over = known.state is InstanceState.TERMINATED
        is_ending = known.state is InstanceState.STOPPING and state is not InstanceState.TERMINATED
        if not is_over and not is_ending:
            self.by_id[instance] = replace(known, state=state, address=address)
        return self.by_id[instance]

    async def ask_to_stop(self, account: str, instance: str) -> Instance | None:
        self._asked()
        known = self.by_id.get(instance)
        if known is None or known.account != account:
            return None
        if known.state is not InstanceState.TERMINATED:
            self.by_id[instance] = replace(known, state=InstanceState.STOPPING)
        return self.by_id[instance]

    async def instances(self, az: str = "", account: str = "") -> Sequence[Instance]:
        self._asked()
        listed = [
            each
            for each in self.by_id.values()
            if (not az or each.az == az) and (not account or each.account == account)
        ]
        waits, self.listing_waits = self.listing_waits, None
        if waits is not None:
            await waits.wait()
        return listed
