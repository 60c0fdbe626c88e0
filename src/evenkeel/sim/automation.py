"""The region's automation in virtual time: the drivers of the very workflows that run for real.

Each `main` here is what its process's `main` is on asyncio, without sockets: the same desk, the same `plan_once`, the
same audit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evenkeel.endpoints.audit import Finding, audit_endpoint
from evenkeel.endpoints.desk import Desk, rotated
from evenkeel.endpoints.enactor import Enacted
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.endpoints.planner import Turn, plan_once, recall
from evenkeel.endpoints.planning import PlanningTable
from evenkeel.model.errors import EvenkeelError, Unreachable
from evenkeel.model.plan import Lane, Plan
from evenkeel.model.policy import Lock
from evenkeel.model.region import HostPort, Region
from evenkeel.sim.barriers import Held
from evenkeel.sim.plan_host import PlanHost
from evenkeel.sim.ports import (
    SimClock,
    SimHealth,
    SimJournal,
    SimNonces,
    SimPlans,
    SimResolver,
    SimZoneServer,
    Verdicts,
)
from evenkeel.sim.process import Process
from evenkeel.sim.scheduler import SECOND_US, Sleep, Task, Wake, as_us
from evenkeel.sim.zone_host import ZoneHost

WORKERS_MAX = 16  # looks at a time; more find the same and cost the same
LOOK_AT_ALL_US = 60 * SECOND_US
PLANNER_BACK_OFF_US = SECOND_US


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the automation of a region stands in."""

    region: Region
    zones: Mapping[str, ZoneHost]
    plan_host: PlanHost
    verdicts: Verdicts
    times: Mapping[str, int]  # how many endpoints each simulated one stands for; 1 where it is not named


# --- Enactor ------------------------------------------------------------------------------------------


class SimDesk(Desk):
    """The Enactor's desk, driven in virtual time."""

    def __init__(self, process: Process, around: Surroundings, zone: str, plans: SimPlans) -> None:
        policy = around.region.policy
        clock, journal = SimClock(process), SimJournal(process)
        server = SimZoneServer(process, around.zones[zone], around.times)
        guarded = GuardedZone(zone, server, policy, process.name, SimNonces(process), clock, journal)
        held: GuardedZone = Held(guarded, process.name, process.world.barriers)  # type: ignore[assignment]  # stands in
        super().__init__(held, plans, policy, clock, journal, self._count)
        self.outcomes: dict[Enacted, int] = {}
        self._process = process
        self._stream = process.world.streams.stream(f"desk/{process.name}/{process.starts}")
        self._wake = Wake(process.world.simulator)

    def _count(self, outcome: Enacted, number: int) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number

    def offer(self, names: Iterable[str], lane: Lane) -> None:
        super().offer(names, lane)
        self._wake.set()

    async def run(self) -> None:
        """Work for ever; whatever fails is tried again, with back-off."""
        while True:
            pause = await self.cycle(self._drain)
            at_most_us = as_us(pause.at_most_s)
            wait_us = max(1, at_most_us * (512 + self._stream.getrandbits(9)) >> 10)
            if pause.until_offered:
                self._wake.clear()
                await self._wake.wait(wait_us)
            else:
                await Sleep((wait_us,))
            self.offer_unfinished()

    async def _drain(self) -> None:
        """Look at everything that waits, and at what is offered meanwhile without waiting for what is under way."""
        running = 0
        failed: list[EvenkeelError] = []

        async def one() -> None:
            nonlocal running
            try:
                await self.work()
            except EvenkeelError as error:
                failed.append(error)
            running -= 1
            self._wake.set()

        while True:
            for _ in range(0 if failed else min(WORKERS_MAX - running, self.ready)):
                running += 1
                self._process.spawn("work", one())
            if not running:
                break
            self._wake.clear()
            await self._wake.wait(LOOK_AT_ALL_US)
        if failed:
            raise failed[0]


async def run_enactor(process: Process, around: Surroundings, place: int) -> None:
    """Enactor number `place`, from 0."""
    plans = SimPlans(process, around.plan_host)
    desks = {zone: SimDesk(process, around, zone, plans) for zone in around.zones}
    for zone, desk in desks.items():
        process.spawn(f"desk {zone}", desk.run())
    seen, look_at_all_at_us = 0, 0
    floor: Task | None = None
    while True:
        plan = plans.current
        if plan is None or (plan.generation == seen and process.world.now_us < look_at_all_at_us):
            plans.heard.clear()
            await plans.heard.wait(LOOK_AT_ALL_US)
            continue
        is_all_due = process.world.now_us >= look_at_all_at_us
        names = sorted(_changed_since(plan, 0 if is_all_due else seen))
        for name in rotated(names, place, around.region.enactors):
            planned = plan.endpoints[name]
            if planned.zone in desks:
                desks[planned.zone].offer([name], planned.lane)
        seen = plan.generation
        if is_all_due:
            look_at_all_at_us = process.world.now_us + LOOK_AT_ALL_US
            if around.region.policy.lock is Lock.TXT_PER_ENDPOINT:
                await _raise_floor(plans, desks.values())  # does one thing at a time, as it walks
            elif floor is None or floor.is_over:
                floor = process.spawn("floor", _raise_floor(plans, desks.values()))


def _changed_since(plan: Plan, generation: int) -> list[str]:
    return [name for name, planned in plan.endpoints.items() if planned.changed_in > generation]


async def _raise_floor(plans: SimPlans, desks: Iterable[SimDesk]) -> None:
    """A plan store that was lost begins anew below the fences that stand: tell it where to go on."""
    for desk in desks:
        try:
            newest = await desk.newest_fence()
            if newest > plans.generation:
                await plans.raise_floor(newest)
        except EvenkeelError:
            continue  # the next round tries again


# --- Planner ------------------------------------------------------------------------------------------


async def run_planner(process: Process, around: Surroundings, turn: Turn) -> None:
    """Planner `turn.index`: at once when a standing changes, else every `cycle_s`."""
    region, settings = around.region, around.region.planner
    clock, journal = SimClock(process), SimJournal(process)
    store, health = SimPlans(process, around.plan_host), SimHealth(process, around.verdicts)
    table = PlanningTable(region, clock.monotonic_s())
    is_recalled = False
    while True:
        names = await health.wait_changed(settings.cycle_s)
        if names and turn.place(table.generation):
            await Sleep((as_us(turn.place(table.generation) * settings.cycle_s),))
        try:
            if not is_recalled:
                await recall(store, clock, table, settings.removals_window_s)
                is_recalled = True
            routine = turn.is_routine_due(table, settings, clock.monotonic_s())
            await plan_once(
                process.name, health, store, clock, table, journal, routine=routine, approval=settings.approval
            )
        except EvenkeelError as error:
            if not isinstance(error, Unreachable):
                process.note("refused", generation=table.generation, detail=str(error))
            await Sleep((PLANNER_BACK_OFF_US,))


# --- audit --------------------------------------------------------------------------------------------


async def run_audit(process: Process, around: Surroundings) -> None:
    """Rounds over every endpoint, as a client would ask; tells an empty answer at once, and its end."""
    plans = SimPlans(process, around.plan_host)
    resolvers = {zone: SimResolver(process, host) for zone, host in around.zones.items()}
    every_us = as_us(around.region.audit_every_s)
    empty: set[str] = set()
    while True:
        began_us = process.world.now_us
        plan = plans.current
        for name, planned in plan.endpoints.items() if plan is not None else ():
            server: HostPort = around.region.zones[planned.zone].primary
            audited = await audit_endpoint(name, planned.answer, server, resolvers[planned.zone])
            is_empty = audited.finding is Finding.EMPTY
            if is_empty and name not in empty:
                process.note("empty", name, plan.generation if plan is not None else 0, "no addresses")
                empty.add(name)
            elif audited.finding is Finding.AS_PLANNED and name in empty:
                process.note("recovered", name, plan.generation if plan is not None else 0, "as planned again")
                empty.discard(name)
        await Sleep((max(1, every_us - (process.world.now_us - began_us)),))
