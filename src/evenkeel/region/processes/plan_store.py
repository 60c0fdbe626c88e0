"""`plan-store`: the region's plans on disk, and a push of each new one to everybody who follows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import prometheus_client

from evenkeel.adapters.plan_store.service import PlanStoreService
from evenkeel.adapters.plan_store.sqlite import SqlitePlanStore
from evenkeel.model.events import EventKind
from evenkeel.model.plan import PlanDelta
from evenkeel.ports.plan_store import Head
from evenkeel.region.runtime import Runtime


class Metrics:
    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self.appended = prometheus_client.Counter(
            "evenkeel_plans_appended", "Generations appended, by Planner", ["planner"], registry=registry
        )
        self.generation = prometheus_client.Gauge(
            "evenkeel_plan_generation", "Newest generation stored", registry=registry
        )
        self.trouble = prometheus_client.Counter(
            "evenkeel_plan_store_trouble", "Calls that the store could not do", registry=registry
        )
        self.followers = prometheus_client.Gauge("evenkeel_plan_followers", "Who follows", registry=registry)
        self.cut = prometheus_client.Gauge("evenkeel_plan_followers_cut", "Callers too slow to keep", registry=registry)


class Teller:
    """Says what the store does, and each of its troubles once until it can write again."""

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._runtime, self._metrics = runtime, metrics
        self._told = ""

    def appended(self, delta: PlanDelta) -> None:
        self._metrics.appended.labels(delta.planner).inc()
        self._metrics.generation.set(delta.generation)
        self._runtime.status["generation"] = delta.generation
        self._runtime.log.info("appended", generation=delta.generation, planner=delta.planner)
        if self._told:
            self._runtime.journal.record(EventKind.RECOVERED, generation=delta.generation, detail="it can write again")
            self._told = ""

    def trouble(self, why: str) -> None:
        self._metrics.trouble.inc()
        if why != self._told:
            self._runtime.journal.record(EventKind.REFUSED, detail=why)
            self._runtime.log.error("store", error=why)
            self._told = why


async def main(runtime: Runtime) -> None:
    """Serve until told to stop. Raises `StoreCorrupt` or `InputError` with the mend."""
    region, metrics = runtime.region, Metrics(runtime.registry)
    path = Path(region.state_dir) / "plan-store" / "plans.sqlite"
    store = SqlitePlanStore(path, region.name, region.generations_kept)
    try:
        teller = Teller(runtime, metrics)
        service = PlanStoreService(store, on_appended=teller.appended, on_trouble=teller.trouble)
        metrics.followers.set_function(lambda: float(service.followers))
        metrics.cut.set_function(lambda: float(service.cut))
        _publish_status(runtime, service, await store.head(), metrics)
        runtime.status["address"] = str(await service.start(region.plan_store, runtime.secret("plan-store")))
        try:
            await runtime.stopping.wait()
        finally:
            await service.stop()
    finally:
        store.close()


def _publish_status(runtime: Runtime, service: PlanStoreService, head: Head, metrics: Metrics) -> None:
    metrics.generation.set(head.generation)
    runtime.status.update(generation=head.generation, followers=partial(getattr, service, "followers"))
