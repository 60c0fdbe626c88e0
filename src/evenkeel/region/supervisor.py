"""Keeps a set of programs running, each its own process.

- Waves start in order, each after the one before answers `/healthz` or `WAVE_WAIT_S` has passed.
- What exits is started again after a jittered delay that doubles up to `BACKOFF_MAX_S`; a run of `STEADY_S` resets it.
- What is stopped or stuck (SIGSTOP, a hung disk) is left alone: the others do without it, and it may come back.
- Stopping goes through the waves backwards: SIGTERM, and SIGKILL to whatever is left after `STOP_DEADLINE_S`.
- A program started with `--supervisor` dies with this process (`run_component.die_with`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenkeel.adapters.lines import now_ms
from evenkeel.adapters.status_client import fetch
from evenkeel.model.errors import Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.region import HostPort
from evenkeel.ports.journal import Journal
from evenkeel.region.up_state import ComponentState

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

WAVE_WAIT_S = 3.0
READY_POLL_S = 0.05
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
STEADY_S = 5.0
STOP_DEADLINE_S = 8.0
STDERR_OCTETS_MAX = 1024 * 1024
LAST_WORDS_OCTETS = 300


@dataclass(frozen=True, slots=True)
class Program:
    """What to keep running. `ready_at` answers `/healthz` once it is up; None where nothing tells.

    Once ended it stays down for `down_s` at least.
    """

    name: str
    arguments: tuple[str, ...]
    wave: int = 0
    ready_at: HostPort | None = None
    down_s: float = 0.0


@dataclass(slots=True)
class _Child:
    program: Program
    process: asyncio.subprocess.Process | None = None
    state: str = "waiting"
    restarts: int = 0
    since_ms: int = 0
    attempts: int = 0  # in a row that did not last

    def view(self) -> ComponentState:
        pid = self.process.pid if self.process is not None and self.process.returncode is None else 0
        metrics = str(self.program.ready_at) if self.program.ready_at else ""
        return ComponentState(pid, self.state, self.restarts, self.since_ms, metrics)


@dataclass(slots=True)
class Supervisor:
    """`run` until `stopping` is set. `on_change` hears of every change of any component's state."""

    programs: Sequence[Program]
    stderr_folder: Path
    journal: Journal
    log: FilteringBoundLogger
    on_change: Callable[[dict[str, ComponentState]], None] = lambda _: None
    chance: random.Random = field(default_factory=random.Random)
    _children: dict[str, _Child] = field(init=False)

    def __post_init__(self) -> None:
        self._children = {program.name: _Child(program) for program in self.programs}

    def states(self) -> dict[str, ComponentState]:
        """Every component's state, by name."""
        return {name: child.view() for name, child in self._children.items()}

    async def run(self, stopping: asyncio.Event) -> None:
        """Start everything, keep it running, and when `stopping` is set end it all; returns when all have ended."""
        keepers: dict[int, list[asyncio.Task[None]]] = {}
        try:
            for wave, children in self._waves():
                keepers[wave] = [asyncio.create_task(self._keep(child, stopping)) for child in children]
                await self._until_ready(children, stopping)
                if stopping.is_set():
                    break
            await stopping.wait()
        finally:
            await self._stop(keepers)

    def _waves(self) -> Iterator[tuple[int, list[_Child]]]:
        for wave in sorted({program.wave for program in self.programs}):
            yield wave, [child for child in self._children.values() if child.program.wave == wave]

    # --- one program ------------------------------------------------------------------------------

    async def _keep(self, child: _Child, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            started_s = time.monotonic()
            how = await self._run_once(child, stopping)
            if stopping.is_set():
                break
            if time.monotonic() - started_s >= STEADY_S:
                child.attempts = 0
            child.attempts += 1
            delay_s = max(child.program.down_s, backoff_s(child.attempts, self.chance))
            self._tell(child, EventKind.STOPPED, f"{child.program.name} {how}; starts again in {delay_s:.1f} s")
            child.restarts += 1
            self._change(child, "backing-off")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), delay_s)
        self._change(child, "stopped")

    async def _run_once(self, child: _Child, stopping: asyncio.Event) -> str:
        """Start it and wait for its end; how it ended, in words."""
        try:
            with self._stderr(child.program.name) as errors:
                said_before = os.fstat(errors).st_size
                child.process = await asyncio.create_subprocess_exec(
                    *child.program.arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    process_group=0,  # Ctrl-C reaches the supervisor alone, which then ends them in order
                )
        except OSError as error:
            return f"could not be started: {error}"
        if child.restarts:
            self._tell(child, EventKind.RECOVERED, f"{child.program.name} started again, pid {child.process.pid}")
        self._change(child, "running")
        if stopping.is_set():  # it was being started while the others were told
            _signal(child, signal.SIGTERM)
        how = describe_exit(await child.process.wait())
        words = self._last_words(child.program.name, said_before)
        return f"{how} ({words})" if words else how

    @contextlib.contextmanager
    def _stderr(self, name: str) -> Iterator[int]:
        """Where a program's last words go, should it fail before it has a log. Bounded at each start."""
        try:
            self.stderr_folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            path = self.stderr_folder / f"{name}.stderr"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            if os.fstat(descriptor).st_size > STDERR_OCTETS_MAX:
                os.ftruncate(descriptor, 0)
        except OSError:
            descriptor = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _last_words(self, name: str, said_before: int) -> str:
        """The last line that a program wrote to its standard error, beyond the octets that stood there before."""
        with contextlib.suppress(OSError), (self.stderr_folder / f"{name}.stderr").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(said_before, size - LAST_WORDS_OCTETS))
            lines = file.read().decode(errors="replace").strip().splitlines()
            return lines[-1].strip() if lines else ""
        return ""

    # --- all of them ------------------------------------------------------------------------------

    async def _until_ready(self, children: Sequence[_Child], stopping: asyncio.Event) -> None:
        waits = {child.program.name: asyncio.create_task(_answers(child.program)) for child in children}
        stop = asyncio.create_task(stopping.wait())
        everyone = asyncio.ensure_future(asyncio.wait(waits.values()))
        race: list[asyncio.Future[Any]] = [everyone, stop]
        await asyncio.wait(race, timeout=WAVE_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        late = [name for name, wait in waits.items() if not wait.done()]
        if late and not stopping.is_set():
            self.log.warning("not ready yet, going on", components=late, waited_s=WAVE_WAIT_S)
        for task in (*waits.values(), everyone, stop):
            task.cancel()
        await asyncio.gather(*waits.values(), everyone, stop, return_exceptions=True)

    async def _stop(self, keepers: dict[int, list[asyncio.Task[None]]]) -> None:
        deadline_s = time.monotonic() + STOP_DEADLINE_S
        for wave, children in reversed(list(self._waves())):
            if wave not in keepers:
                continue
            for child in children:
                _signal(child, signal.SIGTERM, signal.SIGCONT)
            left_s = max(0.1, deadline_s - time.monotonic())
            _, late = await asyncio.wait(keepers[wave], timeout=left_s)
            if late:
                stuck = [child for child in children if child.view().pid]
                self.log.warning("killed", components=[child.program.name for child in stuck], waited_s=left_s)
                for child in stuck:
                    _signal(child, signal.SIGKILL)
                await asyncio.wait(keepers[wave], timeout=1.0)
        for task in (task for tasks in keepers.values() for task in tasks):
            task.cancel()

    def kill(self) -> None:
        """SIGKILL to everything that still runs: for the operator who will not wait."""
        for child in self._children.values():
            _signal(child, signal.SIGKILL)

    def _tell(self, child: _Child, kind: EventKind, detail: str) -> None:
        self.journal.record(kind, detail=detail, component=child.program.name)
        self.log.info(kind.value, component=child.program.name, detail=detail)

    def _change(self, child: _Child, state: str) -> None:
        child.state = state
        child.since_ms = now_ms()
        self.on_change(self.states())


def backoff_s(attempts: int, chance: random.Random) -> float:
    """The delay before start number `attempts` + 1: doubling, capped, and jittered down to half."""
    full_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0 ** min(attempts - 1, 30))
    return full_s * chance.uniform(0.5, 1.0)


def describe_exit(returncode: int) -> str:
    """`exited with code 1`, `was ended by SIGKILL`."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


async def _answers(program: Program) -> None:
    """Returns once the program answers `/healthz`; the caller sets the deadline."""
    while program.ready_at is not None:
        with contextlib.suppress(Unreachable):
            await fetch(program.ready_at, "/healthz")
            return
        await asyncio.sleep(READY_POLL_S)


def _signal(child: _Child, *numbers: signal.Signals) -> None:
    if child.process is not None and child.process.returncode is None:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(number)
