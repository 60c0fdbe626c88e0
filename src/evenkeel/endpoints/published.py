"""What is published now, as the Planner measures its next step against it.

Members and weights are read back from the published answers' addresses, so a Planner that starts, or that another
one overtook, continues from what everybody sees and from nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evenkeel.endpoints.answers import NOTHING_FOREIGN, Foreign, answer_of, read_answer
from evenkeel.endpoints.pools import Ints, Pools
from evenkeel.model.plan import Answer, EndpointPlan

Memo = dict[object, Answer]


class Published:
    """`weight` is by edge, 0 for load balancers that are no member. Not for concurrent use."""

    def __init__(self, pools: Pools) -> None:
        self.weight: Ints = np.zeros(len(pools.edge_lb), dtype=np.int32)
        self.plans: dict[str, EndpointPlan] = {}
        self.surplus: set[str] = set()  # published, but not in the region any more
        self.foreign: dict[int, Foreign] = {}  # by endpoint number: addresses of no load balancer of its pool
        self.stale: set[int] = set()  # published otherwise than its members and its configuration say
        self._pools = pools

    def take(self, plan: EndpointPlan) -> tuple[int | None, list[int]]:
        """Take one endpoint's plan: its number (None: not in the region), and the edges of members it lost by it."""
        self.plans[plan.name] = plan
        number = self._pools.number_of.get(plan.name)
        if number is None:
            self.surplus.add(plan.name)
            return None, []
        edges = self._edges(number)
        endpoint = self._pools.endpoints[number]
        pool = [self._pools.load_balancers[lb] for lb in self._pools.edge_lb[edges].tolist()]
        read = read_answer(endpoint, pool, plan.answer)
        weight = np.array(read.weights, dtype=np.int32)
        lost = (edges.start + np.flatnonzero((self.weight[edges] > 0) & (weight == 0))).tolist()
        self.weight[edges] = weight
        self._note(number, read.foreign)
        if not self.is_as_configured(number) or self.render(number, self.weight, NOTHING_FOREIGN) != plan.answer:
            self.stale.add(number)
        return number, lost

    def replace(self, weight: Ints, plans: Mapping[str, EndpointPlan], foreign: Mapping[int, Foreign]) -> None:
        """Take what this Planner itself published: all `weight`, the changed `plans`, the `foreign` kept."""
        self.weight = weight
        self.plans.update(plans)
        for name in plans:
            number = self._pools.number_of[name]
            self._note(number, foreign.get(number, self.foreign.get(number, NOTHING_FOREIGN)))

    def forget(self, name: str) -> int | None:
        """The endpoint is published no more; its number, where it has one."""
        self.plans.pop(name, None)
        self.surplus.discard(name)
        number = self._pools.number_of.get(name)
        if number is not None:
            self.weight[self._edges(number)] = 0
            self._note(number, NOTHING_FOREIGN)
        return number

    def is_as_configured(self, number: int) -> bool:
        """Whether the endpoint stands in the zone and in the layout that the region says."""
        endpoint = self._pools.endpoints[number]
        plan = self.plans[endpoint.name]
        return (plan.zone, plan.layout) == (endpoint.zone, endpoint.layout)

    def render(self, number: int, weight: Ints, foreign: Foreign, memo: Memo | None = None) -> Answer:
        """The answer of endpoint `number` from `weight`; those alike in every respect share one through `memo`."""
        pools, edges = self._pools, self._edges(number)
        endpoint = pools.endpoints[number]
        pairs = zip(pools.edge_lb[edges].tolist(), weight[edges].tolist(), strict=True)
        chosen = tuple(sorted((lb, w) for lb, w in pairs if w))
        key = (chosen, endpoint.ttl_s, endpoint.ipv4, endpoint.ipv6, foreign)
        if memo is not None and key in memo:
            return memo[key]
        answer = answer_of(endpoint, [(pools.load_balancers[lb], w) for lb, w in chosen], foreign)
        if memo is not None:
            memo[key] = answer
        return answer

    def _note(self, number: int, foreign: Foreign) -> None:
        if foreign.size:
            self.foreign[number] = foreign
            self.stale.add(number)
        else:
            self.foreign.pop(number, None)
            self.stale.discard(number)

    def _edges(self, number: int) -> slice:
        return slice(int(self._pools.start[number]), int(self._pools.start[number + 1]))
