"""The order quotient: plan generations by their rank among those that still matter, so that plans may go on for ever.

Sound where the code compares generations by order and identity alone, never by how far they are apart. A generation
matters while it is the store's newest, in a hand, in a write under way, or stands in a zone otherwise than as the node
of a past plan that nothing refers to. Of such nodes clean-up only counts the newest; older ones are left out
(docs/explanation/check.md says why).
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec

from evenkeel.check.exchange import ENDPOINT, GONE
from evenkeel.check.local_states import Enacting, Local, Travelling
from evenkeel.check.model import RANKS_MAX, Interner
from evenkeel.endpoints.layout import node_generation
from evenkeel.model.errors import EvenkeelError
from evenkeel.model.fence import greatest_generation
from evenkeel.model.records import RRset
from evenkeel.twins.zone import ZoneState, reading, tree_nodes

# Where texts tell a generation: a node's name, a fence, the address that `exchange.plan_at` gives a plan.
_TOLD = re.compile(r"(?P<node>(?<=\bg)\d+(?=\._tree\.))|(?P<fence>(?<=^g=)\d+)|10\.0\.(?P<high>\d+)\.(?P<low>\d+)")
_OF_NODE = re.compile(r"(?:^|\.)g(\d+)\._tree\.")


class TooManyGenerationsError(EvenkeelError):
    """More generations matter at once than the search has room for."""


class Generations:
    """Implements `check.model.Ordered` over the interned states of an automation."""

    def __init__(self, keep: int, local_states: Interner[Local], zones: Interner[ZoneState]) -> None:
        self.keep = keep
        self._locals = local_states
        self._zones = zones

    def local(self, local: int) -> tuple[int, int]:
        """What matters to a hand, and what it has on its list of nodes besides; as bits."""
        match self._locals[local]:
            case Enacting() as enacting:
                now, later = enacting.nodes[:1], enacting.nodes[1:]
                held = _bits((now, enacting.ticket, enacting.replies)) | _bit(enacting.plan)
                return held, _bits(later)
            case Travelling(_, transaction, _):
                return _bits(transaction), 0
        return 0, 0

    def service(self, state: int) -> tuple[int, int]:
        """What matters in a zone, and the nodes of past plans; as bits."""
        zone = self._zones[state]
        read = reading(zone, ENDPOINT)
        fence = greatest_generation(read.fences)
        past = [node for node in tree_nodes(zone, ENDPOINT) if node_generation(node) < fence]
        spent = {node_generation(node) for node in past if node not in (read.target, read.rollback)}
        rest = [each for each in zone.rrsets() if _owner(each.name) not in spent]
        return _bits(tuple(rest)), sum(_bit(node_generation(node)) for node in past)

    def drop_local(self, local: int, rank: int) -> int:
        """The hand without a generation that does not matter to it: what is newer moves up by one."""
        state = self._locals[local]
        match state:
            case Enacting():
                nodes = tuple(node for k, node in enumerate(state.nodes) if k == 0 or node_generation(node) != rank)
                plan = state.plan - (state.plan > rank)
                moved = _moved((nodes, state.ticket, state.replies), rank)
                state = replace(state, plan=plan, nodes=moved[0], ticket=moved[1], replies=moved[2])
            case Travelling():
                state = replace(state, transaction=_moved(state.transaction, rank))
        return self._locals.id(state)

    def drop_service(self, state: int, rank: int) -> int:
        """The zone without a generation that does not matter in it."""
        zone = self._zones[state]
        rest = [each for each in zone.rrsets() if _owner(each.name) != rank]
        return self._zones.id(ZoneState.of(zone.apex, _moved(tuple(rest), rank), zone.guarded))


def forgets_what_is_gone(enacting: Enacting) -> Enacting:
    """A ticket whose nonce is gone will be refused whatever it says: it need not say which plans it was about."""
    if enacting.ticket is None or GONE not in repr(enacting.ticket):
        return enacting
    if enacting.plan in generations_in(enacting.ticket):
        return enacting  # whether what is to be built stands already is asked before the refusal
    return replace(enacting, ticket=told_as(enacting.ticket, lambda generation: 0))


def generations_in(value: Any) -> set[int]:
    """Every generation that `value` tells, in whatever form."""
    found: set[int] = set()

    def note(generation: int) -> int:
        found.add(generation)
        return generation

    told_as(value, note)
    return found - {0}


@lru_cache(maxsize=1 << 16)
def _bits(value: Any) -> int:
    return sum(map(_bit, generations_in(value)))


def _bit(generation: int) -> int:
    if generation > RANKS_MAX:
        raise TooManyGenerationsError(
            f"more than {RANKS_MAX} plan generations matter at once; fewer --enactors, or a smaller --keep"
        )
    return 1 << generation if generation > 0 else 0


def _owner(name: str) -> int:
    """The generation of the node that a name belongs to; -1 where it belongs to none."""
    found = _OF_NODE.search(name)
    return int(found[1]) if found else -1


@lru_cache(maxsize=1 << 16)
def _moved(value: Any, rank: int) -> Any:
    return told_as(value, lambda generation: generation - (generation > rank))


def told_as(value: Any, to: Callable[[int], int]) -> Any:
    """`value` with every generation in its texts put as another."""
    if isinstance(value, enum.Enum | int):
        return value
    if isinstance(value, str):
        return _TOLD.sub(lambda found: _text(found, to), value)
    if isinstance(value, tuple | frozenset):
        return type(value)(told_as(each, to) for each in value)
    if isinstance(value, RRset):
        return RRset.of(told_as(value.name, to), value.type, value.ttl_s, *told_as(value.rdatas, to))
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(
            value, **{name: told_as(getattr(value, name), to) for name in value.__struct_fields__}
        )
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        return value
    fields = {each.name: told_as(getattr(value, each.name), to) for each in dataclasses.fields(value)}
    return dataclasses.replace(value, **fields)  # type: ignore[type-var] # a type was sent back above


def _text(found: re.Match[str], to: Callable[[int], int]) -> str:
    if found["high"] is None:
        return str(to(int(found[0])))
    generation = to(int(found["high"]) << 8 | int(found["low"]))
    return f"10.0.{generation >> 8}.{generation & 255}"
