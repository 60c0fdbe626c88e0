"""What must hold of a zone, as plain functions over what it shows: the same for a rehearsal, a drill and chaos.

Each judge says what is wrong, and "" where nothing is. They know zones alone: a twin's state, or what was read from a
server, is as good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from evenkeel.endpoints.layout import fence_name, weights_name
from evenkeel.model.errors import CorruptFence
from evenkeel.model.fence import Fence, only_fence
from evenkeel.model.plan import EndpointPlan

CHAIN_MAX = 16  # CNAMEs followed from one name


class Invariant(StrEnum):
    """What is judged. The first four hold at every commit, the others at their time."""

    NEVER_EMPTY = "never-empty"  # an endpoint once published always has an address
    FENCE_NEVER_BACK = "fence-never-back"  # generations only grow
    ONE_FENCE = "one-fence"  # exactly one well-formed fence
    NO_WEDGE = "no-wedge"  # no Enactor finds an endpoint that it cannot ever update again
    CONVERGED = "converged"  # by the time given, every endpoint shows the newest plan
    CLIENTS_SERVED = "clients-served"  # no request failed for want of an answer


class ZoneTexts(Protocol):
    """A zone's records in presentation form, sorted; empty where there are none."""

    def texts(self, name: str, type_: str) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """What an endpoint shows at one moment."""

    endpoint: str
    fences: tuple[str, ...]
    addresses: tuple[str, ...]  # of both families, what a client gets
    weights: str  # as beside the addresses; "" where alike

    @property
    def generation(self) -> int:
        """The greatest that a fence names; 0 where there is none."""
        generations = [0]
        for text in self.fences:
            try:
                generations.append(Fence.parse(text).generation)
            except CorruptFence:
                continue
        return max(generations)

    @property
    def writer(self) -> str:
        """Who published it; "" where no single fence says so."""
        try:
            fence = only_fence(self.fences, self.endpoint)
        except CorruptFence:
            return ""
        return fence.writer if fence is not None else ""


def shown(zone: ZoneTexts, endpoint: str) -> Shown:
    """Reads an endpoint as a client would, following CNAMEs, and its fence."""
    name = endpoint
    for _ in range(CHAIN_MAX):
        target = zone.texts(name, "CNAME")
        if not target:
            break
        name = target[0]
    addresses = zone.texts(name, "A") + zone.texts(name, "AAAA")
    weights = "".join(zone.texts(weights_name(name), "TXT")[:1])
    return Shown(endpoint, zone.texts(fence_name(endpoint), "TXT"), addresses, weights)


def why_empty(now: Shown) -> str:
    """`NEVER_EMPTY`. An endpoint without a fence was never published, or is no longer managed."""
    return "it has no address" if now.fences and not now.addresses else ""


def why_not_one_fence(now: Shown) -> str:
    """`ONE_FENCE`."""
    try:
        only_fence(now.fences, now.endpoint)
    except CorruptFence as error:
        return str(error)
    return ""


def why_fence_back(generation_before: int, now: Shown) -> str:
    """`FENCE_NEVER_BACK`, beside the greatest generation seen so far."""
    if now.fences and now.generation < generation_before:
        return f"generation {now.generation} by {now.writer or 'somebody'} after {generation_before}"
    return ""


def why_not_converged(planned: EndpointPlan, now: Shown) -> str:
    """`CONVERGED`: as planned, under a fence at or past the plan's change."""
    if now.generation < planned.changed_in:
        return f"generation {now.generation}, planned in {planned.changed_in}"
    answer = planned.answer
    if now.generation == planned.changed_in and now.addresses != answer.a + answer.aaaa:
        return f"shows {', '.join(now.addresses) or 'nothing'}, planned {', '.join(answer.a + answer.aaaa)}"
    return ""


def not_converged(zone: ZoneTexts, planned: Mapping[str, EndpointPlan]) -> dict[str, str]:
    """By endpoint, why it does not show its plan."""
    found = {name: why_not_converged(each, shown(zone, name)) for name, each in planned.items()}
    return {name: why for name, why in found.items() if why}
