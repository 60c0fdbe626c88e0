"""Named barriers: hold a workflow in mid-step, at the n-th time that it comes to that step.

A step is a call of a port by its name ("flip", "remove", ...): the workflow stands right before it, with everything
that it has read so far in its hands, while the rest of the region goes on. That is what a slow machine, a long
collection of garbage or a lost time slice does, put where it hurts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from evenkeel.sim.scheduler import Simulator, Sleep


@dataclass(slots=True)
class Barrier:
    """Holds `process` before `step` on an endpoint that matches, from `after_us` on, at its `nth` coming (from 1)."""

    process: str
    step: str
    endpoint: str
    nth: int
    hold_us: int
    after_us: int = 0
    came: int = 0


class Barriers:
    """All barriers of a run."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._by_step: dict[tuple[str, str], list[Barrier]] = {}
        self.on_held: Callable[[Barrier, str], None] = lambda barrier, endpoint: None

    def add(self, barrier: Barrier) -> None:
        self._by_step.setdefault((barrier.process, barrier.step), []).append(barrier)

    def guards(self, process: str, step: str) -> bool:
        return (process, step) in self._by_step

    async def passing(self, process: str, step: str, endpoint: str) -> None:
        """Let the caller through, later where a barrier stands."""
        for barrier in self._by_step.get((process, step), ()):
            if self._simulator.now_us < barrier.after_us or not fnmatchcase(endpoint, barrier.endpoint):
                continue
            barrier.came += 1
            if barrier.came == barrier.nth:
                self.on_held(barrier, endpoint)
                await Sleep((barrier.hold_us,))


class Held:
    """Any port whose methods take the endpoint first, with barriers before each call."""

    def __init__(self, port: Any, process: str, barriers: Barriers) -> None:
        self._port = port
        self._process = process
        self._barriers = barriers

    def __getattr__(self, step: str) -> Any:
        method = getattr(self._port, step)
        if step.startswith("_") or not callable(method):
            return method
        process, barriers = self._process, self._barriers

        async def call(endpoint: str, *args: Any) -> Any:
            if barriers.guards(process, step):
                await barriers.passing(process, step, endpoint)
            return await method(endpoint, *args)

        self.__dict__[step] = call
        return call

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._port, name, value)  # `on_published` belongs to the zone behind
