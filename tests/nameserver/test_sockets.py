"""UDP and TCP on real sockets: truncation, pipelining, slow and rude clients, a flood."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from evenkeel.adapters.nameserver.rate_limit import NETWORKS_MAX, RateLimit
from evenkeel.adapters.nameserver.server import EmbeddedNameserver, Hooks, Settings
from evenkeel.adapters.nameserver.tcp import IN_FLIGHT_MAX, MESSAGES_A_TURN
from evenkeel.model.errors import Unreachable
from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.region import HostPort
from evenkeel.model.transactions import AddRRs, DeleteName, DeleteRRset, RRsetAbsent, RRsetEquals, Transaction
from evenkeel.wire.tsig import BADTIME, TsigFailure, sign, split, verify
from evenkeel.wire.update import encode_update
from tests.nameserver.live import DEADLINE_S, add, ask_udp, client, has_ipv6, port, serving
from tests.nameserver.strategies import ENDPOINT, ZONE
from tests.nameserver.zones import KEY, demo_zone


def now_s() -> int:
    return int(time.time())


def update(at: int, *transactions: Transaction) -> Rcode:
    with client(at) as connected:
        return connected.update(*transactions, now_s=now_s())


def query(name: str = ENDPOINT, type_: str = "A", message_id: int = 1) -> bytes:
    message = dns.message.make_query(name, type_)
    message.id = message_id
    return message.to_wire()


def test_a_truncated_reply_is_whole_over_tcp(tmp_path: Path) -> None:
    def check(at: int) -> None:
        assert update(at, add(ENDPOINT, *(f"192.0.2.{n}" for n in range(100)))) is Rcode.NOERROR
        question = dns.message.make_query(ENDPOINT, "A")
        over_udp = dns.query.udp(question, "127.0.0.1", DEADLINE_S, at)
        assert over_udp.flags & dns.flags.TC
        whole, came_over_tcp = dns.query.udp_with_fallback(question, "127.0.0.1", DEADLINE_S, at)
        assert came_over_tcp
        assert len(whole.answer[0]) == 100

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    serving(tmp_path, body)


def test_pipelined_questions_and_updates_all_get_their_replies(tmp_path: Path) -> None:
    count = 3 * MESSAGES_A_TURN

    def check(at: int) -> None:
        with client(at) as connected:
            updates = [sign(encode_update(n, ZONE, [add(f"n{n}.{ZONE}", "192.0.2.1")]), KEY, now_s())[0] for n in ids]
            questions = [query(ZONE, "SOA", n) for n in range(1000, 1000 + count)]
            connected.send(*(each for pair in zip(updates, questions, strict=True) for each in pair))
            replies = [connected.receive() for _ in range(2 * count)]
        assert {struct.unpack("!H", reply[:2])[0] for reply in replies} == {*ids, *range(1000, 1000 + count)}
        assert {reply[3] & 15 for reply in replies} == {0}

    ids = range(count)
    assert count > IN_FLIGHT_MAX

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    serving(tmp_path, body)


def test_a_client_that_never_reads_is_held_back_while_others_are_served(tmp_path: Path) -> None:
    def check(at: int) -> None:
        assert update(at, add(ENDPOINT, *(f"192.0.{n // 250}.{n % 250}" for n in range(1500)))) is Rcode.NOERROR
        with client(at) as greedy:
            greedy._socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                greedy.send(*[query()] * 1_000_000)
            assert dns.query.tcp(dns.message.make_query(ZONE, "SOA"), "127.0.0.1", DEADLINE_S, at).answer

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    serving(tmp_path, body)


def test_a_client_may_close_its_side_after_its_last_question(tmp_path: Path) -> None:
    def check(at: int) -> None:
        with client(at) as connected:
            connected.send(
                sign(encode_update(3, ZONE, [add(ENDPOINT, "192.0.2.1")]), KEY, now_s())[0], query(ZONE, "SOA", 4)
            )
            connected._socket.shutdown(socket.SHUT_WR)
            assert {connected.receive()[1], connected.receive()[1]} == {3, 4}
            with pytest.raises(ConnectionError):
                connected.receive()

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    serving(tmp_path, body)


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0", b"\0\5abcde", b"\xff\xff" + b"x" * 70_000])
def test_what_is_no_dns_does_not_hurt_others(tmp_path: Path, rubbish: bytes) -> None:
    def check(at: int) -> None:
        with client(at) as rude:
            rude._socket.sendall(rubbish)
            assert dns.query.tcp(dns.message.make_query(ZONE, "SOA"), "127.0.0.1", DEADLINE_S, at).answer

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    serving(tmp_path, body)


def test_a_flood_of_junk_leaves_the_server_answering(tmp_path: Path) -> None:
    def flood(at: int) -> int:
        """A bounded burst as fast as it can be sent; how many real questions were answered meanwhile."""
        answered = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
            junk.connect(("127.0.0.1", at))
            for number in range(100_000):
                junk.send(
                    struct.pack("!6H", number & 0xFFFF, 0, 1, 0, 0, 0) + b"\x06" + b"%06d" % number + b"\0\0\1\0\1"
                )
                if number % 2000 == 0:
                    answered += _is_answered(at)
        return answered

    async def body(server: EmbeddedNameserver) -> None:
        assert await asyncio.to_thread(flood, port(server)) > 0
        assert await asyncio.to_thread(_is_answered, port(server))
        assert server.responder.counts.rcodes[Rcode.REFUSED] > 0

    serving(tmp_path, body)


def _is_answered(at: int) -> bool:
    for _ in range(10):
        try:
            return ask_udp(at, query(ZONE, "SOA"), 0.5)[3] & 15 == 0
        except TimeoutError:
            continue  # lost in the flood; a resolver asks again
    return False


# --- updates ------------------------------------------------------------------------------------------------


def test_concurrent_compare_and_set_lets_exactly_one_win_each_round(tmp_path: Path) -> None:
    writers, rounds = 8, 15

    async def body(server: EmbeddedNameserver) -> None:
        wins = await asyncio.gather(*(asyncio.to_thread(_increment, port(server), w, rounds) for w in range(writers)))
        assert sum(wins) == int(await asyncio.to_thread(_counter, port(server)))
        assert min(wins) > 0

    serving(tmp_path, body)


def _counter(at: int) -> str:
    reply = dns.query.udp(dns.message.make_query("counter." + ZONE, "TXT"), "127.0.0.1", DEADLINE_S, at)
    return reply.answer[0][0].strings[0].decode() if reply.answer else ""


def _increment(at: int, writer: int, wins_wanted: int) -> int:
    name, wins = "counter." + ZONE, 0
    with client(at) as connected:
        while wins < wins_wanted:
            seen = _counter(at)
            old = RRsetEquals(name, RecordType.TXT, (seen,)) if seen else RRsetAbsent(name, RecordType.TXT)
            new = RRset.of(name, RecordType.TXT, 1, str(int(seen or 0) + 1))
            changes = (*((DeleteRRset(name, RecordType.TXT),) if seen else ()), AddRRs(new))
            wins += connected.update(Transaction(ZONE, (old,), changes), now_s=now_s()) is Rcode.NOERROR
    return wins


def test_an_update_is_seen_by_the_next_question_on_any_connection(tmp_path: Path) -> None:
    def check(at: int) -> None:
        for generation in range(1, 30):
            text = f"g={generation}"
            changes = (DeleteRRset("x." + ZONE, RecordType.TXT), AddRRs(RRset.of("x." + ZONE, RecordType.TXT, 1, text)))
            assert update(at, Transaction(ZONE, (), changes)) is Rcode.NOERROR
            reply = dns.query.udp(dns.message.make_query("x." + ZONE, "TXT"), "127.0.0.1", DEADLINE_S, at)
            assert reply.answer[0][0].strings == (text.encode(),)

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    serving(tmp_path, body)


def test_a_clock_an_hour_off_is_told_the_time_under_signature(tmp_path: Path) -> None:
    def check(at: int) -> None:
        early_s = now_s() - 3600
        message, mac = sign(encode_update(1, ZONE, [add(ENDPOINT, "192.0.2.1")]), KEY, early_s)
        reply = ask_udp(at, message)
        with pytest.raises(TsigFailure, match="BADTIME"):
            verify(reply, KEY, early_s, request_mac=mac)
        _, tsig = split(reply)
        assert tsig is not None
        assert tsig.error == BADTIME
        assert abs(int.from_bytes(tsig.other, "big") - now_s()) < 60
        assert reply[3] & 15 == Rcode.NOTAUTH

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    serving(tmp_path, body)


def test_a_guard_s_refusal_is_told_with_its_reason(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    fence = AddRRs(RRset.of("_fence." + ENDPOINT, RecordType.TXT, 1, "g=1;w=a;n=1"))

    def check(at: int) -> None:
        publish = Transaction(ZONE, (), (*add(ENDPOINT, "192.0.2.1").changes, fence))
        assert update(at, publish) is Rcode.NOERROR
        assert update(at, Transaction(ZONE, (), (DeleteName(ENDPOINT),))) is Rcode.REFUSED

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    hooks = Hooks(refused=lambda zone, reason: told.append((zone, reason)))
    serving(tmp_path, body, settings=Settings(hooks=hooks))
    assert told == [(ZONE, f"it would leave {ENDPOINT} without an address while its fence stands")]


def test_a_set_too_large_to_be_answered_is_refused(tmp_path: Path) -> None:
    def check(at: int) -> None:
        many = [f"10.{n // 250}.{n % 250}.1" for n in range(2000)]
        assert update(at, add(ENDPOINT, *many)) is Rcode.REFUSED
        assert update(at, add(ENDPOINT, *many[:1000])) is Rcode.NOERROR

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    serving(tmp_path, body)


# --- from one start to the next -----------------------------------------------------------------------------


def test_a_new_zone_has_its_nameservers_with_their_addresses(tmp_path: Path) -> None:
    def check(at: int) -> None:
        reply = dns.query.udp(dns.message.make_query(ZONE, "NS"), "127.0.0.1", DEADLINE_S, at)
        assert sorted(map(str, reply.answer[0])) == ["a.demo.example.", "b.demo.example.", "c.other.example."]
        assert {str(rrset[0]) for rrset in reply.additional} == {"127.0.0.1", "192.0.2.7"}

    async def body(server: EmbeddedNameserver) -> None:
        await asyncio.to_thread(check, port(server))

    names = ("a.demo.example.", "b.demo.example.", "c.other.example.")
    serving(tmp_path, body, demo_zone(nameservers=names, secondaries=(HostPort("192.0.2.7", 53),)))


def test_what_the_file_says_of_the_zone_holds_from_the_next_start_on(tmp_path: Path) -> None:
    serials: list[int] = []

    def check(at: int, minimum: int, nameserver: str) -> None:
        denial = dns.query.udp(dns.message.make_query("no." + ZONE, "A"), "127.0.0.1", DEADLINE_S, at)
        assert denial.authority[0].ttl == minimum
        serials.append(denial.authority[0][0].serial)
        told = dns.query.udp(dns.message.make_query(ZONE, "NS"), "127.0.0.1", DEADLINE_S, at)
        assert [str(each) for each in told.answer[0]] == [nameserver]

    for minimum, names in ((5, ()), (9, ()), (9, ("ns9.other.example.",)), (9, ())):

        async def body(server: EmbeddedNameserver, minimum: int = minimum) -> None:
            expected = "ns9.other.example." if len(serials) >= 2 else f"ns1.{ZONE}"
            await asyncio.to_thread(check, port(server), minimum, expected)

        serving(tmp_path, body, demo_zone(negative_ttl_s=minimum, nameservers=names))
    assert [serial - serials[0] for serial in serials] == [0, 1, 2, 2]


# --- places and limits --------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    async def body(server: EmbeddedNameserver) -> None:
        second = EmbeddedNameserver([demo_zone()], {}, tmp_path / "second", server.places)
        with pytest.raises(Unreachable, match="mend"):
            await second.start()

    serving(tmp_path / "first", body)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")
def test_it_answers_over_ipv6_too(tmp_path: Path) -> None:
    async def run() -> None:
        places = (HostPort("127.0.0.1", 0), HostPort("::1", 0))
        async with EmbeddedNameserver([demo_zone()], {ZONE: KEY}, tmp_path, places) as server:
            question = dns.message.make_query(ZONE, "SOA")
            for ask in (dns.query.udp, dns.query.tcp):
                reply = await asyncio.to_thread(ask, question, "::1", DEADLINE_S, server.places[1].port)
                assert reply.answer

    asyncio.run(run())


def test_the_rate_limit_counts_networks_within_bounds_and_spares_loopback() -> None:
    clock = [0.0]
    limit = RateLimit(3, lambda: clock[0])
    assert [limit.allows(bytes((198, 51, 100, n))) for n in range(5)] == [True, True, True, False, False]
    v6 = bytes.fromhex("20010db8000001") + bytes(8)
    assert [limit.allows(v6 + bytes((n,))) for n in range(4)] == [True, True, True, False]
    assert all(limit.allows(bytes((127, 0, 0, 1))) and limit.allows(bytes(15) + b"\1") for _ in range(10))
    clock[0] = 1.0
    assert limit.allows(bytes((198, 51, 100, 9)))
    for n in range(NETWORKS_MAX + 10):
        limit.allows(bytes((10, n >> 16, n >> 8 & 255, n & 255)) if n & 1 else n.to_bytes(7, "big") + bytes(9))
    assert len(limit._counts) <= NETWORKS_MAX
