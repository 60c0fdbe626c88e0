"""What a quorum of vantage points decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.endpoints.quorum import Quorum
from evenkeel.endpoints.verdicts import decide
from evenkeel.model.health import Opinion, Standing
from evenkeel.model.region import LoadBalancer

N, H, F, U, D = Standing.NEW, Standing.HEALTHY, Standing.FAILED, Standing.UNKNOWN, Standing.DRAINING
STANDINGS = st.sampled_from(list(Standing))
VANTAGES = ("vantage-a", "vantage-b", "vantage-c")


@pytest.mark.parametrize(
    ("before", "votes", "after"),
    [
        (H, [F, F, H], F),
        (H, [F, F, U], F),
        (H, [F, H, H], H),
        (H, [F, H, U], H),  # enough voices, no agreement: as it was
        (F, [F, H, U], F),
        (H, [F, U, U], U),  # too few voices
        (H, [U, U, U], U),
        (F, [U, U, U], U),
        (F, [H, H, U], H),
        (F, [H, U, U], U),
        (N, [N, N, N], N),
        (N, [H, N, N], N),
        (N, [U, U, U], N),
        (N, [F, F, N], F),
        (N, [H, H, F], H),
        (H, [N, N, N], U),  # vantage points that just started know nothing
        (H, [D, D, H], D),
        (H, [D, H, H], H),
        (H, [D, H, U], H),
        (D, [D, H, U], D),
        (F, [D, H, U], D),  # back, but cautiously
        (D, [H, H, D], H),
        (D, [F, F, D], F),
    ],
)
def test_two_of_three_decide(before: Standing, votes: list[Standing], after: Standing) -> None:
    assert decide(before, votes, 2) is after


@given(STANDINGS, st.lists(STANDINGS, max_size=7), st.integers(1, 4))
def test_a_removal_needs_a_quorum_that_says_failed_now_and_outnumbers_the_rest(
    before: Standing, votes: list[Standing], quorum: int
) -> None:
    if before is not F and decide(before, votes, quorum) is F:
        assert votes.count(F) >= quorum
        assert votes.count(F) > votes.count(H) + votes.count(D)


@given(STANDINGS, st.lists(STANDINGS, max_size=7), st.integers(1, 4))
def test_a_return_needs_a_quorum_that_sees_it_alive(before: Standing, votes: list[Standing], quorum: int) -> None:
    after = decide(before, votes, quorum)
    if before not in (H, D) and after in (H, D):
        assert votes.count(H) + votes.count(D) >= quorum


@given(STANDINGS, st.lists(STANDINGS, max_size=7), st.integers(1, 4), st.randoms())
def test_the_order_of_votes_does_not_matter_and_the_verdict_is_stable(
    before: Standing, votes: list[Standing], quorum: int, random: object
) -> None:
    after = decide(before, votes, quorum)
    shuffled = list(votes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert decide(before, shuffled, quorum) is after
    assert decide(after, votes, quorum) is after


@given(STANDINGS, st.lists(STANDINGS, max_size=7), st.integers(1, 4))
def test_one_vantage_falling_silent_never_removes(before: Standing, votes: list[Standing], quorum: int) -> None:
    """Taking a vote away can make a verdict `FAILED` only where the vote had been for keeping."""
    for place, vote in enumerate(votes):
        silent = [*votes[:place], U, *votes[place + 1 :]]
        was, now = decide(before, votes, quorum), decide(before, silent, quorum)
        if now is F and was is not F and before is not F:
            assert vote in (H, D)
            assert silent.count(F) >= quorum


def quorum_of(quorum: int = 2, **balancers: LoadBalancer) -> Quorum:
    found = balancers or {"lb": LoadBalancer("lb", "a", capacity=50.0)}
    table = Quorum({balancer.name: balancer for balancer in found.values()}, VANTAGES, quorum)
    for vantage in VANTAGES:
        table.hear(vantage, True)
    return table


def says(vantage: str, standing: Standing, capacity: float = -1.0, load: float = -1.0, name: str = "lb") -> Opinion:
    return Opinion(name, vantage, standing, capacity, load)


def test_every_load_balancer_has_a_verdict_from_the_start() -> None:
    table = quorum_of()
    assert table.verdicts["lb"].standing is N
    assert table.verdicts["lb"].capacity == 50.0


def test_a_change_is_told_once_with_everybodys_vote() -> None:
    table = quorum_of()
    assert table.say("vantage-a", [says("vantage-a", H)]) == []
    (turned,) = table.say("vantage-b", [says("vantage-b", H)])
    assert (turned.before, turned.after) == (N, H)
    assert "vantage-a healthy" in turned.votes
    assert "vantage-c has no opinion" in turned.votes
    assert table.take_changed() == {"lb"}
    assert table.take_changed() == frozenset()
    assert table.say("vantage-c", [says("vantage-c", H)]) == []


def test_a_vantage_that_is_not_heard_votes_unknown_until_it_is_heard_again() -> None:
    table = quorum_of()
    for vantage in VANTAGES:
        table.say(vantage, [says(vantage, H)])
    assert table.hear("vantage-a", False) == []
    (turned,) = table.hear("vantage-b", False)
    assert turned.after is U
    table.say("vantage-a", [says("vantage-a", F)])
    table.say("vantage-b", [says("vantage-b", F)])
    assert table.verdicts["lb"].standing is U
    table.hear("vantage-a", True)
    assert table.verdicts["lb"].standing is U  # one for, one against: as it was
    table.hear("vantage-b", True)
    assert table.verdicts["lb"].standing is F


def test_a_whole_statement_replaces_what_was_said_before() -> None:
    table = quorum_of()
    for vantage in VANTAGES:
        table.say(vantage, [says(vantage, H)])
    table.say("vantage-a", [], is_whole=True)
    (turned,) = table.say("vantage-b", [], is_whole=True)
    assert turned.after is U


def test_opinions_on_strangers_are_dropped() -> None:
    table = quorum_of()
    assert table.say("vantage-a", [says("vantage-a", F, name="stranger")]) == []
    assert set(table.verdicts) == {"lb"}


def test_reported_capacity_is_the_middle_one_and_outlives_silence() -> None:
    table = quorum_of()
    for vantage, capacity in zip(VANTAGES, (10.0, 1000.0, 20.0), strict=True):
        table.say(vantage, [says(vantage, H, capacity, load=capacity / 2)])
    assert table.verdicts["lb"].capacity == 20.0
    assert table.verdicts["lb"].load == 10.0
    for vantage in VANTAGES:
        table.hear(vantage, False)
    assert table.verdicts["lb"].capacity == 20.0


def test_an_operators_word_to_drain_stands_above_all_but_failure() -> None:
    table = quorum_of(lb=LoadBalancer("lb", "a", draining=True))
    assert table.verdicts["lb"].standing is D
    for vantage in VANTAGES:
        table.say(vantage, [says(vantage, H)])
    assert table.verdicts["lb"].standing is D
    for vantage in VANTAGES:
        table.say(vantage, [says(vantage, F)])
    assert table.verdicts["lb"].standing is F


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("say"), st.sampled_from(VANTAGES), STANDINGS),
            st.tuples(st.just("hear"), st.sampled_from(VANTAGES), st.booleans()),
        ),
        max_size=60,
    )
)
def test_the_table_agrees_with_the_rule_after_every_step(steps: list[tuple[str, str, object]]) -> None:
    table = quorum_of()
    said, heard, expected = dict.fromkeys(VANTAGES, U), set(VANTAGES), N
    for what, vantage, value in steps:
        if what == "say":
            assert isinstance(value, Standing)
            said[vantage] = value
            table.say(vantage, [says(vantage, value)])
        else:
            (heard.add if value else heard.discard)(vantage)
            table.hear(vantage, bool(value))
        expected = decide(expected, [said[each] if each in heard else U for each in VANTAGES], 2)
        assert table.verdicts["lb"].standing is expected
