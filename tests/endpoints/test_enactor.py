"""Enactors beside each other, over the twin, in any order of their exchanges (DESIGN.md; OUTAGE.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.endpoints.cleanup import clean_up
from evenkeel.endpoints.enactor import Enacted, enact_endpoint, enact_run
from evenkeel.model.errors import WriteRejected
from evenkeel.model.events import EventKind
from evenkeel.model.fence import Fence
from evenkeel.model.plan import Layout, Plan
from evenkeel.model.policy import OCTOBER_2025, SAFE, CleanUpBy, DnsPolicy, MissingPlan, StalenessCheck
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import AddRRs, Commit, DeleteRRset, Transaction
from evenkeel.twins.zone import Query, ZoneState, reading, step
from tests.endpoints.interleaving import (
    ZONE,
    ListJournal,
    ManualClock,
    PausingServer,
    PlanShelf,
    finish,
    guarded,
    interleave,
    pause,
    plan_at,
)

DB = f"db.{ZONE}"
LAYOUTS = st.sampled_from(list(Layout))
POLICY = replace(SAFE, keep_generations=1)


def addresses(state: ZoneState, endpoint: str = DB) -> tuple[str, ...]:
    """What a client gets."""
    _, answered = step(state, Query(endpoint, "A"))
    return tuple(rdata for rrset in answered.rrsets if rrset.type == RecordType.A for rdata in rrset.rdatas)


def fence(state: ZoneState, endpoint: str = DB) -> Fence:
    return Fence.parse(reading(state, endpoint).fences[0])


def publish(server: PausingServer, plan: Plan, policy: DnsPolicy = POLICY) -> None:
    for name in plan.endpoints:
        assert finish(enact_endpoint(name, PlanShelf(plan), guarded(server, policy, "w-0"), policy)) in (
            Enacted.PUBLISHED,
            Enacted.CURRENT,
        )


class Watcher:
    """Fails as soon as a published endpoint is empty, or its fence goes back."""

    def __init__(self) -> None:
        self.generation = 0
        self.empties = 0
        self.regressions = 0

    def __call__(self, state: ZoneState) -> None:
        if not reading(state, DB).fences:
            return
        now = fence(state).generation
        self.regressions += now < self.generation
        self.generation = max(self.generation, now)
        self.empties += not addresses(state)


async def life_of_an_enactor(zone: object, shelf: PlanShelf, policy: DnsPolicy, cycles: int) -> None:
    """Cycles of the real workflows: bring the endpoint to the newest plan, then clean up behind."""
    for _ in range(cycles):
        await enact_endpoint(DB, shelf, zone, policy)  # type: ignore[arg-type]  # a GuardedZone, typed at the caller
        assert shelf.plan is not None
        await clean_up(DB, shelf.plan, zone, policy)  # type: ignore[arg-type]  # as above


@settings(max_examples=150, deadline=None)
@given(data=st.data(), layout=LAYOUTS)
def test_three_enactors_with_plans_of_any_age_never_empty_or_regress_a_record(
    data: st.DataObject, layout: Layout
) -> None:
    server, watch = PausingServer(), Watcher()
    server.watch = watch
    shelves = [PlanShelf(plan_at(data.draw(st.integers(1, 3)), "db", layout=layout)) for _ in range(3)]
    runs = [
        life_of_an_enactor(guarded(server, POLICY, f"w-{n}"), shelf, POLICY, cycles=3)
        for n, shelf in enumerate(shelves)
    ]

    def choose(count: int) -> int:
        for shelf in shelves:  # plans move on for some Enactors, not for others
            if data.draw(st.integers(0, 9)) == 0 and shelf.plan is not None:
                shelf.plan = plan_at(min(shelf.plan.generation + data.draw(st.integers(1, 3)), 9), "db", layout=layout)
        if data.draw(st.integers(0, 19)) == 0:
            server.lose_replies = 1
        return data.draw(st.integers(0, count - 1))

    interleave(runs, choose)
    newest = max(shelf.plan.generation for shelf in shelves if shelf.plan is not None)
    publish(server, plan_at(newest, "db", layout=layout))
    assert (watch.empties, watch.regressions) == (0, 0)
    assert addresses(server.twin.state) == plan_at(newest, "db").endpoints[DB].answer.a


def test_a_stale_plan_is_left_alone_however_late_it_comes() -> None:
    server = PausingServer()
    publish(server, plan_at(146, "db"))
    assert (
        finish(enact_endpoint(DB, PlanShelf(plan_at(110, "db")), guarded(server, SAFE, "w-1"), SAFE)) is Enacted.CURRENT
    )
    assert fence(server.twin.state).generation == 146


def test_equal_content_alone_does_not_leave_an_endpoint_alone() -> None:
    """An older plan in flight could still land, so the fence has to move on (DESIGN.md)."""
    server = PausingServer()
    publish(server, plan_at(5, "db", layout=Layout.FLAT, changed_in=5))
    same_answer = plan_at(7, "db", layout=Layout.FLAT, changed_in=5)
    moved = Plan("demo", 7, "planner", {DB: replace(same_answer.endpoints[DB], changed_in=7)})
    publish(server, moved)
    assert fence(server.twin.state).generation == 7


def test_a_lost_reply_is_resolved_by_the_nonce_and_told_as_published() -> None:
    server, told = PausingServer(), []
    zone = guarded(server, SAFE, "w-1")
    zone.on_published = lambda endpoint, generation: told.append((endpoint, generation))
    server.lose_replies = 1
    plan = plan_at(3, "db", layout=Layout.FLAT)
    assert finish(enact_endpoint(DB, PlanShelf(plan), zone, SAFE)) is Enacted.CURRENT
    assert told == [(DB, 3)]


def test_a_foreign_hand_is_seen_and_put_right() -> None:
    server, journal = PausingServer(), ListJournal()
    plan = plan_at(3, "db", layout=Layout.FLAT)
    publish(server, plan)
    foreign = RRset.of(DB, RecordType.A, 60, *(f"192.0.2.{n}" for n in range(1, 9)))
    server.twin.state, _ = step(
        server.twin.state, Transaction(ZONE, (), (DeleteRRset(DB, RecordType.A), AddRRs(foreign)))
    )
    assert finish(enact_endpoint(DB, PlanShelf(plan), guarded(server, SAFE, "w-1", journal), SAFE)) is Enacted.PUBLISHED
    assert addresses(server.twin.state) == plan.endpoints[DB].answer.a
    assert EventKind.DRIFT in journal.kinds


@pytest.mark.parametrize("layout", Layout)
def test_a_foreign_hand_that_emptied_the_record_is_put_right(layout: Layout) -> None:
    server, plan = PausingServer(), plan_at(3, "db", layout=layout)
    publish(server, plan)
    owner = reading(server.twin.state, DB).target or DB
    server.twin.state, _ = step(server.twin.state, Transaction(ZONE, (), (DeleteRRset(owner, RecordType.A),)))
    assert not addresses(server.twin.state)
    publish(server, plan)
    assert addresses(server.twin.state) == plan.endpoints[DB].answer.a


def test_two_fences_stop_the_automation_and_are_told() -> None:
    server, journal = PausingServer(), ListJournal()
    publish(server, plan_at(3, "db"))
    second = AddRRs(RRset.of(f"_fence.{DB}", RecordType.TXT, 1, "g=9;w=by-hand;n=x"))
    server.twin.state, _ = step(server.twin.state, Transaction(ZONE, (), (second,)))
    zone = guarded(server, SAFE, "w-1", journal)
    assert finish(enact_endpoint(DB, PlanShelf(plan_at(12, "db")), zone, SAFE)) is Enacted.CORRUPT
    assert addresses(server.twin.state) == plan_at(3, "db").endpoints[DB].answer.a
    assert "has 2 records" in journal.details[-1]


def test_a_write_in_flight_does_not_land_after_the_kill_switch() -> None:
    server = PausingServer()
    publish(server, plan_at(3, "db", layout=Layout.FLAT))
    zone = guarded(server, SAFE, "w-1")
    run = enact_endpoint(DB, PlanShelf(plan_at(4, "db", layout=Layout.FLAT)), zone, SAFE)
    for _ in range(2):  # up to the flip, which is not yet carried out
        run.send(None)
    finish(guarded(server, SAFE, "operator").set_frozen("by an operator"))
    assert finish(run) is Enacted.FROZEN
    assert fence(server.twin.state).generation == 3


@settings(max_examples=60, deadline=None)
@given(before=st.integers(1, 8), after=st.integers(0, 8), layout=LAYOUTS)
def test_no_commit_empties_an_endpoint_or_drops_more_than_the_share(before: int, after: int, layout: Layout) -> None:
    server = PausingServer()
    publish(server, plan_at(1, "db", layout=layout, members=before))
    zone = guarded(server, SAFE, "w-1")
    plan = plan_at(2, "db", layout=layout, members=after)
    outcome = finish(enact_endpoint(DB, PlanShelf(plan), zone, SAFE))
    is_safe = after > 0 and before - after <= before * SAFE.removed_share_max
    assert (outcome is Enacted.PUBLISHED) == is_safe
    assert len(addresses(server.twin.state)) == (after if is_safe else before)


@pytest.mark.parametrize(("source", "goal"), [(Layout.FLAT, Layout.TREE), (Layout.TREE, Layout.FLAT)])
def test_an_endpoint_moves_between_layouts_in_one_transaction(source: Layout, goal: Layout) -> None:
    server, watch = PausingServer(), Watcher()
    publish(server, plan_at(1, "db", layout=source))
    server.watch = watch
    publish(server, plan_at(2, "db", layout=goal))
    assert addresses(server.twin.state) == plan_at(2, "db").endpoints[DB].answer.a
    assert watch.empties == 0


# --- October 2025 -----------------------------------------------------------------------------------------


def run_october(
    server: PausingServer, shelf: PlanShelf, writer: str, policy: DnsPolicy, journal: ListJournal
) -> object:
    zone = guarded(server, policy, writer, journal)
    return enact_run([DB], shelf, zone, policy, ManualClock())


def october_race(policy: DnsPolicy) -> tuple[PausingServer, ListJournal]:
    """A falls behind after its one staleness check; B applies the newest plan and cleans up; A goes on."""
    server, journal = PausingServer(), ListJournal()
    finish(run_october(server, PlanShelf(plan_at(109, "db")), "w-0", policy, journal))  # type: ignore[arg-type]
    delayed = run_october(server, PlanShelf(plan_at(110, "db")), "w-1", policy, journal)
    for _ in range(4):  # staleness check, its tree built, then the look at the endpoint
        delayed.send(None)  # type: ignore[attr-defined]  # a coroutine
    finish(run_october(server, PlanShelf(plan_at(146, "db")), "w-2", policy, journal))  # type: ignore[arg-type]
    assert addresses(server.twin.state) == plan_at(146, "db").endpoints[DB].answer.a
    finish(delayed)  # type: ignore[arg-type]
    return server, journal


OCTOBER = replace(OCTOBER_2025, keep_generations=1)


def test_under_october_2025_the_race_empties_the_record_and_wedges_the_region() -> None:
    server, journal = october_race(OCTOBER)
    assert addresses(server.twin.state) == ()
    run = finish(run_october(server, PlanShelf(plan_at(147, "db")), "w-2", OCTOBER, journal))  # type: ignore[arg-type]
    assert run.walked == {DB: Enacted.WEDGED}
    assert addresses(server.twin.state) == ()


def test_the_same_order_of_events_is_harmless_under_the_safe_policy() -> None:
    server, watch = PausingServer(), Watcher()
    server.watch = watch
    publish(server, plan_at(109, "db"))
    delayed = enact_endpoint(DB, PlanShelf(plan_at(110, "db")), guarded(server, POLICY, "w-1"), POLICY)
    for _ in range(2):
        delayed.send(None)
    publish(server, plan_at(146, "db"))
    finish(clean_up(DB, plan_at(146, "db"), guarded(server, POLICY, "w-2"), POLICY))
    assert finish(delayed) is Enacted.CURRENT
    assert addresses(server.twin.state) == plan_at(146, "db").endpoints[DB].answer.a
    assert (watch.empties, watch.regressions) == (0, 0)


def test_without_the_wedge_a_missing_current_plan_is_overwritten_by_the_newest() -> None:
    policy = replace(OCTOBER, missing_plan=MissingPlan.CONTINUE)
    server, journal = october_race(policy)
    finish(run_october(server, PlanShelf(plan_at(147, "db")), "w-2", policy, journal))  # type: ignore[arg-type]
    assert addresses(server.twin.state) == plan_at(147, "db").endpoints[DB].answer.a


@pytest.mark.parametrize(
    "policy",
    [
        replace(OCTOBER, staleness_check=StalenessCheck.BEFORE_EACH_WRITE),
        replace(OCTOBER, clean_up=CleanUpBy.AGE_IF_UNREFERENCED),
    ],
    ids=["re-check before each write", "check references before delete"],
)
def test_each_fix_alone_still_lets_the_stale_plan_win(policy: DnsPolicy) -> None:
    """The look and the write are two exchanges; what comes between them is not seen (issue of the half-measures)."""
    server, _ = october_race(policy)
    assert addresses(server.twin.state) != plan_at(146, "db").endpoints[DB].answer.a


class RejectingServer(PausingServer):
    """Takes every write but those for one endpoint, which it rejects by themselves."""

    async def commit(self, transaction: Transaction) -> Commit:
        if any("bad" in getattr(change, "name", "") for change in transaction.changes):
            await pause()
            raise WriteRejected("this server will not have it")
        return await super().commit(transaction)


def test_one_record_that_the_server_will_not_have_holds_up_no_other() -> None:
    server, journal = RejectingServer(), ListJournal()
    zone, shelf = guarded(server, SAFE, "w-1", journal), PlanShelf(plan_at(1, "bad", "db", layout=Layout.FLAT))
    assert finish(enact_endpoint(f"bad.{ZONE}", shelf, zone, SAFE)) is Enacted.UNSAFE
    assert finish(enact_endpoint(DB, shelf, zone, SAFE)) is Enacted.PUBLISHED
    assert journal.kinds == [EventKind.REFUSED]
