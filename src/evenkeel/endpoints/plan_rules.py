"""What a plan store holds to, whatever it is made of: the twin and every real store ask here."""

from __future__ import annotations

from evenkeel.model.errors import Refusal
from evenkeel.model.plan import PlanDelta


def may_follow(delta: PlanDelta, newest: int, floor: int) -> bool:
    """Compare and set: whether `delta` was planned on the newest plan, and goes above all that anybody knows."""
    return delta.previous == newest and delta.generation > max(newest, floor)


def check_delta(delta: PlanDelta, region: str) -> None:
    """Raises `Refusal` for what must never be stored, whoever asks: the last guard before a plan is a fact."""
    if delta.region != region:
        raise Refusal(f"a plan of region {delta.region!r} does not belong in the store of region {region!r}")
    if delta.generation <= delta.previous:
        raise Refusal(f"generation {delta.generation} does not come after {delta.previous}")
    if not delta.changed and not delta.removed:
        raise Refusal(f"generation {delta.generation} changes nothing, so it must not be")
    names = [endpoint.name for endpoint in delta.changed]
    if len(set(names)) != len(names) or not set(names).isdisjoint(delta.removed):
        raise Refusal(f"generation {delta.generation} names an endpoint twice")
    for endpoint in delta.changed:
        if endpoint.answer.is_empty:
            raise Refusal(f"{endpoint.name}: refused, the plan would leave it without an answer")
        if endpoint.changed_in != delta.generation:
            raise Refusal(f"{endpoint.name}: changed in {endpoint.changed_in}, told in {delta.generation}")
