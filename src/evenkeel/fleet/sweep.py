"""The sweep: the manager goes to its hosts, at the capacity that it measures, and does not wait for their storm.

RECOVERY.md, "The sweep", by number: 1 amnesty (`store_lost`, `store_back`), 2 calls (`tick`, `calling`), 3 waits
(`contacts`, `pace`), 4 one place a host with a deadline (`admission.deadline_queue`), 5 the estimate
(`admission.capacity`), 6 terms (`terms`), 7 launches (`take`, `launches`), 8 the plan in every grant (`pace.armed`).
And a grant whose reply was lost is told again from the table, for the price of a message (`_regrants`).

A host is at one place: free, called, queued or in work. A call is answered by a contact, which takes a place in the
queue; what is taken from there is established by the driver, recorded in the store, and only then granted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenkeel.admission.budgets import WorkShare
from evenkeel.admission.capacity import CapacityEstimate
from evenkeel.admission.deadline_queue import DeadlineQueue
from evenkeel.fleet import pace, terms
from evenkeel.fleet.arrays import (
    Calls,
    Flags,
    Generations,
    Ids,
    JobKind,
    Replies,
    ReplyKind,
    Work,
    no_ids,
)
from evenkeel.fleet.calling import CallOrder, CallsOut
from evenkeel.fleet.launches import LaunchLine
from evenkeel.fleet.progress import Progress
from evenkeel.fleet.sweep_table import CALLED, FREE, QUEUED, WORKING, SweepTable
from evenkeel.model.errors import InternalError
from evenkeel.model.fleet import EPOCH_MAX, Amnesty, FleetStatus, first_generation
from evenkeel.model.fleet_policy import FleetPolicy, OnStoreLoss

EARLY_SHARE = 0.2  # of the interval: a renewal that comes no earlier than this is one
VERIFY_EVERY_S = 0.1  # between two looks at all hosts for such
VERIFY_AGAIN_S = 0.6  # between two calls to a host that has not shown that it knows its lease


class SweepManager:
    """`fleet.manager.LeaseManager` for one az."""

    def __init__(
        self,
        policy: FleetPolicy,
        az: str,
        epoch: int,
        rng: np.random.Generator,
        now_s: float,
        capacity_per_s: float = 0.0,
    ) -> None:
        """`epoch` as taken in the store, not before `now_s`; `capacity_per_s` as persisted there (0: none)."""
        if not 0 < epoch <= EPOCH_MAX:
            raise InternalError(f"an epoch is between 1 and {EPOCH_MAX}, not {epoch}")
        self.policy, self.az, self.epoch, self._rng = policy, az, epoch, rng
        self.is_superseded = False
        self.should_check_tenure = False  # a host has seen a greater epoch: ask the store who manages
        self.table = SweepTable()
        self.estimate = CapacityEstimate(capacity_per_s or policy.capacity_at_start)
        self.progress = Progress()
        self.grants = self.renewals = self.regrants = self.stale = self.waits = self.expired = self.amnesties = 0
        self._generation = first_generation(epoch)
        self._order = CallOrder(0, rng)
        self._establish = DeadlineQueue(0)
        self._renew = DeadlineQueue(0)
        self._launches = LaunchLine(policy.launches_queued_max, policy.launch_deadline_s)
        self._launch_share = WorkShare(policy.launch_share)
        self._calls = CallsOut(self.table, policy.call_timeout_s)
        self._working = 0
        self._held_back = False
        self._lost_at_s: float | None = None
        self._store_seen_s = now_s
        self._read_at_s: float | None = None
        self._reads = 0.0

    # --- hosts ------------------------------------------------------------------------------------------------

    def add(self, first: int, count: int) -> None:
        self.table.add(first, count)
        size = len(self.table)
        self.table.called_s[first : first + count] = -np.inf
        for table in (self._order, self._establish, self._renew):
            table.grow(size)

    def adopt(self, ids: Ids, generations: Generations, extend_s: float, now_s: float) -> None:
        """Leases that the store knew of when this manager took over: they stand, by the amnesty of the takeover."""
        self.table.adopt(ids, generations, extend_s, now_s)

    def go_on_above(self, generation: int) -> None:
        """Grants of this epoch up to `generation` are known already."""
        self._generation = max(self._generation, generation)

    def remove(self, ids: Ids) -> None:
        self._free(ids)
        self._establish.cancel(ids)
        self._renew.cancel(ids)
        self.table.remove(ids)
        self._order.answered(ids)

    def demand(self, ids: Ids, weights: Ids) -> None:
        self._order.demand(ids, weights)

    def leased(self, ids: Ids) -> Flags:
        held: Flags = self.table.is_leased[ids] & (not self.is_superseded)
        return held

    def generations(self, ids: Ids) -> Generations:
        held: Generations = np.where(self.table.is_leased[ids], self.table.generation[ids], 0)
        return held

    @property
    def queued(self) -> int:
        """Requests that wait for work."""
        return len(self._establish) + len(self._renew)

    @property
    def octets(self) -> int:
        """Of all tables that grow with the number of hosts."""
        return (
            self.table.octets + self.table.row_octets + self._order.octets + self._establish.octets + self._renew.octets
        )

    # --- messages in ------------------------------------------------------------------------------------------

    def reads(self, now_s: float) -> int:
        per_s = pace.reads_per_s(self.policy, self.estimate.per_s)
        since_s = 0.0 if self._read_at_s is None else now_s - self._read_at_s
        self._read_at_s = now_s
        self._reads = min(self._reads + per_s * since_s, per_s)
        return int(self._reads)

    def expects(self, ids: Ids) -> Flags:
        if self.table.leased_count == self.table.members == len(self.table):
            return np.ones(len(ids), np.bool_)
        recently = self.table.called_s[ids] > self._recent_s(self._last_seen_s)
        expected: Flags = self.table.is_leased[ids] | (self.table.place[ids] == CALLED) | recently
        return expected

    _last_seen_s = -np.inf

    def _recent_s(self, now_s: float) -> float:
        return now_s - self.policy.request_timeout_s

    def contacts(
        self, ids: Ids, generations: Generations, epochs: Generations, sequences: Generations, now_s: float
    ) -> Replies:
        self._last_seen_s = now_s
        if self.is_superseded or not len(ids):
            return Replies.none()
        self._expire(now_s)
        latest = self.table.hear(ids, sequences)
        self.stale += len(ids) - len(latest)
        ids, generations, epochs = ids[latest], generations[latest], epochs[latest]
        ahead = epochs > self.epoch
        if ahead.any():
            # A host's word alone deposes nobody: the store is asked.
            self.should_check_tenure = True
            fenced = Replies.same_kind(ids[ahead], ReplyKind.FENCED, 0, 0.0, self.table.sequence[ids[ahead]])
            ids, generations = ids[~ahead], generations[~ahead]
        else:
            fenced = Replies.none()
        if not len(ids):
            return fenced
        self._order.answered(ids)
        self._calls.heard(ids)
        told = self._from_leased(ids, generations, now_s)
        if self.table.leased_count == self.table.members:
            return Replies.joined([fenced, told])
        asked = ids[~self.table.is_leased[ids]]
        return Replies.joined([fenced, told, self._from_unleased(asked, now_s)])

    def _from_leased(self, ids: Ids, generations: Generations, now_s: float) -> Replies:
        """Renewals are queued; who only shows that it knows its lease, or does not know it yet, is told at once."""
        table = self.table
        is_leased = table.is_leased[ids]
        if not is_leased.any():
            return Replies.none()
        holds = is_leased & (generations == table.generation[ids])
        table.is_heard[ids[holds]] = True
        interval = self._interval_s()
        is_due = holds & (table.due_s[ids] - EARLY_SHARE * interval <= table.clock.at(now_s))
        self._put_off(ids, is_due, interval, now_s)
        self._renew.offer(ids[is_due], now_s + self.policy.request_timeout_s)
        above = is_leased & (generations > table.generation[ids])
        if above.any():
            # Its lease was recorded, and the record lost with the store: only a new lease can be above it.
            table.end(ids[above])
        return self._regrants(ids[is_leased & ~is_due & ~above], now_s)

    def _put_off(self, ids: Ids, is_due: Flags, interval: float, now_s: float) -> None:
        """While hosts are without a lease, those whose lease lasts are told to come again later, and are due no
        more."""
        left_s = self._eta_s()
        if not terms.is_recovering(interval, left_s):
            return
        due = np.flatnonzero(is_due)
        remaining_s = self.table.remaining_s(ids[due], now_s)
        later_s = terms.put_off_s(interval, left_s, remaining_s, self._rng.random(len(due)))
        can_wait = remaining_s > self.policy.term_s / 2
        waiting = due[can_wait]
        self.table.due_s[ids[waiting]] = self.table.clock.at(now_s) + later_s[can_wait]
        is_due[waiting] = False

    def _regrants(self, ids: Ids, now_s: float) -> Replies:
        """The leases that stand, told again: no work, nothing extended. While the lease clock stands still no renewal
        comes due, and asking a third as often as the lease is long is enough to go on knowing that it stands."""
        if not len(ids):
            return Replies.none()
        self.regrants += len(ids)
        left_s = self.table.remaining_s(ids, now_s)
        due_s = np.maximum(self.table.due_s[ids] - self.table.clock.at(now_s), self.policy.poll_min_s)
        if self._lost_at_s is not None:
            due_s = np.maximum(due_s, left_s / 3)
        return self._granted(ids, left_s, np.minimum(due_s, left_s), now_s)

    def _granted(self, ids: Ids, terms_s: np.ndarray, nexts_s: np.ndarray, now_s: float) -> Replies:
        may_promise_s = self._may_promise_s(now_s)
        if may_promise_s <= 0:
            return Replies.none()
        terms_s = np.minimum(terms_s, may_promise_s)
        polls_s, phases_s = pace.armed(self.policy, self._rng.random(len(ids)))
        return Replies.same_kind(
            ids,
            ReplyKind.GRANT,
            self.table.generation[ids],
            nexts_s.astype(np.float32),
            self.table.sequence[ids],
            terms.told(terms_s),
            polls_s,
            phases_s,
        )

    def _from_unleased(self, ids: Ids, now_s: float) -> Replies:
        free = ids[self.table.place[ids] == FREE]
        if not len(free) or self._lost_at_s is not None:
            return self._waits(free, now_s)
        was_called = self.table.called_s[free] > self._recent_s(now_s)
        is_taken = was_called
        room = int(self._room_units() / self.policy.costs.establish)
        if self.table.members - self.table.leased_count <= room:
            # Nothing to recover: a host that joins or reboots is served at once.
            is_taken = np.ones(len(free), np.bool_)
        taken = free[is_taken]
        self._establish.offer(taken, now_s + self.policy.request_timeout_s)
        self.table.place[taken] = QUEUED
        return self._waits(free[~is_taken], now_s)

    def _waits(self, ids: Ids, now_s: float) -> Replies:
        if not len(ids):
            return Replies.none()
        self.waits += len(ids)
        self._reads -= len(ids)
        unleased = self.table.members - self.table.leased_count
        nexts_s = pace.wait_s(self.policy, unleased, self.estimate.per_s, self._rng.random(len(ids)))
        return Replies.same_kind(ids, ReplyKind.WAIT, 0, nexts_s, self.table.sequence[ids], self._eta_s())

    # --- calls out --------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> Calls:
        self._last_seen_s = now_s
        if self.is_superseded:
            return self._calls.call(no_ids(), now_s)
        self._expire(now_s)
        for silent in self._calls.given_up(now_s):
            self._order.missed(silent[~self.table.is_leased[silent]], now_s)
        self.progress.look(self._missing(), self.table.members, now_s)
        if self._lost_at_s is not None:
            return self._calls.call(no_ids(), now_s)
        return self._call_next(now_s)

    def _expire(self, now_s: float) -> None:
        """Before anything is said of a lease: this process may have been stopped for an hour since it last looked."""
        over = self.table.expire(now_s)
        if len(over):
            self.expired += len(over)
            self._free(over)

    def _room_units(self) -> float:
        """Work that may still be called for, so that the worker has `work_ahead_s` before it and no more."""
        policy = self.policy
        called = self._calls.answered_share * self._calls.under_way
        ahead = (len(self._establish) + self._working + called) * policy.costs.establish
        return max(policy.work_ahead_s * self.estimate.per_s, policy.costs.establish) - ahead

    def _call_next(self, now_s: float) -> Calls:
        establish = self.policy.costs.establish
        answers = self._calls.answered_share
        window = 4 * self.policy.work_ahead_s * self.estimate.per_s / establish / answers + 1
        wanted = min(int(np.ceil(self._room_units() / establish / answers)), int(window) - self._calls.under_way)
        if self.table.leased_count == self.table.members:
            ids = no_ids()
        else:
            ids = self._order.next(wanted, self.table.may_be_called, now_s)
        self._held_back = len(ids) >= wanted
        if len(ids) < wanted:
            ids = np.concatenate([ids, self._to_verify(wanted - len(ids), now_s)])
        return self._calls.call(ids, now_s)

    def _to_verify(self, count: int, now_s: float) -> Ids:
        """Hosts granted a lease of late that have not shown that they know it: their grant may be lost. Those granted
        longer ago have come again by themselves, by the pace of their last grant."""
        since_s = now_s - self.policy.poll_max_s - self.policy.poll_min_s
        if count <= 0 or self._granted_last_s < since_s or now_s < self._verified_s + VERIFY_EVERY_S:
            return no_ids()
        self._verified_s = now_s
        return self.table.unheard(since_s, now_s - self.policy.call_timeout_s, now_s - VERIFY_AGAIN_S)[:count]

    _granted_last_s = -np.inf
    _verified_s = -np.inf

    # --- work -------------------------------------------------------------------------------------------------

    def launch(self, numbers: Ids, now_s: float) -> Flags:
        """Put launches in line; which of them found room there. They come back by `take`, or not at all when late."""
        if self.is_superseded:
            return np.zeros(len(numbers), np.bool_)
        return self._launches.offer(numbers, now_s)

    def take(self, units: float, now_s: float) -> Sequence[Work]:
        if units <= 0 or self.is_superseded:
            return ()
        self._expire(now_s)
        costs = self.policy.costs
        works = []
        renewals, _ = self._renew.take(_jobs(units, costs.renew), now_s)
        renewals = renewals[self.table.is_leased[renewals]]
        if len(renewals):
            works.append(self._work(JobKind.RENEW, renewals, self.table.generation[renewals], costs.renew))
            units -= len(renewals) * costs.renew
        if self._lost_at_s is None:
            works += self._take_launches(units, now_s)
            units -= sum(work.units for work in works if work.kind is JobKind.LAUNCH)
            works += self._take_establishments(units, now_s)
        return works

    def _take_launches(self, units: float, now_s: float) -> list[Work]:
        if units <= 0 or not len(self._launches):
            return []
        cost = self.policy.costs.launch
        others = len(self._establish) * self.policy.costs.establish
        room = self._launch_share.room(units, len(self._launches) * cost, others)
        numbers = self._launches.take(int(room / cost), now_s)
        self._launch_share.used(len(numbers) * cost)
        if not len(numbers):
            return []
        nothing = np.zeros(len(numbers), np.int64)
        return [Work(JobKind.LAUNCH, numbers, nothing, nothing, len(numbers) * cost)]

    def _take_establishments(self, units: float, now_s: float) -> list[Work]:
        cost = self.policy.costs.establish
        if units <= 0:
            return []
        ids, late = self._establish.take(_jobs(units, cost), now_s)
        self.table.place[late] = FREE
        if not len(ids):
            return []
        self.table.place[ids] = WORKING
        self._working += len(ids)
        generations = np.arange(self._generation + 1, self._generation + 1 + len(ids), dtype=np.int64)
        self._generation += len(ids)
        return [self._work(JobKind.ESTABLISH, ids, generations, cost)]

    def _work(self, kind: JobKind, ids: Ids, generations: Generations, cost: float) -> Work:
        return Work(kind, ids, generations, self.table.sequence[ids], len(ids) * cost)

    def completed(self, work: Work, ok: Flags, now_s: float) -> Replies:
        self._expire(now_s)
        self.estimate.done(work.units)
        if work.kind is JobKind.ESTABLISH:
            return self._established(work, ok, now_s)
        if work.kind is JobKind.RENEW:
            return self._renewed(work, ok, now_s)
        return Replies.none()

    def _established(self, work: Work, ok: Flags, now_s: float) -> Replies:
        self._free(work.ids)
        if self.is_superseded:
            return Replies.none()
        ok = ok & self.table.is_member[work.ids]
        ids = work.ids[ok]
        self.progress.done(work.units * len(ids) / len(work.ids), self.estimate.per_s)
        due_s, terms_s = self._lease(len(ids))
        self.table.grant(ids, work.generations[ok], due_s, terms_s, now_s)
        self._granted_last_s = now_s
        self.grants += len(ids)
        return self._granted(ids, terms_s, due_s, now_s)

    def _renewed(self, work: Work, ok: Flags, now_s: float) -> Replies:
        if self.is_superseded:
            return Replies.none()
        ids = work.ids[ok & self.table.holds(work.ids, work.generations)]
        due_s, terms_s = self._lease(len(ids))
        self.table.renew(ids, due_s, terms_s, now_s)
        self.renewals += len(ids)
        return self._granted(ids, terms_s, due_s, now_s)

    def _interval_s(self) -> float:
        return terms.interval_s(self.policy, self.table.members, self.estimate.per_s)

    def _lease(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """When `count` leases are due, and how long they are."""
        interval = self._interval_s()
        left_s = self._eta_s()
        due_s = terms.due_in_s(interval, left_s, self._rng.random(count))
        return due_s, terms.terms_s(interval, left_s, due_s, self.policy)

    def _free(self, ids: Ids) -> None:
        places = self.table.place[ids]
        self._calls.dropped(int(np.count_nonzero(places == CALLED)))
        self._working -= int(np.count_nonzero(places == WORKING))
        self._establish.cancel(ids[places == QUEUED])
        self.table.place[ids] = FREE

    # --- store, capacity, tenure ------------------------------------------------------------------------------

    def store_lost(self, now_s: float) -> None:
        if self._lost_at_s is None:
            self._lost_at_s = now_s
            if self.policy.on_store_loss is OnStoreLoss.AMNESTY:
                self.table.clock.stop(now_s, self.policy.amnesty_max_s)

    def store_seen(self, at_s: float) -> None:
        """The store said, when asked at `at_s` or later, that this manager's epoch stands."""
        self._store_seen_s = max(self._store_seen_s, at_s)

    def _may_promise_s(self, now_s: float) -> float:
        """The longest term that may be told now. Whoever takes over lets leases stand for as long as this manager can
        have promised without its store, counted from a takeover that cannot have been before the store was last seen:
        so no host holds a lease that a later manager believes to be over, however long this process was stopped in
        between."""
        return self._store_seen_s + self.policy.amnesty_max_s + self.policy.term_max_s - now_s

    def store_back(self, now_s: float) -> Amnesty | None:
        if self._lost_at_s is None:
            return None
        if self.policy.on_store_loss is not OnStoreLoss.AMNESTY:
            self.amnesty_recorded(True, now_s)
            return None
        return Amnesty(self.epoch, self._generation, self.policy.term_max_s + self.policy.amnesty_max_s)

    def amnesty_recorded(self, ok: bool, now_s: float) -> None:
        if ok and self._lost_at_s is not None:
            self.amnesties += self.table.clock.was_stopped
            self.table.clock.go_on(now_s)
            self._lost_at_s = None

    def superseded(self) -> None:
        self.is_superseded = True

    def spent(self, idle_s: float, admission_s: float, over_s: float, now_s: float) -> None:
        self.estimate.spent(idle_s, admission_s, over_s, self._held_back and self._lost_at_s is None)

    # --- how it stands ----------------------------------------------------------------------------------------

    def _missing(self) -> int:
        """Hosts without a lease that are waited for."""
        return max(0, self.table.members - self.table.leased_count - self._order.silent)

    def _eta_s(self) -> float:
        return self._missing() * self.policy.costs.establish / self.estimate.per_s

    def status(self, now_s: float) -> FleetStatus:
        eta_s = self._eta_s()
        return FleetStatus(
            self.az,
            self.epoch,
            self.table.members,
            self.table.leased_count,
            int(np.count_nonzero(self.table.is_leased & ~self.table.is_heard)),
            self._lost_at_s is not None,
            self.queued,
            self._calls.under_way,
            self.estimate.per_s,
            eta_s,
            self.progress.elapsed_s(now_s),
            self.progress.bound_s,
            self.progress.x_bound(eta_s, now_s),
            self.amnesties,
            self.grants,
            self.renewals,
            self.regrants,
            self.waits,
            self._calls.made,
            self._establish.dropped + self._renew.dropped,
            self.expired,
        )


def _jobs(units: float, cost: float) -> int:
    """How many jobs `units` are worth; at least one."""
    return max(int(units / cost + 1e-9), 1)
