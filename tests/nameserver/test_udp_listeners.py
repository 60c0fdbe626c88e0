"""Both ways of reading UDP, datagram by datagram and by whole batches, say the same to the same clients."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from evenkeel.adapters.nameserver.datagram_batch import BATCH, is_available
from evenkeel.adapters.nameserver.rate_limit import RateLimit
from evenkeel.adapters.nameserver.udp import BatchedUdpListener, UdpListener, bound_socket, udp_listener
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.region import HostPort
from evenkeel.nameserver.responder import UpdateWork
from evenkeel.wire.names import encode_name
from evenkeel.wire.tsig import sign
from evenkeel.wire.update import encode_update
from tests.nameserver.live import has_ipv6
from tests.nameserver.strategies import ENDPOINT, ZONE
from tests.nameserver.zones import KEY, NOW_S, responder, served, twin

CLIENTS = 3 * BATCH
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

listeners = pytest.mark.parametrize(
    "kind",
    [
        UdpListener,
        pytest.param(BatchedUdpListener, marks=pytest.mark.skipif(not is_available(), reason="no recvmmsg here")),
    ],
)
no_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")
families = pytest.mark.parametrize("family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=no_ipv6)])


def question(message_id: int, name: str = ENDPOINT) -> bytes:
    return struct.pack("!6H", message_id, 0x100, 1, 0, 0, 0) + encode_name(name) + b"\0\1\0\1"


@contextmanager
def clients(at: tuple[str, int], family: socket.AddressFamily, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(count)]
        for each in sockets:
            each.settimeout(10)
            each.connect(at)
        yield sockets


def listening(
    kind: type[UdpListener],
    family: socket.AddressFamily,
    check: Callable[[tuple[str, int]], None],
    submitted: list[UpdateWork] | None = None,
    limit: RateLimit | None = None,
) -> None:
    """Run the blocking `check` in a thread while a listener serves on this one."""

    async def run() -> None:
        bound = bound_socket(HostPort(LOOPBACK[family], 0), socket.SOCK_DGRAM)

        def submit(work: UpdateWork, send: Callable[[bytes], None]) -> bool:
            assert submitted is not None
            submitted.append(work)
            send(work.message[:2] + b"\xa8\0" + bytes(8))
            return True

        zone = served(twin(RRset.of(ENDPOINT, RecordType.A, 5, "192.0.2.1", "192.0.2.2")))
        listener = kind(bound, responder(zone), submit, limit)
        try:
            async with asyncio.timeout(30):
                await asyncio.to_thread(check, (LOOPBACK[family], bound.getsockname()[1]))
        finally:
            listener.close()

    asyncio.run(run())


@listeners
@families
def test_every_client_gets_the_reply_to_its_own_question(kind: type[UdpListener], family: socket.AddressFamily) -> None:
    def check(at: tuple[str, int]) -> None:
        with clients(at, family, CLIENTS) as sockets:
            for turn in range(3):
                for number, client in enumerate(sockets):
                    # Some are ready, some are not, some are nobody's: in one batch with one another.
                    name = (ENDPOINT, f"n{number}.{ZONE}", "other.example.")[number % 3 if turn else 0]
                    client.send(question(number * 3 + turn, name))
                for number, client in enumerate(sockets):
                    reply = client.recv(2048)
                    assert struct.unpack("!H", reply[:2]) == (number * 3 + turn,)
                    assert reply[3] & 15 == ((0, 3, 5)[number % 3] if turn else 0)

    listening(kind, family, check)


@listeners
def test_what_is_no_question_is_passed_over(kind: type[UdpListener]) -> None:
    def check(at: tuple[str, int]) -> None:
        with clients(at, socket.AF_INET, 1) as (client,):
            for rubbish in (b"", b"x", bytes(11), question(1)[:2] + b"\x80" + question(1)[3:], b"\xff" * 9000):
                client.send(rubbish)
            client.send(question(7))
            replies = [client.recv(2048)]
            while replies[-1][:2] != b"\0\7":
                replies.append(client.recv(2048))
            assert all(len(reply) == 12 for reply in replies[:-1])

    listening(kind, socket.AF_INET, check)


@listeners
def test_updates_are_passed_on_and_answered_later(kind: type[UdpListener]) -> None:
    submitted: list[UpdateWork] = []
    message, _ = sign(encode_update(77, ZONE, []), KEY, NOW_S)

    def check(at: tuple[str, int]) -> None:
        with clients(at, socket.AF_INET, 1) as (client,):
            client.send(message)
            assert client.recv(2048)[:2] == message[:2]

    listening(kind, socket.AF_INET, check, submitted)
    assert [work.message for work in submitted] == [message]


class NoneAllowed(RateLimit):
    """Stands for a client network that is over its rate, which loopback never is."""

    def allows(self, address: bytes) -> bool:
        assert address == bytes((127, 0, 0, 1))
        return False


@listeners
def test_over_the_rate_every_second_question_is_sent_over_to_tcp(kind: type[UdpListener]) -> None:
    def check(at: tuple[str, int]) -> None:
        with clients(at, socket.AF_INET, 1) as (client,):
            for number in range(10):
                client.send(question(number))
            replies = [client.recv(2048) for _ in range(5)]
            assert [reply[1] for reply in replies] == [1, 3, 5, 7, 9]
            assert all(reply[2] & 0x02 and len(reply) == 12 for reply in replies)

    listening(kind, socket.AF_INET, check, limit=NoneAllowed(1, lambda: 0.0))


@listeners
def test_a_client_that_is_gone_does_not_cost_others_their_replies(kind: type[UdpListener]) -> None:
    def check(at: tuple[str, int]) -> None:
        with clients(at, socket.AF_INET, 20) as sockets:
            for number, client in enumerate(sockets):
                client.send(question(number))
                if number % 2:
                    client.close()
            assert [client.recv(2048)[1] for client in sockets[::2]] == list(range(0, 20, 2))

    listening(kind, socket.AF_INET, check)


def test_the_quickest_listener_is_taken() -> None:
    async def run() -> None:
        bound = bound_socket(HostPort("127.0.0.1", 0), socket.SOCK_DGRAM)
        listener = udp_listener(bound, responder(served(twin())), lambda work, send: True, None)
        assert isinstance(listener, BatchedUdpListener) == is_available()
        listener.close()

    asyncio.run(run())
