"""The same small zone as the twin holds it and as the server does."""

from __future__ import annotations

from evenkeel.model.records import RecordType, RRset
from evenkeel.model.region import HostPort, ServerKind, Zone
from evenkeel.nameserver.answers import ServedZone
from evenkeel.nameserver.ready_packets import ReadyPackets
from evenkeel.nameserver.responder import Responder
from evenkeel.nameserver.store import ZoneStore
from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.twins.zone import ZoneState
from evenkeel.wire.names import encode_name
from evenkeel.wire.octets import name_text
from evenkeel.wire.rdata import TYPE_CODES, encode_rdata, read_rdata
from evenkeel.wire.tsig import TsigKey
from tests.nameserver.strategies import ZONE

KEY = TsigKey("evenkeel.", b"k" * 32)
NOW_S = 1_700_000_000
APEX = encode_name(ZONE)
BEGINNING = (
    RRset.of(ZONE, RecordType.SOA, 60, f"ns1.{ZONE} hostmaster.{ZONE} 7 60 10 3600 5"),
    RRset.of(ZONE, RecordType.NS, 60, f"ns1.{ZONE}"),
    RRset.of(f"ns1.{ZONE}", RecordType.A, 60, "192.0.2.53"),
)


def twin(*rrsets: RRset, guarded: bool = False) -> ZoneState:
    return ZoneState.of(ZONE, (*BEGINNING, *rrsets), guarded)


def as_nodes(state: ZoneState) -> dict[bytes, Node[bytes]]:
    """The twin's content as octets."""
    nodes: dict[bytes, dict[str, Records[bytes]]] = {}
    for rrset in state.rrsets():
        rdatas = tuple(sorted(encode_rdata(rrset.type, text) for text in rrset.rdatas))
        nodes.setdefault(encode_name(rrset.name), {})[str(rrset.type)] = Records(rrset.ttl_s, rdatas)
    return dict(nodes)


def served(state: ZoneState, weighted_answers: int = 1) -> ServedZone:
    return ServedZone(ZoneStore(APEX, as_nodes(state)), ReadyPackets(lambda: 0.0), weighted_answers)


def responder(zone: ServedZone, may_transfer: bool = False) -> Responder:
    packets = zone.packets
    assert isinstance(packets, ReadyPackets)
    return Responder({APEX: zone}, {APEX: KEY}, lambda apex, host: may_transfer, lambda: NOW_S, packets)


def content(store: ZoneStore) -> set[tuple[str, str, int, tuple[str, ...]]]:
    """What the store holds, as text."""
    return {
        (name_text(name), type_, each.ttl_s, tuple(sorted(_text(type_, rdata) for rdata in each.rdatas)))
        for name, node in store.picture().items()
        for type_, each in node.items()
    }


def twin_content(state: ZoneState) -> set[tuple[str, str, int, tuple[str, ...]]]:
    return {(rrset.name, str(rrset.type), rrset.ttl_s, rrset.rdatas) for rrset in state.rrsets()}


def _text(type_: str, rdata: bytes) -> str:
    return read_rdata(rdata, TYPE_CODES[type_], 0, len(rdata), {})


def demo_zone(port: int = 0, **fields: object) -> Zone:
    return Zone(ZONE, ServerKind.EMBEDDED, HostPort("127.0.0.1", port), **fields)  # type: ignore[arg-type] # tests' own
