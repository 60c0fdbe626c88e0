"""The region as an operator looks at it: values only, for `status` and for the live view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from evenkeel.endpoints.layout import Standing
from evenkeel.model.errors import CorruptFence
from evenkeel.model.fence import only_fence
from evenkeel.model.plan import EndpointPlan
from evenkeel.model.region import Endpoint
from evenkeel.region.up_state import ComponentState

UNKNOWN = -1


class EndpointState(StrEnum):
    """How an endpoint stands, worst first; the first that holds is shown."""

    EMPTY = "empty"  # published once, and clients get nothing
    CORRUPT = "corrupt-fence"
    UNREACHABLE = "unreachable"  # the zone's server could not be read
    UNPUBLISHED = "unpublished"  # no Enactor has been here yet
    BEHIND = "behind"  # a newer answer is planned
    HELD = "held"  # pinned by an operator
    CURRENT = "current"


BAD_STATES = frozenset({EndpointState.EMPTY, EndpointState.CORRUPT, EndpointState.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint: what its zone holds, beside what is planned. -1 where a number is not known."""

    name: str
    layout: str
    state: EndpointState
    a: tuple[str, ...] = ()
    a_weights: tuple[int, ...] = ()
    aaaa: tuple[str, ...] = ()
    aaaa_weights: tuple[int, ...] = ()
    generation: int = UNKNOWN  # of the fence
    writer: str = ""
    planned_generation: int = UNKNOWN  # that last changed the answer
    lag: int = UNKNOWN  # generations between the two; 0 is current
    age_ms: int = UNKNOWN  # since it was published
    healthy: int = UNKNOWN  # load balancers of its pool
    pool: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LoadBalancerView:
    """One load balancer, by the quorum's verdict."""

    name: str
    az: str
    standing: str = "unknown"
    capacity: float = -1.0
    load: float = -1.0


@dataclass(frozen=True, slots=True)
class LeaseView:
    """How the leases of one az stand. `covered`: hosts that hold one by their own word; `eta_s` -1: not known."""

    az: str
    hosts: int
    leased: int
    covered: int
    epoch: int
    store_is_lost: bool
    eta_s: float
    recovering_for_s: float
    x_bound: float  # how far above the physical limit the recovery runs; 0 where there is none
    instances: dict[str, int] = field(default_factory=dict)  # by state
    manager: str = ""  # the component that has the az
    standbys: tuple[str, ...] = ()  # components that stand by for it


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything at one moment. `notes` says what could not be seen, and why."""

    region: str
    at_ms: int
    generation: int = UNKNOWN  # of the newest plan
    planner: str = ""  # who made it
    endpoints: tuple[EndpointView, ...] = ()
    load_balancers: tuple[LoadBalancerView, ...] = ()
    components: dict[str, ComponentState] = field(default_factory=dict)
    frozen: dict[str, str] = field(default_factory=dict)  # zones under the kill switch, with its text
    notes: tuple[str, ...] = ()
    leases: tuple[LeaseView, ...] = ()  # by az, where the region has a fleet and its manager answers


def endpoint_view(
    endpoint: Endpoint, standing: Standing, planned: EndpointPlan | None, *, age_ms: int, healthy: int
) -> EndpointView:
    """How `endpoint` stands, judged from one reading of its zone."""
    generation, writer, pinned, corrupt = UNKNOWN, "", False, ""
    try:
        fence = only_fence(standing.reading.fences, endpoint.name)
        if fence is not None:
            generation, writer, pinned = fence.generation, fence.writer, fence.pinned
    except CorruptFence as error:
        corrupt = str(error)
    changed_in = planned.changed_in if planned is not None else UNKNOWN
    lag = max(0, changed_in - max(generation, 0)) if changed_in != UNKNOWN else UNKNOWN
    a_weights, aaaa_weights = weights_of(standing)
    return EndpointView(
        endpoint.name,
        endpoint.layout.value,
        _state(standing, is_corrupt=bool(corrupt), has_fence=generation != UNKNOWN, is_behind=lag > 0, is_held=pinned),
        standing.a,
        a_weights,
        standing.aaaa,
        aaaa_weights,
        generation,
        writer,
        changed_in,
        lag,
        age_ms,
        healthy,
        len(endpoint.load_balancers),
        corrupt,
    )


def weights_of(standing: Standing) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Weights of the A and the AAAA addresses; all 1 where the zone says nothing of use."""
    said = dict(part.partition("=")[::2] for part in standing.weights.split(";"))
    return _weights(said.get("a", ""), standing.a), _weights(said.get("aaaa", ""), standing.aaaa)


def _weights(text: str, addresses: Sequence[str]) -> tuple[int, ...]:
    parts = text.split(",")
    if len(parts) == len(addresses) and all(part.isdecimal() for part in parts):
        return tuple(map(int, parts))
    return (1,) * len(addresses)


def _state(standing: Standing, *, is_corrupt: bool, has_fence: bool, is_behind: bool, is_held: bool) -> EndpointState:
    if is_corrupt:
        return EndpointState.CORRUPT
    if not standing.size:
        return EndpointState.EMPTY if has_fence or standing.is_dangling else EndpointState.UNPUBLISHED
    if is_held:
        return EndpointState.HELD
    if not has_fence:
        return EndpointState.UNPUBLISHED
    return EndpointState.BEHIND if is_behind else EndpointState.CURRENT
