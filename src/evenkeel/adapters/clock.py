"""Time and chance of the real world: `ports.clock` on asyncio."""

from __future__ import annotations

import asyncio
import secrets
import time

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_NONCE_LETTERS = 16  # 82 bits: two alike are not to be expected in the life of a zone


class AsyncioClock:
    """`ports.clock.Clock`."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class RandomNonces:
    """`ports.clock.Nonces`: drawn from the system's entropy, so a restart cannot repeat one."""

    def next(self) -> str:
        return "".join(secrets.choice(_ALPHABET) for _ in range(_NONCE_LETTERS))
