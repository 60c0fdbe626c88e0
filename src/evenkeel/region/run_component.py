"""One component in a process of its own: `python -m evenkeel.region.run_component COMPONENT COMPILED_REGION`.

This is what `evenkeel up` starts and what `evenkeel run` becomes. It imports as little as it can: an Enactor
has to come up when most of the region is gone.

Exit codes: 0 told to stop, 1 the component failed (the log says why), 2 wrong arguments or input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import importlib
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from evenkeel import __version__
from evenkeel.adapters.journal import FileJournal
from evenkeel.adapters.logs import file_log, stderr_log
from evenkeel.adapters.observability import Heartbeat, StatusServer
from evenkeel.model.errors import EvenkeelError, InputError
from evenkeel.model.events import EventKind
from evenkeel.model.region import HostPort
from evenkeel.region.compiled import load_compiled
from evenkeel.region.components import Component, Kind, component
from evenkeel.region.runtime import Runtime

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

STOP_DEADLINE_S = 2.0
STATUS_RETRY_S = 1.0
_PR_SET_PDEATHSIG = 1  # prctl(2)

Main = Callable[[Runtime], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Arguments:
    component: str
    compiled: Path
    supervisor: int  # pid whose death ends this process; 0: none
    log_to: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; returns the exit code."""
    asked = _parse(arguments)
    if asked.supervisor:
        die_with(asked.supervisor)
    _set_limits()
    try:
        region = load_compiled(asked.compiled)
        place = component(region, asked.component)
        code = importlib.import_module(f"evenkeel.region.processes.{place.kind.value}")
    except EvenkeelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    with _log(asked, region.state_dir) as log:
        journal = FileJournal(region.state_dir, asked.component)
        runtime = Runtime(region, asked.component, journal, log, CollectorRegistry(), supervisor=asked.supervisor)
        gc.freeze()  # what was imported is not looked at again by any later collection
        try:
            with asyncio.Runner(loop_factory=_loop_factory(place)) as runner:
                return runner.run(_run(cast("Main", code.main), runtime, place))
        finally:
            journal.close()


def _loop_factory(place: Component) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is installed (extra `fast`), for components with a link to every host; else asyncio's own."""
    if place.kind is not Kind.DROPLET_MANAGER:
        return None
    try:
        import uvloop  # an extra
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


def die_with(supervisor: int) -> None:
    """Have the kernel kill this process when `supervisor`, its parent, dies; exit at once if it already has.

    SIGKILL, because only that also ends a process that is stopped or stuck; every component bears it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != supervisor:  # it died before the call above
        sys.exit(1)


def _set_limits() -> None:
    """As many open files as the system allows: a vantage point probes thousands of targets, a server has callers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's linear algebra is not used; its threads cost memory


def _parse(arguments: Sequence[str] | None) -> Arguments:
    parser = argparse.ArgumentParser(prog="python -m evenkeel.region.run_component", description=__doc__)
    parser.add_argument("component")
    parser.add_argument("compiled", type=Path, help="what `evenkeel up` or `evenkeel run` made of region.toml")
    parser.add_argument("--supervisor", type=int, default=0, metavar="PID", help="end when this parent ends")
    parser.add_argument("--log-to", choices=("stderr", "file"), default="stderr")
    found = parser.parse_args(arguments)
    return Arguments(found.component, found.compiled, found.supervisor, found.log_to)


@contextlib.contextmanager
def _log(asked: Arguments, state_dir: str) -> Iterator[FilteringBoundLogger]:
    if asked.log_to == "stderr":
        yield stderr_log(asked.component)
        return
    log, lines = file_log(state_dir, asked.component)
    try:
        yield log
    finally:
        lines.close()


async def _run(code: Main, runtime: Runtime, place: Component) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.stopping.set)
    heartbeat = Heartbeat()
    _standard_status(runtime, place)
    _standard_metrics(runtime, heartbeat)
    beside = [asyncio.create_task(heartbeat.run())]
    if place.metrics is not None:
        beside.append(asyncio.create_task(_serve_status(runtime, place.metrics, heartbeat)))
    try:
        return await _until_stopped(code, runtime)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _until_stopped(code: Main, runtime: Runtime) -> int:
    runtime.journal.record(EventKind.STARTED, detail=f"pid {os.getpid()}")
    runtime.log.info("started", pid=os.getpid(), version=__version__)
    task = asyncio.ensure_future(code(runtime))
    stopping = asyncio.create_task(runtime.stopping.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        _, late = await asyncio.wait({task}, timeout=STOP_DEADLINE_S)
        if late:
            runtime.log.warning("did not stop in time, cancelled", deadline_s=STOP_DEADLINE_S)
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)
    return _outcome(task, runtime)


def _outcome(task: asyncio.Future[None], runtime: Runtime) -> int:
    """Log and journal how the component ended; its exit code."""
    error = task.exception() if task.done() and not task.cancelled() else None
    if error is None and runtime.stopping.is_set():
        runtime.journal.record(EventKind.STOPPED, detail="told to stop")
        runtime.log.info("stopped")
        return 0
    if error is None:
        runtime.journal.record(EventKind.STOPPED, detail="it returned without having been told to stop")
        runtime.log.error("returned early")
        return 1
    runtime.journal.record(EventKind.STOPPED, detail=f"failed: {error!r:.500}")
    # A mistake in the input needs no stack to be understood; anything else does.
    runtime.log.error("failed", error=repr(error), exc_info=None if isinstance(error, InputError) else error)
    return error.exit_code if isinstance(error, EvenkeelError) else 1


async def _serve_status(runtime: Runtime, address: HostPort, heartbeat: Heartbeat) -> None:
    """Serve until cancelled. Metrics are a convenience: while their port is taken, the component goes on without."""
    loop = asyncio.get_running_loop()
    told = ""
    while True:
        try:
            server = StatusServer(address, runtime.registry, runtime.status, heartbeat, loop)
            break
        except OSError as error:
            if str(error) != told:
                told = str(error)
                runtime.log.error("no metrics yet", address=str(address), error=told)
            await asyncio.sleep(STATUS_RETRY_S)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()


def _standard_status(runtime: Runtime, place: Component) -> None:
    runtime.status.update(
        component=place.name,
        kind=place.kind.value,
        region=runtime.region.name,
        pid=os.getpid(),
        version=__version__,
        journal_lost=lambda: getattr(runtime.journal, "lost", 0),
    )


def _standard_metrics(runtime: Runtime, heartbeat: Heartbeat) -> None:
    ProcessCollector(registry=runtime.registry)
    lag = Gauge("evenkeel_loop_lag_seconds", "How late the event loop's last beat was", registry=runtime.registry)
    lag.set_function(lambda: heartbeat.lag_s)
    lost = Gauge("evenkeel_journal_lost_events", "Events the journal could not write", registry=runtime.registry)
    lost.set_function(lambda: float(getattr(runtime.journal, "lost", 0)))


if __name__ == "__main__":
    sys.exit(main())
