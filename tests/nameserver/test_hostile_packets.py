"""Whatever arrives: no crash, and nothing that pays a stranger who forged the sender's address."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.model.records import RecordType, RRset
from evenkeel.nameserver.answers import UDP_OCTETS_MAX
from evenkeel.nameserver.responder import AdmittedUpdate, Responder, UpdateWork
from evenkeel.wire.names import Malformed, encode_name
from evenkeel.wire.octets import read_octets
from evenkeel.wire.tsig import sign
from evenkeel.wire.update import encode_update
from tests.nameserver.strategies import ENDPOINT, OUTSIDE, ZONE, transactions
from tests.nameserver.zones import KEY, NOW_S, responder, served, twin

STRANGER = "203.0.113.1"


def big_zone() -> Responder:
    many = [f"192.0.2.{number}" for number in range(200)]
    texts = [f"{number}-" + "x" * 100 for number in range(20)]
    return responder(
        served(twin(RRset.of(ENDPOINT, RecordType.A, 5, *many), RRset.of(ENDPOINT, RecordType.TXT, 5, *texts)))
    )


def query(name: str = ENDPOINT, type_: str = "A", **fields: object) -> bytes:
    return dns.message.make_query(name, type_, **fields).to_wire()  # type: ignore[arg-type] # dnspython's own keywords


SEEDS = (
    query(),
    query(use_edns=0, payload=4096),
    query(type_="TXT", use_edns=0, payload=4096),
    query(type_="ANY"),
    query(type_="AXFR"),
    query(OUTSIDE),
    sign(query(type_="SOA"), KEY, NOW_S)[0],
    encode_update(1, ZONE, []),
    sign(encode_update(1, ZONE, []), KEY, NOW_S)[0],
)


def exercised(server: Responder, packet: bytes) -> bytes | None:
    """Everything that `packet` sets going; its reply over UDP."""
    server.respond(packet, STRANGER, is_tcp=True)
    reply = server.respond(packet, STRANGER, is_tcp=False)
    if isinstance(reply, UpdateWork):
        admitted = server.admit(reply)
        return None if isinstance(admitted, AdmittedUpdate) else admitted
    assert reply is None or isinstance(reply, bytes)
    return reply


@given(st.binary(max_size=600))
def test_any_octets_are_borne(packet: bytes) -> None:
    check_reply(packet, exercised(big_zone(), packet))


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=6), st.data())
@settings(max_examples=400)
def test_damaged_messages_are_borne(seed: bytes, damage: list[tuple[int, int]], data: st.DataObject) -> None:
    packet = bytearray(seed)
    for at, octet in damage:
        packet[at % len(packet)] = octet
    cut = data.draw(st.integers(0, len(packet)))
    for candidate in (bytes(packet), bytes(packet[:cut]), bytes(packet) + bytes(packet[:cut])):
        check_reply(candidate, exercised(big_zone(), candidate))


@given(transactions(), st.lists(st.tuples(st.integers(12, 300), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=200)
def test_damaged_updates_under_a_good_signature_are_borne(transaction: object, damage: list[tuple[int, int]]) -> None:
    packet = bytearray(encode_update(1, ZONE, [transaction]))  # type: ignore[list-item] # hypothesis' own type
    for at, octet in damage:
        packet[12 + at % (len(packet) - 12)] = octet
    work = UpdateWork(sign(bytes(packet), KEY, NOW_S)[0])
    admitted = big_zone().admit(work)
    if isinstance(admitted, bytes):
        assert admitted[3] & 15 in (dns.rcode.FORMERR, dns.rcode.NOTAUTH, dns.rcode.REFUSED)


def check_reply(packet: bytes, reply: bytes | None) -> None:
    if reply is None:
        return
    assert len(reply) <= UDP_OCTETS_MAX
    assert reply[:2] == packet[:2]
    assert reply[2] & 0x80
    assert not packet[2] & 0x80, "a reply must never be answered: two servers would talk for ever"
    if reply[3] & 15 in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        assert len(reply) <= len(packet)


# --- amplification ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["A", "TXT", "ANY", "NS", "SOA", "AXFR", "IXFR"])
@pytest.mark.parametrize("payload", [None, 512, 1232, 4096, 65535])
def test_no_reply_over_udp_is_larger_than_allowed(type_: str, payload: int | None) -> None:
    packet = query(type_=type_, use_edns=False) if payload is None else query(type_=type_, use_edns=0, payload=payload)
    reply = exercised(big_zone(), packet)
    assert reply is not None
    limit = 512 if payload is None or type_ in ("TXT", "ANY") else min(1232, payload)
    assert len(reply) <= limit


def test_what_does_not_fit_says_so_and_says_nothing_else() -> None:
    reply = dns.message.from_wire(exercised(big_zone(), query()) or b"")
    assert reply.flags & dns.flags.TC
    assert not reply.answer
    whole = big_zone().respond(query(), STRANGER, is_tcp=True)
    assert isinstance(whole, bytes)
    assert len(dns.message.from_wire(whole).answer[0]) == 200


def test_a_stranger_gets_no_transfer_and_no_update() -> None:
    server = big_zone()
    for type_ in ("AXFR", "IXFR"):
        for is_tcp in (False, True):
            packet = query(ZONE, type_="AXFR") if type_ == "AXFR" else ixfr_query()
            reply = server.respond(packet, STRANGER, is_tcp)
            assert isinstance(reply, bytes)
            assert dns.message.from_wire(reply).rcode() == dns.rcode.REFUSED
    reply = server.respond(encode_update(1, ZONE, []), STRANGER, is_tcp=True)
    assert isinstance(reply, bytes)
    assert reply[3] & 15 == dns.rcode.REFUSED


def ixfr_query() -> bytes:
    soa = b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 0, 22) + b"\0\0" + struct.pack("!5I", 7, 0, 0, 0, 0)
    return struct.pack("!6H", 1, 0, 1, 0, 1, 0) + encode_name(ZONE) + b"\0\xfb\0\1" + soa


# --- single forms -------------------------------------------------------------------------------------------


def test_an_edns_version_of_the_future_is_badvers() -> None:
    reply = dns.message.from_wire(exercised(big_zone(), query(use_edns=1)) or b"")
    assert reply.rcode() == dns.rcode.BADVERS
    assert reply.edns == 0


def test_unknown_edns_options_are_ignored() -> None:
    cookie = dns.edns.GenericOption(dns.edns.OptionType(10), b"12345678")
    unknown = dns.edns.GenericOption(dns.edns.OptionType(65001), b"?" * 20)
    reply = dns.message.from_wire(exercised(big_zone(), query(type_="SOA", options=[cookie, unknown])) or b"")
    assert reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
    assert reply.edns == 0
    assert not reply.options


@pytest.mark.parametrize(("opcode", "rcode"), [(1, 4), (2, 4), (4, 4), (7, 4)])
def test_other_opcodes_are_not_implemented(opcode: int, rcode: int) -> None:
    packet = bytearray(query())
    packet[2] = opcode << 3
    reply = exercised(big_zone(), bytes(packet))
    assert reply is not None
    assert reply[3] & 15 == rcode
    assert reply[2] >> 3 & 15 == opcode


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 3)])
def test_counts_that_do_not_fit_a_question_are_formerr(counts: tuple[int, int, int, int]) -> None:
    packet = bytearray(query(use_edns=False))
    struct.pack_into("!4H", packet, 4, *counts)
    reply = exercised(big_zone(), bytes(packet))
    assert reply is not None
    assert reply[3] & 15 == dns.rcode.FORMERR


def test_a_pointer_that_does_not_lead_backwards_is_refused() -> None:
    for wire in (b"\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xc0\xff"):
        with pytest.raises((Malformed, IndexError)):
            read_octets(bytes(12) + wire, 12, {})


def test_a_chain_of_pointers_cannot_make_a_name_longer_than_255_octets() -> None:
    wire, starts = bytearray(12), []
    for _ in range(6):
        starts.append(len(wire))
        wire += b"\x3f" + b"a" * 63
        wire += (0xC000 | starts[-2]).to_bytes(2, "big") if len(starts) > 1 else b"\0"
    seen: dict[int, bytes] = {}
    with pytest.raises(Malformed):
        [read_octets(bytes(wire), start, seen) for start in starts]


def test_a_zone_section_that_is_no_soa_is_formerr() -> None:
    packet = bytearray(encode_update(1, ZONE, []))
    packet[-3] = 1
    admitted = big_zone().admit(UpdateWork(sign(bytes(packet), KEY, NOW_S)[0]))
    assert isinstance(admitted, bytes)
    assert admitted[3] & 15 == dns.rcode.FORMERR
