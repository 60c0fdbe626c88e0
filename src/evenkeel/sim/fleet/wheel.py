"""Hosts by the time of their next action: buckets of a second, looked at only when their time comes."""

from __future__ import annotations

import numpy as np

from evenkeel.fleet.arrays import Ids, Seconds, no_ids

BUCKET_S = 1.0


class Wheel:
    """Knows when to look at whom; when a host is really due is in `next_s`, which may have changed since."""

    def __init__(self, next_s: Seconds) -> None:
        self._next_s = next_s
        self._buckets: dict[int, list[Ids]] = {}
        self._at = 0

    def put(self, ids: Ids) -> None:
        """Look at them at their `next_s`."""
        if not len(ids):
            return
        times = self._next_s[ids]
        if len(ids) < 64 or not np.isfinite(times).all():
            finite = np.isfinite(times)
            ids, times = ids[finite], times[finite]
        slots = np.maximum((times // BUCKET_S).astype(np.int64), self._at)
        if not len(ids):
            return
        first = int(slots[0])
        if (slots == first).all():
            self._buckets.setdefault(first, []).append(ids)
            return
        # A radix sort, where the buckets are few enough to be told by 16 bits.
        near = slots - slots.min()
        order = np.argsort(near.astype(np.uint16) if near.max() < 1 << 16 else near, kind="stable")
        slots, ids = slots[order], ids[order]
        cuts = np.flatnonzero(np.diff(slots)) + 1
        starts = np.concatenate([[0], cuts])
        for slot, part in zip(slots[starts].tolist(), np.split(ids, cuts), strict=True):
            self._buckets.setdefault(slot, []).append(part)

    def due(self, now_s: float) -> Ids:
        """Those whose time may have come, each once; `next_s` has the word."""
        last = int(now_s // BUCKET_S)
        found: list[Ids] = []
        for slot in range(self._at, last + 1):
            parts = self._buckets.pop(slot, None)
            if parts is None:
                continue
            ids = parts[0] if len(parts) == 1 else np.concatenate(parts)
            if slot == last:
                next_s = self._next_s[ids]
                is_due = next_s <= now_s
                rest = ids[~is_due & (next_s < (last + 1) * BUCKET_S)]
                if len(rest):
                    self._buckets[slot] = [rest]
                ids = ids[is_due]
            found.append(ids)
        self._at = last
        if not found:
            return no_ids()
        ids = found[0] if len(found) == 1 else np.concatenate(found)
        ids = np.sort(ids)  # in the order in which their rows lie
        return ids if len(ids) < 2 else ids[np.concatenate([[True], ids[1:] != ids[:-1]])]
