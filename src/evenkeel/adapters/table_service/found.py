"""Where an endpoint stands right now, asked of its zone's own servers as any client's resolver would.

An answer is kept for its TTL, at most `KEPT_MAX_S`. While no server answers, the last addresses are used on (RFC 8767
calls that serving stale); a server that answers "there is none" is believed: the name is empty then, and says so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from evenkeel.adapters.dns.resolve import ServerResolver
from evenkeel.model.errors import Unreachable
from evenkeel.model.records import Rcode
from evenkeel.model.region import HostPort

KEPT_MAX_S = 5.0
NONE_KEPT_S = 1.0
ASK_DEADLINE_S = 1.0


class EmptyEndpoint(Unreachable):
    """The name has no address: NOERROR or NXDOMAIN, and nothing to connect to."""


@dataclass(slots=True)
class _Kept:
    addresses: tuple[str, ...] = ()
    until_s: float = -1.0


class FoundByName:
    """The addresses of `name`, from the first of `servers` that answers. Used on one event loop."""

    def __init__(
        self, name: str, servers: Sequence[HostPort], resolver: ServerResolver, chance: random.Random | None = None
    ) -> None:
        self.name = name
        self._servers = tuple(servers)
        self._resolver = resolver
        self._chance = chance or random.Random()
        self._kept = _Kept()
        self._asking = asyncio.Lock()

    async def addresses(self) -> tuple[str, ...]:
        """In random order, one or more. Raises `EmptyEndpoint`, `Unreachable`."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._kept.until_s:
            async with self._asking:
                if now_s >= self._kept.until_s:
                    await self._ask()
        if not self._kept.addresses:
            raise EmptyEndpoint(f"{self.name} has no address")
        shuffled = list(self._kept.addresses)
        self._chance.shuffle(shuffled)
        return tuple(shuffled)

    async def _ask(self) -> None:
        trouble: Unreachable | None = None
        for server in self._servers:
            try:
                answer = await self._resolver.resolve(server, self.name, "A", ASK_DEADLINE_S)
            except Unreachable as error:
                trouble = error
                continue
            if answer.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
                trouble = Unreachable(f"{server} answered {answer.rcode} for {self.name}")
                continue
            kept_s = min(float(answer.ttl_s), KEPT_MAX_S) if answer.addresses else NONE_KEPT_S
            self._kept = _Kept(answer.addresses, asyncio.get_running_loop().time() + kept_s)
            return
        if not self._kept.addresses:
            raise trouble or Unreachable(f"{self.name}: no server to ask")
        self._kept.until_s = asyncio.get_running_loop().time() + NONE_KEPT_S
