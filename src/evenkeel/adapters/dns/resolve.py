"""Asking one authoritative server as a client's resolver would: UDP first, TCP where a reply is truncated.

Thousands of questions are in flight over one socket a server, bounded by `IN_FLIGHT_MAX`; a lost datagram is sent
again within the deadline. Replies are matched by address, id and question (RFC 5452 section 9.1).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from dataclasses import dataclass, field
from types import TracebackType
from typing import cast

from evenkeel.adapters.dns.failures import NotSent, ServerRefused
from evenkeel.model.errors import Unreachable
from evenkeel.model.records import Rcode
from evenkeel.model.region import HostPort
from evenkeel.ports import resolver as port
from evenkeel.wire.names import Malformed, encode_name, read_name
from evenkeel.wire.rdata import TYPE_CODES, TYPE_NAMES, read_rdata

IN_FLIGHT_MAX = 512  # a server: what a default UDP receive buffer holds of replies
ATTEMPTS = 3
ALIASES_MAX = 8
UDP_OCTETS = 1232  # fits into every path's packets (DNS flag day 2020)
_RECEIVE_BUFFER_OCTETS = 4 * 1024 * 1024
_OPT = b"\0" + struct.pack("!HHIH", 41, UDP_OCTETS, 0, 0)  # RFC 6891
_TRUNCATED, _AUTHORITATIVE = 0x02, 0x04


@dataclass(frozen=True, slots=True)
class Resolved:
    """One server's answer. `addresses` (or other texts) are sorted; `aliases` are the CNAMEs gone through, in order."""

    rcode: int
    addresses: tuple[str, ...] = ()
    ttl_s: int = 0  # the shortest on the way
    aliases: tuple[str, ...] = ()
    authoritative: bool = False


@dataclass(slots=True)
class _Answer:
    """The answer section of one reply: texts and aliases by owner."""

    rcode: int
    authoritative: bool
    texts: dict[str, list[str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    ttls: dict[str, int] = field(default_factory=dict)


class ServerResolver:
    """Questions to authoritative servers. An `async with` block; made and used on one event loop."""

    def __init__(self, deadline_s: float = 2.0) -> None:
        self._deadline_s = deadline_s
        self._sockets: dict[HostPort, _Socket] = {}
        self._opening: dict[HostPort, asyncio.Lock] = {}

    async def __aenter__(self) -> ServerResolver:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()

    async def resolve(self, server: HostPort, name: str, rtype: str, deadline_s: float | None = None) -> Resolved:
        """Ask `server`, following aliases as far as it knows them. Raises `Unreachable` where it does not answer."""
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        asked = await self._socket(server)
        try:
            async with asyncio.timeout(limit_s), asked.slots:
                return await _follow(asked, name, rtype, limit_s)
        except TimeoutError as error:
            raise Unreachable(f"{server}: no answer for {name} {rtype} within {limit_s} s") from error
        except OSError as error:
            raise Unreachable(f"{server}: {name} {rtype}: {error!r}") from error
        except Malformed as error:
            raise Unreachable(f"{server}: garbage instead of an answer for {name} {rtype}: {error}") from error

    async def addresses(self, server: HostPort, name: str, ipv4: bool, ipv6: bool) -> port.Resolved:
        """`ports.resolver.Resolver`: both families wanted, asked at once."""
        wanted = [rtype for rtype, is_wanted in (("A", ipv4), ("AAAA", ipv6)) if is_wanted]
        answers = await asyncio.gather(*(self.resolve(server, name, rtype) for rtype in wanted))
        found: dict[str, tuple[str, ...]] = {}
        for rtype, answer in zip(wanted, answers, strict=True):
            if answer.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
                raise ServerRefused(answer.rcode, f"{server}: {name} {rtype}")
            found[rtype] = answer.addresses
        return port.Resolved(found.get("A", ()), found.get("AAAA", ()))

    async def _socket(self, server: HostPort) -> _Socket:
        async with self._opening.setdefault(server, asyncio.Lock()):
            found = self._sockets.get(server)
            if found is None or found.closed:
                found = self._sockets[server] = await _open(server)
            return found


async def resolve(server: HostPort, name: str, rtype: str, deadline_s: float) -> Resolved:
    """One question; many go better over one `ServerResolver`. Raises `Unreachable`."""
    async with ServerResolver(deadline_s) as resolver:
        return await resolver.resolve(server, name, rtype)


async def _follow(asked: _Socket, name: str, rtype: str, limit_s: float) -> Resolved:
    """The server's answer for `name`, asked again at the end of an alias that it did not follow itself."""
    aliases: list[str] = []
    ttl_s = 2**31
    wanted = name
    while True:
        answer = await asked.ask(wanted, rtype, limit_s)
        while wanted in answer.aliases and len(aliases) <= ALIASES_MAX:
            ttl_s = min(ttl_s, answer.ttls[wanted])
            wanted = answer.aliases[wanted]
            aliases.append(wanted)
        texts = answer.texts.get(wanted)
        if texts:
            ttl_s = min(ttl_s, answer.ttls[wanted])
            found = tuple(sorted(texts))
            return Resolved(answer.rcode, found, ttl_s, tuple(aliases), answer.authoritative)
        stuck = answer.rcode != Rcode.NOERROR or not answer.aliases or len(aliases) > ALIASES_MAX
        if stuck:
            return Resolved(answer.rcode, (), 0, tuple(aliases), answer.authoritative)


class _Socket(asyncio.DatagramProtocol):
    """One connected UDP socket to one server."""

    def __init__(self, server: HostPort) -> None:
        self.closed = False
        self.slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}

    async def ask(self, name: str, rtype: str, limit_s: float) -> _Answer:
        question = encode_name(name) + struct.pack("!HH", TYPE_CODES[rtype], 1)
        message_id, reply = self._expect(question)
        query = struct.pack("!6H", message_id, 0, 1, 0, 0, 1) + question + _OPT
        try:
            for attempt in range(ATTEMPTS):
                if self._transport is None or self.closed:
                    raise NotSent(f"{self._server}: the socket is closed")
                self._transport.sendto(query)
                wait_s = None if attempt == ATTEMPTS - 1 else limit_s / 4
                done, _ = await asyncio.wait((reply,), timeout=wait_s)
                if done:
                    break
            message = reply.result()
        finally:
            self._waiting.pop(message_id, None)
        if message[2] & _TRUNCATED:
            message = await _ask_by_tcp(self._server, query, question)
        return _parse(message, TYPE_CODES[rtype])

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        for _, reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(NotSent(f"{self._server}: the socket was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # UDP gives no other, though asyncio's own class does not derive from it before Python 3.12.
        self._transport = cast("asyncio.DatagramTransport", transport)
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_OCTETS)

    def datagram_received(self, data: bytes, addr: object) -> None:
        waiting = self._waiting.get(int.from_bytes(data[:2], "big"))
        if waiting is None or not _answers(data, waiting[0]):
            return  # late, forged or broken: the question stays open until its deadline
        if not waiting[1].done():
            waiting[1].set_result(data)

    def error_received(self, exc: Exception) -> None:
        """ICMP: nobody listens there, for now. Whoever waits has it at once."""
        for _, reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(NotSent(f"{self._server}: {exc!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def _expect(self, question: bytes) -> tuple[int, asyncio.Future[bytes]]:
        while True:
            message_id = secrets.randbelow(1 << 16)
            if message_id not in self._waiting:
                break
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[message_id] = (question, reply)
        return message_id, reply


async def _open(server: HostPort) -> _Socket:
    loop = asyncio.get_running_loop()
    try:
        _, opened = await loop.create_datagram_endpoint(lambda: _Socket(server), remote_addr=(server.host, server.port))
    except OSError as error:
        raise NotSent(f"{server}: {error!r}") from error
    return opened


async def _ask_by_tcp(server: HostPort, query: bytes, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        try:
            reply = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        except asyncio.IncompleteReadError as error:
            raise Malformed("the connection ended within a reply") from error
    finally:
        writer.transport.abort()
    if reply[:2] != query[:2] or not _answers(reply, question):
        raise Malformed("a reply to another question")
    return reply


def _answers(reply: bytes, question: bytes) -> bool:
    """Whether `reply` is one to `question`, whose name may come back in other letters' case."""
    if len(reply) < 12 or not reply[2] & 0x80:
        return False
    if not int.from_bytes(reply[4:6], "big"):
        return bool(reply[3] & 0xF)  # an error may leave the question out
    return reply[12 : 12 + len(question)].lower() == question


def _parse(message: bytes, wanted: int) -> _Answer:
    try:
        return _parsed(message, wanted)
    except (IndexError, struct.error, ValueError) as error:
        raise Malformed("an answer that is broken") from error


def _parsed(message: bytes, wanted: int) -> _Answer:
    questions, answers = struct.unpack_from("!2H", message, 4)
    found = _Answer(message[3] & 0xF, bool(message[2] & _AUTHORITATIVE))
    seen: dict[int, str] = {}
    at = 12
    for _ in range(questions):
        at = read_name(message, at, seen)[1] + 4
    for _ in range(answers):
        name, at = read_name(message, at, seen)
        rtype, _, ttl_s, rdlength = struct.unpack_from("!HHIH", message, at)
        at += 10
        if rtype in (wanted, TYPE_CODES["CNAME"]) and rtype in TYPE_NAMES:
            text = read_rdata(message, rtype, at, at + rdlength, seen)
            found.ttls[name] = min(ttl_s, found.ttls.get(name, ttl_s))
            if rtype == wanted:
                found.texts.setdefault(name, []).append(text)
            else:
                found.aliases[name] = text
        at += rdlength
    return found
