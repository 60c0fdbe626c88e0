"""What every lease manager offers its driver.

One turn of a driver, each `policy.tick_s` or when something came:

    replies = manager.contacts(ids, generations, epochs, sequences, now_s)   # what agents said
    calls   = manager.tick(now_s)                                              # whom to call
    for work in manager.take(units, now_s):                                    # what to do
        ...do it, then
        replies = manager.completed(work, ok, now_s)                           # what came of it

`store_lost` and `store_back` tell it of its store; `spent` how the worker's time went, which is all that the capacity
is learnt from. A manager never raises on what a host says, only `InternalError` on a driver's mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from evenkeel.fleet.arrays import Calls, Flags, Generations, Ids, Replies, Work
from evenkeel.fleet.retries import RetryManager
from evenkeel.fleet.sweep import SweepManager
from evenkeel.model.fleet import Amnesty, FleetStatus
from evenkeel.model.fleet_policy import FleetPolicy, LeaseRecovery


class LeaseManager(Protocol):
    """The hosts of one az. Times are the driver's monotonic seconds, the same for every call."""

    epoch: int
    is_superseded: bool

    def contacts(
        self, ids: Ids, generations: Generations, epochs: Generations, sequences: Generations, now_s: float
    ) -> Replies:
        """Contacts as they came, in order; a host may stand there more than once. `generations` is what each host
        holds, `epochs` the greatest that each has seen, `sequences` each contact's own: what is not above a host's
        last one is stale or said twice, and not heard."""
        ...

    def reads(self, now_s: float) -> int:
        """How many contacts of hosts without a lease are worth reading now; the others may stay unread at their links.
        Contacts of hosts that `expects` are always read."""
        ...

    def expects(self, ids: Ids) -> Flags:
        """Whether each host's contact is to be read at once: it is leased, or called."""
        ...

    def tick(self, now_s: float) -> Calls:
        """Leases that end, calls that were not answered; and whom to call now."""
        ...

    def take(self, units: float, now_s: float) -> Sequence[Work]:
        """Jobs worth about `units` of work (at least one job, where there is one and `units` is above 0)."""
        ...

    def completed(self, work: Work, ok: Flags, now_s: float) -> Replies:
        """How jobs ended; grants for those that went well. What was not recorded for certain is not `ok`."""
        ...

    def spent(self, idle_s: float, admission_s: float, over_s: float, now_s: float) -> None:
        """Of the last `over_s`, the worker had nothing to do for `idle_s`, and messages took `admission_s`."""
        ...

    def store_lost(self, now_s: float) -> None:
        """The store does not answer. Idempotent."""
        ...

    def store_back(self, now_s: float) -> Amnesty | None:
        """It answers again. The record to write before anything else, where there is one; `amnesty_recorded`
        follows."""
        ...

    def amnesty_recorded(self, ok: bool, now_s: float) -> None:
        """Whether the record of `store_back` stands. The lease clock goes on only then."""
        ...

    def store_seen(self, at_s: float) -> None:
        """The store said that this manager's epoch stands, when asked at `at_s` or later. To be told every second or
        so: what a manager may promise its hosts is counted from here."""
        ...

    def superseded(self) -> None:
        """Another manager has taken over: no grant, call or launch from now on."""
        ...

    def demand(self, ids: Ids, weights: Ids) -> None:
        """Which hosts launches wait for; greater weights are called first."""
        ...

    def add(self, first: int, count: int) -> None:
        """Hosts `first` to `first + count - 1` have joined, without a lease."""
        ...

    def adopt(self, ids: Ids, generations: Generations, extend_s: float, now_s: float) -> None:
        """Leases recorded before this manager took over: they stand, by the amnesty of the takeover."""
        ...

    def launch(self, numbers: Ids, now_s: float) -> Flags:
        """Put launches in line, by numbers of the driver's; which of them found room there. They come back by `take`,
        or not at all when they are late."""
        ...

    def remove(self, ids: Ids) -> None:
        """Retired: their leases end, their numbers are not used again."""
        ...

    def leased(self, ids: Ids) -> Flags:
        """Whether each holds a lease by the manager's own clock: the only launch candidates."""
        ...

    def generations(self, ids: Ids) -> Generations:
        """Of the lease that each holds, 0 for none."""
        ...

    def status(self, now_s: float) -> FleetStatus: ...


def make_manager(
    policy: FleetPolicy, az: str, epoch: int, rng: np.random.Generator, now_s: float, capacity_per_s: float = 0.0
) -> SweepManager | RetryManager:
    """The manager that `policy` names, without any hosts yet. `epoch` is the one taken in the store, not before
    `now_s`; `capacity_per_s` what is persisted there."""
    if policy.recovery is LeaseRecovery.SWEEP:
        return SweepManager(policy, az, epoch, rng, now_s, capacity_per_s)
    return RetryManager(policy, az, epoch, rng)
