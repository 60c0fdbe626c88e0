"""A trace as diagrams and pages take it, whatever it is a trace of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """One thing as a step leaves it: `shows` in a word or two, the rest as rows of what and value."""

    title: str
    shows: str
    rows: tuple[tuple[str, str], ...] = ()
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """One step: `process` does `action` at `service`. `breaks` names the properties that do not hold from here on."""

    number: int
    process: str
    service: str
    action: str
    text: str
    cards: tuple[Card, ...] = ()
    breaks: tuple[str, ...] = ()
