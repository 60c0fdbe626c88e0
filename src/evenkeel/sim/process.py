"""A process in virtual time: its tasks, what it keeps on disk, and what befalls it.

A crash takes its tasks and everything they hold in memory; requests that have left still arrive. What is in `disk`
is there when it starts again, and nothing else is. A pause (SIGSTOP, a long stall) holds its tasks in mid-step: when
it goes on it finds the world older by that much, and knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from evenkeel.model.errors import EvenkeelError
from evenkeel.sim.scheduler import SECOND_US, Task
from evenkeel.sim.trace import Noted

if TYPE_CHECKING:
    from evenkeel.sim.world import World

RESTART_AFTER_US = SECOND_US  # what the supervisor waits before it starts a component again

Main = Callable[["Process"], Coroutine[Any, Any, None]]


class Process:
    """One component. `main` is started anew at every start."""

    def __init__(self, world: World, name: str, main: Main) -> None:
        self.world = world
        self.name = name
        self.is_up = False
        self.is_paused = False
        self.starts = 0
        self.skew_us = 0  # of its wall clock
        self.disk: dict[str, Any] = {}
        self._main = main
        self._tasks: dict[Task, None] = {}

    def start(self) -> None:
        if not self.is_up:
            self.is_up = True
            self.starts += 1
            self.spawn("main", self._life())

    async def _life(self) -> None:
        """`main`; an error that it lets pass ends the process, and the supervisor starts it again."""
        try:
            await self._main(self)
        except EvenkeelError as error:
            self.note("stopped", detail=f"{type(error).__name__}: {error}")
            self.world.simulator.call_after(RESTART_AFTER_US, lambda _: self.start())
            self.world.simulator.call_after(0, lambda _: self.crash())

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> Task:
        """A task of this process, which ends with it."""
        task = self.world.simulator.start(f"{self.name}/{name}", coroutine)
        self._tasks[task] = None
        task.on_end = partial(self._forget, task)
        if self.is_paused:
            task.hold()
        return task

    def _forget(self, task: Task, _: Any) -> None:
        self._tasks.pop(task, None)

    def crash(self) -> None:
        """All that is not on disk is gone."""
        self.is_up = self.is_paused = False
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            task.end()

    def restart(self) -> None:
        """A start by hand, or by the supervisor; a crash first where it is up."""
        if self.is_up:
            self.crash()
        self.start()

    def pause(self) -> None:
        """What is down cannot be paused: it would start again as if nobody ever let it go on."""
        self.is_paused = self.is_up
        for task in self._tasks:
            task.hold()

    def resume(self) -> None:
        """Go on; what came meanwhile comes now, in order."""
        if not self.is_paused:
            return
        self.is_paused = False
        for task in list(self._tasks):
            for value in task.release():
                self.world.simulator.wake(task, value)

    def note(self, kind: str, endpoint: str = "", generation: int = 0, detail: str = "") -> None:
        """A notable event of this process."""
        self.world.trace.note(Noted(self.world.simulator.now_us, self.name, kind, endpoint, generation, detail))
