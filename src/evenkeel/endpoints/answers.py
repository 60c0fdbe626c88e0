"""From members and weights to an answer, and back again.

An answer knows addresses only. A load balancer with several addresses of a family has its weight split evenly among
them; weights are brought to lowest terms in each family, so equal shares make equal answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd, lcm

from evenkeel.model.plan import Answer
from evenkeel.model.region import Endpoint, LoadBalancer

Weighted = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Foreign:
    """Addresses of a published answer that belong to no load balancer of the pool (any more), with their weights."""

    a: Weighted = ()
    aaaa: Weighted = ()

    @property
    def size(self) -> int:
        return len(self.a) + len(self.aaaa)

    def without(self, count: int) -> Foreign:
        """The same, `count` addresses fewer."""
        a = self.a[min(count, len(self.a)) :]
        return Foreign(a, self.aaaa[max(0, count - len(self.a)) :])


NOTHING_FOREIGN = Foreign()


@dataclass(frozen=True, slots=True)
class Read:
    """A published answer, as weights by load balancer of the pool (0: not a member) and what is foreign."""

    weights: tuple[int, ...]
    foreign: Foreign


def answer_of(
    endpoint: Endpoint, members: Sequence[tuple[LoadBalancer, int]], foreign: Foreign = NOTHING_FOREIGN
) -> Answer:
    """The answer of `endpoint` from `members` and their weights."""
    a, a_weights = _family([(lb.ipv4, weight) for lb, weight in members] if endpoint.ipv4 else [], foreign.a)
    aaaa, aaaa_weights = _family([(lb.ipv6, weight) for lb, weight in members] if endpoint.ipv6 else [], foreign.aaaa)
    return Answer(endpoint.ttl_s, a, a_weights, aaaa, aaaa_weights)


def read_answer(endpoint: Endpoint, pool: Sequence[LoadBalancer], answer: Answer) -> Read:
    """The inverse of `answer_of`, up to a common factor of all weights."""
    a = dict(zip(answer.a, answer.a_weights, strict=True))
    aaaa = dict(zip(answer.aaaa, answer.aaaa_weights, strict=True))
    four = [_weight(lb.ipv4, a) if endpoint.ipv4 else 0 for lb in pool]
    six = [_weight(lb.ipv6, aaaa) if endpoint.ipv6 else 0 for lb in pool]
    # Each family is in lowest terms of its own: a load balancer that is in both tells their common scale.
    scale_four, scale_six = next(((w6, w4) for w4, w6 in zip(four, six, strict=True) if w4 and w6), (1, 1))
    weights = [w4 * scale_four or w6 * scale_six for w4, w6 in zip(four, six, strict=True)]
    common = gcd(*weights) or 1
    ours_four = {address for lb in pool for address in lb.ipv4} if endpoint.ipv4 else set()
    ours_six = {address for lb in pool for address in lb.ipv6} if endpoint.ipv6 else set()
    foreign = Foreign(
        tuple((address, weight) for address, weight in a.items() if address not in ours_four),
        tuple((address, weight) for address, weight in aaaa.items() if address not in ours_six),
    )
    return Read(tuple(weight // common for weight in weights), foreign)


def _weight(addresses: Sequence[str], published: Mapping[str, int]) -> int:
    return sum(published.get(address, 0) for address in addresses)


def _family(
    members: Sequence[tuple[tuple[str, ...], int]], foreign: Weighted
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """One family's addresses, sorted, and their weights."""
    present = [(addresses, weight) for addresses, weight in members if addresses]
    split = lcm(*[len(addresses) for addresses, _ in present])
    weights: dict[str, int] = {}
    for addresses, weight in present:
        each = weight * split // len(addresses)
        for address in addresses:
            weights[address] = max(weights.get(address, 0), each)
    if not weights and not foreign:
        return (), ()
    if foreign:  # at the heaviest published weight's own scale
        largest, theirs = max(weights.values(), default=1), max(weight for _, weight in foreign)
        for address, weight in foreign:
            weights.setdefault(address, max(1, round(largest * weight / theirs)))
    common = gcd(*weights.values()) or 1
    addresses_sorted = tuple(sorted(weights))
    return addresses_sorted, tuple([weights[address] // common for address in addresses_sorted])
