"""Load balancers that report themselves: `Reporter` on their side, `ReportIntake` and `Mailbox` at a vantage point.

A report is one frame (adapters/frames.py, token `report`) and says whether the load balancer is ready, whether it
drains, and its capacity and load. Each turn of the schedule looks into the mailbox: the newest report must be
no older than an interval and the timeout. So silence longer than `interval * fall` fails a load balancer by the same
counting as any probe, and never faster because somebody reports more often.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

import msgspec

from evenkeel.adapters.frames import Link, connect, listen
from evenkeel.adapters.probes.http_reply import QUANTITY_MAX
from evenkeel.endpoints.verdicts import Observation, Outcome
from evenkeel.model.errors import Unreachable
from evenkeel.model.health import Probe
from evenkeel.model.region import HostPort

REPORT_OCTETS_MAX = 4096
LINKS_MAX = 8192
IDLE_MAX_S = 300.0  # a reporter silent for so long is cut off
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0


class LoadReport(msgspec.Struct, frozen=True):
    """What a load balancer says of itself. `capacity` and `load` in the operator's unit; negative: not said."""

    load_balancer: str
    ready: bool = True
    draining: bool = False
    capacity: float = -1.0
    load: float = -1.0


class Mailbox:
    """The newest report of each load balancer that may report. Times are the caller's monotonic seconds."""

    def __init__(self, load_balancers: Iterable[str] = ()) -> None:
        self._reports: dict[str, tuple[float, LoadReport] | None] = dict.fromkeys(load_balancers)
        self._listening_since_s = 0.0

    def listen_from(self, now_s: float) -> None:
        """Silence counts from here at the earliest."""
        self._listening_since_s = now_s

    def put(self, report: LoadReport, now_s: float) -> bool:
        """Keep `report`; False where no load balancer of that name reports itself."""
        if report.load_balancer not in self._reports:
            return False
        self._reports[report.load_balancer] = (now_s, report)
        return True

    def look(self, load_balancer: str, probe: Probe, now_s: float) -> Observation:
        """What one turn of the schedule finds."""
        found = self._reports.get(load_balancer)
        heard_s, report = found if found is not None else (self._listening_since_s, None)
        silent_s = now_s - heard_s
        if silent_s > probe.interval_s + probe.timeout_s:
            return Observation(Outcome.NO_REPORT, detail=f"silent for {silent_s:.1f} s")
        if report is None:
            return Observation(Outcome.LATE, detail="no report yet")
        capacity, load = _quantity(report.capacity), _quantity(report.load)
        if not report.ready:
            return Observation(Outcome.NOT_READY, capacity, load, report.draining)
        return Observation(Outcome.READY, capacity, load, report.draining)


def _quantity(value: float) -> float:
    # Also turns NaN into "not said": it compares false.
    return value if 0 <= value <= QUANTITY_MAX else -1.0


class ReportIntake:
    """Takes reports into a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._server: asyncio.Server | None = None
        self._links: set[Link] = set()
        self.refused = 0  # reports of load balancers that do not report themselves

    async def start(self, address: HostPort, token: str) -> HostPort:
        """Listen; returns where (port 0 asks for any). Raises `OSError` where the address is taken."""
        self._server = await listen(address, token, self._take)
        host, port = self._server.sockets[0].getsockname()[:2]
        return HostPort(host, port)

    async def stop(self) -> None:
        """Stop listening, close every link."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(link.close() for link in self._links))

    async def _take(self, link: Link) -> None:
        if len(self._links) >= LINKS_MAX:
            return
        now_s = asyncio.get_running_loop().time
        self._links.add(link)
        try:
            while True:
                report = await link.receive(LoadReport, IDLE_MAX_S, REPORT_OCTETS_MAX)
                if not self._mailbox.put(report, now_s()):
                    self.refused += 1
        finally:
            self._links.discard(link)


async def report(address: HostPort, token: str, value: LoadReport, deadline_s: float = 3.0) -> None:
    """Send one report to one vantage point, over a link of its own. Raises `Unreachable`."""
    link = await connect(address, token, deadline_s)
    try:
        await link.send(value)
    finally:
        await link.close()


class Reporter:
    """Reports what `current()` says to one vantage point, every `interval_s` until `stopping`.

    Survives a vantage point that is gone, with jittered back-off; report at half the probe's interval or less.
    """

    def __init__(self, address: HostPort, token: str, interval_s: float, current: Callable[[], LoadReport]) -> None:
        self._address = address
        self._token = token
        self._interval_s = interval_s
        self._current = current

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns soon after `stopping` is set."""
        backoff_s = BACKOFF_FIRST_S
        while not stopping.is_set():
            try:
                link = await connect(self._address, self._token)
            except Unreachable:
                await _pause(stopping, backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
                continue
            backoff_s = BACKOFF_FIRST_S
            try:
                await self._report_over(link, stopping)
            except Unreachable:
                await _pause(stopping, backoff_s * random.uniform(0.5, 1.0))
            finally:
                await link.close()

    async def _report_over(self, link: Link, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await link.send(self._current())
            await _pause(stopping, self._interval_s)


async def _pause(stopping: asyncio.Event, delay_s: float) -> None:
    try:
        async with asyncio.timeout(delay_s):
            await stopping.wait()
    except TimeoutError:
        pass
