"""What the conformance body asks of each thing that claims to be a zone's primary.

The twin answers in this process. A real server is asked over TCP by a plain blocking client, and what it holds is
read by dnspython, so that evenkeel's own client and readers are not their own witnesses.
"""

from __future__ import annotations

import socket
import time
from typing import Protocol

import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.tsig
import dns.zone

from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.transactions import Transaction
from evenkeel.testing.servers import Server
from evenkeel.twins.zone import Dump, ZoneState, step
from evenkeel.wire.tsig import TsigKey, sign, verify
from evenkeel.wire.update import encode_update
from tests.servers import ZONE

DEADLINE_S = 10.0
Content = frozenset[tuple[str, str, str]]  # (name, type, text)


class Arm(Protocol):
    def apply(self, transaction: Transaction) -> Rcode:
        """The server's verdict."""
        ...

    def content(self) -> Content:
        """Everything in the zone at one moment, without its SOA."""
        ...

    def serial(self) -> int: ...


class TwinArm:
    def __init__(self) -> None:
        soa = RRset.of(ZONE, RecordType.SOA, 60, f"ns1.{ZONE} hostmaster.{ZONE} 1 3600 600 86400 5")
        nameserver = RRset.of(ZONE, RecordType.NS, 60, f"ns1.{ZONE}")
        address = RRset.of(f"ns1.{ZONE}", RecordType.A, 60, "127.0.0.1")
        self._state = ZoneState.of(ZONE, (soa, nameserver, address), guarded=False)

    def apply(self, transaction: Transaction) -> Rcode:
        self._state, rcode = step(self._state, transaction)
        return rcode

    def content(self) -> Content:
        _, rrsets = step(self._state, Dump())
        return frozenset(
            (rrset.name, str(rrset.type), text) for rrset in rrsets for text in rrset.rdatas if rrset.type != "SOA"
        )

    def serial(self) -> int:
        return int(self._state.texts(ZONE, "SOA")[0].split()[2])


class ServerArm:
    """A real server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def apply(self, transaction: Transaction) -> Rcode:
        with Wire(self.server) as wire:
            return wire.apply(transaction)

    def content(self) -> Content:
        return transferred(self.server)

    def serial(self) -> int:
        query = dns.message.make_query(ZONE, "SOA")
        reply = dns.query.udp(query, self.server.host, DEADLINE_S, self.server.port)
        return int(reply.answer[0][0].serial)


class Wire:
    """A blocking TCP connection that sends updates, one at a time."""

    def __init__(self, server: Server, key: TsigKey | None = None) -> None:
        self._key = key or server.key
        self._socket = socket.create_connection((server.host, server.port), DEADLINE_S)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def apply(self, *transactions: Transaction) -> Rcode:
        now_s = int(time.time())
        message, mac = sign(encode_update(1, ZONE, transactions), self._key, now_s)
        reply = self.exchange(message)
        bare, _ = verify(reply, self._key, now_s, request_mac=mac)
        return Rcode(bare[3] & 0xF)

    def exchange(self, message: bytes) -> bytes:
        self._socket.sendall(len(message).to_bytes(2, "big") + message)
        return self._read(int.from_bytes(self._read(2), "big"))

    def _read(self, octets: int) -> bytes:
        found = b""
        while len(found) < octets:
            part = self._socket.recv(octets - len(found))
            if not part:
                raise ConnectionError(f"closed after {len(found)} of {octets} octets")
            found += part
        return found


def transferred(server: Server) -> Content:
    """The zone by AXFR, as dnspython reads it."""
    keyring = {dns.name.from_text(server.key.name): dns.tsig.Key(server.key.name, server.key.secret, "hmac-sha256")}
    zone = dns.zone.Zone(ZONE, relativize=False)
    query = dns.message.make_query(ZONE, "AXFR")
    query.use_tsig(keyring)
    dns.query.inbound_xfr(server.host, zone, query, port=server.port, timeout=DEADLINE_S, lifetime=DEADLINE_S)
    return frozenset(
        (name.to_text(), dns.rdatatype.to_text(rdata.rdtype), _text(rdata))
        for name, _, rdata in zone.iterate_rdatas()
        if rdata.rdtype != dns.rdatatype.SOA
    )


def _text(rdata: object) -> str:
    strings = getattr(rdata, "strings", None)
    return b"".join(strings).decode() if strings is not None else str(rdata)
