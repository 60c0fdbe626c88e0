"""The table of steps, as arrays that the search's inner loop reads; filled from the model where a key is missing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from evenkeel.check.model import Model, Outcome
from evenkeel.check.packing import Int64s
from evenkeel.model.errors import InternalError

ID_BITS = 24  # of a local or a service state's id within a key of the table
KIND_BITS = 14

NO_STEPS = -1


class Growing:
    """An array that doubles when it is full."""

    def __init__(self, dtype: type, fill: int = 0) -> None:
        self._fill = fill
        self._held: NDArray[np.generic] = np.full(1024, fill, dtype)
        self.size = 0

    def extend(self, values: Sequence[int]) -> None:
        wanted = self.size + len(values)
        if wanted > len(self._held):
            held = np.full(max(wanted, 2 * len(self._held)), self._fill, self._held.dtype)
            held[: self.size] = self._held[: self.size]
            self._held = held
        self._held[self.size : wanted] = values
        self.size = wanted

    @property
    def array(self) -> NDArray[np.generic]:
        return self._held[: self.size]


@dataclass(slots=True)
class Outcomes:
    """All outcomes, one behind the other."""

    local: Growing = field(default_factory=lambda: Growing(np.int64))
    service: Growing = field(default_factory=lambda: Growing(np.int64))
    sends: Growing = field(default_factory=lambda: Growing(np.int64))
    stales: Growing = field(default_factory=lambda: Growing(np.int64))
    faults: Growing = field(default_factory=lambda: Growing(np.int64))
    breaks: Growing = field(default_factory=lambda: Growing(np.int64))
    label: Growing = field(default_factory=lambda: Growing(np.int64))

    def add(self, outcomes: Sequence[Outcome]) -> None:
        for name in ("local", "service", "sends", "stales", "faults", "breaks", "label"):
            getattr(self, name).extend([int(getattr(outcome, name)) for outcome in outcomes])


class Tables:
    """Steps, and what there is to know of every local state."""

    def __init__(self, model: Model) -> None:
        self.model = model
        shape = model.shape
        self.kinds = np.array([model.kind(process) for process in range(shape.locals)], np.int64)
        self.outcomes = Outcomes()
        self.service_of, self.reads, self.stale_of = (Growing(np.int64) for _ in range(3))
        self.keys = np.full(4096, NO_STEPS, np.int64)
        self.offsets = np.zeros(4096, np.int64)
        self.counts = np.zeros(4096, np.int64)
        self.size = 0
        self.branching = 0  # of all processes' steps together, at most
        self._branching_of: dict[int, int] = {}
        self.service_ids = [0] * len(shape.services)
        self._first_steps: dict[tuple[int, int], Sequence[Outcome]] = {}  # of the first of those that are alike
        self._orders = self._all_orders()
        self.orders = np.array(self._orders, np.int64).reshape(len(self._orders), -1)
        self.exchanged = np.zeros((len(self._orders), 0), np.int64)
        self.exchanged_service = np.zeros((len(self._orders), 0), np.int64)
        local, service = model.start()
        self._meet(max(local) + 1, service)

    def _all_orders(self) -> list[tuple[int, ...]]:
        first, last = self.model.shape.alike
        if not self.model.has_names():
            return [tuple(range(last - first))]
        return list(itertools.permutations(range(last - first)))

    @property
    def local_ids(self) -> int:
        return self.service_of.size

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
            self._insert(key, self.outcomes.local.size, len(outcomes))
            self.outcomes.add(outcomes)
            kind = int(self.kinds[process])
            self._branching_of[kind] = max(self._branching_of.get(kind, 0), len(outcomes))
            if int(self.kinds[process]) == first_kind:
                self._first_steps[local, service] = outcomes
            self._meet_outcomes(int(self.service_of.array[local]), outcomes)
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
        where = int(self.service_of.array[local])
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

    def _insert(self, key: int, offset: int, count: int) -> None:
        if 2 * (self.size + 1) > len(self.keys):
            self._grow()
        place = slot_of(key, len(self.keys))
        while self.keys[place] != NO_STEPS:
            place = (place + 1) & (len(self.keys) - 1)
        self.keys[place], self.offsets[place], self.counts[place] = key, offset, count
        self.size += 1

    def _grow(self) -> None:
        held = [
            (int(k), int(o), int(c)) for k, o, c in zip(self.keys, self.offsets, self.counts, strict=True) if k >= 0
        ]
        capacity = 4 * len(self.keys)
        self.keys = np.full(capacity, NO_STEPS, np.int64)
        self.offsets, self.counts = np.zeros(capacity, np.int64), np.zeros(capacity, np.int64)
        self.size = 0
        for key, offset, count in held:
            self._insert(key, offset, count)

    def _meet(self, locals_: int, services: Sequence[int]) -> None:
        """Everything there is to know of the local states below `locals_`, and of those that follow from them."""
        self.service_ids = [max(known, new) for known, new in zip(self.service_ids, services, strict=True)]
        wanted = max(locals_, self.local_ids)
        while self.local_ids < wanted:
            local = self.local_ids
            stale = self.model.stale(local)
            self.service_of.extend([self.model.service_of(local)])
            self.reads.extend([self.model.reads(local)])
            self.stale_of.extend([stale])
            wanted = max(wanted, stale + 1)
        if max(wanted, *self.service_ids) >= 1 << ID_BITS:
            raise InternalError(f"more than {1 << ID_BITS} local or service states")
        if len(self._orders) > 1:
            self._meet_exchanged(wanted)

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


def slot_of(key: int, capacity: int) -> int:
    """Where the search for a key begins. The same in `kernel`."""
    mixed = (key ^ (key >> 31)) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return ((mixed >> 17) ^ mixed) & (capacity - 1)


__all__ = ["Growing", "Int64s", "Tables"]
