"""What a Planner would publish next, as values: the changes, why each, and what it holds back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from evenkeel.model.plan import EndpointPlan


class Why(IntFlag):
    """Why an endpoint's answer changes; several may hold at once."""

    FIRST = 1
    FAILED = 2
    DRAINED = 4
    STAND_IN = 8
    ADDED = 16
    MOVED = 32
    WEIGHTS = 64
    CONFIGURATION = 128
    RESTORED = 256

    def text(self) -> str:
        return ", ".join(_TEXTS[reason] for reason in Why if reason in self)


_TEXTS = {
    Why.FIRST: "first answer",
    Why.FAILED: "failed out",
    Why.DRAINED: "drained out",
    Why.STAND_IN: "stand-in",
    Why.ADDED: "added",
    Why.MOVED: "rebalanced",
    Why.WEIGHTS: "weights",
    Why.CONFIGURATION: "configuration",
    Why.RESTORED: "published anew above an earlier plan store",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One endpoint's next answer."""

    plan: EndpointPlan
    why: Why


@dataclass(frozen=True, slots=True)
class Withheld:
    """A load balancer that is bad and stays published at `endpoints` endpoints; `reason`: panic, velocity, floor."""

    load_balancer: str
    reason: str
    endpoints: int
