"""A vantage point's voice: tells every Planner what it thinks, changes of standing at once, the rest with each ping.

Planners are independent: one that is gone, stopped or slow holds up no other. What a link still owes is a set of
names, so it is bounded by the number of load balancers however long a Planner stays away.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Sequence

from evenkeel.adapters.frames import Link, LinkClosed, connect
from evenkeel.adapters.health_messages import HELLO_DEADLINE_S, Hello, Opinions, Ping, said
from evenkeel.endpoints.vantage_view import VantageView
from evenkeel.model.errors import Unreachable
from evenkeel.model.health import Opinion
from evenkeel.model.region import HostPort

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
PING_DEADLINE_S = 15.0
LISTENING_CHECK_S = 1.0
COALESCE_S = 0.002  # changes this close together travel in one frame


class HealthPush:
    """Runs one link a Planner until stopped.

    `before_telling` is called before any frame is made: it forgets what has grown too old to be told, which matters
    when this process comes back from having been stopped itself.
    """

    def __init__(
        self,
        view: VantageView,
        planners: Sequence[HostPort],
        token: str,
        before_telling: Callable[[], None] = lambda: None,
    ) -> None:
        self._feeds = [_Feed(view, address, token, before_telling) for address in planners]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin connecting, on the running loop."""
        self._tasks = [asyncio.create_task(feed.run()) for feed in self._feeds]

    async def stop(self) -> None:
        """Close every link."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def turned(self, opinions: Iterable[Opinion]) -> None:
        """Standings that changed: to be told at once. With none, tells that the doubt changed."""
        names = [opinion.load_balancer for opinion in opinions]
        for feed in self._feeds:
            feed.owe(names, is_urgent=True)

    def touched(self, opinions: Iterable[Opinion]) -> None:
        """What else changed: told with the next answer to a ping."""
        names = [opinion.load_balancer for opinion in opinions]
        for feed in self._feeds:
            feed.owe(names, is_urgent=False)

    def links(self) -> dict[str, str]:
        """For `/status`: the state of each Planner's link."""
        return {str(feed.address): feed.state for feed in self._feeds}


class _Feed:
    """One Planner's link."""

    def __init__(self, view: VantageView, address: HostPort, token: str, before_telling: Callable[[], None]) -> None:
        self.address = address
        self.state = "never connected"
        self._view = view
        self._token = token
        self._before_telling = before_telling
        self._owed: set[str] = set()
        self._urgent = asyncio.Event()
        self._echo = 0

    def owe(self, names: Iterable[str], is_urgent: bool) -> None:
        self._owed.update(names)
        if is_urgent:
            self._urgent.set()

    async def run(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                link = await connect(self.address, self._token)
            except Unreachable as error:
                self.state = str(error)
            else:
                backoff_s = await self._talk_until_lost(link, backoff_s)
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    async def _talk_until_lost(self, link: Link, backoff_s: float) -> float:
        """Returns the back-off to go on with: the first one again if the Planner had taken us."""
        listening: asyncio.Task[None] | None = None
        try:
            await self._introduce(link)
            backoff_s = BACKOFF_FIRST_S
            listening = asyncio.create_task(self._listen(link))
            await self._tell(link, listening)
        except LinkClosed as error:
            self.state = str(error)
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
            await link.close()
        return backoff_s

    async def _introduce(self, link: Link) -> None:
        await link.send(Hello(self._view.vantage))
        self._echo = (await link.receive(Ping, HELLO_DEADLINE_S)).number
        self._before_telling()
        self._owed.clear()
        self._urgent.clear()
        await link.send(self._message(self._view.opinions(), is_whole=True))
        self.state = "linked"

    async def _listen(self, link: Link) -> None:
        while True:
            self._echo = (await link.receive(Ping, PING_DEADLINE_S)).number
            self._urgent.set()  # an answer at once keeps what the Planner knows young

    async def _tell(self, link: Link, listening: asyncio.Task[None]) -> None:
        while not listening.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LISTENING_CHECK_S):
                    await self._urgent.wait()
                await asyncio.sleep(COALESCE_S)
            self._before_telling()
            self._urgent.clear()
            owed, self._owed = self._owed, set()
            await link.send(self._message(self._view.opinions_on(sorted(owed)), is_whole=False))
        raise LinkClosed(f"link to {link.peer}: no ping for {PING_DEADLINE_S:g} s, or closed")

    def _message(self, opinions: Sequence[Opinion], is_whole: bool) -> Opinions:
        return Opinions(self._echo, self._view.doubt, is_whole, tuple(said(opinion) for opinion in opinions))
