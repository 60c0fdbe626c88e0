"""Drives the Enactor's workflow for one zone on asyncio: what to look at, urgent before routine, many at a time.

Which endpoints need a look comes from three sides: the plan (what changed since the last one), the zone (what
others changed there), and what an earlier look left unfinished. The workflow itself decides what each one needs.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

from evenkeel.endpoints.cleanup import clean_up
from evenkeel.endpoints.enactor import Enacted, enact_endpoint, enact_run
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.model.errors import CorruptFence, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.plan import Lane, Layout, Plan
from evenkeel.model.policy import DnsPolicy, Lock
from evenkeel.ports.clock import Clock
from evenkeel.ports.journal import Journal
from evenkeel.ports.plans import PlanReader

# Enough to fill the client's messages in flight (16 of 100 endpoints), few enough to stay small in memory.
WORKERS_MAX = 1600
RETRY_S = 0.5
RETRY_MAX_S = 5.0
SINGLE_EVENTS_MAX = 20  # publications told one by one in a round; more are told as a sum

# What another look will not change until the plan or the zone does.
_SETTLED = frozenset({Enacted.PUBLISHED, Enacted.CURRENT, Enacted.HELD, Enacted.ABSENT})


class EndpointQueue:
    """Names to look at: urgent ones first, each at most once, so never more than there are endpoints."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, deque[str]] = {Lane.URGENT: deque(), Lane.ROUTINE: deque()}
        self._waiting: dict[str, Lane] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, names: Iterable[str], lane: Lane) -> None:
        for name in names:
            waits_in = self._waiting.get(name)
            if waits_in is None or (waits_in is Lane.ROUTINE and lane is Lane.URGENT):
                self._waiting[name] = lane
                self._lanes[lane].append(name)

    def take(self) -> str | None:
        for lane, names in self._lanes.items():
            while names:
                name = names.popleft()
                if self._waiting.get(name) is lane:  # else it was promoted, and taken there
                    del self._waiting[name]
                    return name
        return None


class ZoneEnacting:
    """One zone's endpoints, kept at the newest plan."""

    def __init__(
        self,
        zone: GuardedZone,
        plans: PlanReader[Plan],
        policy: DnsPolicy,
        clock: Clock,
        journal: Journal,
        on_outcome: Callable[[Enacted, int], None],
    ) -> None:
        self.zone = zone
        zone.on_published = self.note_published
        self.queue = EndpointQueue()
        self.unfinished: dict[str, Enacted] = {}
        self.is_reachable = True
        self._plans = plans
        self._policy = policy
        self._clock = clock
        self._journal = journal
        self._on_outcome = on_outcome
        self._spent: dict[str, None] = {}  # endpoints whose old nodes may go, in order
        self._workers: set[asyncio.Task[None]] = set()
        self._published: list[tuple[str, int]] = []
        self._wake = asyncio.Event()

    def note_published(self, endpoint: str, generation: int) -> None:
        """Called by the zone for every write of ours that landed."""
        self._published.append((endpoint, generation))

    def offer(self, names: Iterable[str], lane: Lane) -> None:
        """Have these looked at."""
        self.queue.offer(names, lane)
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop; whatever fails is tried again, with back-off."""
        retry_s = RETRY_S
        while not stopping.is_set():
            try:
                await (self._walk() if self._policy.lock is Lock.TXT_PER_ENDPOINT else self._drain())
                await self._clean()
                self._note_reachable(True, "")
                retry_s = RETRY_S
            except Unreachable as error:
                self._note_reachable(False, str(error))
                retry_s = min(2 * retry_s, RETRY_MAX_S)
            self._tell_published()
            if not self.queue:
                await self._wait_for_work(retry_s if self.unfinished or not self.is_reachable else RETRY_MAX_S)
            elif not self.is_reachable:
                await self._clock.sleep(retry_s * random.uniform(0.5, 1.0))
            self.queue.offer(self.unfinished, Lane.ROUTINE)

    async def _wait_for_work(self, at_most_s: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(at_most_s * random.uniform(0.5, 1.0)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _note_reachable(self, is_reachable: bool, detail: str) -> None:
        if is_reachable is not self.is_reachable:
            kind = EventKind.RECOVERED if is_reachable else EventKind.UNREACHABLE
            self._journal.record(kind, detail=f"zone {self.zone.zone} {detail}".strip())
        self.is_reachable = is_reachable

    async def newest_fence(self) -> int:
        """The greatest generation that a fence of the plan's endpoints shows. Raises `Unreachable`."""
        plan = await self._plans.newest()
        generations = [await self.zone.fenced_generation(name) for name in self._names(plan)] if plan else []
        return max(generations, default=0)

    # --- safe: every endpoint on its own, many at a time ------------------------------------------------

    async def _drain(self) -> None:
        """Look at everything that waits. Raises the first `Unreachable`, when all workers have stopped."""
        if not self.queue:
            return
        workers = [asyncio.create_task(self._work()) for _ in range(min(WORKERS_MAX, len(self.queue)))]
        try:
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
        except asyncio.CancelledError:
            for worker in workers:
                worker.cancel()
            raise
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _work(self) -> None:
        while (name := self.queue.take()) is not None:
            try:
                outcome = await enact_endpoint(name, self._plans, self.zone, self._policy)
            except BaseException:
                self.queue.offer([name], Lane.URGENT)
                raise
            self._settle(name, outcome)

    def _settle(self, name: str, outcome: Enacted) -> None:
        self._on_outcome(outcome, 1)
        if outcome in _SETTLED:
            self.unfinished.pop(name, None)
        else:
            self.unfinished[name] = outcome
        if outcome is Enacted.PUBLISHED:
            self._spent[name] = None

    # --- October 2025: one plan, one walk, then clean-up ------------------------------------------------

    async def _walk(self) -> None:
        plan = await self._plans.newest()
        while self.queue.take() is not None:
            pass  # every run walks the whole plan
        if plan is None:
            return
        run = await enact_run(self._names(plan), self._plans, self.zone, self._policy, self._clock)
        for name, outcome in run.walked.items():
            self._settle(name, outcome)
        self._spent.clear()  # the run has cleaned up
        self._tell_removed(len(run.removed), len(run.walked))

    def _names(self, plan: Plan) -> list[str]:
        return sorted(name for name, planned in plan.endpoints.items() if planned.zone == self.zone.zone)

    # --- clean-up ---------------------------------------------------------------------------------------

    async def _clean(self) -> None:
        """Take away spent nodes while nothing more pressing waits."""
        plan = await self._plans.newest()
        removed = endpoints = 0
        while self._spent and plan is not None and not self.queue:
            name = next(iter(self._spent))
            del self._spent[name]
            planned = plan.endpoints.get(name)
            if planned is None or planned.layout is not Layout.TREE:
                continue
            try:
                removed += len(await clean_up(name, plan, self.zone, self._policy))
            except CorruptFence:
                continue  # told where it was looked at; nothing of this endpoint goes
            endpoints += 1
        self._tell_removed(removed, endpoints)

    def _tell_removed(self, nodes: int, endpoints: int) -> None:
        if nodes:
            self._journal.record(EventKind.CLEANED_UP, detail=f"{nodes} nodes of {endpoints} endpoints")

    def _tell_published(self) -> None:
        told, self._published = self._published, []
        if len(told) <= SINGLE_EVENTS_MAX:
            for name, generation in told:
                self._journal.record(EventKind.PUBLISHED, endpoint=name, generation=generation)
            return
        for generation, count in sorted(Counter(generation for _, generation in told).items()):
            detail = f"{count} endpoints of {self.zone.zone}"
            self._journal.record(EventKind.PUBLISHED, generation=generation, detail=detail)


def rotated(names: list[str], part: int, parts: int) -> Iterator[str]:
    """`names` from the start of the given part on: redundant Enactors begin at different places, and meet less."""
    start = len(names) * part // max(parts, 1)
    yield from names[start:]
    yield from names[:start]
