"""Managers that wait to be asked: hosts retry, a queue takes what comes, and it is worked off in order.

October 2025's (`FIFO`): each request is state-checked against the store in its turn, even if the host has long given
it up and asked again. From some backlog on, every answer is too late, and the manager works at its limit for nothing:
congestive collapse. The others are designs in use elsewhere, for comparison: dropping what is too late, a token
bucket, Gradient2, and times to live that grow with the fleet (RECOVERY.md has the figures of all).

Two remedies are levers, as at 4:14 AM: `throttle` lets only so many hosts without a lease in a second, at the door and
at no cost, and `restart` throws the queues away. Leases that were granted stay in the table, as they did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from evenkeel.admission.limiters import Gradient2, Limiter, NoLimit, TokenBucket
from evenkeel.fleet import terms
from evenkeel.fleet.arrays import Calls, Flags, Generations, Ids, JobKind, Replies, ReplyKind, Work, no_ids
from evenkeel.fleet.launches import LaunchLine
from evenkeel.fleet.lease_table import LeaseTable
from evenkeel.fleet.progress import Progress
from evenkeel.model.fleet import Amnesty, FleetStatus, first_generation
from evenkeel.model.fleet_policy import FleetPolicy, LeaseRecovery

SPREAD_MIN_S = 10.0  # Nomad's least time to live
EXPIRE_EVERY_SHARE = 0.01  # of a term, between two looks for leases that are over
THROTTLE_BURST_S = 10.0
FINISH_SHARE = 0.1  # of its time that a request still needs when its turn comes; with less it is dropped


class _Batch:
    """Requests that came together."""

    __slots__ = ("came_s", "generations", "ids", "sequences")

    def __init__(self, came_s: float, ids: Ids, generations: Generations, sequences: Generations) -> None:
        self.came_s, self.ids, self.generations, self.sequences = came_s, ids, generations, sequences

    def drop(self, count: int) -> None:
        """Without the first `count` of them."""
        self.ids, self.generations, self.sequences = self.ids[count:], self.generations[count:], self.sequences[count:]


class RetryManager:
    """`fleet.manager.LeaseManager` without calls, waits or amnesty."""

    def __init__(self, policy: FleetPolicy, az: str, epoch: int, rng: np.random.Generator) -> None:
        self.policy, self.az, self.epoch, self._rng = policy, az, epoch, rng
        self.is_superseded = False
        self.should_check_tenure = False
        self.table = LeaseTable()
        self.progress = Progress()
        self.grants = self.renewals = self.dropped = self.refusals = self.expired = self.turned_away = 0
        self._generation = first_generation(epoch)
        self._queue: deque[_Batch] = deque()
        self._queued = 0
        self._launches = LaunchLine(policy.launches_queued_max, policy.launch_deadline_s)
        self._limiter = _limiter(policy)
        self._throttle: TokenBucket | None = None
        self._store_is_lost = False
        self._expired_at_s = -np.inf

    # --- hosts ------------------------------------------------------------------------------------------------

    def add(self, first: int, count: int) -> None:
        self.table.add(first, count)

    def adopt(self, ids: Ids, generations: Generations, extend_s: float, now_s: float) -> None:
        """Leases that the store knew of stand for one term."""
        self.table.adopt(ids, generations, self.policy.term_s, now_s)

    def remove(self, ids: Ids) -> None:
        self.table.remove(ids)

    def demand(self, ids: Ids, weights: Ids) -> None:
        """Whoever asks is served; what launches wait for makes no difference."""

    def leased(self, ids: Ids) -> Flags:
        held: Flags = self.table.is_leased[ids] & (not self.is_superseded)
        return held

    def generations(self, ids: Ids) -> Generations:
        held: Generations = np.where(self.table.is_leased[ids], self.table.generation[ids], 0)
        return held

    @property
    def queued(self) -> int:
        """Requests that wait for work."""
        return self._queued

    # --- the levers of 4:14 AM --------------------------------------------------------------------------------

    def throttle(self, per_s: float | None) -> None:
        """Let in only so many requests a second; None takes it away."""
        self._throttle = None if per_s is None else TokenBucket(per_s, THROTTLE_BURST_S)

    def restart(self, share: float = 1.0) -> int:
        """Throw away the oldest `share` of what is queued: how many requests went."""
        goes, gone = int(self._queued * share), 0
        while self._queue and gone < goes:
            gone += len(self._queue.popleft().ids)
        self._queued -= gone
        return gone

    # --- messages in ------------------------------------------------------------------------------------------

    def reads(self, now_s: float) -> int:
        return 1 << 30

    def expects(self, ids: Ids) -> Flags:
        return np.ones(len(ids), np.bool_)

    def contacts(
        self, ids: Ids, generations: Generations, epochs: Generations, sequences: Generations, now_s: float
    ) -> Replies:
        if self.is_superseded:
            return Replies.none()
        self.should_check_tenure |= bool((epochs > self.epoch).any())
        is_ours = epochs <= self.epoch
        if self.table.members < len(self.table):
            is_ours &= self.table.is_member[ids]
        if not is_ours.all():
            ids, generations, sequences = ids[is_ours], generations[is_ours], sequences[is_ours]
        if self._throttle is not None:
            is_in = self._through_the_door(self._throttle, ids, generations, now_s)
            ids, generations, sequences = ids[is_in], generations[is_in], sequences[is_in]
        count = self._limiter.admit(len(ids), self._queued, now_s)
        if count < len(ids):
            chosen = self._rng.permutation(len(ids))
            refused, taken = chosen[count:], chosen[:count]
            replies = self._refuse(ids[refused], sequences[refused])
            ids, generations, sequences = ids[taken], generations[taken], sequences[taken]
        else:
            replies = Replies.none()
        if len(ids):
            self._queue.append(_Batch(now_s, ids, generations, sequences))
            self._queued += len(ids)
        return replies

    def _refuse(self, ids: Ids, sequences: Generations) -> Replies:
        """A limiter says so; a queue that is full says nothing, and the host's request times out."""
        if isinstance(self._limiter, NoLimit):
            self.dropped += len(ids)
            return Replies.none()
        self.refusals += len(ids)
        return Replies.same_kind(ids, ReplyKind.REFUSED, 0, 0.0, sequences)

    def _through_the_door(self, throttle: TokenBucket, ids: Ids, generations: Generations, now_s: float) -> Flags:
        """Renewals, and as many others as the throttle lets in; the rest is turned away unread, and times out."""
        is_in = self.table.holds(ids, generations)
        others = self._rng.permutation(np.flatnonzero(~is_in))
        count = throttle.admit(len(others), self._queued, now_s)
        is_in[others[:count]] = True
        self.turned_away += len(others) - count
        return is_in

    def tick(self, now_s: float) -> Calls:
        if now_s >= self._expired_at_s + EXPIRE_EVERY_SHARE * self.policy.term_s:
            self._expired_at_s = now_s
            self.expired += len(self.table.expire(now_s))
        self.progress.look(self.table.members - self.table.leased_count, self.table.members, now_s)
        return Calls(0, no_ids())

    # --- work -------------------------------------------------------------------------------------------------

    def launch(self, numbers: Ids, now_s: float) -> Flags:
        """Launches wait in a line of their own, and come first: customers see the control plane by them."""
        return self._launches.offer(numbers, now_s)

    def take(self, units: float, now_s: float) -> Sequence[Work]:
        costs = self.policy.costs
        works: list[Work] = []
        if len(self._launches) and units > 0:
            numbers = self._launches.take(max(1, int(self.policy.launch_share * units / costs.launch)), now_s)
            nothing = np.zeros(len(numbers), np.int64)
            works.append(Work(JobKind.LAUNCH, numbers, nothing, nothing, len(numbers) * costs.launch))
            units -= works[-1].units
        while units > 0 and self._queue:
            batch = self._queue[0]
            if self._is_late(batch, now_s):
                self._queue.popleft()
                self._queued -= len(batch.ids)
                self.dropped += len(batch.ids)
                continue
            units -= self._take_from(batch, units, works, now_s)
        return works

    def _is_late(self, batch: _Batch, now_s: float) -> bool:
        drops = self.policy.recovery is LeaseRecovery.DEADLINE_DROP
        return drops and now_s > batch.came_s + (1.0 - FINISH_SHARE) * self.policy.request_timeout_s

    def _take_from(self, batch: _Batch, units: float, works: list[Work], now_s: float) -> float:
        """Take jobs from the oldest batch, worth about `units`; what they are worth."""
        costs = self.policy.costs
        at_most = int(units / min(costs.renew, costs.establish)) + 1
        # Who asks without knowing a lease has to be checked, whatever the table says: its grant came too late.
        is_renewal = self.table.holds(batch.ids[:at_most], batch.generations[:at_most])
        each = np.where(is_renewal, costs.renew, costs.establish)
        count = min(int(np.searchsorted(np.cumsum(each), units)) + 1, len(each))
        ids, sequences, is_renewal = batch.ids[:count], batch.sequences[:count], is_renewal[:count]
        if count == len(batch.ids):
            self._queue.popleft()
        else:
            batch.drop(count)
        self._queued -= count
        self._limiter.finished(now_s - batch.came_s, self._queued)
        renew, renew_answers = ids[is_renewal], sequences[is_renewal]
        establish, answers = ids[~is_renewal], sequences[~is_renewal]
        if len(renew):
            of = self.table.generation[renew]
            works.append(Work(JobKind.RENEW, renew, of, renew_answers, len(renew) * costs.renew))
        if len(establish):
            of = np.arange(self._generation + 1, self._generation + 1 + len(establish), dtype=np.int64)
            self._generation += len(establish)
            works.append(Work(JobKind.ESTABLISH, establish, of, answers, len(establish) * costs.establish))
        return float(len(renew) * costs.renew + len(establish) * costs.establish)

    def completed(self, work: Work, ok: Flags, now_s: float) -> Replies:
        if work.kind is JobKind.LAUNCH or self.is_superseded:
            return Replies.none()
        ok = ok & self.table.is_member[work.ids]
        if work.kind is JobKind.RENEW:
            ok &= self.table.holds(work.ids, work.generations)
        ids, answers = work.ids[ok], work.answers[ok]
        due_s, terms_s = self._lease(len(ids))
        if work.kind is JobKind.RENEW:
            self.table.renew(ids, due_s, terms_s, now_s)
            self.renewals += len(ids)
        else:
            self.table.grant(ids, work.generations[ok], due_s, terms_s, now_s)
            self.grants += len(ids)
        generations = work.generations[ok]
        return Replies.same_kind(
            ids, ReplyKind.GRANT, generations, due_s.astype(np.float32), answers, terms.told(terms_s)
        )

    def _lease(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """When leases are due, and how long they are: a term and renewals at half of it, or by the number of timers."""
        if self.policy.recovery is LeaseRecovery.TIMER_SPREAD:
            least_s = max(SPREAD_MIN_S, self.table.leased_count / self.policy.spread_per_s)
            due_s = least_s * (1.0 + self._rng.random(count))
            return due_s, due_s + SPREAD_MIN_S
        due_s = self.policy.term_s / 2 * (0.9 + 0.2 * self._rng.random(count))
        return due_s, np.full(count, self.policy.term_s)

    # --- store, capacity, tenure ------------------------------------------------------------------------------

    def store_lost(self, now_s: float) -> None:
        self._store_is_lost = True

    def store_back(self, now_s: float) -> Amnesty | None:
        self._store_is_lost = False
        return None

    def amnesty_recorded(self, ok: bool, now_s: float) -> None:
        """There is none."""

    def store_seen(self, at_s: float) -> None:
        """Its leases are short, and take no longer than their term to run out."""

    def superseded(self) -> None:
        self.is_superseded = True

    def spent(self, idle_s: float, admission_s: float, over_s: float, now_s: float) -> None:
        """Nothing is learnt from it."""

    def status(self, now_s: float) -> FleetStatus:
        """Without a measured capacity there is no honest ETA: it is 0 when all are leased, and -1 otherwise."""
        missing = self.table.members - self.table.leased_count
        return FleetStatus(
            self.az,
            self.epoch,
            self.table.members,
            self.table.leased_count,
            int(np.count_nonzero(self.table.is_leased & ~self.table.is_heard)),
            self._store_is_lost,
            self.queued,
            0,
            0.0,
            -1.0 if missing else 0.0,
            self.progress.elapsed_s(now_s),
            0.0,
            0.0,
            0,
            self.grants,
            self.renewals,
            0,
            self.refusals,
            0,
            self.dropped,
            self.expired,
        )


def _limiter(policy: FleetPolicy) -> Limiter:
    if policy.recovery is LeaseRecovery.TOKEN_BUCKET:
        return TokenBucket(policy.admitted_per_s)
    if policy.recovery is LeaseRecovery.GRADIENT2:
        return Gradient2()
    return NoLimit(policy.queued_max)
