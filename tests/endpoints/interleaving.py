"""Workflows over the zone's twin, advanced one exchange at a time in an order that the test chooses."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.model.events import EventKind
from evenkeel.model.plan import Answer, EndpointPlan, Layout, Plan
from evenkeel.model.policy import DnsPolicy
from evenkeel.model.transactions import Commit, Transaction
from evenkeel.ports.zone import NodeReading, Reading
from evenkeel.twins.zone import TwinZoneServer, ZoneState

ZONE = "demo.example."


@types.coroutine
def pause() -> Generator[None, None, None]:
    """Hands control to whoever interleaves."""
    yield


class PausingServer:
    """The twin, with a pause before every exchange takes effect. Replies can be lost on the way."""

    def __init__(self, zone: str = ZONE) -> None:
        # The server's own guard is off: these tests are about the workflows' safeguards.
        self.twin = TwinZoneServer(ZoneState.of(zone, guarded=False))
        self.lose_replies = 0
        self.watch: Callable[[ZoneState], None] = lambda state: None

    async def read(self, endpoint: str) -> Reading:
        await pause()
        return await self.twin.read(endpoint)

    async def read_node(self, node: str) -> NodeReading:
        return await self.twin.read_node(node)  # with the endpoint's own reading: one view of the zone

    async def nodes(self, endpoint: str) -> Sequence[str]:
        await pause()
        return await self.twin.nodes(endpoint)

    async def frozen(self) -> str:
        return await self.twin.frozen()

    async def commit(self, transaction: Transaction) -> Commit:
        await pause()
        outcome = await self.twin.commit(transaction)
        self.watch(self.twin.state)
        if self.lose_replies:
            self.lose_replies -= 1
            return Commit.UNKNOWN
        return outcome


@dataclass(slots=True)
class CountingNonces:
    prefix: str
    count: int = 0

    def next(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"


@dataclass(slots=True)
class ManualClock:
    now_ms: int = 1_000_000

    def monotonic_s(self) -> float:
        return self.now_ms / 1000

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep(self, delay_s: float) -> None:
        self.now_ms += int(delay_s * 1000)
        await pause()


@dataclass(slots=True)
class ListJournal:
    kinds: list[EventKind] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        self.kinds.append(kind)
        self.details.append(detail)


@dataclass(slots=True)
class PlanShelf:
    """What Enactors read as the newest plan. A stale reader keeps what it was given."""

    plan: Plan | None = None

    async def newest(self) -> Plan | None:
        return self.plan


def guarded(server: PausingServer, policy: DnsPolicy, writer: str, journal: ListJournal | None = None) -> GuardedZone:
    return GuardedZone(
        ZONE, server, policy, writer, CountingNonces(writer[-1]), ManualClock(), journal or ListJournal()
    )


def plan_at(generation: int, *labels: str, layout: Layout = Layout.TREE, members: int = 2, changed_in: int = 0) -> Plan:
    """Every endpoint answers with `members` addresses that tell the generation."""
    changed = changed_in or generation
    answer = Answer(60, tuple(f"10.0.{changed}.{n + 1}" for n in range(members)), (1,) * members)
    endpoints = {f"{label}.{ZONE}": EndpointPlan(f"{label}.{ZONE}", ZONE, layout, answer, changed) for label in labels}
    return Plan("demo", generation, "planner", endpoints)


def interleave(runs: Sequence[Coroutine[Any, Any, Any]], choose: Callable[[int], int]) -> list[Any]:
    """Advance the runs step by step, `choose(n)` picking among the n unfinished ones; their results."""
    results: list[Any] = [None] * len(runs)
    unfinished = list(range(len(runs)))
    while unfinished:
        position = choose(len(unfinished))
        index = unfinished[position]
        try:
            runs[index].send(None)
        except StopIteration as done:
            results[index] = done.value
            del unfinished[position]
    return results


def finish(run: Coroutine[Any, Any, Any]) -> Any:
    """Run one workflow to its end, undisturbed."""
    return interleave([run], lambda count: 0)[0]
