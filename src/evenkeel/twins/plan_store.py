"""The plan store's twin: a pure function `(state, request) -> (state, reply)` that a real store is compared with.

It keeps each plan of its history whole, which is the plainest thing to be right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from evenkeel.endpoints.plan_rules import check_delta, may_follow
from evenkeel.model.errors import Refusal
from evenkeel.model.plan import Plan, PlanDelta
from evenkeel.ports.plan_store import GenerationInfo, Head, Proposed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """One generation."""

    plan: Plan
    at_ms: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True)
class State:
    """`generations` oldest first, at most `kept` of them."""

    region: str
    kept: int
    generations: tuple[Stored, ...] = ()
    floor: int = 0
    proposals: dict[str, Proposed] = field(default_factory=dict)
    approved: str = ""

    @property
    def newest(self) -> Plan:
        return self.generations[-1].plan if self.generations else Plan.empty(self.region)


@dataclass(frozen=True, slots=True)
class Append:
    delta: PlanDelta
    now_ms: int = 0


@dataclass(frozen=True, slots=True)
class AskHead:
    pass


@dataclass(frozen=True, slots=True)
class Since:
    generation: int


@dataclass(frozen=True, slots=True)
class PlanAt:
    generation: int


@dataclass(frozen=True, slots=True)
class History:
    limit: int
    now_ms: int = 0


@dataclass(frozen=True, slots=True)
class RaiseFloor:
    generation: int


@dataclass(frozen=True, slots=True)
class Propose:
    proposed: Proposed


@dataclass(frozen=True, slots=True)
class Proposals:
    pass


@dataclass(frozen=True, slots=True)
class Approve:
    checksum: str


Request = Append | AskHead | Since | PlanAt | History | RaiseFloor | Propose | Proposals | Approve
# A `Refusal` is a value here; who drives the twin raises it.
Reply = bool | Head | Plan | PlanDelta | tuple[GenerationInfo, ...] | tuple[Proposed, ...] | Refusal | None


def plan_store(state: State, request: Request) -> tuple[State, Reply]:
    """One request to the store."""
    match request:
        case Append(delta, now_ms):
            return _append(state, delta, now_ms)
        case AskHead():
            return state, Head(state.newest.generation, state.floor)
        case Since(generation):
            return state, _since(state, generation)
        case PlanAt(generation):
            found = _at(state, generation)
            return state, Refusal(f"no generation {generation}") if found is None else found
        case History(limit, now_ms):
            newest_first = state.generations[::-1][:limit]
            return state, tuple(_info(stored, now_ms) for stored in newest_first)
        case RaiseFloor(generation):
            return replace(state, floor=max(state.floor, generation)), None
        case Propose(proposed):
            proposals = {**state.proposals, proposed.planner: proposed}
            return replace(state, proposals=proposals), proposed.checksum == state.approved
        case Proposals():
            return state, tuple(state.proposals[planner] for planner in sorted(state.proposals))
        case Approve(checksum):
            if checksum not in {proposed.checksum for proposed in state.proposals.values()}:
                return state, Refusal(f"no Planner proposes {checksum!r}")
            return replace(state, approved=checksum), None


def _append(state: State, delta: PlanDelta, now_ms: int) -> tuple[State, Reply]:
    try:
        check_delta(delta, state.region)
    except Refusal as refusal:
        return state, refusal
    if not may_follow(delta, state.newest.generation, state.floor):
        return state, False
    stored = Stored(state.newest.apply(delta), now_ms, len(delta.changed), len(delta.removed))
    return replace(state, generations=(*state.generations, stored)[-state.kept :]), True


def _at(state: State, generation: int) -> Plan | None:
    return next((stored.plan for stored in state.generations if stored.plan.generation == generation), None)


def _since(state: State, generation: int) -> PlanDelta:
    newest, old = state.newest, _at(state, generation)
    if old is None:
        return newest.as_delta()
    changed = tuple(endpoint for endpoint in newest.endpoints.values() if endpoint.changed_in > generation)
    removed = tuple(sorted(old.endpoints.keys() - newest.endpoints.keys()))
    return PlanDelta(state.region, newest.generation, generation, newest.planner, changed, removed)


def _info(stored: Stored, now_ms: int) -> GenerationInfo:
    age_s = max(0.0, (now_ms - stored.at_ms) / 1000)
    return GenerationInfo(
        stored.plan.generation, stored.plan.planner, stored.at_ms, age_s, stored.changed, stored.removed
    )


class TwinPlanStore:
    """The twin as a `ports.plan_store.PlannerStore`, for one event loop or none."""

    def __init__(self, region: str, kept: int, wall_ms: Callable[[], int]) -> None:
        self.state = State(region, kept)
        self._wall_ms = wall_ms

    async def append(self, delta: PlanDelta) -> bool:
        return self._ask(Append(delta, self._wall_ms()), bool)

    async def head(self) -> Head:
        return self._ask(AskHead(), Head)

    async def newest(self) -> Plan | None:
        return self.state.newest if self.state.generations else None

    async def since(self, generation: int) -> PlanDelta:
        return self._ask(Since(generation), PlanDelta)

    async def plan_at(self, generation: int) -> Plan:
        return self._ask(PlanAt(generation), Plan)

    async def history(self, limit: int) -> tuple[GenerationInfo, ...]:
        return self._ask(History(limit, self._wall_ms()), tuple)

    async def raise_floor(self, generation: int) -> None:
        self._ask(RaiseFloor(generation), type(None))

    async def propose(self, proposed: Proposed) -> bool:
        return self._ask(Propose(proposed), bool)

    async def proposals(self) -> tuple[Proposed, ...]:
        return self._ask(Proposals(), tuple)

    async def approve(self, checksum: str) -> None:
        self._ask(Approve(checksum), type(None))

    def _ask(self, request: Request, type_: type[T]) -> T:
        self.state, reply = plan_store(self.state, request)
        if isinstance(reply, Refusal):
            raise reply
        assert isinstance(reply, type_)  # noqa: S101 - narrows for the type checker; each request has one reply type
        return reply
