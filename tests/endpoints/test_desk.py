"""What an Enactor's desk looks at, in which order, and never twice at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evenkeel.endpoints.endpoint_queue import EndpointQueue
from evenkeel.model.plan import Lane

NAMES = st.sampled_from(["a", "b", "c"])
LANES = st.sampled_from(list(Lane))


def test_urgent_names_are_taken_before_routine_ones_and_each_once() -> None:
    queue = EndpointQueue()
    queue.offer(["a", "b"], Lane.ROUTINE)
    queue.offer(["c", "b"], Lane.URGENT)
    assert [queue.take() for _ in range(4)] == ["c", "b", "a", None]


def test_a_name_in_hand_is_not_handed_out_again_before_it_is_released() -> None:
    """Two workers on one endpoint wrote with one another's tickets (KeyError in `flip`, seen on BIND)."""
    queue = EndpointQueue()
    queue.offer(["a"], Lane.ROUTINE)
    assert queue.take() == "a"
    queue.offer(["a"], Lane.URGENT)
    assert queue.take() is None
    queue.release("a")
    assert queue.take() == "a"


@given(st.lists(st.one_of(st.tuples(st.just("offer"), NAMES, LANES), st.just(("take",)), st.just(("release",)))))
def test_every_name_offered_is_taken_after_the_offer_and_never_by_two_at_once(steps: list[tuple[object, ...]]) -> None:
    queue, in_hand = EndpointQueue(), list[str]()
    owed: set[str] = set()
    for step in steps:
        match step:
            case ("offer", str(name), Lane() as lane):
                queue.offer([name], lane)
                owed.add(name)
            case ("take",):
                taken = queue.take()
                assert taken not in in_hand
                if taken is not None:
                    in_hand.append(taken)
                    owed.discard(taken)
            case _ if in_hand:
                queue.release(in_hand.pop())
    for name in in_hand:
        queue.release(name)
    while (taken := queue.take()) is not None:
        owed.discard(taken)
        queue.release(taken)
    assert not owed
