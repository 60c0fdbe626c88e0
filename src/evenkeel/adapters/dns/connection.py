"""Signed exchanges over one TCP connection, many in flight (RFC 7766 section 6.2.1.1: replies come in any order).

Every request carries our signature and every reply is held to it. What cannot be a reply of that server to a request
of ours (wrong id, wrong MAC, unsigned, broken framing) ends the connection at once, and with it the fate of every
request in flight is unknown: a stream that has lied once is not read on.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import cast

from evenkeel.adapters.dns.failures import NotSent, OutcomeUnknown, rcode_name
from evenkeel.adapters.dns.server_clock import ServerClock
from evenkeel.model.records import Rcode
from evenkeel.model.region import HostPort
from evenkeel.model.transactions import PREREQUISITE_RCODES
from evenkeel.wire.names import Malformed
from evenkeel.wire.tsig import BADTIME, TsigFailure, TsigKey, sign, verify

_HEADER_OCTETS = 12
_TIME_OCTETS = 6  # RFC 8945 section 5.2.3
_IDS = 1 << 16
IN_FLIGHT_MAX = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said. `message` is without its signature; `tsig_error` is 0 unless our key was not accepted."""

    rcode: int
    message: bytes
    tsig_error: int = 0


@dataclass(slots=True)
class _Waiting:
    future: asyncio.Future[Reply]
    mac: bytes
    opcode: int
    deadline: float


class Connection(asyncio.Protocol):
    """Made by `connect`. Not usable after `closed` is true; its owner makes another."""

    def __init__(self, server: HostPort, key: TsigKey, exchange_deadline_s: float, clock: ServerClock) -> None:
        self.closed = False
        self._server = server
        self._key = key
        self._deadline_s = exchange_deadline_s
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: dict[int, _Waiting] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._why_closed = "closed"

    def exchange(self, message: bytes) -> asyncio.Future[Reply]:
        """Sign and send `message` (its id is replaced by a fresh one). The future ends within the deadline.

        Raises `NotSent` where the connection is gone; the future `OutcomeUnknown` where no sound reply came.
        """
        if self.closed or self._transport is None:
            raise NotSent(f"{self._server}: {self._why_closed}")
        if len(self._waiting) >= IN_FLIGHT_MAX:
            raise NotSent(f"{self._server}: {IN_FLIGHT_MAX} exchanges are in flight already")
        message_id = self._fresh_id()
        bare = message_id.to_bytes(2, "big") + message[2:]
        signed, mac = sign(bare, self._key, int(self._clock.now_s()))
        deadline = self._loop.time() + self._deadline_s
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[message_id] = _Waiting(future, mac, message[2] >> 3 & 0xF, deadline)
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._overdue)
        self._transport.write(len(signed).to_bytes(2, "big") + signed)
        return future

    def close(self, why: str = "closed") -> None:
        """End the connection; what is in flight ends with `OutcomeUnknown`. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._why_closed = why
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            if not one.future.done():
                one.future.set_exception(OutcomeUnknown(f"{self._server}: {why}"))

    # --- asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # TCP gives no other

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"connection lost: {exc!r}" if exc else "the server closed the connection")

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at = 0
        while len(received) - at >= 2 and not self.closed:
            end = at + 2 + int.from_bytes(received[at : at + 2], "big")
            if len(received) < end:
                break
            try:
                self._take(bytes(received[at + 2 : end]))
            except (Malformed, TsigFailure) as error:
                self.close(f"garbage instead of a reply: {error}")
            at = end
        del received[:at]

    # --- replies --------------------------------------------------------------------------------------

    def _take(self, frame: bytes) -> None:
        if len(frame) < _HEADER_OCTETS:
            raise Malformed(f"message of {len(frame)} octets")
        waiting = self._waiting.get(int.from_bytes(frame[:2], "big"))
        if waiting is None:
            raise Malformed("a reply to no request of ours")
        if not frame[2] & 0x80 or frame[2] >> 3 & 0xF != waiting.opcode:
            raise Malformed("not a reply, or of another opcode")
        reply = self._authentic(frame, waiting.mac)
        del self._waiting[int.from_bytes(frame[:2], "big")]
        if not waiting.future.done():
            waiting.future.set_result(reply)

    def _authentic(self, frame: bytes, mac: bytes) -> Reply:
        rcode = frame[3] & 0xF
        try:
            bare, _ = verify(frame, self._key, int(self._clock.now_s()), request_mac=mac)
        except TsigFailure as failure:
            if failure.tsig is not None and failure.tsig.error == failure.error:
                if failure.error == BADTIME and len(failure.tsig.other) == _TIME_OCTETS:
                    self._clock.set_by(int.from_bytes(failure.tsig.other, "big"))  # its MAC held, see `verify`
                return Reply(rcode, frame, failure.error)
            # A server that could not read the request, or has no such key, answers without a signature. Such a
            # word is taken only where it claims that nothing was done, and never as a prerequisite's verdict.
            believable = failure.tsig is None and rcode not in PREREQUISITE_RCODES and rcode != Rcode.NOERROR
            if not believable:
                raise TsigFailure(failure.error, f"{rcode_name(rcode)}, but {failure}") from failure
            return Reply(rcode, frame)
        return Reply(rcode, bare)

    def _overdue(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        oldest = min(one.deadline for one in self._waiting.values())
        if oldest <= self._loop.time():
            self.close(f"no reply within {self._deadline_s} s")
        else:
            self._timer = self._loop.call_at(oldest, self._overdue)

    def _fresh_id(self) -> int:
        while True:
            message_id = secrets.randbelow(_IDS)
            if message_id not in self._waiting:
                return message_id


async def connect(
    server: HostPort,
    key: TsigKey,
    *,
    connect_deadline_s: float,
    exchange_deadline_s: float,
    clock: ServerClock,
) -> Connection:
    """Raises `NotSent`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_deadline_s):
            _, connection = await loop.create_connection(
                lambda: Connection(server, key, exchange_deadline_s, clock), server.host, server.port
            )
    except (OSError, TimeoutError) as error:
        raise NotSent(f"{server}: {error!r}") from error
    return connection
