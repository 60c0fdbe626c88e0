"""`launch-api`: run, describe and terminate instances over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from evenkeel.adapters.droplet_manager.client import ManagerClient
from evenkeel.api.launches import LaunchDesk, launches_app
from evenkeel.api.serving import listen, serve
from evenkeel.region.fleet import controls_of, fleet_of, table_service
from evenkeel.region.runtime import Runtime


class _Collector(Collector):
    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily("evenkeel_launches", "Launches by how they ended", labels=["outcome"])
        for outcome, count in sorted(self._counts.items()):
            outcomes.add_metric([outcome], count)
        yield outcomes


async def main(runtime: Runtime) -> None:
    """Serve until told to stop."""
    region, fleet = runtime.region, fleet_of(runtime.region)
    counts: Counter[str] = Counter()
    runtime.registry.register(_Collector(counts))
    runtime.status.update(launches=lambda: dict(counts), address=str(fleet.launch_api))
    token = runtime.secret("fleet")
    deadline_s = fleet.policy.launch_deadline_s
    managers = {az: ManagerClient(controls_of(region, az), token, deadline_s) for az in region.azs}
    try:
        async with table_service(region) as store:
            desk = LaunchDesk(store, managers, fleet.limits, time.monotonic, counts)
            tokens = {account: runtime.secret(f"account-{account}") for account in fleet.accounts}
            await serve(launches_app(desk, tokens), listen([fleet.launch_api]), runtime.stopping)
    finally:
        await asyncio.gather(*(manager.close() for manager in managers.values()))
