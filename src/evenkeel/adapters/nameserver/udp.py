"""Questions over UDP, the hot path: many datagrams a wake-up, one dictionary look-up for each plain question.

A question that was asked before in the same octets is answered from `ready_packets`, without being parsed. Everything
else goes the long way through `Responder.respond`, with the same replies.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from evenkeel.adapters.nameserver.datagram_batch import (
    BATCH,
    LENGTH_AT,
    LENGTH_STRIDE,
    RECEIVE_SLOT,
    DatagramBatch,
    is_available,
)
from evenkeel.adapters.nameserver.rate_limit import RateLimit
from evenkeel.model.region import HostPort
from evenkeel.nameserver.answers import UDP_OCTETS_MAX
from evenkeel.nameserver.responder import Responder, UpdateWork

DATAGRAMS_A_TURN = 128  # then other work of the loop has its turn
RECEIVE_BUFFER_OCTETS = 4 << 20

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
    """Serves one bound socket on the running loop until `close`. This one works wherever Python does."""

    def __init__(
        self,
        bound: socket.socket,
        responder: Responder,
        submit: Submit,
        limit: RateLimit | None,
    ) -> None:
        self._socket = bound
        self._responder = responder
        self._submit = submit
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound, self._drain)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _drain(self) -> None:
        """Answer what waits, up to a bound."""
        receive, send = self._socket.recvfrom, self._socket.sendto
        packets, limit, family = self._responder.packets.ready.get, self._limit, self._socket.family
        ready = 0
        for _ in range(DATAGRAMS_A_TURN):
            try:
                message, peer = receive(RECEIVE_SLOT)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # an ICMP error that an earlier reply met; the next datagram is not to blame
            if limit is not None and not limit.allows(socket.inet_pton(family, peer[0].partition("%")[0])):
                self._slip(message, peer)
                continue
            reply = packets(message[2:])
            if reply is None:
                self._respond(message, peer)
                continue
            ready += 1
            try:  # noqa: SIM105 - a context manager costs as much as the look-up
                send(message[:2] + reply(), peer)
            except OSError:
                pass  # a full buffer or an unreachable client: UDP may lose a reply
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


class BatchedUdpListener(UdpListener):
    """The same by whole batches, where the kernel offers that: two system calls for up to 64 questions."""

    def __init__(self, bound: socket.socket, responder: Responder, submit: Submit, limit: RateLimit | None) -> None:
        self._batch = DatagramBatch(bound)
        super().__init__(bound, responder, submit, limit)

    def _drain(self) -> None:
        batch, packets, limit = self._batch, self._responder.packets.ready.get, self._limit
        received, lengths = batch.received, batch.lengths
        for _ in range(DATAGRAMS_A_TURN // BATCH):
            count = batch.receive()
            replies = []
            for k in range(count):
                at = k * RECEIVE_SLOT
                message = received[at : at + lengths[k * LENGTH_STRIDE + LENGTH_AT]].tobytes()
                if limit is not None and not limit.allows(batch.sender(k)):
                    self._slip(message, batch.peer(k))
                    continue
                reply = packets(message[2:])
                if reply is None:
                    self._respond(message, batch.peer(k))
                else:
                    replies.append((k, message[:2] + reply()))
            batch.send(replies)
            self._responder.counts.ready += len(replies)
            if count < BATCH:
                break


def udp_listener(bound: socket.socket, responder: Responder, submit: Submit, limit: RateLimit | None) -> UdpListener:
    """The quickest one that works here."""
    kind = BatchedUdpListener if is_available() else UdpListener
    return kind(bound, responder, submit, limit)
