"""Anybody's workflows over anybody's services, as a model: `evenkeel.check` as a library of its own.

A process is an `async def` that is given `Ports` and awaits nothing but methods of these. A service is a pure function
from its state and a call to every way in which the call can end: no way means that the caller waits, several mean that
the world may choose (a network that loses, a lease that may have expired). States and replies are hashable values.

    explore(Protocol(processes, services, properties)) -> Space

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
from evenkeel.check.search import Bounds, Search, Space, StopWhen, never
from evenkeel.check.trace import Taken, way_that_breaks, way_to
from evenkeel.model.errors import EvenkeelError, InputError


@dataclass(frozen=True, slots=True)
class Service:
    """`step(state, call)` gives every (state, reply) that the call can end with. `name` is the port's in workflows."""

    name: str
    start: Hashable
    step: Callable[[Any, Call], Iterable[tuple[Hashable, Any]]]


@dataclass(frozen=True, slots=True)
class Process:
    """`cycles`: run again when it returns. `replies`: all that a call can be replied, where that is known."""

    name: str
    workflow: Workflow
    cycles: bool = False
    replies: Replies = no_replies_known


@dataclass(frozen=True, slots=True)
class Local:
    """A process's local state: a state of its automaton."""

    process: int
    at: int


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a trace, for people."""

    process: str
    call: str
    reply: str
    state: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.process}: {self.call} -> {self.reply}"


@dataclass(slots=True)
class Protocol:
    """Implements `check.model.Model`.

    `alike`: names of processes, standing side by side, that are the same but for their names, which then have to
    stand in states, calls and replies as texts of their own ("rm-1"), none a part of another.
    """

    processes: Sequence[Process]
    services: Sequence[Service]
    properties: Properties = field(default_factory=Properties)
    alike: Sequence[str] = ()
    shape: Shape = field(init=False)
    labels: list[str] = field(init=False)
    _automata: list[Automaton] = field(init=False)
    _locals: Interner[Local | None] = field(init=False)
    _states: Interner[Any] = field(init=False)
    _labels: Interner[str] = field(init=False)
    _by_port: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        names = [process.name for process in self.processes]
        first = names.index(self.alike[0]) if self.alike else 0
        if tuple(names[first : first + len(self.alike)]) != tuple(self.alike):
            raise InputError.one("alike", f"{list(self.alike)} do not stand side by side in {names}", "reorder them")
        self.shape = Shape(
            tuple(names),
            tuple(service.name for service in self.services),
            alike=(first, first + len(self.alike)),
            nameless=0,
        )
        self._automata = [Automaton(process.workflow, process.replies) for process in self.processes]
        self._locals = Interner([None], {None: EMPTY_SLOT})
        self._states, self._labels = Interner(), Interner()
        self.labels = self._labels.values
        self._by_port = {service.name: number for number, service in enumerate(self.services)}

    # --- Model ------------------------------------------------------------------------------------------

    def start(self) -> tuple[list[int], list[int]]:
        local = [self._locals.id(Local(number, 0)) for number in range(len(self.processes))]
        return local, [self._states.id(service.start) for service in self.services]

    def kind(self, process: int) -> int:
        return process

    def _pending(self, local: int) -> Any:
        state = self._locals[local]
        return None if state is None else self._automata[state.process].pending(state.at)

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
        before = self._states[service]
        outcomes = []
        for after, reply in self.services[self._by_port[call.port]].step(before, call):
            follows = self._ended(process, self._automata[process].after(state.at, reply))
            outcomes.append(
                Outcome(
                    self._locals.id(Local(process, follows)),
                    self._states.id(after),
                    self._labels.id(f"{call} -> {reply}"),
                    breaks=self._breaks(call.port, before, after),
                )
            )
        return outcomes

    def _ended(self, process: int, at: int) -> int:
        """The start again, where a process in cycles has returned."""
        pending = self._automata[process].pending(at)
        if isinstance(pending, Raised) and not isinstance(pending.error, EvenkeelError):
            raise WorkflowFailed(f"{self.processes[process].name}: {pending.error!r}") from pending.error
        return 0 if self.processes[process].cycles and not isinstance(pending, Call) else at

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
        first = self.shape.alike[0]
        names, process = self._renaming(order), state.process
        if first <= process < self.shape.alike[1]:
            process = first + list(order).index(process - first)
        at = 0
        for reply in self._automata[state.process].history(state.at):
            at = self._automata[process].after(at, renamed(reply, names))
        return self._locals.id(Local(process, at))

    def exchange_service(self, order: Sequence[int], service: int) -> int:
        return self._states.id(renamed(self._states[service], self._renaming(order)))

    def service_state(self, service: int, state: int) -> Any:
        return self._states[state]

    def result(self, process: int, local: int) -> tuple[bool, Any]:
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
    properties = space.model.properties
    for bit, each in enumerate(properties.always):
        if each.name == name and bit in space.broken:
            return _events(space, way_that_breaks(space, space.broken[bit]))
    for number, together in enumerate(properties.together):
        if together.name == name and number in space.together:
            return _events(space, way_to(space, space.together[number]))
    return None


def _events(space: Space, steps: Sequence[Taken]) -> list[Event]:
    model, events = space.model, []
    for step in steps:
        call, _, reply = model.labels[step.outcome.label].partition(" -> ")
        state = {
            name: model.service_state(number, step.after.services[number])
            for number, name in enumerate(model.shape.services)
        }
        events.append(Event(model.shape.processes[step.process], call, reply, state))
    return events
