"""One body, three arms: the twin, SQLite, and the service over frames are the same store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenkeel.model.errors import Refusal
from evenkeel.model.health import Health, Standing
from evenkeel.model.plan import Answer, EndpointPlan, Layout, PlanDelta
from evenkeel.ports.plan_store import Head, PlanStore, Proposed
from evenkeel.twins.plan_store import TwinPlanStore
from tests.plan_store.arms import ARMS, KEPT, REGION, Arm, Body, WallClock, delta, endpoint, sqlite


@pytest.fixture(params=sorted(ARMS))
def arm(request: pytest.FixtureRequest) -> Arm:
    return ARMS[request.param]


def run(arm: Arm, folder: Path, body: Body) -> None:
    async def all_of_it() -> None:
        clock = WallClock()
        async with arm(folder, clock) as store:
            await body(store, clock)

    asyncio.run(all_of_it())


def test_an_empty_store_has_generation_0_and_nothing_to_tell(arm: Arm, tmp_path: Path) -> None:
    async def body(store: PlanStore, clock: WallClock) -> None:
        assert await store.head() == Head(0, 0)
        assert await store.since(0) == PlanDelta(REGION, 0, 0, "", ())
        assert await store.history(10) == ()
        with pytest.raises(Refusal):
            await store.plan_at(1)

    run(arm, tmp_path, body)


def test_the_first_to_append_on_a_generation_wins_and_the_other_is_told(arm: Arm, tmp_path: Path) -> None:
    async def body(store: PlanStore, clock: WallClock) -> None:
        assert await store.append(delta(0, "db", "web"))
        assert await store.append(delta(1, "db"))
        assert not await store.append(delta(1, "web"))
        newest = await store.plan_at((await store.head()).generation)
        assert newest.endpoints["db.demo.example."].changed_in == 2
        assert newest.endpoints["web.demo.example."].changed_in == 1

    run(arm, tmp_path, body)


def test_since_tells_what_changed_and_what_went(arm: Arm, tmp_path: Path) -> None:
    async def body(store: PlanStore, clock: WallClock) -> None:
        await store.append(delta(0, "db", "web", "old"))
        await store.append(delta(1, "db"))
        await store.append(delta(2, "new", removed=("old",)))
        told = await store.since(1)
        assert (told.previous, told.generation) == (1, 3)
        assert {e.name for e in told.changed} == {"db.demo.example.", "new.demo.example."}
        assert told.removed == ("old.demo.example.",)
        nothing = await store.since(3)
        assert (nothing.previous, nothing.generation, nothing.changed, nothing.removed) == (3, 3, (), ())

    run(arm, tmp_path, body)


def test_history_is_bounded_and_every_kept_generation_is_whole(arm: Arm, tmp_path: Path) -> None:
    async def body(store: PlanStore, clock: WallClock) -> None:
        await store.append(delta(0, "db", "web", "still"))
        for previous in range(1, 12):
            await store.append(delta(previous, "db" if previous % 2 else "web"))
        kept = [info.generation for info in await store.history(100)]
        assert kept == [12, 11, 10, 9, 8]
        for generation in kept:
            plan = await store.plan_at(generation)
            assert len(plan.endpoints) == 3
            assert all(e.changed_in <= generation for e in plan.endpoints.values())
            assert plan.apply(await store.since(generation)) == await store.plan_at(12)
        with pytest.raises(Refusal):
            await store.plan_at(7)
        from_nothing = await store.since(7)
        assert (from_nothing.previous, len(from_nothing.changed)) == (0, 3)

    run(arm, tmp_path, body)


def test_history_says_who_when_and_how_much(arm: Arm, tmp_path: Path) -> None:
    async def body(store: PlanStore, clock: WallClock) -> None:
        await store.append(delta(0, "db", "web"))
        clock.ms += 90_000
        await store.append(delta(1, "db", removed=("web",)))
        newest, first = await store.history(10)
        assert (newest.generation, newest.planner, newest.changed, newest.removed) == (2, "planner-1", 1, 1)
        assert (newest.age_s, first.age_s) == (0.0, 90.0)
        assert [info.generation for info in await store.history(1)] == [2]

    run(arm, tmp_path, body)


def test_generations_go_on_above_the_floor(arm: Arm, tmp_path: Path) -> None:
    async def body(store: PlanStore, clock: WallClock) -> None:
        await store.raise_floor(146)
        assert (await store.head()) == Head(0, 146)
        assert not await store.append(delta(0, "db"))
        assert not await store.append(delta(0, "db", generation=146))
        assert await store.append(delta(0, "db", generation=147))
        assert (await store.head()).generation == 147
        await store.raise_floor(3)
        assert await store.append(delta(147, "db"))

    run(arm, tmp_path, body)


@pytest.mark.parametrize(
    "bad",
    [
        PlanDelta("elsewhere", 1, 0, "planner-1", (endpoint("db", 1),)),
        PlanDelta(REGION, 1, 0, "planner-1", ()),
        PlanDelta(REGION, 0, 0, "planner-1", (endpoint("db", 0),)),
        PlanDelta(REGION, 1, 0, "planner-1", (endpoint("db", 7),)),
        PlanDelta(REGION, 1, 0, "planner-1", (endpoint("db", 1), endpoint("db", 1))),
        PlanDelta(REGION, 1, 0, "planner-1", (endpoint("db", 1),), ("db.demo.example.",)),
        PlanDelta(REGION, 1, 0, "p", (EndpointPlan("db.demo.example.", "demo.example.", Layout.TREE, Answer(60), 1),)),
    ],
    ids=["another region", "no change", "no newer", "wrong stamp", "twice", "changed and removed", "empty answer"],
)
def test_what_no_store_may_hold_is_refused(arm: Arm, tmp_path: Path, bad: PlanDelta) -> None:
    async def body(store: PlanStore, clock: WallClock) -> None:
        with pytest.raises(Refusal):
            await store.append(bad)
        assert (await store.head()).generation == 0

    run(arm, tmp_path, body)


def test_only_what_is_proposed_can_be_approved(arm: Arm, tmp_path: Path) -> None:
    verdict = Health("lb-1", Standing.HEALTHY, 100.0)

    async def body(store: PlanStore, clock: WallClock) -> None:
        with pytest.raises(Refusal):
            await store.approve("aaaa")
        proposed = Proposed("planner-1", 0, "aaaa", ("db + 192.0.2.1",), 1, 0, (verdict,))
        assert not await store.propose(proposed)
        assert await store.proposals() == (proposed,)
        await store.approve("aaaa")
        assert await store.propose(proposed)
        moved_on = Proposed("planner-1", 0, "bbbb")
        assert not await store.propose(moved_on)
        with pytest.raises(Refusal):
            await store.approve("aaaa")
        await store.propose(Proposed("planner-2", 0, "cccc"))
        assert [each.planner for each in await store.proposals()] == ["planner-1", "planner-2"]

    run(arm, tmp_path, body)


NAMES = st.sampled_from(["a", "b", "c", "d"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sets(NAMES, min_size=1), st.sets(NAMES, max_size=2), st.booleans()), max_size=14))
def test_sqlite_and_twin_tell_the_same_after_any_history(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[set[str], set[str], bool]]
) -> None:
    async def body() -> None:
        clock = WallClock()
        twin = TwinPlanStore(REGION, KEPT, clock)
        async with sqlite(tmp_path_factory.mktemp("store"), clock) as store:
            for changed, removed, is_stale in steps:
                newest = (await twin.head()).generation
                previous = newest - 1 if is_stale else newest
                step = delta(
                    previous, *sorted(changed), generation=newest + 1, removed=tuple(sorted(removed - changed))
                )
                assert await _outcome(store, step) == await _outcome(twin, step)
            assert await store.head() == await twin.head()
            assert await store.history(100) == await twin.history(100)
            for info in await twin.history(100):
                plan = await twin.plan_at(info.generation)
                assert await store.plan_at(info.generation) == plan
                told, expected = await store.since(info.generation), await twin.since(info.generation)
                assert plan.apply(told) == plan.apply(expected)

    asyncio.run(body())


async def _outcome(store: PlanStore, step: PlanDelta) -> bool | str:
    try:
        return await store.append(step)
    except Refusal:
        return "refused"
