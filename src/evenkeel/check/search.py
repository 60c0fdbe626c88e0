"""Breadth first over all global states, level by level, until the space is exhausted or a bound is met.

Breadth first, so that the first step found to break a property ends a shortest trace. A verdict past a bound is never
"holds": `Space.complete` says whether every reachable state was expanded.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenkeel.check import kernel, vectors
from evenkeel.check.model import Interner, Model
from evenkeel.check.packing import Int64s, Packing
from evenkeel.check.tables import Tables
from evenkeel.model.errors import InternalError

PROPERTIES_MAX = 60
CHUNK = 1 << 16  # states expanded between two looks at bounds and progress
FIRST_CAPACITY = 1 << 14
PROGRESS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a search gives up. Memory is of the search's own arrays, in octets."""

    states_max: int = 200_000_000
    memory_max: int = 8 << 30
    seconds_max: float = float("inf")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search has got."""

    states: int
    waiting: int
    depth: int
    seconds: float
    memory: int
    runs_missed: int


@dataclass(slots=True)
class Found:
    """A property that a step breaks: the state before it, who takes it, by which outcome."""

    state: int
    process: int
    outcome: int


@dataclass(slots=True)
class Space:
    """What a search has found, and the arrays that traces and recovery read."""

    model: Model
    tables: Tables
    packing: Packing
    symmetric: bool
    states: Int64s
    parent: NDArray[np.int32]
    via_process: NDArray[np.int8]
    via_outcome: NDArray[np.int32]
    index: NDArray[np.int32]
    count: int = 0
    steps: int = 0
    depth: int = 0
    seconds: float = 0.0
    stopped: str = ""  # why the search ended before the space did; "" where it is exhausted
    broken: dict[int, Found] = field(default_factory=dict)
    together: dict[int, int] = field(default_factory=dict)  # property -> state that breaks it
    label_seen: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    compiled: bool = kernel.HAS_NUMBA

    @property
    def complete(self) -> bool:
        return not self.stopped

    @property
    def memory(self) -> int:
        """Octets of the arrays that grow with the states."""
        arrays = (self.states, self.parent, self.via_process, self.via_outcome, self.index)
        return sum(array.nbytes for array in arrays)

    def fields(self, states: Any) -> Int64s:
        """Rows of local states, service states, faults used."""
        return self.packing.unpack(self.states[states])

    def labels(self) -> list[str]:
        """What has been seen to happen."""
        return [label for number, label in enumerate(self.model.labels) if self.label_seen[number : number + 1].any()]

    def shape_numbers(self) -> Int64s:
        """The shape as the inner loop takes it."""
        shape = self.model.shape
        first, last = shape.alike
        numbers = (
            shape.locals,
            len(shape.services),
            len(shape.processes),
            first,
            last,
            self.symmetric,
            shape.faults_max,
            shape.nameless,
            self.tables.ordered is not None,
            self.tables.ordered.keep if self.tables.ordered is not None else 0,
        )
        return np.array(numbers, np.int64)


StopWhen = Callable[[Space], str]  # why to stop, "" to go on


def never(space: Space) -> str:
    return ""


class Search:
    """One search of one model. `run` does it all; memory is bounded by `Bounds`, and so is time."""

    def __init__(
        self,
        model: Model,
        *,
        symmetric: bool = True,
        bounds: Bounds | None = None,
        stop_when: StopWhen = never,
        on_progress: Callable[[Progress], None] | None = None,
        compiled: bool = kernel.HAS_NUMBA,
    ) -> None:
        if len(model.properties.always) > PROPERTIES_MAX:
            raise InternalError(f"at most {PROPERTIES_MAX} properties of states and steps")
        self._bounds = bounds or Bounds()
        self._stop_when = stop_when
        self._on_progress = on_progress
        self._told_at = 0.0
        self._expand: Any = kernel.expand if compiled else vectors.expand
        self._rehash: Any = kernel.rehash if compiled else vectors.rehash
        tables = Tables(model)
        packing = Packing.of(_widths(tables))
        self.space = Space(
            model,
            tables,
            packing,
            symmetric,
            np.zeros((FIRST_CAPACITY, packing.words), np.int64),
            np.full(FIRST_CAPACITY, -1, np.int32),
            np.zeros(FIRST_CAPACITY, np.int8),
            np.zeros(FIRST_CAPACITY, np.int32),
            np.full(4 * FIRST_CAPACITY, kernel.EMPTY, np.int32),
            compiled=compiled,
        )
        self._broken = np.full((max(1, len(model.properties.always)), 3), -1, np.int64)
        self._started = 0.0
        self._result_of: list[list[int]] = [[] for _ in model.shape.processes]
        self._result_ids: Interner[tuple[int, Any]] = Interner()

    def run(self) -> Space:
        space = self.space
        self._started = time.perf_counter()
        self._place_start()
        low, high = 0, space.count
        while low < high and not space.stopped:
            self._expand_level(low, high)
            self._judge_together(high)
            low, high = high, space.count
            space.depth += low < high
            space.stopped = space.stopped or self._stop_when(space)
        space.seconds = time.perf_counter() - self._started
        if self._on_progress is not None:
            self._on_progress(self._progress(0))
        return space

    def _place_start(self) -> None:
        space = self.space
        local, service = space.model.start()
        fields = np.array([[*local, *service, 0]], np.int64)
        self._judge_start(service)
        space.states[0] = space.packing.pack(fields)[0]
        space.count = 1
        self._rehash(space.states, 1, space.index)
        self._judge_together(0)

    def _judge_start(self, service: list[int]) -> None:
        model = self.space.model
        for number, state in enumerate(service):
            value = model.service_state(number, state)
            for each in model.properties.always:
                meant = model.shape.services[number] in each.services if each.services else number > 0
                if meant and each.of_state is not None and not each.of_state(value):
                    raise InternalError(f"{each.name} does not hold in the very first state")

    # --- one level ----------------------------------------------------------------------------------------

    def _expand_level(self, low: int, high: int) -> None:
        for first in range(low, high, CHUNK):
            todo = np.arange(first, min(first + CHUNK, high), dtype=np.int64)
            while len(todo):
                todo = self._expand_some(todo)
            self._note_broken()
            self._look_at_bounds(high - first)
            if self.space.stopped:
                return

    def _expand_some(self, todo: Int64s) -> Int64s:
        """Expand `todo`; the states whose steps were missing from the table, now that they are there."""
        space, tables = self.space, self.space.tables
        deferred, misses = (
            np.zeros(len(todo), np.int64),
            np.zeros((len(todo) * space.model.shape.locals + 8, 3), np.int64),
        )
        kept: list[Int64s] = []
        start = 0
        while start < len(todo):
            seen = self._label_seen()
            start, count, steps, put_off, missed, why = self._expand(
                todo, start, space.states, space.count, space.index, space.parent, space.via_process,
                space.via_outcome, space.packing.word, space.packing.shift, space.packing.mask,
                space.shape_numbers(), tables.kinds, tables.steps, tables.outcomes.array, tables.breaks.array,
                tables.local.array, tables.orders, tables.exchanged, tables.exchanged_service, tables.ranks.array,
                tables.service_ranks.array, deferred, misses, self._broken, seen, max(1, tables.branching),
            )  # fmt: skip
            space.count = int(count)
            space.steps += int(steps)
            kept.append(deferred[:put_off].copy())
            if missed:
                tables.resolve(map(tuple, np.unique(misses[:missed], axis=0).tolist()))
                self._widen()
            if why == kernel.FULL:
                self._grow()
            if space.stopped:
                break
        return np.concatenate(kept)

    def _label_seen(self) -> NDArray[np.int8]:
        space = self.space
        lacking = len(space.model.labels) - len(space.label_seen)
        if lacking > 0:
            space.label_seen = np.concatenate([space.label_seen, np.zeros(lacking + 64, np.int8)])
        return space.label_seen

    def _grow(self) -> None:
        """Twice the room for states, where the bound leaves it."""
        space = self.space
        if 2 * space.memory > self._bounds.memory_max:
            space.stopped = f"more than {self._bounds.memory_max >> 20:,} MiB of states"
            return
        room = max(2 * len(space.states), space.count + 4 * max(1, space.tables.branching))
        space.states = _longer(space.states, room, 0)
        space.parent = _longer(space.parent, room, -1)
        space.via_process = _longer(space.via_process, room, 0)
        space.via_outcome = _longer(space.via_outcome, room, 0)
        places = 1 << (2 * room - 1).bit_length()
        if places != len(space.index):
            space.index = np.full(places, kernel.EMPTY, np.int32)
            self._rehash(space.states, space.count, space.index)

    def _widen(self) -> None:
        """Pack anew where ids have outgrown their fields."""
        space = self.space
        needed = _needed_widths(space.tables)
        if all(width >= need for width, need in zip(space.packing.widths, needed, strict=True)):
            return
        packing = Packing.of([max(w, n + 2) if w < n else w for w, n in zip(space.packing.widths, needed, strict=True)])
        states = np.zeros((len(space.states), packing.words), np.int64)
        for first in range(0, space.count, CHUNK):
            last = min(first + CHUNK, space.count)
            states[first:last] = packing.pack(space.packing.unpack(space.states[first:last]))
        space.states, space.packing = states, packing
        space.index.fill(kernel.EMPTY)
        self._rehash(space.states, space.count, space.index)

    # --- judging ------------------------------------------------------------------------------------------

    def _note_broken(self) -> None:
        for bit, (state, process, outcome) in enumerate(self._broken.tolist()):
            if state >= 0 and bit not in self.space.broken:
                self.space.broken[bit] = Found(state, process, outcome)

    def _judge_together(self, first: int) -> None:
        """Properties of everything at once, for the states from `first` on."""
        space, model = self.space, self.space.model
        if not model.properties.together or first >= space.count:
            return
        shape = model.shape
        rows = space.fields(slice(first, space.count))
        # Of local states only what a process has returned is seen, so those with equal results are judged as one.
        seen = rows[:, [*range(len(shape.processes)), *range(shape.locals, rows.shape[1] - 1)]]
        for process in range(len(shape.processes)):
            seen[:, process] = self._results(process, seen[:, process])
        _, at = np.unique(seen, axis=0, return_index=True)
        for offset in at.tolist():
            values = _values(model, rows[offset].tolist())
            for number, each in enumerate(model.properties.together):
                if number not in space.together and not each.holds(values):
                    space.together[number] = first + offset

    def _results(self, process: int, locals_: Int64s) -> Int64s:
        """By local state a number for what the process has returned there: equal for equal results."""
        known, model = self._result_of, self.space.model
        while len(known[process]) <= int(locals_.max()):
            has_returned, result = model.result(process, len(known[process]))
            known[process].append(self._result_ids.id((process, result)) if has_returned else -1)
        return np.array(known[process], np.int64)[locals_]

    def _look_at_bounds(self, waiting: int) -> None:
        space, bounds = self.space, self._bounds
        now = time.perf_counter()
        if space.count > bounds.states_max:
            space.stopped = f"more than {bounds.states_max:,} states"
        elif space.memory > bounds.memory_max:
            space.stopped = f"more than {bounds.memory_max >> 20:,} MiB of states"
        elif now - self._started > bounds.seconds_max:
            space.stopped = f"more than {bounds.seconds_max:g} s"
        if self._on_progress is not None and now - self._told_at >= PROGRESS_EVERY_S:
            self._told_at = now
            self._on_progress(self._progress(waiting))

    def _progress(self, waiting: int) -> Progress:
        space = self.space
        seconds = time.perf_counter() - self._started
        return Progress(space.count, waiting, space.depth, seconds, space.memory, space.tables.size)


def _values(model: Model, row: list[int]) -> dict[str, Any]:
    """A state as properties of everything see it."""
    shape = model.shape
    values = {
        name: model.service_state(number, row[shape.locals + number]) for number, name in enumerate(shape.services)
    }
    for number, name in enumerate(shape.processes):
        has_returned, result = model.result(number, row[number])
        if has_returned:
            values[name] = result
    return values


def _longer(array: NDArray[Any], length: int, fill: int) -> NDArray[Any]:
    longer = np.full((length, *array.shape[1:]), fill, array.dtype)
    longer[: len(array)] = array
    return longer


def _needed_widths(tables: Tables) -> list[int]:
    """Bits that the ids met so far need: local states, each service's states, faults."""
    shape = tables.model.shape
    local = max(1, (tables.local_ids - 1).bit_length())
    return [
        *[local] * shape.locals,
        *(max(1, top.bit_length()) for top in tables.service_ids),
        max(1, shape.faults_max.bit_length()),
    ]


def _widths(tables: Tables) -> list[int]:
    return [*(width + 4 for width in _needed_widths(tables)[:-1]), _needed_widths(tables)[-1]]


def peak_memory() -> int:
    """Octets that this process has held at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
