"""Clean-up's share: an Enactor's nodes stay bounded however its region changes, and urgent changes go first."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.endpoints.desk import Desk, Pause
from evenkeel.endpoints.enactor import Enacted
from evenkeel.endpoints.layout import fence_name
from evenkeel.endpoints.spent import PRESSING_NODES, SpentNodes
from evenkeel.model.events import EventKind
from evenkeel.model.plan import Answer, EndpointPlan, Lane, Layout, Plan
from evenkeel.model.policy import SAFE
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import AddRRs, DeleteRRset, Transaction
from tests.endpoints.interleaving import (
    ZONE,
    ListJournal,
    ManualClock,
    PausingServer,
    PlanShelf,
    finish,
    guarded,
)

POLICY = replace(SAFE, keep_generations=1)
KEPT = POLICY.keep_generations + 2  # the answer's node, and a rollback target older than those kept
LANES = st.sampled_from(list(Lane))


class Region:
    """A desk over the twin, its workers advanced one exchange at a time, and plans that change what they like."""

    def __init__(self, endpoints: int, share: float = Desk.clean_up_share, writer: str = "w-1") -> None:
        self.names = [f"e{n}.{ZONE}" for n in range(endpoints)]
        self.server, self.shelf, self.journal, self.clock = PausingServer(), PlanShelf(), ListJournal(), ManualClock()
        self.looks: list[str] = []
        self.workers: list[Coroutine[Any, Any, None]] = []
        self.desk = self.new_desk(writer, share)
        self._plan = Plan.empty("demo")

    def new_desk(self, writer: str, share: float = Desk.clean_up_share) -> Desk:
        class SharedDesk(Desk):
            clean_up_share = share

        zone = guarded(self.server, POLICY, writer, self.journal)
        return SharedDesk(zone, self.shelf, POLICY, self.clock, self.journal, lambda outcome, number: None)

    def change(self, names: list[str], lane: Lane) -> None:
        """A plan that changes the answers of `names`, and is offered."""
        generation = self._plan.generation + 1
        answer = Answer(60, (f"10.0.{generation >> 8}.{generation & 255}", "10.9.9.9"), (1, 1))
        changed = {name: EndpointPlan(name, ZONE, Layout.TREE, answer, generation, lane) for name in names}
        self.shelf.plan = self._plan = Plan("demo", generation, "planner", {**self._plan.endpoints, **changed})
        self.desk.offer(names, lane)

    def step(self, worker: int, workers_max: int) -> None:
        """One exchange of one worker."""
        while len(self.workers) < workers_max and self.desk.ready > len(self.workers):
            self.workers.append(self.desk.work())
        if self.workers:
            running = self.workers[worker % len(self.workers)]
            try:
                running.send(None)
            except StopIteration:
                self.workers.remove(running)

    def settle(self) -> None:
        """Everything that waits is looked at, without leisure."""
        while self.workers or self.desk.ready:
            self.step(0, 1)

    def cycle(self) -> Pause:
        """A whole cycle, leisure included."""

        async def drain() -> None:
            while self.desk.ready:
                await self.desk.work()

        pause_: Pause = finish(self.desk.cycle(drain))
        return pause_

    @property
    def nodes(self) -> int:
        """That stand in the zone."""
        return sum(len(finish(self.server.nodes(name))) for name in self.names)


# --- the bound --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data(), endpoints=st.integers(1, 4), workers_max=st.integers(1, 3))
def test_nodes_stay_bounded_in_any_order_of_changes_and_exchanges(
    data: st.DataObject, endpoints: int, workers_max: int
) -> None:
    region = Region(endpoints)
    spent = region.desk.spent
    some = st.lists(st.sampled_from(region.names), min_size=1, unique=True)
    region.change(region.names, Lane.ROUTINE)
    region.settle()
    try:
        for _ in range(data.draw(st.integers(1, 40))):
            region.change(data.draw(some), data.draw(LANES))
            for _ in range(data.draw(st.integers(0, 12))):
                region.step(data.draw(st.integers(0, 2)), workers_max)
                assert spent.nodes <= spent.nodes_max + workers_max
                # What stands: kept, counted, being built, and one an endpoint of the first publication.
                assert region.nodes <= endpoints * (KEPT + 1) + spent.nodes + workers_max
    finally:  # an example may end in any draw
        for worker in region.workers:
            worker.close()


def without_pause(region: Region, lane: Lane, plans: int = 150) -> int:
    """The most nodes that wait while every look ends in a newer plan."""
    most = 0
    region.change(region.names, lane)
    for _ in range(plans):
        region.change(region.names, lane)
        for _ in range(4 * len(region.names)):
            region.step(0, 1)
            most = max(most, region.desk.spent.nodes)
    return most


def test_a_region_that_changes_without_pause_keeps_its_nodes_within_the_bound() -> None:
    routine, urgent = Region(6), Region(6)
    assert without_pause(routine, Lane.ROUTINE) <= 6 + 1
    assert without_pause(urgent, Lane.URGENT) <= PRESSING_NODES * 6 + 1
    assert max(routine.nodes, urgent.nodes) <= 6 * (KEPT + 1 + PRESSING_NODES) + 1


def test_without_a_share_of_its_own_clean_up_never_has_its_turn_and_nodes_grow_without_bound() -> None:
    region = Region(6, share=0.0)
    assert without_pause(region, Lane.ROUTINE, 50) < without_pause(region, Lane.ROUTINE, 150)
    assert region.nodes > 10 * 6 * (KEPT + 1 + PRESSING_NODES)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=200))
def test_the_counts_are_those_of_each_endpoint_and_what_is_owed_can_be_done(steps: list[tuple[int, int]]) -> None:
    spent, held, counts = SpentNodes(), set[str](), dict[str, int]()
    for number, act in steps:
        name = f"e{number}"
        if act == 0 and name not in held:
            spent.note(name, 1)
            counts[name] = counts[name] + 1 if name in counts else 0
        elif act == 1 and spent.owed:
            taken = spent.take_owed(lambda each: each not in held and not held.add(each))  # type: ignore[func-returns-value]  # takes it
            assert taken is not None
            assert counts[taken] > 0
        elif act == 2 and name in held:
            held.discard(name)
            spent.done(name)
            counts[name] = 0
        assert spent.nodes == sum(counts.values())
        assert spent.in_hand == len(held)


# --- who goes first ---------------------------------------------------------------------------------------


def test_an_urgent_change_goes_before_what_is_owed_and_that_before_routine_ones() -> None:
    region = Region(3)
    one, two, three = region.names
    for _ in range(3):  # 3 endpoints, 6 nodes counted: at the bound, not past it
        region.change(region.names, Lane.URGENT)
        while region.desk.queue:
            name = region.desk.queue.take()
            assert name is not None
            region.desk.queue.release(name)
            region.desk.note_published(name, 1)
            region.desk._settle(name, Enacted.PUBLISHED, region.shelf.plan)
    assert region.desk.spent.owed
    assert not region.desk.spent.presses
    region.desk.offer([three], Lane.ROUTINE)
    region.desk.offer([two], Lane.URGENT)
    assert region.desk._next_to_clean() is None
    assert region.desk.queue.take() == two
    assert region.desk._next_to_clean() == one


def test_an_endpoint_that_waits_keeps_its_turn_when_it_is_cleaned_up() -> None:
    region = Region(2)
    queue = region.desk.queue
    queue.offer(region.names, Lane.ROUTINE)
    assert queue.hold(region.names[0])
    assert not queue.hold(region.names[0])
    queue.release(region.names[0], first=True)
    assert [queue.take(), queue.take()] == region.names


# --- leisure ----------------------------------------------------------------------------------------------


def test_at_leisure_everything_spent_goes() -> None:
    region = Region(4)
    for _ in range(5):
        region.change(region.names, Lane.URGENT)
        region.settle()
    region.cycle()
    assert region.desk.spent.nodes == 0
    assert region.nodes == 4 * (POLICY.keep_generations + 1)
    assert EventKind.CLEANED_UP in region.journal.kinds


def test_what_an_enactor_leaves_behind_is_taken_away_by_the_next_without_another_change() -> None:
    region = Region(2, share=0.0)
    for _ in range(5):
        region.change(region.names, Lane.URGENT)
        region.settle()
    assert region.nodes == 10
    region.desk = region.new_desk("w-2")  # a new process: it knows of no publication
    region.desk.offer(region.names, Lane.ROUTINE)
    region.cycle()
    assert region.nodes == 2 * (POLICY.keep_generations + 1)


def test_a_frozen_zone_is_tried_again_after_a_pause_and_cleaned_up_when_it_thaws() -> None:
    region = Region(1)
    for _ in range(4):
        region.change(region.names, Lane.URGENT)
        region.settle()
    region.desk.spent.note(region.names[0], 1)
    freeze = RRset.of(f"_freeze.{ZONE}", RecordType.TXT, 1, "drill")
    finish(region.server.twin.commit(Transaction(ZONE, (), (AddRRs(freeze),))))
    standing = region.nodes
    assert region.cycle().at_most_s > 0, "no pause: it would ask without end"
    assert region.nodes == standing
    finish(region.server.twin.commit(Transaction(ZONE, (), (DeleteRRset(freeze.name, RecordType.TXT),))))
    region.desk.offer_unfinished()
    region.cycle()
    assert region.nodes == POLICY.keep_generations + 1


def test_a_corrupt_fence_holds_up_no_other_endpoints_clean_up() -> None:
    region = Region(2)
    for _ in range(4):
        region.change(region.names, Lane.URGENT)
        region.settle()
    for name in region.names:
        region.desk.spent.note(name, 1)
    second = RRset.of(fence_name(region.names[0]), RecordType.TXT, 1, "g=1;w=x;n=y")
    finish(region.server.twin.commit(Transaction(ZONE, (), (AddRRs(second),))))
    region.cycle()
    assert len(finish(region.server.nodes(region.names[1]))) == POLICY.keep_generations + 1
    assert region.desk.spent.nodes == 0


def test_endpoints_that_have_left_the_plan_are_forgotten() -> None:
    region = Region(3)
    region.change(region.names, Lane.ROUTINE)
    region.cycle()
    assert region.desk.spent.nodes_max == 3 * PRESSING_NODES
    plan = region.shelf.plan
    assert plan is not None
    region.shelf.plan = Plan("demo", plan.generation, "planner", {region.names[0]: plan.endpoints[region.names[0]]})
    region.clock.now_ms += 120_000
    region.cycle()
    assert region.desk.spent.nodes_max == PRESSING_NODES
