"""Contacts in, grants out: the live driver of a `fleet.manager.LeaseManager`.

What arrives is kept as the newest contact of each host, so a storm of any size holds one place a host; hosts that are
leased or called are read at once, of the others as many as are worth the work. One worker does what the manager hands
out, in micro-batches: check the hosts, record their grants in one store write, then grant. How busy that worker is, and
nothing else, tells the manager its capacity.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evenkeel.adapters.droplet_manager.roster import Roster
from evenkeel.adapters.fleet_messages import (
    AheadFrame,
    CallFrame,
    ContactFrame,
    FencedFrame,
    GrantFrame,
    RefusedFrame,
    Report,
    ToAgentFrame,
    WaitFrame,
    encoder,
    read_at_manager,
)
from evenkeel.fleet.arrays import Calls, Flags, Ids, JobKind, Replies, ReplyKind, Work
from evenkeel.fleet.manager import LeaseManager
from evenkeel.model.errors import EvenkeelError, Refusal
from evenkeel.model.fleet import Granted
from evenkeel.model.fleet_policy import FleetPolicy

SPENT_EVERY_S = 0.5
TURN_S = 0.1  # of the worker's time in one take: the next renewals do not wait longer behind it
UNITS_MIN = 1.0
TURN_PAUSE_MIN_S = 0.001  # links are read meanwhile, and the worker works
REST_MAX_S = 0.5  # the worker is woken at every turn; this is for a turn that takes long
READ_AT_ONCE_MAX = 16_384  # contacts in one turn

Send = Callable[[str, bytes], bool]


@dataclass(frozen=True, slots=True)
class Doing:
    """What the worker needs others for. Each raises `EvenkeelError` where the jobs came to nothing."""

    establish: Callable[[Sequence[Granted]], Awaitable[None]]  # check these hosts, record these grants
    renew: Callable[[int], Awaitable[None]] | None  # None: renewals need nothing outside this process
    launch: Callable[[Ids], Awaitable[None]]


class LeaseDriver:
    """One manager, its hosts' contacts, its worker. `on_frames` may be called at any time on the event loop."""

    def __init__(
        self,
        manager: LeaseManager,
        policy: FleetPolicy,
        roster: Roster,
        send: Send,
        doing: Doing,
        clock: Callable[[], float],
        on_report: Callable[[int, Report], None],
        takes_one_by_one: bool = False,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._manager, self._policy, self._roster = manager, policy, roster
        self._send, self._doing, self._clock, self._on_report = send, doing, clock, on_report
        self._one_by_one = takes_one_by_one
        self._inbox: dict[int, ContactFrame] = {}
        self._work_came = asyncio.Event()
        self._idle_s = self._admission_s = 0.0
        self._idle_since_s: float | None = None
        self._units_now = TURN_S * manager.status(clock()).capacity_per_s

    # --- in -------------------------------------------------------------------------------------------

    def on_frames(self, host: str, frames: Sequence[bytes]) -> None:
        """`links.base.OnFrames`."""
        number = self._roster.number(host)
        if number is None:
            self.counts["unknown host"] += len(frames)
            return
        for frame in frames:
            try:
                message = read_at_manager(frame)
            except Refusal:
                self.counts["malformed"] += 1
                continue
            if isinstance(message, ContactFrame):
                before = self._inbox.get(number)
                if before is None or message.sequence > before.sequence:
                    self._inbox[number] = message
            elif isinstance(message, Report):
                self._on_report(number, message)
            elif isinstance(message, AheadFrame) and message.epoch > self._manager.epoch:
                self.counts["ahead"] += 1  # the storekeeper asks the store who manages anyway

    # --- turns ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turns of contacts and calls, until cancelled."""
        spent_at_s = self._clock()
        while True:
            began_s = self._clock()
            self._turn(began_s)
            now_s = self._clock()
            self._admission_s += now_s - began_s
            if now_s - spent_at_s >= SPENT_EVERY_S:
                self._tell_spent(now_s - spent_at_s, now_s)
                spent_at_s = now_s
                self._units_now = TURN_S * self._manager.status(now_s).capacity_per_s
            self._work_came.set()
            # Not at once when a contact comes: those of one tick cost together little more than one costs alone.
            await asyncio.sleep(max(TURN_PAUSE_MIN_S, self._policy.tick_s - (self._clock() - began_s)))

    def _turn(self, now_s: float) -> None:
        self._answer(self._read(now_s), now_s)
        calls = self._manager.tick(now_s)
        if len(calls):
            self._call(calls, now_s)

    def _read(self, now_s: float) -> Ids:
        """Whose contacts to hand in now."""
        if not self._inbox:
            return np.empty(0, np.int32)
        ids = np.fromiter(self._inbox, np.int32, len(self._inbox))
        expected = self._manager.expects(ids)
        chosen = ids[expected][:READ_AT_ONCE_MAX]
        others = ids[~expected]
        worth = min(self._manager.reads(now_s), READ_AT_ONCE_MAX - len(chosen)) if len(others) else 0
        return np.concatenate([chosen, others[:worth]]) if worth > 0 else chosen

    def _answer(self, ids: Ids, now_s: float) -> None:
        if not len(ids):
            return
        frames = [self._inbox.pop(number) for number in ids.tolist()]
        replies = self._manager.contacts(
            ids,
            np.array([frame.generation for frame in frames], np.int64),
            np.array([frame.epoch for frame in frames], np.int64),
            np.array([frame.sequence for frame in frames], np.int64),
            now_s,
        )
        self.counts["contacts"] += len(ids)
        self._reply(replies)

    def _call(self, calls: Calls, now_s: float) -> None:
        unread = [number for number in calls.ids.tolist() if number in self._inbox]
        frame = encoder.encode(CallFrame(self._manager.epoch, calls.call, self._policy.call_timeout_s))
        for number in calls.ids.tolist():
            if number not in self._inbox:
                self._send(self._roster.name(number), frame)
        if unread:
            self._answer(np.array(unread, np.int32), now_s)

    def _reply(self, replies: Replies) -> None:
        epoch, encode = self._manager.epoch, encoder.encode
        rows = zip(
            replies.ids.tolist(),
            replies.kinds.tolist(),
            replies.generations.tolist(),
            replies.answers.tolist(),
            replies.terms_s.tolist(),
            replies.nexts_s.tolist(),
            replies.polls_s.tolist(),
            replies.phases_s.tolist(),
            strict=True,
        )
        for number, kind, generation, answers, term_s, next_s, poll_s, phase_s in rows:
            message: ToAgentFrame
            if kind == ReplyKind.GRANT:
                message = GrantFrame(epoch, generation, answers, term_s, next_s, poll_s, phase_s)
            elif kind == ReplyKind.WAIT:
                message = WaitFrame(epoch, answers, next_s, term_s)
            elif kind == ReplyKind.REFUSED:
                message = RefusedFrame(epoch, answers)
            else:
                message = FencedFrame(epoch)
            self._send(self._roster.name(number), encode(message))
        self.counts["replies"] += len(replies)

    # --- the worker -----------------------------------------------------------------------------------

    async def work(self) -> None:
        """Does what the manager hands out, until cancelled."""
        while True:
            works = self._manager.take(self._units(), self._clock())
            if not works:
                await self._rest()
                continue
            for work in works:
                ok = await self._do(work)
                self._reply(self._manager.completed(work, ok, self._clock()))

    def _units(self) -> float:
        if self._one_by_one:
            return UNITS_MIN
        return max(UNITS_MIN, self._units_now)

    async def _do(self, work: Work) -> Flags:
        try:
            if work.kind is JobKind.ESTABLISH:
                grants = [
                    Granted(number, generation)
                    for number, generation in zip(work.ids.tolist(), work.generations.tolist(), strict=True)
                ]
                await self._doing.establish(grants)
            elif work.kind is JobKind.LAUNCH:
                await self._doing.launch(work.ids)
            elif self._doing.renew is not None:
                await self._doing.renew(len(work))
        except EvenkeelError:
            return np.zeros(len(work), np.bool_)  # the storekeeper has heard why
        return np.ones(len(work), np.bool_)

    async def _rest(self) -> None:
        self._work_came.clear()
        self._idle_since_s = self._clock()
        try:
            async with asyncio.timeout(REST_MAX_S):
                await self._work_came.wait()
        except TimeoutError:
            pass  # time for another look
        finally:
            self._idle_s += self._clock() - self._idle_since_s
            self._idle_since_s = None

    def _tell_spent(self, over_s: float, now_s: float) -> None:
        idle_s = self._idle_s
        if self._idle_since_s is not None:
            idle_s += now_s - self._idle_since_s
            self._idle_since_s = now_s
        # What contacts take comes out of the worker's idle time: both run on the same core.
        idle_s = max(0.0, min(idle_s - self._admission_s, over_s))
        self._manager.spent(idle_s, min(self._admission_s, over_s), over_s, now_s)
        self._idle_s = self._admission_s = 0.0
