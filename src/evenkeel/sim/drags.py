"""What makes one process slow on some endpoints: longer exchanges, locks lost to somebody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(slots=True)
class Drag:
    """`process` on endpoints that match: every exchange `extra_us` longer, the next `lost_locks` of each lost."""

    process: str
    endpoint: str
    extra_us: int = 0
    lost_locks: int = 0
    lost: dict[str, int] = field(default_factory=dict)  # so far, by endpoint


class Drags:
    """All drags in force."""

    def __init__(self) -> None:
        self._drags: list[Drag] = []

    @property
    def is_any(self) -> bool:
        return bool(self._drags)

    def add(self, drag: Drag) -> None:
        self._drags.append(drag)

    def remove(self, drag: Drag) -> None:
        self._drags.remove(drag)

    def extra_us(self, process: str, endpoint: str) -> int:
        return sum(drag.extra_us for drag in self._drags if _is_meant(drag, process, endpoint))

    def loses_lock(self, process: str, endpoint: str) -> bool:
        """Whether this attempt at a lock is lost; counts it."""
        for drag in self._drags:
            lost = drag.lost.get(endpoint, 0)
            if lost < drag.lost_locks and _is_meant(drag, process, endpoint):
                drag.lost[endpoint] = lost + 1
                return True
        return False


def _is_meant(drag: Drag, process: str, endpoint: str) -> bool:
    return drag.process == process and fnmatchcase(endpoint, drag.endpoint)
