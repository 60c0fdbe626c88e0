"""What happened, in order: notable events are kept, and every exchange goes into the digest.

Two runs are the same run exactly when their digests are equal (SHA-256 over every line, virtual times in whole
microseconds).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

LINES_A_HASH = 4096
NOTED_MAX = 200_000  # more are counted and hashed, and not kept


@dataclass(frozen=True, slots=True)
class Noted:
    """One notable event. `kind` is a journal's event kind, or what the simulation itself did (`fault`, `operator`)."""

    at_us: int
    process: str
    kind: str
    endpoint: str = ""
    generation: int = 0
    detail: str = ""

    def line(self) -> str:
        return f"{self.at_us} {self.process} {self.kind} {self.endpoint} {self.generation} {self.detail}"


class Trace:
    """The trace of one run. `write`, where given, gets every line as it comes."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self.noted: list[Noted] = []
        self.count = 0
        self.listeners: list[Callable[[Noted], None]] = []
        self._lines: list[str] = []
        self._sha = hashlib.sha256()
        self._write = write

    def line(self, text: str) -> None:
        """An exchange, or anything else that only has to be the same next time."""
        self._lines.append(text)
        if len(self._lines) >= LINES_A_HASH:
            self._flush()

    def note(self, noted: Noted) -> None:
        """A notable event."""
        self.line(noted.line())
        if len(self.noted) < NOTED_MAX:
            self.noted.append(noted)
        for listener in self.listeners:
            listener(noted)

    def _flush(self) -> None:
        self.count += len(self._lines)
        text = "".join(line + "\n" for line in self._lines)
        self._lines.clear()
        self._sha.update(text.encode())
        if self._write is not None:
            self._write(text)

    def digest(self) -> str:
        """Of everything so far."""
        self._flush()
        return self._sha.hexdigest()
