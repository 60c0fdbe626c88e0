"""What clients would be answered, asked of one authoritative server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from evenkeel.model.region import HostPort


@dataclass(frozen=True, slots=True)
class Resolved:
    """What one server answers for both families: sorted address texts, aliases followed within the zone."""

    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.a and not self.aaaa


class Resolver(Protocol):
    async def addresses(self, server: HostPort, name: str, ipv4: bool, ipv6: bool) -> Resolved:
        """Ask `server` for the families wanted. NXDOMAIN and NOERROR without records are an empty answer.

        Raises `Unreachable` where no answer comes within the deadline, or the server refuses or fails.
        """
        ...
