"""The table of steps, as arrays that the search's inner loop reads; filled from the model where a key is missing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenkeel.check.kernel import AT_SERVICE, COUNT_BITS, RANK
from evenkeel.check.model import RANKS_MAX, STALE_WAYS, Model, Outcome
from evenkeel.check.packing import Int64s
from evenkeel.model.errors import InternalError

ID_BITS = 24  # of a local or a service state's id within a key of the table
KIND_BITS = 14

NO_STEPS = -1


OUTCOME_COLUMNS = 8  # a row is one outcome, so that all of it is fetched at once; `kernel` names the columns
LOCAL_COLUMNS = 8


class Growing:
    """Rows of an array that doubles when it is full."""

    def __init__(self, dtype: type, columns: int) -> None:
        self._held: NDArray[Any] = np.zeros((1024, columns), dtype)
        self.size = 0

    def extend(self, rows: Sequence[Sequence[int]]) -> None:
        wanted = self.size + len(rows)
        if wanted > len(self._held):
            held = np.zeros((max(wanted, 2 * len(self._held)), self._held.shape[1]), self._held.dtype)
            held[: self.size] = self._held[: self.size]
            self._held = held
        if rows:
            self._held[self.size : wanted] = rows
        self.size = wanted

    @property
    def array(self) -> NDArray[Any]:
        return self._held[: self.size]


class Tables:
    """Steps, and what there is to know of every local state."""

    def __init__(self, model: Model) -> None:
        self.model = model
        shape = model.shape
        self.kinds = np.array([model.kind(process) for process in range(shape.locals)], np.int64)
        self.outcomes = Growing(np.int32, OUTCOME_COLUMNS)
        self.breaks = Growing(np.int64, 1)  # the properties broken, as bits, by outcome
        self.local = Growing(np.int32, LOCAL_COLUMNS)
        self.steps = np.full((4096, 2), NO_STEPS, np.int64)  # key; offset and number of its outcomes
        self.size = 0
        self.branching = 0  # of all processes' steps together, at most
        self._branching_of: dict[int, int] = {}
        self.service_ids = [0] * len(shape.services)
        self._first_steps: dict[tuple[int, int], Sequence[Outcome]] = {}  # of the first of those that are alike
        self._orders = self._all_orders()
        self.orders = np.array(self._orders, np.int64).reshape(len(self._orders), -1)
        self.exchanged = np.zeros((len(self._orders), 0), np.int64)
        self.exchanged_service = np.zeros((len(self._orders), 0), np.int64)
        self.ordered = model.ordered()
        columns = RANK + RANKS_MAX + 1 if self.ordered is not None else 1
        self.ranks = Growing(np.int64, columns)  # by local state: the ranks that it holds, and itself without each
        self.service_ranks = Growing(np.int64, columns)
        local, service = model.start()
        self._meet(max(local) + 1, service)

    def _all_orders(self) -> list[tuple[int, ...]]:
        first, last = self.model.shape.alike
        if not self.model.has_names():
            return [tuple(range(last - first))]
        return list(itertools.permutations(range(last - first)))

    @property
    def local_ids(self) -> int:
        return self.local.size

    def key(self, process: int, local: int, service: int) -> int:
        return (int(self.kinds[process]) << 2 * ID_BITS) | (local << ID_BITS) | service

    def resolve(self, missing: Iterable[tuple[int, int, int]]) -> int:
        """Ask the model for the steps of (process, local, service) that the search has met; how many were new."""
        met: set[int] = set()
        first_kind = int(self.kinds[self.model.shape.alike[0]])
        for process, local, service in missing:
            key = self.key(process, local, service)
            if key in met:
                continue
            met.add(key)
            outcomes = self._steps(process, local, service)
            self._insert(key, self.outcomes.size << COUNT_BITS | len(outcomes))
            self._add(outcomes)
            kind = int(self.kinds[process])
            self._branching_of[kind] = max(self._branching_of.get(kind, 0), len(outcomes))
            if int(self.kinds[process]) == first_kind:
                self._first_steps[local, service] = outcomes
            self._meet_outcomes(int(self.local.array[local, AT_SERVICE]), outcomes)
        self.branching = sum(self._branching_of.get(int(kind), 0) for kind in self.kinds)
        return len(met)

    def _steps(self, process: int, local: int, service: int) -> Sequence[Outcome]:
        """The model's steps; where processes differ by name only, those of the first of them with names exchanged."""
        first, last = self.model.shape.alike
        if len(self._orders) == 1 or not first < process < last:
            return self.model.step(process, local, service)
        order = list(range(last - first))
        order[0], order[process - first] = order[process - first], order[0]
        swap = self._orders.index(tuple(order))
        where = int(self.local.array[local, AT_SERVICE])
        image = int(self.exchanged[swap, local])
        state = int(self.exchanged_service[swap, service]) if where >= self.model.shape.nameless else service
        known = self._first_steps.get((image, state))
        if known is None:
            known = self._first_steps[image, state] = self.model.step(first, image, state)
            self._meet_outcomes(where, known)
        return [self._swapped(each, swap, where) for each in known]

    def _swapped(self, outcome: Outcome, swap: int, where: int) -> Outcome:
        service = (
            int(self.exchanged_service[swap, outcome.service])
            if where >= self.model.shape.nameless
            else outcome.service
        )
        sends = int(self.exchanged[swap, outcome.sends])
        return replace(outcome, local=int(self.exchanged[swap, outcome.local]), service=service, sends=sends)

    def _meet_outcomes(self, where: int, outcomes: Sequence[Outcome]) -> None:
        tops = [0] * len(self.service_ids)
        tops[where] = max((each.service for each in outcomes), default=0)
        self._meet(max((max(each.local, each.sends) for each in outcomes), default=0) + 1, tops)

    def meet(self, locals_: Sequence[int], services: Sequence[int]) -> None:
        """Know all there is to know of these ids."""
        self._meet(max(locals_) + 1, services)

    def _add(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes.extend(
            [
                (
                    each.local,
                    each.service,
                    each.sends,
                    int(each.stales),
                    each.faults,
                    each.label,
                    int(each.breaks != 0),
                    0,
                )
                for each in outcomes
            ]
        )
        self.breaks.extend([(each.breaks,) for each in outcomes])

    def _insert(self, key: int, where: int) -> None:
        if 2 * (self.size + 1) > len(self.steps):
            self._grow()
        place = slot_of(key, len(self.steps))
        while self.steps[place, 0] != NO_STEPS:
            place = (place + 1) & (len(self.steps) - 1)
        self.steps[place] = key, where
        self.size += 1

    def _grow(self) -> None:
        held = self.steps[self.steps[:, 0] != NO_STEPS].tolist()
        self.steps = np.full((4 * len(self.steps), 2), NO_STEPS, np.int64)
        self.size = 0
        for key, where in held:
            self._insert(key, where)

    def _meet(self, locals_: int, services: Sequence[int]) -> None:
        """Everything there is to know of the local states below `locals_`, and of those that follow from them."""
        for k, top in enumerate(services):
            if top > self.service_ids[k]:
                self.service_ids[k] = top
        wanted = max(locals_, self.local_ids)
        while self.local_ids < wanted:
            local = self.local_ids
            stale = [self.model.stale(local, how) for how in range(1, STALE_WAYS + 1)]
            self.local.extend([(self.model.service_of(local), self.model.reads(local), *stale, 0, 0)])
            wanted = max(wanted, *(each + 1 for each in stale))
            if self.ordered is not None:
                row = _ranked(local, self.ordered.local, self.ordered.drop_local)
                self.ranks.extend([row])
                wanted = max(wanted, max(row[RANK:]) + 1)
        if self.ordered is not None:
            self._meet_ranks()
        if max(wanted, *self.service_ids) >= 1 << ID_BITS:
            raise InternalError(f"more than {1 << ID_BITS} local or service states")
        if len(self._orders) > 1:
            self._meet_exchanged(wanted)

    def _meet_ranks(self) -> None:
        """Every service's state without each rank, and what follows from these."""
        assert self.ordered is not None, "asked only where ranks close up"  # noqa: S101 - an invariant of ours
        nameless = self.model.shape.nameless
        top = max(self.service_ids[nameless:], default=0)
        while self.service_ranks.size <= top:
            row = _ranked(self.service_ranks.size, self.ordered.service, self.ordered.drop_service)
            self.service_ranks.extend([row])
            top = max(top, *row[RANK:])
        self.service_ids[nameless:] = [top] * (len(self.service_ids) - nameless)

    def _meet_exchanged(self, locals_: int) -> None:
        """Every id's image under every exchange of processes; images are new ids at times, with images of their own."""
        services = max(self.service_ids[self.model.shape.nameless :], default=0) + 1
        known_locals, known_services = self.exchanged.shape[1], self.exchanged_service.shape[1]
        if locals_ <= known_locals and services <= known_services:
            return
        images = [[self.model.exchange(o, k) for k in range(known_locals, locals_)] for o in self._orders]
        of_services = [
            [self.model.exchange_service(o, k) for k in range(known_services, services)] for o in self._orders
        ]
        self.exchanged = np.hstack([self.exchanged, np.array(images, np.int64).reshape(len(self._orders), -1)])
        self.exchanged_service = np.hstack(
            [self.exchanged_service, np.array(of_services, np.int64).reshape(len(self._orders), -1)]
        )
        top = int(self.exchanged_service.max(initial=0))
        nameless = self.model.shape.nameless
        tops = [known if k < nameless else top for k, known in enumerate(self.service_ids)]
        self._meet(int(self.exchanged.max(initial=0)) + 1, tops)


def _ranked(state: int, ranks: Callable[[int], tuple[int, int]], drop: Callable[[int, int], int]) -> list[int]:
    """A row of the ranks that matter, those that are counted, and for each other rank the state without it."""
    matter, counted = ranks(state)
    greatest = (matter | counted).bit_length()
    without = [
        drop(state, rank) if 0 < rank < greatest and not matter >> rank & 1 else state for rank in range(RANKS_MAX + 1)
    ]
    return [matter, counted, *without]


def slot_of(key: int, capacity: int) -> int:
    """Where the search for a key begins. The same in `kernel`."""
    mixed = (key ^ (key >> 31)) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return ((mixed >> 17) ^ mixed) & (capacity - 1)


__all__ = ["Growing", "Int64s", "Tables"]
