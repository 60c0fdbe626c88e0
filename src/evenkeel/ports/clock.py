"""Time and chance. Workflows read neither directly."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Monotonic time for decisions; wall-clock time only for what people read and for October's lock."""

    def monotonic_s(self) -> float: ...

    def wall_ms(self) -> int: ...

    async def sleep(self, delay_s: float) -> None: ...


class Nonces(Protocol):
    """A source of values that never repeat, also across restarts."""

    def next(self) -> str: ...
