"""Python's garbage collector, kept from stopping a server that holds a large zone.

A full collection looks at every object there is: half a second for 50,000 endpoints, in which no question is
answered. The zone's content has no reference cycles and is freed without it, so what is loaded is left out of
collections for good, young objects are looked at in small portions, and full collections are put off for ever.
"""

from __future__ import annotations

import gc

YOUNG_MAX = 5_000  # new objects at which they are looked at: about a millisecond
PORTIONS = 10  # of them before those that survived are looked at again
FULL_EVERY = 100_000  # of these: hundreds of days


def settle() -> None:
    """Call once, when the zones are loaded. It holds for the whole process, which must be the server's own."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, PORTIONS, FULL_EVERY)
