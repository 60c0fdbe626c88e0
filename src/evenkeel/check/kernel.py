"""The search's inner loop, on integers alone: take states, look their steps up, insert what follows.

Compiled by numba where it is installed (extra `fast`). All integers are signed 64 bits; words use 62 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

try:
    import numba
except ImportError:  # the extra `fast` is not installed: `vectors` does the same in numpy
    HAS_NUMBA = False

    def compiled(function: F) -> F:
        return function

    inlined = compiled

else:
    HAS_NUMBA = True

    def _jitted(function: F, inline: Literal["never", "always"]) -> F:
        try:
            return cast(F, numba.njit(cache=True, inline=inline)(function))
        except RuntimeError:  # nowhere to keep what was compiled: compile anew in every process
            return cast(F, numba.njit(inline=inline)(function))

    def compiled(function: F) -> F:
        return _jitted(function, "never")

    def inlined(function: F) -> F:
        # Handing an array to a function costs two atomic counts of its holders; inlining costs nothing.
        return _jitted(function, "always")


# 0x9E3779B97F4A7C15 as a signed number: the golden ratio's odd multiplier (Knuth, volume 3, section 6.4).
GOLDEN = -7046029254386353131

# Columns of the tables' rows (tables.py).
LOCAL, SERVICE, SENDS, STALES, FAULTS, LABEL, BREAKS = range(7)
AT_SERVICE, READS, STALE = range(3)  # and one column for each further way to be out of date
MATTER, COUNTED, RANK = range(3)  # from RANK on: the id without each rank
COUNT_BITS = 16
COUNT_MASK = (1 << COUNT_BITS) - 1

# Why `expand` came back.
DONE, FULL = 0, 1

EMPTY = -1
KNOWN = -2

WAITING_MAX = 4096  # new states that are looked up together


@inlined
def find_step(table: Any, key: int) -> int:
    """Where in the table of steps `key` has its outcomes, or -1."""
    last = len(table) - 1
    mixed = (key ^ (key >> 31)) * GOLDEN
    place = ((mixed >> 17) ^ mixed) & last
    while table[place, 0] != key and table[place, 0] != EMPTY:
        place = (place + 1) & last
    where: int = table[place, 1]
    return where


@inlined
def hash_words(words: Any, count: int) -> int:
    mixed = 0
    for w in range(count):
        mixed = (mixed ^ words[w]) * GOLDEN
        mixed ^= (mixed >> 29) & 0x7FFFFFFFF
    mixed *= GOLDEN
    return mixed ^ ((mixed >> 32) & 0xFFFFFFFF)


@inlined
def find_state(states: Any, index: Any, words: Any, width: int) -> int:
    """The place in `index` of the state, or of the gap where it belongs."""
    last = len(index) - 1
    place = hash_words(words, width) & last
    while True:
        at = index[place]
        if at == EMPTY:
            return place
        same = True
        for w in range(width):
            if states[at, w] != words[w]:
                same = False
                break
        if same:
            return place
        place = (place + 1) & last


@compiled
def rehash(states: Any, count: int, index: Any) -> None:
    """Fill an empty `index` with the first `count` states, which differ from one another."""
    last = len(index) - 1
    width = states.shape[1]
    for at in range(count):
        place = hash_words(states[at], width) & last
        while index[place] != EMPTY:
            place = (place + 1) & last
        index[place] = at


@inlined
def pack_into(fields: Any, word: Any, shift: Any, words: Any) -> None:
    for w in range(len(words)):
        words[w] = 0
    for f in range(len(fields)):
        words[word[f]] |= fields[f] << shift[f]


@inlined
def sort_range(fields: Any, first: int, last: int) -> None:
    for i in range(first + 1, last):
        value = fields[i]
        j = i
        while j > first and fields[j - 1] > value:
            fields[j] = fields[j - 1]
            j -= 1
        fields[j] = value


@compiled
def least_exchange(
    fields: Any, trial: Any, best: Any, first: int, last: int, locals_: int, services: int, orders: Any,
    exchanged: Any, exchanged_service: Any, nameless: int,
) -> None:  # fmt: skip
    """Put `fields` into the least form that exchanging processes' names can give it."""
    for o in range(len(orders)):
        for f in range(len(fields)):
            trial[f] = fields[f]
        for k in range(first, last):
            trial[k] = exchanged[o, fields[first + orders[o, k - first]]]
        for k in range(locals_ + nameless, locals_ + services):
            trial[k] = exchanged_service[o, fields[k]]
        for k in range(last, locals_):
            trial[k] = exchanged[o, fields[k]]
        smaller = o == 0
        if not smaller:
            for f in range(len(fields)):
                if trial[f] != best[f]:
                    smaller = trial[f] < best[f]
                    break
        if smaller:
            for f in range(len(fields)):
                best[f] = trial[f]
    for f in range(len(fields)):
        fields[f] = best[f]


@compiled
def close_up(fields: Any, shape: Any, ranks: Any, service_ranks: Any) -> None:
    """Leave out the ranks that do not matter, greatest first; those that are greater than they move down by one."""
    locals_, services, keep = shape[0], shape[1], shape[9]
    matter = 0
    for p in range(locals_):
        matter |= ranks[fields[p], MATTER]
    for k in range(locals_ + 1, locals_ + services):
        matter |= service_ranks[fields[k], MATTER]
    for rank in range(fields[locals_] - 1, 0, -1):
        if (matter >> rank) & 1:
            continue
        spent = True
        for k in range(locals_ + 1, locals_ + services):
            counted = service_ranks[fields[k], COUNTED]
            if (counted >> rank) & 1:
                newer, bits = 0, counted >> (rank + 1)
                while bits:
                    bits &= bits - 1
                    newer += 1
                spent &= newer > keep
        if spent:
            for p in range(locals_):
                fields[p] = ranks[fields[p], RANK + rank]
            for k in range(locals_ + 1, locals_ + services):
                fields[k] = service_ranks[fields[k], RANK + rank]
            fields[locals_] -= 1


@inlined
def settle(
    fields: Any, trial: Any, best: Any, shape: Any, orders: Any, exchanged: Any, exchanged_service: Any, ranks: Any,
    service_ranks: Any,
) -> None:  # fmt: skip
    """The form of a state that stands for all that are like it. `shape`: see `search.shape_numbers`."""
    locals_, services, processes = shape[0], shape[1], shape[2]
    if shape[8]:
        close_up(fields, shape, ranks, service_ranks)
    if shape[5]:
        if len(orders) > 1:
            least_exchange(
                fields, trial, best, shape[3], shape[4], locals_, services, orders, exchanged, exchanged_service,
                shape[7],
            )  # fmt: skip
        else:
            sort_range(fields, shape[3], shape[4])
    sort_range(fields, processes, locals_)


@inlined
def follow(fields: Any, new: Any, p: int, o: int, shape: Any, outcomes: Any, local: Any) -> bool:
    """`new` becomes the state after outcome `o` of process `p`; False where faults or slots have run out."""
    locals_, services, processes = shape[0], shape[1], shape[2]
    faults_at = locals_ + services
    possible = fields[faults_at] + outcomes[o, FAULTS] <= shape[6]
    for f in range(len(fields)):
        new[f] = fields[f]
    k = local[fields[p], AT_SERVICE]
    new[p] = outcomes[o, LOCAL]
    new[locals_ + k] = outcomes[o, SERVICE]
    new[faults_at] += outcomes[o, FAULTS]
    how = outcomes[o, STALES]
    if how:
        for q in range(locals_):
            if q != p and new[q] != 0 and local[new[q], READS] == k:
                new[q] = local[new[q], STALE + how - 1]
    unsent = outcomes[o, SENDS] != 0
    if unsent:
        for q in range(processes, locals_):
            if unsent and new[q] == 0:
                new[q] = outcomes[o, SENDS]
                unsent = False
    return possible and not unsent


@compiled
def insert_all(
    waiting: int, keys: Any, places: Any, sources: Any, processes: Any, outcomes: Any, stands: Any,
    states: Any, count: int, index: Any, parent: Any, via_process: Any, via_outcome: Any,
) -> int:  # fmt: skip
    """Insert the states that wait, in their order; how many states there are then.

    The first look at the index and the first compare of each are made in loops of their own: they do not depend on
    one another, so the processor has many of them under way in memory at once.
    """
    last, width = len(index) - 1, states.shape[1]
    for i in range(waiting):
        places[i] = hash_words(keys[i], width) & last
        stands[i] = index[places[i]]
    for i in range(waiting):
        at = stands[i]
        if at != EMPTY:
            same = True
            for w in range(width):
                same &= states[at, w] == keys[i, w]
            if same:
                stands[i] = KNOWN
    for i in range(waiting):
        if stands[i] == KNOWN:
            continue
        place = find_state(states, index, keys[i], width)
        if index[place] == EMPTY:
            index[place] = count
            for w in range(width):
                states[count, w] = keys[i, w]
            parent[count], via_process[count], via_outcome[count] = sources[i], processes[i], outcomes[i]
            count += 1
    return count


@compiled
def expand(
    todo: Any, start: int, states: Any, count: int, index: Any, parent: Any, via_process: Any, via_outcome: Any,
    word: Any, shift: Any, mask: Any, shape: Any, kinds: Any,
    table: Any, outcomes: Any, breaks: Any, local: Any, orders: Any, exchanged: Any, exchanged_service: Any,
    ranks: Any, service_ranks: Any, deferred: Any, misses: Any, broken: Any, label_seen: Any, branching: int,
) -> Any:  # fmt: skip
    """Expand the states `todo[start:]`.

    Returns (where it stopped, states, steps taken, deferred states, misses, why it stopped). A state with a step that
    is not in the table is deferred as a whole, and what is missing is noted. `broken` takes, by property's bit, the
    first step that breaks it: (state, process, outcome).
    """
    locals_ = shape[0]
    width = states.shape[1]
    fields_count = len(word)
    fields, new = np.zeros(fields_count, np.int64), np.zeros(fields_count, np.int64)
    trial, best = np.zeros(fields_count, np.int64), np.zeros(fields_count, np.int64)
    found = np.zeros(locals_, np.int64)
    room = WAITING_MAX + branching
    keys, places, stands = np.zeros((room, width), np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64)
    sources, processes, taken = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64)
    steps = deferred_count = miss_count = waiting = 0
    for t in range(start, len(todo)):
        if waiting >= WAITING_MAX or count + waiting + branching > len(states):
            count = insert_all(
                waiting, keys, places, sources, processes, taken, stands, states, count, index, parent, via_process,
                via_outcome,
            )  # fmt: skip
            waiting = 0
        if count + waiting + branching > len(states):
            return t, count, steps, deferred_count, miss_count, FULL
        state = todo[t]
        for f in range(fields_count):
            fields[f] = (states[state, word[f]] >> shift[f]) & mask[f]
        missing = False
        for p in range(locals_):
            found[p] = -1
            k = local[fields[p], AT_SERVICE]
            if fields[p] != 0 and k >= 0:
                found[p] = find_step(table, (kinds[p] << 48) | (fields[p] << 24) | fields[locals_ + k])
                if found[p] < 0:
                    misses[miss_count, 0], misses[miss_count, 1] = p, fields[p]
                    misses[miss_count, 2] = fields[locals_ + k]
                    miss_count += 1
                    missing = True
        if missing:
            deferred[deferred_count] = state
            deferred_count += 1
            continue
        for p in range(locals_):
            if found[p] < 0:
                continue
            first = found[p] >> COUNT_BITS
            for o in range(first, first + (found[p] & COUNT_MASK)):
                if not follow(fields, new, p, o, shape, outcomes, local):
                    continue
                steps += 1
                label_seen[outcomes[o, LABEL]] = 1
                if outcomes[o, BREAKS]:
                    for bit in range(len(broken)):
                        if (breaks[o, 0] >> bit) & 1 and broken[bit, 0] < 0:
                            broken[bit, 0], broken[bit, 1], broken[bit, 2] = state, p, o
                settle(new, trial, best, shape, orders, exchanged, exchanged_service, ranks, service_ranks)
                pack_into(new, word, shift, keys[waiting])
                sources[waiting], processes[waiting], taken[waiting] = state, p, o
                waiting += 1
    count = insert_all(
        waiting, keys, places, sources, processes, taken, stands, states, count, index, parent, via_process,
        via_outcome,
    )  # fmt: skip
    return len(todo), count, steps, deferred_count, miss_count, DONE


@compiled
def sweep(
    states: Any, count: int, index: Any, good: Any, word: Any, shift: Any, mask: Any, shape: Any, kinds: Any,
    table: Any, outcomes: Any, local: Any, orders: Any, exchanged: Any, exchanged_service: Any, ranks: Any,
    service_ranks: Any,
) -> int:  # fmt: skip
    """Mark in `good` every state with a step, free of faults, to one that is marked; how many were marked anew."""
    locals_ = shape[0]
    fields_count, width = len(word), states.shape[1]
    fields, new = np.zeros(fields_count, np.int64), np.zeros(fields_count, np.int64)
    trial, best = np.zeros(fields_count, np.int64), np.zeros(fields_count, np.int64)
    words = np.zeros(width, np.int64)
    changed = 0
    for back in range(count):
        state = count - 1 - back
        if good[state]:
            continue
        for f in range(fields_count):
            fields[f] = (states[state, word[f]] >> shift[f]) & mask[f]
        for p in range(locals_):
            k = local[fields[p], AT_SERVICE]
            if fields[p] == 0 or k < 0 or good[state]:
                continue
            found = find_step(table, (kinds[p] << 48) | (fields[p] << 24) | fields[locals_ + k])
            first = found >> COUNT_BITS
            for o in range(first, first + (found & COUNT_MASK)):
                if outcomes[o, FAULTS] or not follow(fields, new, p, o, shape, outcomes, local):
                    continue
                settle(new, trial, best, shape, orders, exchanged, exchanged_service, ranks, service_ranks)
                pack_into(new, word, shift, words)
                at = index[find_state(states, index, words, width)]
                if at != EMPTY and good[at]:
                    good[state] = 1
                    changed += 1
                    break
    return changed
