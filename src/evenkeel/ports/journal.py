"""Where a component says what it did, what it refused, and why."""

from __future__ import annotations

from typing import Protocol

from evenkeel.model.events import EventKind


class Journal(Protocol):
    """Takes an event without waiting; the adapter stamps time and process."""

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None: ...
