"""Types of arrays, and the batches that a manager takes and gives. One host is an array of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]  # numbers of hosts
Generations = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]
Durations = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.uint8]


class ReplyKind(IntEnum):
    GRANT = 1
    WAIT = 2
    FENCED = 3  # the host knows a greater epoch: this manager is over
    REFUSED = 4  # no place for it; when to come again is for the host's own policy to say


class JobKind(IntEnum):
    ESTABLISH = 1  # state-check the host and record its grant in the store
    RENEW = 2  # in memory; nothing to record
    LAUNCH = 3  # ids are numbers of launches, not of hosts


@dataclass(frozen=True, slots=True)
class Replies:
    """What to tell hosts; all arrays of one length. `generations` of the grant (0 for a wait). For a wait `nexts_s` is
    when to contact again and `terms_s` the ETA. A grant carries `polls_s` and `phases_s` as well."""

    ids: Ids
    kinds: Kinds
    generations: Generations
    terms_s: Durations
    nexts_s: Durations
    polls_s: Durations
    phases_s: Durations
    answers: Generations  # sequence of the contact that each answers

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def none(cls) -> Replies:
        return cls.same_kind(
            no_ids(), ReplyKind.WAIT, np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64)
        )

    @classmethod
    def same_kind(
        cls,
        ids: Ids,
        kind: ReplyKind,
        generations: Generations | int,
        nexts_s: Durations | float,
        answers: Generations,
        terms_s: Durations | float = 0.0,
        polls_s: Durations | float = 0.0,
        phases_s: Durations | float = 0.0,
    ) -> Replies:
        """Numbers stand for arrays of that number."""
        size = len(ids)

        def durations(of: Durations | float) -> Durations:
            return np.broadcast_to(np.asarray(of, np.float32), size)

        return cls(
            ids,
            np.full(size, kind, np.uint8),
            np.broadcast_to(np.asarray(generations, np.int64), size),
            durations(terms_s),
            durations(nexts_s),
            durations(polls_s),
            durations(phases_s),
            answers,
        )

    @classmethod
    def joined(cls, parts: list[Replies]) -> Replies:
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.none()
        if len(parts) == 1:
            return parts[0]
        columns = ("ids", "kinds", "generations", "terms_s", "nexts_s", "polls_s", "phases_s", "answers")
        return cls(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


@dataclass(frozen=True, slots=True)
class Calls:
    """Hosts to call, all under one call number. A host whose unread contact lies at the link already needs no message:
    hand that contact in."""

    call: int
    ids: Ids

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Work:
    """Jobs of one kind to do now, together. Establishments carry the generations to record, in one store write."""

    kind: JobKind
    ids: Ids
    generations: Generations
    answers: Generations  # sequence of the contact that each job comes from
    units: float

    def __len__(self) -> int:
        return len(self.ids)


def no_ids() -> Ids:
    return np.empty(0, np.int32)


def ids_of(*numbers: int) -> Ids:
    return np.array(numbers, np.int32)
