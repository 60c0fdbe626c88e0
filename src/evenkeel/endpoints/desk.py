"""An Enactor's desk for one zone: what to look at, what is settled, what may be cleaned up, how long to wait.

Which endpoints need a look comes from three sides: the plan (what changed since the last one), the zone (what
others changed there), and what an earlier look left unfinished. The workflow itself decides what each one needs.

Clean-up has a share of its own (`spent.py`), and the leisure when nothing waits to be looked at.

Everything but concurrency and waiting stands here, so that the driver on asyncio and the one in virtual time are a
few lines each and cannot come apart: `cycle` does one round and says how long to pause before the next.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from evenkeel.endpoints.cleanup import clean_up
from evenkeel.endpoints.enactor import Enacted, enact_endpoint, enact_run
from evenkeel.endpoints.endpoint_queue import EndpointQueue
from evenkeel.endpoints.guarded_zone import GuardedZone
from evenkeel.endpoints.spent import SHARE, SpentNodes
from evenkeel.model.errors import CorruptFence, Unreachable, WriteRejected
from evenkeel.model.events import EventKind
from evenkeel.model.plan import Lane, Layout, Plan
from evenkeel.model.policy import DnsPolicy, Lock
from evenkeel.ports.clock import Clock
from evenkeel.ports.journal import Journal
from evenkeel.ports.plans import PlanReader

RETRY_S = 0.5
RETRY_MAX_S = 5.0
SINGLE_EVENTS_MAX = 20  # publications told one by one in a round; more are told as a sum
UNTOLD_MAX = 10_000  # publications of a round that does not end are told all the same
LEISURE_S = 0.5  # clean-up at a time, before what is unfinished has another look
CLEANERS_MAX = 16  # endpoints cleaned up at a time at leisure: one message, so that a change does not queue behind it
CLEANED_MAX = 32  # endpoints in a row by one worker: where nothing has to go, nobody else would have a turn meanwhile
FORGET_EVERY_S = 60.0  # endpoints that have left the plan

# What another look will not change until the plan or the zone does.
_SETTLED = frozenset({Enacted.PUBLISHED, Enacted.CURRENT, Enacted.HELD, Enacted.ABSENT})


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before the next cycle, at most; `until_offered`: less as soon as there is something to do.

    A driver waits between half of it and all of it, at random, so that redundant Enactors do not march in step.
    """

    at_most_s: float
    until_offered: bool


class Desk:
    """One zone's endpoints, to be kept at the newest plan."""

    clean_up_share = SHARE

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
        self.spent = SpentNodes(self.clean_up_share)
        self._landed: Counter[str] = Counter()  # publications of ours, until the look that they belong to ends
        self._published: list[tuple[str, int]] = []
        self._removed: Counter[str] = Counter()  # nodes, by endpoint
        self._is_refused = False  # a clean-up of this cycle
        self._leisure_ends_s = -math.inf
        self._forget_at_s = -math.inf
        self._retry_s = RETRY_S

    def note_published(self, endpoint: str, generation: int) -> None:
        """Called by the zone for every write of ours that landed."""
        self._published.append((endpoint, generation))
        self._landed[endpoint] += 1
        if len(self._published) >= UNTOLD_MAX:
            self._tell()

    @property
    def ready(self) -> int:
        """How many `work` would find something to do now."""
        ready = len(self.queue) + self.spent.owed
        if not ready and self._is_at_leisure:
            ready = min(CLEANERS_MAX - self.spent.in_hand, self.spent.ready)
        return max(ready, 0)

    def offer(self, names: Iterable[str], lane: Lane) -> None:
        """Have these looked at."""
        self.queue.offer(names, lane)

    def offer_unfinished(self) -> None:
        """Have everything looked at again that an earlier look left unfinished; after each pause."""
        self.queue.offer(self.unfinished, Lane.ROUTINE)
        self.spent.retry()

    async def cycle(self, drain: Callable[[], Awaitable[None]]) -> Pause:
        """One round, however it ends. `drain` runs `work` as often at once as the driver likes."""
        self._is_refused = False
        try:
            if self._policy.lock is Lock.TXT_PER_ENDPOINT:
                await self._walk()
            else:
                await drain()
                self._tell()
                await self._take_leisure(drain)
            self._note_reachable(True, "")
            self._retry_s = RETRY_S
        except Unreachable as error:
            self._note_reachable(False, str(error))
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
        self._tell()
        return self._pause()

    def _pause(self) -> Pause:
        if not self.is_reachable:
            return Pause(self._retry_s, until_offered=not self.queue)
        if self.queue:
            return Pause(0.0, until_offered=False)
        if self.unfinished or self._is_refused:
            return Pause(self._retry_s, until_offered=True)
        return Pause(0.0 if self.spent.ready else RETRY_MAX_S, until_offered=not self.spent.ready)

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

    async def work(self) -> None:
        """Do what waits, until nothing does or it is the turn of others. What `Unreachable` interrupts waits again."""
        cleaned = 0
        while cleaned < CLEANED_MAX:
            if (name := self._next_to_clean()) is not None:
                await self._clean(name)
                cleaned += 1
            elif (name := self.queue.take()) is not None:
                await self._enact(name)
            else:
                return

    async def _enact(self, name: str) -> None:
        try:
            outcome = await enact_endpoint(name, self._plans, self.zone, self._policy)
            self._settle(name, outcome, await self._plans.newest())
        except BaseException:
            self.queue.offer([name], Lane.URGENT)
            raise
        finally:
            self.queue.release(name)

    def _settle(self, name: str, outcome: Enacted, plan: Plan | None) -> None:
        self._on_outcome(outcome, 1)
        if outcome in _SETTLED:
            self.unfinished.pop(name, None)
        else:
            self.unfinished[name] = outcome
        landed = self._landed.pop(name, 0)
        planned = plan.endpoints.get(name) if plan is not None else None
        if planned is not None and planned.layout is Layout.TREE:
            self.spent.note(name, landed)

    # --- October 2025: one plan, one walk, then clean-up ------------------------------------------------

    async def _walk(self) -> None:
        plan = await self._plans.newest()
        self.queue.clear()  # every run walks the whole plan
        if plan is None:
            return
        run = await enact_run(self._names(plan), self._plans, self.zone, self._policy, self._clock)
        for name, outcome in run.walked.items():
            self._settle(name, outcome, plan)
        self.spent.clear()  # the run has cleaned up
        self._tell_removed(len(run.removed), len(run.walked))

    def _names(self, plan: Plan) -> list[str]:
        return sorted(name for name, planned in plan.endpoints.items() if planned.zone == self.zone.zone)

    # --- clean-up ---------------------------------------------------------------------------------------

    def _next_to_clean(self) -> str | None:
        """An endpoint to clean up before anything else is looked at; None where that has to wait."""
        if self.spent.owed and (self.spent.presses or not self.queue.has_urgent):
            return self.spent.take_owed(self.queue.hold)
        if not self.queue and self._is_at_leisure and self.spent.in_hand < CLEANERS_MAX:
            return self.spent.take(self.queue.hold)
        return None

    @property
    def _is_at_leisure(self) -> bool:
        return self._clock.monotonic_s() < self._leisure_ends_s

    async def _take_leisure(self, drain: Callable[[], Awaitable[None]]) -> None:
        """Clean up while nothing waits to be looked at; what is offered meanwhile is looked at beside it."""
        now_s = self._clock.monotonic_s()
        plan = await self._plans.newest()
        if plan is not None and now_s >= self._forget_at_s:
            self._forget_at_s = now_s + FORGET_EVERY_S
            self.spent.forget_others(plan.endpoints)
        self._leisure_ends_s = now_s + LEISURE_S
        try:
            await drain()
        finally:
            self._leisure_ends_s = -math.inf

    async def _clean(self, name: str) -> None:
        """Take away an endpoint's spent nodes. It is in hand."""
        is_done = False
        try:
            plan = await self._plans.newest()
            if plan is not None and name in plan.endpoints:
                cleaned = await clean_up(name, plan, self.zone, self._policy)
                if cleaned.removed:
                    self._removed[name] += len(cleaned.removed)
                is_done = not cleaned.left
                if cleaned.left:  # frozen, perhaps: no use in trying all the others now
                    self._is_refused, self._leisure_ends_s = True, -math.inf
            else:
                is_done = plan is not None
        except (CorruptFence, WriteRejected):
            is_done = True  # told where it was looked at; tried again after its next publication
        finally:
            (self.spent.done if is_done else self.spent.put_back)(name)
            self.queue.release(name, first=True)

    def _tell(self) -> None:
        """What was published and what was taken away since the last time."""
        self._tell_published()
        removed, self._removed = self._removed, Counter()
        self._tell_removed(removed.total(), len(removed))

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
