"""Transactions out: those that arrive together share a message, several messages are in flight.

    commit -> queue -> message of up to N transactions -> in flight -> verdict
                ^                                            |
                +------ halves, or what the view clears <----+ refused as a whole

A message is all or nothing. When a server refuses one, the view is brought up to date first: transactions whose
prerequisites visibly no longer hold are REFUSED, the rest goes again together; where nothing is visible, the message
is halved until what is to blame stands alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass

from evenkeel.adapters.dns.connection import Connection, Reply
from evenkeel.adapters.dns.failures import KeyRejected, LoneWriteRefused, NotSent, OutcomeUnknown, ServerRefused
from evenkeel.adapters.dns.follower import Follower
from evenkeel.adapters.dns.line import Line
from evenkeel.adapters.dns.settings import ClientSettings
from evenkeel.adapters.dns.turns import Pending, Turns, pending
from evenkeel.adapters.dns.view import ZoneView
from evenkeel.model.errors import EvenkeelError, InternalError, Unfinished
from evenkeel.model.records import Rcode
from evenkeel.model.transactions import PREREQUISITE_RCODES, Commit, Transaction
from evenkeel.wire.update import BadTransaction, TooBig, encode_update

# Codes by which a server may mean one transaction of a message only, so the others deserve a message without it.
_DIVIDED = frozenset({Rcode.FORMERR, Rcode.REFUSED, Rcode.NOTZONE})
# SERVFAIL may mean one transaction too (BIND: more records in a set than it allows), or an innocent bystander: Knot
# answers so to updates that waited beside one that it could not process, another client's included. So it is divided
# and tried again with nothing beside it, unless nothing else comes any more: then it is the server. And a server that
# is starting answers so until its zone is loaded, so that one alone is given time.
_SERVFAIL_TRIES = 6
_SERVFAIL_PAUSE_S = 0.05  # after the first, then twice as long each time
_SERVFAILS_IN_A_ROW_MAX = 8


@dataclass(slots=True)
class Counts:
    """What has been sent and how it ended, since the start."""

    messages: int = 0
    applied: int = 0
    refused: int = 0
    unknown: int = 0
    failed: int = 0
    halved: int = 0


class Committer:
    """One zone's commits."""

    def __init__(self, line: Line, view: ZoneView, follower: Follower, settings: ClientSettings) -> None:
        self.counts = Counts()
        self._line = line
        self._view = view
        self._follower = follower
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._turns = Turns()
        self._groups: deque[list[Pending]] = deque()  # what was refused together and goes again, divided
        self._suspects: deque[list[Pending]] = deque()  # the same, but nothing else may be in flight beside each
        self._in_flight = 0
        self._octets_each = 256.0  # of a transaction, as seen lately
        self._flush_due = False
        self._is_alone = False  # a suspect is in flight, or waits until nothing is
        self._reconnecting = False
        self._sorting: list[
            list[Pending]
        ] = []  # refused groups that wait for the view, or for a server that is starting
        self._sweep: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._servfails_in_a_row = 0
        self._closed = False

    async def commit(self, transaction: Transaction) -> Commit:
        """Ends with a verdict, or raises `Unreachable`, `TooBig`, `BadTransaction`, `Unfinished`."""
        if self._closed:
            raise NotSent(f"{self._line.server}: the client is closed")
        if transaction.zone != self._view.zone:
            raise InternalError(f"a transaction on {transaction.zone} came to the client of {self._view.zone}")
        if len(self._turns) >= self._settings.waiting_max:
            raise Unfinished(f"{len(self._turns)} commits wait for {self._line.server} already; it is too slow")
        future: asyncio.Future[Commit] = self._loop.create_future()
        self._turns.append(pending(transaction, future, self._loop.time() + self._settings.commit_deadline_s))
        self._flush_soon()
        return await future

    def close(self) -> None:
        """What waits ends with `NotSent`; what is in flight with the connection."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._sweep is not None:
            self._sweep.cancel()
        grouped = [one for group in (*self._groups, *self._suspects, *self._sorting) for one in group]
        self._fail([*self._turns.take_all(), *grouped], NotSent(f"{self._line.server}: the client is closed"))
        self._groups.clear()
        self._suspects.clear()

    @property
    def is_busy(self) -> bool:
        """Writing at full tilt: many messages are in flight, or more waits than fits into one."""
        many = 2 * self._in_flight >= self._settings.messages_in_flight_max
        return many or len(self._turns) > self._settings.transactions_max

    @property
    def waiting(self) -> int:
        return len(self._turns) + self._turns.parked + sum(map(len, (*self._groups, *self._suspects)))

    # --- sending --------------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        """In this turn of the loop, after everybody who is ready now has had their say."""
        if not self._flush_due and not self._closed:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        connection = self._line.ready()
        if connection is None:
            self._reconnect_soon()
            return
        while group := self._next():
            self._send(connection, group)
        if self._turns and self._sweep is None:
            self._sweep = self._loop.call_at(self._turns.next_deadline, self._expire)

    def _next(self) -> list[Pending] | None:
        """What to send now; None where nothing may be sent, or there is nothing."""
        if self._closed or self._in_flight >= (1 if self._is_alone else self._settings.messages_in_flight_max):
            return None
        if self._suspects:
            self._is_alone = True
            return None if self._in_flight else self._suspects.popleft()
        self._is_alone = False
        if self._groups:
            return self._groups.popleft()
        by_octets = int(self._settings.message_octets_max * 0.9 / self._octets_each)
        return self._turns.pick(max(1, min(self._settings.transactions_max, by_octets)))

    def _send(self, connection: Connection, group: list[Pending]) -> None:
        try:
            message = encode_update(
                0, self._view.zone, [one.transaction for one in group], self._settings.message_octets_max
            )
        except TooBig as error:
            self._octets_each = max(self._octets_each, error.octets / len(group))
            if len(group) > 1:
                self._halve(group, self._groups)
            else:
                self._finish(group, error)
            return
        except BadTransaction as error:
            self._finish([group.pop(error.index)], error)
            if group:
                self._groups.appendleft(group)
            return
        self._octets_each = 0.8 * self._octets_each + 0.2 * len(message) / len(group)
        try:
            reply = connection.exchange(message)
        except NotSent:
            self._groups.appendleft(group)
            self._reconnect_soon()
            return
        self._in_flight += 1
        self.counts.messages += 1
        reply.add_done_callback(lambda done: self._replied(group, done))

    def _reconnect_soon(self) -> None:
        if (self._turns or self._groups or self._suspects) and not self._reconnecting:
            self._reconnecting = True
            self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        try:
            await self._line.connection()
        except NotSent as error:
            now = self._loop.time()
            for groups in (self._groups, self._suspects):
                waiting = [*groups]
                groups.clear()
                for group in waiting:
                    self._finish([one for one in group if one.deadline <= now], error)
                    if any(one.deadline > now for one in group):
                        groups.append([one for one in group if one.deadline > now])
            self._expire(error)
        finally:
            self._reconnecting = False
        self._flush_soon()

    def _expire(self, why: EvenkeelError | None = None) -> None:
        """Those that have waited too long to be sent were never sent: nothing can have changed."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        late = self._turns.take_late(self._loop.time())
        if late:
            wait_s = self._settings.commit_deadline_s
            self._fail(late, why or NotSent(f"{self._line.server}: not sent within {wait_s} s"))
        if self._turns:
            self._sweep = self._loop.call_at(self._turns.next_deadline, self._expire)

    # --- verdicts -------------------------------------------------------------------------------------

    def _replied(self, group: list[Pending], done: asyncio.Future[Reply]) -> None:
        self._in_flight -= 1
        if done.cancelled() or isinstance(done.exception(), OutcomeUnknown):
            self._doubted(group, Commit.UNKNOWN)
        else:
            self._judge(group, done.result())
        self._flush_soon()

    def _judge(self, group: list[Pending], reply: Reply) -> None:
        what = f"update of {self._view.zone} at {self._line.server}"
        self._servfails_in_a_row = self._servfails_in_a_row + 1 if reply.rcode == Rcode.SERVFAIL else 0
        if reply.tsig_error:
            self._finish(group, KeyRejected(reply.tsig_error, self._line.key.name, what))
        elif reply.rcode == Rcode.NOERROR:
            for one in group:
                self._view.applied(one.transaction, one.owners)
            self._finish(group, Commit.APPLIED)
        elif reply.rcode in PREREQUISITE_RCODES:
            if len(group) == 1:
                self._doubted(group, Commit.REFUSED)
            else:
                self._sorting.append(group)
                self._spawn(self._sort_out(group))
        elif reply.rcode in _DIVIDED:
            self._divide(group, LoneWriteRefused(reply.rcode, what))
        elif reply.rcode == Rcode.SERVFAIL and self._is_worth_another_try(group):
            if len(group) > 1:
                self._halve(group, self._suspects)
            else:
                self._sorting.append(group)
                self._spawn(self._again_later(group))
        else:
            self._doubt(group)
            self._finish(group, ServerRefused(reply.rcode, what))

    async def _sort_out(self, group: list[Pending]) -> None:
        """A message was refused as a whole: who is to blame?"""
        try:
            await self._follower.refresh()
        except EvenkeelError as error:
            self._doubt(group)
            self._finish(group, error)
        else:
            self._blame(group)
        finally:
            self._sorting.remove(group)
        self._flush_soon()

    def _blame(self, group: list[Pending]) -> None:
        """REFUSED for those whose prerequisites visibly fail; the others go again."""
        lost: list[Pending] = []
        rest: list[Pending] = []
        for one in group:
            (rest if all(map(self._view.holds, one.transaction.requires)) else lost).append(one)
        if not lost:
            self._halve(group, self._groups)
            return
        self._doubted(lost, Commit.REFUSED)
        if rest:
            self._groups.append(rest)

    def _divide(self, group: list[Pending], why: EvenkeelError) -> None:
        """Two halves go again; one transaction alone has had its verdict: `why`."""
        if len(group) > 1:
            self._halve(group, self._suspects)
            return
        self._doubt(group)
        self._finish(group, why)

    def _halve(self, group: list[Pending], into: deque[list[Pending]]) -> None:
        self.counts.halved += 1
        middle = len(group) // 2
        into += [half for half in (group[:middle], group[middle:]) if half]

    def _is_worth_another_try(self, group: list[Pending]) -> bool:
        for one in group:
            one.servfails += 1
        alone_too_often = len(group) == 1 and group[0].servfails >= _SERVFAIL_TRIES
        return self._servfails_in_a_row <= _SERVFAILS_IN_A_ROW_MAX and not alone_too_often

    async def _again_later(self, group: list[Pending]) -> None:
        try:
            await asyncio.sleep(_SERVFAIL_PAUSE_S * 2 ** (group[0].servfails - 1))
        finally:
            self._sorting.remove(group)
        self._suspects.append(group)
        self._flush_soon()

    def _doubted(self, group: list[Pending], verdict: Commit) -> None:
        self._doubt(group)
        self._finish(group, verdict)

    def _doubt(self, group: Iterable[Pending]) -> None:
        # The kill switch stands at the zone's own name, and may be what a prerequisite met.
        self._follower.doubt([self._view.zone, *(name for one in group for name in one.endpoints)])

    def _finish(self, group: Iterable[Pending], verdict: Commit | EvenkeelError) -> None:
        """Everything of `group` has ended; who waited for its endpoints may go."""
        group = list(group)
        if isinstance(verdict, EvenkeelError):
            self._fail(group, verdict)
        else:
            self._succeed(group, verdict)
        self._turns.release(group)
        if self._turns:
            self._flush_soon()

    def _succeed(self, group: list[Pending], verdict: Commit) -> None:
        counts = self.counts
        if verdict is Commit.APPLIED:
            counts.applied += len(group)
        elif verdict is Commit.REFUSED:
            counts.refused += len(group)
        else:
            counts.unknown += len(group)
        for one in group:
            if not one.future.done():
                one.future.set_result(verdict)

    def _fail(self, group: Iterable[Pending], error: EvenkeelError) -> None:
        for one in group:
            if not one.future.done():
                self.counts.failed += 1
                # One exception object must not be raised in many tasks: tracebacks would pile up on it.
                one.future.set_exception(_alike(error))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _alike(error: EvenkeelError) -> EvenkeelError:
    """The same error as an object of its own."""
    twin = error.__class__.__new__(error.__class__)
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    return twin
