"""One endpoint's zone and what Enactors hold of it: the real `GuardedZone` over the real twin, one exchange at a time.

Every endpoint is explored under one name in one zone, so that equal contents are one state. Nonces are renamed: the
one that stands in the zone is `NOW`, and every other is `GONE`, since nonces never repeat, and what no longer stands
can never stand again. So a ticket is current or it is not, and how many nonces there have been is forgotten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from evenkeel.check.replay import Call, Raised, StubPort
from evenkeel.endpoints.guarded_zone import GuardedZone, Ticket
from evenkeel.model.errors import CorruptFence
from evenkeel.model.events import EventKind
from evenkeel.model.plan import Answer, EndpointPlan, Layout, Plan
from evenkeel.model.policy import DnsPolicy
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import RRsetEquals, Transaction
from evenkeel.twins.zone import TwinZoneServer, ZoneState

ZONE = "z."
ENDPOINT = "e.z."
TTL_S = 60

NOW, GONE, FRESH, UNDER_WAY = "nonce0now", "nonce0gone", "nonce0fresh", "nonce0underway"
COPY = "nonce0copy"  # stands in a secondary that lags behind, and nowhere else
ANYONE = "anyone"

PLAN = "the plan in hand"  # stands in calls for a plan that only the port looks into
NODE = "the spent node"

TicketText = tuple[Any, ...]  # a ticket's fields, in their order


@dataclass(slots=True)
class SteadyClock:
    """A wall clock that stands where it is put."""

    now_ms: int = 0

    def monotonic_s(self) -> float:
        return self.now_ms / 1000

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep(self, delay_s: float) -> None:
        """Never called: workflows ask their own clock port."""


class OneNonce:
    """Gives the nonce that stands for the fresh one."""

    def __init__(self, text: str = FRESH) -> None:
        self._text = text

    def next(self) -> str:
        return self._text


class Unread:
    """A journal that nobody reads."""

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        """Nothing is kept: what a component tells of itself decides nothing."""


@lru_cache(maxsize=1024)
def plan_at(generation: int, layout: Layout, answers: int = 0) -> Plan:
    """The plan of a generation: it changes the endpoint, and its answer tells the generation. 0 holds nothing.

    `answers`: that many different ones, in turn; 0: no two plans have the same.
    """
    if generation == 0:
        return Plan.empty("region")
    told = answer_of(generation, answers)
    address = f"10.0.{told >> 8}.{told & 255}"
    answer = Answer(TTL_S, (address,), (1,))
    return Plan("region", generation, "planner", {ENDPOINT: EndpointPlan(ENDPOINT, ZONE, layout, answer, generation)})


def answer_of(generation: int, answers: int) -> int:
    """The first generation that had the same answer."""
    return (generation - 1) % answers + 1 if answers else generation


ZoneMaker = Callable[[Any, DnsPolicy, str, Any, Any, Any], GuardedZone]


def guarded_zone(server: Any, policy: DnsPolicy, writer: str, nonces: Any, clock: Any, journal: Any) -> GuardedZone:
    return GuardedZone(ZONE, server, policy, writer, nonces, clock, journal)


@dataclass(frozen=True, slots=True)
class Hand:
    """Whose hand the call is made with: its name in fences and locks, what it has read, and the hour."""

    writer: str
    ticket: TicketText | None
    now_ms: int = 0


class Talk:
    """One call of a zone port, under way: what the real code asks the server, until it has a reply for its caller."""

    def __init__(self, zone: GuardedZone, method: str, args: tuple[Any, ...]) -> None:
        self._zone = zone
        self._run = getattr(zone, method)(*args)
        self.asked: Call | None = None  # None: it is over
        self.reply: Any = None
        self.ticket: TicketText | None = None
        self._go_on(None)

    def answer(self, reply: Any) -> None:
        """The server's reply to what was asked."""
        self._go_on(reply)

    def _go_on(self, reply: Any) -> None:
        try:
            self.asked = self._run.send(reply)
            return
        except StopIteration as end:
            self.reply = tuple(end.value) if isinstance(end.value, list) else end.value  # states are hashable
        except CorruptFence:
            self.reply = Raised(CorruptFence("the fence is corrupt"))
        self.asked = None
        ticket = self._zone.tickets.get(ENDPOINT)
        self.ticket = None if ticket is None else tuple(getattr(ticket, name) for name in _TICKET_FIELDS)

    def leave(self) -> None:
        """The caller has gone."""
        self._run.close()


_TICKET_FIELDS = tuple(field.name for field in dataclasses.fields(Ticket))


class ZoneCode:
    """Runs calls of the zone ports on the real code; how often is counted."""

    def __init__(self, policy: DnsPolicy, make: ZoneMaker = guarded_zone, nonce: str = FRESH) -> None:
        self._policy = policy
        self._make = make
        self._nonce = nonce
        self.runs = 0

    def talk(self, hand: Hand, method: str, args: tuple[Any, ...], replies: tuple[Any, ...] = ()) -> Talk:
        """The call `method`, as it stands after the server's `replies`."""
        self.runs += 1
        clock = SteadyClock(hand.now_ms)
        zone = self._make(StubPort("server"), self._policy, hand.writer, OneNonce(self._nonce), clock, Unread())
        if hand.ticket is not None:
            zone.tickets[ENDPOINT] = Ticket(*hand.ticket)
        talk = Talk(zone, method, args)
        for reply in replies:
            talk.answer(reply)
        return talk


@lru_cache(maxsize=1 << 16)
def serve(state: ZoneState, call: Call) -> tuple[ZoneState, Any]:
    """What the server's twin does with one exchange."""
    twin = TwinZoneServer(state)
    run = getattr(twin, call.method)(*call.args)
    try:
        run.send(None)
    except StopIteration as end:
        return twin.state, end.value
    raise AssertionError("a twin replies at once")  # pragma: no cover - the twin has no await of its own


def is_write(call: Call) -> bool:
    return call.method == "commit"


def is_hopeless(transaction: Transaction) -> bool:
    """Whether a prerequisite names a nonce that is gone: it will be refused, whatever stands by then."""
    return any(
        isinstance(need, RRsetEquals) and any(GONE in rdata for rdata in need.rdatas) for need in transaction.requires
    )


# --- renaming ---------------------------------------------------------------------------------------

Names = tuple[tuple[str, str], ...]  # what is replaced, in order


@lru_cache(maxsize=200_000)
def renamed(value: Any, names: Names) -> Any:
    """`value` with names replaced in every text of it: tuples, frozen values and zones alike."""
    if isinstance(value, str):
        for old, new in names:
            value = value.replace(old, new)
        return value
    if isinstance(value, tuple | frozenset):
        # Not by way of the cache, which takes 0 and False for one.
        return type(value)(each if isinstance(each, int) else renamed(each, names) for each in value)
    if isinstance(value, ZoneState):
        return _renamed_zone(value, names)
    if isinstance(value, msgspec.Struct):
        changed = _renamed_fields(value, value.__struct_fields__, names)
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        return value
    changed = _renamed_fields(value, tuple(value.__dataclass_fields__), names)
    return dataclasses.replace(value, **changed) if changed else value  # type: ignore[type-var] # a type was sent back above


def _renamed_fields(value: object, fields: tuple[str, ...], names: Names) -> dict[str, Any]:
    """The fields of `value` that are others once names are replaced."""
    before = {field: getattr(value, field) for field in fields}
    return {field: new for field, old in before.items() if (new := renamed(old, names)) is not old and new != old}


def _renamed_zone(state: ZoneState, names: Names) -> ZoneState:
    rrsets = [
        RRset.of(each.name, each.type, each.ttl_s, *renamed(each.rdatas, names))
        if each.type == RecordType.TXT
        else each
        for each in state.rrsets()
    ]
    return ZoneState.of(state.apex, rrsets, state.guarded)


@lru_cache(maxsize=1 << 16)
def holds_text(state: ZoneState, text: str) -> bool:
    return any(text in rdata for each in state.rrsets() if each.type == RecordType.TXT for rdata in each.rdatas)
