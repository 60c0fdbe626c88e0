"""The server in this process, on loopback, with a blocking client beside it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from evenkeel.adapters.nameserver.server import EmbeddedNameserver, Settings
from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.region import HostPort, Zone
from evenkeel.model.transactions import AddRRs, Transaction
from evenkeel.wire.tsig import sign, verify
from evenkeel.wire.update import encode_update
from tests.nameserver.strategies import ZONE
from tests.nameserver.zones import KEY, demo_zone

DEADLINE_S = 20.0
Body = Callable[[EmbeddedNameserver], Awaitable[None]]


def serving(folder: Path, body: Body, zone: Zone | None = None, settings: Settings | None = None) -> None:
    """Run `body` while the server serves."""

    async def run() -> None:
        zones = [zone or demo_zone()]
        server = EmbeddedNameserver(zones, {ZONE: KEY}, folder, (HostPort("127.0.0.1", 0),), settings)
        async with asyncio.timeout(DEADLINE_S), server:
            await body(server)

    asyncio.run(run())


def port(server: EmbeddedNameserver) -> int:
    return server.places[0].port


def add(name: str, *addresses: str) -> Transaction:
    return Transaction(ZONE, (), (AddRRs(RRset.of(name, RecordType.A, 60, *addresses)),))


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.bind(("::1", 0))
        return True
    return False


class Client:
    """Blocking, for a thread: one TCP connection."""

    def __init__(self, at: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", at), DEADLINE_S)

    def close(self) -> None:
        self._socket.close()

    def send(self, *messages: bytes) -> None:
        self._socket.sendall(b"".join(struct.pack("!H", len(message)) + message for message in messages))

    def receive(self) -> bytes:
        return self._exactly(struct.unpack("!H", self._exactly(2))[0])

    def _exactly(self, octets: int) -> bytes:
        found = b""
        while len(found) < octets:
            part = self._socket.recv(octets - len(found))
            if not part:
                raise ConnectionError(f"closed after {len(found)} of {octets} octets")
            found += part
        return found

    def update(self, *transactions: Transaction, now_s: int) -> Rcode:
        message, mac = sign(encode_update(7, ZONE, transactions), KEY, now_s)
        self.send(message)
        bare, _ = verify(self.receive(), KEY, now_s, request_mac=mac)
        return Rcode(bare[3] & 15)


@contextlib.contextmanager
def client(at: int) -> Iterator[Client]:
    connected = Client(at)
    try:
        yield connected
    finally:
        connected.close()


def ask_udp(at: int, message: bytes, wait_s: float = DEADLINE_S) -> bytes:
    """Raises `TimeoutError` where no reply comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(wait_s)
        udp.connect(("127.0.0.1", at))
        udp.send(message)
        return udp.recv(65535)
