"""What a zone holds before anybody has written to it: SOA, NS, and addresses of the nameservers within it."""

from __future__ import annotations

import ipaddress
import socket

from evenkeel.model.region import HostPort, Zone
from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.wire.names import encode_name
from evenkeel.wire.octets import is_at_or_under
from evenkeel.wire.records import SOA_NUMBERS

SOA_TTL_S = 60
NS_TTL_S = 3600
REFRESH_S, RETRY_S, EXPIRE_S = 60, 10, 14 * 24 * 3600


def nameserver_names(zone: Zone) -> tuple[str, ...]:
    """As configured; `ns1.<zone>` where nothing is."""
    return zone.nameservers or (f"ns1.{zone.name}",)


def soa_rdata(zone: Zone, serial: int) -> bytes:
    primary, mailbox = nameserver_names(zone)[0], f"hostmaster.{zone.name}"
    numbers = SOA_NUMBERS.pack(serial, REFRESH_S, RETRY_S, EXPIRE_S, zone.negative_ttl_s)
    return encode_name(primary) + encode_name(mailbox) + numbers


def fresh_zone(zone: Zone, now_s: int) -> dict[bytes, Node[bytes]]:
    """The zone's first content. The serial begins with the time, so that it is past that of any earlier life."""
    apex = encode_name(zone.name)
    names = nameserver_names(zone)
    nodes: dict[bytes, Node[bytes]] = {
        apex: {
            "SOA": Records(max(SOA_TTL_S, zone.negative_ttl_s), (soa_rdata(zone, now_s & 0xFFFFFFFF or 1),)),
            "NS": Records(NS_TTL_S, tuple(sorted({encode_name(name) for name in names}))),
        }
    }
    # The first nameserver is the primary, those that follow the secondaries, in order.
    for name, place in zip(names, (zone.primary, *zone.secondaries), strict=False):
        owner = encode_name(name)
        address = _address(place)
        if address is not None and is_at_or_under(owner, apex) and owner != apex:
            nodes[owner] = address
    return nodes


def _address(place: HostPort) -> Node[bytes] | None:
    try:
        version = ipaddress.ip_address(place.host).version
    except ValueError:
        return None  # a name: its zone has the address
    if version == 4:
        return {"A": Records(NS_TTL_S, (socket.inet_pton(socket.AF_INET, place.host),))}
    return {"AAAA": Records(NS_TTL_S, (socket.inet_pton(socket.AF_INET6, place.host),))}
