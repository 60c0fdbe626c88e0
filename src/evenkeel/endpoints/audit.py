"""Audit: resolves every endpoint at every authoritative server, as a client would (DESIGN.md).

An empty answer is an alarm of its own, since NOERROR without records is no error to a resolver (OUTAGE.md, the race);
so is an answer other than planned. Weighted answers carry a part of the addresses, so a part is as planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evenkeel.model.errors import Unreachable
from evenkeel.model.plan import Answer
from evenkeel.model.region import HostPort
from evenkeel.ports.resolver import Resolved, Resolver


class Finding(StrEnum):
    AS_PLANNED = "as-planned"
    EMPTY = "empty"
    OTHER = "other"  # an address that is not planned, or a planned family missing
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Audited:
    """What one server answered for one endpoint, and what that means."""

    endpoint: str
    server: HostPort
    finding: Finding
    resolved: Resolved
    detail: str = ""

    @property
    def is_bad(self) -> bool:
        return self.finding is not Finding.AS_PLANNED


async def audit_endpoint(endpoint: str, planned: Answer, server: HostPort, resolver: Resolver) -> Audited:
    """Ask `server` for the families that the plan has, and judge the answer."""
    try:
        resolved = await resolver.addresses(server, endpoint, bool(planned.a), bool(planned.aaaa))
    except Unreachable as error:
        return Audited(endpoint, server, Finding.UNREACHABLE, Resolved(), str(error))
    finding, detail = _judge(planned, resolved)
    return Audited(endpoint, server, finding, resolved, detail)


def _judge(planned: Answer, resolved: Resolved) -> tuple[Finding, str]:
    if resolved.is_empty:
        return Finding.EMPTY, "no addresses"
    for family, wanted, got in (("A", planned.a, resolved.a), ("AAAA", planned.aaaa, resolved.aaaa)):
        if wanted and not got:
            return Finding.OTHER, f"no {family} answer, planned {', '.join(wanted)}"
        if foreign := sorted(set(got) - set(wanted)):
            return Finding.OTHER, f"{family} {', '.join(foreign)} not planned"
    return Finding.AS_PLANNED, ""
