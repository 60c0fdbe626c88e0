"""An Enactor's desk for one zone: what to look at, what is settled, what may be cleaned up, how long to wait.

Which endpoints need a look comes from three sides: the plan (what changed since the last one), the zone (what
others changed there), and what an earlier look left unfinished. The workflow itself decides what each one needs.

Everything but concurrency and waiting stands here, so that the driver on asyncio and the one in virtual time are a
few lines each and cannot come apart: `cycle` does one round and says how long to pause before the next.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from evenkeel.endpoints.cleanup import clean_up
from evenkeel.endpoints.enactor import Enacted, enact_endpoint, enact_run
from evenkeel.endpoints.guarded_zone import GuardedZone
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

# What another look will not change until the plan or the zone does.
_SETTLED = frozenset({Enacted.PUBLISHED, Enacted.CURRENT, Enacted.HELD, Enacted.ABSENT})


class EndpointQueue:
    """Names to look at: urgent ones first, each at most once, so never more than there are endpoints.

    A name that was taken is in hand until it is released: two looks at one endpoint at a time would write with one
    another's tickets. What is offered meanwhile waits for the release.
    """

    def __init__(self) -> None:
        self._lanes: dict[Lane, deque[str]] = {Lane.URGENT: deque(), Lane.ROUTINE: deque()}
        self._waiting: dict[str, Lane] = {}
        self._in_hand: dict[str, Lane | None] = {}  # with the lane in which it was offered again

    def __len__(self) -> int:
        """Names that can be taken now."""
        return len(self._waiting)

    def offer(self, names: Iterable[str], lane: Lane) -> None:
        for name in names:
            if name in self._in_hand:
                if self._in_hand[name] is not Lane.URGENT:
                    self._in_hand[name] = lane
                continue
            waits_in = self._waiting.get(name)
            if waits_in is None or (waits_in is Lane.ROUTINE and lane is Lane.URGENT):
                self._waiting[name] = lane
                self._lanes[lane].append(name)

    def take(self) -> str | None:
        """The next name, in hand from now on; None where none waits."""
        for lane, names in self._lanes.items():
            while names:
                name = names.popleft()
                if self._waiting.get(name) is lane:  # else it was promoted, and taken there
                    del self._waiting[name]
                    self._in_hand[name] = None
                    return name
        return None

    def release(self, name: str) -> None:
        """The look at `name` has ended; it waits again where it was offered meanwhile."""
        again = self._in_hand.pop(name)
        if again is not None:
            self.offer([name], again)

    def clear(self) -> None:
        """Nothing waits any more."""
        for names in self._lanes.values():
            names.clear()
        self._waiting.clear()


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before the next cycle, at most; `until_offered`: less as soon as there is something to do.

    A driver waits between half of it and all of it, at random, so that redundant Enactors do not march in step.
    """

    at_most_s: float
    until_offered: bool


class Desk:
    """One zone's endpoints, to be kept at the newest plan."""

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
        self._published: list[tuple[str, int]] = []
        self._retry_s = RETRY_S

    def note_published(self, endpoint: str, generation: int) -> None:
        """Called by the zone for every write of ours that landed."""
        self._published.append((endpoint, generation))

    def offer(self, names: Iterable[str], lane: Lane) -> None:
        """Have these looked at."""
        self.queue.offer(names, lane)

    def offer_unfinished(self) -> None:
        """Have everything looked at again that an earlier look left unfinished; after each pause."""
        self.queue.offer(self.unfinished, Lane.ROUTINE)

    async def cycle(self, drain: Callable[[], Awaitable[None]]) -> Pause:
        """One round, however it ends. `drain` runs `work` as often at once as the driver likes."""
        try:
            await (self._walk() if self._policy.lock is Lock.TXT_PER_ENDPOINT else drain())
            await self._clean()
            self._note_reachable(True, "")
            self._retry_s = RETRY_S
        except Unreachable as error:
            self._note_reachable(False, str(error))
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
        self._tell_published()
        if not self.queue:
            is_pressed = bool(self.unfinished) or not self.is_reachable
            return Pause(self._retry_s if is_pressed else RETRY_MAX_S, until_offered=True)
        return Pause(0.0 if self.is_reachable else self._retry_s, until_offered=False)

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
        """Look at what waits until nothing does. What an `Unreachable` interrupts waits again."""
        while (name := self.queue.take()) is not None:
            try:
                self._settle(name, await enact_endpoint(name, self._plans, self.zone, self._policy))
            except BaseException:
                self.queue.offer([name], Lane.URGENT)
                raise
            finally:
                self.queue.release(name)

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
        self.queue.clear()  # every run walks the whole plan
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
            except (CorruptFence, WriteRejected):
                continue  # told where it was looked at, or tried again after the next flip; nothing goes now
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
