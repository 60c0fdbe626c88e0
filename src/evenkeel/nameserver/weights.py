"""In which order a server deals out addresses, so that clients meet them by weight (layout: `_weights.<owner>`).

A cycle of turns is dealt once, smoothly (a heavy address never comes in a bunch), and then repeated: over a whole
cycle each address comes first exactly in proportion to its weight, with no chance involved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

TURNS_MAX = 256  # of one cycle; larger weights are scaled down, no address below one turn
_WEIGHT_DIGITS_MAX = 9


def parse_weights(text: str) -> dict[str, tuple[int, ...]]:
    """`a=3,1;aaaa=2,2` by family; what is malformed is left out, so that a foreign hand cannot take an answer away."""
    families: dict[str, tuple[int, ...]] = {}
    for part in text.split(";"):
        family, _, numbers = part.partition("=")
        fields = numbers.split(",")
        if all(field.isascii() and field.isdigit() and len(field) <= _WEIGHT_DIGITS_MAX for field in fields):
            families[family] = tuple(map(int, fields))
    return families


def turns(weights: Sequence[int]) -> list[int]:
    """A cycle of places into `weights`, each as often as its weight says; weights of 0 count as 1."""
    fair = _scaled([max(1, weight) for weight in weights])
    credit = [0] * len(fair)
    total = sum(fair)
    cycle = []
    for _ in range(total):
        for place, weight in enumerate(fair):
            credit[place] += weight
        chosen = max(range(len(fair)), key=lambda place: credit[place])
        credit[chosen] -= total
        cycle.append(chosen)
    return cycle


def _scaled(weights: list[int]) -> list[int]:
    divisor = math.gcd(*weights)
    total = sum(weights) // divisor
    if total <= TURNS_MAX:
        return [weight // divisor for weight in weights]
    return [max(1, round(weight * TURNS_MAX / (total * divisor))) for weight in weights]


def hands(cycle: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """For each turn, the places of one reply: the one whose turn it is, then the next ones to come, all different."""
    distinct = min(size, len(set(cycle)))
    dealt = []
    for start in range(len(cycle)):
        hand: dict[int, None] = {}
        at = start
        while len(hand) < distinct:
            hand[cycle[at % len(cycle)]] = None
            at += 1
        dealt.append(tuple(hand))
    return dealt
