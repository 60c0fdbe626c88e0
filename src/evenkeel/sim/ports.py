"""The workflows' ports in virtual time: each call is handed to the scheduler, and answered by a twin.

What the real clients know without asking (the newest plan heard of, the kill switch as of the last reply) is known
here in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from evenkeel.model.errors import Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.health import Health
from evenkeel.model.plan import Plan, PlanDelta
from evenkeel.model.region import HostPort
from evenkeel.model.transactions import AddRRs, Commit, Transaction
from evenkeel.ports.plan_store import GenerationInfo, Head, Proposed
from evenkeel.ports.resolver import Resolved
from evenkeel.ports.zone import NodeReading, Reading
from evenkeel.sim.network import Network, NoReply
from evenkeel.sim.plan_host import PlanHost
from evenkeel.sim.process import Process
from evenkeel.sim.scheduler import SECOND_US, Sleep, Wake, as_us
from evenkeel.sim.zone_host import ZoneHost
from evenkeel.twins.plan_store import (
    Append,
    Approve,
    AskHead,
    History,
    PlanAt,
    Proposals,
    Propose,
    RaiseFloor,
    Request,
    Since,
)

# What a workflow says at every look for as long as nothing changes.
_REPEATED = frozenset({EventKind.WEDGED, EventKind.REFUSED, EventKind.FENCE_CORRUPT})

SAVE_AFTER_US = 5 * SECOND_US  # the copy of the last good plan is that old at most


class SimClock:
    """`ports.clock.Clock`: virtual time; the wall clock is as wrong as the process's skew says."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._simulator = process.world.simulator

    def monotonic_s(self) -> float:
        return self._simulator.now_us / SECOND_US

    def wall_ms(self) -> int:
        return self._process.world.epoch_ms + (self._simulator.now_us + self._process.skew_us) // 1000

    async def sleep(self, delay_s: float) -> None:
        await Sleep((as_us(delay_s),))


class SimNonces:
    """`ports.clock.Nonces`: never the same twice, also across restarts."""

    def __init__(self, process: Process, scope: str = "") -> None:
        # One source a process and start: two of them in one process would repeat each other.
        self._counts: dict[str, int] = process.disk.setdefault("nonces", {})
        self._prefix = re.sub("[^0-9a-z]", "", f"{process.name}{scope}".lower())[-16:]

    def next(self) -> str:
        count = self._counts[self._prefix] = self._counts.get(self._prefix, 0) + 1
        return f"{self._prefix}x{count}"


class SimJournal:
    """`ports.journal.Journal`: into the trace. An event told again word for word is hashed, and kept once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._last: dict[tuple[EventKind, str], tuple[int, str]] = {}

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        if kind in _REPEATED and self._last.get((kind, endpoint)) == (generation, detail):
            world = self._process.world
            world.trace.line(f"{world.now_us} {self._process.name} {kind} {endpoint} {generation} again")
            return
        self._last[kind, endpoint] = (generation, detail)
        self._process.note(kind.value, endpoint, generation, detail)


class SimZoneServer:
    """`ports.zone.ZoneServer`: exchanges with the primary.

    `times`: how many endpoints of the region each simulated one stands for; its exchanges take that many times as
    long, as those of its fellows would one after another.
    """

    def __init__(self, process: Process, host: ZoneHost, times: Mapping[str, int] | None = None) -> None:
        self._process = process
        self._network: Network = process.world.network
        self._host = host
        self._times = times or {}
        self._frozen = ""
        self._nodes: dict[str, NodeReading] = {}  # of the latest reading of each endpoint

    def _ask(self, endpoint: str, act: Any, label: str) -> Any:
        faults = self._process.world.drags
        extra_us = faults.extra_us(self._process.name, endpoint) if faults.is_any else 0
        times = self._times.get(endpoint, 1)
        return self._network.ask(self._process.name, self._host, act, label, times=times, extra_us=extra_us * times)

    async def read(self, endpoint: str) -> Reading:
        seen = await self._ask(endpoint, lambda: self._host.read(endpoint), f"read {endpoint}")
        self._frozen = seen.frozen
        if seen.node is not None:
            self._nodes[endpoint] = seen.node
        reading: Reading = seen.reading
        return reading

    async def read_node(self, node: str) -> NodeReading:
        endpoint = node.partition("._tree.")[2]
        known = self._nodes.pop(endpoint, None)
        if known is not None and known.name == node:
            return known  # of one view with the endpoint's own reading
        seen: NodeReading = await self._ask(endpoint, lambda: self._host.read_one_node(node), f"node {node}")
        return seen

    async def nodes(self, endpoint: str) -> Sequence[str]:
        nodes: tuple[str, ...] = await self._ask(
            endpoint, lambda: self._host.zone.nodes_of(endpoint), f"nodes {endpoint}"
        )
        return nodes

    async def frozen(self) -> str:
        """As of the last reply."""
        return self._frozen

    async def commit(self, transaction: Transaction) -> Commit:
        endpoint, what = _subject(transaction)
        if what == "lock" and self._process.world.drags.loses_lock(self._process.name, endpoint):
            await self._ask(endpoint, lambda: None, f"lock lost {endpoint}")
            return Commit.REFUSED
        try:
            commit: Commit = await self._ask(endpoint, lambda: self._host.commit(transaction), f"{what} {endpoint}")
        except NoReply:
            return Commit.UNKNOWN
        return commit


def _subject(transaction: Transaction) -> tuple[str, str]:
    """The endpoint that a transaction of ours is about, and what it does to it."""
    last = transaction.changes[-1]
    name = last.rrset.name if isinstance(last, AddRRs) else last.name
    control, _, rest = name.partition(".")
    match control:
        case "_lock":
            return rest, "lock" if isinstance(last, AddRRs) else "flip"
        case "_fence":
            return rest, "flip"
        case "_weights":
            return rest.partition("._tree.")[2] or rest, "node"
        case _:
            return rest, control.removeprefix("_")


class SimPlans:
    """`ports.plan_store.PlannerStore` and `ports.plans.PlanReader`: the store, and the newest plan heard of.

    The newest plan survives a crash as the copy on disk, which lags a little.
    """

    def __init__(self, process: Process, host: PlanHost) -> None:
        self._process = process
        self._host = host
        self.current: Plan | None = process.disk.get("last-good-plan")
        self.heard = Wake(process.world.simulator)
        self._saves_at_us = -1
        host.follow(process.name, self._take)

    def _take(self, plan: Plan) -> None:
        if not self._process.is_up or (self.current is not None and plan.generation <= self.current.generation):
            return
        self.current = plan
        self.heard.set()
        simulator = self._process.world.simulator
        if self._saves_at_us < simulator.now_us:
            self._saves_at_us = simulator.now_us + SAVE_AFTER_US
            simulator.call_after(SAVE_AFTER_US, self._save, self._process.starts)

    def _save(self, starts: int) -> None:
        if self._process.is_up and self._process.starts == starts:
            self._process.disk["last-good-plan"] = self.current

    @property
    def generation(self) -> int:
        return self.current.generation if self.current is not None else 0

    async def newest(self) -> Plan | None:
        return self.current

    async def append(self, delta: PlanDelta) -> bool:
        appended: bool = await self._ask(Append(delta, self._wall_ms()))
        if appended:
            self._take(self._host.state.newest)
        return appended

    async def head(self) -> Head:
        head: Head = await self._ask(AskHead())
        return head

    async def since(self, generation: int) -> PlanDelta:
        delta: PlanDelta = await self._ask(Since(generation))
        return delta

    async def plan_at(self, generation: int) -> Plan:
        plan: Plan = await self._ask(PlanAt(generation))
        return plan

    async def history(self, limit: int) -> tuple[GenerationInfo, ...]:
        history: tuple[GenerationInfo, ...] = await self._ask(History(limit, self._wall_ms()))
        return history

    async def raise_floor(self, generation: int) -> None:
        await self._ask(RaiseFloor(generation))

    async def propose(self, proposed: Proposed) -> bool:
        is_approved: bool = await self._ask(Propose(proposed))
        return is_approved

    async def proposals(self) -> tuple[Proposed, ...]:
        proposals: tuple[Proposed, ...] = await self._ask(Proposals())
        return proposals

    async def approve(self, checksum: str) -> None:
        await self._ask(Approve(checksum))

    def _ask(self, request: Request) -> Any:
        label = type(request).__name__.lower()
        if isinstance(request, Append):
            label = f"append {request.delta.generation} on {request.delta.previous}"
        return self._process.world.network.ask(self._process.name, self._host, lambda: self._host.serve(request), label)

    def _wall_ms(self) -> int:
        world = self._process.world
        return world.epoch_ms + world.now_us // 1000


class SimHealth:
    """`ports.health.HealthReader` over verdicts that `source` holds; `changed` wakes its reader."""

    def __init__(self, process: Process, source: Verdicts) -> None:
        self._process = process
        self._source = source
        self._seen = -1
        self._wake = Wake(process.world.simulator)
        source.readers.append(self._wake)

    async def verdicts(self) -> Mapping[str, Health]:
        return self._source.verdicts

    async def wait_changed(self, deadline_s: float) -> frozenset[str]:
        await self._wake.wait(as_us(deadline_s))
        if self._seen == self._source.changes:
            return frozenset()
        self._seen = self._source.changes
        return frozenset(self._source.verdicts)


class Verdicts:
    """What the quorum says of every load balancer, and who wants to be told when that changes."""

    def __init__(self, verdicts: Mapping[str, Health]) -> None:
        self.verdicts = dict(verdicts)
        self.changes = 0
        self.readers: list[Wake] = []

    def set(self, health: Health) -> None:
        """Take one verdict; readers wake where its standing changed."""
        before = self.verdicts[health.load_balancer]
        self.verdicts[health.load_balancer] = health
        if before.standing is not health.standing:
            self.changes += 1
            for reader in self.readers:
                reader.set()


class SimResolver:
    """`ports.resolver.Resolver`: asks the zone's primary as a client would. Secondaries have what the primary has."""

    def __init__(self, process: Process, host: ZoneHost) -> None:
        self._process = process
        self._host = host

    async def addresses(self, server: HostPort, name: str, ipv4: bool, ipv6: bool) -> Resolved:
        def answer() -> Resolved:
            found: dict[str, tuple[str, ...]] = {}
            for type_, is_wanted in (("A", ipv4), ("AAAA", ipv6)):
                for rrset in self._host.answer(name, type_) if is_wanted else ():
                    found[str(rrset.type)] = rrset.rdatas
            return Resolved(found.get("A", ()), found.get("AAAA", ()))

        network = self._process.world.network
        try:
            resolved: Resolved = await network.ask(self._process.name, self._host, answer, f"resolve {name}")
        except NoReply as error:
            raise Unreachable(str(error)) from error
        return resolved
