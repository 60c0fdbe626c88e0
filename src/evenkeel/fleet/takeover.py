"""How an az changes hands, and how a lease is granted: the two orders of calls that everything else leans on.

Take over: look who manages, then compare and set the next epoch, in one write that also lets every recorded lease stand
(amnesty). Two who try at once both compare with the same epoch, so one of them wins. Who gets no reply may have won: it
looks again, and takes the next epoch if it still wants the az, which harms nobody. When to take an az that somebody
else has is for `standby` to say; whatever it says, no host is leased twice.

Grant: record first, tell the host afterwards. The store refuses the record of an epoch that is over, and a host refuses
the word of one. So a manager that was cut off, stopped for an hour or restored from a copy can neither record nor
persuade: whatever it believes, its leases are no more than what the next manager took over from the store.

These are workflows over ports (DESIGN.md, 1): the same code runs for real and under `evenkeel.check`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from evenkeel.model.fleet import Granted, Tenure, first_generation
from evenkeel.ports.fleet import Superseded, TenureStore


class GrantStore(Protocol):
    """What a grant asks of `ports.fleet.LeaseStore`."""

    async def record_grants(self, az: str, epoch: int, grants: tuple[Granted, ...]) -> None: ...


class HostLink(Protocol):
    """A host within reach, perhaps: what is told may come late, twice or never."""

    async def grant(self, number: int, epoch: int, generation: int) -> None: ...


class GrantEnd(Enum):
    """How a grant ended."""

    TOLD = auto()  # recorded, and on its way to the host
    OVER = auto()  # another manager has taken over: step down


async def take_over(store: TenureStore, az: str, manager: str, extend_s: float) -> Tenure | None:
    """The tenure of `manager`, who manages `az` from now on; None where somebody else was first. Raises `Unreachable`:
    it may have been done, and the caller looks again.

    `extend_s` is for how long leases stand that nobody renews: as long as the one before may go on extending them
    without its store (`FleetPolicy.amnesty_max_s`), and a term.
    """
    seen = await store.tenure(az)
    return await take_from(store, az, manager, seen.epoch, extend_s)


async def take_from(store: TenureStore, az: str, manager: str, seen_epoch: int, extend_s: float) -> Tenure | None:
    """`take_over`, for who has looked: None where the epoch is no more what it was then."""
    if not await store.take(az, manager, seen_epoch, extend_s):
        return None
    tenure = await store.tenure(az)
    return tenure if tenure.epoch == seen_epoch + 1 and tenure.manager == manager else None


async def grant(store: GrantStore, link: HostLink, az: str, epoch: int, number: int, lease: int) -> GrantEnd:
    """Grant host `number` the lease that is the `lease`-th of `epoch`. Raises `Unreachable` where it may be recorded,
    and the host was not told; a later lease is above it either way."""
    generation = first_generation(epoch) + lease
    try:
        await store.record_grants(az, epoch, (Granted(number, generation),))
    except Superseded:
        return GrantEnd.OVER
    await link.grant(number, epoch, generation)
    return GrantEnd.TOLD
