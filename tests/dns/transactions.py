"""Transactions as Enactors write them, for endpoints by number."""

from __future__ import annotations

from evenkeel.endpoints import layout
from evenkeel.endpoints.layout import Standing, Target
from evenkeel.model.fence import Fence
from evenkeel.model.plan import Answer, Layout
from evenkeel.model.transactions import Transaction
from evenkeel.ports.zone import Reading
from tests.servers import ZONE


def endpoint(number: int) -> str:
    return f"e{number}.{ZONE}"


def addresses(number: int, generation: int, count: int = 2) -> tuple[str, ...]:
    return tuple(sorted(f"10.{generation & 255}.{number & 255}.{k}" for k in range(1, count + 1)))


def flip(number: int, generation: int, standing: Reading | None = None, writer: str = "test") -> Transaction:
    """Generation `generation` at endpoint `number`, on condition of `standing` (nothing, by default)."""
    texts = addresses(number, generation)
    target = Target(endpoint(number), Layout.FLAT, Answer(60, texts, (1,) * len(texts)), "")
    fence = Fence(generation, writer, f"{writer}{generation}x{number}")
    return layout.flip(ZONE, target, Standing(standing or Reading()), fence)
