"""Workflows over stub ports: what they call after given replies, and what is no workflow."""

from __future__ import annotations

import itertools
from enum import Enum, auto
from typing import Any, Protocol

import pytest

from evenkeel.check.automaton import Automaton, replies_of, values_of
from evenkeel.check.replay import Call, NotDeterministic, NotFinite, Ports, Raised, Returned, after
from evenkeel.model.errors import Unreachable


async def asks_twice(ports: Ports) -> str:
    first = await ports.store.read("a")
    second = await ports.store.read("b")
    return f"{first}{second}"


def test_a_history_leads_to_the_next_call_and_then_to_the_result() -> None:
    assert after(asks_twice, [])[0] == Call("store", "read", ("a",))
    assert after(asks_twice, [1])[0] == Call("store", "read", ("b",))
    assert after(asks_twice, [1, 2])[0] == Returned("12")


def test_a_reply_can_be_an_error_of_the_port() -> None:
    async def survives(ports: Ports) -> str:
        try:
            return str(await ports.store.read())
        except Unreachable:
            return str(await ports.copy.read())

    assert after(survives, [Raised(Unreachable("gone"))])[0] == Call("copy", "read")


def test_an_error_that_is_let_pass_ends_the_cycle() -> None:
    assert isinstance(after(asks_twice, [Raised(Unreachable("gone"))])[0], Raised)


def test_a_workflow_that_is_not_deterministic_is_named_with_its_line() -> None:
    counter = itertools.count()

    async def looks_elsewhere(ports: Ports) -> None:
        await ports.store.read(next(counter))

    with pytest.raises(NotDeterministic, match=r"test_replay\.py:\d+: .*ask a port"):
        after(looks_elsewhere, [])


def test_a_cycle_without_an_end_is_an_error() -> None:
    async def for_ever(ports: Ports) -> None:
        while True:
            await ports.store.read()

    with pytest.raises(NotFinite):
        after(for_ever, [0] * 10_001)


class Reply(Enum):
    YES = auto()
    NO = auto()
    LATER = auto()


class Oracle(Protocol):
    async def ask(self, question: int) -> Reply: ...
    async def tell(self, fact: int) -> None: ...
    async def list(self) -> tuple[str, ...]: ...


async def asks_until_yes(ports: Ports) -> bool:
    for _ in range(3):
        reply = await ports.oracle.ask(1)
        if reply is Reply.YES:
            await ports.oracle.tell(2)
            return True
    return False


def test_histories_that_lead_to_the_same_behaviour_are_one_state() -> None:
    known = replies_of(Oracle)
    automaton = Automaton(asks_until_yes, lambda call: known(call.method))
    # Three rounds of asking, telling, and the two ways in which it ends.
    assert len(automaton) == 6
    no, later = automaton.after(0, Reply.NO), automaton.after(0, Reply.LATER)
    assert no == later
    assert automaton.pending(automaton.after(no, Reply.YES)) == Call("oracle", "tell", (2,))


def test_histories_stay_apart_where_replies_are_not_known_beforehand() -> None:
    automaton = Automaton(asks_until_yes)
    assert automaton.after(0, Reply.NO) != automaton.after(0, Reply.LATER)
    assert automaton.after(0, Reply.NO) == automaton.after(0, Reply.NO)


def test_merging_loses_no_behaviour() -> None:
    known = replies_of(Oracle)
    merged, apart = Automaton(asks_until_yes, lambda call: known(call.method)), Automaton(asks_until_yes)
    for history in itertools.product(Reply, repeat=3):
        here, there = 0, 0
        for reply in history:
            assert merged.pending(here) == apart.pending(there)
            if not isinstance(merged.pending(here), Call) or merged.pending(here) == Call("oracle", "tell", (2,)):
                break
            here, there = merged.after(here, reply), apart.after(there, reply)
        assert merged.pending(here) == apart.pending(there)


@pytest.mark.parametrize(
    ("hint", "values"),
    [
        (bool, (False, True)),
        (Reply, tuple(Reply)),
        (Reply | None, (*Reply, None)),
        (str, None),
        (tuple[str, ...], None),
    ],
)
def test_replies_are_read_from_annotations(hint: Any, values: Any) -> None:
    assert values_of(hint) == values
