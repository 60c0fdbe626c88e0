"""One run: a region and a script in, what happened out. The same inputs give the same run, to the byte.

region + cast + script + seed -> World -> steps, processes, twins in virtual time -> Run
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from evenkeel.endpoints.planner import Turn
from evenkeel.model.plan import Plan
from evenkeel.model.policy import EmptyAnswer
from evenkeel.model.region import Region
from evenkeel.sim.acting import Actor, Happened
from evenkeel.sim.automation import Surroundings, run_audit, run_enactor, run_planner
from evenkeel.sim.balancers import Balancers
from evenkeel.sim.chance import latency
from evenkeel.sim.folding import folded
from evenkeel.sim.invariants import Invariant, not_converged
from evenkeel.sim.plan_host import PlanHost
from evenkeel.sim.script import Script
from evenkeel.sim.trace import Noted, Trace
from evenkeel.sim.watching import Moment, Violation, Watch
from evenkeel.sim.world import World
from evenkeel.sim.zone_host import ZoneHost

PROGRESS_PARTS = 100
EPOCH_MS = 1_760_832_000_000  # a midnight: 19 October 2025 (UTC); only logs and October's lock read it


@dataclass(frozen=True, slots=True)
class Cast:
    """Names of the processes that play."""

    enactors: tuple[str, ...]
    planners: tuple[str, ...]
    nameserver: str = "nameserver"
    plan_store: str = "plan-store"
    audit: str = ""  # "": none


@dataclass(frozen=True, slots=True)
class Run:
    """What happened in one run. Times in microseconds since the start."""

    script: Script
    region: Region  # as folded
    times: dict[str, int]
    seed: int
    digest: str
    virtual_us: int
    events: int
    lines: int
    noted: tuple[Noted, ...]
    violations: tuple[Violation, ...]
    counts: dict[Invariant, int]
    moments: dict[str, list[Moment]]
    empty_us: dict[str, int]
    plans: tuple[tuple[int, int], ...]  # moment, generation appended
    happened: Happened
    balancers: tuple[tuple[int, str, bool], ...]
    commits: int
    refusals: int
    records: int  # in all zones at the end, every endpoint counted as often as it stands for
    endpoints: int  # likewise
    zone_hosts: dict[str, str] = field(default_factory=dict)  # zone -> host


class Rehearsal:
    """Builds the world of one run, and lets it happen."""

    def __init__(self, region: Region, cast: Cast, script: Script, seed: int, trace: Trace | None = None) -> None:
        self.script = script
        self.seed = seed
        self.region, self.times = folded(region, script.world.account_cohorts, script.world.accounts)
        self.world = World(seed, latency(script.world.latency), EPOCH_MS + script.starts_s * 1000, trace)
        for one, other, name in script.world.links:
            self.world.network.set_latency(one, other, latency(name))
        guarded = region.policy.empty_answer is EmptyAnswer.REFUSED
        self.zones = {name: ZoneHost(_host_name(cast, region, name), name, guarded) for name in region.zones}
        self.plan_host = PlanHost(cast.plan_store, region.name, region.generations_kept, self.world.network)
        for host in (*self.zones.values(), self.plan_host):
            self.world.add_host(host)
        self.balancers = Balancers(self.world, self.region, script.world.detect_us)
        self.around = Surroundings(self.region, self.zones, self.plan_host, self.balancers.verdicts, self.times)
        self.watch = Watch(self.world, self.zones)
        self.plans: list[tuple[int, int]] = []
        self.plan_host.on_appended = self._note_plan
        self._add_processes(cast)
        self.actor = Actor(self.world, self.around, self.balancers)

    def _note_plan(self, plan: Plan) -> None:
        self.plans.append((self.world.now_us, plan.generation))

    def _add_processes(self, cast: Cast) -> None:
        around, world = self.around, self.world
        for index, name in enumerate(cast.planners):
            turn = Turn(index, len(cast.planners))
            world.add_process(name, lambda process, turn=turn: run_planner(process, around, turn))  # type: ignore[misc]  # bound now
        for place, name in enumerate(cast.enactors):
            world.add_process(name, lambda process, place=place: run_enactor(process, around, place))  # type: ignore[misc]  # bound now
        if cast.audit:
            world.add_process(cast.audit, lambda process: run_audit(process, around))
        for process in world.processes.values():
            process.start()

    def run(self, on_progress: Callable[[int], None] = lambda now_us: None) -> Run:
        """From the start to the end; `on_progress` hears the virtual time now and then."""
        script, world = self.script, self.world
        self.balancers.wobble(script.world.capacity_wobble, script.world.wobble_every_us)
        self.actor.schedule(script.steps)
        for must in script.musts:
            if must.invariant is Invariant.CONVERGED:
                by_us = must.by_us or script.lasts_us
                world.simulator.call_at(by_us - must.within_us, self._expect_converged, by_us)
        try:
            for part in range(1, PROGRESS_PARTS + 1):
                world.simulator.run(script.lasts_us * part // PROGRESS_PARTS)
                on_progress(world.now_us)
            return self._result()
        finally:
            for process in world.processes.values():
                process.crash()

    def _expect_converged(self, by_us: int) -> None:
        """By then, every endpoint is to be at or past the plan that is the newest now."""
        newest = self.plan_host.state.newest
        self.world.simulator.call_at(by_us, self._judge_converged, newest)

    def _judge_converged(self, expected: Plan) -> None:
        for name, host in self.zones.items():
            planned = {each.name: each for each in expected.endpoints.values() if each.zone == name}
            for endpoint, why in not_converged(host.zone, planned).items():
                self.watch.violate(Invariant.CONVERGED, endpoint, why)

    def _result(self) -> Run:
        world, watch = self.world, self.watch
        endpoints = watch.endpoints()
        return Run(
            script=self.script,
            region=self.region,
            times=self.times,
            seed=self.seed,
            digest=world.trace.digest(),
            virtual_us=world.now_us,
            events=world.simulator.events,
            lines=world.trace.count,
            noted=tuple(world.trace.noted),
            violations=tuple(watch.violations),
            counts=dict(watch.counts),
            moments={name: watch.moments(name) for name in endpoints},
            empty_us={name: watch.empty_us(name, world.now_us) for name in endpoints},
            plans=tuple(self.plans),
            happened=self.actor.happened,
            balancers=tuple(self.balancers.changes),
            commits=sum(host.commits for host in self.zones.values()),
            refusals=sum(host.refusals for host in self.zones.values()),
            records=sum(host.zone.count(self.times) for host in self.zones.values()),
            endpoints=sum(self.times.get(name, 1) for name in self.region.endpoints),
            zone_hosts={name: host.name for name, host in self.zones.items()},
        )


def _host_name(cast: Cast, region: Region, zone: str) -> str:
    """One zone: the nameserver itself; several have a host each, so that each can fail alone."""
    return cast.nameserver if len(region.zones) == 1 else f"{cast.nameserver}/{zone.rstrip('.')}"
