"""`backend-<n>`: plays load balancers for a demo region, so that there is something to probe and to kill.

The region's load balancers, in name order and without the table service's front ends, are dealt out to its `backends`:
with as many backends as load balancers each is a process of its own, and killing it is a failure like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from evenkeel.adapters.demo_backend import DemoBackend
from evenkeel.adapters.probes.reported import Reporter
from evenkeel.model.events import EventKind
from evenkeel.model.health import ProbeKind
from evenkeel.model.region import LoadBalancer, Region
from evenkeel.region.components import played
from evenkeel.region.runtime import Runtime

LISTEN_RETRY_S = 2.0


def dealt_to(region: Region, number: int) -> tuple[LoadBalancer, ...]:
    """What backend `number` (from 1) of the region plays."""
    names = played(region)
    return tuple(region.load_balancers[name] for name in names[number - 1 :: region.backends])


async def main(runtime: Runtime) -> None:
    """Run until told to stop."""
    number = int(runtime.component.removeprefix("backend-"))
    backends = [
        DemoBackend(balancer, on_mood=lambda what: runtime.journal.record(EventKind.HEALTH, detail=what))
        for balancer in dealt_to(runtime.region, number)
    ]
    runtime.status["load_balancers"] = {
        backend.balancer.name: [*backend.balancer.ipv4, *backend.balancer.ipv6] for backend in backends
    }
    tasks = [asyncio.create_task(work) for backend in backends for work in _works(runtime, backend)]
    await runtime.stopping.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _works(runtime: Runtime, backend: DemoBackend) -> list[Coroutine[None, None, None]]:
    balancer = backend.balancer
    if balancer.probe.kind is ProbeKind.REPORTED:
        token, interval_s = runtime.secret("report"), balancer.probe.interval_s / 2
        return [
            Reporter(address, token, interval_s, backend.report).run(runtime.stopping)
            for address in runtime.region.report_intake
        ]
    if balancer.probe.kind is ProbeKind.HTTPS:
        runtime.log.error("not played: a demo backend has no certificate", load_balancer=balancer.name)
        return []
    return [_serve(runtime, backend, address) for address in (*balancer.ipv4, *balancer.ipv6)]


async def _serve(runtime: Runtime, backend: DemoBackend, address: str) -> None:
    """Serve one address until stopped; one that cannot be listened on is tried again and again."""
    told = ""
    while True:
        try:
            server = await backend.listen(address)
            break
        except OSError as error:
            if str(error) != told:
                told = str(error)
                runtime.log.error("cannot listen", load_balancer=backend.balancer.name, address=address, error=told)
        await asyncio.sleep(LISTEN_RETRY_S)
    runtime.log.info("listening", load_balancer=backend.balancer.name, address=address)
    try:
        await runtime.stopping.wait()
    finally:
        server.close()
