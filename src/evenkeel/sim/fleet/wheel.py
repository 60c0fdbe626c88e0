"""Hosts by the time of their next action: buckets of a second, looked at only when their time comes."""

from __future__ import annotations

import numpy as np

from evenkeel.fleet.arrays import Ids, Seconds, no_ids

_FEW_BUCKETS = 1 << 16  # told apart by 16 bits, which a radix sort takes


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
        if not np.isfinite(times.max()):
            finite = np.isfinite(times)
            ids, times = ids[finite], times[finite]
            if not len(ids):
                return
        slots = np.maximum(times.astype(np.int64), self._at)
        first, last = int(slots.min()), int(slots.max())
        if first == last:
            self._buckets.setdefault(first, []).append(ids)
            return
        near = slots - first
        order = np.argsort(near.astype(np.uint16) if last - first < _FEW_BUCKETS else near, kind="stable")
        near, ids = near[order], ids[order]
        cuts = np.flatnonzero(near[1:] != near[:-1]) + 1
        begin = 0
        for end, slot in zip([*cuts.tolist(), len(ids)], near[np.append(cuts, len(ids)) - 1].tolist(), strict=True):
            self._buckets.setdefault(first + slot, []).append(ids[begin:end])
            begin = end

    def due(self, now_s: float) -> Ids:
        """Those whose time has come, each once."""
        last = int(now_s)
        found = [part for slot in range(self._at, last + 1) for part in self._buckets.pop(slot, ())]
        self._at = last
        if not found:
            return no_ids()
        ids = found[0] if len(found) == 1 else np.concatenate(found)
        ids = np.sort(ids)  # in the order in which their rows lie
        is_first = np.empty(len(ids), np.bool_)
        is_first[0] = True
        np.not_equal(ids[1:], ids[:-1], out=is_first[1:])
        times = self._next_s[ids]
        is_due = is_first & (times <= now_s)
        if is_due.all():
            return ids
        later = ids[is_first & ~is_due & (times < last + 1)]
        if len(later):
            self._buckets[last] = [later]
        return ids[is_due]
