"""As much of an HTTP/1.1 client (RFC 9112) as calls to evenkeel's own front ends need: kept connections, deadlines.

Replies carry a Content-Length, which uvicorn gives every body that is known when it is sent; anything else is refused.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass

from evenkeel.model.errors import Unreachable
from evenkeel.model.region import HostPort

CONNECT_DEADLINE_S = 1.0
HEAD_OCTETS_MAX = 16 * 1024
IDLE_KEPT_MAX = 4  # connections to one address
IDLE_KEPT_S = 3.0  # less than the front ends keep them


class NotSent(Unreachable):
    """Nothing reached the other side: it may be tried elsewhere."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since_s: float = 0.0


class HttpCaller:
    """Requests to any number of addresses, one at a time on a connection. Used on one event loop."""

    def __init__(self, octets_max: int) -> None:
        self._octets_max = octets_max
        self._idle: defaultdict[HostPort, deque[_Connection]] = defaultdict(deque)

    async def request(
        self, address: HostPort, method: str, path: str, headers: dict[str, str], body: bytes, deadline_s: float
    ) -> Reply:
        """Raises `NotSent` where nothing was sent, else `Unreachable`: then it may have been done."""
        try:
            async with asyncio.timeout(deadline_s):
                connection = self._take(address) or await self._open(address)
                try:
                    reply = await _exchange(
                        connection, _encoded(address, method, path, headers, body), self._octets_max
                    )
                except BaseException:
                    connection.writer.transport.abort()
                    raise
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as error:
            raise Unreachable(f"{method} http://{address}{path}: {error!r}") from error
        self._keep(address, connection, reply)
        return reply

    def close(self) -> None:
        for waiting in self._idle.values():
            for connection in waiting:
                connection.writer.transport.abort()
        self._idle.clear()

    def forget(self, address: HostPort) -> None:
        """Close what is kept for `address`: it has just failed."""
        for connection in self._idle.pop(address, ()):
            connection.writer.transport.abort()

    def _take(self, address: HostPort) -> _Connection | None:
        waiting, now_s = self._idle[address], asyncio.get_running_loop().time()
        while waiting:
            connection = waiting.pop()
            is_fresh = now_s - connection.idle_since_s < IDLE_KEPT_S
            if is_fresh and not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.writer.transport.abort()
        return None

    async def _open(self, address: HostPort) -> _Connection:
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                return _Connection(*await asyncio.open_connection(address.host, address.port, limit=HEAD_OCTETS_MAX))
        except (OSError, TimeoutError) as error:
            raise NotSent(f"{address}: {error!r}") from error

    def _keep(self, address: HostPort, connection: _Connection, reply: Reply) -> None:
        waiting = self._idle[address]
        if reply.headers.get("connection", "").lower() == "close" or len(waiting) >= IDLE_KEPT_MAX:
            connection.writer.close()
        else:
            connection.idle_since_s = asyncio.get_running_loop().time()
            waiting.append(connection)


async def _exchange(connection: _Connection, request: bytes, octets_max: int) -> Reply:
    connection.writer.write(request)
    await connection.writer.drain()
    head = await connection.reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    version, status, *_ = first.split(" ", 2)
    length = int(headers.get("content-length", "-1"))
    if not version.startswith("HTTP/1.") or not 0 <= length <= octets_max:
        raise ValueError(f"{first!r:.100} with {length} octets is no reply to take")
    return Reply(int(status), headers, await connection.reader.readexactly(length))


def _encoded(address: HostPort, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
