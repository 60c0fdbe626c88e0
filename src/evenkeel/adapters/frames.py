"""Length-prefixed msgpack frames over TCP: how evenkeel's own processes talk.

Wire form: four octets of big-endian length, then one msgpack document. The first frame of a connection is the
caller's token; a listener closes what presents another one. Frames are bounded by `FRAME_OCTETS_MAX`, a slow
reader by `SEND_DEADLINE_S`; every wait has a deadline.
"""

from __future__ import annotations

import asyncio
import hmac
import struct
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from evenkeel.model.errors import Unreachable
from evenkeel.model.region import HostPort

FRAME_OCTETS_MAX = 256 * 1024 * 1024
HELLO_OCTETS_MAX = 1024
HELLO_DEADLINE_S = 5.0
SEND_DEADLINE_S = 30.0
_LENGTH = struct.Struct("!I")

T = TypeVar("T")


class LinkClosed(Unreachable):
    """The other side closed the link, or broke the framing."""


class Link:
    """One connection. Not for concurrent senders or concurrent receivers of one side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.peer = str(writer.get_extra_info("peername"))

    async def send(self, value: object) -> None:
        """Send one frame. Raises `LinkClosed`."""
        await self.send_encoded(msgspec.msgpack.encode(value))

    async def send_encoded(self, body: bytes) -> None:
        """Send what is msgpack already; one encoding then serves many links."""
        if len(body) > FRAME_OCTETS_MAX:
            raise LinkClosed(f"frame of {len(body)} octets is over {FRAME_OCTETS_MAX}")
        try:
            self._writer.write(_LENGTH.pack(len(body)) + body)
            async with asyncio.timeout(SEND_DEADLINE_S):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise LinkClosed(f"link to {self.peer}: {error!r}") from error

    async def receive(self, type_: type[T], deadline_s: float | None, octets_max: int = FRAME_OCTETS_MAX) -> T:
        """The next frame, decoded as `type_`. Raises `LinkClosed`; None waits as long as the link lives."""
        try:
            async with asyncio.timeout(deadline_s):
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                if length > octets_max:
                    raise LinkClosed(f"link to {self.peer}: frame of {length} octets is over {octets_max}")
                body = await self._reader.readexactly(length)
            return msgspec.msgpack.decode(body, type=type_)
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as error:
            raise LinkClosed(f"link to {self.peer}: {error!r}") from error

    async def close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    def abort(self) -> None:
        """Drop the connection at once, with whatever is not sent yet."""
        self._writer.transport.abort()


async def connect(address: HostPort, token: str, deadline_s: float = 3.0) -> Link:
    """A link to `address`, its token presented. Raises `Unreachable`."""
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"{address}: {error!r}") from error
    link = Link(reader, writer)
    await link.send(token)
    return link


async def listen(address: HostPort, token: str, on_link: Callable[[Link], Awaitable[None]]) -> asyncio.Server:
    """Serve `on_link` for every caller that presents `token`; the link is closed when it returns."""

    async def admit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        try:
            presented = await link.receive(str, HELLO_DEADLINE_S, HELLO_OCTETS_MAX)
            if hmac.compare_digest(presented.encode(), token.encode()):
                await on_link(link)
        except LinkClosed:
            pass  # callers come and go; who needs to know keeps its own record
        finally:
            await link.close()

    return await asyncio.start_server(admit, address.host, address.port)
