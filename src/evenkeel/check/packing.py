"""A global state as machine words: local states, service states and faults used, each in a field of some bits.

A word holds 62 bits, so that everything stays within signed 64-bit integers. Fields do not cross words. Widths grow
as ids do; what is packed already is then packed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 62
Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Packing:
    """Where each field stands."""

    widths: tuple[int, ...]
    word: Int64s
    shift: Int64s
    mask: Int64s
    words: int

    @classmethod
    def of(cls, widths: Sequence[int]) -> Packing:
        word, shift = [], []
        at = used = 0
        for width in widths:
            if used + width > WORD_BITS:
                at, used = at + 1, 0
            word.append(at)
            shift.append(used)
            used += width
        mask = [(1 << width) - 1 for width in widths]
        words, shifts, masks = (np.array(each, np.int64) for each in (word, shift, mask))
        return cls(tuple(widths), words, shifts, masks, at + 1)

    def pack(self, fields: Int64s) -> Int64s:
        """Rows of fields into rows of words."""
        keys = np.zeros((len(fields), self.words), np.int64)
        for index in range(len(self.widths)):
            keys[:, self.word[index]] |= fields[:, index] << self.shift[index]
        return keys

    def unpack(self, keys: Int64s) -> Int64s:
        """Rows of words into rows of fields."""
        fields = np.empty((len(keys), len(self.widths)), np.int64)
        for index in range(len(self.widths)):
            fields[:, index] = (keys[:, self.word[index]] >> self.shift[index]) & self.mask[index]
        return fields
