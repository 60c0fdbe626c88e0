"""The zone as the Enactor's, clean-up's and the levers' workflows see it.

Two levels. `EnactorZone` and `CleanUpZone` are what workflows call: they answer with decisions, and keep what was
read as a ticket. `ZoneServer` is the lower port that a real server's client or a twin implements: read an
endpoint, commit a transaction. `evenkeel.endpoints.guarded_zone` stands between the two, for both worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol, TypeVar

import msgspec

from evenkeel.model.transactions import Commit, Transaction

P_contra = TypeVar("P_contra", contravariant=True)


class Look(Enum):
    """What an Enactor finds at an endpoint, beside the plan in its hand."""

    BEHIND = auto()  # the plan's answer has to be published
    CURRENT = auto()  # the fence is at or past the plan
    HELD = auto()  # pinned by an operator
    FROZEN = auto()  # the zone's kill switch is set
    CORRUPT = auto()  # two fences, or a broken one: stop and say so
    WEDGED = auto()  # October 2025: the current plan is missing, the rollback pointer cannot be set
    BUSY = auto()  # October 2025: another holds the lock
    ABSENT = auto()  # the plan has no such endpoint


class Write(Enum):
    """How a write ended."""

    APPLIED = auto()
    SUPERSEDED = auto()  # what was read no longer holds; nothing changed
    UNKNOWN = auto()  # the reply was lost; look again
    UNSAFE = auto()  # a safeguard refused it below the caller: empty, share or floor


class EnactorZone(Protocol[P_contra]):
    """One endpoint at a time, each call one exchange with the zone server."""

    async def look(self, endpoint: str, plan: P_contra) -> Look:
        """Read fence and answer; keep them as the ticket that the next write is conditional on."""
        ...

    async def build(self, endpoint: str, plan: P_contra) -> Write:
        """Create the plan's node for the endpoint (`tree`; at once APPLIED for `flat`). Idempotent."""
        ...

    async def flip(self, endpoint: str, plan: P_contra) -> Write:
        """Answer, rollback pointer and fence together, on condition of the ticket and of the node's existence."""
        ...

    # October 2025's own calls: a lock for mutual exclusion, and a write that compares nothing else.

    async def is_newer(self, endpoint: str, plan: P_contra) -> bool:
        """Whether `plan` is newer than what the endpoint's fence notes as applied."""
        ...

    async def lock(self, endpoint: str) -> Write:
        """Take the endpoint's TXT lock, on condition that it is as `look` read it."""
        ...

    async def flip_locked(self, endpoint: str, plan: P_contra) -> Write:
        """Answer, rollback pointer, note of the generation; and release the lock, which is the only condition."""
        ...


class CleanUpZone(Protocol[P_contra]):
    """What clean-up needs."""

    async def spent_nodes(self, endpoint: str, plan: P_contra) -> Sequence[str]:
        """Names of the endpoint's nodes that are old enough to go, oldest first, by the policy's count to keep."""
        ...

    async def is_referenced(self, endpoint: str, node: str) -> bool:
        """Whether the endpoint's answer or its rollback pointer is `node`; the fence is kept as the ticket."""
        ...

    async def remove(self, endpoint: str, node: str) -> Write:
        """Delete the node on condition that the fence is still as it was when `is_referenced` said no."""
        ...

    async def remove_unfenced(self, endpoint: str, node: str) -> Write:
        """Delete the node (October 2025: nothing is compared)."""
        ...


class AutomatedZone(EnactorZone[P_contra], CleanUpZone[P_contra], Protocol[P_contra]):
    """Both, for a run that ends with clean-up."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What a zone server holds for one endpoint, read at one moment from the primary.

    `answer` is what a client gets: addresses at the endpoint's own name, or at the node that `target` names.
    TTLs are not compared; weights are part of the answer.
    """

    fences: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    target: str = ""  # CNAME at the endpoint, "" where none
    a: tuple[str, ...] = ()  # at the endpoint's own name
    aaaa: tuple[str, ...] = ()
    weights: str = ""
    rollback: str = ""  # target of the rollback pointer (`tree`)
    rollback_a: tuple[str, ...] = ()  # the previous answer (`flat`)
    rollback_aaaa: tuple[str, ...] = ()
    rollback_weights: str = ""


class NodeReading(msgspec.Struct, frozen=True, gc=False):
    """What stands at one node of a tree."""

    name: str
    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()
    weights: str = ""

    @property
    def exists(self) -> bool:
        return bool(self.a or self.aaaa)


class ZoneServer(Protocol):
    """One zone's primary, as a client or a twin gives it. Every call has a deadline of its own."""

    async def read(self, endpoint: str) -> Reading:
        """Raises `Unreachable`."""
        ...

    async def read_node(self, node: str) -> NodeReading: ...

    async def nodes(self, endpoint: str) -> Sequence[str]:
        """Names of the endpoint's nodes, oldest generation first."""
        ...

    async def frozen(self) -> str:
        """The text of the zone's kill switch; "" where it is not set."""
        ...

    async def commit(self, transaction: Transaction) -> Commit:
        """After REFUSED or UNKNOWN, a later `read` is at least as new as that outcome. Raises `Unreachable`."""
        ...
