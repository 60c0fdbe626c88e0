"""`planner-<n>`: hears the vantage points, and appends a plan to the store when health or capacity asks for one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from pathlib import Path

import prometheus_client

from evenkeel.adapters.clock import AsyncioClock
from evenkeel.adapters.health_intake import HealthIntake
from evenkeel.adapters.plan_store.client import PlanStoreClient
from evenkeel.endpoints.planner import Outcome, Planned, Turn, plan_once, proposed, recall
from evenkeel.endpoints.planning import PlanningTable
from evenkeel.endpoints.quorum import Turned
from evenkeel.model.errors import EvenkeelError, StoreUnwritable, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.health import Health
from evenkeel.model.region import Approval
from evenkeel.ports.clock import Clock
from evenkeel.region.components import Kind, components
from evenkeel.region.runtime import Runtime

STALL_S = 2.0  # a gap between cycles beyond which this process was not running: stopped, or starved
AFTER_STALL_S = 1.0  # for every vantage point's silence to be noticed, and what was said meanwhile to be heard
BACK_OFF_S = 1.0  # after a cycle that the store could not serve
SHOW_EVERY_S = 5.0  # what routine work would do next is laid before the operators this often, if it changed
APPROVAL_EVERY_S = 1.0  # how often a proposal that awaits approval is planned again


class Metrics:
    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self.cycles = prometheus_client.Counter(
            "evenkeel_planner_cycles", "Planning cycles, by how they ended", ["outcome"], registry=registry
        )
        self.changed = prometheus_client.Counter(
            "evenkeel_planned_endpoints", "Endpoints' answers changed, by lane of the plan", ["lane"], registry=registry
        )
        self.seconds = prometheus_client.Histogram(
            "evenkeel_planning_seconds",
            "Cycles that appended a plan, from health to the store's acknowledgement",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5),
            registry=registry,
        )
        self.generation = prometheus_client.Gauge(
            "evenkeel_plan_generation", "Newest plan known here", registry=registry
        )
        self.withheld = prometheus_client.Gauge(
            "evenkeel_removals_withheld",
            "Load balancers that are bad and stay published",
            ["reason"],
            registry=registry,
        )
        self.standings = prometheus_client.Gauge(
            "evenkeel_load_balancers", "Load balancers by verdict", ["standing"], registry=registry
        )


async def main(runtime: Runtime) -> None:
    """Plan until told to stop."""
    region = runtime.region
    last_good = Path(region.state_dir) / "last-good-plan" / f"{runtime.component}.plan"
    intake = HealthIntake.for_region(
        region,
        on_turned=lambda turned: _tell_turned(runtime, turned),
        on_voice=lambda *said: _tell_voice(runtime, *said),
    )
    everyone = [each.name for each in components(region) if each.kind is Kind.PLANNER]
    turn = Turn(everyone.index(runtime.component), len(everyone))
    token = runtime.secret("plan-store")
    await intake.start(region.health_intake[turn.index], runtime.secret("health"))
    try:
        async with PlanStoreClient(
            region.name, region.plan_store, token, last_good, on_state=lambda *said: _tell_store(runtime, *said)
        ) as store:
            await Planner(runtime, intake, store, turn, AsyncioClock()).run()
    finally:
        await intake.stop()


class Planner:
    """Drives `plan_once` and says what it did."""

    def __init__(
        self,
        runtime: Runtime,
        intake: HealthIntake,
        store: PlanStoreClient,
        turn: Turn,
        clock: Clock,
    ) -> None:
        region = runtime.region
        self._runtime, self._settings, self._clock = runtime, region.planner, clock
        self._intake, self._store, self._turn = intake, store, turn
        self._table = PlanningTable(region, self._clock.monotonic_s())
        self._metrics = Metrics(runtime.registry)
        self._shown_at_s = 0.0
        self._shown: tuple[object, ...] = ()
        self._told = ""
        self._is_frozen = False
        self._awake_at_s = self._clock.monotonic_s()
        self._last = Planned(Outcome.NOTHING)
        self._publish_status()

    async def run(self) -> None:
        """Cycles until told to stop: at once when a standing changes, else every `cycle_s`."""
        is_recalled = False
        while not self._runtime.stopping.is_set():
            names = await self._intake.wait_changed(self._settings.cycle_s)
            if self._has_stalled():
                await self._pause(AFTER_STALL_S)
            elif names:
                await self._await_turn()
            try:
                if not is_recalled:
                    await recall(self._store, self._clock, self._table, self._settings.removals_window_s)
                    is_recalled = True
                await self._cycle()
                self._told = ""
            except EvenkeelError as error:
                self._tell_trouble(error)
                await self._pause(BACK_OFF_S)
            self._awake_at_s = self._clock.monotonic_s()

    def _has_stalled(self) -> bool:
        """Whether this process has just woken up from a pause that was not its own: the verdicts at hand are from
        before it, and a removal that was withheld then may not be wanted any more."""
        gap_s = self._clock.monotonic_s() - self._awake_at_s
        if gap_s > STALL_S + self._settings.cycle_s:
            self._runtime.log.warning("was not running", gap_s=round(gap_s, 1))
            return True
        return False

    async def _await_turn(self) -> None:
        """Leave the change to whoever is before in line; if that one is there, nothing is left to do afterwards."""
        place = self._turn.place(self._table.generation)
        generation = self._store.generation
        if place and self._store.is_up:
            await self._store.wait_newer(generation, place * self._settings.cycle_s)

    async def _cycle(self) -> None:
        began_s = self._clock.monotonic_s()
        try:
            planned = await plan_once(
                self._runtime.component,
                self._intake,
                self._store,
                self._clock,
                self._table,
                self._runtime.journal,
                routine=self._turn.is_routine_due(self._table, self._settings, began_s),
                approval=self._settings.approval,
            )
        except StoreUnwritable:
            await self._show_next()  # what waits for the store to write again
            raise
        self._last = planned
        self._count(planned, self._clock.monotonic_s() - began_s)
        if self._table.generation and not self._is_frozen:
            gc.freeze()  # the table and the plan are there to stay: looking through them doubles a cycle's time
            self._is_frozen = True
        if planned.outcome is Outcome.AWAITS_APPROVAL:
            await self._pause(APPROVAL_EVERY_S)
        elif self._settings.approval is Approval.NONE:
            await self._show_next()

    async def _show_next(self) -> None:
        """Lay before the operators what the next routine pass would do."""
        now_s = self._clock.monotonic_s()
        if now_s < self._shown_at_s + SHOW_EVERY_S:
            return
        self._shown_at_s = now_s
        seen = (self._table.generation, *self._table.verdicts.values())
        if seen != self._shown and self._table.is_settled(now_s):
            proposal = self._table.propose(now_s, routine=True)
            await self._store.propose(proposed(self._runtime.component, self._table, proposal))
            self._shown = seen

    async def _pause(self, delay_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._runtime.stopping.wait()

    # --- saying what was done ---------------------------------------------------------------------

    def _count(self, planned: Planned, took_s: float) -> None:
        metrics = self._metrics
        metrics.cycles.labels(planned.outcome.name.lower()).inc()
        metrics.generation.set(self._table.generation)
        if planned.outcome is Outcome.APPENDED:
            metrics.changed.labels(planned.lane.value).inc(planned.changed)
            metrics.seconds.observe(took_s)
            self._runtime.log.info(
                "appended",
                generation=planned.generation,
                lane=planned.lane.value,
                changed=planned.changed,
                removed=planned.removed,
                took_ms=round(took_s * 1000, 1),
            )
        metrics.withheld.clear()
        for held in self._table.withheld:
            metrics.withheld.labels(held.reason).inc()
        if planned.outcome is not Outcome.NOTHING:
            self._count_standings()

    def _count_standings(self) -> None:
        self._metrics.standings.clear()
        for health in self._table.verdicts.values():
            self._metrics.standings.labels(health.standing.value).inc()

    def _tell_trouble(self, error: EvenkeelError) -> None:
        """Once for each new trouble; the loss of the store is told by the client itself."""
        if str(error) == self._told or isinstance(error, Unreachable):
            return
        self._told = str(error)
        self._runtime.journal.record(EventKind.REFUSED, generation=self._table.generation, detail=str(error))
        self._runtime.log.error("cycle failed", error=str(error))

    def _publish_status(self) -> None:
        table = self._table
        self._runtime.status.update(
            generation=lambda: table.generation,
            turn=lambda: self._turn.place(table.generation),
            last_cycle=lambda: f"{self._last.outcome.name.lower()} at generation {self._last.generation}",
            withheld=lambda: [f"{h.load_balancer} at {h.endpoints} endpoints ({h.reason})" for h in table.withheld],
            plan_store=lambda: "up" if self._store.is_up else self._store.trouble,
            vantages=self._intake.vantages,
            load_balancers=lambda: {name: _shown(health) for name, health in table.verdicts.items()},
        )


def _shown(health: Health) -> dict[str, object]:
    return {"standing": health.standing.value, "capacity": health.capacity, "load": health.load}


def _tell_turned(runtime: Runtime, turned: Turned) -> None:
    runtime.journal.record(
        EventKind.HEALTH,
        detail=f"{turned.load_balancer} {turned.before} -> {turned.after} by quorum ({turned.votes})",
        load_balancer=turned.load_balancer,
        before=turned.before.value,
        standing=turned.after.value,
    )


def _tell_voice(runtime: Runtime, vantage: str, is_heard: bool, why: str) -> None:
    kind = EventKind.RECOVERED if is_heard else EventKind.UNREACHABLE
    runtime.journal.record(kind, detail=f"{vantage} {'has a vote' if is_heard else 'has no vote'}: {why}")


def _tell_store(runtime: Runtime, is_up: bool, why: str) -> None:
    runtime.journal.record(EventKind.RECOVERED if is_up else EventKind.UNREACHABLE, detail=why)
