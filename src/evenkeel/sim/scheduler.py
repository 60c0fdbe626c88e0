"""Virtual time: tasks are coroutines, and the next one to run is the one whose moment comes first.

    Simulator      the clock, and what is still to happen: (moment, order of arrival, task, value)
    Sleep          what a task awaits to let time pass; `Pending`, `Wake` what it awaits to be told something

A task yields the number of microseconds it wants to sleep, or the `Pending` on which it is parked. Two events of one
moment run in the order in which they were asked for, so a run is a function of its inputs alone: no wall clock, no
hash order, no chance but what tasks draw from their own streams.

Time is a whole number of microseconds since the scenario's start: sums are exact on every machine.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush, heappushpop
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from evenkeel.model.errors import EvenkeelError, InternalError

T = TypeVar("T")

SECOND_US = 1_000_000
SLOT_BITS = 14  # slots of 16 ms: of what a busy region does, a few dozen events

# Moment, order of arrival, task or call, value.
_Entry = tuple[int, int, Any, Any]


def as_us(seconds: float) -> int:
    """Seconds as whole microseconds."""
    return round(seconds * SECOND_US)


class Sleep(tuple[int]):
    """`await Sleep((delay_us,))`: a tuple is its own await, which costs no frame."""

    __slots__ = ()
    if TYPE_CHECKING:

        def __await__(self) -> Generator[int, None, None]: ...
    else:
        __await__ = tuple.__iter__


class Task:
    """A coroutine in virtual time. `send` is what the scheduler calls; holding or ending a task replaces it."""

    __slots__ = ("_coroutine", "_stash", "is_over", "name", "on_end", "send", "simulator")

    def __init__(self, simulator: Simulator, name: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.simulator = simulator
        self.name = name
        self.send: Callable[[Any], int | Pending[Any] | None] = coroutine.send
        self.is_over = False
        self.on_end: Callable[[Any], None] | None = None
        self._coroutine = coroutine
        self._stash: list[Any] = []

    def hold(self) -> None:
        """From now on the task's events wait until `release`."""
        if not self.is_over:
            self.send = self._stashed

    def _stashed(self, value: Any) -> None:
        self._stash.append(value)

    def release(self) -> list[Any]:
        """Let it run again; the values of the events that came meanwhile."""
        if not self.is_over:
            self.send = self._coroutine.send
        came, self._stash = self._stash, []
        return came

    def end(self) -> None:
        """The task never runs again: its frames are unwound now, events still to come are ignored."""
        if not self.is_over:
            self.is_over = True
            self.send = _ignored
            self._coroutine.close()

    def finish(self, result: Any) -> None:
        self.is_over = True
        self.send = _ignored
        if self.on_end is not None:
            self.on_end(result)


def _ignored(value: Any) -> None:
    return None


class _Call:
    """A plain function in the heap."""

    __slots__ = ("send",)

    def __init__(self, function: Callable[[Any], None]) -> None:
        self.send = function


class Simulator:
    """The clock and everything that is still to happen.

    What happens within the current slot of time waits in a small heap, `near`; what is further away lies unsorted in
    the list of its slot, and is sorted when its turn comes. So an event costs about the same however many wait.
    """

    def __init__(self) -> None:
        self.now_us = 0
        self.events = 0
        self._near: list[_Entry] = []
        self._near_until_us = 0
        self._far: dict[int, list[_Entry]] = {}
        self._slots: list[int] = []  # of `far`, a heap
        self._order = count().__next__

    def start(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> Task:
        """A new task, which first runs at this moment, after what waits for this moment already."""
        task = Task(self, name, coroutine)
        self._push((self.now_us, self._order(), task, None))
        return task

    def start_plain(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """A task without a handle, which nobody can hold or end: half the memory, for populations of them."""
        self._push((self.now_us, self._order(), coroutine, None))

    def wake(self, task: Task | Coroutine[Any, Any, Any], value: Any = None, delay_us: int = 0) -> None:
        """Run a parked task with `value`."""
        self._push((self.now_us + delay_us, self._order(), task, value))

    def call_after(self, delay_us: int, function: Callable[[Any], None], value: Any = None) -> None:
        """Call `function(value)` then. It cannot be taken back: let it look whether it is still wanted."""
        self._push((self.now_us + delay_us, self._order(), _Call(function), value))

    def call_at(self, at_us: int, function: Callable[[Any], None], value: Any = None) -> None:
        """Call `function(value)` at `at_us`, or now where that is past."""
        self.call_after(max(0, at_us - self.now_us), function, value)

    def _push(self, entry: _Entry) -> None:
        if entry[0] < self._near_until_us:
            heappush(self._near, entry)
            return
        slot = entry[0] >> SLOT_BITS
        waiting = self._far.get(slot)
        if waiting is None:
            self._far[slot] = [entry]
            heappush(self._slots, slot)
        else:
            waiting.append(entry)

    def _next(self, until_us: int) -> _Entry | None:
        """The next entry up to `until_us`, taken out; None where there is none."""
        if not self._near:
            if not self._slots or self._slots[0] << SLOT_BITS > until_us:
                return None
            slot = heappop(self._slots)
            self._near = self._far.pop(slot)
            self._near.sort()  # orders differ, so nothing behind them is compared; a sorted list is a heap
            self._near_until_us = slot + 1 << SLOT_BITS
        return heappop(self._near) if self._near[0][0] <= until_us else None

    def run(self, until_us: int) -> None:
        """Everything up to and with `until_us`, where the clock then stands. Raises what a task lets pass."""
        order, push, far, events = self._order, self._push, self._far, 0
        entry = None
        is_collecting = gc.isenabled()
        if is_collecting:
            # A hundred thousand waiting tasks are no garbage, and looking through them anew is half the time.
            gc.freeze()
            gc.disable()
        try:
            while (entry := self._next(until_us)) is not None:
                near, near_until_us = self._near, min(self._near_until_us, until_us + 1)
                while True:
                    now, _, task, value = entry
                    self.now_us = now
                    events += 1
                    try:
                        wait = task.send(value)
                    except StopIteration as end:
                        if task.__class__ is Task:
                            task.finish(end.value)
                    else:
                        if wait.__class__ is int:
                            now += wait
                            if now < near_until_us:
                                entry = heappushpop(near, (now, order(), task, None))
                                continue
                            waiting = far.get(now >> SLOT_BITS)
                            if waiting is not None:
                                waiting.append((now, order(), task, None))
                            else:
                                push((now, order(), task, None))
                        elif wait is not None:
                            wait.task = task  # what it is parked on wakes it
                    if not near or near[0][0] >= near_until_us:
                        break
                    entry = heappop(near)
        except EvenkeelError as error:
            name = getattr(entry[2], "name", "a callback") if entry is not None else "nobody"
            raise InternalError(f"{name} at {self.now_us} us: {error}") from error
        finally:
            self.events += events
            if is_collecting:
                gc.unfreeze()
                gc.enable()
        self.now_us = max(self.now_us, until_us)


class Pending(Generic[T]):
    """Something that one task waits for and somebody else settles, once: with a result, or with an error."""

    __slots__ = ("_error", "_result", "_simulator", "is_settled", "task")

    def __init__(self, simulator: Simulator) -> None:
        self.is_settled = False
        self.task: Task | Coroutine[Any, Any, Any] | None = None  # who waits; set by the scheduler
        self._simulator = simulator
        self._result: T
        self._error: Exception | None = None

    def settle(self, result: T, delay_us: int = 0) -> None:
        """The waiting task goes on with `result`, after a delay; whoever comes second is not heard."""
        if not self.is_settled:
            self.is_settled = True
            self._result = result
            if self.task is not None:
                self._simulator.wake(self.task, None, delay_us)

    def fail(self, error: Exception, delay_us: int = 0) -> None:
        """The waiting task goes on with `error` raised."""
        if not self.is_settled:
            self.is_settled = True
            self._error = error
            if self.task is not None:
                self._simulator.wake(self.task, None, delay_us)

    def __await__(self) -> Generator[Pending[T], None, T]:
        if not self.is_settled:
            yield self
        if self._error is not None:
            raise self._error
        return self._result


class Wake:
    """What a task waits on for something to do, for so long at most. What is set before the wait is not lost."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._is_set = False
        self._waiting: Pending[bool] | None = None

    def set(self) -> None:
        self._is_set = True
        if self._waiting is not None:
            self._waiting.settle(True)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self, at_most_us: int) -> bool:
        """Whether it was set; False after `at_most_us`."""
        if not self._is_set:
            waiting = self._waiting = Pending(self._simulator)
            self._simulator.call_after(at_most_us, waiting.settle, False)
            await waiting
            self._waiting = None
        was_set, self._is_set = self._is_set, False
        return was_set
