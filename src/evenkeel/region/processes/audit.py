"""The audit's process: every endpoint, at every authoritative server, as a client would ask.

An answer is judged against the plan that the store has as newest. While a new plan is being published the old answer
still stands, so an answer other than planned counts once it has stood for two rounds; an empty one counts at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import prometheus_client

from evenkeel.adapters.dns.resolve import ServerResolver
from evenkeel.adapters.plan_store.client import PlanFollower
from evenkeel.endpoints.audit import Audited, Finding, audit_endpoint
from evenkeel.model.events import EventKind
from evenkeel.model.plan import Answer, Plan
from evenkeel.model.region import HostPort
from evenkeel.region.runtime import Runtime

IN_FLIGHT_MAX = 200
TOLD_MAX = 20  # findings told one by one in a round; the counts tell the rest

_EVENTS = {
    Finding.EMPTY: EventKind.EMPTY,
    Finding.OTHER: EventKind.DRIFT,
    Finding.UNREACHABLE: EventKind.UNREACHABLE,
}

Place = tuple[str, HostPort]


@dataclass(slots=True)
class Standing:
    """What the rounds so far have found: bad answers by place, and for how many rounds."""

    bad: dict[Place, tuple[Finding, int]] = field(default_factory=dict)

    def take(self, audited: Audited) -> EventKind | None:
        """The event that this answer is worth, if any: once when it goes bad, once when it is well again."""
        place = (audited.endpoint, audited.server)
        before, rounds = self.bad.get(place, (Finding.AS_PLANNED, 0))
        if not audited.is_bad:
            told = self.bad.pop(place, None)
            return EventKind.RECOVERED if told is not None and self._is_alarm(*told) else None
        rounds = rounds + 1 if before is audited.finding else 1
        self.bad[place] = (audited.finding, rounds)
        is_new = rounds == (1 if audited.finding is Finding.EMPTY else 2)
        return _EVENTS[audited.finding] if is_new else None

    def alarms(self) -> Counter[Finding]:
        return Counter(finding for finding, rounds in self.bad.values() if self._is_alarm(finding, rounds))

    @staticmethod
    def _is_alarm(finding: Finding, rounds: int) -> bool:
        return finding is Finding.EMPTY or rounds >= 2


class Metrics:
    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self.bad = prometheus_client.Gauge(
            "evenkeel_audit_bad_answers", "Endpoints times servers that answer badly", ["finding"], registry=registry
        )
        self.asked = prometheus_client.Counter("evenkeel_audit_questions", "Answers audited", registry=registry)
        self.round_s = prometheus_client.Gauge(
            "evenkeel_audit_round_seconds", "How long the last round took", registry=registry
        )


async def main(runtime: Runtime) -> None:
    """Audit in rounds until told to stop."""
    region = runtime.region
    metrics, standing = Metrics(runtime.registry), Standing()
    runtime.status["bad"] = lambda: {finding.value: count for finding, count in standing.alarms().items()}
    token = runtime.secret("plan-store")
    async with PlanFollower(region.name, region.plan_store, token) as plans, ServerResolver() as resolver:
        loop = asyncio.get_running_loop()
        while not runtime.stopping.is_set():
            began = loop.time()
            plan = await plans.newest()
            if plan is not None:
                await _round(runtime, plan, resolver, standing, metrics)
                metrics.round_s.set(loop.time() - began)
            try:
                async with asyncio.timeout(max(0.1, region.audit_every_s - (loop.time() - began))):
                    await runtime.stopping.wait()
            except TimeoutError:
                continue


async def _round(runtime: Runtime, plan: Plan, resolver: ServerResolver, standing: Standing, metrics: Metrics) -> None:
    questions = _questions(runtime, plan)
    told: Counter[EventKind] = Counter()

    async def ask() -> None:
        for endpoint, answer, server in questions:
            if runtime.stopping.is_set():
                return
            audited = await audit_endpoint(endpoint, answer, server, resolver)
            metrics.asked.inc()
            kind = standing.take(audited)
            if kind is not None:
                told[kind] += 1
                if told[kind] <= TOLD_MAX:
                    detail = f"at {server}: {audited.detail or 'as planned again'}"
                    runtime.journal.record(kind, endpoint=endpoint, generation=plan.generation, detail=detail)

    await asyncio.gather(*(ask() for _ in range(IN_FLIGHT_MAX)))
    for kind, count in told.items():
        if count > TOLD_MAX:
            runtime.journal.record(kind, detail=f"{count - TOLD_MAX} more in this round")
    alarms = standing.alarms()
    for finding in _EVENTS:
        metrics.bad.labels(finding.value).set(alarms[finding])


def _questions(runtime: Runtime, plan: Plan) -> Iterator[tuple[str, Answer, HostPort]]:
    for name, planned in plan.endpoints.items():
        zone = runtime.region.zones.get(planned.zone)
        for server in (zone.primary, *zone.secondaries) if zone is not None else ():
            yield name, planned.answer, server
