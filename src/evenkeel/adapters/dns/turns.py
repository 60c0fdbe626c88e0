"""Who goes next: commits queue, and those of one endpoint take turns.

No two transactions of one endpoint are under way at a time, and none shares a message with one that writes what it
reads (all prerequisites of a message are checked before its first change is made, RFC 2136 section 3.2). So each is
checked against a state that is its own, and grouping them changes nothing but the speed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from evenkeel.adapters.dns.held import Owner, changed_name, owner
from evenkeel.model.transactions import Commit, RRsetEquals, Transaction


@dataclass(slots=True, eq=False)
class Pending:
    """One commit under way. `owners`: of the names it writes; `asked`: foreign endpoints that it only asks about."""

    transaction: Transaction
    future: asyncio.Future[Commit]
    owners: dict[str, Owner]
    endpoints: set[str]
    asked: set[str]
    deadline: float  # until when it has to be sent
    servfails: int = 0


def pending(transaction: Transaction, future: asyncio.Future[Commit], deadline: float) -> Pending:
    """`transaction` with what grouping has to know of it."""
    owners: dict[str, Owner] = {}
    for change in transaction.changes:
        name = changed_name(change)
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
    return Pending(transaction, future, owners, endpoints, asked, deadline)


def _key(name: str, whose: Owner) -> str:
    """What takes turns: an endpoint with all its names; the kill switch by itself, though it stands at the zone's."""
    return name if whose.prefix == "_freeze" else whose.endpoint


class Turns:
    """The queue, and the endpoints that are under way."""

    def __init__(self) -> None:
        self._queue: deque[Pending] = deque()
        self._busy: set[str] = set()
        self._parked: dict[str, list[Pending]] = {}  # by the endpoint that each waits for

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def parked(self) -> int:
        return sum(map(len, self._parked.values()))

    @property
    def next_deadline(self) -> float:
        """Of the one at the head; infinite where nobody queues."""
        return self._queue[0].deadline if self._queue else float("inf")

    def append(self, one: Pending) -> None:
        self._queue.append(one)

    def pick(self, count_max: int) -> list[Pending]:
        """The next message's transactions, their endpoints busy from now on."""
        group: list[Pending] = []
        written: set[str] = set()
        asked: set[str] = set()
        queue, busy = self._queue, self._busy
        while queue and len(group) < count_max:
            one = queue.popleft()
            if one.future.done():
                continue  # whoever waited has given up
            endpoints = one.endpoints
            if not endpoints.isdisjoint(busy):
                self._parked.setdefault(min(endpoints & busy), []).append(one)
                continue
            if not (written.isdisjoint(one.asked) and asked.isdisjoint(endpoints)):
                queue.appendleft(one)
                break
            written |= endpoints
            asked |= one.asked
            busy |= endpoints
            group.append(one)
        return group

    def release(self, group: Iterable[Pending]) -> None:
        """These have ended; who waited for their endpoints is next."""
        for one in group:
            self._busy -= one.endpoints
            for endpoint in one.endpoints:
                for parked in reversed(self._parked.pop(endpoint, ())):
                    self._queue.appendleft(parked)

    def take_late(self, now: float) -> list[Pending]:
        """Those at the head that have waited too long, which leave the queue."""
        late: list[Pending] = []
        while self._queue and self._queue[0].deadline <= now:
            late.append(self._queue.popleft())
        return late

    def take_all(self) -> list[Pending]:
        """Everybody who has not had a turn; nobody waits any more."""
        everybody = [*self._queue, *(one for several in self._parked.values() for one in several)]
        self._queue.clear()
        self._parked.clear()
        return everybody
