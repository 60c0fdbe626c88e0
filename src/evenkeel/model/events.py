"""What goes into the region's event journal: who published what, who refused what, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class EventKind(StrEnum):
    STARTED = "started"
    STOPPED = "stopped"
    PLAN_APPENDED = "plan-appended"
    PLAN_CONTENDED = "plan-contended"  # another Planner appended first
    PLAN_WITHHELD = "plan-withheld"  # a removal queued by the velocity limit, or panic
    PUBLISHED = "published"
    SUPERSEDED = "superseded"  # a write refused because someone else was first
    REFUSED = "refused"  # a safeguard refused: never empty, share, floor
    FENCE_CORRUPT = "fence-corrupt"
    WEDGED = "wedged"
    FROZEN = "frozen"
    THAWED = "thawed"
    PINNED = "pinned"
    UNPINNED = "unpinned"
    ROLLED_BACK = "rolled-back"
    REPAIRED = "repaired"
    CLEANED_UP = "cleaned-up"
    DRIFT = "drift"  # an answer other than planned
    EMPTY = "empty"  # an endpoint without an answer: an alarm of its own
    HEALTH = "health"
    UNREACHABLE = "unreachable"
    RECOVERED = "recovered"
    TOOK_OVER = "took-over"  # a droplet manager has an az from now on
    STANDS_BY = "stands-by"  # a droplet manager waits for its az, which another one has
    JOINED = "joined"  # a host
    LEASES = "leases"  # a recovery of leases began, or is over
    LAUNCHED = "launched"
    TERMINATED = "terminated"
    THROTTLED = "throttled"  # an operator's remedy for a queue that collapsed


@dataclass(frozen=True, slots=True)
class Event:
    """One entry. `at_ms` is wall-clock Unix time in milliseconds, for people; nothing decides by it."""

    at_ms: int
    process: str
    kind: EventKind
    endpoint: str = ""
    generation: int = 0
    detail: str = ""
    fields: dict[str, str] = field(default_factory=dict)
