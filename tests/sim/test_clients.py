"""Clients behind caching resolvers: what they suffer from an answer that goes, and how they come back."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.sim.acting import Override
from evenkeel.sim.chance import Streams
from evenkeel.sim.clients import Stage, capacity_lost, suffered, weights_of
from evenkeel.sim.scheduler import SECOND_US
from evenkeel.sim.script import Clients
from evenkeel.sim.watching import Moment

MINUTE_US = 60 * SECOND_US
FOUR = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")


def shows(at_min: float, *addresses: str, weights: str = "") -> Moment:
    return Moment(int(at_min * MINUTE_US), 1, "w", addresses, weights)


def stage(*moments: Moment, lasts_min: int = 60, ttl_s: int = 5, negative_ttl_s: int = 900) -> Stage:
    return Stage(moments, ttl_s, negative_ttl_s, (), (), (), lasts_min * MINUTE_US, 5 * SECOND_US)


PEOPLE = Clients("people", "db.", 10_000, 100, requests_per_minute=60, connection_s=30)


def test_nobody_suffers_while_there_is_an_answer() -> None:
    found = suffered(PEOPLE, stage(shows(0, *FOUR), shows(10, *FOUR[:2]), shows(20, *FOUR)), Streams(1))
    assert (found.failed, found.worst, found.first_failed_us) == (0, 0, -1)
    assert found.requests == 10_000 * 60 * 60


def test_an_empty_answer_fails_whoever_needs_a_new_connection() -> None:
    found = suffered(PEOPLE, stage(shows(0, *FOUR), shows(10), shows(30, *FOUR)), Streams(1))
    failing_from_us = found.failing_from_us()
    assert failing_from_us is not None
    assert 10 * MINUTE_US <= failing_from_us <= 11 * MINUTE_US
    assert found.worst > 990


def test_negative_caching_makes_clients_wait_after_the_answer_is_back() -> None:
    """RFC 2308: "there is none" is kept for the SOA's minimum, at most."""
    moments = shows(0, *FOUR), shows(10), shows(20, *FOUR)
    idle = replace(PEOPLE, idle_s=45)
    back = {}
    for negative_ttl_s in (30, 900):
        recovered = suffered(idle, stage(*moments, negative_ttl_s=negative_ttl_s), Streams(1)).recovered_at_us()
        assert recovered is not None
        back[negative_ttl_s] = recovered - 20 * MINUTE_US
    assert back[30] <= 3 * MINUTE_US
    assert 4 * MINUTE_US <= back[900] <= 17 * MINUTE_US


def test_an_override_spares_those_whose_resolvers_obey_it() -> None:
    base = replace(stage(shows(0, *FOUR), shows(10)), overrides=(Override(20 * MINUTE_US, 0, "db."),))
    obedient = suffered(replace(PEOPLE, obeys_override=True), base, Streams(1))
    assert obedient.recovered_at_us() == 20 * MINUTE_US
    assert suffered(PEOPLE, base, Streams(1)).recovered_at_us() is None


def test_old_answers_carry_clients_over_a_lost_server() -> None:
    """RFC 8767."""
    lost = replace(stage(shows(0, *FOUR)), host_changes=((10 * MINUTE_US, False), (20 * MINUTE_US, True)))
    assert suffered(PEOPLE, lost, Streams(1)).worst > 990
    assert suffered(replace(PEOPLE, stale_s=3600), lost, Streams(1)).failed == 0


def test_a_dead_address_breaks_its_connections_and_others_take_over() -> None:
    dies = replace(stage(shows(0, *FOUR)), address_changes=((10 * MINUTE_US, FOUR[:1], False),))
    found = suffered(PEOPLE, dies, Streams(1))
    assert 0 < found.failed < found.requests // 100
    assert found.worst < 300
    assert suffered(replace(PEOPLE, retries=0), dies, Streams(1)).failed > found.failed


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=6),
    st.integers(1, 5000),
    st.integers(1, 40),
)
def test_clients_are_never_made_or_lost(changes: list[tuple[int, bool]], clients: int, resolvers: int) -> None:
    population = replace(PEOPLE, clients=clients, resolvers=min(resolvers, clients))
    moments = [shows(0, *FOUR), *(shows(minute, *(FOUR if up else ())) for minute, up in sorted(changes))]
    found = suffered(population, stage(*moments), Streams(3))
    assert all(0 <= share <= 1000 for share in found.failing)
    assert 0 <= found.failed <= found.requests


def test_the_same_seed_gives_the_same_figures() -> None:
    outage = stage(shows(0, *FOUR), shows(10), shows(20, *FOUR))
    idle = replace(PEOPLE, idle_s=60)
    assert suffered(idle, outage, Streams(9)) == suffered(idle, outage, Streams(9))
    assert suffered(idle, outage, Streams(9)) != suffered(idle, outage, Streams(10))


def test_weights_stand_in_the_order_of_the_addresses() -> None:
    assert weights_of(("10.0.0.1", "10.0.0.2", "2001:db8::1"), "a=3,1;aaaa=2") == {
        "10.0.0.1": 3,
        "10.0.0.2": 1,
        "2001:db8::1": 2,
    }
    assert weights_of(("10.0.0.1",), "") == {"10.0.0.1": 1}


def test_capacity_lost_counts_what_lives_and_is_not_offered() -> None:
    capacity = dict.fromkeys(FOUR, 100.0)
    moments = [shows(0, *FOUR), shows(10, *FOUR[:2]), shows(20)]
    changes = [(5 * MINUTE_US, FOUR[:1], False), (15 * MINUTE_US, FOUR[:1], True)]
    lost = [share for _, share in capacity_lost(moments, capacity, changes)]
    assert lost == [0, 0, 667, 500, 1000]
