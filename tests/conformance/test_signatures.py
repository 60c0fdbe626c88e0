"""Who may write: signatures that are missing, by another key, by another secret, or of another time (RFC 8945)."""

from __future__ import annotations

import secrets
import time

import pytest

from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.transactions import AddRRs, Transaction
from evenkeel.testing.servers import Server
from evenkeel.wire.tsig import BADKEY, BADSIG, BADTIME, TsigFailure, TsigKey, sign, split, verify
from evenkeel.wire.update import encode_update
from tests.conformance.arms import Wire, transferred
from tests.servers import ZONE

HOUR_S = 3600


def update(name: str) -> bytes:
    return encode_update(7, ZONE, [Transaction(ZONE, (), (AddRRs(RRset.of(name, RecordType.A, 1, "192.0.2.1")),))])


def stands(server: Server, name: str) -> bool:
    return any(owner == name for owner, _, _ in transferred(server))


def test_an_unsigned_update_is_refused(server: Server, name: str) -> None:
    with Wire(server) as wire:
        reply = wire.exchange(update(name))
    assert reply[3] & 0xF in (Rcode.REFUSED, Rcode.NOTAUTH)
    assert not stands(server, name)


@pytest.mark.parametrize(
    ("rename", "resecret", "error"),
    [(True, False, BADKEY), (False, True, BADSIG), (True, True, BADKEY)],
    ids=["unknown key", "wrong secret", "both"],
)
def test_a_foreign_key_is_not_let_in(server: Server, name: str, rename: bool, resecret: bool, error: int) -> None:
    key_name = "stranger." if rename else server.key.name
    key = TsigKey(key_name, secrets.token_bytes(32) if resecret else server.key.secret)
    now_s = int(time.time())
    message, mac = sign(update(name), key, now_s)
    with Wire(server) as wire:
        reply = wire.exchange(message)
    assert reply[3] & 0xF == Rcode.NOTAUTH
    with pytest.raises(TsigFailure) as failure:
        verify(reply, key, now_s, request_mac=mac)
    assert failure.value.error == error
    assert not stands(server, name)


@pytest.mark.parametrize("offset_s", [-HOUR_S, HOUR_S])
def test_a_clock_an_hour_off_is_told_so(server: Server, name: str, offset_s: int) -> None:
    now_s = int(time.time()) + offset_s
    message, mac = sign(update(name), server.key, now_s)
    with Wire(server) as wire:
        reply = wire.exchange(message)
    assert reply[3] & 0xF == Rcode.NOTAUTH
    with pytest.raises(TsigFailure) as failure:
        verify(reply, server.key, now_s, request_mac=mac)
    assert failure.value.error == BADTIME
    assert not stands(server, name)


def test_a_message_altered_on_its_way_is_not_taken(server: Server, name: str) -> None:
    message, _ = sign(update(name), server.key, int(time.time()))
    altered = message.replace(bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)))
    assert altered != message
    with Wire(server) as wire:
        reply = wire.exchange(altered)
    assert reply[3] & 0xF == Rcode.NOTAUTH
    _, tsig = split(reply)
    assert tsig is not None
    assert tsig.error == BADSIG
    assert not stands(server, name)


def test_a_reply_is_signed_over_the_request(server: Server, name: str) -> None:
    now_s = int(time.time())
    message, mac = sign(update(name), server.key, now_s)
    with Wire(server) as wire:
        reply = wire.exchange(message)
    bare, _ = verify(reply, server.key, now_s, request_mac=mac)
    assert bare[3] & 0xF == Rcode.NOERROR
    with pytest.raises(TsigFailure):
        verify(reply, server.key, now_s, request_mac=bytes(32))
