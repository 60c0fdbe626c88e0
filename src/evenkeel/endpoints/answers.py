"""From members and weights to an answer, and back again.

An answer knows addresses only. A load balancer with several addresses of a family has its weight split evenly among
them; weights are brought to lowest terms in each family, so equal shares make equal answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    a = _family([(lb.ipv4, weight) for lb, weight in members] if endpoint.ipv4 else [], foreign.a)
    aaaa = _family([(lb.ipv6, weight) for lb, weight in members] if endpoint.ipv6 else [], foreign.aaaa)
    return Answer(
        endpoint.ttl_s,
        tuple(address for address, _ in a),
        tuple(weight for _, weight in a),
        tuple(address for address, _ in aaaa),
        tuple(weight for _, weight in aaaa),
    )


def read_answer(endpoint: Endpoint, pool: Iterable[LoadBalancer], answer: Answer) -> Read:
    """The inverse of `answer_of`, up to a common factor of all weights."""
    a = dict(zip(answer.a, answer.a_weights, strict=True))
    aaaa = dict(zip(answer.aaaa, answer.aaaa_weights, strict=True))
    weights, ours = [], set()
    for balancer in pool:
        weight = 0
        for wanted, addresses, published in ((endpoint.ipv4, balancer.ipv4, a), (endpoint.ipv6, balancer.ipv6, aaaa)):
            found = [address for address in addresses if address in published] if wanted else []
            weight = weight or sum(published[address] for address in found)
            ours.update(found)
        weights.append(weight)
    foreign = Foreign(
        tuple((address, weight) for address, weight in a.items() if address not in ours),
        tuple((address, weight) for address, weight in aaaa.items() if address not in ours),
    )
    return Read(tuple(weights), foreign)


def _family(members: Sequence[tuple[tuple[str, ...], int]], foreign: Weighted) -> list[tuple[str, int]]:
    split = lcm(*(len(addresses) for addresses, _ in members if addresses))
    weights: dict[str, int] = {}
    for addresses, weight in members:
        for address in addresses:
            weights[address] = max(weights.get(address, 0), weight * split // len(addresses))
    if foreign:  # at the heaviest published weight's own scale
        largest, theirs = max(weights.values(), default=1), max(weight for _, weight in foreign)
        for address, weight in foreign:
            weights.setdefault(address, max(1, round(largest * weight / theirs)))
    common = gcd(*weights.values()) or 1
    return sorted((address, weight // common) for address, weight in weights.items())
