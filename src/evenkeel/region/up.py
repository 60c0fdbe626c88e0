"""`evenkeel up`: a whole region on this machine, every component its own OS process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evenkeel.adapters.journal import FileJournal
from evenkeel.adapters.lease_store import opening
from evenkeel.adapters.lines import now_ms
from evenkeel.adapters.logs import file_log
from evenkeel.adapters.secrets import make_missing_secrets, secret_names
from evenkeel.model.errors import InputError
from evenkeel.model.events import EventKind
from evenkeel.model.region import Region
from evenkeel.ports.journal import Journal
from evenkeel.region.compiled import dump_compiled
from evenkeel.region.components import Component, Kind, components
from evenkeel.region.supervisor import Program, Supervisor
from evenkeel.region.up_state import ComponentState, UpState, compiled_path, only_one, write_up_state

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

# A demo backend plays a load balancer. Killing it has to be a failure that probes see and answers follow, so it stays
# down for a while; everything of evenkeel's own is back at once.
BACKEND_DOWN_S = 20.0
PROCESS = "up"  # under this name the supervisor writes its journal and its log


@dataclass(frozen=True, slots=True)
class Up:
    """A region that is ready to run."""

    region: Region
    components: tuple[Component, ...]
    supervisor: Supervisor
    journal: Journal

    async def run(self, stopping: asyncio.Event) -> None:
        """Run it until `stopping` is set and everything has ended."""
        self.journal.record(EventKind.STARTED, detail=f"pid {os.getpid()}, {len(self.components)} components")
        try:
            await self.supervisor.run(stopping)
        finally:
            self.journal.record(EventKind.STOPPED, detail="every component has ended")


@contextlib.contextmanager
def prepared(region: Region) -> Iterator[Up]:
    """Take the state folder, make what is missing in it, and have a supervisor ready.

    Raises `Refusal` where the region is up already, `InputError` where the folder or the table service's database
    cannot be used.
    """
    if region.fleet is not None and region.fleet.database:
        opening.opened(region.fleet.database).close()
    with only_one(region.state_dir):
        try:
            make_missing_secrets(region.state_dir, secret_names(region))
            dump_compiled(region, compiled_path(region.state_dir))
        except OSError as error:
            raise InputError.one(
                "[region] state-dir",
                f"{region.state_dir!r} cannot be written: {error.strerror}",
                "make room there, or name another folder",
            ) from error
        journal = FileJournal(region.state_dir, PROCESS)
        log, lines = file_log(region.state_dir, PROCESS)
        everyone = components(region)
        try:
            supervisor = Supervisor(
                [program(each, region) for each in everyone],
                Path(region.state_dir) / "log",
                journal,
                log,
                _StateFile(region, now_ms(), log).write,
                random.Random(),
            )
            yield Up(region, everyone, supervisor, journal)
        finally:
            journal.close()
            lines.close()


def program(component: Component, region: Region) -> Program:
    """How the supervisor starts `component`, once the compiled region stands in the state folder."""
    arguments = (
        *run_component_arguments(component.name, compiled_path(region.state_dir)),
        *("--supervisor", str(os.getpid()), "--log-to", "file"),
    )
    down_s = BACKEND_DOWN_S if component.kind is Kind.BACKEND else 0.0
    return Program(component.name, arguments, component.wave, component.metrics, down_s)


def run_component_arguments(name: str, compiled: Path) -> tuple[str, ...]:
    """The command line of one component's process. -P: the folder it is started in has no say in what it imports."""
    return (sys.executable, "-P", "-m", "evenkeel.region.run_component", name, str(compiled))


@dataclass(slots=True)
class _StateFile:
    """Keeps `up.json` as the components are. A full disk loses the file's freshness, never the region."""

    region: Region
    started_ms: int
    log: FilteringBoundLogger
    is_failing: bool = False

    def write(self, states: dict[str, ComponentState]) -> None:
        try:
            write_up_state(self.region.state_dir, UpState(os.getpid(), self.region.name, self.started_ms, states))
            self.is_failing = False
        except OSError as error:
            if not self.is_failing:
                self.log.warning("up.json is out of date", error=str(error))
            self.is_failing = True
