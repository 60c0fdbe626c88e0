"""NOTIFY to the secondaries after a commit (RFC 1996): at once, then again until each has answered.

Commits that follow one another quickly share a notification. It is signed with the zone's key; a secondary that
does not know the key gets it unsigned, as its address list may be all that it goes by.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable

from evenkeel.model.region import HostPort
from evenkeel.wire.octets import name_text
from evenkeel.wire.rdata import TYPE_CODES
from evenkeel.wire.records import CLASS_IN, FIXED, HEADER
from evenkeel.wire.tsig import TsigKey, sign

ATTEMPTS_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # how long each attempt waits for its answer
PAUSE_S = 0.02  # between two notifications to one secondary
_OPCODE_AA = 0x2400  # NOTIFY, authoritative
_REPLY = 0xA0  # QR and opcode NOTIFY, in the third octet


def encode_notify(message_id: int, apex: bytes, soa_ttl_s: int, soa: bytes) -> bytes:
    """Unsigned, with the new SOA as a hint (RFC 1996 section 3.7)."""
    question = apex + TYPE_CODES["SOA"].to_bytes(2, "big") + CLASS_IN.to_bytes(2, "big")
    answer = b"\xc0\x0c" + FIXED.pack(TYPE_CODES["SOA"], CLASS_IN, soa_ttl_s, len(soa)) + soa
    return HEADER.pack(message_id, _OPCODE_AA, 1, 1, 0, 0) + question + answer


class Notifier:
    """Keeps one secondary of one zone informed. `changed` from the loop, `run` is its task."""

    def __init__(
        self, apex: bytes, secondary: HostPort, source: str, key: TsigKey | None, soa: Callable[[], tuple[int, bytes]]
    ) -> None:
        self.apex = apex
        self._secondary = secondary
        self._source = source
        self._key = key
        self._soa = soa
        self._changed = asyncio.Event()
        self.sent = 0
        self.answered = 0
        self.last_error = ""

    @property
    def label(self) -> str:
        return f"{name_text(self.apex)} at {self._secondary}"

    def changed(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._notify()
            await asyncio.sleep(PAUSE_S)

    async def _notify(self) -> None:
        """Until it is answered, given up, or overtaken by a newer change."""
        key = self._key
        for wait_s in ATTEMPTS_S:
            try:
                rcode = await self._exchange(key, wait_s)
            except (OSError, TimeoutError) as error:
                self.last_error = repr(error)
            else:
                if rcode == 0:
                    self.answered += 1
                    self.last_error = ""
                    return
                self.last_error = f"rcode {rcode}"
                if key is None:
                    return
                key = None
            if self._changed.is_set():
                return

    async def _exchange(self, key: TsigKey | None, wait_s: float) -> int:
        """The reply's code. Raises `OSError` or `TimeoutError`."""
        message_id = secrets.randbits(16)
        message = encode_notify(message_id, self.apex, *self._soa())
        if key is not None:
            message, _ = sign(message, key, int(time.time()))
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._secondary.host else socket.AF_INET
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as udp:
            udp.setblocking(False)
            if (":" in self._source) == (family == socket.AF_INET6):
                udp.bind((self._source, 0))  # secondaries go by the address that they know as their primary's
            udp.connect((self._secondary.host, self._secondary.port))
            self.sent += 1
            await loop.sock_sendall(udp, message)
            async with asyncio.timeout(wait_s):
                while True:
                    reply = await loop.sock_recv(udp, 4096)
                    if len(reply) >= 12 and reply[:2] == message[:2] and reply[2] & 0xF8 == _REPLY:
                        return reply[3] & 15
