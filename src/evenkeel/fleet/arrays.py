"""Types of arrays, and the batches that a manager takes and gives. One host is an array of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]  # numbers of hosts
Generations = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]
Durations = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.uint8]


LINE_OCTETS = 64


class Columns:
    """Arrays of one length that lie in memory row by row: what is asked of one host stands in one or two cache lines,
    which is what a batch of hosts in no order costs. Each column is an attribute of that name, a view of all hosts."""

    _COLUMNS: ClassVar[dict[str, type]]

    def _resize(self, size: int) -> None:
        """Rows up to `size - 1`, new ones of zeros; views taken before are of the old rows."""
        old: np.ndarray | None = getattr(self, "_rows", None)
        largest_first = sorted(self._COLUMNS.items(), key=lambda column: -np.dtype(column[1]).itemsize)
        dtype = np.dtype(largest_first, align=True)  # whole words, with a word among the columns
        # A row of 64 octets is one cache line only if the first one begins where a line does.
        octets = np.zeros(size * dtype.itemsize + LINE_OCTETS, np.uint8)
        start = -octets.ctypes.data % LINE_OCTETS
        rows = octets[start : start + size * dtype.itemsize].view(dtype)
        if old is not None:
            rows[: len(old)] = old
        self._rows = rows
        self._words = rows.view(np.int64).reshape(size, dtype.itemsize // 8)
        for name in self._COLUMNS:
            setattr(self, name, rows[name])

    def _taken(self, ids: Ids) -> np.ndarray:
        """Copies of these rows, columns by name: for whoever needs most of a row, in one go over memory."""
        return self._rows.take(ids)

    def _give_back(self, ids: Ids, rows: np.ndarray) -> None:
        """Put such copies in their places; where an id is there twice, the last one stands."""
        self._words[ids] = rows.view(np.int64).reshape(len(ids), self._words.shape[1])

    @property
    def row_octets(self) -> int:
        return int(self._rows.nbytes)


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

    def only(self, which: Flags) -> Replies:
        """Those of the flags."""
        return Replies(
            self.ids[which],
            self.kinds[which],
            self.generations[which],
            self.terms_s[which],
            self.nexts_s[which],
            self.polls_s[which],
            self.phases_s[which],
            self.answers[which],
        )

    @classmethod
    def none(cls) -> Replies:
        return _NO_REPLIES

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
        if not size:
            return _NO_REPLIES
        many = generations if isinstance(generations, np.ndarray) else np.full(size, generations, np.int64)
        terms, nexts, polls, phases = (
            each if isinstance(each, np.ndarray) else np.full(size, each, np.float32)
            for each in (terms_s, nexts_s, polls_s, phases_s)
        )
        return cls(ids, np.full(size, kind, np.uint8), many, terms, nexts, polls, phases, answers)

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


_SOME_S: Durations = np.empty(0, np.float32)
_NO_REPLIES = Replies(
    np.empty(0, np.int32),
    np.empty(0, np.uint8),
    np.empty(0, np.int64),
    _SOME_S,
    _SOME_S,
    _SOME_S,
    _SOME_S,
    np.empty(0, np.int64),
)
