"""Time and chance of the real world: `ports.clock` on asyncio."""

from __future__ import annotations

import asyncio
import secrets
import time

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_START_LETTERS = 14  # 72 bits: two starts alike are not to be expected in the life of a zone


class AsyncioClock:
    """`ports.clock.Clock`."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class FreshNonces:
    """`ports.clock.Nonces`: entropy drawn once at the start, so a restart cannot repeat one, then a count.

    A draw for each would cost more than composing the write that carries it.
    """

    def __init__(self) -> None:
        self._start = "".join(secrets.choice(_ALPHABET) for _ in range(_START_LETTERS))
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"{self._start}{self._count:x}"
