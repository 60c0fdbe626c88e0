"""Anybody's workflows over anybody's services, as a model: `evenkeel.check` as a library of its own.

A process is an `async def` that is given `Ports` and awaits nothing but methods of these. A service is a pure function
from its state and a call to every way in which the call can end: no way means that the caller waits, several mean that
the world may choose (a network that loses, a lease that may have expired). States and replies are hashable values.

    explore(Protocol(processes, services, properties)) -> Space

Faults are steps too, where a protocol allows for them (`Protocol.faults`): a process crashes and starts anew, its call
perhaps still under way; a reply is lost, and its call has taken effect, or will at any later time, or never does.

docs/how-to/check-your-own-workflow.md goes through two-phase commit and a lock with leases and fencing tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evenkeel.check.automaton import Automaton, Replies, no_replies_known
from evenkeel.check.exchange import renamed
from evenkeel.check.model import EMPTY_SLOT, NO_SERVICE, Interner, Outcome, Properties, Shape
from evenkeel.check.replay import Call, Raised, Returned, Workflow, WorkflowFailed
from evenkeel.check.said import Event, How, Said
from evenkeel.check.search import Bounds, Search, Space, StopWhen, never
from evenkeel.check.trace import Taken, way_that_breaks, way_to
from evenkeel.model.errors import EvenkeelError, InputError, InternalError

UNDER_WAY = "network"  # who takes the steps of calls whose callers have given up on them


@dataclass(frozen=True, slots=True)
class Service:
    """`step(state, call)` gives every (state, reply) that the call can end with. `name` is the port's in workflows.

    `lost` is what a caller gets whose reply is lost (None: no reply ever is); calls of methods in `writes` may take
    effect when their callers have given up on them, or crashed.
    """

    name: str
    start: Hashable
    step: Callable[[Any, Call], Iterable[tuple[Hashable, Any]]]
    lost: Raised | None = None
    writes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Process:
    """`cycles`: run again when it returns. `replies`: all that a call can be replied, where that is known.

    `next_cycle`: the workflow of the next cycle, given what this one returned, which has to be hashable; after None it
    is `workflow` again. A process that `crashes` forgets that, and begins with `workflow`.
    """

    name: str
    workflow: Workflow
    cycles: bool = False
    replies: Replies = no_replies_known
    next_cycle: Callable[[Any], Workflow] | None = None
    crashes: bool = False


@dataclass(frozen=True, slots=True)
class Local:
    """A process's local state: a state of its automaton, and what the cycle before has left in its memory."""

    process: int
    at: int
    memory: Hashable = None


@dataclass(frozen=True, slots=True)
class Travelling:
    """A call that nobody waits for any more, and that may still take effect."""

    call: Call


@dataclass(slots=True)
class Protocol:
    """Implements `check.model.Model`.

    `alike`: names of processes, standing side by side, that are the same but for their names, which then have to
    stand in states, calls and replies as texts of their own ("rm-1"), none a part of another.

    `faults`: crashes and lost replies, at most so many in one run.
    """

    processes: Sequence[Process]
    services: Sequence[Service]
    properties: Properties = field(default_factory=Properties)
    alike: Sequence[str] = ()
    faults: int = 0
    shape: Shape = field(init=False)
    labels: list[str] = field(init=False)
    _automata: dict[tuple[int, Hashable], Automaton] = field(init=False)
    _locals: Interner[Local | Travelling | None] = field(init=False)
    _states: Interner[Any] = field(init=False)
    _said: Interner[tuple[str, Said]] = field(init=False)
    _by_port: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        names = [process.name for process in self.processes]
        first = names.index(self.alike[0]) if self.alike else 0
        if tuple(names[first : first + len(self.alike)]) != tuple(self.alike):
            raise InputError.one("alike", f"{list(self.alike)} do not stand side by side in {names}", "reorder them")
        self.shape = Shape(
            tuple(names),
            tuple(service.name for service in self.services),
            slots=self.faults if any(service.writes for service in self.services) else 0,
            alike=(first, first + len(self.alike)),
            faults_max=self.faults,
            nameless=0,
        )
        self._automata = {}
        self._locals = Interner([None], {None: EMPTY_SLOT})
        self._states, self._said, self.labels = Interner(), Interner(), []
        self._by_port = {service.name: number for number, service in enumerate(self.services)}

    # --- Model ------------------------------------------------------------------------------------------

    def start(self) -> tuple[list[int], list[int]]:
        local = [self._locals.id(Local(number, 0)) for number in range(len(self.processes))]
        return [*local, *[EMPTY_SLOT] * self.shape.slots], [self._states.id(service.start) for service in self.services]

    @property
    def runs(self) -> int:
        """Histories of workflows that were run so far."""
        return sum(automaton.runs for automaton in self._automata.values())

    def kind(self, process: int) -> int:
        return min(process, len(self.processes))

    def process_name(self, process: int) -> str:
        return self.processes[process].name if process < len(self.processes) else UNDER_WAY

    def said(self, label: int) -> Said:
        """What a label stands for."""
        return self._said[label][1]

    def _automaton(self, process: int, memory: Hashable) -> Automaton:
        known = self._automata.get((process, memory))
        if known is None:
            which = self.processes[process]
            workflow = which.workflow if memory is None or which.next_cycle is None else which.next_cycle(memory)
            known = self._automata[process, memory] = Automaton(workflow, which.replies)
        return known

    def _pending(self, local: int) -> Any:
        state = self._locals[local]
        if isinstance(state, Travelling):
            return state.call
        return None if state is None else self._automaton(state.process, state.memory).pending(state.at)

    def service_of(self, local: int) -> int:
        pending = self._pending(local)
        if not isinstance(pending, Call):
            return NO_SERVICE
        number = self._by_port.get(pending.port)
        if number is None:
            raise InputError.one(str(pending), f"there is no service {pending.port!r}", f"one of {list(self._by_port)}")
        return number

    def reads(self, local: int) -> int:
        """What was read is a plain value here, and is never renamed."""
        return NO_SERVICE

    def stale(self, local: int, how: int) -> int:
        return local

    def step(self, process: int, local: int, service: int) -> Sequence[Outcome]:
        state, call = self._locals[local], self._pending(local)
        if state is None or not isinstance(call, Call):
            return ()
        before, serving = self._states[service], self.services[self._by_port[call.port]]
        is_late = isinstance(state, Travelling)
        outcomes = []
        for after, reply in serving.step(before, call):
            said = Said(How.LATE if is_late else How.REPLIED, call, reply)
            follows = EMPTY_SLOT if isinstance(state, Travelling) else self._after(state, reply)
            breaks = self._breaks(call.port, before, after)
            outcomes.append(Outcome(follows, self._states.id(after), self._label(said), breaks=breaks))
        if self.faults and isinstance(state, Local):
            outcomes += self._faults(state, call, serving, service)
        return outcomes

    def _faults(self, state: Local, call: Call, serving: Service, service: int) -> Iterable[Outcome]:
        """A lost reply and a crash. A write is then under way: taking effect at once is one of its ways to go on."""
        travels = self._locals.id(Travelling(call)) if call.method in serving.writes else EMPTY_SLOT
        is_sent = travels != EMPTY_SLOT
        if serving.lost is not None:
            label = self._label(Said(How.LOST, call, None, is_sent))
            yield Outcome(self._after(state, serving.lost), service, label, sends=travels, faults=1)
        if not self.processes[state.process].crashes:
            return
        anew = self._locals.id(Local(state.process, 0))
        if state.at or state.memory is not None:
            yield Outcome(anew, service, self._label(Said(How.CRASHED, call)), faults=1)
        if is_sent:
            yield Outcome(anew, service, self._label(Said(How.CRASHED, call, None, True)), sends=travels, faults=1)

    def _label(self, said: Said) -> int:
        text = str(said)
        label = self._said.id((text, said))
        if label == len(self.labels):
            self.labels.append(text)
        return label

    def _after(self, state: Local, reply: Any) -> int:
        """The local state once `reply` has come: the next cycle's first, where this one has returned."""
        process, automaton = self.processes[state.process], self._automaton(state.process, state.memory)
        at = automaton.after(state.at, reply)
        pending = automaton.pending(at)
        if isinstance(pending, Raised) and not isinstance(pending.error, EvenkeelError):
            raise WorkflowFailed(f"{process.name}: {pending.error!r}") from pending.error
        if isinstance(pending, Returned) and process.next_cycle is not None:
            return self._locals.id(Local(state.process, 0, pending.result))
        if process.cycles and not isinstance(pending, Call):
            return self._locals.id(Local(state.process, 0))
        return self._locals.id(Local(state.process, at, state.memory))

    def _breaks(self, service: str, before: Any, after: Any) -> int:
        bits = 0
        for bit, each in enumerate(self.properties.always):
            if each.services and service not in each.services:
                continue
            holds = (each.of_state is None or each.of_state(after)) and (
                each.of_step is None or each.of_step(before, after)
            )
            bits |= 0 if holds else 1 << bit
        return bits

    def has_names(self) -> bool:
        return bool(self.alike)

    def ordered(self) -> None:
        """Numbers in states are what they are."""

    def _renaming(self, order: Sequence[int]) -> tuple[tuple[str, str], ...]:
        away = tuple((self.alike[old], f"\0{new}\0") for new, old in enumerate(order))
        return (*away, *((f"\0{new}\0", self.alike[new]) for new in range(len(order))))

    def exchange(self, order: Sequence[int], local: int) -> int:
        state = self._locals[local]
        if state is None or not self.alike:
            return local
        first, names = self.shape.alike[0], self._renaming(order)
        if isinstance(state, Travelling):
            return self._locals.id(Travelling(renamed(state.call, names)))
        process, memory, at = state.process, renamed(state.memory, names), 0
        if first <= process < self.shape.alike[1]:
            process = first + list(order).index(process - first)
        automaton = self._automaton(process, memory)
        for reply in self._automaton(state.process, state.memory).history(state.at):
            at = automaton.after(at, renamed(reply, names))
        return self._locals.id(Local(process, at, memory))

    def exchange_service(self, order: Sequence[int], service: int) -> int:
        return self._states.id(renamed(self._states[service], self._renaming(order)))

    def service_state(self, service: int, state: int) -> Any:
        return self._states[state]

    def result(self, process: int, local: int) -> tuple[bool, Any]:
        """What the process has returned; of one that goes on with it (`next_cycle`), what its last cycle did."""
        state = self._locals[local]
        if isinstance(state, Local) and state.memory is not None:
            return True, state.memory
        pending = self._pending(local)
        return isinstance(pending, Returned), getattr(pending, "result", None)

    def local_text(self, process: int, local: int) -> str:
        return str(self._pending(local))


def explore(
    protocol: Protocol, *, bounds: Bounds | None = None, stop_when: StopWhen = never, symmetric: bool = True
) -> Space:
    """Every reachable state, within bounds. `Space.broken` and `Space.together` say what does not hold."""
    return Search(protocol, symmetric=symmetric and bool(protocol.alike), bounds=bounds, stop_when=stop_when).run()


def counterexample(space: Space, name: str) -> list[Event] | None:
    """A shortest trace that breaks the property of that name; None where it is not broken."""
    protocol, properties = _protocol_of(space), space.model.properties
    for bit, each in enumerate(properties.always):
        if each.name == name and bit in space.broken:
            return events(protocol, way_that_breaks(space, space.broken[bit]))
    for number, together in enumerate(properties.together):
        if together.name == name and number in space.together:
            return events(protocol, way_to(space, space.together[number]))
    return None


def _protocol_of(space: Space) -> Protocol:
    if not isinstance(space.model, Protocol):
        raise InternalError(f"a space of {type(space.model).__name__}, not of a protocol")
    return space.model


def events(protocol: Protocol, way: Sequence[Taken]) -> list[Event]:
    """The steps as people read them."""
    told = []
    for step in way:
        services = protocol.shape.services
        state = {name: protocol.service_state(k, step.after.services[k]) for k, name in enumerate(services)}
        for process, name in enumerate(protocol.shape.processes):
            has_returned, result = protocol.result(process, step.after.locals[process])
            state |= {name: result} if has_returned else {}
        said = protocol.said(step.outcome.label)
        always = protocol.properties.always
        breaks = tuple(each.name for bit, each in enumerate(always) if step.outcome.breaks >> bit & 1)
        told.append(Event(protocol.process_name(step.process), services[step.service], said, state, breaks))
    return told
