"""The search's inner loop without numba: the same function as `kernel.expand`, a whole chunk of states at a time.

Every outcome of every process is computed as columns of numpy; what follows is packed, freed of duplicates, and looked
up in the index by probing for all of them at once. Slower than the compiled form, and gives the same states in the
same levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenkeel.check.kernel import (
    AT_SERVICE,
    COUNT_BITS,
    COUNT_MASK,
    COUNTED,
    DONE,
    EMPTY,
    FAULTS,
    FULL,
    GOLDEN,
    LABEL,
    LOCAL,
    MATTER,
    RANK,
    READS,
    SENDS,
    SERVICE,
    STALE,
    STALES,
)
from evenkeel.check.model import RANKS_MAX

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]
AT_ONCE = 1 << 13  # states whose successors stand in memory at once


def expand(
    todo: Int64s, start: int, states: Int64s, count: int, index: NDArray[np.int32], parent: Any, via_process: Any,
    via_outcome: Any, word: Int64s, shift: Int64s, mask: Int64s, shape: Int64s, kinds: Int64s,
    table: Int64s, outcomes: Int32s, breaks: Int64s, local: Int32s, orders: Int64s, exchanged: Int64s,
    exchanged_service: Int64s, ranks: Int64s, service_ranks: Int64s, deferred: Int64s, misses: Int64s,
    broken: Int64s, label_seen: Any, branching: int,
) -> tuple[int, int, int, int, int, int]:  # fmt: skip
    """As `kernel.expand`."""
    steps = put_off = missed = 0
    locals_, services = int(shape[0]), int(shape[1])
    while start < len(todo):
        room = min(len(states) - count, 6 * len(index) // 10 - count) // branching
        if room < 1:
            return start, count, steps, put_off, missed, FULL
        some = todo[start : start + min(room, AT_ONCE)]
        fields = (states[some][:, word] >> shift) & mask
        found, lacking = _find_steps(fields, kinds, local, table, locals_)
        for p in range(locals_):
            rows = np.flatnonzero(lacking[:, p])
            wanted = misses[missed : missed + len(rows)]
            wanted[:, 0], wanted[:, 1] = p, fields[rows, p]
            wanted[:, 2] = fields[rows, locals_ + local[fields[rows, p], AT_SERVICE]]
            missed += len(rows)
        whole = ~lacking.any(axis=1)
        waiting = some[~whole]
        deferred[put_off : put_off + len(waiting)] = waiting
        put_off += len(waiting)
        start += len(some)
        sources, fields, found = some[whole], fields[whole], found[whole]
        for p in range(locals_):
            rows = np.flatnonzero(found[:, p] >= 0)
            if not len(rows):
                continue
            counts = found[rows, p] & COUNT_MASK
            each = np.repeat(rows, counts)
            first = np.repeat(np.cumsum(counts) - counts, counts)
            outcome = (found[each, p] >> COUNT_BITS) + np.arange(len(each)) - first
            new, possible = _follow(fields[each], p, outcomes[outcome], shape, local)
            new, each, outcome = new[possible], each[possible], outcome[possible]
            steps += len(each)
            label_seen[outcomes[outcome, LABEL]] = 1
            _note_broken(broken, breaks[outcome, 0], sources[each], p, outcome)
            new = _closed_up(new, shape, ranks, service_ranks) if shape[8] else new
            new = _settled(new, shape, orders, exchanged, exchanged_service, locals_, services)
            words = _packed(new, word, shift, states.shape[1])
            count = _insert(words, sources[each], p, outcome, states, count, index, parent, via_process, via_outcome)
    return start, count, steps, put_off, missed, DONE


def _find_steps(
    fields: Int64s, kinds: Int64s, local: Int32s, table: Int64s, locals_: int
) -> tuple[Int64s, NDArray[np.bool_]]:
    """Where each process's step has its outcomes (-1: it has none), and which are not there yet."""
    found = np.full((len(fields), locals_), -1, np.int64)
    lacking = np.zeros((len(fields), locals_), np.bool_)
    for p in range(locals_):
        own = fields[:, p]
        service = local[own, AT_SERVICE]
        rows = np.flatnonzero((own != 0) & (service >= 0))
        state = fields[rows, locals_ + service[rows]]
        wanted = (kinds[p] << 48) | (own[rows] << 24) | state
        found[rows, p] = _probe(table, wanted)
        lacking[rows, p] = found[rows, p] < 0
    return found, lacking


def _probe(table: Int64s, wanted: Int64s) -> Int64s:
    last = len(table) - 1
    mixed = (wanted ^ (wanted >> 31)) * np.int64(GOLDEN)
    place = ((mixed >> 17) ^ mixed) & last
    at = np.full(len(wanted), -1, np.int64)
    open_ = np.arange(len(wanted))
    while len(open_):
        stands = table[place[open_], 0]
        hit = stands == wanted[open_]
        at[open_[hit]] = table[place[open_[hit]], 1]
        open_ = open_[~hit & (stands != EMPTY)]
        place[open_] = (place[open_] + 1) & last
    return at


def _follow(fields: Int64s, p: int, taken: Int32s, shape: Int64s, local: Int32s) -> tuple[Int64s, NDArray[np.bool_]]:
    """Rows after the outcomes `taken`, and which of these are possible. As `kernel.follow`."""
    locals_, services, processes = int(shape[0]), int(shape[1]), int(shape[2])
    faults_at = locals_ + services
    rows = np.arange(len(fields))
    touched = local[fields[:, p], AT_SERVICE]
    possible = fields[:, faults_at] + taken[:, FAULTS] <= shape[6]
    fields[:, p] = taken[:, LOCAL]
    fields[rows, locals_ + touched] = taken[:, SERVICE]
    fields[:, faults_at] += taken[:, FAULTS]
    how = taken[:, STALES]
    stales = how != 0
    for q in range(locals_):
        if q != p:
            hit = stales & (fields[:, q] != 0) & (local[fields[:, q], READS] == touched)
            fields[hit, q] = local[fields[hit, q], STALE + how[hit] - 1]
    sends = taken[:, SENDS]
    unsent = sends != 0
    for q in range(processes, locals_):
        hit = unsent & (fields[:, q] == 0)
        fields[hit, q] = sends[hit]
        unsent &= ~hit
    return fields, possible & ~unsent


def _closed_up(fields: Int64s, shape: Int64s, ranks: Int64s, service_ranks: Int64s) -> Int64s:
    """Rows without the ranks that do not matter. As `kernel.close_up`."""
    locals_, services, keep = int(shape[0]), int(shape[1]), int(shape[9])
    zones = slice(locals_ + 1, locals_ + services)
    matter = np.bitwise_or.reduce(ranks[fields[:, :locals_], MATTER], axis=1)
    matter |= np.bitwise_or.reduce(service_ranks[fields[:, zones], MATTER], axis=1)
    for rank in range(int(fields[:, locals_].max(initial=0)) - 1, 0, -1):
        counted = service_ranks[fields[:, zones], COUNTED]
        newer = sum((counted >> bit & 1 for bit in range(rank + 1, RANKS_MAX + 1)), np.zeros_like(counted))
        is_spent = (counted >> rank & 1 == 0) | (newer > keep)
        rows = np.flatnonzero((rank < fields[:, locals_]) & (matter >> rank & 1 == 0) & is_spent.all(axis=1))
        fields[rows, :locals_] = ranks[fields[rows, :locals_], RANK + rank]
        fields[rows, zones] = service_ranks[fields[rows, zones], RANK + rank]
        fields[rows, locals_] -= 1
    return fields


def _settled(
    fields: Int64s, shape: Int64s, orders: Int64s, exchanged: Int64s, exchanged_service: Int64s, locals_: int,
    services: int,
) -> Int64s:  # fmt: skip
    """Rows in the form that stands for all that are like them. As `kernel.settle`."""
    processes, first, last = int(shape[2]), int(shape[3]), int(shape[4])
    if shape[5] and len(orders) == 1:
        fields[:, first:last] = np.sort(fields[:, first:last], axis=1)
    elif shape[5]:
        best = fields
        for o, order in enumerate(orders):
            trial = fields.copy()
            trial[:, first:last] = exchanged[o][fields[:, first + order]]
            trial[:, last:locals_] = exchanged[o][fields[:, last:locals_]]
            zones = slice(locals_ + int(shape[7]), locals_ + services)
            trial[:, zones] = exchanged_service[o][fields[:, zones]]
            best = trial if o == 0 else np.where(_is_smaller(trial, best)[:, None], trial, best)
        fields = best
    fields[:, processes:locals_] = np.sort(fields[:, processes:locals_], axis=1)
    return fields


def _is_smaller(one: Int64s, other: Int64s) -> NDArray[np.bool_]:
    """Row by row, in the order of fields."""
    differs = one != other
    where = differs.argmax(axis=1)
    rows = np.arange(len(one))
    smaller: NDArray[np.bool_] = differs.any(axis=1) & (one[rows, where] < other[rows, where])
    return smaller


def _packed(fields: Int64s, word: Int64s, shift: Int64s, width: int) -> Int64s:
    words = np.zeros((len(fields), width), np.int64)
    for f in range(len(word)):
        words[:, word[f]] |= fields[:, f] << shift[f]
    return words


def _hashed(words: Int64s) -> Int64s:
    """As `kernel.hash_words`."""
    mixed = np.zeros(len(words), np.int64)
    for w in range(words.shape[1]):
        mixed = (mixed ^ words[:, w]) * np.int64(GOLDEN)
        mixed ^= (mixed >> 29) & 0x7FFFFFFFF
    mixed *= np.int64(GOLDEN)
    return mixed ^ ((mixed >> 32) & 0xFFFFFFFF)


def _insert(
    words: Int64s, source: Int64s, p: int, outcome: Int64s, states: Int64s, count: int, index: NDArray[np.int32],
    parent: Any, via_process: Any, via_outcome: Any,
) -> int:  # fmt: skip
    """Add what is not known yet; how many states there are then."""
    words, at = np.unique(words, axis=0, return_index=True)
    last = len(index) - 1
    place = _hashed(words) & last
    open_ = np.arange(len(words))
    while len(open_):
        stands = index[place[open_]]
        known = stands != EMPTY
        same = known & (states[stands] == words[open_]).all(axis=1)
        gaps = open_[~known]
        # Of several that want one gap the first takes it; the others look again, and find it taken.
        _, winners = np.unique(place[gaps], return_index=True)
        winners = gaps[winners]
        rows = np.arange(count, count + len(winners))
        states[rows] = words[winners]
        parent[rows], via_process[rows], via_outcome[rows] = source[at[winners]], p, outcome[at[winners]]
        index[place[winners]] = rows
        count += len(winners)
        moving = open_[known & ~same]
        place[moving] = (place[moving] + 1) & last
        open_ = np.setdiff1d(open_[~same], winners, assume_unique=True)
    return count


def _note_broken(broken: Int64s, breaks: Int64s, source: Int64s, p: int, outcome: Int64s) -> None:
    if not breaks.any():
        return
    for bit in range(len(broken)):
        if broken[bit, 0] < 0:
            hit = np.flatnonzero((breaks >> bit) & 1)
            if len(hit):
                broken[bit] = source[hit[0]], p, outcome[hit[0]]


def sweep(
    states: Int64s, count: int, index: NDArray[np.int32], good: Any, word: Int64s, shift: Int64s, mask: Int64s,
    shape: Int64s, kinds: Int64s, table: Int64s, outcomes: Int32s, local: Int32s, orders: Int64s, exchanged: Int64s,
    exchanged_service: Int64s, ranks: Int64s, service_ranks: Int64s,
) -> int:  # fmt: skip
    """As `kernel.sweep`, last states first, a chunk at a time."""
    locals_, services = int(shape[0]), int(shape[1])
    changed = 0
    for last in range(count, 0, -AT_ONCE):
        some = np.flatnonzero(good[max(0, last - AT_ONCE) : last] == 0) + max(0, last - AT_ONCE)
        fields = (states[some][:, word] >> shift) & mask
        found, _ = _find_steps(fields, kinds, local, table, locals_)
        for p in range(locals_):
            rows = np.flatnonzero((found[:, p] >= 0) & (good[some] == 0))
            counts = found[rows, p] & COUNT_MASK
            each = np.repeat(rows, counts)
            first = np.repeat(np.cumsum(counts) - counts, counts)
            outcome = (found[each, p] >> COUNT_BITS) + np.arange(len(each)) - first
            new, possible = _follow(fields[each], p, outcomes[outcome], shape, local)
            possible &= outcomes[outcome, FAULTS] == 0
            new = new[possible]
            new = _closed_up(new, shape, ranks, service_ranks) if shape[8] else new
            new = _settled(new, shape, orders, exchanged, exchanged_service, locals_, services)
            at = _find_states(_packed(new, word, shift, states.shape[1]), states, index)
            saved = np.unique(each[possible][(at != EMPTY) & (good[at] != 0)])
            good[some[saved]] = 1
            changed += len(saved)
    return changed


def _find_states(words: Int64s, states: Int64s, index: NDArray[np.int32]) -> Int64s:
    """Where each state stands; -1 where it is not known."""
    last = len(index) - 1
    place = _hashed(words) & last
    at = np.full(len(words), EMPTY, np.int64)
    open_ = np.arange(len(words))
    while len(open_):
        stands = index[place[open_]]
        same = (stands != EMPTY) & (states[stands] == words[open_]).all(axis=1)
        at[open_[same]] = stands[same]
        open_ = open_[~same & (stands != EMPTY)]
        place[open_] = (place[open_] + 1) & last
    return at


def rehash(states: Int64s, count: int, index: NDArray[np.int32]) -> None:
    """As `kernel.rehash`."""
    last = len(index) - 1
    place = _hashed(states[:count]) & last
    open_ = np.arange(count)
    while len(open_):
        gaps = open_[index[place[open_]] == EMPTY]
        _, winners = np.unique(place[gaps], return_index=True)
        index[place[gaps[winners]]] = gaps[winners]
        open_ = open_[index[place[open_]] != open_]
        place[open_] = (place[open_] + 1) & last
