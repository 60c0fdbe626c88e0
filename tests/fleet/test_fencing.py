"""No host is leased twice, whatever happens: two managers and more, clocks an hour off, a store that comes and goes,
and a network that loses, repeats, delays and mixes up everything that is said.

Managers, hosts' tables and the store's twin are the code that runs; what happens, and in which order, is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.fleet.arrays import Ids, Replies
from evenkeel.model.fleet import epoch_of
from evenkeel.model.fleet_policy import SAFE_FLEET
from tests.fleet.worlds import AZ, Seat, SmallFleet

HOSTS = 4
POLICY = replace(SAFE_FLEET, term_s=30.0, term_max_s=90.0, amnesty_max_s=120.0, request_timeout_s=5.0)
KINDS = (
    *("contact", "call", "work", "work", "deliver", "deliver", "deliver", "repeat", "lose", "late contact"),
    *("store lost", "store back", "take over", "wait", "long wait", "crash"),
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 2**HOSTS - 1)),
    max_size=60,
)
Said = tuple[Seat, Replies]
Heard = tuple[Ids, np.ndarray, np.ndarray, np.ndarray]


@dataclass
class Happening:
    """A world in which anything may happen, and what must never."""

    fleet: SmallFleet = field(default_factory=lambda: SmallFleet(HOSTS, POLICY))
    under_way: list[Said] = field(default_factory=list)
    contacts: list[Heard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fleet.take_over(skew_s=-3600.0)
        self.held = self.fleet.hosts.generation.copy()
        self.seen = self.fleet.hosts.epoch.copy()
        self.recorded = self.fleet.recorded()

    def happen(self, what: str, which: int, mask: int) -> None:
        fleet = self.fleet
        fleet.now_s += 0.05
        seat = fleet.seats[which % len(fleet.seats)]
        who = np.array([number for number in range(HOSTS) if mask >> number & 1], np.int32)
        if what == "contact":
            self._contact(seat, who)
        elif what == "late contact" and self.contacts:
            self.under_way.append((seat, fleet.hear(seat, *self.contacts[mask % len(self.contacts)])))
        elif what == "call":
            calls = seat.manager.tick(fleet.now_s + seat.skew_s)
            self._answer(seat, fleet.hosts.called(calls.ids, seat.manager.epoch, fleet.now_s))
        elif what == "work":
            self.under_way.append((seat, fleet.work(seat)))
        elif what == "deliver" and self.under_way:
            fleet.obey(*self.under_way.pop(mask % len(self.under_way)))
        elif what == "repeat" and self.under_way:
            fleet.obey(*self.under_way[mask % len(self.under_way)])
        elif what == "lose" and self.under_way:
            self.under_way.pop(mask % len(self.under_way))
        else:
            self._befall(what, seat, who)
        self._judge()

    def _befall(self, what: str, seat: Seat, who: Ids) -> None:
        fleet = self.fleet
        if what == "store lost":
            seat.reaches_store = False
            seat.manager.store_lost(fleet.now_s + seat.skew_s)
        elif what == "store back":
            self._store_back(seat)
        elif what == "take over" and fleet.store.tenure(AZ).epoch < 4:
            fleet.take_over(skew_s=3600.0 * len(fleet.seats))
        elif what == "wait":
            fleet.now_s += 7.0
        elif what == "long wait":
            fleet.now_s += 100.0
        elif what == "crash":
            fleet.hosts.stop(who)
            fleet.hosts.start(who, fleet.now_s)
            self.held[who] = 0  # what a host believed dies with it; its epoch does not

    def _store_back(self, seat: Seat) -> None:
        seat.reaches_store = True
        now_s = self.fleet.now_s + seat.skew_s
        if self.fleet.store.tenure(AZ).epoch != seat.manager.epoch:
            seat.manager.superseded()
            return
        amnesty = seat.manager.store_back(now_s)
        seat.manager.amnesty_recorded(amnesty is not None, now_s)

    def _contact(self, seat: Seat, who: Ids) -> None:
        self.fleet.hosts.contact(who, self.fleet.now_s)
        self._answer(seat, who)

    def _answer(self, seat: Seat, who: Ids) -> None:
        hosts = self.fleet.hosts
        said = (who, hosts.generation[who], hosts.epoch[who].astype(np.int64), hosts.sequence[who])
        self.contacts.append(said)
        self.under_way.append((seat, self.fleet.hear(seat, *said)))

    # --- what must never happen -------------------------------------------------------------------------

    def _judge(self) -> None:
        fleet, hosts = self.fleet, self.fleet.hosts
        recorded = fleet.recorded()
        assert (recorded >= self.recorded).all(), "a recorded generation went back"
        assert (hosts.epoch >= self.seen).all(), "a host went back to an older manager"
        assert (hosts.generation >= self.held).all(), "a host went back to an older lease"
        assert (hosts.generation <= recorded).all(), "a host holds a lease that is not recorded"
        self.recorded, self.held, self.seen = recorded, hosts.generation.copy(), hosts.epoch.copy()
        self._judge_ends()

    def _judge_ends(self) -> None:
        """A host's lease ends before that of whoever granted it, and before that of whoever took over from there."""
        fleet, hosts = self.fleet, self.fleet.hosts
        newest = fleet.seats[-1]
        clock_s = newest.manager.table.clock.at(fleet.now_s + newest.skew_s)
        for number in np.flatnonzero(hosts.ends_s > fleet.now_s).tolist():
            generation = int(hosts.generation[number])
            table = newest.manager.table
            if epoch_of(generation) > newest.manager.epoch or newest.manager.is_superseded:
                continue
            left_s = hosts.ends_s[number] - fleet.now_s
            assert table.is_leased[number], f"host {number} holds a lease that its manager believes to be over"
            assert left_s <= table.ends_s[number] - clock_s + 1e-6, f"host {number} holds its lease for longer"


@given(EVENTS)
@settings(max_examples=300, deadline=None)
def test_no_host_is_leased_twice_and_no_generation_goes_back(events: list[tuple[str, int, int]]) -> None:
    happening = Happening()
    for event in events:
        happening.happen(*event)


def test_a_renewal_by_the_next_manager_shortens_no_lease_that_the_last_one_gave() -> None:
    happening = Happening()
    for kind in ("call", "work", "deliver", "deliver", "wait", "take over", "contact"):
        happening.happen(kind, 0, 2**HOSTS - 1)
    for _ in range(20):
        for kind in ("contact", "work", "deliver", "deliver", "deliver"):
            happening.happen(kind, 1, 2**HOSTS - 1)


def test_hundreds_of_random_histories_lease_no_host_twice() -> None:
    assert sum(run_seed(seed) for seed in range(300)) > 300


def run_seed(seed: int) -> int:
    """One random history of faults; on how many hosts a lease was recorded in it."""
    rng = np.random.default_rng(seed)
    happening = Happening()
    for _ in range(60):
        happening.happen(KINDS[rng.integers(len(KINDS))], int(rng.integers(4)), int(rng.integers(2**HOSTS)))
    return int(np.count_nonzero(happening.fleet.recorded()))
