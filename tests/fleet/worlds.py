"""A small fleet with everything real but the network: managers, hosts' tables, the store's twin."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from evenkeel.fleet.arrays import Ids, JobKind, Replies, ReplyKind, Work
from evenkeel.fleet.hosts import HostTable
from evenkeel.fleet.sweep import SweepManager
from evenkeel.model.fleet import Granted, Host
from evenkeel.model.fleet_policy import SAFE_FLEET, FleetPolicy
from evenkeel.ports.fleet import Superseded
from evenkeel.twins import lease_store as twin

AZ = "a"


def ids(*numbers: int) -> Ids:
    return np.array(numbers, np.int32)


@dataclass
class Seat:
    """One manager's process. `skew_s` is how far its monotonic clock is off from the world's."""

    manager: SweepManager
    skew_s: float
    reaches_store: bool = True


@dataclass
class SmallFleet:
    """`size` hosts, and managers as they take over. Time is `now_s`; nothing happens by itself."""

    size: int
    policy: FleetPolicy = SAFE_FLEET
    seed: int = 1
    now_s: float = 0.0
    seats: list[Seat] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.hosts = HostTable(self.size, self.policy, self.rng)
        self.store = twin.State()
        for number in range(self.size):
            self.store, _ = twin.join(self.store, Host(0, f"host-{number}", AZ, 8, 4096))

    @property
    def everyone(self) -> Ids:
        return np.arange(self.size, dtype=np.int32)

    def recorded(self) -> np.ndarray:
        return np.array([host.generation for host in self.store.hosts_of(AZ)], np.int64)

    def take_over(self, skew_s: float = 0.0) -> Seat:
        """A new manager, by the store's compare-and-set."""
        epoch = self.store.tenure(AZ).epoch
        extend_s = self.policy.term_max_s + self.policy.amnesty_max_s
        self.store, won = twin.take(self.store, AZ, f"m{epoch + 1}", epoch, extend_s)
        assert won
        manager = SweepManager(self.policy, AZ, epoch + 1, self.rng, self.now_s + skew_s, capacity_per_s=100.0)
        manager.add(0, self.size)
        recorded = self.recorded()
        known = np.flatnonzero(recorded).astype(np.int32)
        manager.adopt(known, recorded[known], extend_s, self.now_s + skew_s)
        self.seats.append(Seat(manager, skew_s))
        return self.seats[-1]

    def hear(self, seat: Seat, who: Ids, generations: np.ndarray, epochs: np.ndarray, sequences: np.ndarray) -> Replies:
        return seat.manager.contacts(who, generations, epochs, sequences, self.now_s + seat.skew_s)

    def contact(self, seat: Seat, who: Ids) -> Replies:
        """Hosts contact this manager, and it hears them."""
        hosts = self.hosts
        hosts.contact(who, self.now_s)
        return self.hear(seat, who, hosts.generation[who], hosts.epoch[who].astype(np.int64), hosts.sequence[who])

    def obey(self, seat: Seat, replies: Replies) -> None:
        """The replies reach their hosts, which take or leave them."""
        for kind in (ReplyKind.GRANT, ReplyKind.WAIT):
            self.hosts.obey(replies.only(replies.kinds == kind), kind, seat.manager.epoch, self.now_s)

    def work(self, seat: Seat, units: float = 1000.0) -> Replies:
        """Take what there is, record it, complete it."""
        parts = []
        for work in seat.manager.take(units, self.now_s + seat.skew_s):
            ok = np.full(len(work), self._recorded(seat, work))
            parts.append(seat.manager.completed(work, ok, self.now_s + seat.skew_s))
        return Replies.joined(parts)

    def _recorded(self, seat: Seat, work: Work) -> bool:
        if work.kind is not JobKind.ESTABLISH:
            return True
        if not seat.reaches_store:
            seat.manager.store_lost(self.now_s + seat.skew_s)
            return False
        grants = [Granted(int(n), int(g)) for n, g in zip(work.ids, work.generations, strict=True)]
        try:
            self.store = twin.record_grants(self.store, AZ, seat.manager.epoch, grants)
        except Superseded:
            seat.manager.superseded()
            return False
        return True

    def call(self, seat: Seat) -> None:
        """One tick; whoever is called answers at once."""
        calls = seat.manager.tick(self.now_s + seat.skew_s)
        answering = self.hosts.called(calls.ids, seat.manager.epoch, self.now_s)
        hosts = self.hosts
        replies = self.hear(
            seat,
            answering,
            hosts.generation[answering],
            hosts.epoch[answering].astype(np.int64),
            hosts.sequence[answering],
        )
        self.obey(seat, replies)

    def sweep(self, seat: Seat, turns: int = 50) -> None:
        """Tick, work, reply; until all are leased or the turns are over."""
        for _ in range(turns):
            self.now_s += self.policy.tick_s
            self.call(seat)
            self.obey(seat, self.work(seat))
            seat.manager.spent(0.0, 0.0, self.policy.tick_s, self.now_s + seat.skew_s)
