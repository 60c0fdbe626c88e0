"""From every reachable state: can the goal still be reached? It finds a wedge, which breaks nothing at once.

Works backwards to a fixed point: a state is good if it is a goal, or if one of its steps leads to a good state. Steps
are taken anew rather than stored, last states first; most are settled in the first sweep. Faults are no way out: a
step that costs one does not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenkeel.check import kernel, vectors
from evenkeel.check.model import Recoverable
from evenkeel.check.search import CHUNK, Space
from evenkeel.model.errors import InternalError


def unrecoverable(space: Space, goal: Recoverable) -> NDArray[np.int64]:
    """The states from which the goal is out of reach, nearest to the start first. The space has to be complete."""
    if not space.complete:
        raise InternalError("whether the goal stays in reach can only be told of a complete space")
    good = _goals(space, goal)
    tables, packing = space.tables, space.packing
    sweep: Any = kernel.sweep if space.compiled else vectors.sweep
    while True:
        changed = sweep(
            space.states, space.count, space.index, good, packing.word, packing.shift, packing.mask,
            space.shape_numbers(), tables.kinds, tables.steps, tables.outcomes.array, tables.local.array,
            tables.orders, tables.exchanged, tables.exchanged_service, tables.ranks.array, tables.service_ranks.array,
        )  # fmt: skip
        if not changed:
            return np.flatnonzero(good == 0)


def _goals(space: Space, goal: Recoverable) -> NDArray[np.int8]:
    """Which states are goals, judged once for every combination of the services' states."""
    shape = space.model.shape
    good = np.zeros(space.count, np.int8)
    judged: dict[tuple[int, ...], bool] = {}
    for first in range(0, space.count, CHUNK):
        last = min(first + CHUNK, space.count)
        columns = space.fields(slice(first, last))[:, shape.locals : shape.locals + len(shape.services)]
        combinations, where = np.unique(columns, axis=0, return_inverse=True)
        verdicts = np.array([_judge(space, goal, tuple(row), judged) for row in combinations.tolist()], np.int8)
        good[first:last] = verdicts[where.reshape(-1)]
    return good


def _judge(space: Space, goal: Recoverable, states: tuple[int, ...], judged: dict[tuple[int, ...], bool]) -> bool:
    known = judged.get(states)
    if known is None:
        values: dict[str, Any] = {
            name: space.model.service_state(number, states[number])
            for number, name in enumerate(space.model.shape.services)
        }
        known = judged[states] = goal.goal(values)
    return known
