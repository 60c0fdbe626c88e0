"""Questions over UDP, the hot path: many datagrams a wake-up, one dictionary look-up for each plain question.

A question that was asked before, in lowercase, without EDNS or with an OPT record that has no options, is answered
from its ring without being parsed. Everything else goes the long way through `Responder.respond`, with the same
replies.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Mapping

from evenkeel.adapters.nameserver.rate_limit import RateLimit
from evenkeel.model.region import HostPort
from evenkeel.nameserver.answers import OPT_RECORD, UDP_OCTETS_MAX, Ring
from evenkeel.nameserver.request import UDP_OCTETS_DEFAULT
from evenkeel.nameserver.responder import Responder, UpdateWork

DATAGRAMS_A_TURN = 128  # then other work of the loop has its turn
DATAGRAM_OCTETS_MAX = 4096  # of a request; UPDATEs that are larger come over TCP
RECEIVE_BUFFER_OCTETS = 4 << 20

_OPT_OCTETS = len(OPT_RECORD)
_OPT_HEAD = OPT_RECORD[:3]

# Flags and counts of a plain question: RD, AD and CD set or not; one question, with or without one OPT record.
# The mode is an index into `Ring.heads`.
_MODES = {
    struct.pack("!6H", 0, flags, 1, 0, 0, edns)[2:]: (1 if flags & 0x100 else 0) | edns << 1
    for edns in (0, 1)
    for flags in (0x000, 0x010, 0x020, 0x030, 0x100, 0x110, 0x120, 0x130)
}

Submit = Callable[[UpdateWork, Callable[[bytes], None]], bool]


def bound_socket(address: HostPort, kind: socket.SocketKind) -> socket.socket:
    """A non-blocking socket at `address`. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, kind)
    try:
        bound.setblocking(False)
        if kind is socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address.host, address.port))
    except OSError:
        bound.close()
        raise
    return bound


class UdpListener:
    """Serves one bound socket on the running loop until `close`."""

    def __init__(
        self,
        bound: socket.socket,
        rings: Mapping[bytes, Ring],
        responder: Responder,
        submit: Submit,
        limit: RateLimit | None,
    ) -> None:
        self._socket = bound
        self._rings = rings
        self._responder = responder
        self._submit = submit
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound, self._drain)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _drain(self) -> None:
        receive, send = self._socket.recvfrom, self._socket.sendto
        rings, modes, limit = self._rings.get, _MODES.get, self._limit
        ready = 0
        for _ in range(DATAGRAMS_A_TURN):
            try:
                message, peer = receive(DATAGRAM_OCTETS_MAX)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # an ICMP error that an earlier reply met; the next datagram is not to blame
            if limit is not None and not limit.allows(peer[0]):
                self._slip(message, peer)
                continue
            # The shortest way, in line: a call costs as much as the rest of it.
            mode = modes(message[2:12])
            if mode is not None:
                if mode < 2:
                    question, opt = message[12:], b""
                elif message[-11:-8] == _OPT_HEAD and message[-6:-4] == b"\0\0" and message[-2:] == b"\0\0":
                    question, opt = message[12:-_OPT_OCTETS], OPT_RECORD
                else:
                    question = b""
                ring = rings(question)
                if ring is not None:
                    tails, at = ring.tails, ring.at
                    ring.at = at + 1 if at + 1 < len(tails) else 0
                    tail = tails[at] + ring.soa_at + ring.zone.soa_tail if ring.soa_at else tails[at]
                    reply = b"".join((message[:2], ring.heads[mode], question, tail, opt))
                    if len(reply) <= UDP_OCTETS_DEFAULT:
                        ready += 1
                        try:  # noqa: SIM105 - a context manager costs as much as the look-up
                            send(reply, peer)
                        except OSError:
                            pass  # a full buffer or an unreachable client: UDP may lose a reply
                        continue
            self._respond(message, peer)
        self._responder.counts.ready += ready

    def _respond(self, message: bytes, peer: tuple[str, int]) -> None:
        reply = self._responder.respond(message, peer[0], is_tcp=False)
        if isinstance(reply, bytes):
            self._send(reply, peer)
        elif isinstance(reply, UpdateWork):
            # Too many waiting: no reply, and the client tries again later.
            self._submit(reply, lambda answer: self._send(answer, peer))

    def _slip(self, message: bytes, peer: tuple[str, int]) -> None:
        """Over its rate: one in a few gets the truncation bit, so that an honest client comes over TCP."""
        if self._limit is not None and self._limit.slips() and len(message) >= 12 and not message[2] & 0xF8:
            self._send(message[:2] + bytes((0x82 | message[2] & 1, 0)) + bytes(8), peer)

    def _send(self, reply: bytes, peer: tuple[str, int]) -> None:
        if len(reply) > UDP_OCTETS_MAX or self._socket.fileno() < 0:
            return
        with contextlib.suppress(OSError):  # as above
            self._socket.sendto(reply, peer)
