"""Several Planners over one plan store as a protocol, and an Enactor that follows the plans.

The workflow (`endpoints.planner.plan_once`, after a start `recall`), the planning table and the store's twin are the
code that runs. Every look at the health may show anything that `VIEWS` has, whoever looks and whatever was there
before, so Planners disagree as much as they can. What a Planner knows of the store without asking may lag behind, as
far as to what it knew before; the head that it knows of is that plan's, or the store's. Between two cycles a Planner
keeps its table; with faults it crashes and forgets it, and the store loses replies: an append has taken effect, or
will at any later time, or never does.

Time stands still: what a Planner makes of it (velocity, hysteresis, warm-up) is tested apart. Every pass is a routine
one, which looks at everything.
"""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from evenkeel.check.model import Always, AlwaysTogether, Properties, Recoverable, Sometimes
from evenkeel.check.protocol import Process, Protocol, Service
from evenkeel.check.replay import Call, Ports, Raised, Workflow
from evenkeel.endpoints.planner import plan_once, recall
from evenkeel.endpoints.planning import PlanningTable
from evenkeel.endpoints.pools import Pools, pools_of
from evenkeel.model.errors import EvenkeelError, InternalError, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.health import Health, Standing
from evenkeel.model.plan import Layout, Plan, PlanDelta
from evenkeel.model.policy import SAFE
from evenkeel.model.region import Endpoint, HostPort, LoadBalancer, PlannerSettings, Region
from evenkeel.ports.plan_store import GenerationInfo, Head, Proposed
from evenkeel.twins import plan_store as twin

REGION_NAME = "explored"
ENDPOINT = "db.explored.example."
ATTEMPTS = 1  # of one cycle: the next attempt begins as the next cycle does, with what the table then holds
BALANCERS = ("lb-1", "lb-2", "lb-3")
CAPACITY = 100.0
VIEWS = (CAPACITY, CAPACITY / 4)  # of the first balancer's capacity


class Safeguard(StrEnum):
    """What can be taken out, to see what it is for."""

    COMPARE_AND_SET = "compare-and-set"  # an append compares the generation that it is planned on
    APPEND_FIRST = "append-first"  # a plan is appended before anybody is shown it


@dataclass(frozen=True, slots=True)
class Planners:
    """What is explored."""

    planners: int = 2
    plans: int = 2
    faults: int = 1
    weakened: Safeguard | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a Planner keeps between cycles: its table, and the newest generation it knows of."""

    table: bytes
    known: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The store: every plan whole, oldest first. `shown`: plans that were shown and are not appended (weakened)."""

    plans: tuple[PlanDelta, ...] = ()
    shown: tuple[PlanDelta, ...] = ()

    @property
    def newest(self) -> int:
        return self.plans[-1].generation if self.plans else 0


def protocol(config: Planners) -> Protocol:
    """`config` as a protocol. Planners are alike."""
    names = [f"planner-{number}" for number in range(1, config.planners + 1)]
    lost = Raised(Unreachable("no reply"))
    return Protocol(
        [*(_planner(name) for name in names), Process("enactor", _follow(None), next_cycle=_follow)],
        [
            Service("store", Kept(), _store(config), lost, frozenset({"append"})),
        ],
        properties(config),
        alike=names,
        faults=config.faults,
    )


def _region() -> Region:
    balancers = {
        name: LoadBalancer(name, az, (f"192.0.2.{number}",))
        for number, (name, az) in enumerate(zip(BALANCERS, "abc", strict=True), start=1)
    }
    nowhere = HostPort("127.0.0.1", 1)
    return Region(
        name=REGION_NAME,
        azs=("a", "b", "c"),
        zones={},
        load_balancers=balancers,
        endpoints={ENDPOINT: Endpoint(ENDPOINT, "explored.example.", Layout.TREE, BALANCERS)},
        policy=SAFE,
        planner=PlannerSettings(warm_up_s=0.0, removals_window_s=10.0),
        plan_store=nowhere,
        health_intake=(nowhere,),
        metrics_host="127.0.0.1",
        metrics_port_base=0,
        planners=2,
        enactors=3,
        audit_every_s=1.0,
        state_dir="/nowhere",
    )


REGION = _region()

# --- the processes ----------------------------------------------------------------------------------------------------


def _planner(name: str) -> Process:
    """One Planner's process: a cycle is one `plan_once`, the first one after a start begins with `recall`."""

    def cycle(memory: Memory | None) -> Workflow:
        async def run(ports: Ports) -> Memory | None:
            store = FollowedStore(ports.store, memory.known if memory else 0)
            table = _as_table(memory.table) if memory else PlanningTable(REGION, 0.0)
            is_recalled = memory is not None
            try:
                if not is_recalled:
                    await recall(store, store, table, REGION.planner.removals_window_s)
                    is_recalled = True
                await plan_once(
                    name,
                    store,
                    store,
                    store,
                    table,
                    Unwritten(),
                    routine=True,
                    attempts_max=ATTEMPTS,
                )
            except EvenkeelError as error:
                if isinstance(error, InternalError):
                    raise
            table.stand_on(Head(0, 0))  # every cycle begins with a look at the head: the last one is never used again
            return Memory(_as_bytes(table), store.known) if is_recalled else None

        return run

    return Process(name, cycle(None), next_cycle=cycle, crashes=True)


POOLS = pools_of(REGION)


class _Pickler(pickle.Pickler):
    """A table without what all tables of the region share and never change."""

    def persistent_id(self, obj: Any) -> str | None:
        return "pools" if isinstance(obj, Pools) else "region" if obj is REGION else None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: str) -> Any:
        return {"pools": POOLS, "region": REGION}[pid]


def _as_bytes(table: PlanningTable) -> bytes:
    """Equal tables as equal bytes: what is one object or two in memory shows in the first pickle, not in the second."""
    return _once(_as_table(_once(table)))


def _once(table: PlanningTable) -> bytes:
    into = io.BytesIO()
    _Pickler(into).dump(table)
    return into.getvalue()


def _as_table(held: bytes) -> PlanningTable:
    table: PlanningTable = _Unpickler(io.BytesIO(held)).load()
    return table


def _follow(held: PlanDelta | None) -> Workflow:
    """The Enactor's side: takes what follows the plan in its hand, when it comes."""

    async def run(ports: Ports) -> PlanDelta | None:
        plan = plan_of(held) or Plan.empty(REGION_NAME)
        delta = await ports.store.since(plan.generation)
        return held if delta.generation == plan.generation else plan.apply(delta).as_delta()

    return run


@dataclass(frozen=True, slots=True)
class Seen:
    """What a Planner goes by at one look: the head and the plan that it knows of, and the first balancer's capacity."""

    head: int
    plan: PlanDelta | None
    capacity: float

    def __str__(self) -> str:
        known = self.plan.generation if self.plan else 0
        return f"head {self.head}, plan {known}, capacity {self.capacity:g}"


class FollowedStore:
    """The ports of a Planner: the store and the health as it knows them without asking, and its clock.

    Such knowledge may lag behind, and is nobody else's: so what `head`, `newest` and `verdicts` say, one after the
    other, can all be chosen at one moment, which is one step, `look`. Replies are hashable there, and plans here.
    """

    def __init__(self, store: Any, known: int) -> None:
        self._store, self.known, self._seen = store, known, Seen(0, None, CAPACITY)
        self._recalled: tuple[PlanDelta, ...] = ()

    def monotonic_s(self) -> float:
        return 0.0

    def wall_ms(self) -> int:
        raise InternalError("a Planner asks for no time of day")

    async def sleep(self, delay_s: float) -> None:
        raise InternalError("the driver waits, not the workflow")

    async def head(self) -> Head:
        self._seen = await self._store.look(self.known)
        return Head(self._seen.head, 0)

    async def newest(self) -> Plan | None:
        plan = plan_of(self._seen.plan)
        self.known = plan.generation if plan is not None else 0
        return plan

    async def verdicts(self) -> Mapping[str, Health]:
        return {
            name: Health(name, Standing.HEALTHY, self._seen.capacity if name == BALANCERS[0] else CAPACITY)
            for name in BALANCERS
        }

    async def wait_changed(self, deadline_s: float) -> frozenset[str]:
        raise InternalError("the driver waits, not the workflow")

    async def append(self, delta: PlanDelta) -> bool:
        return bool(await self._store.append(delta))

    async def history(self, limit: int) -> tuple[GenerationInfo, ...]:
        """With it come the plans: those of a history stay as they are, so it is the same when they are asked for."""
        history: tuple[GenerationInfo, ...]
        history, self._recalled = await self._store.history(limit)
        return history

    async def plan_at(self, generation: int) -> Plan:
        plan = next(plan_of(each) for each in self._recalled if each.generation == generation)
        return plan or Plan.empty(REGION_NAME)

    async def since(self, generation: int) -> PlanDelta:
        raise InternalError("a Planner follows; it asks for no deltas")

    async def raise_floor(self, generation: int) -> None:
        raise InternalError("no Planner raises the floor")

    async def propose(self, proposed: Proposed) -> bool:
        raise InternalError("no approval is asked for here")

    async def proposals(self) -> tuple[Proposed, ...]:
        raise InternalError("no approval is asked for here")

    async def approve(self, checksum: str) -> None:
        raise InternalError("no approval is asked for here")


class Unwritten:
    """A journal that nobody reads."""

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        """An event decides nothing."""


def plan_of(held: PlanDelta | None) -> Plan | None:
    """A plan that is kept as what it is from nothing."""
    return Plan.empty(REGION_NAME).apply(held) if held is not None else None


# --- the store --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 16)
def _twin(plans: tuple[PlanDelta, ...]) -> twin.State:
    stored = [twin.Stored(plan, 0, len(plan.endpoints), 0) for held in plans if (plan := plan_of(held)) is not None]
    return twin.State(REGION_NAME, kept=1000, generations=tuple(stored))


def _store(config: Planners) -> Any:
    """The twin. Of plans there are as many as are explored: an append beyond them waits for ever."""

    def step(state: Kept, call: Call) -> Iterable[tuple[Kept, Any]]:
        now = _twin(state.plans)
        match call.method:
            case "look":
                for known, capacity in itertools.product(range(call.args[0], state.newest + 1), VIEWS):
                    for head in sorted({known, state.newest}):
                        yield state, Seen(head, state.plans[known - 1] if known else None, capacity)
            case "history":
                asked = twin.History(call.args[0], 0)
                yield state, (twin.plan_store(now, asked)[1], state.plans)
            case "since":
                for plans in (state.plans, state.shown):
                    if plans:
                        yield state, twin.plan_store(_twin(plans), twin.Since(call.args[0]))[1]
            case "append":
                if len(state.plans) < config.plans:
                    yield from _append(state, call.args[0], config.weakened)

    return step


def _append(state: Kept, delta: PlanDelta, weakened: Safeguard | None) -> Iterable[tuple[Kept, Any]]:
    after, reply = twin.plan_store(_twin(state.plans), twin.Append(delta))
    if reply is True:
        yield replace(state, plans=(*state.plans, after.newest.as_delta()), shown=()), True
    elif weakened is Safeguard.COMPARE_AND_SET:
        before = after.newest
        merged = {**before.endpoints, **{each.name: each for each in delta.changed}}
        yield (
            replace(state, plans=(*state.plans, Plan(REGION_NAME, delta.generation, delta.planner, merged).as_delta())),
            True,
        )
    else:
        yield state, reply
    if weakened is Safeguard.APPEND_FIRST and reply is True:
        # Shown to whoever follows, and then the store restarts before it has written it.
        yield replace(state, shown=(*state.plans, after.newest.as_delta())), Raised(Unreachable("no reply"))


# --- the properties ---------------------------------------------------------------------------------------------------


def properties(config: Planners) -> Properties:
    """What has to hold, worst first."""
    return Properties(
        always=(
            Always(
                "one-plan-a-generation",
                "no two plans have one generation, and what was appended stays as it is",
                of_step=lambda before, after: (
                    after.plans[: len(before.plans)] == before.plans
                    and len({each.generation for each in after.plans}) == len(after.plans)
                ),
                services=("store",),
            ),
            Always(
                "no-generation-skipped",
                "generations follow one another without a gap",
                of_state=lambda state: (
                    [each.generation for each in state.plans] == list(range(1, len(state.plans) + 1))
                ),
                services=("store",),
            ),
            Always(
                "never-empty",
                "no plan leaves the endpoint without an answer",
                of_state=lambda state: all(
                    [each.name for each in plan.changed if not each.answer.is_empty] == [ENDPOINT]
                    for plan in state.plans
                ),
                services=("store",),
            ),
        ),
        together=(
            AlwaysTogether(
                "seen-is-appended",
                "the plan in the Enactor's hand is the one that the store has of that generation",
                lambda states: states.get("enactor", None) in (None, *states["store"].plans),
            ),
        ),
        sometimes=(
            Sometimes(
                "appended", "a plan is appended", lambda label: "store.append" in label and label.endswith("True")
            ),
            Sometimes(
                "rival-first",
                "an append is refused because another Planner was first",
                lambda label: "store.append" in label and label.endswith("False"),
            ),
            Sometimes("followed", "the Enactor takes a plan in hand", lambda label: "store.since" in label),
        ),
        recoverable=Recoverable(
            "plannable",
            "from everywhere a next plan can be appended",
            lambda states: len(states["store"].plans) == config.plans,
        ),
    )
