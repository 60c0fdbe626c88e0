"""The plan store's conversation, as msgpack arrays.

A plan is the bulk of it, so an endpoint's part is one flat array; decoding shares equal strings and equal weights,
which halves what a plan takes in memory.

    caller:   [number, kind, body]            kind names a call of `PlanStore`, or "follow"
    service:  [number, "", body]              the reply to that number
              [number, "<error>", text]       the call raised that error
              [0, "head", head]               to followers: first of all, and when the floor rises
              [0, "delta", delta]             to followers: once to catch up, then each new generation at once

A connection is one queue in each direction: what is pushed and what is replied arrive in the order in which they
happened, so a caller whose append lost has seen the winner's plan when it hears so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from evenkeel.model.errors import EvenkeelError, Refusal, StoreCorrupt, StoreUnwritable, Unfinished
from evenkeel.model.plan import Answer, EndpointPlan, Lane, Layout, Plan, PlanDelta

T = TypeVar("T")

FOLLOW, DELTA, HEAD = "follow", "delta", "head"
# What a caller can be told as what it was; anything else is the service's own trouble.
ERRORS: dict[str, type[EvenkeelError]] = {
    "refusal": Refusal,
    "unwritable": StoreUnwritable,
    "corrupt": StoreCorrupt,
    "unfinished": Unfinished,
}
_KIND_OF_ERROR = {error: kind for kind, error in ERRORS.items()}


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One frame of either direction."""

    number: int
    kind: str
    body: msgspec.Raw


class PlanRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One endpoint of a plan."""

    name: str
    zone: str
    layout: Layout
    lane: Lane
    changed_in: int
    ttl_s: int
    a: tuple[str, ...]
    a_weights: tuple[int, ...]
    aaaa: tuple[str, ...]
    aaaa_weights: tuple[int, ...]


class DeltaRows(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A `PlanDelta`."""

    region: str
    generation: int
    previous: int
    planner: str
    changed: list[PlanRow]
    removed: tuple[str, ...] = ()


def frame(number: int, kind: str, body: object) -> bytes:
    """One frame, encoded."""
    return msgspec.msgpack.encode(Frame(number, kind, msgspec.Raw(msgspec.msgpack.encode(body))))


def error_frame(number: int, error: EvenkeelError) -> bytes:
    """The reply that raises `error` at the caller."""
    return frame(number, _KIND_OF_ERROR.get(type(error), "unfinished"), str(error))


def body_of(got: Frame, type_: type[T]) -> T:
    """Raises `msgspec.MsgspecError` where the body is not of that type."""
    return msgspec.msgpack.decode(got.body, type=type_)


def rows_of(delta: PlanDelta) -> DeltaRows:
    """For sending or storing."""
    rows = [row_of(endpoint) for endpoint in delta.changed]
    return DeltaRows(delta.region, delta.generation, delta.previous, delta.planner, rows, delta.removed)


def delta_of(rows: DeltaRows) -> PlanDelta:
    """What `rows_of` was given. Raises `InternalError` where weights do not match addresses."""
    changed = tuple(endpoints_of(rows.changed))
    return PlanDelta(rows.region, rows.generation, rows.previous, rows.planner, changed, rows.removed)


def plan_of(rows: DeltaRows) -> Plan:
    """The plan that rows from nothing tell."""
    return Plan(rows.region, rows.generation, rows.planner, {e.name: e for e in endpoints_of(rows.changed)})


def row_of(plan: EndpointPlan) -> PlanRow:
    answer = plan.answer
    return PlanRow(
        plan.name,
        plan.zone,
        plan.layout,
        plan.lane,
        plan.changed_in,
        answer.ttl_s,
        answer.a,
        answer.a_weights,
        answer.aaaa,
        answer.aaaa_weights,
    )


def endpoints_of(rows: Iterable[PlanRow]) -> list[EndpointPlan]:
    """The endpoints, sharing what is equal: zones, addresses, weights and whole answers."""
    texts: dict[str, str] = {}
    answers: dict[Answer, Answer] = {}
    found = []
    for row in rows:
        a = tuple(texts.setdefault(address, address) for address in row.a)
        aaaa = tuple(texts.setdefault(address, address) for address in row.aaaa)
        answer = Answer(row.ttl_s, a, row.a_weights, aaaa, row.aaaa_weights)
        zone = texts.setdefault(row.zone, row.zone)
        found.append(
            EndpointPlan(row.name, zone, row.layout, answers.setdefault(answer, answer), row.changed_in, row.lane)
        )
    return found
