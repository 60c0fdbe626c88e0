"""The regional plan: every endpoint's answer, immutable, one per generation (DESIGN.md, OUTAGE.md).

`changed_in` is the last generation that changed an endpoint's answer: an Enactor leaves an endpoint alone
when its fence is at or past it, and a plan travels as the endpoints that changed since the one before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from evenkeel.model.errors import InternalError


class Layout(StrEnum):
    """How an endpoint's answer is laid out in its zone."""

    TREE = "tree"  # endpoint -> CNAME -> the generation's node -> addresses
    FLAT = "flat"  # addresses at the endpoint's own name (an apex needs it)


class Lane(StrEnum):
    """How soon a change has to be out: removal of failed capacity cannot wait, rebalancing can."""

    URGENT = "urgent"
    ROUTINE = "routine"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint resolves to. `a` and `aaaa` are sorted address texts; weights stand beside them.

    Weights are whole numbers of at least 1, meaningful relative to each other within one family.
    """

    ttl_s: int
    a: tuple[str, ...] = ()
    a_weights: tuple[int, ...] = ()
    aaaa: tuple[str, ...] = ()
    aaaa_weights: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.a) != len(self.a_weights) or len(self.aaaa) != len(self.aaaa_weights):
            raise InternalError(f"an answer needs one weight an address: {self!r}")

    @classmethod
    def weighed(cls, ttl_s: int, a: tuple[str, ...], aaaa: tuple[str, ...], weights: str) -> Answer:
        """The answer of which `weights` is the `weights_text`. A family that it gives no good weights has 1 each."""
        given = dict(part.split("=", 1) for part in weights.split(";") if "=" in part)
        return cls(
            ttl_s, a, _weights_of(given.get("a", ""), len(a)), aaaa, _weights_of(given.get("aaaa", ""), len(aaaa))
        )

    @property
    def size(self) -> int:
        """Addresses of both families."""
        return len(self.a) + len(self.aaaa)

    @property
    def is_empty(self) -> bool:
        return not self.a and not self.aaaa

    def addresses(self) -> frozenset[str]:
        return frozenset(self.a) | frozenset(self.aaaa)

    def weights_text(self) -> str:
        """`a=3,1;aaaa=2,2`: weights in the order of the sorted addresses; empty where each family's are alike."""
        if len(set(self.a_weights)) <= 1 and len(set(self.aaaa_weights)) <= 1:
            return ""
        families = (("a", self.a_weights), ("aaaa", self.aaaa_weights))
        return ";".join(f"{family}={','.join(map(str, weights))}" for family, weights in families if weights)


def _weights_of(text: str, count: int) -> tuple[int, ...]:
    numbers = text.split(",")
    good = len(numbers) == count and all(each.isascii() and each.isdigit() and int(each) for each in numbers)
    return tuple(map(int, numbers)) if good else (1,) * count


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """One endpoint's part of a plan."""

    name: str
    zone: str
    layout: Layout
    answer: Answer
    changed_in: int
    lane: Lane = Lane.ROUTINE


@dataclass(frozen=True, slots=True)
class PlanDelta:
    """Generation `generation`, told as what changed since `previous` (0: from nothing, a snapshot)."""

    region: str
    generation: int
    previous: int
    planner: str
    changed: tuple[EndpointPlan, ...]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All endpoints of the region at one generation, by name."""

    region: str
    generation: int
    planner: str
    endpoints: Mapping[str, EndpointPlan]

    @classmethod
    def empty(cls, region: str) -> Plan:
        return cls(region, 0, "", {})

    def apply(self, delta: PlanDelta) -> Plan:
        """The plan that follows. Raises `InternalError` where the delta does not follow on this one."""
        if delta.previous not in (0, self.generation):
            raise InternalError(f"delta {delta.previous}->{delta.generation} does not follow {self.generation}")
        endpoints = dict(self.endpoints) if delta.previous else {}
        for endpoint in delta.changed:
            endpoints[endpoint.name] = endpoint
        for name in delta.removed:
            endpoints.pop(name, None)
        return Plan(delta.region, delta.generation, delta.planner, endpoints)

    def as_delta(self) -> PlanDelta:
        """The whole plan, told from nothing."""
        return PlanDelta(self.region, self.generation, 0, self.planner, tuple(self.endpoints.values()))

    def checksum(self) -> str:
        """Over what clients would see, in name order: equal answers give equal checksums at any generation."""
        digest = hashlib.sha256()
        for name in sorted(self.endpoints):
            endpoint = self.endpoints[name]
            digest.update(repr((name, endpoint.zone, endpoint.layout.value, endpoint.answer)).encode())
        return digest.hexdigest()[:16]


def restamped(endpoint: EndpointPlan, generation: int) -> EndpointPlan:
    """The same answer, as changed in `generation`."""
    return replace(endpoint, changed_in=generation)
