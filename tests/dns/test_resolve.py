"""Asking a server as clients do, against real servers and one that lies."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Callable
from typing import cast

import pytest

from evenkeel.adapters.dns.resolve import IN_FLIGHT_MAX, Resolved, ServerResolver, resolve
from evenkeel.model.errors import Unreachable
from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.region import HostPort
from evenkeel.model.transactions import AddRRs, Transaction
from evenkeel.ports import resolver as port
from evenkeel.testing.servers import Server, free_address
from tests.conformance.arms import Wire
from tests.servers import ZONE

A, AAAA, CNAME, TXT = RecordType.A, RecordType.AAAA, RecordType.CNAME, RecordType.TXT


def fill(server: Server, *rrsets: RRset) -> None:
    with Wire(server) as wire:
        assert wire.apply(Transaction(ZONE, (), tuple(map(AddRRs, rrsets)))) is Rcode.NOERROR


def ask(server: Server, name: str, rtype: str) -> Resolved:
    return asyncio.run(resolve(server.address, name, rtype, 5.0))


def test_addresses_aliases_and_absences_are_told_apart(server: Server) -> None:
    db, node, dangling = f"db.{ZONE}", f"g1._tree.db.{ZONE}", f"dangling.{ZONE}"
    fill(
        server,
        RRset.of(node, A, 30, "192.0.2.2", "192.0.2.1"),
        RRset.of(db, CNAME, 60, node),
        RRset.of(dangling, CNAME, 60, f"g9._tree.{dangling}"),
    )
    assert ask(server, node, A) == Resolved(Rcode.NOERROR, ("192.0.2.1", "192.0.2.2"), 30, (), True)
    assert ask(server, db, A) == Resolved(Rcode.NOERROR, ("192.0.2.1", "192.0.2.2"), 30, (node,), True)
    assert ask(server, db, AAAA).addresses == ()
    assert ask(server, db, AAAA).rcode == Rcode.NOERROR
    assert ask(server, f"none.{ZONE}", A).rcode == Rcode.NXDOMAIN
    lost = ask(server, dangling, A)
    assert (lost.addresses, lost.aliases) == ((), (f"g9._tree.{dangling}",))
    assert ask(server, "elsewhere.test.", A).rcode == Rcode.REFUSED


def test_a_truncated_reply_is_fetched_whole_over_tcp(server: Server) -> None:
    name = f"long.{ZONE}"
    texts = [f"{number:03d}" + "x" * 200 for number in range(20)]
    fill(server, RRset.of(name, TXT, 60, *texts))
    assert ask(server, name, TXT).addresses == tuple(texts)


def test_thousands_of_questions_share_a_socket(server: Server) -> None:
    count = IN_FLIGHT_MAX * 4
    rrsets = [RRset.of(f"m{number}.{ZONE}", A, 60, f"10.0.{number >> 8}.{number & 255}") for number in range(500)]
    fill(server, *rrsets)

    async def run() -> None:
        async with ServerResolver(20.0) as resolver:
            asked = [rrsets[number % 500] for number in range(count)]
            answers = await asyncio.gather(*(resolver.resolve(server.address, one.name, A) for one in asked))
            assert [answer.addresses for answer in answers] == [one.rdatas for one in asked]

    asyncio.run(run())


def test_both_families_are_asked_for_the_audit(server: Server) -> None:
    fill(server, RRset.of(f"six.{ZONE}", A, 60, "192.0.2.1"), RRset.of(f"six.{ZONE}", AAAA, 60, "2001:db8::1"))

    async def run() -> None:
        async with ServerResolver() as resolver:
            both = await resolver.addresses(server.address, f"six.{ZONE}", True, True)
            assert both == port.Resolved(("192.0.2.1",), ("2001:db8::1",))
            assert (await resolver.addresses(server.address, f"none.{ZONE}", True, True)).is_empty
            with pytest.raises(Unreachable, match="REFUSED"):
                await resolver.addresses(server.address, "elsewhere.test.", True, False)

    asyncio.run(run())


def test_a_server_that_is_away_or_hangs_is_unreachable_within_the_deadline(bind: Server) -> None:
    async def run() -> None:
        async with ServerResolver(0.3) as resolver:
            with pytest.raises(Unreachable):
                await resolver.resolve(HostPort(*free_address()), f"x.{ZONE}", A)
            bind.pause()
            with pytest.raises(Unreachable, match="no answer"):
                await resolver.resolve(bind.address, f"x.{ZONE}", A)
            bind.resume()
            assert (await resolver.resolve(bind.address, f"x.{ZONE}", A, 5.0)).rcode == Rcode.NXDOMAIN

    asyncio.run(run())


def answer(query: bytes, *records: bytes, flags: int = 0x8400) -> bytes:
    end = query.index(b"\0", 12) + 5
    return query[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0) + query[12:end] + b"".join(records)


def address(text: bytes) -> bytes:
    return b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + text


def looping(query: bytes) -> bytes:
    return answer(query, b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 2) + b"\xc0\x0c")


LIES: dict[str, Callable[[bytes], bytes]] = {
    "noise": lambda _: secrets.token_bytes(100),
    "another id": lambda query: bytes([query[0] ^ 1]) + answer(query, address(b"\1\2\3\4"))[1:],
    "another question": lambda query: answer(query.replace(b"\1x", b"\1y"), address(b"\1\2\3\4")),
    "a query": lambda query: query,
    "an address of three octets": lambda query: answer(query, b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 3) + b"abc"),
    "a record cut short": lambda query: answer(query, address(b"\1\2\3\4"))[:-2],
}


async def asked_of(lie: Callable[[bytes], bytes]) -> Resolved:
    class Liar(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(lie(data), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Liar, local_addr=("127.0.0.1", 0))
    try:
        port_ = transport.get_extra_info("sockname")[1]
        return await resolve(HostPort("127.0.0.1", port_), f"x.{ZONE}", A, 0.3)
    finally:
        transport.close()


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_what_is_no_answer_to_the_question_is_not_taken_for_one(lie: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Unreachable):
        asyncio.run(asked_of(lie))


def test_an_alias_that_leads_to_itself_ends() -> None:
    assert asyncio.run(asked_of(looping)).addresses == ()


def test_letters_in_another_case_are_the_same_question() -> None:
    def shouting(query: bytes) -> bytes:
        return answer(query.replace(b"\1x", b"\1X"), address(b"\1\2\3\4"))

    assert asyncio.run(asked_of(shouting)).addresses == ("1.2.3.4",)
