"""Transactions out: those that arrive together share a message, several messages are in flight.

    commit -> queue -> message of up to N transactions -> in flight -> verdict
                ^                                            |
                +------ halves, or what the view clears <----+ refused as a whole

A message is all or nothing. When a server refuses one, the view is brought up to date first: transactions whose
prerequisites visibly no longer hold are REFUSED, the rest goes again together; where nothing is visible, the message
is halved until what is to blame stands alone. No two transactions of one endpoint are under way at a time, and none
shares a message with one that writes what it reads: so each is checked against a state that is its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass

from evenkeel.adapters.dns.connection import Connection, Reply
from evenkeel.adapters.dns.failures import KeyRejected, NotSent, OutcomeUnknown, ServerRefused
from evenkeel.adapters.dns.follower import Follower
from evenkeel.adapters.dns.line import Line
from evenkeel.adapters.dns.settings import ClientSettings
from evenkeel.adapters.dns.view import Owner, ZoneView, owner
from evenkeel.model.errors import EvenkeelError, InternalError, Unfinished
from evenkeel.model.records import Rcode
from evenkeel.model.transactions import PREREQUISITE_RCODES, AddRRs, Commit, RRsetEquals, Transaction
from evenkeel.wire.update import BadTransaction, TooBig, encode_update

# Codes by which a server may mean one transaction of a message only, so the others deserve a message without it.
_DIVIDED = frozenset({Rcode.FORMERR, Rcode.REFUSED, Rcode.NOTZONE})
# SERVFAIL may mean one transaction too (BIND: more records in a set than it allows), or an innocent bystander: Knot
# answers so to updates that waited beside one that it could not process, another client's included. So it is divided
# and tried again with nothing beside it, unless nothing else comes any more: then it is the server.
_SERVFAIL_TRIES = 3
_SERVFAILS_IN_A_ROW_MAX = 8


@dataclass(slots=True, eq=False)
class _Pending:
    """One commit under way. `owners`: of the names it writes; `asked`: foreign endpoints that it only asks about."""

    transaction: Transaction
    future: asyncio.Future[Commit]
    owners: dict[str, Owner]
    endpoints: set[str]
    asked: set[str]
    deadline: float
    servfails: int = 0


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
        self._queue: deque[_Pending] = deque()
        self._groups: deque[list[_Pending]] = deque()  # what was refused together and goes again, divided
        self._suspects: deque[list[_Pending]] = deque()  # the same, but nothing else may be in flight beside each
        self._busy: set[str] = set()
        self._parked: dict[str, list[_Pending]] = {}
        self._in_flight = 0
        self._octets_each = 256.0  # of a transaction, as seen lately
        self._flush_due = False
        self._is_alone = False  # a suspect is in flight, or waits until nothing is
        self._reconnecting = False
        self._sorting: list[list[_Pending]] = []  # refused groups that wait for the view
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
        if len(self._queue) >= self._settings.waiting_max:
            raise Unfinished(f"{len(self._queue)} commits wait for {self._line.server} already; it is too slow")
        pending = self._pending(transaction)
        self._queue.append(pending)
        self._flush_soon()
        return await pending.future

    def close(self) -> None:
        """What waits ends with `NotSent`; what is in flight with the connection."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._sweep is not None:
            self._sweep.cancel()
        grouped = [*self._parked.values(), *self._groups, *self._suspects, *self._sorting]
        waiting = [*self._queue, *(pending for group in grouped for pending in group)]
        self._fail(waiting, NotSent(f"{self._line.server}: the client is closed"))
        self._queue.clear()
        self._groups.clear()
        self._suspects.clear()
        self._parked.clear()

    @property
    def is_busy(self) -> bool:
        """More waits than can be in flight."""
        return len(self._queue) > self._settings.transactions_max

    @property
    def waiting(self) -> int:
        return len(self._queue) + sum(map(len, (*self._parked.values(), *self._groups, *self._suspects)))

    def _pending(self, transaction: Transaction) -> _Pending:
        owners: dict[str, Owner] = {}
        for change in transaction.changes:
            name = change.rrset.name if isinstance(change, AddRRs) else change.name
            if name not in owners:
                owners[name] = owner(name)
        endpoints = {_key(name, whose) for name, whose in owners.items()}
        asked: set[str] = set()
        exact: set[str] = set()
        for requirement in transaction.requires:
            name = requirement.name
            if name not in owners:
                # Exact values of one set must not meet in a message: together they would be taken for one value.
                (exact if type(requirement) is RRsetEquals else asked).add(_key(name, owner(name)))
        asked -= endpoints
        endpoints |= exact
        deadline = self._loop.time() + self._settings.commit_deadline_s
        return _Pending(transaction, self._loop.create_future(), owners, endpoints, asked, deadline)

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
        if self._queue and self._sweep is None:
            self._sweep = self._loop.call_at(self._queue[0].deadline, self._expire)

    def _next(self) -> list[_Pending] | None:
        """What to send now; None where nothing may be sent, or there is nothing."""
        if self._closed or self._in_flight >= (1 if self._is_alone else self._settings.messages_in_flight_max):
            return None
        if self._suspects:
            self._is_alone = True
            return None if self._in_flight else self._suspects.popleft()
        self._is_alone = False
        return self._groups.popleft() if self._groups else self._pick()

    def _pick(self) -> list[_Pending]:
        """The next message's transactions, their endpoints marked busy."""
        by_octets = int(self._settings.message_octets_max * 0.9 / self._octets_each)
        count_max = max(1, min(self._settings.transactions_max, by_octets))
        group: list[_Pending] = []
        written: set[str] = set()
        asked: set[str] = set()
        queue, busy = self._queue, self._busy
        while queue and len(group) < count_max:
            pending = queue.popleft()
            if pending.future.done():
                continue
            endpoints = pending.endpoints
            if not endpoints.isdisjoint(busy):
                self._parked.setdefault(min(endpoints & busy), []).append(pending)
                continue
            if not (written.isdisjoint(pending.asked) and asked.isdisjoint(endpoints)):
                queue.appendleft(pending)
                break
            written |= endpoints
            asked |= pending.asked
            busy |= endpoints
            group.append(pending)
        return group

    def _send(self, connection: Connection, group: list[_Pending]) -> None:
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
        if (self._queue or self._groups or self._suspects) and not self._reconnecting:
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
        now = self._loop.time()
        late: list[_Pending] = []
        while self._queue and self._queue[0].deadline <= now:
            late.append(self._queue.popleft())
        if late:
            wait_s = self._settings.commit_deadline_s
            self._fail(late, why or NotSent(f"{self._line.server}: not sent within {wait_s} s"))
        if self._queue:
            self._sweep = self._loop.call_at(self._queue[0].deadline, self._expire)

    # --- verdicts -------------------------------------------------------------------------------------

    def _replied(self, group: list[_Pending], done: asyncio.Future[Reply]) -> None:
        self._in_flight -= 1
        if done.cancelled() or isinstance(done.exception(), OutcomeUnknown):
            self._doubted(group, Commit.UNKNOWN)
        else:
            self._judge(group, done.result())
        self._flush_soon()

    def _judge(self, group: list[_Pending], reply: Reply) -> None:
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
            self._divide(group, ServerRefused(reply.rcode, what))
        elif reply.rcode == Rcode.SERVFAIL and self._is_worth_another_try(group):
            self._halve(group, self._suspects)
        else:
            self._doubt(group)
            self._finish(group, ServerRefused(reply.rcode, what))

    async def _sort_out(self, group: list[_Pending]) -> None:
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

    def _blame(self, group: list[_Pending]) -> None:
        """REFUSED for those whose prerequisites visibly fail; the others go again."""
        lost: list[_Pending] = []
        rest: list[_Pending] = []
        for one in group:
            (rest if all(map(self._view.holds, one.transaction.requires)) else lost).append(one)
        if not lost:
            self._halve(group, self._groups)
            return
        self._doubted(lost, Commit.REFUSED)
        if rest:
            self._groups.append(rest)

    def _divide(self, group: list[_Pending], why: EvenkeelError) -> None:
        """Two halves go again; one transaction alone has had its verdict: `why`."""
        if len(group) > 1:
            self._halve(group, self._suspects)
            return
        self._doubt(group)
        self._finish(group, why)

    def _halve(self, group: list[_Pending], into: deque[list[_Pending]]) -> None:
        self.counts.halved += 1
        middle = len(group) // 2
        into += [half for half in (group[:middle], group[middle:]) if half]

    def _is_worth_another_try(self, group: list[_Pending]) -> bool:
        for one in group:
            one.servfails += 1
        alone_too_often = len(group) == 1 and group[0].servfails >= _SERVFAIL_TRIES
        return self._servfails_in_a_row <= _SERVFAILS_IN_A_ROW_MAX and not alone_too_often

    def _doubted(self, group: list[_Pending], verdict: Commit) -> None:
        self._doubt(group)
        self._finish(group, verdict)

    def _doubt(self, group: Iterable[_Pending]) -> None:
        # The kill switch stands at the zone's own name, and may be what a prerequisite met.
        self._follower.doubt([self._view.zone, *(name for one in group for name in one.endpoints)])

    def _finish(self, group: Iterable[_Pending], verdict: Commit | EvenkeelError) -> None:
        """Everything of `group` has ended; who waited for its endpoints may go."""
        group = list(group)
        if isinstance(verdict, EvenkeelError):
            self._fail(group, verdict)
        else:
            self._succeed(group, verdict)
        for one in group:
            self._busy -= one.endpoints
            for endpoint in one.endpoints:
                for parked in reversed(self._parked.pop(endpoint, ())):
                    self._queue.appendleft(parked)
        if self._queue:
            self._flush_soon()

    def _succeed(self, group: list[_Pending], verdict: Commit) -> None:
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

    def _fail(self, group: Iterable[_Pending], error: EvenkeelError) -> None:
        for one in group:
            if not one.future.done():
                self.counts.failed += 1
                # One exception object must not be raised in many tasks: tracebacks would pile up on it.
                one.future.set_exception(_alike(error))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _key(name: str, whose: Owner) -> str:
    """What takes turns: an endpoint with all its names; the kill switch by itself, though it stands at the zone's."""
    return name if whose.prefix == "_freeze" else whose.endpoint


def _alike(error: EvenkeelError) -> EvenkeelError:
    twin = error.__class__.__new__(error.__class__)
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    return twin
