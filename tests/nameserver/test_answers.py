"""What clients are told, read back by dnspython."""

from __future__ import annotations

import struct
from collections import Counter

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import Transaction
from evenkeel.nameserver.answers import OPT_RECORD, ServedZone
from evenkeel.nameserver.decode_update import decode_update
from evenkeel.nameserver.ready_packets import FORMS_MAX
from evenkeel.nameserver.staging import stage
from evenkeel.nameserver.store import Staged
from evenkeel.nameserver.zone_view import Records
from evenkeel.twins.zone import Query, step
from evenkeel.wire.names import encode_name
from evenkeel.wire.rdata import TYPE_CODES, encode_rdata
from evenkeel.wire.update import encode_update
from tests.nameserver.strategies import ENDPOINT, NAMES, OUTSIDE, ZONE, transactions
from tests.nameserver.zones import responder, served, twin

NODE = f"g1._tree.{ENDPOINT}"
ADDRESSES = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.10")


def ask(zone: ServedZone, name: str, type_: str = "A", **fields: object) -> dns.message.Message:
    """The reply over TCP, where nothing is cut."""
    query = dns.message.make_query(name, type_, **fields)  # type: ignore[arg-type] # dnspython's own keywords
    reply = responder(zone).respond(query.to_wire(), "203.0.113.1", is_tcp=True)
    assert isinstance(reply, bytes)
    message = dns.message.from_wire(reply)
    assert query.is_response(message)
    return message


def shown(message: dns.message.Message) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (rrset.name.to_text().lower(), dns.rdatatype.to_text(rrset.rdtype), tuple(sorted(map(str, rrset))))
        for rrset in message.answer
    ]


# --- the ready answers never lag behind the zone ------------------------------------------------------------


QUESTIONS = [
    (name, type_, encode_name(name) + TYPE_CODES[type_].to_bytes(2, "big") + b"\0\1")
    for name in NAMES
    for type_ in ("A", "AAAA", "CNAME", "TXT", "NS", "SRV", "SOA")
]


@given(st.lists(transactions(requires_max=0), min_size=1, max_size=6))
@settings(deadline=None)
def test_ready_answers_are_those_of_the_zone_after_every_update(batch: list[Transaction]) -> None:
    state, zone = twin(), served(twin())
    for transaction in batch:
        for _, _, question in QUESTIONS:  # so that there is something ready to be wrong
            zone.ring(question)
        state, _ = step(state, transaction)
        zone.apply(stage(Staged(zone.store), decode_update(encode_update(1, ZONE, [transaction])).update, False).nodes)
    fresh = served(state)
    for name, type_, question in QUESTIONS:
        told, anew = zone.ring(question), fresh.ring(question)
        assert (told.heads, told.soa_at) == (anew.heads, anew.soa_at)
        assert sorted(told.tails) == sorted(anew.tails)
        assert told.rcode == step(state, Query(name, type_))[1].rcode
    assert zone.soa_tail == fresh.soa_tail


PACKETS = [
    struct.pack("!6H", 9, 0x100, 1, 0, 0, edns) + question + OPT_RECORD * edns
    for _, _, question in QUESTIONS
    for edns in (0, 1)
]


@given(st.lists(transactions(requires_max=0), min_size=1, max_size=6))
@settings(max_examples=50)
def test_ready_packets_are_those_of_the_zone_after_every_update(batch: list[Transaction]) -> None:
    state, zone = twin(), served(twin())
    server = responder(zone)
    for transaction in batch:
        for packet in PACKETS:
            server.respond(packet, "192.0.2.1", is_tcp=False)
        state, _ = step(state, transaction)
        zone.apply(stage(Staged(zone.store), decode_update(encode_update(1, ZONE, [transaction])).update, False).nodes)
    anew = responder(served(state))
    for packet in PACKETS:
        ready = server.packets.ready.get(packet[2:])
        if ready is not None:
            told = {packet[:2] + ready() for _ in range(8)}
            assert told == {anew.respond(packet, "192.0.2.1", is_tcp=False) for _ in range(8)}


def test_only_plain_questions_are_kept_and_few_forms_of_each() -> None:
    server = responder(served(twin(RRset.of(ENDPOINT, RecordType.A, 5, *ADDRESSES))))
    question = encode_name(ENDPOINT) + b"\0\1\0\1"
    options = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh"
    for packet in (
        struct.pack("!6H", 9, 0, 1, 0, 0, 0) + question.upper()[:-4] + b"\0\1\0\1",
        struct.pack("!6H", 9, 0, 1, 0, 0, 1) + question + options,
        struct.pack("!6H", 9, 0, 1, 0, 0, 0) + encode_name("nowhere." + ZONE) + b"\0\1\0\1",
    ):
        server.respond(packet, "192.0.2.1", is_tcp=False)
        assert not server.packets.ready
    for size in range(600, 700):
        opt = b"\0\0\x29" + size.to_bytes(2, "big") + bytes(6)
        server.respond(struct.pack("!6H", 9, 0, 1, 0, 0, 1) + question + opt, "192.0.2.1", is_tcp=False)
    assert len(server.packets.ready) == FORMS_MAX


@given(st.lists(transactions(requires_max=0), min_size=1, max_size=4), st.sampled_from(QUESTIONS))
def test_replies_hold_what_the_twin_answers(batch: list[Transaction], asked: tuple[str, str, bytes]) -> None:
    state = twin()
    for transaction in batch:
        state, _ = step(state, transaction)
    name, type_, _ = asked
    told, expected = ask(served(state), name, type_), step(state, Query(name, type_))[1]
    assert int(told.rcode()) == expected.rcode
    assert {(owner, kind) for owner, kind, _ in shown(told)} == {
        (rrset.name, str(rrset.type)) for rrset in expected.rrsets
    }


# --- single rules -------------------------------------------------------------------------------------------


def test_a_chain_of_cnames_is_followed_within_the_zone() -> None:
    zone = served(twin(RRset.of(ENDPOINT, RecordType.CNAME, 5, NODE), RRset.of(NODE, RecordType.A, 5, *ADDRESSES)))
    reply = ask(zone, ENDPOINT)
    assert shown(reply) == [(ENDPOINT, "CNAME", (NODE,)), (NODE, "A", tuple(sorted(ADDRESSES)))]
    assert reply.flags & dns.flags.AA


def test_the_code_of_a_chain_is_that_of_its_last_name() -> None:
    zone = served(twin(RRset.of(ENDPOINT, RecordType.CNAME, 5, NODE)))
    reply = ask(zone, ENDPOINT)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert len(reply.answer) == 1
    assert reply.authority[0].rdtype == dns.rdatatype.SOA


def test_a_chain_out_of_the_zone_ends_there_and_a_loop_ends_too() -> None:
    www = "www." + ZONE
    zone = served(twin(RRset.of(ENDPOINT, RecordType.CNAME, 5, OUTSIDE), RRset.of(www, RecordType.CNAME, 5, www)))
    assert shown(ask(zone, ENDPOINT)) == [(ENDPOINT, "CNAME", (OUTSIDE,))]
    assert ask(zone, www).rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("name", "rcode"), [("nowhere." + ZONE, dns.rcode.NXDOMAIN), ("_tree." + ENDPOINT, dns.rcode.NOERROR)]
)
def test_a_denial_carries_the_soa_with_the_time_to_believe_it(name: str, rcode: int) -> None:
    reply = ask(served(twin(RRset.of(NODE, RecordType.A, 5, "192.0.2.1"))), name)
    assert reply.rcode() == rcode
    assert not reply.answer
    soa = reply.authority[0]
    assert (soa.name.to_text(), soa.ttl) == (ZONE, 5)


def test_a_denial_shows_the_new_serial_after_an_update() -> None:
    zone = served(twin(RRset.of(ENDPOINT, RecordType.A, 5, "192.0.2.1")))
    assert ask(zone, ENDPOINT, "AAAA").authority[0][0].serial == 7
    apex, soa = zone.store.apex, zone.store.soa
    zone.apply({apex: {**zone.store.node(apex), "SOA": Records(soa.ttl_s, (zone.store.next_soa(soa.rdatas[0]),))}})
    assert ask(zone, ENDPOINT, "AAAA").authority[0][0].serial == 8


def test_a_delegation_refers_with_glue_and_without_authority() -> None:
    zone = served(
        twin(
            RRset.of("sub." + ZONE, RecordType.NS, 60, f"host.sub.{ZONE}"),
            RRset.of(f"host.sub.{ZONE}", RecordType.A, 60, "192.0.2.7"),
        )
    )
    reply = ask(zone, f"deep.sub.{ZONE}")
    assert not reply.flags & dns.flags.AA
    assert not reply.answer
    assert reply.authority[0].rdtype == dns.rdatatype.NS
    assert str(reply.additional[0][0]) == "192.0.2.7"


def test_nameservers_and_services_come_with_their_addresses() -> None:
    service = "_https._tcp." + ZONE
    zone = served(twin(RRset.of(service, RecordType.SRV, 60, f"0 5 443 ns1.{ZONE}")))
    for name, type_ in ((ZONE, "NS"), (service, "SRV")):
        assert str(ask(zone, name, type_).additional[0][0]) == "192.0.2.53"


def test_any_gets_one_set_only() -> None:
    zone = served(twin(RRset.of(ENDPOINT, RecordType.A, 5, "192.0.2.1"), RRset.of(ENDPOINT, RecordType.TXT, 5, "x")))
    assert len(ask(zone, ENDPOINT, "ANY").answer) == 1


def test_the_case_of_a_question_is_echoed() -> None:
    zone = served(twin(RRset.of(ENDPOINT, RecordType.A, 5, "192.0.2.1")))
    reply = ask(zone, "dB.dEmO.ExAmPlE.")
    assert reply.question[0].name.to_text() == "dB.dEmO.ExAmPlE."
    assert shown(reply) == [(ENDPOINT, "A", ("192.0.2.1",))]


def test_the_deepest_zone_answers_and_no_other_name_does() -> None:
    assert ask(served(twin()), OUTSIDE).rcode() == dns.rcode.REFUSED
    assert ask(served(twin()), ".").rcode() == dns.rcode.REFUSED


# --- weights ------------------------------------------------------------------------------------------------


def first_addresses(zone: ServedZone, times: int, type_: str = "A") -> Counter[str]:
    return Counter(str(ask(zone, ENDPOINT, type_).answer[-1][0]) for _ in range(times))


def weighted(text: str, weighted_answers: int = 1) -> ServedZone:
    node = RRset.of(NODE, RecordType.A, 5, *ADDRESSES)
    return served(
        twin(
            RRset.of(ENDPOINT, RecordType.CNAME, 5, NODE),
            node,
            RRset.of("_weights." + NODE, RecordType.TXT, 5, text),
        ),
        weighted_answers,
    )


def test_addresses_come_in_proportion_to_their_weights_in_the_order_of_their_texts() -> None:
    counts = first_addresses(weighted("a=4,3,2,1"), 100)
    assert counts == dict(zip(sorted(ADDRESSES), (40, 30, 20, 10), strict=True))


def test_a_weighted_reply_holds_as_many_addresses_as_the_zone_says() -> None:
    zone = weighted("a=4,3,2,1", weighted_answers=2)
    for _ in range(20):
        assert len(ask(zone, ENDPOINT).answer[-1]) == 2


@pytest.mark.parametrize("text", ["a=1,1,1,1", "a=1,2", "aaaa=1,2,3,4", "a=1,2,3,x", "rubbish", "a=" + "9" * 40])
def test_without_usable_weights_every_address_is_told_in_rotation(text: str) -> None:
    zone = weighted(text)
    assert {len(ask(zone, ENDPOINT).answer[-1]) for _ in range(8)} == {4}
    assert set(_leading(zone, 8)) == set(ADDRESSES)


def _leading(zone: ServedZone, times: int) -> list[str]:
    """The address that stands first in each reply; dnspython keeps the order of the wire."""
    return [str(ask(zone, ENDPOINT).answer[-1][0]) for _ in range(times)]


def test_a_change_of_weights_alone_changes_the_answers() -> None:
    zone = weighted("a=1,1,1,1")
    ask(zone, ENDPOINT)
    zone.apply({encode_name("_weights." + NODE): {"TXT": Records(5, (encode_rdata("TXT", "a=9,1,1,1"),))}})
    assert first_addresses(zone, 12).most_common(1)[0][1] == 9
