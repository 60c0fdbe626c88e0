"""A Planner's ear: takes the opinions of all vantage points and turns them into verdicts (`ports.health`).

A vantage point is heard while its newest opinions can be no older than `vantage_stale_s` (see `health_messages`
for how that is known) and it has no doubt of itself. A lost link alone takes no vote before that time is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from evenkeel.adapters.frames import Link, LinkClosed, listen
from evenkeel.adapters.health_messages import (
    HELLO_DEADLINE_S,
    HELLO_OCTETS_MAX,
    OPINIONS_OCTETS_MAX,
    PING_S,
    Hello,
    Opinions,
    Ping,
    opinion_of,
)
from evenkeel.endpoints.quorum import Quorum, Turned
from evenkeel.model.health import Health, Opinion, Standing
from evenkeel.model.region import HostPort, LoadBalancer, Region

PINGS_A_STALENESS = 5  # one lost or late answer takes no vote
PINGS_KEPT = 64
FRESHNESS_TICK_S = 0.25


@dataclass(slots=True)
class _Ear:
    """What is known of one vantage point."""

    link: Link | None = None
    sent: int = 0  # pings on this link
    pings: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=PINGS_KEPT))
    fresh_at_s: float = float("-inf")
    doubt: str = ""


class HealthIntake:
    """`ports.health.HealthReader`, for one event loop.

    `on_turned` is called for each verdict's change of standing, `on_voice` for each vantage point that gains
    or loses its vote (with the reason).
    """

    def __init__(
        self,
        load_balancers: Mapping[str, LoadBalancer],
        vantages: Sequence[str],
        quorum: int,
        stale_s: float,
        *,
        on_turned: Callable[[Turned], None] = lambda turned: None,
        on_voice: Callable[[str, bool, str], None] = lambda vantage, is_heard, why: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quorum = Quorum(load_balancers, vantages, quorum)
        self._ears = {vantage: _Ear() for vantage in vantages}
        self._stale_s = stale_s
        self._on_turned = on_turned
        self._on_voice = on_voice
        self._now = now
        self._turned = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None

    @classmethod
    def for_region(
        cls,
        region: Region,
        *,
        on_turned: Callable[[Turned], None] = lambda turned: None,
        on_voice: Callable[[str, bool, str], None] = lambda vantage, is_heard, why: None,
    ) -> HealthIntake:
        """One vantage point an az, quorum and staleness from the Planner's settings."""
        vantages = [f"vantage-{az}" for az in region.azs]
        settings = region.planner
        return cls(
            region.load_balancers, vantages, settings.quorum, settings.vantage_stale_s,
            on_turned=on_turned, on_voice=on_voice,
        )  # fmt: skip

    async def start(self, address: HostPort, token: str) -> HostPort:
        """Listen; returns where (port 0 asks for any). Raises `OSError` where the address is taken."""
        self._server = await listen(address, token, self._attend)
        self._ticker = asyncio.create_task(self._watch_freshness())
        host, port = self._server.sockets[0].getsockname()[:2]
        return HostPort(host, port)

    async def stop(self) -> None:
        """Stop listening, close every link."""
        if self._server is not None:
            self._server.close()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        for ear in self._ears.values():
            if ear.link is not None:
                await ear.link.close()

    async def verdicts(self) -> Mapping[str, Health]:
        """See `ports.health`."""
        return self._quorum.verdicts

    async def wait_changed(self, deadline_s: float) -> frozenset[str]:
        """See `ports.health`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._turned.wait()
        self._turned.clear()
        return self._quorum.take_changed()

    def votes(self, load_balancer: str) -> dict[str, Standing]:
        """Each vantage point's vote on one load balancer, as it counts now."""
        return self._quorum.votes(load_balancer)

    def opinions(self, load_balancer: str) -> dict[str, Opinion]:
        """What each vantage point said last of one load balancer, whether it has a vote or not."""
        return self._quorum.opinions(load_balancer)

    def vantages(self) -> dict[str, dict[str, object]]:
        """For `/status`: of each vantage point whether it is heard, linked, how old its word is, its doubt."""
        now_s = self._now()
        return {
            vantage: {
                "heard": vantage in self._quorum.heard,
                "linked": ear.link is not None,
                "age_s": round(now_s - ear.fresh_at_s, 3) if ear.fresh_at_s > float("-inf") else None,
                "doubt": ear.doubt,
            }
            for vantage, ear in self._ears.items()
        }

    async def _attend(self, link: Link) -> None:
        hello = await link.receive(Hello, HELLO_DEADLINE_S, HELLO_OCTETS_MAX)
        ear = self._ears.get(hello.vantage)
        if ear is None:
            return
        before, ear.link = ear.link, link
        ear.pings.clear()
        ear.sent = 0
        if before is not None:
            await before.close()
        pinging = asyncio.create_task(self._ping(ear, link))
        try:
            while True:
                opinions = await link.receive(Opinions, self._stale_s, OPINIONS_OCTETS_MAX)
                if ear.link is not link or opinions.echo > ear.sent:
                    return  # replaced by a newer link, or it answers what was never asked
                self._take(hello.vantage, ear, opinions)
        finally:
            pinging.cancel()
            if ear.link is link:
                ear.link = None

    def _take(self, vantage: str, ear: _Ear, opinions: Opinions) -> None:
        while ear.pings and ear.pings[0][0] <= opinions.echo:
            ear.fresh_at_s = max(ear.fresh_at_s, ear.pings.popleft()[1])
        ear.doubt = opinions.doubt
        said = [opinion_of(vantage, value) for value in opinions.said]
        # A vote is taken before what is said without it counts, and given after what is said with it is there.
        self._weigh(vantage, ear, may_give=False)
        self._publish(self._quorum.say(vantage, said, is_whole=opinions.is_whole))
        self._weigh(vantage, ear)

    def _weigh(self, vantage: str, ear: _Ear, *, may_give: bool = True) -> None:
        age_s = self._now() - ear.fresh_at_s
        is_heard = age_s <= self._stale_s and not ear.doubt
        if is_heard == (vantage in self._quorum.heard) or (is_heard and not may_give):
            return
        self._on_voice(vantage, is_heard, ear.doubt or ("heard" if is_heard else f"silent for {self._stale_s:g} s"))
        self._publish(self._quorum.hear(vantage, is_heard))

    def _publish(self, turned: list[Turned]) -> None:
        for each in turned:
            self._on_turned(each)
        if turned:
            self._turned.set()

    async def _ping(self, ear: _Ear, link: Link) -> None:
        with contextlib.suppress(LinkClosed):
            while True:
                ear.sent += 1
                ear.pings.append((ear.sent, self._now()))
                await link.send(Ping(ear.sent))
                await asyncio.sleep(min(PING_S, self._stale_s / PINGS_A_STALENESS))

    async def _watch_freshness(self) -> None:
        while True:
            await asyncio.sleep(min(FRESHNESS_TICK_S, self._stale_s / PINGS_A_STALENESS))
            for vantage, ear in self._ears.items():
                self._weigh(vantage, ear)
