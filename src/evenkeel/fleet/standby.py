"""When a manager that does not hold its az may take it: the watch of a standby.

The one that holds advances its tenure's beat for as long as it lives and reaches the store. A standby looks at the
tenure again and again, and takes the az over once it has seen the same manager, epoch and beat for long enough, by its
own clock and by what the store said, never by comparing clocks. What it has seen counts from when the first of these
looks was *answered* to when the last one was *asked*, so that a standby that was stopped between two instructions never
takes a holder to be silent that it did not listen to. A store that does not answer starts the count anew: nobody could
have heard the holder meanwhile, and nobody can take over.

This decides when, and nothing leans on it: that two managers never lease one host is `takeover`'s, by epochs, however
early or late anybody takes over. It is a workflow over ports (DESIGN.md, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from evenkeel.fleet.takeover import take_from
from evenkeel.model.fleet import Tenure
from evenkeel.ports.fleet import TenureStore

BEAT_EVERY_S = 1.0  # of a manager that reaches its store
NOTHING_SEEN = Tenure()


class Watching(Protocol):
    """What a standby's look asks of the one that remembers the looks before: decisions, not times."""

    async def asks(self) -> None:
        """The store is about to be asked."""
        ...

    async def may_take(self, seen: Tenure) -> bool:
        """This is what it said: whether the az may be taken from there."""
        ...

    async def tries(self, seen: Tenure) -> None:
        """It is about to be taken."""
        ...


async def look(store: TenureStore, watch: Watching, az: str, manager: str, extend_s: float) -> Tenure | None:
    """One look of a standby, and the takeover where it is due: the tenure of `manager`, who has the az from now on, or
    None. Raises `Unreachable`; a takeover may have been done then, and a later look finds it so."""
    await watch.asks()
    seen = await store.tenure(az)
    if not await watch.may_take(seen):
        return None
    await watch.tries(seen)
    return await take_from(store, az, manager, seen.epoch, extend_s)


@dataclass(slots=True)
class Watch:
    """`Watching` by a clock. An az that nobody ever managed is taken at once by the one that `goes_first`; a tenure of
    `manager`'s own, from before it was started or from a takeover whose reply was lost, by anyone.

    After `superseded` a tenure under its own name is another process's (two were given one name), and is watched like
    anybody's; else the two would take over from each other without end.
    """

    manager: str
    after_s: float
    clock: Callable[[], float]
    goes_first: bool = True
    seen: Tenure = NOTHING_SEEN  # by the last look that was answered
    _asked_at_s: float = 0.0
    _same_since_s: float = math.inf
    _own_from: int | None = field(default=None)  # tenures under its own name are its own, from this epoch on
    _is_first: bool = True

    async def asks(self) -> None:
        self._asked_at_s = self.clock()

    async def may_take(self, seen: Tenure) -> bool:
        if self._is_first and seen.manager == self.manager:
            self._own_from = seen.epoch
        self._is_first = False
        if self._identity(seen) != self._identity(self.seen) or math.isinf(self._same_since_s):
            self._same_since_s = self.clock()
        self.seen = seen
        is_free = seen.epoch == 0 and self.goes_first
        return is_free or self._is_own(seen) or self.silent_for_s >= self.after_s

    async def tries(self, seen: Tenure) -> None:
        if self._own_from is None:
            self._own_from = seen.epoch + 1

    @property
    def silent_for_s(self) -> float:
        """For how long, at least, the one that holds has not advanced its beat."""
        return max(0.0, self._asked_at_s - self._same_since_s)

    def lost(self) -> None:
        """The store did not answer."""
        self._same_since_s = math.inf

    def superseded(self) -> None:
        """Its own tenure is over: another has taken the az from it."""
        self._own_from, self._same_since_s = None, math.inf

    def _is_own(self, seen: Tenure) -> bool:
        return seen.manager == self.manager and self._own_from is not None and seen.epoch >= self._own_from

    def _identity(self, tenure: Tenure) -> tuple[int, str, int]:
        return tenure.epoch, tenure.manager, tenure.beat
