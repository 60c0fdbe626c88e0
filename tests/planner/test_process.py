"""The Planner's process: its loop over a real plan store service, with health and time that the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace

import structlog
from prometheus_client import CollectorRegistry

from evenkeel.adapters.health_intake import HealthIntake
from evenkeel.adapters.plan_store.client import PlanStoreClient
from evenkeel.endpoints.planner import Turn
from evenkeel.model.errors import StoreUnwritable
from evenkeel.model.events import EventKind
from evenkeel.model.health import Health, Standing
from evenkeel.model.plan import PlanDelta
from evenkeel.model.region import Approval, PlannerSettings, Region
from evenkeel.region.processes.planner import SHOW_EVERY_S, Planner
from evenkeel.region.runtime import Runtime
from evenkeel.twins.plan_store import TwinPlanStore
from tests.plan_store.arms import TOKEN, WallClock, served_by
from tests.planner.regions import DB, Day, balancers, region
from tests.planner.test_planner import Clock, Journal

SOON_S = 20.0
SETTINGS = PlannerSettings(cycle_s=0.02, removals_share_max=0.34, removals_window_s=60.0)


class Told(HealthIntake):
    """Says what it is told; `on_cycle` runs when the Planner next waits."""

    def __init__(self, made: Region) -> None:
        super().__init__(made.load_balancers, [], 1, 1.0)
        self.health = Day(made).health
        self.on_cycle: Callable[[], None] = lambda: None
        self.cycles = 0

    def mark(self, standing: Standing, *names: str) -> None:
        for name in names:
            self.health[name] = replace(self.health[name], standing=standing)

    async def verdicts(self) -> Mapping[str, Health]:
        return self.health

    async def wait_changed(self, deadline_s: float) -> frozenset[str]:
        await asyncio.sleep(deadline_s)
        self.cycles += 1
        on_cycle, self.on_cycle = self.on_cycle, lambda: None
        on_cycle()
        return frozenset()


class Disk(TwinPlanStore):
    is_full = False

    async def append(self, delta: PlanDelta) -> bool:
        if self.is_full:
            raise StoreUnwritable("plans.sqlite: database or disk is full")
        return await super().append(delta)


class World:
    """One Planner that runs beside the test."""

    def __init__(self, settings: PlannerSettings = SETTINGS) -> None:
        self.region = region(balancers(5), settings=settings)
        self.clock, self.journal = Clock(), Journal()
        self.intake = Told(self.region)
        self.store = Disk("demo", 100, WallClock())

    def run(self, body: Callable[[], Coroutine[None, None, None]]) -> None:
        asyncio.run(self._run(body))

    async def _run(self, body: Callable[[], Coroutine[None, None, None]]) -> None:
        runtime = Runtime(self.region, "planner-1", self.journal, structlog.get_logger(), CollectorRegistry())
        async with (
            asyncio.timeout(60),
            served_by(self.store) as address,
            PlanStoreClient("demo", address, TOKEN) as client,
        ):
            self.planner = Planner(runtime, self.intake, client, Turn(0, 1), self.clock)
            running = asyncio.create_task(self.planner.run())
            try:
                await body()
            finally:
                runtime.stopping.set()
                await running

    async def cycles(self, count: int) -> None:
        enough = self.intake.cycles + count
        await self.until(lambda: self.intake.cycles >= enough)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON_S):
            while not holds():  # noqa: ASYNC110 - what is waited for here announces itself to nobody
                await asyncio.sleep(0.01)

    @property
    def generation(self) -> int:
        return self.store.state.newest.generation


def test_a_planner_that_was_stopped_hears_first_and_removes_then() -> None:
    world = World()

    async def body() -> None:
        await world.until(lambda: world.generation == 1)
        world.intake.mark(Standing.FAILED, "lb-1", "lb-2")
        await world.until(lambda: world.generation == 2)
        await world.cycles(3)
        assert world.generation == 2  # the second one is withheld

        def wake_up() -> None:
            world.clock.now_s += 600.0  # SIGSTOP, and SIGCONT; what was said meanwhile comes in a moment later
            asyncio.get_running_loop().call_later(0.1, world.intake.mark, Standing.HEALTHY, "lb-2")

        world.intake.on_cycle = wake_up
        await world.cycles(5)
        assert "192.0.2.2" in world.store.state.newest.endpoints[DB].answer.a

    world.run(body)


def test_what_routine_work_would_do_next_is_laid_open() -> None:
    world = World(replace(SETTINGS, routine_every_s=1000.0))

    async def body() -> None:
        await world.until(lambda: world.generation == 1)
        world.clock.now_s += 1.0
        await world.cycles(2)
        world.intake.health["lb-1"] = replace(world.intake.health["lb-1"], capacity=20.0)
        for _ in range(8):
            world.clock.now_s += SHOW_EVERY_S / 5
            await world.cycles(1)
        (shown,) = await world.store.proposals()
        assert (shown.base_generation, shown.changed) == (1, 1)
        assert world.generation == 1

    world.run(body)


def test_with_approval_required_an_approved_plan_is_published() -> None:
    world = World(replace(SETTINGS, approval=Approval.REQUIRED))

    async def body() -> None:
        await world.until(lambda: bool(world.store.state.proposals))
        assert world.generation == 0
        (proposed,) = await world.store.proposals()
        await world.store.approve(proposed.checksum)
        await world.until(lambda: world.generation == 1)
        assert world.store.state.newest.checksum() == proposed.checksum

    world.run(body)


def test_a_plan_that_the_store_refuses_is_told_once_and_tried_again() -> None:
    world = World()
    world.store.state = replace(world.store.state, region="elsewhere")

    async def body() -> None:
        await world.until(lambda: bool(world.journal.of(EventKind.REFUSED)))
        world.store.state = replace(world.store.state, region="demo")
        await world.until(lambda: world.generation == 1)
        assert len(world.journal.of(EventKind.REFUSED)) == 1

    world.run(body)


def test_while_the_store_s_disk_is_full_what_waits_is_laid_open_and_goes_out_afterwards() -> None:
    world = World()

    async def body() -> None:
        await world.until(lambda: world.generation == 1)
        world.clock.now_s += SHOW_EVERY_S
        world.store.is_full = True
        world.intake.mark(Standing.FAILED, "lb-1")
        await world.until(lambda: any(shown.changed for shown in world.store.state.proposals.values()))
        assert world.generation == 1
        world.store.is_full = False
        await world.until(lambda: world.generation == 2)

    world.run(body)
