"""The DNS automation as a model: Planner, Enactors and clean-up over the plan store and one zone an endpoint.

Services: the plan store first, then each endpoint's part of the zone. Processes: the Planner, then the Enactors, then
the slots for requests that are still under way when their sender has given up on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from evenkeel.check.exchange import (
    ANYONE,
    ENDPOINT,
    FRESH,
    GONE,
    NOW,
    UNDER_WAY,
    ZONE,
    Asks,
    Hand,
    TicketText,
    ZoneCode,
    ZoneMaker,
    guarded_zone,
    holds_text,
    is_hopeless,
    is_write,
    plan_at,
    renamed,
    serve,
)
from evenkeel.check.model import EMPTY_SLOT, NO_SERVICE, Interner, Outcome, Properties, Shape
from evenkeel.check.program import (
    NODE,
    PLAN,
    Stage,
    Workflows,
    endpoint_name,
    is_over,
    result_of,
    runs_of,
    stages_of,
)
from evenkeel.check.replay import Call
from evenkeel.endpoints.guarded_zone import LOCK_EXPIRY_MS
from evenkeel.model.plan import Layout
from evenkeel.model.policy import SAFE, DnsPolicy, Lock
from evenkeel.model.transactions import Commit, Transaction
from evenkeel.twins.zone import ZoneState

STORE = 0  # service: the plan store
PLANNER = 0  # process
_WRITER_IN_FENCE = re.compile(r";w=[a-z0-9._-]+;")


class Step(StrEnum):
    """What is one step: a whole call of a port, or each of its exchanges with the server."""

    CALL = "call"
    EXCHANGE = "exchange"


class Fault(StrEnum):
    CRASH = "crash"  # restarts from nothing; a request that was under way may still arrive
    LOST_REPLY = "lost-reply"  # a write whose reply does not come: it has landed, will yet land, or never
    DUPLICATE = "duplicate"  # a retried write: the second copy is still under way


@dataclass(frozen=True, slots=True)
class Config:
    """What is explored: the region's automation in small. Every plan changes every endpoint."""

    policy: DnsPolicy = SAFE
    enactors: int = 3
    plans: int = 6
    endpoints: int = 3
    layout: Layout = Layout.TREE
    step: Step = Step.CALL
    faults: int = 0
    fault_kinds: frozenset[Fault] = frozenset(Fault)
    server_guard: bool = False  # the server's own never-empty guard, which only the embedded server has
    lock_expires: bool = True
    fold_hopeless: bool = True  # reduction: a write that is certain to be refused is refused at once
    merge_hopeless: bool = True  # reduction: of a ticket that is out of date only what can still matter is kept
    workflows: Workflows = field(default_factory=Workflows)
    zone_maker: ZoneMaker = guarded_zone
    nonce: str = FRESH


@dataclass(frozen=True, slots=True)
class Enacting:
    """An Enactor's local state: where it is in its cycle, the plan in hand, and what it has read."""

    stage: int
    at: int  # state of the stage's automaton
    plan: int = 0
    ticket: TicketText | None = None
    replies: tuple[Any, ...] = ()  # exchanges of the call under way
    nodes: tuple[str, ...] = ()  # spent nodes still to be looked at


@dataclass(frozen=True, slots=True)
class Planning:
    """The Planner: reads the newest generation and appends the next. One Planner does both in one step."""


@dataclass(frozen=True, slots=True)
class Travelling:
    """A write that is still under way to an endpoint."""

    endpoint: int
    transaction: Transaction
    what: str


Local = Enacting | Planning | Travelling | None


class Automation:
    """Implements `check.model.Model`."""

    def __init__(self, config: Config, properties: Properties) -> None:
        self.config = config
        self.properties = properties
        policy = config.policy
        self.stages = stages_of(policy, config.endpoints, config.workflows)
        self.code = ZoneCode(policy, config.zone_maker, config.nonce)
        self._names_matter = policy.lock is Lock.TXT_PER_ENDPOINT
        first, last = PLANNER + 1, PLANNER + 1 + config.enactors
        self.shape = Shape(
            processes=("planner", *(f"enactor-{letter}" for letter in "abcdefgh"[: config.enactors])),
            services=("plan-store", *(endpoint_name(index) for index in range(config.endpoints))),
            slots=config.faults,
            alike=(first, last),
            faults_max=config.faults,
        )
        self._locals: Interner[Local] = Interner([None], {None: EMPTY_SLOT})
        self._zones: Interner[ZoneState] = Interner()
        self._labels: Interner[str] = Interner()
        self._stale: dict[int, int] = {}
        self._planning = self._locals.id(Planning())
        self._enacting = self._locals.id(self._settled(Enacting(0, 0)))
        self._empty_zone = self._zones.id(ZoneState.of(ZONE, (), config.server_guard))

    # --- Model ------------------------------------------------------------------------------------------

    @property
    def labels(self) -> list[str]:
        return self._labels.values

    def start(self) -> tuple[list[int], list[int]]:
        local = [self._planning, *[self._enacting] * self.config.enactors, *[EMPTY_SLOT] * self.shape.slots]
        return local, [0, *[self._empty_zone] * self.config.endpoints]

    def kind(self, process: int) -> int:
        if process == PLANNER or process >= len(self.shape.processes):
            return min(process, len(self.shape.processes))
        return process if self._names_matter else PLANNER + 1

    def service_of(self, local: int) -> int:
        match self._locals[local]:
            case Planning():
                return STORE
            case Travelling(endpoint, _, _):
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

    def stale(self, local: int) -> int:
        known = self._stale.get(local)
        if known is None:
            state = self._locals[local]
            out_of_date = renamed(state, ((NOW, GONE),))
            if isinstance(out_of_date, Travelling) and is_hopeless(out_of_date.transaction):
                out_of_date = None
            elif isinstance(out_of_date, Enacting):
                out_of_date = self._settled(out_of_date)
            known = self._stale[local] = self._locals.id(out_of_date)
        return known

    def step(self, process: int, local: int, service: int) -> Sequence[Outcome]:
        match self._locals[local]:
            case Planning():
                return self._plan(local, service)
            case Travelling() as travelling:
                return [self._land(travelling, self._zones[service])]
            case Enacting() as enacting:
                return list(self._enact(process, enacting, service))
        return ()

    def has_names(self) -> bool:
        return self._names_matter

    def exchange(self, order: Sequence[int], local: int) -> int:
        return self._locals.id(renamed(self._locals[local], self._exchanged(order)))

    def exchange_service(self, order: Sequence[int], service: int) -> int:
        return self._zones.id(renamed(self._zones[service], self._exchanged(order)))

    def service_state(self, service: int, state: int) -> Any:
        return state if service == STORE else self._zones[state]

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
        return runs_of(self.stages) + self.code.runs

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
        if newest >= self.config.plans:
            return []
        return [Outcome(local, newest + 1, self._labels.id("append: applied"))]

    # --- Enactors -----------------------------------------------------------------------------------------

    def _enact(self, process: int, enacting: Enacting, service: int) -> Iterator[Outcome]:
        call = self.call(enacting)
        if call.port == "plans":
            reply = PLAN if service else None
            yield self._outcome(replace(enacting, plan=service), reply, service, f"{call.method}: {service or 'none'}")
        else:
            yield from self._at_zone(process, enacting, call, self._zones[service])
        if self.config.faults and Fault.CRASH in self.config.fault_kinds:
            yield from self._crash(process, enacting, call, service)

    def _at_zone(self, process: int, enacting: Enacting, call: Call, zone: ZoneState) -> Iterator[Outcome]:
        hours = [0]
        if self._names_matter and self.config.lock_expires and call.method == "look":
            hours.append(2 * LOCK_EXPIRY_MS)
        seen = set()
        for now_ms in hours:
            for outcome in self._at_zone_at(process, enacting, call, zone, now_ms):
                if outcome not in seen:
                    seen.add(outcome)
                    yield outcome

    def _at_zone_at(
        self, process: int, enacting: Enacting, call: Call, zone: ZoneState, now_ms: int
    ) -> Iterator[Outcome]:
        """The call's next exchange, or all that are left of it; and what may go wrong with a write."""
        hand = Hand(self._writer(process), enacting.ticket, now_ms)
        args = self._arguments(enacting, call)
        state, replies = zone, enacting.replies
        run = self.code.run(hand, call.method, args, replies)
        while isinstance(run, Asks):
            asked = run.call
            if is_write(asked):
                yield from self._lost(hand, enacting, call, args, replies, asked, zone)
            state, reply = serve(state, asked)
            replies = (*replies, reply)
            run = self.code.run(hand, call.method, args, replies)
            if is_write(asked) and state != zone:
                yield from self._twice(enacting, call, run, asked, zone, state)
            if isinstance(run, Asks) and self.config.step is Step.EXCHANGE and asked.method != "frozen":
                waiting = replace(enacting, replies=replies)
                yield self._moved(waiting, zone, state, f"{call.method}: {asked.method}")
                return
        yield self._replied(enacting, call, run, zone, state)

    def _replied(self, enacting: Enacting, call: Call, run: Any, before: ZoneState, after: ZoneState) -> Outcome:
        follows = replace(enacting, ticket=run.ticket, replies=())
        return self._moved(follows, before, after, f"{call.method}: {_word(run.reply)}", (run.reply,))

    def _moved(
        self,
        enacting: Enacting,
        before: ZoneState,
        after: ZoneState,
        label: str,
        reply: tuple[Any, ...] = (),
        sends: int = EMPTY_SLOT,
        faults: int = 0,
    ) -> Outcome:
        """The step to `enacting`, with nonces renamed and, where the call is over, its reply taken."""
        after, stales, names = self._renaming(before, after)
        enacting = renamed(enacting, names)
        if reply:
            enacting = replace(enacting, at=self.stages[enacting.stage].automaton.after(enacting.at, reply[0]))
        return Outcome(
            self._locals.id(self._settled(enacting)),
            self._zones.id(after),
            self._labels.id(label),
            stales,
            sends,
            faults,
            self._breaks(before, after),
        )

    def _renaming(self, before: ZoneState, after: ZoneState) -> tuple[ZoneState, bool, tuple[tuple[str, str], ...]]:
        """The zone after a step as it is kept, whether what others read is out of date, and what is renamed in hands."""
        if after == before:
            return after, False, ()
        fresh = FRESH if holds_text(after, FRESH) else UNDER_WAY if holds_text(after, UNDER_WAY) else ""
        stales = bool(fresh) or (holds_text(before, NOW) and not holds_text(after, NOW))
        names = ((NOW, GONE), (fresh, NOW)) if fresh else ((NOW, GONE),) if stales else ()
        after = renamed(after, names)
        return self._without_writers(after), stales, names

    def _without_writers(self, zone: ZoneState) -> ZoneState:
        """Who wrote a fence decides nothing: its nonce tells every write from every other."""
        if not self._names_matter:
            return zone  # they all sign alike then
        written = {found for each in zone.rrsets() for rdata in each.rdatas for found in _WRITER_IN_FENCE.findall(rdata)}
        names = tuple((found, f";w={ANYONE};") for found in sorted(written))
        return renamed(zone, names) if names else zone

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

    def _outcome(self, enacting: Enacting, reply: Any, service: int, label: str) -> Outcome:
        follows = replace(enacting, at=self.stages[enacting.stage].automaton.after(enacting.at, reply))
        return Outcome(self._locals.id(self._settled(follows)), service, self._labels.id(label))

    def _exchanged(self, order: Sequence[int]) -> tuple[tuple[str, str], ...]:
        first = self.shape.alike[0]
        away = tuple((_pid(first + old), f"pid-{new}") for new, old in enumerate(order))
        return (*away, *((f"pid-{new}", _pid(first + new)) for new in range(len(order))))

    def _writer(self, process: int) -> str:
        return _pid(process) if self._names_matter else ANYONE

    def _arguments(self, enacting: Enacting, call: Call) -> tuple[Any, ...]:
        """The call's arguments with the endpoint, plan and node that they stand for."""
        plan = plan_at(enacting.plan, self.config.layout)
        stands_for = {PLAN: plan, NODE: enacting.nodes[0] if enacting.nodes else ""}
        return (ENDPOINT, *(stands_for.get(arg, arg) for arg in call.args[1:]))

    # --- faults -------------------------------------------------------------------------------------------

    def _send(self, call: Call, asked: Call, names: tuple[tuple[str, str], ...] = ()) -> int:
        """The write as it is kept under way, with a nonce of its own; empty where it is certain to be refused."""
        (transaction,) = asked.args
        transaction = renamed(transaction, (*names, (FRESH, UNDER_WAY)))
        if self.config.fold_hopeless and is_hopeless(transaction):
            return EMPTY_SLOT
        return self._locals.id(Travelling(self._endpoint_of(call), transaction, call.method))

    def _lost(
        self,
        hand: Hand,
        enacting: Enacting,
        call: Call,
        args: tuple[Any, ...],
        replies: tuple[Any, ...],
        asked: Call,
        zone: ZoneState,
    ) -> Iterator[Outcome]:
        """The write's reply does not come: it is under way for as long as one likes, and may land at any time."""
        if not self.config.faults or Fault.LOST_REPLY not in self.config.fault_kinds:
            return
        run = self.code.run(hand, call.method, args, (*replies, Commit.UNKNOWN))
        if isinstance(run, Asks):
            return
        sends = self._send(call, asked)
        follows = renamed(replace(enacting, ticket=run.ticket, replies=()), ((FRESH, GONE),))
        yield self._moved(follows, zone, zone, f"{call.method}: reply lost", (run.reply,), sends, 1)

    def _twice(
        self, enacting: Enacting, call: Call, run: Any, asked: Call, before: ZoneState, after: ZoneState
    ) -> Iterator[Outcome]:
        """The write was sent twice, and its second copy is still under way."""
        if not self.config.faults or Fault.DUPLICATE not in self.config.fault_kinds or isinstance(run, Asks):
            return
        _, _, names = self._renaming(before, after)
        sends = self._send(call, asked, tuple(pair for pair in names if pair[0] == NOW))
        if sends != EMPTY_SLOT:
            follows = replace(enacting, ticket=run.ticket, replies=())
            yield self._moved(follows, before, after, f"{call.method}: sent twice", (run.reply,), sends, 1)

    def _crash(self, process: int, enacting: Enacting, call: Call, service: int) -> Iterator[Outcome]:
        """The Enactor starts anew with nothing; its write, if it was about to make one, is under way."""
        if enacting == self._locals[self._enacting]:
            return
        label = self._labels.id(f"crash before {call.method}")
        yield Outcome(self._enacting, service, label, faults=1)
        if call.port != "zone":
            return
        hand = Hand(self._writer(process), enacting.ticket)
        run = self.code.run(hand, call.method, self._arguments(enacting, call), enacting.replies)
        if isinstance(run, Asks) and is_write(run.call):
            sends = self._send(call, run.call)
            if sends != EMPTY_SLOT:
                label = self._labels.id(f"crash during {call.method}")
                yield Outcome(self._enacting, service, label, sends=sends, faults=1)

    def _land(self, travelling: Travelling, zone: ZoneState) -> Outcome:
        state, reply = serve(zone, Call("server", "commit", (travelling.transaction,)))
        after, stales, _ = self._renaming(zone, state)
        label = self._labels.id(f"late {travelling.what}: {_word(reply)}")
        return Outcome(EMPTY_SLOT, self._zones.id(after), label, stales, breaks=self._breaks(zone, after))

    # --- local states in their least form -------------------------------------------------------------------

    def _settled(self, enacting: Enacting) -> Enacting:
        """Carried on over all that needs no other: sleeps, ends of stages, writes that are certain to be refused."""
        while True:
            stage = self.stages[enacting.stage]
            if is_over(stage, enacting.at):
                enacting = self._next_stage(enacting, stage)
                continue
            call = self.call(enacting)
            if call.port == "clock":
                enacting = replace(enacting, at=stage.automaton.after(enacting.at, None))
                continue
            folded = self._folded(enacting, call) if self.config.fold_hopeless else None
            if folded is None:
                return enacting
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
        hand = Hand(ANYONE, enacting.ticket)
        args = self._arguments(enacting, call)
        run = self.code.run(hand, call.method, args, enacting.replies)
        if not isinstance(run, Asks) or not is_write(run.call) or not is_hopeless(run.call.args[0]):
            return None
        refused = self._refused(hand, enacting, call, args, Commit.REFUSED)
        if self.config.faults and refused != self._refused(hand, enacting, call, args, Commit.UNKNOWN):
            return None
        return refused

    def _refused(
        self, hand: Hand, enacting: Enacting, call: Call, args: tuple[Any, ...], commit: Commit
    ) -> Enacting | None:
        run = self.code.run(hand, call.method, args, (*enacting.replies, commit))
        if isinstance(run, Asks):
            return None
        at = self.stages[enacting.stage].automaton.after(enacting.at, run.reply)
        return replace(enacting, at=at, ticket=run.ticket, replies=())


def _holds(value: Any, text: str) -> bool:
    return text in repr(value)


def _pid(process: int) -> str:
    return f"pid{process}"


def _word(reply: Any) -> str:
    return getattr(reply, "name", str(reply)).lower()
