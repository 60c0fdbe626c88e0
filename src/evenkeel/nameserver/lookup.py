"""What a zone answers to a question (RFC 1034 section 4.3.2), over any holder of a zone.

CNAMEs are followed within the zone; the response code is that of the last name (RFC 6604 section 3). A name with
something below it exists (RFC 8020). Wildcards are not expanded: a `*` is an ordinary label.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic

from evenkeel.model.records import Rcode
from evenkeel.nameserver.never_empty import CHAIN_MAX
from evenkeel.nameserver.zone_view import D, LookupView, N, Records

ANY = "ANY"


class Kind(Enum):
    """What there is to say at the end of the chain."""

    ANSWER = auto()
    NODATA = auto()
    NXDOMAIN = auto()
    REFERRAL = auto()  # the last name stands below a delegation
    ELSEWHERE = auto()  # the chain leaves the zone, or goes round: the resolver goes on from here


@dataclass(frozen=True, slots=True)
class Found(Generic[N, D]):
    """`chain`: CNAMEs in order, then the answer. `last`: the name it ends at; for a referral, the delegated one."""

    kind: Kind
    chain: tuple[tuple[N, str, Records[D]], ...]
    last: N

    @property
    def rcode(self) -> Rcode:
        return Rcode.NXDOMAIN if self.kind is Kind.NXDOMAIN else Rcode.NOERROR


def lookup(view: LookupView[N, D], name: N, type_: str) -> Found[N, D]:
    """The answer for `name`, which the zone contains. Type "ANY" gets one RRset (RFC 8482 section 4.1)."""
    chain: list[tuple[N, str, Records[D]]] = []
    for _ in range(CHAIN_MAX):
        cut = view.cut_above(name)
        if cut is not None:
            return Found(Kind.REFERRAL, tuple(chain), cut)
        node = view.node(name)
        records = node.get(min(node) if type_ == ANY and node else type_)
        if records is not None:
            chain.append((name, min(node) if type_ == ANY else type_, records))
            return Found(Kind.ANSWER, tuple(chain), name)
        alias = node.get("CNAME")
        if alias is None:
            exists = bool(node) or view.has_below(name)
            return Found(Kind.NODATA if exists else Kind.NXDOMAIN, tuple(chain), name)
        chain.append((name, "CNAME", alias))
        name = view.target(alias.rdatas[0])
        if not view.contains(name):
            return Found(Kind.ELSEWHERE, tuple(chain), name)
    return Found(Kind.ELSEWHERE, tuple(chain), name)
