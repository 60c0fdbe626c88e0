"""The fewest faults that still break an invariant (delta debugging, Zeller and Hildebrandt 2002).

Every stream of chance hangs on its own name, so leaving a fault out changes nothing but the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evenkeel.sim.script import Step

Broken = Callable[[tuple[Step, ...]], bool]
SHORTENED_TO_US = 1_000_000


def shrunk(steps: Sequence[Step], is_broken: Broken) -> tuple[Step, ...]:
    """A subset of `steps` that still breaks, of which no single one can be left out. `steps` themselves break."""
    kept = tuple(steps)
    parts = 2
    while kept:
        size = -(-len(kept) // parts)
        chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
        smaller = _smaller(kept, chunks, is_broken)
        if smaller is not None:
            kept, parts = smaller, max(2, min(parts - 1, len(smaller)))
        elif size == 1:
            break
        else:
            parts = min(2 * parts, len(kept))
    return kept


def _smaller(kept: tuple[Step, ...], chunks: list[tuple[Step, ...]], is_broken: Broken) -> tuple[Step, ...] | None:
    if is_broken(()):
        return ()
    for chunk in chunks:
        if len(chunk) < len(kept) and is_broken(chunk):
            return chunk
    for number in range(len(chunks)):
        rest = tuple(step for other, chunk in enumerate(chunks) if other != number for step in chunk)
        if len(rest) < len(kept) and is_broken(rest):
            return rest
    return None
