"""Who is leased, until when: a struct of arrays, by number of host. Under 100 octets a host.

Leases end by a *lease clock* that runs with time but for pauses: while it stands still, no lease ends, however many
there are, and letting it go on is one addition (RECOVERY.md, the sweep, 1).
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from evenkeel.fleet.arrays import Columns, Flags, Generations, Ids, Seconds

FOREVER = math.inf


class LeaseClock:
    """Seconds that can stand still, for so long at most: then they go on by themselves, whoever looks or not."""

    def __init__(self) -> None:
        self._stood_s = 0.0
        self._stopped_at_s = FOREVER
        self._at_most_s = FOREVER

    @property
    def was_stopped(self) -> bool:
        """Since it last was told to go on; it may have gone on by itself."""
        return self._stopped_at_s < FOREVER

    def _stands_s(self, now_s: float) -> float:
        """For how long it stands still this time."""
        return min(max(now_s - self._stopped_at_s, 0.0), self._at_most_s) if self.was_stopped else 0.0

    def at(self, now_s: float) -> float:
        """What it shows at `now_s`."""
        return now_s - self._stood_s - self._stands_s(now_s)

    def stop(self, now_s: float, at_most_s: float = FOREVER) -> None:
        if not self.was_stopped:
            self._stopped_at_s, self._at_most_s = now_s, at_most_s

    def go_on(self, now_s: float) -> None:
        self._stood_s += self._stands_s(now_s)
        self._stopped_at_s = FOREVER


class LeaseTable(Columns):
    """Leases of hosts 0 to `size - 1`. Ids in one call are each there once, except where it says otherwise."""

    _COLUMNS: ClassVar[dict[str, type]] = {
        "is_member": np.bool_,
        "is_leased": np.bool_,
        "is_heard": np.bool_,
        "generation": np.int64,
        "ends_s": np.float64,
        "due_s": np.float64,
        "granted_s": np.float64,
    }
    is_member: Flags
    is_leased: Flags
    is_heard: Flags  # a contact has shown that the host knows its lease
    generation: Generations
    ends_s: Seconds  # by the lease clock
    due_s: Seconds  # the next renewal, by the lease clock
    granted_s: Seconds  # by `now`

    def __init__(self, size: int = 0) -> None:
        self.clock = LeaseClock()
        self.members = 0
        self.leased_count = 0
        self._resize(0)
        self._no_end_before_s = FOREVER
        self.add(0, size)

    def __len__(self) -> int:
        """How many numbers there are, members or not."""
        return len(self.is_member)

    @property
    def octets(self) -> int:
        """Of all rows."""
        return self.row_octets

    def add(self, first: int, count: int) -> None:
        """Hosts `first` to `first + count - 1` belong from now on, without a lease."""
        if first + count > len(self):
            self._resize(first + count)
        fresh = ~self.is_member[first : first + count]
        self.is_member[first : first + count] = True
        self.members += int(np.count_nonzero(fresh))

    def remove(self, ids: Ids) -> None:
        """They belong no longer; their leases are over."""
        ids = ids[self.is_member[ids]]
        self.end(ids[self.is_leased[ids]])
        self.is_member[ids] = False
        self.members -= len(ids)

    def grant(self, ids: Ids, generations: Generations, due_in_s: Seconds, terms_s: Seconds, now_s: float) -> None:
        """New leases, unheard of as yet."""
        clock_s = self.clock.at(now_s)
        self.leased_count += int(np.count_nonzero(~self.is_leased[ids]))
        self.is_leased[ids] = True
        self.is_heard[ids] = False
        self.generation[ids] = generations
        self.granted_s[ids] = now_s
        self._set_ends(ids, clock_s, due_in_s, terms_s)

    def renew(self, ids: Ids, due_in_s: Seconds, terms_s: Seconds, now_s: float) -> None:
        """Leases that stand go on for `terms_s` from now, or for as long as they were said to before: a host may have
        heard of the longer term, and not of this one."""
        clock_s = self.clock.at(now_s)
        self._set_ends(ids, clock_s, due_in_s, np.maximum(terms_s, self.ends_s[ids] - clock_s))

    def _set_ends(self, ids: Ids, clock_s: float, due_in_s: Seconds, terms_s: Seconds) -> None:
        if len(ids):
            ends_s = clock_s + terms_s
            self.ends_s[ids] = ends_s
            self.due_s[ids] = clock_s + due_in_s
            self._no_end_before_s = min(self._no_end_before_s, float(ends_s.min()))

    def adopt(self, ids: Ids, generations: Generations, extend_s: float, now_s: float) -> None:
        """Leases that the store knows of: they stand for `extend_s`, and renewals are due when they come."""
        self.grant(ids, generations, np.zeros(len(ids)), np.full(len(ids), extend_s), now_s)

    def holds(self, ids: Ids, generations: Generations) -> Flags:
        """Whether each holds the lease of that generation. Ids may be there more than once."""
        held: Flags = self.is_leased[ids] & (self.generation[ids] == generations)
        return held

    def remaining_s(self, ids: Ids, now_s: float) -> Seconds:
        """Until each one's lease ends, if the lease clock runs from now on."""
        left: Seconds = self.ends_s[ids] - self.clock.at(now_s)
        return left

    def expire(self, now_s: float) -> Ids:
        """End the leases that are over; their hosts. Looks at every host only when one may have ended."""
        clock_s = self.clock.at(now_s)
        if clock_s < self._no_end_before_s:
            return np.empty(0, np.int32)
        over = np.flatnonzero(self.is_leased & (self.ends_s <= clock_s)).astype(np.int32)
        self.end(over)
        self._no_end_before_s = float(self.ends_s[self.is_leased].min()) if self.leased_count else FOREVER
        return over

    def end(self, ids: Ids) -> None:
        """The leases of hosts that are leased are over."""
        self.is_leased[ids] = False
        self.is_heard[ids] = False
        self.leased_count -= len(ids)
