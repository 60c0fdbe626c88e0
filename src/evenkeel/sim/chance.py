"""Seeded chance, a stream a name, and latencies by name. Equal on every machine.

A stream hangs on the seed and its own name alone, so whatever happens elsewhere (a fault that is left out while a
failure is shrunk, say) draws nothing away from it. Only what IEEE 754 fixes to the bit is used: no logarithms, no
exponentials, whose last bit differs from library to library. So latencies are tables of quantiles in whole
microseconds.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from evenkeel.model.errors import InputError

_BITS = 10
_SUM_OF = 16  # draws that stand for a longer row of them


class Streams:
    """All chance of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """The stream of that name; the same object every time."""
        found = self._streams.get(name)
        if found is None:
            # A text seeds through SHA-512, which no environment changes.
            found = self._streams[name] = random.Random(f"evenkeel/{self.seed}/{name}")
        return found

    def table_stream(self, name: str) -> np.random.Generator:
        """A stream for tables (numpy). A new one, from its beginning, at every call."""
        digest = hashlib.sha256(f"evenkeel/{self.seed}/{name}".encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


@dataclass(frozen=True, slots=True)
class Latency:
    """One way through a network, or one service time: `table_us` has 1,024 equally likely values."""

    name: str
    table_us: tuple[int, ...]

    @classmethod
    def of(cls, name: str, *points_us: tuple[int, int]) -> Latency:
        """From quantiles: (per mille, microseconds), the first at 0 and the last at 1000; straight lines between."""
        table = []
        for slot in range(1 << _BITS):
            scaled = (2 * slot + 1) * 1000  # the slot's middle, in parts of 2 * 1024 * 1000
            for (low, low_us), (high, high_us) in pairwise(points_us):
                start, end = low << (_BITS + 1), high << (_BITS + 1)
                if scaled <= end:
                    table.append(low_us + (high_us - low_us) * (scaled - start) // (end - start))
                    break
        return cls(name, tuple(table))

    def draw_us(self, stream: random.Random) -> int:
        return self.table_us[stream.getrandbits(_BITS)]

    def draw_sum_us(self, stream: random.Random, times: int) -> int:
        """As long as `times` draws one after another; long rows are told from 16 of them."""
        if times <= _SUM_OF:
            return sum(self.draw_us(stream) for _ in range(times))
        return sum(self.draw_us(stream) for _ in range(_SUM_OF)) * times // _SUM_OF

    @property
    def mean_us(self) -> int:
        return sum(self.table_us) // len(self.table_us)


# One way each. Orders of magnitude that people who run such networks will recognise; a scenario names what it uses.
LATENCIES = {
    latency.name: latency
    for latency in (
        Latency.of("none", (0, 0), (1000, 0)),
        Latency.of("loopback", (0, 20), (500, 40), (900, 80), (990, 300), (1000, 2_000)),
        Latency.of("same-az", (0, 150), (500, 250), (900, 500), (990, 2_000), (1000, 20_000)),
        Latency.of("cross-az", (0, 400), (500, 700), (900, 1_200), (990, 5_000), (1000, 50_000)),
        Latency.of("cross-region", (0, 30_000), (500, 35_000), (900, 45_000), (990, 90_000), (1000, 400_000)),
        Latency.of("control-api", (0, 1_500), (500, 2_500), (900, 5_000), (990, 20_000), (1000, 150_000)),
        Latency.of("overloaded", (0, 5_000), (500, 80_000), (900, 600_000), (990, 3_000_000), (1000, 12_000_000)),
    )
}


def latency(name: str, where: str = "latency") -> Latency:
    """The distribution of that name. Raises `InputError` that names those there are."""
    found = LATENCIES.get(name)
    if found is None:
        raise InputError.one(where, f"there is no latency {name!r}", "use one of " + ", ".join(LATENCIES))
    return found
