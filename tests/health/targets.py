"""Real listeners that behave as load balancers do on bad days, for probes to meet."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from evenkeel.adapters.probes.prober import Prober
from evenkeel.adapters.probes.schedule import phase_share
from evenkeel.endpoints.vantage_view import Target
from evenkeel.endpoints.verdicts import Observation
from evenkeel.model.health import Probe, ProbeKind

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DEADLINE_S = 20.0


@contextlib.asynccontextmanager
async def listener(behaviour: Behaviour, host: str = "127.0.0.1", **options: object) -> AsyncIterator[int]:
    """Serves `behaviour` on a port of its own."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            await behaviour(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, host, 0, **options)  # type: ignore[arg-type]  # passed through
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def replying(octets: bytes, *, pause_s: float = 0.0, piece: int = 0) -> Behaviour:
    """Waits for a request, then sends `octets`, all at once or in pieces with pauses between."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        size = piece or len(octets)
        for start in range(0, len(octets), size):
            writer.write(octets[start : start + size])
            await writer.drain()
            await asyncio.sleep(pause_s)
        await reader.read()

    return behave


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts and says nothing."""
    await reader.read()
    await asyncio.sleep(DEADLINE_S)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Resets the connection once asked."""
    await reader.readuntil(b"\r\n\r\n")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def until(holds: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until `holds()`; fails the test after `deadline_s`."""
    async with asyncio.timeout(deadline_s):
        while not holds():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0.005)


def free_port() -> int:
    """A port that nobody listens on (at this moment)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def probe_of(kind: ProbeKind, port: int, **options: object) -> Probe:
    """A quick one."""
    settings: dict[str, object] = {"path": "/health", "interval_s": 0.6, "timeout_s": 0.5, **options}
    return Probe(kind, port, **settings)  # type: ignore[arg-type]  # fields by name


async def first_result(target: Target) -> Observation:
    """What the first probe of `target` brings."""
    results: asyncio.Queue[Observation] = asyncio.Queue()
    # Of many names the one whose first turn comes soonest: the wait for it is not what is tested.
    names = (replace(target, load_balancer=f"lb-{number}") for number in range(100))
    target = min(names, key=lambda named: phase_share("vantage-test", named.key))
    prober = Prober("vantage-test", [target], lambda index, seen, now_s: results.put_nowait(seen))
    prober.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await results.get()
    finally:
        prober.stop()


def probe_once(behaviour: Behaviour, kind: ProbeKind, **options: object) -> Observation:
    """One probe of one listener."""

    async def run() -> Observation:
        async with listener(behaviour) as port:
            return await first_result(Target("lb", "127.0.0.1", probe_of(kind, port, **options)))

    return asyncio.run(run())
