"""One zone on a real server, as `ports.zone.ZoneServer`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from evenkeel.adapters.dns.committer import Committer, Counts
from evenkeel.adapters.dns.follower import Follower
from evenkeel.adapters.dns.held import owner
from evenkeel.adapters.dns.line import Line
from evenkeel.adapters.dns.settings import ClientSettings, settings_for
from evenkeel.adapters.dns.view import ZoneView
from evenkeel.model.errors import EvenkeelError
from evenkeel.model.region import Zone
from evenkeel.model.transactions import Commit, Transaction
from evenkeel.ports.zone import NodeReading, Reading
from evenkeel.wire.tsig import TsigKey


class ZoneClient:
    """Reads from a view that follows the primary; commits conditionally. Made and used on one event loop.

        async with ZoneClient(zone, key) as client:
            reading = await client.read("db.demo.example.")
            verdict = await client.commit(transaction)

    `read` prepares a decision, `commit` makes it: a stale reading costs a refusal, never a wrong write.
    """

    def __init__(
        self,
        zone: Zone,
        key: TsigKey,
        settings: ClientSettings | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.zone = zone.name
        self.settings = settings or settings_for(zone.server)
        self._view = ZoneView(zone.name)
        self._line = Line(zone.primary, key, self.settings, wall_s)
        self._follower = Follower(self._line, self._view, self.settings)
        self._committer = Committer(self._line, self._view, self._follower, self.settings)
        self._follower.is_busy = lambda: self._committer.is_busy
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ZoneClient:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin to follow the zone; does not wait for the server."""
        if self._task is None:
            self._task = asyncio.create_task(self._follower.run())

    async def aclose(self) -> None:
        """End everything; commits that were not sent yet raise `NotSent`."""
        self._committer.close()
        self._line.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # --- ports.zone.ZoneServer ------------------------------------------------------------------------

    async def read(self, endpoint: str) -> Reading:
        """Raises `Unreachable` where the view is stale and cannot be brought up to date."""
        if not self._follower.is_fresh(endpoint):
            await self._follower.refresh()
        return self._view.reading(endpoint)

    async def read_node(self, node: str) -> NodeReading:
        """Raises `Unreachable`."""
        if not self._follower.is_fresh(owner(node).endpoint):
            await self._follower.refresh()
        return self._view.node(node)

    async def nodes(self, endpoint: str) -> Sequence[str]:
        """Raises `Unreachable`."""
        if not self._follower.is_fresh(endpoint):
            await self._follower.refresh()
        return self._view.nodes(endpoint)

    async def frozen(self) -> str:
        """Raises `Unreachable`."""
        if not self._follower.is_fresh(self.zone):
            await self._follower.refresh()
        return self._view.frozen()

    async def commit(self, transaction: Transaction) -> Commit:
        """Raises `Unreachable` (nothing changed; `KeyRejected` and `ServerRefused` say why) or `TooBig`."""
        return await self._committer.commit(transaction)

    # --- beyond the port ------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Return once the view is at least as new as this call. Raises `Unreachable`."""
        await self._follower.refresh()

    def tell_touched(self, listener: Callable[[list[str] | None], None]) -> None:
        """Have `listener` told, on the loop, which endpoints others changed; None: the whole zone was taken in anew."""
        self._view.on_touched = listener

    def endpoints(self) -> Iterator[str]:
        """Every name in the view that holds anything of an endpoint's; `repair` begins here."""
        return self._view.endpoints()

    @property
    def serial(self) -> int:
        """Of the zone as last transferred; -1 before."""
        return self._view.serial

    @property
    def counts(self) -> Counts:
        return self._committer.counts

    @property
    def failure(self) -> EvenkeelError | None:
        """Why the zone cannot be followed at the moment; None while it can."""
        return self._follower.failure

    def status(self) -> dict[str, object]:
        """For a process's `/status`: serial, age of the view, connection, counts."""
        counts = self._committer.counts
        return {
            "zone": self.zone,
            "primary": str(self._line.server),
            "serial": self._view.serial,
            "age_s": round(self._follower.age_s, 3) if self._view.serial >= 0 else None,
            "connected": self._line.ready() is not None,
            "connections": self._line.connections,
            "transfers": self._follower.transfers,
            "waiting": self._committer.waiting,
            "failure": str(self._follower.failure or ""),
            **{name: getattr(counts, name) for name in counts.__slots__},
        }
