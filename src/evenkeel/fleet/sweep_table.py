"""The sweep's table: leases, how far each host is on its way to one, what was last heard of it. A cache line a host.

A host is at one place: free, called, queued or in work.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from evenkeel.fleet.arrays import Flags, Generations, Ids, Kinds, Seconds
from evenkeel.fleet.lease_table import LeaseTable

FREE, CALLED, QUEUED, WORKING = range(4)


class SweepTable(LeaseTable):
    """`LeaseTable`, and what the sweep knows of each host besides."""

    _COLUMNS: ClassVar[dict[str, type]] = {
        **LeaseTable._COLUMNS,
        "place": np.uint8,
        "call": np.int32,
        "scratch": np.int32,
        "called_s": np.float64,
        "sequence": np.int64,
    }
    place: Kinds
    call: Ids
    scratch: Ids  # of one call; means nothing afterwards
    called_s: Seconds
    sequence: Generations  # of the last contact heard

    def hear(self, ids: Ids, sequences: Generations) -> Ids:
        """Contacts came: where each member's newest one stands in the batch, if it is newer than any before."""
        fresh = self.is_member[ids] & (sequences > self.sequence[ids])
        if (ids[1:] > ids[:-1]).all():  # each once
            at = np.flatnonzero(fresh).astype(np.int32)
            self.sequence[ids[at]] = sequences[at]
            return at
        np.maximum.at(self.sequence, ids[fresh], sequences[fresh])
        fresh &= sequences == self.sequence[ids]
        at = np.flatnonzero(fresh).astype(np.int32)
        self.scratch[ids[at]] = at
        newest: Ids = at[self.scratch[ids[at]] == at]
        return newest

    def may_be_called(self, ids: Ids | slice) -> Flags:
        """Members without a lease that are on no way to one."""
        may: Flags = self.is_member[ids] & ~self.is_leased[ids] & (self.place[ids] == FREE)
        return may

    def unheard(self, since_s: float, until_s: float, not_called_since_s: float) -> Ids:
        """Free hosts whose leases were granted between these moments, and that have not shown that they know them."""
        found = self.is_leased & ~self.is_heard & (self.granted_s > since_s) & (self.place == FREE)
        found &= (self.granted_s < until_s) & (self.called_s < not_called_since_s)
        return np.flatnonzero(found).astype(np.int32)
