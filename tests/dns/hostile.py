"""A TCP server that answers updates with whatever a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from evenkeel.model.region import HostPort, ServerKind, Zone
from evenkeel.testing.servers import make_key
from evenkeel.wire.tsig import TsigKey
from tests.servers import ZONE

KEY: TsigKey = make_key()


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[Zone]:
    """Frames go to `answer`; what it returns is sent as it is, None closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                octets = answer(frame)
                if octets is None:
                    break
                writer.write(octets)
        except (EOFError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port: int = server.sockets[0].getsockname()[1]
        yield Zone(ZONE, ServerKind.RFC2136, HostPort("127.0.0.1", port))
    finally:
        server.close()


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message
