"""One rehearsal of a fleet: windows of virtual time, each a turn of the manager's driver over real tables.

What is stood in for: the worker (units of work a second), the network (a fixed way, replies that get lost), the store
(up or down). A contact of a host without a lease lies at its link, where a newer one takes its place, until its
manager reads it: that costs nothing. What a manager reads and does not take up costs a message, and so does every call.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from evenkeel.fleet.arrays import Ids, JobKind, Replies, ReplyKind, Work, no_ids
from evenkeel.fleet.hosts import HostTable
from evenkeel.fleet.launches import SAMPLE
from evenkeel.fleet.manager import make_manager
from evenkeel.fleet.retries import RetryManager
from evenkeel.fleet.sweep import SweepManager
from evenkeel.fleet.terms import told
from evenkeel.model.fleet import first_generation
from evenkeel.model.fleet_policy import LeaseRecovery
from evenkeel.sim.chance import Streams
from evenkeel.sim.fleet.scene import Measured, Minute, Scene
from evenkeel.sim.fleet.wheel import Wheel

HELD_EVERY_MAX_S = 60.0
BACKLOG_MAX_S = 5.0  # of messages that lie before the worker
MINUTE_S = 60.0  # by which launches are judged, and the course of a run is kept
JUDGED_EVERY = 10  # minutes: a look at all hosts
RECORDED = "a host holds no lease that is not recorded"
HOST_ENDS_FIRST = "no manager believes a lease to be over that its host holds"
LAUNCHES_WELL = 0.95  # of those asked within that time; some are still in line
LEASED_AT_ONCE = 50_000  # at the start, so that they are not all in memory twice
HOSTS_EVERY_S = 0.1  # between two looks at whose time has come


class FleetRun:
    """Builds the fleet of one scene, and lets time pass."""

    def __init__(self, scene: Scene) -> None:
        self.scene, policy = scene, scene.policy
        streams = Streams(scene.seed)
        self._chance = streams.table_stream("fleet/network")
        self._manager_chance = streams.table_stream("fleet/manager")
        self.hosts = HostTable(scene.hosts, policy, streams.table_stream("fleet/hosts"))
        self.wheel = Wheel(self.hosts.next_s)
        self.everyone: Ids = np.arange(scene.hosts, dtype=np.int32)
        self.is_sweep = policy.recovery is LeaseRecovery.SWEEP
        self.recorded = np.zeros(scene.hosts, np.int64)  # the store: generations by host
        self.epoch = 0
        self.now_s = 0.0
        self._unread = np.zeros(scene.hosts, np.bool_)
        self._line: deque[Ids] = deque()  # unread contacts in the order in which they came
        self._to_manager: deque[tuple[float, Ids]] = deque()
        self._to_hosts: deque[tuple[float, Replies, int]] = deque()
        self._calls: deque[tuple[float, Ids, int]] = deque()
        self._turned_away = self._launched_in_recovery = self._asked_before = self._launched_before = 0
        self._minute_began_s = 0.0
        self._grants_before = 0
        self._held_last = 0
        self._sent = no_ids()  # contacts since the wheel was looked at
        self._debt = 0.0  # units that the worker is behind
        self._is_down_until_s: float | None = None
        self._launch_number = self._launch_owed = 0.0
        self._levers = deque(sorted(scene.levers, key=lambda lever: lever.at_s))
        self._store_was_down = False
        self._store_back_at_s: float | None = None
        self._held_looked_s = self._hosts_looked_s = -np.inf
        alive = self._kill_dead_hosts()
        self.measured = Measured(scene, alive)
        self.measured.held_min = alive
        self.measured.broken = dict.fromkeys((RECORDED, HOST_ENDS_FIRST), 0)
        self.manager = self._start_manager(scene.capacity_known)
        if scene.starts_leased:
            self._lease_all()
        else:
            self.hosts.next_s[:] = np.where(self.hosts.is_up, scene.burst_s * self._chance.random(scene.hosts), np.inf)
        for start in range(0, scene.hosts, LEASED_AT_ONCE):
            self.wheel.put(self.everyone[start : start + LEASED_AT_ONCE])

    def _kill_dead_hosts(self) -> int:
        dead = int(self.scene.dead_share * self.scene.hosts)
        if dead:
            self.hosts.stop(self._chance.permutation(self.scene.hosts)[:dead].astype(np.int32))
        return self.scene.hosts - dead

    def _start_manager(self, capacity_per_s: float) -> SweepManager | RetryManager:
        self.epoch += 1
        manager = make_manager(self.scene.policy, "a", self.epoch, self._manager_chance, self.now_s, capacity_per_s)
        manager.add(0, self.scene.hosts)
        known = np.flatnonzero(self.recorded).astype(np.int32)
        extend_s = self.scene.policy.term_max_s
        manager.adopt(known, self.recorded[known], extend_s, self.now_s)
        return manager

    def _lease_all(self) -> None:
        """As after hours of peace: every host holds a lease, renewals evenly spread."""
        up = np.flatnonzero(self.hosts.is_up).astype(np.int32)
        for start in range(0, len(up), LEASED_AT_ONCE):
            self._lease(up[start : start + LEASED_AT_ONCE], first_generation(self.epoch) + 1 + start)
        if isinstance(self.manager, SweepManager):
            self.manager.go_on_above(first_generation(self.epoch) + len(up))

    def _lease(self, ids: Ids, generation: int) -> None:
        hosts, table, policy = self.hosts, self.manager.table, self.scene.policy
        interval_s = policy.term_s / 3
        due_s = interval_s * self._chance.random(len(ids))
        terms_s = due_s + 2 * interval_s
        generations = np.arange(generation, generation + len(ids))
        hosts.contact(ids, 0.0)
        table.grant(ids, generations, due_s, terms_s, 0.0)
        table.is_heard[ids] = True
        self.recorded[ids] = generations
        polls_s = np.full(len(ids), policy.poll_max_s, np.float32)
        phases_s = polls_s * self._chance.random(len(ids)).astype(np.float32)
        short = due_s.astype(np.float32)
        answers = hosts.sequence[ids]
        hosts.granted(ids, self.epoch, generations, answers, told(terms_s), short, polls_s, phases_s, 0.0)

    # --- time -------------------------------------------------------------------------------------------------

    def run(self, on_progress: Callable[[float], None] | None = None) -> Measured:
        """To the end, or until every live host holds its lease where the scene says to stop then. `on_progress` is
        told of the virtual time, every minute of it."""
        scene, told_s = self.scene, 0.0
        while self.now_s < scene.lasts_s:
            if on_progress is not None and self.now_s >= told_s + MINUTE_S:
                told_s = self.now_s
                on_progress(self.now_s)
            window_s = min(self._window_s(), scene.lasts_s - self.now_s)
            self._turn(window_s)
            if self.measured.leased_at_s is not None and scene.stops_when_leased:
                break
        return self._finish()

    def _window_s(self) -> float:
        missing = self.manager.table.members - self.manager.table.leased_count
        if not missing and not self._unsettled():
            return self.scene.window_max_s
        if self.is_sweep:
            return self.scene.window_s if not self._store_was_down else self.scene.window_storm_s
        return self.scene.window_storm_s

    def _unsettled(self) -> bool:
        """Whether hosts may not know their leases yet."""
        return self.measured.leased_at_s is None and not self._store_was_down

    def _turn(self, window_s: float) -> None:
        now_s = self.now_s
        end_s = now_s + window_s
        self._pull_levers()
        self._look_at_store()
        self._restart_manager()
        self._send_contacts()
        if self._is_down_until_s is None:
            messages = self._deliver_to_manager(end_s)
            messages += self._tick(now_s)
            self._work(window_s, messages)
        else:
            self._to_manager.clear()
        self._deliver_to_hosts(end_s)
        self.now_s = end_s
        self._judge_minute()
        self.measured.windows += 1
        self._count_held()

    # --- hosts ------------------------------------------------------------------------------------------------

    def _send_contacts(self) -> None:
        """Of hosts whose time had come when the window began: a way that is shorter than a window ends within it, so
        that nobody asks again only because windows are long."""
        now_s = self.now_s
        if now_s < self._hosts_looked_s + HOSTS_EVERY_S:
            return
        self._hosts_looked_s = now_s
        # Most have had their reply by now, which is in the wheel already.
        self.wheel.put(self._sent[self.hosts.waits[self._sent]])
        self._sent = no_ids()
        ids = self.wheel.due(now_s)  # never one that is down: its time does not come
        if len(ids):
            self.hosts.contact(ids, now_s)
            self._sent = ids
            self._to_manager.append((now_s + self.scene.one_way_s, ids))

    def _deliver_to_hosts(self, now_s: float) -> None:
        while self._calls and self._calls[0][0] <= now_s:
            _, ids, epoch = self._calls.popleft()
            ids = self.hosts.called(ids, epoch, now_s)
            self.wheel.put(ids)
            self._to_manager.append((now_s + self.scene.one_way_s, ids))
        while self._to_hosts and self._to_hosts[0][0] <= now_s:
            _, replies, epoch = self._to_hosts.popleft()
            self._obey(replies, epoch, now_s)

    def _obey(self, replies: Replies, epoch: int, now_s: float) -> None:
        if self.scene.lost_replies:
            replies = replies.only(self._chance.random(len(replies)) >= self.scene.lost_replies)
        for kind in ReplyKind:
            these = replies.kinds == kind
            if these.any():
                part = replies if these.all() else replies.only(these)
                self.wheel.put(self.hosts.obey(part, kind, epoch, now_s))

    # --- the manager's driver ---------------------------------------------------------------------------------

    def _deliver_to_manager(self, now_s: float) -> int:
        """Read what is expected, some of the rest; how many messages that were."""
        came = []
        while self._to_manager and self._to_manager[0][0] <= now_s:
            came.append(self._to_manager.popleft()[1])
        ids = np.concatenate(came) if came else no_ids()
        if not self.is_sweep:
            return self._hand_in(ids)
        expected = self.manager.expects(ids)
        others = ids[~expected]
        new = others[~self._unread[others]]
        self._unread[others] = True
        if len(new):
            self._line.append(np.unique(new))
        messages = self._hand_in(ids[expected])
        return messages + self._hand_in(self._next_unread(self.manager.reads(now_s)))

    def _next_unread(self, count: int) -> Ids:
        found: list[Ids] = []
        while count > 0 and self._line:
            ids = self._line.popleft()
            ids = ids[self._unread[ids]]
            if len(ids) > count:
                self._line.appendleft(ids[count:])
                ids = ids[:count]
            found.append(ids)
            count -= len(ids)
        return np.concatenate(found) if found else no_ids()

    def _hand_in(self, ids: Ids) -> int:
        """Give contacts to the manager; how many messages were spent on what it did not take up."""
        if not len(ids):
            return 0
        hosts = self.hosts
        if self.is_sweep:
            self._unread[ids] = False
        # A host's newest contact stands for those before it, as the newest frame of a link does.
        replies = self.manager.contacts(
            ids, hosts.generation[ids], hosts.epoch[ids].astype(np.int64), hosts.sequence[ids], self.now_s
        )
        self._reply(replies, self.now_s)
        if isinstance(self.manager, RetryManager):
            turned_away, self._turned_away = self.manager.turned_away - self._turned_away, self.manager.turned_away
            return len(ids) - turned_away
        return len(replies)

    def _reply(self, replies: Replies, now_s: float) -> None:
        if len(replies):
            self._to_hosts.append((now_s + self.scene.one_way_s, replies, self.epoch))

    def _tick(self, now_s: float) -> int:
        calls = self.manager.tick(now_s)
        if not len(calls):
            return 0
        waiting = self._unread[calls.ids]
        self._hand_in(calls.ids[waiting])
        ids = calls.ids[~waiting]
        if len(ids):
            self._calls.append((now_s + self.scene.one_way_s, ids, self.epoch))
        return len(ids)

    def _work(self, window_s: float, messages: int) -> None:
        """The worker's window: messages first, then what the manager hands out."""
        now_s, per_s = self.now_s, self.scene.capacity_at(self.now_s)
        costs = self.scene.policy.costs
        self._ask_for_launches(window_s)
        admission = messages * costs.message
        self.measured.messages += messages
        units = per_s * window_s
        left = units - self._debt - admission
        while left > 0:
            works = self.manager.take(left, now_s)
            if not works:
                break
            for work in works:
                left -= work.units
                self.measured.units += work.units
                self._finish_work(work, now_s + min((units - left) / per_s, window_s))
        idle = max(left, 0.0)
        # What is not read by then is dropped by the network.
        self._debt = min(max(-left, 0.0), BACKLOG_MAX_S * per_s)
        self.manager.spent(idle / per_s, min(admission / per_s, window_s), window_s, now_s + window_s)

    def _finish_work(self, work: Work, now_s: float) -> None:
        if work.kind is JobKind.LAUNCH:
            self._launched(len(work.ids), now_s)
            self.manager.completed(work, np.ones(len(work.ids), np.bool_), now_s)
            return
        # Without its store October's manager cannot check a host's state; the sweep asks for nothing that needs it.
        ok = np.full(len(work.ids), self.is_sweep or not self._store_was_down)
        if work.kind is JobKind.ESTABLISH:
            self.recorded[work.ids[ok]] = work.generations[ok]
        self._reply(self.manager.completed(work, ok, now_s), now_s)

    # --- launches ---------------------------------------------------------------------------------------------

    def _ask_for_launches(self, window_s: float) -> None:
        if not self.scene.launches_per_s or self.now_s < self.scene.launches_from_s:
            return
        self._launch_owed += self.scene.launches_per_s * window_s
        count = int(self._launch_owed)
        self._launch_owed -= count
        self.measured.launches_asked += count
        first = int(self._launch_number)
        self._launch_number += count
        self.manager.launch(np.arange(first, first + count, dtype=np.int32), self.now_s)

    def _launched(self, count: int, now_s: float) -> None:
        """A launch needs its store, and a host that holds a lease among the few that it looks at."""
        if not self._store_was_down:
            share = 1.0 - (1.0 - self._held_last / len(self.hosts)) ** SAMPLE
            self.measured.launched += round(count * share)
            if self.measured.leased_at_s is None:
                self._launched_in_recovery += round(count * share)

    def _judge_minute(self) -> None:
        """Minute by minute: whether nearly all launches of the one before last went well."""
        if self.now_s < self._minute_began_s + MINUTE_S:
            return
        self._minute_began_s = self.now_s
        measured, grants = self.measured, self.measured.grants + self.manager.grants
        asked, launched = measured.launches_asked - self._asked_before, measured.launched - self._launched_before
        self._asked_before, self._launched_before = measured.launches_asked, measured.launched
        established, self._grants_before = grants - self._grants_before, grants
        measured.minutes.append(Minute(self.now_s, self._held_last, self.manager.queued, established, asked, launched))
        if len(measured.minutes) % JUDGED_EVERY == 0:
            self._judge()
        if self._store_back_at_s is None or launched < LAUNCHES_WELL * asked:
            measured.launches_well_at_s = None
        elif measured.launches_well_at_s is None:
            measured.launches_well_at_s = self.now_s

    def _judge(self) -> None:
        """What has to hold of every host that holds a lease."""
        held = self.hosts.ends_s > self.now_s
        generations, table, broken = self.hosts.generation, self.manager.table, self.measured.broken
        broken[RECORDED] += int(np.count_nonzero(held & (generations > self.recorded)))
        if self._is_down_until_s is None:
            ended = ~table.is_leased | (table.generation != generations)
            broken[HOST_ENDS_FIRST] += int(np.count_nonzero(held & ended & (generations == self.recorded)))

    # --- what befalls it --------------------------------------------------------------------------------------

    def _pull_levers(self) -> None:
        while self._levers and self._levers[0].at_s <= self.now_s:
            lever = self._levers.popleft()
            if isinstance(self.manager, RetryManager):
                if lever.restart_share:
                    self.manager.restart(lever.restart_share)
                    self._debt = 0.0
                if lever.throttle_per_s is not None:
                    self.manager.throttle(lever.throttle_per_s if lever.throttle_per_s >= 0 else None)

    def _look_at_store(self) -> None:
        is_down = self.scene.store_is_down(self.now_s)
        if is_down and not self._store_was_down:
            self.manager.store_lost(self.now_s)
        elif self._store_was_down and not is_down:
            self.manager.store_back(self.now_s)
            self.manager.amnesty_recorded(True, self.now_s)
            self._store_back_at_s = self.now_s
            self.measured.leased_at_s = None
        self._store_was_down = is_down
        if not is_down:
            self.manager.store_seen(self.now_s)

    def _restart_manager(self) -> None:
        scene = self.scene
        if scene.restart_at_s is not None and self.epoch == 1 and self.now_s >= scene.restart_at_s:
            if self._is_down_until_s is None:
                self._is_down_until_s = self.now_s + scene.restart_takes_s
                self._keep_counts()
                self._calls.clear()
                self._to_hosts.clear()
            elif self.now_s >= self._is_down_until_s:
                self._is_down_until_s = None
                known = self.manager.estimate.per_s if isinstance(self.manager, SweepManager) else 0.0
                self.manager = self._start_manager(known)

    # --- what came of it --------------------------------------------------------------------------------------

    def _count_held(self) -> None:
        is_recovering = self.measured.leased_at_s is None
        every_s = self.scene.held_every_s if is_recovering else HELD_EVERY_MAX_S
        if self.now_s < self._held_looked_s + every_s:
            return
        self._held_looked_s = self.now_s
        held = self.hosts.count_held(self.now_s)
        self._held_last = held
        self.measured.held.append((self.now_s, held))
        self.measured.held_min = min(self.measured.held_min, held)
        if held >= self.measured.hosts_alive and is_recovering and not self._store_was_down:
            self.measured.leased_at_s = self.now_s - (self._store_back_at_s or 0.0)

    def _keep_counts(self) -> None:
        status, measured = self.manager.status(self.now_s), self.measured
        measured.calls += status.calls
        measured.waits += status.waits
        measured.regrants += status.regrants
        measured.grants += status.grants
        measured.renewals += status.renewals
        measured.amnesties += status.amnesties
        measured.dropped += status.dropped
        measured.own_x_bound = status.x_bound

    def _finish(self) -> Measured:
        self._keep_counts()
        measured = self.measured
        measured.leased_share = self.hosts.count_held(self.now_s) / measured.hosts_alive
        measured.bound_s = self._bound_s()
        self._judge()
        measured.events = int(self.hosts.sequence.sum()) + measured.grants + measured.renewals
        if isinstance(self.manager, SweepManager):
            measured.octets_a_host = self.manager.octets / len(self.hosts)
        digest = hashlib.sha256(self.hosts.generation.tobytes() + self.hosts.ends_s.tobytes())
        measured.digest = digest.hexdigest()
        return measured

    def _bound_s(self) -> float:
        """The least time in which this capacity does the work: every live host once, and the launches that were
        served meanwhile."""
        costs, start_s = self.scene.policy.costs, self._store_back_at_s or 0.0
        left = self.measured.hosts_alive * costs.establish + self._launched_in_recovery * costs.launch
        steps = [*self.scene.capacity, (np.inf, 0.0)]
        for (from_s, per_s), (until_s, _) in pairwise(steps):
            begin_s = max(from_s, start_s)
            if until_s > begin_s and left <= per_s * (until_s - begin_s):
                return begin_s + left / per_s - start_s
            left -= per_s * max(0.0, until_s - begin_s)
        return float("inf")


def rehearse(scene: Scene, on_progress: Callable[[float], None] | None = None) -> Measured:
    """Run one scene."""
    return FleetRun(scene).run(on_progress)
