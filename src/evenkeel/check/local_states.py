"""Local states of the DNS automation's processes: everything that one of them holds between two steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evenkeel.check.exchange import TicketText
from evenkeel.model.transactions import Transaction


@dataclass(frozen=True, slots=True)
class Enacting:
    """An Enactor's local state: where it is in its cycle, the plan in hand, and what it has read."""

    stage: int
    at: int  # state of the stage's automaton
    plan: int = 0
    ticket: TicketText | None = None
    replies: tuple[Any, ...] = ()  # exchanges of the call under way
    nodes: tuple[str, ...] = ()  # spent nodes still to be looked at


@dataclass(frozen=True, slots=True)
class Planning:
    """The Planner: reads the newest generation and appends the next. One Planner does both in one step."""


@dataclass(frozen=True, slots=True)
class Travelling:
    """A write that is still under way to an endpoint."""

    endpoint: int
    transaction: Transaction
    what: str


@dataclass(frozen=True, slots=True)
class StandingBy:
    """The secondary of an endpoint's zone; its copy stands in the zone's state (standby.py)."""

    endpoint: int


Local = Enacting | Planning | Travelling | StandingBy | None
