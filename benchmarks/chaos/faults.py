"""The faults: kill -9 and SIGSTOP of any component, of the zone server too; backends that flap; a foreign writer."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from benchmarks.chaos.signals import Signals
from evenkeel.model.errors import EvenkeelError
from evenkeel.testing.regions import ZONE, LiveRegion
from evenkeel.testing.watch import Seen

PAUSE_S = (0.5, 12.0)
SERVER_PAUSE_S = (0.2, 4.0)
FAULT_EVERY_S = (1.0, 4.0)
FLAP_EVERY_S = 0.5


class Faults:
    """Draws faults from one seed and carries them out; says each."""

    def __init__(self, subject: LiveRegion, seen: Seen, seed: int) -> None:
        self._subject = subject
        self._seen = seen
        self._random = random.Random(seed)
        self._signals = Signals()

    async def run(self, stopping: asyncio.Event) -> None:
        """Fault after fault until told to stop; then everything paused goes on."""
        kinds: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._kill_component, 5),
            (self._pause_component, 5),
            (self._kill_server, 1),
            (self._pause_server, 1),
        ]
        try:
            while not stopping.is_set():
                fault = self._random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
                await fault()
                await asyncio.sleep(self._random.uniform(*FAULT_EVERY_S))
        finally:
            await self._signals.heal()

    async def flap(self, stopping: asyncio.Event) -> None:
        """Backends go bad and come back, often enough for 50 plans a minute."""
        balancers = sorted(self._subject.region.load_balancers.values(), key=lambda each: each.name)
        while not stopping.is_set():
            balancer = self._random.choice(balancers)
            order = self._random.choice(
                ["fail", "hang", "recover", "recover", "recover", "drain", "undrain", "undrain"]
            )
            await self._order(balancer.ipv4[0], balancer.probe.port, order)
            for balancer in balancers:
                capacity = self._random.choice([60, 100, 160])
                await self._order(balancer.ipv4[0], balancer.probe.port, f"capacity/{capacity}")
            await asyncio.sleep(FLAP_EVERY_S)
        for balancer in balancers:
            for order in ("recover", "undrain"):
                await self._order(balancer.ipv4[0], balancer.probe.port, order)

    async def _order(self, host: str, port: int, order: str) -> None:
        self._seen.faults[f"backend {order.partition('/')[0]}"] += 1
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(f"POST /-/{order} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                await reader.read(1024)
                writer.close()

    # --- components -------------------------------------------------------------------------------------

    def _victim(self) -> tuple[str, int] | None:
        pids = [(name, pid) for name, pid in sorted(self._subject.pids().items()) if pid not in self._signals.paused]
        return self._random.choice(pids) if pids else None

    async def _kill_component(self) -> None:
        victim = self._victim()
        if victim is not None and self._signals.kill(victim[1]):
            self._seen.faults[f"kill -9 {_kind(victim[0])}"] += 1

    async def _pause_component(self) -> None:
        victim = self._victim()
        if victim is not None and self._signals.pause(victim[1], self._random.uniform(*PAUSE_S)):
            self._seen.faults[f"SIGSTOP {_kind(victim[0])}"] += 1

    # --- the zone server, where it is no component --------------------------------------------------------

    async def _kill_server(self) -> None:
        server = self._subject.server
        if server is None:
            return
        self._seen.faults["kill -9 zone server"] += 1
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(self._random.uniform(0.1, 2.0))
        try:
            await asyncio.to_thread(server.restart)
        except EvenkeelError as error:
            self._seen.told.append(f"{ZONE} server did not come back at first: {error}")
            await asyncio.to_thread(server.restart)

    async def _pause_server(self) -> None:
        server = self._subject.server
        if server is None:
            return
        self._seen.faults["SIGSTOP zone server"] += 1
        server.pause()
        try:
            await asyncio.sleep(self._random.uniform(*SERVER_PAUSE_S))
        finally:
            server.resume()


def _kind(name: str) -> str:
    return name.split("-")[0] if name != "plan-store" else name
