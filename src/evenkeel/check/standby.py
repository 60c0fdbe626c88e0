"""A secondary that lags behind, and may be made the primary: the zone goes back to what it was at some earlier time.

The copy stands in the same zone state, under names of its own that nobody asks for. A fence's nonce that stands in the
copy alone is not gone: failing over brings it back, and with it every ticket that was read under it. So nonces have a
third name beside "now" and "gone", and what a step does to tickets is one of the renamings here.
"""

from __future__ import annotations

from collections.abc import Iterable

from evenkeel.check.exchange import COPY, ENDPOINT, GONE, NOW, ZONE, renamed
from evenkeel.model.records import RecordType, RRset
from evenkeel.twins.zone import ZoneState

_COPIED = "e.copy." + ZONE

# What happens to the tickets of all others, by the number that a step carries; 0: nothing.
NOW_IS_GONE, NOW_IS_COPIED, COPY_IS_GONE, COPY_IS_NOW = 1, 2, 3, 4
RENAMINGS: dict[int, tuple[tuple[str, str], ...]] = {
    0: (),
    NOW_IS_GONE: ((NOW, GONE),),
    NOW_IS_COPIED: ((NOW, COPY),),
    COPY_IS_GONE: ((COPY, GONE),),
    COPY_IS_NOW: ((NOW, GONE), (COPY, NOW)),
}


def copy_holds(zone: ZoneState, nonce: str) -> bool:
    """Whether the copy's fence has that nonce."""
    return any(nonce in rdata for each in _copied(zone) if each.type == RecordType.TXT for rdata in each.rdatas)


def transferred(zone: ZoneState) -> tuple[ZoneState, int]:
    """The secondary has caught up; what becomes of tickets."""
    own = list(_own(zone))
    copies = [RRset(_under_copy(each.name), each.type, each.ttl_s, each.rdatas) for each in own]
    after = ZoneState.of(zone.apex, [*own, *copies], zone.guarded)
    return after, COPY_IS_GONE if copy_holds(zone, COPY) else 0


def failed_over(zone: ZoneState) -> tuple[ZoneState, int]:
    """The secondary is the primary from now on, with what it has; what becomes of tickets."""
    copies = list(_copied(zone))
    own = [RRset(_under_own(each.name), each.type, each.ttl_s, each.rdatas) for each in copies]
    after = ZoneState.of(zone.apex, [*own, *copies], zone.guarded)
    if copy_holds(zone, COPY):
        after = renamed(after, RENAMINGS[COPY_IS_NOW])
        return after, COPY_IS_NOW
    return after, 0 if copy_holds(zone, NOW) else NOW_IS_GONE


def _own(zone: ZoneState) -> Iterable[RRset]:
    return (each for each in zone.rrsets() if not each.name.endswith(_COPIED))


def _copied(zone: ZoneState) -> Iterable[RRset]:
    return (each for each in zone.rrsets() if each.name.endswith(_COPIED))


def _under_copy(name: str) -> str:
    return name.removesuffix(ENDPOINT) + _COPIED


def _under_own(name: str) -> str:
    return name.removesuffix(_COPIED) + ENDPOINT
