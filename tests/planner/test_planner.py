"""The Planner's cycle over the store's twin: contention, lost replies, turns, approval, what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from evenkeel.endpoints.planner import Outcome, Planned, Turn, foresee, plan_once, recall
from evenkeel.endpoints.planning import PlanningTable
from evenkeel.model.errors import Refusal, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.health import Health, Standing
from evenkeel.model.plan import Lane, Plan, PlanDelta
from evenkeel.model.region import Approval, PlannerSettings, Region
from evenkeel.ports.plan_store import PlannerStore
from evenkeel.twins.plan_store import TwinPlanStore
from tests.planner.regions import DB, Day, balancers, endpoint, region

OTHER = "other.demo.example."
FAILED, HEALTHY = Standing.FAILED, Standing.HEALTHY


@dataclass
class Clock:
    now_s: float = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return int(self.now_s * 1000)

    async def sleep(self, delay_s: float) -> None:
        self.now_s += delay_s


@dataclass
class Journal:
    events: list[tuple[EventKind, str]] = field(default_factory=list)

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        self.events.append((kind, detail))

    def of(self, kind: EventKind) -> list[str]:
        return [detail for each, detail in self.events if each is kind]


@dataclass
class Verdicts:
    """A `HealthReader` that says what it is told."""

    health: dict[str, Health]

    async def verdicts(self) -> Mapping[str, Health]:
        return dict(self.health)

    async def wait_changed(self, deadline_s: float) -> frozenset[str]:
        return frozenset()

    def mark(self, standing: Standing, *names: str) -> None:
        for name in names:
            self.health[name] = replace(self.health[name], standing=standing)


class Planner:
    """One Planner with its own table and view, of any number over one store and clock."""

    def __init__(self, name: str, made: Region, store: PlannerStore, clock: Clock) -> None:
        self.name, self.region, self.store, self.clock = name, made, store, clock
        self.table, self.journal = PlanningTable(made, clock.now_s), Journal()
        self.health = Verdicts(Day(made).health)

    def plan(self, *, routine: bool = False, approval: Approval = Approval.NONE) -> Planned:
        return asyncio.run(
            plan_once(
                self.name,
                self.health,
                self.store,
                self.clock,
                self.table,
                self.journal,
                routine=routine,
                approval=approval,
            )
        )


def setting(*names: str, made: Region | None = None) -> tuple[TwinPlanStore, Clock, list[Planner]]:
    clock = Clock()
    store = TwinPlanStore("demo", 100, clock.wall_ms)
    made = made or region(balancers(5))
    return store, clock, [Planner(name, made, store, clock) for name in names]


def newest(store: TwinPlanStore) -> Plan:
    return store.state.newest


def test_one_cycle_appends_one_generation_and_says_so() -> None:
    store, _, (planner,) = setting("planner-1")
    assert planner.plan() == Planned(Outcome.APPENDED, 1, Lane.ROUTINE, 1, 0)
    assert planner.journal.of(EventKind.PLAN_APPENDED) == ["1 endpoints changed, 0 removed (first answer)"]
    assert planner.plan() == Planned(Outcome.NOTHING, 1)
    assert newest(store).planner == "planner-1"


def test_of_two_planners_the_second_finds_the_first_one_s_plan_and_nothing_left_to_do() -> None:
    store, _, (one, two) = setting("planner-1", "planner-2")
    one.plan()
    assert two.plan().outcome is Outcome.NOTHING
    for each in (one, two):
        each.health.mark(FAILED, "lb-1")
    assert one.plan().outcome is Outcome.APPENDED
    assert two.plan().outcome is Outcome.NOTHING
    assert newest(store).generation == 2


class Overtaken(TwinPlanStore):
    """Just before an append arrives, another Planner's does."""

    before_append: Callable[[], Awaitable[None]] | None = None

    async def append(self, delta: PlanDelta) -> bool:
        if self.before_append is not None:
            overtake, self.before_append = self.before_append, None
            await overtake()
        return await super().append(delta)


def test_a_planner_that_was_overtaken_plans_again_on_the_winner_s_plan() -> None:
    clock = Clock()
    store = Overtaken("demo", 100, clock.wall_ms)
    made = region(balancers(6), [endpoint(pool=["lb-1", "lb-2", "lb-3"]), endpoint(OTHER, ["lb-4", "lb-5", "lb-6"])])
    one, two = (Planner(name, made, store, clock) for name in ("planner-1", "planner-2"))
    one.plan()
    one.health.mark(FAILED, "lb-1")
    two.health.mark(FAILED, "lb-4")

    async def overtake() -> None:
        await plan_once("planner-2", two.health, store, clock, two.table, two.journal, routine=False)

    store.before_append = overtake
    assert one.plan() == Planned(Outcome.APPENDED, 3, Lane.URGENT, 1, 0)
    assert len(one.journal.of(EventKind.PLAN_CONTENDED)) == 1
    assert {name: each.changed_in for name, each in newest(store).endpoints.items()} == {OTHER: 2, DB: 3}


def test_a_planner_a_moment_behind_does_not_put_back_what_another_one_has_just_taken_out() -> None:
    store, clock, (one, two) = setting("planner-1", "planner-2")
    one.plan()
    two.plan()
    two.health.mark(FAILED, "lb-4")
    two.plan()
    one.health.mark(FAILED, "lb-1")  # and has not heard of lb-4 yet
    one.plan(routine=True)
    assert "192.0.2.4" not in newest(store).endpoints[DB].answer.a
    clock.now_s += 6.0  # by now it would have: to it, lb-4 is well
    one.plan(routine=True)
    assert "192.0.2.4" in newest(store).endpoints[DB].answer.a


class LosesReplies(TwinPlanStore):
    loses = False

    async def append(self, delta: PlanDelta) -> bool:
        done = await super().append(delta)
        if self.loses:
            raise Unreachable("no reply")
        return done


def test_a_lost_reply_is_no_second_plan() -> None:
    clock = Clock()
    store = LosesReplies("demo", 100, clock.wall_ms)
    planner = Planner("planner-1", region(balancers(5)), store, clock)
    planner.plan()
    planner.health.mark(FAILED, "lb-1")
    store.loses = True
    with pytest.raises(Unreachable):
        planner.plan()
    store.loses = False
    assert planner.plan() == Planned(Outcome.NOTHING, 2)
    assert newest(store).generation == 2


def test_a_store_that_lost_everything_is_filled_from_what_the_planner_knows() -> None:
    class Lost(TwinPlanStore):
        known: Plan | None = None

        async def newest(self) -> Plan | None:
            current = await super().newest()
            return self.known if current is None else current

    clock = Clock()
    store = Lost("demo", 100, clock.wall_ms)
    planner = Planner("planner-1", region(balancers(5), [endpoint(), endpoint("o.demo.example.")]), store, clock)
    planner.plan()
    planner.health.mark(FAILED, "lb-1")
    planner.plan()
    store.known = newest(store)
    store.state = TwinPlanStore("demo", 100, clock.wall_ms).state
    assert planner.plan() == Planned(Outcome.APPENDED, 3, Lane.ROUTINE, 2, 0)
    assert {each.changed_in for each in newest(store).endpoints.values()} == {3}
    assert newest(store).endpoints[DB].answer == store.known.endpoints[DB].answer


# --- withheld -----------------------------------------------------------------------------------------


def test_what_is_withheld_is_told_once_and_when_it_ends() -> None:
    _, clock, (planner,) = setting("planner-1")
    planner.plan()
    planner.health.mark(FAILED, "lb-1")
    planner.plan()
    planner.health.mark(FAILED, "lb-2")
    for _ in range(3):
        planner.plan()
    assert planner.journal.of(EventKind.PLAN_WITHHELD) == ["lb-2 stays published at 1 endpoints (velocity)"]
    planner.health.mark(HEALTHY, "lb-2")
    planner.plan()
    assert planner.journal.of(EventKind.PLAN_WITHHELD)[1:] == ["lb-2 is withheld no longer at 1 endpoints (velocity)"]
    clock.now_s += 300
    assert planner.plan().outcome is Outcome.NOTHING


def test_a_planner_that_starts_recalls_the_removals_of_the_window() -> None:
    store, clock, (planner,) = setting("planner-1")
    planner.plan()
    clock.now_s += 200.0
    planner.health.mark(FAILED, "lb-1")
    planner.plan()
    clock.now_s += 10.0
    for remembers in (True, False):
        again = Planner("planner-1", planner.region, store, clock)
        again.health.mark(FAILED, "lb-1", "lb-2")
        if remembers:
            asyncio.run(recall(store, clock, again.table, 60.0))
        assert (again.plan().outcome is Outcome.NOTHING) == remembers


# --- turns --------------------------------------------------------------------------------------------


def test_turns_go_round_with_the_generation() -> None:
    turns = [Turn(index, 3) for index in range(3)]
    for generation in range(7):
        assert sorted(turn.place(generation) for turn in turns) == [0, 1, 2]
    assert [turns[0].place(generation) for generation in range(4)] == [0, 2, 1, 0]


def test_routine_work_is_due_for_the_next_in_line_an_interval_later() -> None:
    settings = PlannerSettings(routine_every_s=30.0)
    day = Day(region(balancers(3)))
    day.plan(routine=True)
    assert day.table.generation == 1
    mine, next_, last = Turn(1, 3), Turn(2, 3), Turn(0, 3)
    for turn, due_s in ((mine, 30.0), (next_, 60.0), (last, 90.0)):
        assert not turn.is_routine_due(day.table, settings, due_s - 0.1)
        assert turn.is_routine_due(day.table, settings, due_s)


def test_no_routine_work_before_the_verdicts_are_there() -> None:
    settings = PlannerSettings(warm_up_s=30.0)
    day = Day(region(balancers(3))).mark(Standing.NEW, "lb-1")
    day.plan()
    assert not Turn(0, 1).is_routine_due(day.table, settings, 29.0)
    assert Turn(0, 1).is_routine_due(day.table, settings, 30.0)


# --- approval -----------------------------------------------------------------------------------------


def test_with_approval_required_only_the_approved_plan_is_appended() -> None:
    store, _, (planner,) = setting("planner-1")
    assert planner.plan(approval=Approval.REQUIRED).outcome is Outcome.AWAITS_APPROVAL
    (shown,) = asyncio.run(store.proposals())
    assert shown.lines[0].startswith(f"{DB}  0 -> 5 addresses")
    with pytest.raises(Refusal):
        asyncio.run(store.approve("no-such-plan"))
    asyncio.run(store.approve(shown.checksum))
    assert planner.plan(approval=Approval.REQUIRED).outcome is Outcome.APPENDED
    assert newest(store).checksum() == shown.checksum


def test_an_approval_binds_that_plan_and_no_other() -> None:
    store, _, (planner,) = setting("planner-1")
    planner.plan()
    planner.health.mark(FAILED, "lb-1")
    planner.plan(approval=Approval.REQUIRED)
    (shown,) = asyncio.run(store.proposals())
    asyncio.run(store.approve(shown.checksum))
    planner.health.mark(HEALTHY, "lb-1")
    planner.health.mark(FAILED, "lb-2")
    assert planner.plan(approval=Approval.REQUIRED).outcome is Outcome.AWAITS_APPROVAL
    assert newest(store).generation == 1
    with pytest.raises(Refusal):
        asyncio.run(store.approve(shown.checksum))


def test_a_proposal_carries_the_verdicts_that_another_process_needs_to_plan_the_same() -> None:
    store, _, (planner,) = setting("planner-1")
    planner.plan()
    planner.health.mark(FAILED, "lb-1")
    planner.plan(approval=Approval.REQUIRED)
    (shown,) = asyncio.run(store.proposals())
    again = foresee(planner.region, newest(store), shown.verdicts)
    assert again.checksum == shown.checksum
    assert again.lines() == shown.lines
