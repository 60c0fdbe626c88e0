"""A live region's journal against the twins: could the plan store's and the zone's have done what was recorded?

Events of many processes carry wall clocks that differ, so order between processes is not taken from them; order within
one process is. Two steps:

1. Each process by itself: a Planner's own appends only grow, what one process publishes of one endpoint only grows
   (but where an operator took it back), a generation is appended by one Planner; nobody is wedged, no endpoint is seen
   empty. A generation that is published though nobody recorded its append is told as a gap, and breaks nothing: a
   Planner may crash between the store's acknowledgement and its own journal.
2. All of them together, in the one order that compare-and-set allows, by generation: every append is given to the plan
   store's twin, every publication as a transaction to the zone's twin, on condition of the fence before it. What the
   twin refuses could not have happened; what it takes must leave an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evenkeel.adapters.journal import JournalReader
from evenkeel.endpoints.layout import Standing, Target, flip
from evenkeel.model.errors import InputError
from evenkeel.model.events import Event, EventKind
from evenkeel.model.fence import Fence
from evenkeel.model.plan import Answer, EndpointPlan, Layout, PlanDelta
from evenkeel.model.records import Rcode
from evenkeel.sim.invariants import Invariant, shown, why_empty, why_fence_back
from evenkeel.twins.plan_store import Append, plan_store
from evenkeel.twins.plan_store import State as StoreState
from evenkeel.twins.zone import ZoneState, reading, step

TOLD_MAX = 50
REGION = "replayed"
ROOT = "."  # one zone that every endpoint is in

# After these an endpoint's generations are the operator's own affair.
_BY_HAND = frozenset({EventKind.ROLLED_BACK, EventKind.REPAIRED, EventKind.PINNED, EventKind.UNPINNED})


@dataclass(frozen=True, slots=True)
class Broken:
    """One event that does not follow."""

    at_ms: int
    process: str
    rule: str
    detail: str


@dataclass(slots=True)
class Validated:
    """What a journal came to."""

    events: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)  # generations published whose append nobody recorded

    @property
    def is_good(self) -> bool:
        return not self.broken

    def lines(self) -> list[str]:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        lines = [f"{self.events} events: {told}"]
        lines += [f"  {each.process} {each.rule}: {each.detail}" for each in self.broken[:TOLD_MAX]]
        if len(self.broken) > TOLD_MAX:
            lines.append(f"  and {len(self.broken) - TOLD_MAX} more")
        if self.gaps:
            shown_gaps = ", ".join(map(str, self.gaps[:TOLD_MAX]))
            lines.append(
                f"  nobody recorded the append of {shown_gaps}, which are published; a Planner may have crashed"
            )
        good = "GOOD: everything recorded follows from the rules"
        return [*lines, good if self.is_good else "BAD: some of it does not follow from the rules"]

    def as_json(self) -> dict[str, object]:
        broken = [{"at_ms": b.at_ms, "process": b.process, "rule": b.rule, "detail": b.detail} for b in self.broken]
        kinds = dict(self.kinds)
        return {"events": self.events, "kinds": kinds, "good": self.is_good, "broken": broken, "gaps": self.gaps}


def validate_journal(path: Path) -> Validated:
    """Judge a journal: a region's `journal` folder, or one process's file. Raises `InputError` where there is none."""
    if not path.exists():
        raise InputError.one(str(path), "there is no such journal", "name `<state-dir>/journal` of a region")
    folder = path if path.is_dir() else path.parent
    events = list(JournalReader(folder).history())
    if not path.is_dir():
        process = path.name.partition(".")[0]
        events = [event for event in events if event.process == process]
    found = validate_events(events)
    if not found.events:
        raise InputError.one(str(path), "holds no events", "name `<state-dir>/journal` of a region that has run")
    return found


def validate_events(events: Iterable[Event]) -> Validated:
    """Judge events, given in the order in which each process recorded its own."""
    found, judge = Validated(), _Judge()
    waiting = list(events)
    for event in waiting:
        judge.note(event)
    found.broken += replayed(waiting)
    for event in waiting:
        found.events += 1
        found.kinds[event.kind.value] += 1
        for rule, detail in judge.broken_by(event):
            found.broken.append(Broken(event.at_ms, event.process, rule, detail))
    found.gaps = sorted(judge.gaps)
    return found


# --- through the twins ----------------------------------------------------------------------------------


def replayed(events: Sequence[Event]) -> list[Broken]:
    """Appends and publications in order of generation, through the twins; what they would not have done."""
    return [*_replayed_plans(events), *_replayed_zone(events)]


def _replayed_plans(events: Sequence[Event]) -> Iterator[Broken]:
    appends = [event for event in events if event.kind is EventKind.PLAN_APPENDED]
    appends.sort(key=lambda event: event.generation)
    # The journal does not tell answers: any one that differs from the one before stands for them.
    state = StoreState(REGION, 1)
    for event in appends:
        answer = Answer(1, (f"g{event.generation}",), (1,))
        changed = EndpointPlan("any.", "any.", Layout.FLAT, answer, event.generation)
        previous = state.newest.generation
        state, reply = plan_store(
            state, Append(PlanDelta(REGION, event.generation, previous, event.process, (changed,)))
        )
        if reply is not True:
            detail = f"the store's twin does not take generation {event.generation} after {previous}"
            yield Broken(event.at_ms, event.process, "append", detail)


def _replayed_zone(events: Sequence[Event]) -> Iterator[Broken]:
    by_hand = {event.endpoint for event in events if event.kind in _BY_HAND}
    published = [e for e in events if e.kind is EventKind.PUBLISHED and e.endpoint and e.endpoint not in by_hand]
    published.sort(key=lambda event: (event.endpoint, event.generation))
    mended = {(event.endpoint, event.generation) for event in events if event.kind is EventKind.DRIFT}
    state, endpoint, generation = ZoneState(ROOT, {}), "", 0
    for number, event in enumerate(published):
        if event.endpoint != endpoint:
            state, endpoint, generation = ZoneState(ROOT, {}), event.endpoint, 0
        if event.generation == generation and (endpoint, generation) not in mended:
            detail = f"{endpoint} is published at {generation} again, which the fence before it rules out"
            yield Broken(event.at_ms, event.process, "flip", detail)
            continue
        standing = Standing(reading(state, endpoint))
        target = Target(endpoint, Layout.FLAT, Answer(1, (f"g{event.generation}-{number}",), (1,)), "")
        fence = Fence(event.generation, event.process, f"n{number}")
        state, rcode = step(state, flip(ROOT, target, standing, fence))
        why = why_empty(shown(state, endpoint)) or why_fence_back(generation, shown(state, endpoint))
        if rcode is not Rcode.NOERROR or why:
            detail = f"the zone's twin answers {rcode.name} to {endpoint} at {event.generation} {why}".strip()
            yield Broken(event.at_ms, event.process, "flip", detail)
        generation = event.generation


# --- each process by itself -----------------------------------------------------------------------------


class _Judge:
    """What is known of the plans, and of who published what last."""

    def __init__(self) -> None:
        self._appended: dict[int, str] = {}  # generation -> by whom
        self._last_appended: dict[str, int] = {}
        self._published: dict[tuple[str, str], int] = {}
        self._rolled_back: set[str] = set()
        self.gaps: dict[int, None] = {}

    def note(self, event: Event) -> None:
        """Whom each generation is from, whatever the clocks say of the order; and whom an operator took back."""
        if event.kind is EventKind.PLAN_APPENDED:
            self._appended.setdefault(event.generation, event.process)
        elif event.kind in _BY_HAND:
            self._rolled_back.add(event.endpoint)

    def broken_by(self, event: Event) -> list[tuple[str, str]]:
        """The rules that this event breaks."""
        match event.kind:
            case EventKind.PLAN_APPENDED:
                return self._judge_append(event)
            case EventKind.PUBLISHED:
                return self._judge_publication(event)
            case EventKind.EMPTY:
                return [(Invariant.NEVER_EMPTY, f"{event.endpoint} {event.detail}")]
            case EventKind.WEDGED:
                return [(Invariant.NO_WEDGE, f"{event.endpoint} {event.detail}")]
            case EventKind.FENCE_CORRUPT:
                return [(Invariant.ONE_FENCE, event.detail)]
        return []

    def _judge_append(self, event: Event) -> list[tuple[str, str]]:
        broken = []
        owner = self._appended[event.generation]
        if owner != event.process:
            broken.append(("one-appends", f"generation {event.generation} was appended by {owner} too"))
        last = self._last_appended.get(event.process, 0)
        if event.generation <= last:
            broken.append(("appends-grow", f"generation {event.generation} after {last}"))
        self._last_appended[event.process] = max(last, event.generation)
        return broken

    def _judge_publication(self, event: Event) -> list[tuple[str, str]]:
        broken: list[tuple[str, str]] = []
        generation = event.generation
        if self._appended and min(self._appended) <= generation and generation not in self._appended:
            self.gaps[generation] = None
        if event.endpoint and event.endpoint not in self._rolled_back:
            key = (event.process, event.endpoint)
            last = self._published.get(key, 0)
            if generation < last:
                broken.append((Invariant.FENCE_NEVER_BACK, f"{event.endpoint} at {generation} after {last}"))
            self._published[key] = max(last, generation)
        return broken
