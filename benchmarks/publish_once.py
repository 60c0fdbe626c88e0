"""One Enactor's work in a process of its own: read the plan from disk and the zone from the server, publish, end.

    python -m benchmarks.publish_once JOB.json

Prints, as JSON: seconds from the plan being offered to the last acknowledgement, CPU seconds, peak memory. What the
whole process takes, start included, is for the caller to measure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from evenkeel.adapters.clock import AsyncioClock, FreshNonces
from evenkeel.adapters.dns.keys import tsig_key
from evenkeel.adapters.dns.settings import collect_rarely
from evenkeel.adapters.dns.zone_client import ZoneClient
from evenkeel.adapters.plan_store import last_good
from evenkeel.endpoints.enactor import Enacted
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.model.events import EventKind
from evenkeel.model.plan import Lane, Plan
from evenkeel.model.policy import SAFE
from evenkeel.model.region import HostPort, ServerKind, Zone
from evenkeel.region.enacting import ZoneEnacting

DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Job:
    """Where to publish what. `plan` is a file of the plan store's last good copy."""

    zone: str
    kind: str
    host: str
    port: int
    key: str
    secret: str
    plan: str


@dataclass(frozen=True, slots=True)
class Done:
    """What it took."""

    endpoints: int
    published_s: float
    cpu_s: float
    messages: int
    rss_mb: float


class OnePlan:
    """`ports.plans.PlanReader` of a plan that stays."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    async def newest(self) -> Plan:
        return self.plan


class NoJournal:
    """Publications are counted here, not told."""

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        pass


class Enacting:
    """An Enactor's desk over a real zone, that tells when everything offered has been dealt with."""

    def __init__(self, client: ZoneClient, plans: OnePlan) -> None:
        self.outcomes: Counter[Enacted] = Counter()
        self._settled = asyncio.Event()
        self._awaited = 0
        clock, journal = AsyncioClock(), NoJournal()
        guarded = GuardedZone(client.zone, client, SAFE, "bench", FreshNonces(), clock, journal)
        self._desk = ZoneEnacting(guarded, plans, SAFE, clock, journal, self._count)
        self._task = asyncio.create_task(self._desk.run(asyncio.Event()))

    async def publish(self, names: list[str], lane: Lane) -> float:
        """Seconds from offering `names` until each has been published."""
        self._awaited = self.outcomes[Enacted.PUBLISHED] + len(names)
        self._settled.clear()
        began = time.perf_counter()
        self._desk.offer(names, lane)
        async with asyncio.timeout(DEADLINE_S):
            await self._settled.wait()
        return time.perf_counter() - began

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def _count(self, outcome: Enacted, number: int) -> None:
        self.outcomes[outcome] += number
        if self.outcomes[Enacted.PUBLISHED] >= self._awaited:
            self._settled.set()


async def publish_once(job: Job) -> Done:
    plan, why = last_good.load(Path(job.plan), "bench")
    if plan is None:
        raise RuntimeError(why)
    zone = Zone(job.zone, ServerKind(job.kind), HostPort(job.host, job.port))
    async with ZoneClient(zone, tsig_key(job.key, job.secret)) as client:
        await client.refresh()
        enacting = Enacting(client, OnePlan(plan))
        cpu_s = time.process_time()
        published_s = await enacting.publish(list(plan.endpoints), Lane.ROUTINE)
        cpu_s = time.process_time() - cpu_s
        messages = client.counts.messages
        await enacting.stop()
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Done(len(plan.endpoints), published_s, cpu_s, messages, rss_mb)


def main() -> None:
    collect_rarely()  # as the Enactor's process does
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    print(json.dumps(asdict(asyncio.run(publish_once(job)))))


if __name__ == "__main__":
    main()
