"""The way from the start to a state, as steps of processes that keep their names throughout.

The search keeps, for every state, the one it was first reached from and the step taken: a shortest way. Under symmetry
those states have their processes exchanged as it suits; here the exchanges are undone, step by step, and every step is
taken again on the model itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evenkeel.check import kernel
from evenkeel.check.model import EMPTY_SLOT, Model, Outcome
from evenkeel.check.search import Found, Space
from evenkeel.model.errors import InternalError


@dataclass(frozen=True, slots=True)
class Global:
    """A global state by ids: a local state a process and slot, a state a service, faults used."""

    locals: tuple[int, ...]
    services: tuple[int, ...]
    faults: int = 0

    def row(self) -> list[int]:
        return [*self.locals, *self.services, self.faults]


@dataclass(frozen=True, slots=True)
class Taken:
    """One step of a trace: who took it, which of its outcomes, and the states before and after."""

    process: int
    service: int
    outcome: Outcome
    before: Global
    after: Global


def way_to(space: Space, state: int) -> list[Taken]:
    """The steps of a shortest way to a state."""
    chain: list[int] = []
    while state > 0:
        chain.append(state)
        state = int(space.parent[state])
    here = _start(space)
    steps: list[Taken] = []
    for follows in reversed(chain):
        step = _step_to(space, here, int(space.via_process[follows]), int(space.via_outcome[follows]), follows)
        steps.append(step)
        here = step.after
    return steps


def way_that_breaks(space: Space, found: Found) -> list[Taken]:
    """A shortest way that ends with a step that breaks a property."""
    steps = way_to(space, found.state)
    here = steps[-1].after if steps else _start(space)
    breaks = int(space.tables.breaks.array[found.outcome, 0])
    for step in _steps_of(space, here):
        if step.outcome.breaks == breaks and _label(space, step.outcome.label) == _label_of(space, found.outcome):
            return [*steps, step]
    raise InternalError("a step that broke a property cannot be taken again")


def _start(space: Space) -> Global:
    local, service = space.model.start()
    return Global(tuple(local), tuple(service))


def _label(space: Space, label: int) -> str:
    """What a step is called, whoever takes it: names of processes that are alike, and exchanged, are one."""
    first, last = space.model.shape.alike
    text = space.model.labels[label]
    for name in space.model.shape.processes[first:last]:
        text = text.replace(name, "*")
    return text


def _label_of(space: Space, outcome: int) -> str:
    return _label(space, int(space.tables.outcomes.array[outcome, kernel.LABEL]))


def _steps_of(space: Space, here: Global) -> Iterator[Taken]:
    """Every step that can be taken, processes in their order."""
    model = space.model
    for process, local in enumerate(here.locals):
        service = model.service_of(local) if local != EMPTY_SLOT else -1
        if service < 0:
            continue
        for outcome in model.step(process, local, here.services[service]):
            after = apply(model, here, process, service, outcome)
            if after is not None:
                yield Taken(process, service, outcome, here, after)


def apply(model: Model, here: Global, process: int, service: int, outcome: Outcome) -> Global | None:
    """The state after an outcome; None where faults or slots have run out. The same as `kernel.follow`."""
    shape = model.shape
    if here.faults + outcome.faults > shape.faults_max:
        return None
    locals_, services = list(here.locals), list(here.services)
    locals_[process] = outcome.local
    services[service] = outcome.service
    if outcome.stales:
        for other, local in enumerate(locals_):
            if other != process and local != EMPTY_SLOT and model.reads(local) == service:
                locals_[other] = model.stale(local, outcome.stales)
    if outcome.sends != EMPTY_SLOT:
        free = [slot for slot in range(len(shape.processes), shape.locals) if locals_[slot] == EMPTY_SLOT]
        if not free:
            return None
        locals_[free[0]] = outcome.sends
    return Global(tuple(locals_), tuple(services), here.faults + outcome.faults)


def _step_to(space: Space, here: Global, process: int, outcome: int, follows: int) -> Taken:
    """The step from `here` whose state is like `follows`, preferably by the process that the search took it with."""
    wanted = tuple(space.fields(np.array([follows]))[0].tolist())
    label = _label_of(space, outcome)
    for step in _steps_of(space, here):
        if _label(space, step.outcome.label) == label and is_like(space, step.after, wanted):
            return step
    raise InternalError(f"no step of {space.model.shape.processes} leads on to state {follows} by {label!r}")


def is_like(space: Space, state: Global, wanted: Sequence[int]) -> bool:
    """Whether the search would have stored `state` as `wanted`."""
    return stored(space, state) == tuple(wanted)


def stored(space: Space, state: Global) -> tuple[int, ...]:
    """The row that the search would have stored `state` as."""
    tables = space.tables
    numbers = space.shape_numbers()
    tables.meet(state.locals, state.services)
    fields = np.array(state.row(), np.int64)
    trial, best = np.zeros_like(fields), np.zeros_like(fields)
    kernel.settle(
        fields, trial, best, numbers, tables.orders, tables.exchanged, tables.exchanged_service, tables.ranks.array,
        tables.service_ranks.array,
    )  # fmt: skip
    return tuple(map(int, fields))
