"""`vantage-<az>`: probes every load balancer of the region from one availability zone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from prometheus_client import Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from evenkeel.adapters.vantage_point import VantagePoint
from evenkeel.model.events import EventKind
from evenkeel.model.health import Opinion, ProbeKind, Standing
from evenkeel.region.runtime import Runtime

LAG_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


async def main(runtime: Runtime) -> None:
    """Run until told to stop."""
    region = runtime.region
    lag = Histogram(
        "evenkeel_probe_lag_seconds",
        "How late a probe's turn came up",
        buckets=LAG_BUCKETS_S,
        registry=runtime.registry,
    )
    point = VantagePoint(
        runtime.component,
        region.load_balancers.values(),
        region.health_intake,
        runtime.secret("health"),
        on_opinion=lambda before, opinion: _tell(runtime, before, opinion),
        on_doubt=lambda doubt: _tell_doubt(runtime, doubt),
        on_lag=lag.observe,
    )
    runtime.status.update(
        targets=len(point.view.targets),
        doubt=lambda: point.view.doubt,
        planners=point.push.links,
        load_balancers=lambda: {opinion.load_balancer: _shown(opinion) for opinion in point.view.opinions()},
    )
    runtime.registry.register(ProbeMetrics(point))
    _standing_gauges(runtime, point)
    await _take_reports(runtime, point)
    point.start()
    try:
        await runtime.stopping.wait()
    finally:
        await point.stop()


async def _take_reports(runtime: Runtime, point: VantagePoint) -> None:
    region = runtime.region
    is_needed = any(each.probe.kind is ProbeKind.REPORTED for each in region.load_balancers.values())
    place = region.azs.index(runtime.component.removeprefix("vantage-"))
    if is_needed and place < len(region.report_intake):
        address = await point.reports.start(region.report_intake[place], runtime.secret("report"))
        runtime.status["report_intake"] = str(address)


def _tell(runtime: Runtime, before: Standing, opinion: Opinion) -> None:
    detail = f"{opinion.load_balancer} {before} -> {opinion.standing}: {opinion.detail}"
    runtime.journal.record(
        EventKind.HEALTH,
        detail=detail,
        load_balancer=opinion.load_balancer,
        before=before.value,
        standing=opinion.standing.value,
    )
    runtime.log.info("standing changed", load_balancer=opinion.load_balancer, before=before.value,
                     standing=opinion.standing.value, why=opinion.detail)  # fmt: skip


def _tell_doubt(runtime: Runtime, doubt: str) -> None:
    kind = EventKind.UNREACHABLE if doubt else EventKind.RECOVERED
    detail = f"no vote: {doubt}" if doubt else "targets answer again: this vantage point votes again"
    runtime.journal.record(kind, detail=detail)
    runtime.log.warning("doubt", doubt=doubt)


def _shown(opinion: Opinion) -> dict[str, object]:
    return {
        "standing": opinion.standing.value,
        "detail": opinion.detail,
        "capacity": opinion.capacity,
        "load": opinion.load,
    }


def _standing_gauges(runtime: Runtime, point: VantagePoint) -> None:
    gauge = Gauge(
        "evenkeel_vantage_load_balancers",
        "Load balancers by standing, as this vantage point sees them",
        ["standing"],
        registry=runtime.registry,
    )
    for standing in Standing:
        gauge.labels(standing.value).set_function(partial(point.view.count, standing))
    in_flight = Gauge("evenkeel_probes_in_flight", "Probes under way", registry=runtime.registry)
    in_flight.set_function(lambda: point.prober.in_flight)
    doubt = Gauge("evenkeel_vantage_doubt", "1 while every target is silent from here", registry=runtime.registry)
    doubt.set_function(lambda: float(point.view.has_doubt))


class ProbeMetrics(Collector):
    """Counts that the prober keeps anyway, read when somebody asks."""

    def __init__(self, point: VantagePoint) -> None:
        self._point = point

    def collect(self) -> Iterator[Metric]:
        counts = self._point.prober.counts
        outcomes = CounterMetricFamily("evenkeel_probes", "Probes by how they ended", labels=["outcome"])
        for outcome, count in counts.outcomes.items():
            outcomes.add_metric([outcome.value], count)
        yield outcomes
        turns = CounterMetricFamily("evenkeel_probe_turns", "Turns of the schedule by what came of them", labels=["of"])
        for name in ("started", "skipped", "overlapping", "refused_full"):
            turns.add_metric([name], getattr(counts, name))
        yield turns
