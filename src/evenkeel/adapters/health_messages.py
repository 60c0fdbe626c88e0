"""What vantage points and Planners say to each other, over adapters/frames.py (token `health`).

    vantage point                       Planner
    Hello(vantage)            ->
                              <-        Ping(1)
    Opinions(whole, echo=1)   ->
                              <-        Ping(n), every `PING_S`, or oftener where less staleness is borne
    Opinions(changes, echo=n) ->        in answer to each ping, and at once when a standing changed

`echo` is the newest ping that was read: it tells the Planner, by its own clock alone, how old an opinion can be
at most. Opinions that lay in a buffer while either side was stopped are not taken for new ones.
"""

from __future__ import annotations

import msgspec

from evenkeel.model.health import Opinion, Standing

PING_S = 1.0
HELLO_DEADLINE_S = 5.0
HELLO_OCTETS_MAX = 1024
OPINIONS_OCTETS_MAX = 64 * 1024 * 1024


class Hello(msgspec.Struct, frozen=True):
    """First frame of a vantage point."""

    vantage: str


class Ping(msgspec.Struct, frozen=True):
    """Numbers grow by one on each link."""

    number: int


class Said(msgspec.Struct, frozen=True, array_like=True):
    """One opinion; whose it is stands in `Hello`."""

    load_balancer: str
    standing: Standing
    capacity: float
    load: float
    detail: str


class Opinions(msgspec.Struct, frozen=True):
    """Opinions, and the vantage point's doubt of itself ("" where it has none). Often nothing is said."""

    echo: int
    doubt: str
    is_whole: bool
    said: tuple[Said, ...]


def said(opinion: Opinion) -> Said:
    """As it travels."""
    return Said(opinion.load_balancer, opinion.standing, opinion.capacity, opinion.load, opinion.detail)


def opinion_of(vantage: str, value: Said) -> Opinion:
    """As it arrived."""
    return Opinion(value.load_balancer, vantage, value.standing, value.capacity, value.load, value.detail)
