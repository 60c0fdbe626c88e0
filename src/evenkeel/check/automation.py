"""The DNS automation as a model: Planner, Enactors and clean-up over the plan store and one zone an endpoint.

Services: the plan store first, then each endpoint's part of the zone. Processes: the Planner, then the Enactors, then
the slots for requests that are still under way when their sender has given up on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from evenkeel.check.config import Config
from evenkeel.check.exchange import (
    ANYONE,
    FRESH,
    GONE,
    PLAN,
    ZONE,
    Hand,
    Talk,
    ZoneCode,
    holds_text,
    is_hopeless,
    is_write,
    renamed,
)
from evenkeel.check.generations import Generations, forgets_what_is_gone
from evenkeel.check.local_states import Enacting, Local, Planning, StandingBy, Travelling
from evenkeel.check.model import EMPTY_SLOT, NO_SERVICE, Interner, Ordered, Outcome, Properties, Shape
from evenkeel.check.program import (
    Stage,
    endpoint_name,
    is_over,
    result_of,
    runs_of,
    stages_of,
)
from evenkeel.check.replay import Call
from evenkeel.check.standby import NOW_IS_GONE, RENAMINGS
from evenkeel.check.zone_steps import Asking, Fault, Way, ZoneSteps
from evenkeel.endpoints.enactor import Enacted
from evenkeel.endpoints.guarded_zone import LOCK_EXPIRY_MS
from evenkeel.model.errors import InternalError
from evenkeel.model.policy import Lock
from evenkeel.model.transactions import Commit, Transaction
from evenkeel.twins.zone import ZoneState

STORE = 0  # service: the plan store
PLANNER = 0  # process
NO_NONCE = "nonce0any"


class Automation:
    """Implements `check.model.Model`."""

    def __init__(self, config: Config, properties: Properties) -> None:
        self.config = config
        self.properties = properties
        policy = config.policy
        self.stages = stages_of(policy, config.endpoints, config.workflows)
        nonce = config.nonce or (FRESH if config.compares_fences else NO_NONCE)
        self.zone_steps = ZoneSteps(
            ZoneCode(policy, config.zone_maker, nonce),
            ZoneState.of(ZONE, (), config.server_guard),
            self._breaks,
            layout=config.layout,
            answers=config.answers,
            notes=config.notes_published,
            step=config.step,
            faults=config.fault_kinds if config.faults else frozenset(),
            signs_apart=policy.lock is Lock.TXT_PER_ENDPOINT,
            folds=config.fold_hopeless,
        )
        self._names_matter = policy.lock is Lock.TXT_PER_ENDPOINT
        first, last = PLANNER + 1, PLANNER + 1 + config.enactors
        enactors = tuple(f"enactor-{letter}" for letter in "abcdefgh"[: config.enactors])
        standbys = range(config.endpoints if config.faults and Fault.FAILOVER in config.fault_kinds else 0)
        self.shape = Shape(
            processes=("planner", *enactors, *(f"secondary-{index + 1}" for index in standbys)),
            services=("plan-store", *(endpoint_name(index) for index in range(config.endpoints))),
            slots=config.faults,
            alike=(first, last),
            faults_max=config.faults,
        )
        self._locals: Interner[Local] = Interner([None], {None: EMPTY_SLOT})
        self._zones = self.zone_steps.zones
        self._labels: Interner[str] = Interner()
        self._stale: dict[tuple[int, int], int] = {}
        self._hows = RENAMINGS.keys() if standbys else {NOW_IS_GONE}
        self._planning = self._locals.id(Planning())
        self._enacting = self._locals.id(self._settled(Enacting(0, 0))[0])

    # --- Model ------------------------------------------------------------------------------------------

    @property
    def labels(self) -> list[str]:
        return self._labels.values

    def start(self) -> tuple[list[int], list[int]]:
        count = len(self.shape.processes) - 1 - self.config.enactors
        standbys = [self._locals.id(StandingBy(index)) for index in range(count)]
        enacting = [self._enacting] * self.config.enactors
        local = [self._planning, *enacting, *standbys, *[EMPTY_SLOT] * self.shape.slots]
        return local, [0, *[self.zone_steps.first] * self.config.endpoints]

    def kind(self, process: int) -> int:
        if process == PLANNER or process >= len(self.shape.processes):
            return min(process, len(self.shape.processes))
        if process >= self.shape.alike[1]:
            return process
        return process if self._names_matter else PLANNER + 1

    def service_of(self, local: int) -> int:
        match self._locals[local]:
            case Planning():
                return STORE
            case Travelling(endpoint, _, _) | StandingBy(endpoint):
                return 1 + endpoint
            case Enacting() as enacting:
                call = self.call(enacting)
                return STORE if call.port == "plans" else 1 + self._endpoint_of(call)
        return NO_SERVICE

    def reads(self, local: int) -> int:
        match self._locals[local]:
            case Enacting(stage) if self.stages[stage].endpoint >= 0:
                return 1 + self.stages[stage].endpoint
        return self.service_of(local)

    def stale(self, local: int, how: int) -> int:
        known = self._stale.get((local, how))
        if known is None:
            state = self._locals[local]
            out_of_date = renamed(state, RENAMINGS[how]) if how in self._hows else state
            if isinstance(out_of_date, Travelling) and is_hopeless(out_of_date.transaction):
                out_of_date = None
            elif isinstance(out_of_date, Enacting):
                out_of_date = self._only(out_of_date)
            known = self._stale[local, how] = self._locals.id(out_of_date)
        return known

    def step(self, process: int, local: int, service: int) -> Sequence[Outcome]:
        match self._locals[local]:
            case Planning():
                return self._plan(local, service)
            case Travelling() as travelling:
                return [self._land(travelling, service)]
            case StandingBy():
                steps = self.zone_steps.standing_by(service)
                return [Outcome(local, zone, self._labels.id(label), how, faults=n) for label, zone, how, n in steps]
            case Enacting() as enacting:
                return list(self._enact(process, enacting, service))
        return ()

    def has_names(self) -> bool:
        return self._names_matter

    def ordered(self) -> Ordered | None:
        if not self.config.unbounded:
            return None
        return Generations(self.config.policy.keep_generations, self._locals, self._zones)

    def exchange(self, order: Sequence[int], local: int) -> int:
        return self._locals.id(renamed(self._locals[local], self._exchanged(order)))

    def exchange_service(self, order: Sequence[int], service: int) -> int:
        return self._zones.id(renamed(self._zones[service], self._exchanged(order)))

    def service_state(self, service: int, state: int) -> Any:
        return state if service == STORE else self._zones[state]

    def result(self, process: int, local: int) -> tuple[bool, Any]:
        """Nobody here ever returns."""
        return False, None

    def local_text(self, process: int, local: int) -> str:
        match self._locals[local]:
            case Planning():
                return "plan"
            case Travelling(endpoint, _, what):
                return f"{what} at {endpoint_name(endpoint)}, under way"
            case Enacting() as enacting:
                return str(self.call(enacting))
        return "nothing"

    # --- what the trace shows of it -----------------------------------------------------------------------

    @property
    def runs(self) -> int:
        """Runs of component code so far: workflow histories and zone calls."""
        return runs_of(self.stages) + self.zone_steps.code.runs

    def process_name(self, process: int) -> str:
        """For people; slots are the network."""
        names = self.shape.processes
        return names[process] if process < len(names) else "network"

    def local_state(self, local: int) -> Local:
        return self._locals[local]

    @property
    def local_count(self) -> int:
        return len(self._locals)

    @property
    def zone_count(self) -> int:
        return len(self._zones)

    def call(self, enacting: Enacting) -> Call:
        """What the Enactor waits for."""
        pending = self.stages[enacting.stage].automaton.pending(enacting.at)
        assert isinstance(pending, Call), "a settled Enactor waits for a port"  # noqa: S101 - an invariant of ours
        return pending

    @staticmethod
    def _endpoint_of(call: Call) -> int:
        return int(call.args[0].rpartition("-")[2]) - 1

    # --- the Planner --------------------------------------------------------------------------------------

    def _plan(self, local: int, newest: int) -> list[Outcome]:
        last = newest + 1 if self.config.unbounded else self.config.plans
        if newest >= last or self.config.lazy_appends:
            return []
        return [Outcome(local, newest + 1, self._labels.id("append: applied"))]

    # --- Enactors -----------------------------------------------------------------------------------------

    def _enact(self, process: int, enacting: Enacting, service: int) -> Iterator[Outcome]:
        call = self.call(enacting)
        if call.port == "plans":
            yield from self._read_plan(enacting, service)
        else:
            yield from self._at_zone(process, enacting, call, service)
        if Fault.CRASH in self.config.fault_kinds and self.config.faults:
            yield from self._crash(process, enacting, call, service)

    def _read_plan(self, enacting: Enacting, stands: int) -> Iterator[Outcome]:
        last = self.config.plans if self.config.lazy_appends else stands
        if self.config.unbounded and self.config.lazy_appends:
            last = stands + 1  # those that nobody reads matter to nobody
        read = self.config.plans_read or range(last + 1)
        for newest in range(stands, last + 1):
            if newest not in read and newest != stands:
                continue
            at = self.stages[enacting.stage].automaton.after(enacting.at, PLAN if newest else None)
            label = self._labels.id(f"newest: {newest or 'none'}")
            for settled in self._settled(replace(enacting, at=at, plan=newest)):
                yield Outcome(self._locals.id(settled), newest, label)

    def _asking(self, process: int, enacting: Enacting, call: Call, now_ms: int = 0) -> Asking:
        """The call with what its symbols stand for."""
        writer = _pid(process) if self._names_matter else ANYONE
        node = enacting.nodes[0] if enacting.nodes else ""
        return Asking(
            Hand(writer, enacting.ticket, now_ms), call.method, call.args[1:], enacting.plan, node, enacting.replies
        )

    def _at_zone(self, process: int, enacting: Enacting, call: Call, zone: int) -> Iterator[Outcome]:
        ways = self.zone_steps.ways(self._asking(process, enacting, call), zone)
        # A lock that another holds may have expired by now, or not: time is whatever it likes to be.
        if call.method == "look" and self.config.lock_expires and holds_text(self._zones[zone], _PID):
            later = self.zone_steps.ways(self._asking(process, enacting, call, 2 * LOCK_EXPIRY_MS), zone)
            ways = tuple(dict.fromkeys((*ways, *later)))
        for way in ways:
            yield from self._went(enacting, call, way)

    def _went(self, enacting: Enacting, call: Call, way: Way) -> Iterator[Outcome]:
        follows = replace(enacting, ticket=way.ticket if way.is_over else enacting.ticket, replies=way.replies)
        if way.is_over:
            follows = replace(follows, at=self.stages[enacting.stage].automaton.after(enacting.at, way.reply))
        sends, label = self._send(call, way.sends), self._labels.id(way.label)
        for settled in self._settled(follows):
            yield Outcome(self._locals.id(settled), way.zone, label, way.stales, sends, way.faults, way.breaks)

    def _breaks(self, before: ZoneState, after: ZoneState) -> int:
        if after == before:
            return 0
        bits = 0
        for bit, each in enumerate(self.properties.always):
            holds = (each.of_state is None or each.of_state(after)) and (
                each.of_step is None or each.of_step(before, after)
            )
            bits |= 0 if holds else 1 << bit
        return bits

    def _exchanged(self, order: Sequence[int]) -> tuple[tuple[str, str], ...]:
        first = self.shape.alike[0]
        away = tuple((_pid(first + old), f"pid-{new}") for new, old in enumerate(order))
        return (*away, *((f"pid-{new}", _pid(first + new)) for new in range(len(order))))

    # --- faults -------------------------------------------------------------------------------------------

    def _send(self, call: Call, transaction: Transaction | None) -> int:
        if transaction is None:
            return EMPTY_SLOT
        return self._locals.id(Travelling(self._endpoint_of(call), transaction, call.method))

    def _crash(self, process: int, enacting: Enacting, call: Call, service: int) -> Iterator[Outcome]:
        """The Enactor starts anew with nothing; its write, if it was about to make one, is under way."""
        if enacting == self._locals[self._enacting]:
            return
        label = self._labels.id(f"crash before {call.method}")
        yield Outcome(self._enacting, service, label, faults=1)
        if call.port != "zone":
            return
        talk = self._talk(self._asking(process, enacting, call))
        if talk.asked is not None and is_write(talk.asked):
            sends = self._send(call, self.zone_steps.sent(talk.asked))
            if sends != EMPTY_SLOT:
                label = self._labels.id(f"crash during {call.method}")
                yield Outcome(self._enacting, service, label, sends=sends, faults=1)

    def _talk(self, asking: Asking, *replies: Any) -> Talk:
        return self.zone_steps.talk(replace(asking, replies=(*asking.replies, *replies)))

    def _land(self, travelling: Travelling, service: int) -> Outcome:
        zone, stales, breaks, how = self.zone_steps.land(travelling.transaction, service)
        label = self._labels.id(f"late {travelling.what}: {how}")
        return Outcome(EMPTY_SLOT, zone, label, stales, breaks=breaks)

    # --- local states in their least form -------------------------------------------------------------------

    def _only(self, enacting: Enacting) -> Enacting:
        settled = self._settled(enacting)
        if len(settled) != 1:
            raise InternalError(f"what follows a refusal is not one state: {settled}")
        return settled[0]

    def _settled(self, enacting: Enacting) -> list[Enacting]:
        """Carried on over all that needs no other: sleeps, ends of stages, writes that are certain to be refused.

        More than one state where the Enactor's driver has a choice.
        """
        also: list[Enacting] = []
        while True:
            stage = self.stages[enacting.stage]
            if is_over(stage, enacting.at):
                is_contended = result_of(stage, enacting.at) is Enacted.CONTENDED
                if stage.may_restart and is_contended:
                    enacting = Enacting(0, 0)
                elif stage.retries and is_contended:
                    enacting = Enacting(enacting.stage, 0, enacting.plan)
                else:
                    also += [Enacting(0, 0)] if stage.may_restart else []
                    enacting = self._next_stage(enacting, stage)
                continue
            call = self.call(enacting)
            if call.port == "clock":
                enacting = replace(enacting, at=stage.automaton.after(enacting.at, None))
                continue
            folded = self._folded(enacting, call) if self.config.fold_hopeless else None
            if folded is None:
                told = forgets_what_is_gone(enacting) if self.config.unbounded else enacting
                return list(dict.fromkeys([told, *also]))
            enacting = folded

    def _next_stage(self, enacting: Enacting, stage: Stage) -> Enacting:
        """What was read is forgotten with the stage (program.py says why that is sound)."""
        result = result_of(stage, enacting.at)
        number, nodes = enacting.stage + 1, enacting.nodes
        if stage.must_return and result is None:
            return Enacting(0, 0)
        if stage.each_node:
            nodes = nodes[1:]
            number = enacting.stage if nodes else number
        elif number < len(self.stages) and self.stages[number].each_node:
            nodes = tuple(result or ())
            number = number if nodes else number + 1
        if number >= len(self.stages):
            return Enacting(0, 0)
        return Enacting(number, 0, 0 if stage.drops_plan else enacting.plan, nodes=nodes)

    def _folded(self, enacting: Enacting, call: Call) -> Enacting | None:
        """After a refusal that is certain; None where nothing is certain, or where losing its reply would matter."""
        if enacting.ticket is None or call.port != "zone" or not _holds(enacting.ticket, GONE):
            return None
        asking = self._asking(PLANNER, enacting, call)
        talk = self._talk(asking)
        if talk.asked is None or not is_write(talk.asked) or not is_hopeless(talk.asked.args[0]):
            return None
        refused = self._refused(enacting, asking, Commit.REFUSED)
        if self.config.faults and refused != self._refused(enacting, asking, Commit.UNKNOWN):
            return None
        return refused

    def _refused(self, enacting: Enacting, asking: Asking, commit: Commit) -> Enacting | None:
        talk = self._talk(asking, commit)
        if talk.asked is not None:
            return None
        at = self.stages[enacting.stage].automaton.after(enacting.at, talk.reply)
        return replace(enacting, at=at, ticket=talk.ticket, replies=())


def _holds(value: Any, text: str) -> bool:
    return text in repr(value)


_PID = "pid"


def _pid(process: int) -> str:
    return f"{_PID}{process}"
