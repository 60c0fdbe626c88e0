"""The stores that one conformance body runs against, and small plans to run it with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from evenkeel.adapters.plan_store.client import PlanStoreClient
from evenkeel.adapters.plan_store.service import PlanStoreService
from evenkeel.adapters.plan_store.sqlite import SqlitePlanStore
from evenkeel.model.plan import Answer, EndpointPlan, Layout, PlanDelta
from evenkeel.model.region import HostPort
from evenkeel.ports.plan_store import PlanStore
from evenkeel.twins.plan_store import TwinPlanStore

REGION = "demo"
KEPT = 5
ANYWHERE = HostPort("127.0.0.1", 0)
TOKEN = "let-me-in"


class WallClock:
    """Wall-clock time that moves when told to."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def answer(*addresses: str) -> Answer:
    return Answer(60, tuple(sorted(addresses)), (1,) * len(addresses))


def endpoint(name: str, generation: int, *addresses: str) -> EndpointPlan:
    return EndpointPlan(
        f"{name}.demo.example.", "demo.example.", Layout.TREE, answer(*addresses or ("192.0.2.1",)), generation
    )


def delta(previous: int, *names: str, generation: int = 0, removed: tuple[str, ...] = ()) -> PlanDelta:
    """The next generation: `names` answer with an address that tells the generation."""
    generation = generation or previous + 1
    changed = tuple(endpoint(name, generation, f"192.0.2.{generation % 250 + 1}") for name in names)
    return PlanDelta(
        REGION, generation, previous, "planner-1", changed, tuple(f"{name}.demo.example." for name in removed)
    )


Arm = Callable[[Path, WallClock], contextlib.AbstractAsyncContextManager[PlanStore]]


@contextlib.asynccontextmanager
async def twin(folder: Path, clock: WallClock) -> AsyncIterator[PlanStore]:
    yield TwinPlanStore(REGION, KEPT, clock)


@contextlib.asynccontextmanager
async def sqlite(folder: Path, clock: WallClock) -> AsyncIterator[PlanStore]:
    store = SqlitePlanStore(folder / "plans.sqlite", REGION, KEPT, wall_ms=clock)
    try:
        yield store
    finally:
        store.close()


@contextlib.asynccontextmanager
async def served_by(store: PlanStore) -> AsyncIterator[HostPort]:
    service = PlanStoreService(store)
    address = await service.start(ANYWHERE, TOKEN)
    try:
        yield address
    finally:
        await service.stop()


@contextlib.asynccontextmanager
async def service(folder: Path, clock: WallClock) -> AsyncIterator[PlanStore]:
    async with (
        sqlite(folder, clock) as store,
        served_by(store) as address,
        PlanStoreClient(REGION, address, TOKEN) as client,
    ):
        yield client


ARMS: dict[str, Arm] = {"twin": twin, "sqlite": sqlite, "service": service}

Body = Callable[[PlanStore, WallClock], Awaitable[None]]
