"""What one call of a zone port can do to one endpoint: every way, run once and remembered.

A way is told without saying who called from where in its workflow, so that it serves every endpoint, and every place
in the code that makes the same call with the same things in hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from evenkeel.check.exchange import (
    ANYONE,
    ENDPOINT,
    FRESH,
    GONE,
    NODE,
    NOW,
    PLAN,
    UNDER_WAY,
    Hand,
    Talk,
    TicketText,
    ZoneCode,
    holds_text,
    is_hopeless,
    is_write,
    plan_at,
    renamed,
    serve,
)
from evenkeel.check.model import Interner
from evenkeel.check.replay import Call
from evenkeel.check.standby import (
    NOW_IS_COPIED,
    NOW_IS_GONE,
    RENAMINGS,
    copy_holds,
    failed_over,
    transferred,
)
from evenkeel.model.errors import InternalError
from evenkeel.model.plan import Layout
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import Commit, Transaction
from evenkeel.ports.zone import Look, Write
from evenkeel.twins.zone import ZoneState

_WRITER_IN_FENCE = re.compile(r";w=[a-z0-9._-]+;")


class Step(StrEnum):
    """What is one step: a whole call of a port, or each of its exchanges with the server."""

    CALL = "call"
    EXCHANGE = "exchange"


class Fault(StrEnum):
    CRASH = "crash"  # restarts from nothing; a request that was under way may still arrive
    LOST_REPLY = "lost-reply"  # a write whose reply does not come: it has landed, will yet land, or never
    DUPLICATE = "duplicate"  # a retried write: the second copy is still under way
    FAILOVER = "failover"  # a secondary that lags behind becomes the primary


@dataclass(frozen=True, slots=True)
class Asking:
    """A call of a zone port: whose hand, which method, its arguments as symbols, what these stand for, and the
    exchanges that it has had."""

    hand: Hand
    method: str
    args: tuple[Any, ...]
    plan: int
    node: str
    replies: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which an asking can go on: `replies` where it asks on, else its `reply` and ticket."""

    label: str
    zone: int
    stales: int
    breaks: int
    is_over: bool
    reply: Any = None
    ticket: TicketText | None = None
    replies: tuple[Any, ...] = ()
    sends: Transaction | None = None
    faults: int = 0


@dataclass(frozen=True, slots=True)
class Renaming:
    """A zone after a step as it is kept; whether what others read is out of date; what is renamed in hands."""

    zone: ZoneState
    stales: int
    names: tuple[tuple[str, str], ...]


class ZoneSteps:
    """Every zone state by number, and the ways between them."""

    def __init__(
        self,
        code: ZoneCode,
        first: ZoneState,
        breaks: Callable[[ZoneState, ZoneState], int],
        *,
        layout: Layout,
        answers: int,
        notes: bool,
        step: Step,
        faults: frozenset[Fault],
        signs_apart: bool,
        folds: bool,
    ) -> None:
        self.code = code
        self.zones: Interner[ZoneState] = Interner()
        self.first = self.zones.id(first)
        self._breaks = breaks
        self._layout = layout
        self._answers = answers
        self._notes = notes  # an onlooker notes in the zone what an Enactor has found published
        self._step = step
        self._faults = faults
        self._signs_apart = signs_apart  # writers sign fences with names of their own
        self._folds = folds
        self._ways: dict[tuple[Asking, int], tuple[Way, ...]] = {}

    def ways(self, asking: Asking, zone: int) -> tuple[Way, ...]:
        """Every way in which `asking` can go on over the zone state."""
        known = self._ways.get((asking, zone))
        if known is None:
            known = self._ways[asking, zone] = tuple(self._run(asking, self.zones[zone]))
        return known

    def talk(self, asking: Asking) -> Talk:
        """The real code at that point of its call."""
        stands_for = {PLAN: plan_at(asking.plan, self._layout, self._answers), NODE: asking.node}
        args = (ENDPOINT, *(stands_for.get(arg, arg) for arg in asking.args))
        return self.code.talk(asking.hand, asking.method, args, asking.replies)

    def _run(self, asking: Asking, zone: ZoneState) -> Iterator[Way]:
        talk = self.talk(asking)
        state, replies = zone, asking.replies
        while talk.asked is not None:
            asked = talk.asked
            if is_write(asked) and Fault.LOST_REPLY in self._faults:
                yield self._lost(asking, replies, asked, zone)
            state, reply = serve(state, asked)
            replies = (*replies, reply)
            talk.answer(reply)
            if is_write(asked) and state != zone and Fault.DUPLICATE in self._faults and talk.asked is None:
                yield from self._twice(asking, talk.reply, talk.ticket, asked, zone, state)
            if talk.asked is not None and self._step is Step.EXCHANGE and asked.method != "frozen":
                talk.leave()
                yield self._asks_on(asking, asked, zone, state, replies)
                return
        if self._notes and (talk.reply is Look.CURRENT or (talk.reply is Write.APPLIED and "flip" in asking.method)):
            state = noted(state, asking.plan)
        yield self._over(f"{asking.method}: {word(talk.reply)}", zone, state, talk.reply, talk.ticket)

    def _over(
        self,
        label: str,
        before: ZoneState,
        after: ZoneState,
        reply: Any,
        ticket: TicketText | None,
        sends: Transaction | None = None,
        faults: int = 0,
    ) -> Way:
        """The call is over, and its caller has the reply."""
        renaming = self.renaming(before, after)
        return Way(
            label,
            self.zones.id(renaming.zone),
            renaming.stales,
            self._breaks(before, renaming.zone),
            is_over=True,
            reply=reply,
            ticket=renamed(ticket, renaming.names),
            sends=sends,
            faults=faults,
        )

    def _asks_on(
        self, asking: Asking, asked: Call, before: ZoneState, after: ZoneState, replies: tuple[Any, ...]
    ) -> Way:
        renaming = self.renaming(before, after)
        return Way(
            f"{asking.method}: {asked.method}",
            self.zones.id(renaming.zone),
            renaming.stales,
            self._breaks(before, renaming.zone),
            is_over=False,
            replies=renamed(replies, renaming.names),
        )

    # --- names ------------------------------------------------------------------------------------------

    def renaming(self, before: ZoneState, after: ZoneState) -> Renaming:
        """Nonces after a step: the fresh one is what stands now, what stood is gone."""
        if after == before:
            return Renaming(after, 0, ())
        fresh = FRESH if holds_text(after, FRESH) else UNDER_WAY if holds_text(after, UNDER_WAY) else ""
        if not fresh and (not holds_text(before, NOW) or holds_text(after, NOW)):
            return Renaming(self._without_writers(after), 0, ())
        how = NOW_IS_COPIED if copy_holds(before, NOW) else NOW_IS_GONE
        names = (*RENAMINGS[how], (fresh, NOW)) if fresh else RENAMINGS[how]
        return Renaming(self._without_writers(renamed(after, names)), how, names)

    def _without_writers(self, zone: ZoneState) -> ZoneState:
        """Who wrote a fence decides nothing: its nonce tells every write from every other."""
        if not self._signs_apart:
            return zone
        texts = [rdata for each in zone.rrsets() for rdata in each.rdatas]
        written = {found for text in texts for found in _WRITER_IN_FENCE.findall(text)}
        names = tuple((found, f";w={ANYONE};") for found in sorted(written))
        return renamed(zone, names) if names else zone

    # --- faults -------------------------------------------------------------------------------------------

    def sent(self, asked: Call, names: tuple[tuple[str, str], ...] = ()) -> Transaction | None:
        """The write as it is kept under way, with a nonce of its own; None where it is certain to be refused."""
        (transaction,) = asked.args
        transaction = renamed(transaction, (*names, (FRESH, UNDER_WAY)))
        return None if self._folds and is_hopeless(transaction) else transaction

    def _lost(self, asking: Asking, replies: tuple[Any, ...], asked: Call, zone: ZoneState) -> Way:
        """The write's reply does not come: it is under way for as long as one likes, and may land at any time."""
        talk = self.talk(replace(asking, replies=(*replies, Commit.UNKNOWN)))
        if talk.asked is not None:
            raise InternalError(f"{asking.method} asks on after a write whose reply was lost")
        ticket = renamed(talk.ticket, ((FRESH, GONE),))
        return self._over(f"{asking.method}: reply lost", zone, zone, talk.reply, ticket, self.sent(asked), 1)

    def _twice(
        self,
        asking: Asking,
        reply: Any,
        ticket: TicketText | None,
        asked: Call,
        before: ZoneState,
        after: ZoneState,
    ) -> Iterator[Way]:
        """The write was sent twice, and its second copy is still under way."""
        names = self.renaming(before, after).names
        sends = self.sent(asked, tuple(pair for pair in names if pair[0] == NOW))
        if sends is not None:
            yield self._over(f"{asking.method}: sent twice", before, after, reply, ticket, sends, 1)

    def standing_by(self, zone: int) -> Iterator[tuple[str, int, int, int]]:
        """What a secondary can do: a label, the zone, how tickets are renamed, faults."""
        before = self.zones[zone]
        for label, (after, how), faults in (
            ("transfer", transferred(before), 0),
            ("failover", failed_over(before), 1),
        ):
            if after != before:
                yield label, self.zones.id(after), how, faults

    def land(self, transaction: Transaction, zone: int) -> tuple[int, int, int, str]:
        """A write that was under way arrives: the zone, whether that stales, what it breaks, how it was taken."""
        before = self.zones[zone]
        after, reply = serve(before, Call("server", "commit", (transaction,)))
        renaming = self.renaming(before, after)
        return self.zones.id(renaming.zone), renaming.stales, self._breaks(before, renaming.zone), word(reply)


NOTE = "_noted." + ENDPOINT


def noted(state: ZoneState, generation: int) -> ZoneState:
    """The zone with an onlooker's note of the newest generation that an Enactor has called published."""
    newest = max(generation, *map(int, state.texts(NOTE, "TXT")), 0)
    others = [each for each in state.rrsets() if each.name != NOTE]
    return ZoneState.of(state.apex, [*others, RRset.of(NOTE, RecordType.TXT, 1, str(newest))], state.guarded)


def word(reply: Any) -> str:
    """A reply as labels tell it."""
    if isinstance(reply, tuple | list):
        return f"{len(reply)}"
    return str(getattr(reply, "name", reply)).lower()
