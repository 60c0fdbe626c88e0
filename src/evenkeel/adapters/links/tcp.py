"""Agent links over TCP with mutual TLS 1.3: four octets of big-endian length, then the frame.

Whose frames these are is settled by the certificate of the handshake and by nothing a frame says; TLS itself keeps out
what is forged, replayed or out of order (RFC 8446). A caller without a certificate may do one thing only: send one
frame, its request to join, and read the reply.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import Counter, deque
from collections.abc import Iterator
from typing import cast

from evenkeel.adapters import pki
from evenkeel.adapters.frames import LinkClosed
from evenkeel.adapters.links.base import (
    DOWN_OCTETS_MAX,
    UNSENT_OCTETS_MAX,
    UP_OCTETS_MAX,
    Allowance,
    OnFrames,
    OnJoin,
    OnLinked,
)
from evenkeel.model.errors import EvenkeelError, Refusal, Unreachable
from evenkeel.model.region import HostPort

JOIN_OCTETS_MAX = 32 * 1024
JOINS_MAX = 64  # newcomers at once
HANDSHAKE_DEADLINE_S = 10.0
CONNECT_DEADLINE_S = 5.0
SEND_DEADLINE_S = 10.0
JOIN_DEADLINE_S = 10.0
LINKS_MAX = 200_000
RECEIVED_MAX = 1024  # frames an agent has not looked at yet
BACKLOG = 4096  # a whole fleet may come back within a second
_LENGTH = struct.Struct("!I")


class TcpManagerLinks:
    """`base.ManagerLinks`."""

    def __init__(
        self,
        address: HostPort,
        credentials: pki.Credentials,
        region: str,
        *,
        on_frames: OnFrames,
        on_linked: OnLinked = lambda host, is_up: None,
        on_join: OnJoin | None = None,
    ) -> None:
        self.address = address
        self.refused: Counter[str] = Counter()
        self._credentials = credentials
        self._region = region
        self._on_frames, self._on_linked, self._on_join = on_frames, on_linked, on_join
        self._links: dict[str, _HostSide] = {}
        self._callers: set[_HostSide] = set()
        self._joining: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def linked(self) -> int:
        return len(self._links)

    async def start(self) -> None:
        context = pki.manager_context(self._credentials)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _HostSide(self),
            self.address.host,
            self.address.port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_DEADLINE_S,
            backlog=BACKLOG,
        )
        self.address = HostPort(self.address.host, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._joining:
            task.cancel()
        await asyncio.gather(*self._joining, return_exceptions=True)
        for caller in list(self._callers):
            caller.abort()

    def send(self, host: str, frame: bytes) -> bool:
        link = self._links.get(host)
        return link is not None and link.send(frame)

    def is_linked(self, host: str) -> bool:
        return host in self._links

    def drop(self, host: str) -> None:
        link = self._links.get(host)
        if link is not None:
            link.abort()

    # --- what connections tell ------------------------------------------------------------------------

    def admit(self, link: _HostSide, tls: ssl.SSLObject | None) -> None:
        """Settle who has called, or drop it."""
        if len(self._callers) >= LINKS_MAX:
            self.refuse(link, "too many links")
            return
        self._callers.add(link)
        identity = pki.peer_identity(tls)
        if tls is not None and not tls.getpeercert() and self._on_join is not None:
            link.is_joining = True
        elif identity is None or identity.role is not pki.Role.HOST or identity.region != self._region:
            self.refuse(link, "not a host of this region")
        else:
            link.host = identity.name
            before = self._links.get(link.host)
            self._links[link.host] = link
            if before is not None:
                before.abort()
            self._on_linked(link.host, True)

    def refuse(self, link: _HostSide, why: str) -> None:
        self.refused[why] += 1
        link.abort()

    def take(self, link: _HostSide, frames: list[bytes], now_s: float) -> None:
        if link.is_joining:
            self._take_newcomer(link, frames)
        elif not link.allowance.takes(len(frames), now_s):
            self.refuse(link, "too many frames")
        elif self._links.get(link.host) is link:  # else another link of the same host has taken over
            self._on_frames(link.host, frames)

    def lost(self, link: _HostSide) -> None:
        self._callers.discard(link)
        if link.host and self._links.get(link.host) is link:
            del self._links[link.host]
            self._on_linked(link.host, False)

    def _take_newcomer(self, link: _HostSide, frames: list[bytes]) -> None:
        if link.has_asked or len(frames) != 1:
            self.refuse(link, "more than one request to join")
        elif len(self._joining) >= JOINS_MAX:
            self.refuse(link, "too many newcomers at once")
        else:
            link.has_asked = True
            task = asyncio.get_running_loop().create_task(self._join(link, frames[0]))
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    async def _join(self, link: _HostSide, request: bytes) -> None:
        on_join = cast("OnJoin", self._on_join)  # without it nobody is joining
        try:
            async with asyncio.timeout(JOIN_DEADLINE_S):
                link.send(await on_join(request))
                link.close()
        except (EvenkeelError, TimeoutError) as error:
            self.refuse(link, "refused to join" if isinstance(error, Refusal) else "could not be joined")


class _HostSide(asyncio.Protocol):
    """One connection, at the manager."""

    def __init__(self, links: TcpManagerLinks) -> None:
        self.host = ""
        self.is_joining = False
        self.has_asked = False
        self._links = links
        self._loop = asyncio.get_running_loop()
        self.allowance = Allowance(self._loop.time())
        self._transport: asyncio.Transport | None = None
        self._frames = _Cutter(UP_OCTETS_MAX)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        _keep_alive(self._transport)
        self._links.admit(self, self._transport.get_extra_info("ssl_object"))

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self.is_joining and self._frames.held + len(data) > JOIN_OCTETS_MAX:
            self._links.refuse(self, "a frame too large")
            return
        try:
            frames = list(self._frames.cut(data))
        except LinkClosed:
            self._links.refuse(self, "a frame too large")
            return
        if frames:
            self._links.take(self, frames, self._loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._links.lost(self)

    def send(self, frame: bytes) -> bool:
        if self._transport is None or self._transport.is_closing() or len(frame) > DOWN_OCTETS_MAX:
            return False
        if self._transport.get_write_buffer_size() > UNSENT_OCTETS_MAX:
            self._links.refuse(self, "does not take frames")
            return False
        self._transport.write(_LENGTH.pack(len(frame)) + frame)
        return True

    def close(self) -> None:
        """End it once what was sent has gone."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Cutter:
    """Cuts a stream of octets into frames."""

    __slots__ = ("_held", "_octets_max")

    def __init__(self, octets_max: int) -> None:
        self._held = bytearray()
        self._octets_max = octets_max

    @property
    def held(self) -> int:
        return len(self._held)

    def cut(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole with `data`. Raises `LinkClosed` at one that is too long."""
        self._held += data
        at = 0
        while len(self._held) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held, at)
            if length > self._octets_max:
                raise LinkClosed(f"a frame of {length} octets is over {self._octets_max}")
            end = at + _LENGTH.size + length
            if len(self._held) < end:
                break
            yield bytes(self._held[at + _LENGTH.size : end])
            at = end
        del self._held[:at]


# --- the agent's end --------------------------------------------------------------------------------


class TcpAgentLink(asyncio.Protocol):
    """`base.AgentLink`; `connect` makes one."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._frames = _Cutter(DOWN_OCTETS_MAX)
        self._received: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._why = ""

    async def send(self, frame: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise LinkClosed(self._why or "the link is closed")
        self._transport.write(_LENGTH.pack(len(frame)) + frame)
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await self._writable.wait()
        except TimeoutError:
            self._cut("the manager does not take frames")
            raise LinkClosed(self._why) from None

    async def receive(self, deadline_s: float) -> bytes | None:
        try:
            async with asyncio.timeout(deadline_s):
                while not self._received:
                    if self._why:
                        raise LinkClosed(self._why)
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            return None
        return self._received.popleft()

    async def close(self) -> None:
        self._cut("closed here")

    # --- asyncio.Protocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        _keep_alive(self._transport)

    @property
    def manager(self) -> pki.Identity | None:
        """Who answered, by its certificate."""
        return pki.peer_identity(self._transport.get_extra_info("ssl_object")) if self._transport else None

    def data_received(self, data: bytes) -> None:
        try:
            self._received.extend(self._frames.cut(data))
        except LinkClosed as error:
            self._cut(str(error))
        if len(self._received) > RECEIVED_MAX:
            self._cut("more frames than can be looked at")
        self._more.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._why = self._why or (repr(exc) if exc else "the manager closed the link")
        self._more.set()
        self._writable.set()

    def _cut(self, why: str) -> None:
        self._why = self._why or why
        if self._transport is not None:
            self._transport.abort()
        self._more.set()


async def connect(
    address: HostPort, context: ssl.SSLContext, manager: pki.Identity, deadline_s: float = CONNECT_DEADLINE_S
) -> TcpAgentLink:
    """A link to `manager` at `address`. Raises `Unreachable`; also where another answers, whatever it claims."""
    try:
        async with asyncio.timeout(deadline_s):
            transport, link = await asyncio.get_running_loop().create_connection(
                TcpAgentLink, address.host, address.port, ssl=context, ssl_handshake_timeout=deadline_s
            )
    except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
        raise Unreachable(f"manager at {address}: {error!r}") from error
    if link.manager != manager:
        transport.abort()
        raise Unreachable(f"{address} answered as {link.manager}, not as {manager.uri}")
    return link


async def ask_to_join(address: HostPort, context: ssl.SSLContext, manager: pki.Identity, request: bytes) -> bytes:
    """The manager's reply to a newcomer's request. Raises `Unreachable`, also where it does not want to reply."""
    link = await connect(address, context, manager)
    try:
        await link.send(request)
        reply = await link.receive(JOIN_DEADLINE_S)
    finally:
        await link.close()
    if reply is None:
        raise Unreachable(f"manager at {address}: no reply to the request to join within {JOIN_DEADLINE_S:g} s")
    return reply


def _keep_alive(transport: asyncio.Transport) -> None:
    """Leases are renewed minutes apart: a peer that is gone without a word is found out by the kernel."""
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
