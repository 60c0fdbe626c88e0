"""The fleet's values: hosts ("droplets"), their leases, what agents and managers tell one another, launches.

Durations only, never a time of day: a host counts its lease from the moment at which it *sent* the contact that a grant
answers, its manager from the moment at which it heard it. So the host's lease always ends first, however wrong either
clock is (Gray and Cheriton, "Leases", SOSP 1989, section 3.3).

A lease's generation has the manager's epoch in its high bits: it grows with every new lease and with every takeover,
and nobody has to store a counter. A host obeys the greatest epoch that it has seen, and nothing below.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

GENERATION_BITS = 40  # leases of one epoch: a million a second for twelve days
EPOCH_MAX = (1 << (63 - GENERATION_BITS)) - 1


def first_generation(epoch: int) -> int:
    """Every lease granted in `epoch` has a generation above this one."""
    return epoch << GENERATION_BITS


def epoch_of(generation: int) -> int:
    """The epoch in which a lease was granted; 0 for no lease."""
    return generation >> GENERATION_BITS


# --- the durable inventory --------------------------------------------------------------------------------


class HostState(StrEnum):
    """What an operator wants of a host. Whether it is leased is another matter."""

    ACTIVE = "active"
    DRAINING = "draining"  # keeps its lease and its instances, gets no new ones
    RETIRED = "retired"  # gets no lease; its number is not used again


@dataclass(frozen=True, slots=True)
class Host:
    """One physical server. `number` is its place in its manager's tables, given at joining, for good."""

    number: int
    name: str
    az: str
    cpus: int
    memory_mib: int
    state: HostState = HostState.ACTIVE
    generation: int = 0  # of the last lease that was recorded for it; 0: never leased


@dataclass(frozen=True, slots=True)
class Granted:
    """One lease to record: the number of a host and the generation of its new lease."""

    number: int
    generation: int


@dataclass(frozen=True, slots=True)
class Amnesty:
    """Every recorded lease up to `generation` stands for `extend_s` more from when this is read (RECOVERY.md, 1).

    One record in place of one write a host. `epoch` is the manager's that wrote it.
    """

    epoch: int
    generation: int
    extend_s: float


@dataclass(frozen=True, slots=True)
class Tenure:
    """Who manages an az, by the store's word. `epoch` only grows; the takeover compares and sets it.

    `beat` grows for as long as the manager lives and reaches the store; it means nothing but that it has changed.
    """

    epoch: int = 0
    manager: str = ""
    amnesty: Amnesty | None = None
    capacity_per_s: float = 0.0  # the last estimate that a manager persisted; 0: none
    beat: int = 0  # from 0 in each epoch


# --- what an agent and its manager tell one another -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contact:
    """Agent to manager. Establishes, renews or confirms, by what the manager finds in its table.

    `sequence` grows with every contact of a host, also across its restarts; what is not above the last one is stale.
    `generation` is of the lease that the host holds (0: none), `epoch` the greatest it has seen. `answers` is the call
    that it answers (0: unasked).
    """

    host: str
    sequence: int
    generation: int = 0
    epoch: int = 0
    answers: int = 0
    cpus_free: int = 0
    memory_free_mib: int = 0
    instances: tuple[str, ...] = ()  # ids of those that run


@dataclass(frozen=True, slots=True)
class Grant:
    """Manager to agent: the lease, counted from when the contact `answers` was sent.

    It carries the host's recovery plan (RECOVERY.md, 8): should contacts go unanswered, send no more than one every
    `poll_s`, the first `phase_s` after the one that was due.
    """

    host: str
    epoch: int
    generation: int
    answers: int  # sequence of the contact
    term_s: float
    next_contact_s: float
    poll_s: float
    phase_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Manager to agent: not yet. Contact again after `after_s`, unless called before; recovered in about `eta_s`."""

    host: str
    epoch: int
    answers: int
    after_s: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class Call:
    """Manager to agent: contact now. What comes later than `within_s` finds its place taken by another."""

    host: str
    epoch: int
    call: int
    within_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Fenced:
    """Either way: you speak for an epoch that is over. `epoch` is the greatest that the sender knows.

    A manager that hears it asks the store who manages, and steps down if it is another; an agent that hears it keeps
    its lease, and turns to the manager of that epoch.
    """

    host: str
    epoch: int
    answers: int = 0


ToAgent = Grant | Wait | Call | Fenced
ToManager = Contact | Fenced


# --- instances and launches -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """What to run."""

    kind: str = "web"
    cpus: int = 1
    memory_mib: int = 128


class InstanceState(StrEnum):
    PENDING = "pending"  # recorded and placed; its host has been told, or will be
    RUNNING = "running"
    STOPPING = "stopping"
    TERMINATED = "terminated"
    LOST = "lost"  # its host's lease ended; it may not be running


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance, as recorded. `host` is a name; `generation` of the lease under which it was placed."""

    instance: str
    account: str
    token: str  # the idempotency token of its launch
    spec: InstanceSpec
    az: str
    host: str
    generation: int
    state: InstanceState = InstanceState.PENDING
    address: str = ""  # where it answers, once it runs


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """Launch `count` instances. `token` makes a repetition harmless: it gets what the first one got."""

    account: str
    token: str
    spec: InstanceSpec
    az: str = ""  # "": anywhere
    count: int = 1


@dataclass(frozen=True, slots=True)
class Launched:
    """All of them, or none: a launch is never partly done."""

    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class InsufficientCapacity:
    """The leased hosts have no room, and the fleet is whole: it is capacity that is missing."""

    az: str
    asked: int
    room: int


@dataclass(frozen=True, slots=True)
class RequestLimitExceeded:
    """The account's budget is spent, or the launch queue is full; worth another try after `retry_after_s`."""

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Recovering:
    """Hosts are there, but not leased yet: this is no lack of capacity. `eta_s` until the fleet is whole."""

    az: str
    leased: int
    hosts: int
    eta_s: float


LaunchOutcome = Launched | InsufficientCapacity | RequestLimitExceeded | Recovering


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """How an az's fleet stands, for `status`, metrics and the launch API."""

    az: str
    epoch: int
    hosts: int  # that should hold a lease
    leased: int
    unconfirmed: int  # granted, and not heard of since
    store_is_lost: bool
    queued: int
    called: int
    capacity_per_s: float  # the estimate, in units of work a second
    eta_s: float  # until every reachable host is leased
    recovering_for_s: float  # since the recovery began; 0 where there is none
    bound_s: float  # what the recovery had taken at least, at the capacity seen
    x_bound: float  # (recovering_for_s + eta_s) / (bound_s + eta_s); 1 is the physical limit, 0 where there is none
    amnesties: int
    grants: int
    renewals: int
    regrants: int
    waits: int
    calls: int
    dropped: int  # by deadline, before any work was spent
    expired: int
