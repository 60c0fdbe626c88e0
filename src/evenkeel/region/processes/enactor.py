"""The Enactor's process: keeps every endpoint of every zone at the newest plan. Imports as little as it can.

It goes on with the last good plan on disk when the plan store is gone, and needs nothing of the region but the zones'
primaries. Redundant Enactors share the work by beginning at different places; the fences keep them from harm.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from functools import partial
from pathlib import Path

import prometheus_client

from evenkeel.adapters.clock import AsyncioClock, FreshNonces
from evenkeel.adapters.dns.settings import collect_rarely
from evenkeel.adapters.dns.zone_client import ZoneClient
from evenkeel.adapters.plan_store.client import PlanStoreClient
from evenkeel.endpoints.enactor import Enacted
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.model.errors import EvenkeelError
from evenkeel.model.events import EventKind
from evenkeel.model.plan import Lane
from evenkeel.model.region import Zone
from evenkeel.region.components import Kind, components
from evenkeel.region.enacting import ZoneEnacting, rotated
from evenkeel.region.keys import zone_key
from evenkeel.region.runtime import Runtime

LOOK_AT_ALL_S = 60.0  # besides what plan and zone tell as changed
PLAN_WAIT_S = 5.0


class Metrics:
    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self.outcomes = prometheus_client.Counter(
            "evenkeel_enacted", "Looks at endpoints, by how each was left", ["outcome"], registry=registry
        )
        self.generation = prometheus_client.Gauge(
            "evenkeel_plan_generation", "Newest plan known here", registry=registry
        )
        self.queued = prometheus_client.Gauge("evenkeel_endpoints_queued", "Endpoints to look at", registry=registry)
        self.nodes = prometheus_client.Gauge(
            "evenkeel_nodes_waiting", "Nodes of this Enactor's that wait for clean-up", registry=registry
        )
        self.nodes_max = prometheus_client.Gauge(
            "evenkeel_nodes_waiting_max", "How many may wait, but for looks under way", registry=registry
        )

    def count(self, outcome: Enacted, number: int) -> None:
        self.outcomes.labels(outcome.name.lower()).inc(number)


async def main(runtime: Runtime) -> None:
    """Enact until told to stop."""
    collect_rarely()
    region, metrics = runtime.region, Metrics(runtime.registry)
    last_good = Path(region.state_dir) / "last-good-plan" / f"{runtime.component}.plan"
    async with contextlib.AsyncExitStack() as stack:
        token = runtime.secret("plan-store")
        plans = await stack.enter_async_context(
            PlanStoreClient(region.name, region.plan_store, token, last_good, on_state=partial(_note_store, runtime))
        )
        clients: dict[str, ZoneClient] = {}
        desks: dict[str, ZoneEnacting] = {}
        for zone in region.zones.values():
            clients[zone.name] = await stack.enter_async_context(ZoneClient(zone, zone_key(region, zone)))
            desks[zone.name] = _desk(runtime, zone, clients[zone.name], plans, metrics)
        metrics.queued.set_function(lambda: float(sum(len(desk.queue) for desk in desks.values())))
        metrics.nodes.set_function(lambda: float(sum(desk.spent.nodes for desk in desks.values())))
        metrics.nodes_max.set_function(lambda: float(sum(desk.spent.nodes_max for desk in desks.values())))
        _publish_status(runtime, plans, clients, desks)
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(_follow_plans(runtime, plans, desks, metrics)),
                tasks.create_task(_raise_floors(runtime, plans, desks)),
            ]
            for name, desk in desks.items():
                clients[name].tell_touched(partial(_offer_touched, desk, plans))
                working.append(tasks.create_task(desk.run(runtime.stopping)))
            await runtime.stopping.wait()
            for task in working:  # at any await: what is in flight lands as a whole, or not
                task.cancel()


def _desk(runtime: Runtime, zone: Zone, client: ZoneClient, plans: PlanStoreClient, metrics: Metrics) -> ZoneEnacting:
    clock, policy = AsyncioClock(), runtime.region.policy
    guarded = GuardedZone(zone.name, client, policy, runtime.component, FreshNonces(), clock, runtime.journal)
    return ZoneEnacting(guarded, plans, policy, clock, runtime.journal, metrics.count)


def _offer_touched(desk: ZoneEnacting, plans: PlanStoreClient, names: list[str] | None) -> None:
    """What others changed in the zone is looked at, where the plan knows it."""
    plan = plans.current
    if plan is None:
        return
    if names is None:
        names = [name for name, planned in plan.endpoints.items() if planned.zone == desk.zone.zone]
    desk.offer((name for name in names if name in plan.endpoints), Lane.ROUTINE)


async def _follow_plans(
    runtime: Runtime, plans: PlanStoreClient, desks: dict[str, ZoneEnacting], metrics: Metrics
) -> None:
    """Offer each desk what a new plan changes for it; everything, now and then."""
    place, parts = _place(runtime)
    loop = asyncio.get_running_loop()
    seen, look_at_all_at = 0, 0.0
    while not runtime.stopping.is_set():
        await plans.wait_newer(seen, PLAN_WAIT_S)
        plan = plans.current
        if plan is None:
            continue
        is_all_due = loop.time() >= look_at_all_at
        names = sorted(plan.endpoints if is_all_due else plans.changed_since(seen))
        for name in rotated(names, place, parts):
            planned = plan.endpoints.get(name)
            if planned is not None and planned.zone in desks:
                desks[planned.zone].offer([name], planned.lane)
        seen = plan.generation
        metrics.generation.set(seen)
        if is_all_due:
            look_at_all_at = loop.time() + LOOK_AT_ALL_S


async def _raise_floors(runtime: Runtime, plans: PlanStoreClient, desks: dict[str, ZoneEnacting]) -> None:
    """A plan store that was lost begins anew below the fences that stand: tell it where to go on.

    Beside `_follow_plans`, so that a zone whose primary does not answer holds up no change of the others.
    """
    while not runtime.stopping.is_set():
        if await plans.wait_newer(0, PLAN_WAIT_S) is not None:
            await _raise_floor(runtime, plans, desks)
            await asyncio.sleep(LOOK_AT_ALL_S)


async def _raise_floor(runtime: Runtime, plans: PlanStoreClient, desks: dict[str, ZoneEnacting]) -> None:
    for desk in desks.values():
        try:
            newest = await desk.newest_fence()
            if newest > plans.generation:
                await plans.raise_floor(newest)
        except EvenkeelError as error:
            runtime.log.info("floor not raised", error=str(error))  # the next round tries again


def _place(runtime: Runtime) -> tuple[int, int]:
    """This Enactor's place among the redundant ones, and their number."""
    everyone = [each.name for each in components(runtime.region) if each.kind is Kind.ENACTOR]
    return everyone.index(runtime.component), len(everyone)


def _note_store(runtime: Runtime, is_up: bool, why: str) -> None:
    runtime.journal.record(EventKind.RECOVERED if is_up else EventKind.UNREACHABLE, detail=why)


def _publish_status(
    runtime: Runtime, plans: PlanStoreClient, clients: dict[str, ZoneClient], desks: dict[str, ZoneEnacting]
) -> None:
    runtime.status["generation"] = lambda: plans.generation
    runtime.status["plan_store"] = lambda: "up" if plans.is_up else plans.trouble
    runtime.status["zones"] = lambda: {
        name: {
            **clients[name].status(),
            "queued": len(desk.queue),
            "nodes_waiting": desk.spent.nodes,
            "nodes_waiting_max": desk.spent.nodes_max,
            "unfinished": dict(Counter(outcome.name.lower() for outcome in desk.unfinished.values())),
        }
        for name, desk in desks.items()
    }
