"""Pin, unpin, rollback, repair: from the zone alone, refused where they would leave an endpoint empty."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.endpoints.cleanup import clean_up
from evenkeel.endpoints.enactor import Enacted, enact_endpoint
from evenkeel.endpoints.levers import pin, repair, rollback, unpin
from evenkeel.model.errors import Refusal
from evenkeel.model.plan import Answer, Layout, Plan
from evenkeel.model.policy import SAFE
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import AddRRs, DeleteName, DeleteRRset, Transaction
from evenkeel.twins.zone import reading, step, tree_nodes
from tests.endpoints.interleaving import ZONE, PausingServer, PlanShelf, finish, guarded, plan_at
from tests.endpoints.test_enactor import DB, OCTOBER, addresses, fence, october_race, publish

LAYOUTS = pytest.mark.parametrize("layout", Layout)


def published(*generations: int, layout: Layout) -> PausingServer:
    server = PausingServer()
    for generation in generations:
        publish(server, plan_at(generation, "db", layout=layout))
    return server


def by_hand(server: PausingServer, *changes: AddRRs | DeleteRRset | DeleteName) -> None:
    server.twin.state, _ = step(server.twin.state, Transaction(ZONE, (), changes))


@LAYOUTS
def test_a_pinned_endpoint_stands_until_it_is_given_back(layout: Layout) -> None:
    server = published(1, layout=layout)
    operator = guarded(server, SAFE, "operator")
    assert finish(pin(DB, operator)).changed
    held = finish(enact_endpoint(DB, PlanShelf(plan_at(2, "db", layout=layout)), guarded(server, SAFE, "w-1"), SAFE))
    assert held is Enacted.HELD
    assert addresses(server.twin.state) == plan_at(1, "db").endpoints[DB].answer.a
    assert finish(unpin(DB, operator)).changed
    publish(server, plan_at(2, "db", layout=layout))
    assert addresses(server.twin.state) == plan_at(2, "db").endpoints[DB].answer.a


@LAYOUTS
def test_rollback_puts_the_previous_answer_back_and_holds_it(layout: Layout) -> None:
    server = published(1, 2, layout=layout)
    assert finish(rollback(DB, guarded(server, SAFE, "operator"), server)).changed
    assert addresses(server.twin.state) == plan_at(1, "db").endpoints[DB].answer.a
    assert fence(server.twin.state).pinned
    assert fence(server.twin.state).generation == 2  # generations never go back


@LAYOUTS
def test_rollback_restores_the_weights_of_the_previous_answer(layout: Layout) -> None:
    """A flat answer came back with all its addresses alike, whatever their capacity."""
    server = PausingServer()
    for generation, weights in ((1, (3, 1)), (2, (1, 2)), (3, (1, 1))):
        publish(server, weighted(generation, weights, layout))
    operator = guarded(server, SAFE, "operator")
    for expected in ("a=1,2", "", "a=1,2"):  # each rollback makes what it replaces the previous answer
        assert finish(rollback(DB, operator, server)).changed
        assert finish(operator.standing(DB)).weights == expected


def test_weights_do_not_stay_behind_where_the_previous_answer_has_none_beside_it() -> None:
    server = PausingServer()
    publish(server, weighted(1, (3, 1), Layout.FLAT))
    publish(server, weighted(2, (1, 1), Layout.FLAT))
    assert reading(server.twin.state, DB).rollback_weights == "a=3,1"
    publish(server, weighted(3, (1, 1), Layout.TREE, members=3))
    assert reading(server.twin.state, DB).rollback_weights == ""
    publish(server, weighted(4, (1, 1), Layout.FLAT))
    assert reading(server.twin.state, DB).rollback == f"g3._tree.{DB}"


def weighted(generation: int, weights: tuple[int, int], layout: Layout, members: int = 2) -> Plan:
    plan = plan_at(generation, "db", layout=layout, members=members)
    planned = plan.endpoints[DB]
    answer = replace(planned.answer, a_weights=weights + (1,) * (members - 2))
    return replace(plan, endpoints={DB: replace(planned, answer=answer)})


@pytest.mark.parametrize("text", ["", "a=1", "a=1,x", "a=0,2", "a=1,2,3", "aaaa=9,9", "nonsense", "a=²,1"])
def test_weights_that_a_foreign_hand_broke_count_as_alike(text: str) -> None:
    answer = Answer.weighed(60, ("10.0.0.1", "10.0.0.2"), (), text)
    assert answer.a_weights == (1, 1)


@given(st.lists(st.integers(1, 10**9), max_size=4), st.lists(st.integers(1, 10**9), max_size=4))
def test_the_text_of_weights_reads_back_as_the_same_shares(a: list[int], aaaa: list[int]) -> None:
    names = [tuple(f"{prefix}{n}" for n in range(len(weights))) for prefix, weights in (("10.0.0.", a), ("::", aaaa))]
    answer = Answer(60, names[0], tuple(a), names[1], tuple(aaaa))
    again = Answer.weighed(60, names[0], names[1], answer.weights_text())
    assert again.weights_text() == answer.weights_text()
    assert not answer.weights_text() or again == answer


def test_rollback_to_a_node_that_is_gone_is_refused_with_the_reason() -> None:
    server = published(1, 2, layout=Layout.TREE)
    by_hand(server, DeleteName(reading(server.twin.state, DB).rollback))
    with pytest.raises(Refusal, match="no previous answer"):
        finish(rollback(DB, guarded(server, SAFE, "operator"), server))
    assert addresses(server.twin.state) == plan_at(2, "db").endpoints[DB].answer.a


def test_repair_mends_the_wedge_of_october_from_the_zone_alone() -> None:
    server, _ = october_race(OCTOBER)
    assert addresses(server.twin.state) == ()
    assert finish(repair(DB, guarded(server, OCTOBER, "operator"), server)).changed
    assert addresses(server.twin.state) == plan_at(146, "db").endpoints[DB].answer.a


def test_repair_of_two_fences_leaves_one_with_the_greater_generation() -> None:
    server = published(3, layout=Layout.TREE)
    by_hand(server, AddRRs(RRset.of(f"_fence.{DB}", RecordType.TXT, 1, "g=9;w=by-hand;n=x")))
    assert finish(repair(DB, guarded(server, SAFE, "operator"), server)).changed
    assert fence(server.twin.state).generation == 9
    publish(server, plan_at(10, "db"))


def test_repair_of_a_sound_endpoint_changes_nothing() -> None:
    server = published(1, layout=Layout.FLAT)
    before = server.twin.state
    assert not finish(repair(DB, guarded(server, SAFE, "operator"), server)).changed
    assert server.twin.state == before


def test_repair_says_so_where_the_zone_holds_nothing_to_go_back_to() -> None:
    server = published(1, layout=Layout.FLAT)
    by_hand(server, DeleteRRset(DB, RecordType.A))
    with pytest.raises(Refusal, match="no earlier answer"):
        finish(repair(DB, guarded(server, SAFE, "operator"), server))


def test_clean_up_keeps_answer_rollback_target_and_the_last_nodes() -> None:
    server = published(*range(1, 8), layout=Layout.TREE)
    policy = replace(SAFE, keep_generations=2)
    removed = finish(clean_up(DB, plan_at(7, "db"), guarded(server, policy, "w-1"), policy)).removed
    kept = tree_nodes(server.twin.state, DB)
    assert len(removed) == 4
    assert [node.split(".")[0] for node in kept] == ["g5", "g6", "g7"]
    assert reading(server.twin.state, DB).rollback in kept


def test_clean_up_lets_go_of_a_node_that_was_referenced_again_meanwhile() -> None:
    server = published(*range(1, 5), layout=Layout.TREE)
    policy = replace(SAFE, keep_generations=1)
    cleaning = clean_up(DB, plan_at(4, "db"), guarded(server, policy, "w-1"), policy)
    for _ in range(3):  # nodes listed, fence read, g1 seen unreferenced
        cleaning.send(None)
    operator = guarded(server, SAFE, "operator")
    by_hand(server, AddRRs(RRset.of(f"_rollback.{DB}", RecordType.CNAME, 60, f"g1._tree.{DB}")))
    assert finish(rollback(DB, operator, server)).changed
    removed = finish(cleaning).removed
    assert f"g1._tree.{DB}" not in removed
    assert addresses(server.twin.state) == plan_at(1, "db").endpoints[DB].answer.a
