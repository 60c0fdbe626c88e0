"""A zone as the rules read it, whatever holds it: text in a twin, wire octets in the server.

Names `N` and rdatas `D` are opaque to the rules; record types are mnemonics ("A", "TXT", "TYPE65280").
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

N = TypeVar("N", bound=Hashable)
D = TypeVar("D", str, bytes)


@dataclass(frozen=True, slots=True)
class Records(Generic[D]):
    """What an RRset holds: one TTL (RFC 2181 section 5.2) and its rdatas, sorted, at least one."""

    ttl_s: int
    rdatas: tuple[D, ...]


# What stands at one name, by type. Never mutated once it is part of a zone.
Node = Mapping[str, Records[D]]


class ZoneView(Protocol[N, D]):
    """One zone at one moment."""

    @property
    def apex(self) -> N: ...

    def contains(self, name: N) -> bool:
        """Whether `name` is the apex or below it; it need not exist."""
        ...

    def node(self, name: N) -> Node[D]:
        """What stands at `name`; empty where nothing does."""
        ...

    def aliases_of(self, name: N) -> Iterable[N]:
        """Owners of the CNAMEs that point to `name`."""
        ...

    # --- what the rules have to know of rdatas and names ---------------------------------------------

    def target(self, rdata: D) -> N:
        """The name in a CNAME's rdata."""
        ...

    def is_newer_soa(self, new: D, old: D) -> bool:
        """Whether the serial of `new` is past that of `old` (RFC 1982)."""
        ...

    def next_soa(self, soa: D) -> D:
        """`soa` with the serial that follows; 0 is left out."""
        ...

    def fenced(self, name: N) -> N | None:
        """The endpoint whose fence stands at `name` (`_fence.<endpoint>`); None for any other name."""
        ...

    def fence_of(self, name: N) -> N:
        """Where the fence of `name` stands."""
        ...


class LookupView(ZoneView[N, D], Protocol[N, D]):
    """A zone that can also be asked what does not exist."""

    def has_below(self, name: N) -> bool:
        """Whether anything stands below `name`: then it exists, as an empty non-terminal (RFC 8020)."""
        ...

    def cut_above(self, name: N) -> N | None:
        """The delegated name at or above `name`, nearest to the apex (which is none itself), or None."""
        ...
