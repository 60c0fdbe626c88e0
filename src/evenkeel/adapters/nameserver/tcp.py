"""Questions, updates and transfers over TCP (RFC 7766): pipelined, replies as they become ready, in any order.

Everything is bounded: connections, messages handled in one turn, updates in flight, octets unsent, transfers at
once; and every wait has its deadline, after which the connection is closed.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from evenkeel.adapters.nameserver.udp import Submit
from evenkeel.nameserver.responder import Responder, TransferWork, UpdateWork
from evenkeel.wire.tsig import StreamSigner

CONNECTIONS_MAX = 1024
IDLE_S = 60.0  # without a whole message, nothing in flight
STALL_S = 30.0  # of a client that does not read what it asked for
MESSAGES_A_TURN = 64
IN_FLIGHT_MAX = 64  # updates of one connection
UNREAD_OCTETS_MAX = 256 * 1024
TRANSFERS_MAX = 16  # of all connections at once
_LENGTH = struct.Struct("!H")

Stream = Callable[[TransferWork], Iterator[bytes]]


@dataclass(slots=True)
class TcpService:
    """What all connections share."""

    responder: Responder
    submit: Submit
    stream: Stream
    now_s: Callable[[], int]
    connections: set[TcpConnection] = field(default_factory=set)
    transfers: int = 0
    refused: int = 0  # connections over the limit

    def close(self) -> None:
        for connection in list(self.connections):
            connection.abort()


class TcpConnection(asyncio.Protocol):
    """One client."""

    def __init__(self, service: TcpService) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._host = ""
        self._received = bytearray()
        self._in_flight = 0
        self._transfers: set[asyncio.Task[None]] = set()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_pumping = False
        self._is_ending = False
        self._deadline: asyncio.TimerHandle | None = None

    # --- what asyncio calls -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if len(self._service.connections) >= CONNECTIONS_MAX:
            self._service.refused += 1
            self._transport.abort()
            return
        self._service.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._host = peer[0] if peer else ""
        self._expect(IDLE_S)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > UNREAD_OCTETS_MAX and self._transport is not None:
            self._transport.pause_reading()
        if not self._is_pumping:
            self._pump()

    def eof_received(self) -> bool:
        self._is_ending = True  # a client may send its last question and close its side
        self._close_if_done()
        return True

    def pause_writing(self) -> None:
        self._may_write.clear()
        self._expect(STALL_S)

    def resume_writing(self) -> None:
        self._may_write.set()
        self._expect(IDLE_S)
        if not self._is_pumping:
            self._pump()

    def connection_lost(self, error: Exception | None) -> None:
        self._service.connections.discard(self)
        self._transport = None
        self._may_write.set()
        if self._deadline is not None:
            self._deadline.cancel()
        for transfer in self._transfers:
            transfer.cancel()

    # --- messages ---------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Handle a bounded number of whole messages; come back in the loop's next turn if there are more."""
        self._is_pumping = False
        handled = 0
        at = 0
        received = self._received
        while self._may_take() and len(received) - at >= 2:
            end = at + 2 + _LENGTH.unpack_from(received, at)[0]
            if end > len(received):
                break
            if handled == MESSAGES_A_TURN:
                self._is_pumping = True
                self._loop.call_soon(self._pump)
                break
            self._handle(bytes(received[at + 2 : end]))
            handled += 1
            at = end
        del received[:at]
        if handled:
            self._expect(IDLE_S)
        if self._transport is not None and len(received) <= UNREAD_OCTETS_MAX and self._may_take():
            self._transport.resume_reading()
        self._close_if_done()

    def _may_take(self) -> bool:
        is_open = self._transport is not None and not self._transport.is_closing()
        return is_open and self._in_flight < IN_FLIGHT_MAX and self._may_write.is_set()

    def _handle(self, message: bytes) -> None:
        reply = self._service.responder.respond(message, self._host, is_tcp=True)
        match reply:
            case bytes():
                self._send(reply)
            case UpdateWork():
                self._in_flight += 1
                if not self._service.submit(reply, self._updated):
                    self.abort()  # too many updates wait; the client learns that its outcome is unknown
            case TransferWork():
                self._begin_transfer(reply)
            case None:
                self.abort()  # not a question: this peer does not speak DNS

    def _updated(self, reply: bytes) -> None:
        self._in_flight -= 1
        self._send(reply)
        if not self._is_pumping and self._received:
            self._is_pumping = True
            self._loop.call_soon(self._pump)
        self._close_if_done()

    def _send(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(_LENGTH.pack(len(message)) + message)

    # --- transfers --------------------------------------------------------------------------------------

    def _begin_transfer(self, work: TransferWork) -> None:
        if self._service.transfers >= TRANSFERS_MAX:
            self.abort()
            return
        task = self._loop.create_task(self._transfer(work))
        self._transfers.add(task)
        task.add_done_callback(self._transferred)
        self._service.transfers += 1

    def _transferred(self, task: asyncio.Task[None]) -> None:
        self._transfers.discard(task)
        self._service.transfers -= 1
        if not task.cancelled() and task.exception() is not None:
            self.abort()
            self._loop.call_exception_handler({"message": "zone transfer failed", "exception": task.exception()})
        self._close_if_done()

    async def _transfer(self, work: TransferWork) -> None:
        signer = StreamSigner(work.signer.key, work.signer.mac) if work.signer is not None else None
        for message in self._service.stream(work):
            await self._may_write.wait()
            if self._transport is None:
                return
            self._send(signer.sign(message, self._service.now_s()) if signer is not None else message)
            self._expect(IDLE_S)
            await asyncio.sleep(0)

    # --- deadlines --------------------------------------------------------------------------------------

    def _expect(self, within_s: float) -> None:
        """Close unless this is called again in time."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(within_s, self._late) if self._transport is not None else None

    def _late(self) -> None:
        if self._in_flight and self._may_write.is_set():
            self._expect(IDLE_S)  # the wait is for our own disk
        else:
            self.abort()

    def _close_if_done(self) -> None:
        is_idle = not self._in_flight and not self._transfers and not self._is_pumping
        if self._is_ending and is_idle and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
