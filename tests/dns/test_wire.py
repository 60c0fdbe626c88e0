"""Messages as octets, held to dnspython's reading of the same RFCs; and octets that no honest peer sends."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import struct
import time

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.wire
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.adapters.dns.keys import parse_key_file, tsig_key
from evenkeel.model.errors import InputError
from evenkeel.model.records import RecordType, RRset
from evenkeel.model.transactions import (
    AddRRs,
    Change,
    DeleteName,
    DeleteRRs,
    DeleteRRset,
    NameInUse,
    NameNotInUse,
    Prerequisite,
    RRsetAbsent,
    RRsetEquals,
    RRsetExists,
    Transaction,
)
from evenkeel.wire.names import Malformed, encode_name, read_name
from evenkeel.wire.rdata import read_rdata
from evenkeel.wire.transfer import Kind, TransferReader, TransferRefused, encode_transfer_query, is_newer
from evenkeel.wire.tsig import BADSIG, StreamSigner, StreamVerifier, TsigFailure, TsigKey, sign, split, verify
from evenkeel.wire.update import TooBig, encode_update

ZONE = "demo.example."
KEY = TsigKey("evenkeel.", bytes(range(32)))
NOW_S = 1_800_000_000

labels = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
names = st.builds(lambda parts: ".".join([*parts, ZONE]), st.lists(labels, max_size=4))
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.integers(2**100, 2**128 - 1).map(lambda n: read_rdata(n.to_bytes(16, "big"), 28, 0, 16, {}))
txt = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=255)
srv = st.builds(lambda p, w, o, n: f"{p} {w} {o} {n}", *[st.integers(0, 65535)] * 3, names)
texts_by_type = {"A": ipv4, "AAAA": ipv6, "TXT": txt, "CNAME": names, "SRV": srv, "NS": names}
rrsets = st.sampled_from(sorted(texts_by_type)).flatmap(
    lambda rtype: st.builds(
        lambda name, ttl, texts: RRset.of(name, RecordType(rtype), ttl, *texts),
        names,
        st.integers(0, 2**31 - 1),
        st.lists(texts_by_type[rtype], min_size=1, max_size=5),
    )
)
types = st.sampled_from([RecordType(rtype) for rtype in texts_by_type])
requirements: st.SearchStrategy[Prerequisite] = st.one_of(
    names.map(NameInUse),
    names.map(NameNotInUse),
    st.builds(RRsetExists, names, types),
    st.builds(RRsetAbsent, names, types),
    rrsets.map(lambda rrset: RRsetEquals(rrset.name, rrset.type, rrset.rdatas)),
)
changes: st.SearchStrategy[Change] = st.one_of(
    rrsets.map(AddRRs),
    st.builds(DeleteRRset, names, types),
    names.map(DeleteName),
    rrsets.map(lambda rrset: DeleteRRs(rrset.name, rrset.type, rrset.rdatas)),
)
transactions = st.builds(
    lambda requires, made: Transaction(ZONE, tuple(requires), tuple(made)),
    st.lists(requirements, max_size=5),
    st.lists(changes, max_size=6),
)
Section = list[tuple[str, int, str, int, str]]


# --- updates --------------------------------------------------------------------------------------------


def wanted_prerequisites(given_: list[Transaction]) -> Section:
    wanted: Section = []
    for requirement in dict.fromkeys(one for each in given_ for one in each.requires):
        match requirement:
            case NameInUse(name):
                wanted.append((name, 255, "ANY", 0, ""))
            case NameNotInUse(name):
                wanted.append((name, 254, "ANY", 0, ""))
            case RRsetExists(name, rtype):
                wanted.append((name, 255, rtype, 0, ""))
            case RRsetAbsent(name, rtype):
                wanted.append((name, 254, rtype, 0, ""))
            case RRsetEquals(name, rtype, rdatas):
                wanted += [(name, 1, rtype, 0, rdata) for rdata in rdatas]
    return wanted


def wanted_changes(given_: list[Transaction]) -> Section:
    wanted: Section = []
    for change in (one for each in given_ for one in each.changes):
        match change:
            case AddRRs(rrset):
                wanted += [(rrset.name, 1, rrset.type, rrset.ttl_s, rdata) for rdata in rrset.rdatas]
            case DeleteRRset(name, rtype):
                wanted.append((name, 255, rtype, 0, ""))
            case DeleteName(name):
                wanted.append((name, 255, "ANY", 0, ""))
            case DeleteRRs(name, rtype, rdatas):
                wanted += [(name, 254, rtype, 0, rdata) for rdata in rdatas]
    return wanted


def read_section(message: bytes, at: int, count: int) -> tuple[Section, int]:
    """Records as dnspython decodes names and rdata, one by one, in order."""
    parser = dns.wire.Parser(message, at)
    found: Section = []
    for _ in range(count):
        name = dns.name.from_wire_parser(parser).to_text()
        rtype, rclass, ttl, length = parser.get_struct("!HHIH")
        text = ""
        if length:
            with parser.restrict_to(length):
                rdata = dns.rdata.from_wire_parser(dns.rdataclass.IN, rtype, parser)
            strings = getattr(rdata, "strings", None)
            text = b"".join(strings).decode() if strings is not None else rdata.to_text()
        found.append((name, rclass, dns.rdatatype.to_text(rtype), ttl, text))
    return found, parser.current


def sectioned(message: bytes) -> tuple[Section, Section]:
    counts = struct.unpack_from("!6H", message)
    assert counts[1] >> 11 & 0xF == 5
    assert (counts[2], counts[5]) == (1, 0)
    zone = dns.name.from_wire(message, 12)[0].to_text()
    assert zone == ZONE
    prerequisites, at = read_section(message, 12 + len(encode_name(ZONE)) + 4, counts[3])
    updates, at = read_section(message, at, counts[4])
    assert at == len(message)
    return prerequisites, updates


@settings(deadline=None, max_examples=60)
@given(st.lists(transactions, min_size=1, max_size=6))
def test_an_encoded_update_says_just_what_its_transactions_say(given_: list[Transaction]) -> None:
    prerequisites, updates = sectioned(encode_update(4711, ZONE, given_))
    wanted = wanted_prerequisites(given_)
    # Shared ones are sent once wherever they come; exact values may come twice, which a server takes as one set.
    assert set(prerequisites) == set(wanted)
    assert updates == wanted_changes(given_)


def test_names_beyond_the_reach_of_pointers_are_written_out() -> None:
    """A pointer has 14 bits, so past 16 KiB a new name cannot be pointed at (RFC 1035 section 4.1.4)."""
    given_ = [
        Transaction(ZONE, (), (AddRRs(RRset.of(f"e{n}.{ZONE}", RecordType.TXT, 1, "x" * 200, "y")),))
        for n in range(250)
    ]
    message = encode_update(1, ZONE, given_)
    assert len(message) > 0x4000 * 2
    assert sectioned(message)[1] == wanted_changes(given_)


def test_a_message_beyond_its_size_is_refused_with_the_size() -> None:
    one = Transaction(ZONE, (), (AddRRs(RRset.of(f"e.{ZONE}", RecordType.TXT, 1, "x" * 200)),))
    with pytest.raises(TooBig, match="1000 fit"):
        encode_update(1, ZONE, [one] * 10, octets_max=1000)


def test_any_octets_of_a_foreign_text_survive_the_way_there_and_back() -> None:
    octets = bytes(range(256))[1:]
    text = read_rdata(bytes([len(octets)]) + octets, 16, 0, len(octets) + 1, {})
    message = encode_update(1, ZONE, [Transaction(ZONE, (RRsetEquals(ZONE, RecordType.TXT, (text,)),), ())])
    assert message.endswith(octets)


# --- names ------------------------------------------------------------------------------------------------


@given(names)
def test_a_name_is_read_as_it_was_written(name: str) -> None:
    assert read_name(encode_name(name), 0, {}) == (name, len(encode_name(name)))
    assert dns.name.from_text(name).to_wire() == encode_name(name)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_octets_make_a_name_reader_loop_or_fall_over(octets: bytes, at: int) -> None:
    try:
        name, end = read_name(octets, at, {})
    except (Malformed, IndexError):
        return
    assert name.endswith(".")
    assert at < end <= len(octets)


@pytest.mark.parametrize(
    "octets",
    [b"\xc0\x00", b"\xc0\x02\xc0\x00", b"\x01a\xc0\x00", b"\x40abc", b"\x80\x00", b"\x3f" + b"a" * 63 + b"\xc0\x00"],
    ids=["itself", "forward", "round", "type 01", "type 10", "round with a long label"],
)
def test_pointers_that_lead_nowhere_are_refused(octets: bytes) -> None:
    with pytest.raises((Malformed, IndexError)):
        read_name(octets, 0, {})


def test_names_are_read_in_lowercase_and_with_their_dots_escaped() -> None:
    assert read_name(b"\x03WwW\x04a.b\\\x00", 0, {})[0] == r"www.a\.b\\."
    assert read_name(b"\x00", 0, {})[0] == "."


# --- signatures ---------------------------------------------------------------------------------------------


def dnspython_key() -> dns.tsig.Key:
    return dns.tsig.Key(KEY.name, KEY.secret, "hmac-sha256")


def test_dnspython_and_we_read_each_other() -> None:
    now_s = int(time.time())  # dnspython goes by the real clock
    ours, mac = sign(encode_update(7, ZONE, [Transaction(ZONE, (), (DeleteName("x." + ZONE),))]), KEY, now_s)
    theirs = dns.message.from_wire(ours, keyring={dns.name.from_text(KEY.name): dnspython_key()})
    assert theirs.had_tsig
    reply = dns.message.make_response(theirs)
    reply.use_tsig(dnspython_key())
    wire = reply.to_wire()
    assert verify(wire, KEY, now_s, request_mac=mac)[1].error == 0


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_octet_anywhere_is_noticed(position: int, difference: int) -> None:
    message, mac = sign(encode_update(7, ZONE, [Transaction(ZONE, (), (DeleteName("x." + ZONE),))]), KEY, NOW_S)
    altered = bytearray(message)
    altered[position % len(message)] ^= difference
    try:
        verify(bytes(altered), KEY, NOW_S, request_mac=b"")
    except (TsigFailure, Malformed):
        return
    # The id is not covered: the original one travels in the signature. The key's name is compared without case.
    assert position % len(message) < 2 or bytes(altered).lower() == message.lower()
    assert mac


@given(st.binary(max_size=400))
def test_no_octets_make_the_signature_reader_fall_over(octets: bytes) -> None:
    with contextlib.suppress(Malformed):
        split(octets)


@pytest.mark.parametrize("offset_s", [-301, 301])
def test_a_signature_out_of_its_time_is_refused_and_one_within_is_not(offset_s: int) -> None:
    message, _ = sign(encode_update(7, ZONE, []), KEY, NOW_S)
    with pytest.raises(TsigFailure, match="allowed are 300 s"):
        verify(message, KEY, NOW_S + offset_s)
    verify(message, KEY, NOW_S + offset_s // 301 * 300)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_long_reply_is_verified_as_a_chain_with_unsigned_messages_between(signed: list[bool]) -> None:
    """The first and the last are signed (RFC 8945 section 5.3.1); what stands between may not be."""
    signed[0] = signed[-1] = True
    stream = _chain(signed)
    verifier = StreamVerifier(KEY, b"m" * 32)
    for (message, bare), is_signed in zip(stream, signed, strict=True):
        assert verifier.feed(message, NOW_S) == bare
        assert (verifier.pending == 0) is is_signed
    if len(stream) > 2:
        del stream[1]
        cut = StreamVerifier(KEY, b"m" * 32)
        with pytest.raises(TsigFailure) as failure:
            feed_all(cut, [message for message, _ in stream])
        assert failure.value.error == BADSIG


def _chain(signed: list[bool]) -> list[tuple[bytes, bytes]]:
    stream: list[tuple[bytes, bytes]] = []
    signer = StreamSigner(KEY, b"m" * 32)
    mac, unsigned = b"", b""
    for number, is_signed in enumerate(signed):
        bare = struct.pack("!6H", number, 0x8400, 0, 0, 0, 0)
        if number == 0:
            message = signer.sign(bare, NOW_S)
        elif is_signed:
            timers = struct.pack("!HIH", 0, NOW_S, 300)
            covered = len(mac).to_bytes(2, "big") + mac + unsigned + bare + timers
            digest = hmac.digest(KEY.secret, covered, "sha256")
            template, old = sign(bare, KEY, NOW_S)
            message = template.replace(old, digest)
        else:
            message = bare
        if is_signed:
            tsig = split(message)[1]
            assert tsig is not None
            mac, unsigned = tsig.mac, b""
        else:
            unsigned += bare
        stream.append((message, bare))
    return stream


def test_a_transfer_that_is_hardly_ever_signed_is_refused() -> None:
    verifier = StreamVerifier(KEY, b"m" * 32)
    verifier.feed(StreamSigner(KEY, b"m" * 32).sign(bytes(12), NOW_S), NOW_S)
    with pytest.raises(TsigFailure, match="100 unsigned"):
        feed_all(verifier, [bytes(12)] * 100)


def feed_all(verifier: StreamVerifier, messages: list[bytes]) -> None:
    for message in messages:
        verifier.feed(message, NOW_S)


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(TsigKey("k.", secrets.token_bytes(16)))


# --- transfers ------------------------------------------------------------------------------------------------


def transfer_message(*records: tuple[str, str, str], message_id: int = 5, rcode: int = 0) -> bytes:
    message = dns.message.Message(id=message_id)
    message.flags = 0x8400
    message.set_rcode(dns.rcode.Rcode(rcode))
    for name, rtype, text in records:
        rdata = dns.rdata.from_text("IN", rtype, text)
        message.answer.append(dns.rrset.from_rdata(name, 60, rdata))
    return message.to_wire(max_size=65535)


def soa(serial: int) -> tuple[str, str, str]:
    return (ZONE, "SOA", f"ns1.{ZONE} hostmaster.{ZONE} {serial} 3600 600 86400 5")


ONE = ("one." + ZONE, "A", "192.0.2.1")
TWO = ("two." + ZONE, "A", "192.0.2.2")
Seen = list[tuple[bool, str, str]]


def read(reader: TransferReader, *messages: bytes) -> Seen:
    return [(step.added, step.name, step.text) for one in messages for step in reader.feed(one) if step.type != "SOA"]


def test_a_whole_zone_is_read_over_many_messages() -> None:
    reader = TransferReader(5, ZONE)
    seen = read(reader, transfer_message(soa(3)), transfer_message(ONE), transfer_message(TWO, soa(3)))
    assert seen == [(True, ONE[0], ONE[2]), (True, TWO[0], TWO[2])]
    assert (reader.kind, reader.serial, reader.done) == (Kind.WHOLE, 3, True)


def test_differences_are_read_in_order() -> None:
    reader = TransferReader(5, ZONE, since=1)
    seen = read(
        reader,
        transfer_message(soa(3), soa(1), ONE),
        transfer_message(soa(2), TWO, soa(2), TWO, soa(3), ONE, soa(3)),
    )
    assert [(added, name) for added, name, _ in seen] == [
        (False, ONE[0]),
        (True, TWO[0]),
        (False, TWO[0]),
        (True, ONE[0]),
    ]
    assert (reader.kind, reader.serial, reader.done) == (Kind.DIFFERENCES, 3, True)


def test_the_whole_zone_may_come_where_differences_were_asked_for() -> None:
    reader = TransferReader(5, ZONE, since=1)
    assert read(reader, transfer_message(soa(3), ONE, soa(3))) == [(True, ONE[0], ONE[2])]
    assert (reader.kind, reader.done) == (Kind.WHOLE, True)


def test_nothing_changed_and_a_zone_that_went_back_are_told_apart() -> None:
    same = TransferReader(5, ZONE, since=3)
    assert read(same, transfer_message(soa(3))) == []
    assert (same.kind, same.done) == (Kind.UP_TO_DATE, True)
    back = TransferReader(5, ZONE, since=9)
    assert read(back, transfer_message(soa(3))) == []
    assert (back.kind, back.done) == (Kind.ROLLED_BACK, True)


@pytest.mark.parametrize(
    "messages",
    [
        [transfer_message(ONE)],
        [transfer_message(soa(3), soa(2), ONE)],
        [transfer_message(soa(3), soa(1), ONE, soa(2), TWO, soa(1))],
        [transfer_message(soa(3), ONE, soa(4))],
        [transfer_message(soa(3), ONE, soa(3), TWO)],
        [transfer_message(soa(3), ONE, soa(3)), transfer_message(TWO)],
        [transfer_message(soa(3), message_id=6)],
        [transfer_message(soa(3), ONE)[:-3]],
        [b""],
        [transfer_message(("other.test.", "SOA", soa(1)[2]))],
    ],
    ids=[
        "no SOA first", "from another serial", "a jump", "another end", "after the end", "a message after the end",
        "another id", "cut short", "nothing", "another zone",
    ],
)  # fmt: skip
def test_a_transfer_that_does_not_add_up_is_refused(messages: list[bytes]) -> None:
    with pytest.raises(Malformed):
        read(TransferReader(5, ZONE, since=1), *messages)


def test_a_refused_transfer_says_by_which_code() -> None:
    with pytest.raises(TransferRefused, match="REFUSED"):
        TransferReader(5, ZONE).feed(transfer_message(rcode=5))


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_no_octets_make_the_transfer_reader_fall_over(messages: list[bytes]) -> None:
    reader = TransferReader(5, ZONE, since=1)
    with contextlib.suppress(Malformed):
        for one in messages:
            reader.feed(b"\x00\x05\x84\x00" + one)


def test_transfer_queries_are_what_dnspython_reads_of_them() -> None:
    whole = dns.message.from_wire(encode_transfer_query(3, ZONE, None))
    assert whole.question[0].rdtype == dns.rdatatype.AXFR
    since = dns.message.from_wire(encode_transfer_query(3, ZONE, 41))
    assert since.question[0].rdtype == dns.rdatatype.IXFR
    assert since.authority[0][0].serial == 41


def test_serials_wrap_round() -> None:
    assert is_newer(1, 0)
    assert is_newer(0, 2**32 - 1)
    assert not is_newer(2**32 - 1, 0)
    assert not is_newer(7, 7)


# --- key files ------------------------------------------------------------------------------------------------


def test_key_files_are_read_as_bind_writes_them() -> None:
    text = """
    # made by tsig-keygen
    key "Evenkeel" {
        algorithm hmac-sha256;  // the only one
        secret "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    };
    /* another */ key other. { algorithm "HMAC-SHA256"; secret AAECAwQFBgcICQoLDA0ODw==; };
    """
    keys = parse_key_file(text, "keys.conf")
    assert sorted(keys) == ["evenkeel.", "other."]
    assert keys["evenkeel."].secret == bytes(range(32))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no key statement"),
        ('key "k" { algorithm hmac-md5; secret "AAECAwQFBgcICQoLDA0ODw=="; };', "hmac-md5"),
        ('key "k" { algorithm hmac-sha256; };', "no secret"),
        ('key "k" { algorithm hmac-sha256; secret "!!!"; };', "not base64"),
        ('key "k" { algorithm hmac-sha256; secret "AAAA"; };', "3 octets"),
    ],
)
def test_a_key_file_that_will_not_do_says_why(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_key_file(text, "keys.conf")


def test_a_bad_secret_is_never_repeated_in_the_error() -> None:
    with pytest.raises(InputError) as error:
        tsig_key("k", "c2VjcmV0!")
    assert "c2VjcmV0" not in str(error.value)
