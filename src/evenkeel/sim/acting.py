"""Makes a script's steps happen: faults on processes, routes and workflows, and the operators' levers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from evenkeel.endpoints import levers
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.model.errors import EvenkeelError
from evenkeel.model.plan import Answer, EndpointPlan, PlanDelta
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import AddRRs, DeleteRRset, Transaction
from evenkeel.sim.automation import Surroundings
from evenkeel.sim.balancers import Balancers
from evenkeel.sim.barriers import Barrier
from evenkeel.sim.drags import Drag
from evenkeel.sim.network import Host, Trouble
from evenkeel.sim.ports import SimClock, SimJournal, SimNonces, SimPlans, SimZoneServer
from evenkeel.sim.process import Process
from evenkeel.sim.script import Step, StepKind
from evenkeel.sim.world import World

OPERATOR = "operator"
STRANGER = "stranger"  # whoever writes plans or records without being asked
FOREIGN_ADDRESS = "192.0.2.99"  # RFC 5737: documentation


@dataclass(frozen=True, slots=True)
class Override:
    """From `at_us` to `until_us` (0: the end), resolvers that obey answer `endpoint` by hand."""

    at_us: int
    until_us: int
    endpoint: str


@dataclass(slots=True)
class Happened:
    """What came of the steps, for clients and report."""

    overrides: list[Override] = field(default_factory=list)
    outages: list[tuple[int, str, bool]] = field(default_factory=list)  # moment, host, up from then on
    steps: list[tuple[int, Step]] = field(default_factory=list)


class Actor:
    """Does the steps of one run."""

    def __init__(self, world: World, around: Surroundings, balancers: Balancers) -> None:
        self.happened = Happened()
        self._world = world
        self._around = around
        self._balancers = balancers
        self._operator = world.add_process(OPERATOR, _idle)
        self._stranger = world.add_process(STRANGER, _idle)
        self._operator.start()
        self._stranger.start()
        world.barriers.on_held = self._tell_held

    def schedule(self, steps: tuple[Step, ...]) -> None:
        """Have them happen at their times; a barrier stands from the beginning and waits for its own."""
        for step in steps:
            if step.kind is StepKind.HOLD:
                self._hold(step)
            else:
                self._world.simulator.call_at(step.at_us, self._do, step)

    def _do(self, step: Step) -> None:
        self.happened.steps.append((self._world.now_us, step))
        kind = "operator" if step.kind in _BY_OPERATORS else "fault"
        self._world.note(kind, step.kind.value, step.text() + (f": {step.why}" if step.why else ""))
        act = getattr(self, "_" + step.kind.name.lower())
        act(step)

    def _after(self, step: Step, undo: Callable[[], None]) -> None:
        if step.for_us:

            def end(_: object) -> None:
                self._world.note("fault", "over", step.text())
                undo()

            self._world.simulator.call_after(step.for_us, end)

    # --- processes and hosts --------------------------------------------------------------------------

    def _parties(self, pattern: str) -> list[Process | Host]:
        everyone: Mapping[str, Process | Host] = {**self._world.hosts, **self._world.processes}
        return [each for name, each in everyone.items() if fnmatchcase(name, pattern)]

    def _crash(self, step: Step) -> None:
        for party in self._parties(step.component):
            party.crash()
            self._note_outage(party, is_up=False)
            self._after(step, partial(self._bring_up, party))

    def _bring_up(self, party: Process | Host) -> None:
        party.restart()
        self._note_outage(party, is_up=True)

    def _stop(self, step: Step) -> None:
        self._crash(replace(step, for_us=0))

    def _start(self, step: Step) -> None:
        for party in self._parties(step.component):
            if not party.is_up:
                self._bring_up(party)

    def _pause(self, step: Step) -> None:
        for party in self._parties(step.component):
            party.pause()
            self._note_outage(party, is_up=False)
            self._after(step, partial(self._resume, party))

    def _resume(self, party: Process | Host) -> None:
        if party.is_up:
            party.resume()
            self._note_outage(party, is_up=True)

    def _note_outage(self, party: Process | Host, *, is_up: bool) -> None:
        if isinstance(party, Host):
            self.happened.outages.append((self._world.now_us, party.name, is_up))

    def _skew(self, step: Step) -> None:
        for party in self._parties(step.component):
            if isinstance(party, Process):
                party.skew_us += step.extra_us

    def _store_full(self, step: Step) -> None:
        self._around.plan_host.is_full = True
        self._after(step, self._store_has_room)

    def _store_has_room(self) -> None:
        self._around.plan_host.is_full = False

    # --- routes ---------------------------------------------------------------------------------------

    def _trouble(self, step: Step, trouble: Trouble) -> None:
        """On every route between the two sides, both ways."""
        names = [*self._world.hosts, *self._world.processes]
        routes = [
            self._world.network.route(one, other)
            for one in names
            for other in names
            if one != other
            and (
                (fnmatchcase(one, step.component) and fnmatchcase(other, step.other))
                or (fnmatchcase(other, step.component) and fnmatchcase(one, step.other))
            )
        ]
        for route in routes:
            route.troubles.append(trouble)

        def undo() -> None:
            for route in routes:
                route.troubles.remove(trouble)

        self._after(step, undo)

    def _partition(self, step: Step) -> None:
        self._trouble(step, Trouble(is_cut=True))

    def _loss(self, step: Step) -> None:
        self._trouble(step, Trouble(lost=step.share))

    def _duplicate(self, step: Step) -> None:
        self._trouble(step, Trouble(doubled=step.share))

    def _delay(self, step: Step) -> None:
        self._trouble(step, Trouble(extra_us=step.extra_us))

    def _reorder(self, step: Step) -> None:
        self._trouble(step, Trouble(late=step.share, late_us=step.extra_us))

    # --- within workflows -----------------------------------------------------------------------------

    def _hold(self, step: Step) -> None:
        for name in self._world.processes:
            if fnmatchcase(name, step.component):
                barrier = Barrier(name, step.step, step.endpoint, step.nth, step.for_us, step.at_us)
                self._world.barriers.add(barrier)

    def _tell_held(self, barrier: Barrier, endpoint: str) -> None:
        step = Step(
            barrier.after_us,
            StepKind.HOLD,
            barrier.process,
            endpoint=endpoint,
            step=barrier.step,
            nth=barrier.nth,
            for_us=barrier.hold_us,
        )
        self.happened.steps.append((self._world.now_us, step))
        self._world.note("fault", "hold", step.text())

    def _slow(self, step: Step) -> None:
        self._drag(step, lambda name: Drag(name, step.endpoint, extra_us=step.extra_us))

    def _lose_lock(self, step: Step) -> None:
        self._drag(step, lambda name: Drag(name, step.endpoint, lost_locks=step.times))

    def _drag(self, step: Step, make: Callable[[str], Drag]) -> None:
        for name in self._world.processes:
            if fnmatchcase(name, step.component):
                drag = make(name)
                self._world.drags.add(drag)
                self._after(step, partial(self._world.drags.remove, drag))

    # --- load balancers -------------------------------------------------------------------------------

    def _set_balancers(self, names: list[str], is_up: bool) -> None:
        for name in names:
            self._balancers.set_up(name, is_up)

    def _balancer_down(self, step: Step) -> None:
        names = [name for name in self._balancers.is_up if fnmatchcase(name, step.component)]
        self._set_balancers(names, False)
        self._after(step, partial(self._set_balancers, names, True))

    def _az_down(self, step: Step) -> None:
        names = self._balancers.in_az(step.component)
        self._set_balancers(names, False)
        self._after(step, partial(self._set_balancers, names, True))

    def _az_flap(self, step: Step) -> None:
        names = self._balancers.in_az(step.component)
        ends_at_us = self._world.now_us + step.for_us

        def turn(is_up: bool) -> None:
            is_over = bool(step.for_us) and self._world.now_us >= ends_at_us
            self._set_balancers(names, is_up or is_over)
            if not is_over:
                self._world.simulator.call_after(step.every_us, turn, not is_up)

        turn(False)

    # --- strangers ------------------------------------------------------------------------------------

    def _bad_plan(self, step: Step) -> None:
        self._stranger.spawn("bad plan", self._told(STRANGER, self._append_bad_plan(step)))

    async def _append_bad_plan(self, step: Step) -> str:
        plans = SimPlans(self._stranger, self._around.plan_host)
        newest = self._around.plan_host.state.newest
        generation = newest.generation + 1
        changed = tuple(
            replace(each, answer=_cut_down(each.answer, step.keep), changed_in=generation)
            for each in newest.endpoints.values()
            if fnmatchcase(each.name, step.endpoint)
        )
        is_in = await plans.append(PlanDelta(newest.region, generation, newest.generation, STRANGER, changed))
        return f"plan {generation} leaves {step.keep} addresses: {'appended' if is_in else 'somebody was first'}"

    def _foreign_write(self, step: Step) -> None:
        for endpoint in self._endpoints(step.endpoint):
            host = self._around.zones[endpoint.zone]
            target = host.read(endpoint.name).reading.target or endpoint.name
            host.caller = STRANGER
            record = RRset.of(target, RecordType.A, 60, FOREIGN_ADDRESS)
            host.commit(Transaction(endpoint.zone, (), (DeleteRRset(target, RecordType.A), AddRRs(record))))

    # --- operators ------------------------------------------------------------------------------------

    def _endpoints(self, pattern: str) -> list[EndpointPlan]:
        """Endpoints of the newest plan by pattern, whatever the region's file calls its own."""
        newest = self._around.plan_host.state.newest
        return [each for name, each in sorted(newest.endpoints.items()) if fnmatchcase(name, pattern)]

    def _pull(self, step: Step, lever: Callable[[str, GuardedZone, SimZoneServer], Coroutine[Any, Any, Any]]) -> None:
        for endpoint in self._endpoints(step.endpoint):
            server = SimZoneServer(self._operator, self._around.zones[endpoint.zone])
            zone = self._guarded(endpoint.zone, server)
            self._operator.spawn(
                step.kind.value, self._told(OPERATOR, self._pulled(lever(endpoint.name, zone, server)))
            )

    @staticmethod
    async def _pulled(pulling: Coroutine[Any, Any, Any]) -> str:
        pulled = await pulling
        return f"{pulled.endpoint} {pulled.detail}"

    def _guarded(self, zone: str, server: SimZoneServer) -> GuardedZone:
        process = self._operator
        return GuardedZone(
            zone,
            server,
            self._around.region.policy,
            OPERATOR,
            SimNonces(process, zone),
            SimClock(process),
            SimJournal(process),
        )

    async def _told(self, process: str, work: Coroutine[Any, Any, str]) -> None:
        try:
            self._world.note(process, "done", await work)
        except EvenkeelError as error:
            self._world.note(process, "refused", str(error))

    def _pin(self, step: Step) -> None:
        self._pull(step, lambda endpoint, zone, server: levers.pin(endpoint, zone))

    def _unpin(self, step: Step) -> None:
        self._pull(step, lambda endpoint, zone, server: levers.unpin(endpoint, zone))

    def _rollback(self, step: Step) -> None:
        self._pull(step, levers.rollback)

    def _repair(self, step: Step) -> None:
        self._pull(step, levers.repair)

    def _freeze(self, step: Step) -> None:
        self._set_frozen(step.why or "rehearsal")

    def _thaw(self, step: Step) -> None:
        self._set_frozen("")

    def _set_frozen(self, reason: str) -> None:
        async def set_frozen(zone: GuardedZone) -> str:
            return f"{zone.zone} {(await zone.set_frozen(reason)).name.lower()}"

        for name, host in self._around.zones.items():
            zone = self._guarded(name, SimZoneServer(self._operator, host))
            self._operator.spawn("freeze", self._told(OPERATOR, set_frozen(zone)))

    def _override(self, step: Step) -> None:
        until_us = self._world.now_us + step.for_us if step.for_us else 0
        for endpoint in self._endpoints(step.endpoint):
            self.happened.overrides.append(Override(self._world.now_us, until_us, endpoint.name))

    def _say(self, step: Step) -> None:
        """Told by `_do`; nothing in the region changes."""


_BY_OPERATORS = frozenset(
    {
        StepKind.FREEZE,
        StepKind.THAW,
        StepKind.PIN,
        StepKind.UNPIN,
        StepKind.ROLLBACK,
        StepKind.REPAIR,
        StepKind.OVERRIDE,
        StepKind.SAY,
        StepKind.STOP,
        StepKind.START,
    }
)


def _cut_down(answer: Answer, keep: int) -> Answer:
    return replace(
        answer,
        a=answer.a[:keep],
        a_weights=answer.a_weights[:keep],
        aaaa=answer.aaaa[: keep if not answer.a else 0],
        aaaa_weights=answer.aaaa_weights[: keep if not answer.a else 0],
    )


async def _idle(process: Process) -> None:
    """Its tasks are spawned one by one."""
