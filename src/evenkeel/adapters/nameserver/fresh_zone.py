"""What the region file decides of a zone's content: SOA, NS, and at first addresses of the nameservers within it."""

from __future__ import annotations

import ipaddress
import socket

from evenkeel.model.region import HostPort, Zone
from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.wire.names import encode_name
from evenkeel.wire.octets import is_at_or_under
from evenkeel.wire.records import SOA_NUMBERS, next_serial, soa_numbers, with_serial

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


def as_configured(zone: Zone, apex_node: Node[bytes]) -> Node[bytes]:
    """The apex as the file has it now: how long a denial is believed, and the NS set where the file names one.

    The same node where nothing differs; else with a serial that has grown.
    """
    soa = apex_node["SOA"]
    rdata = soa.rdatas[0]
    serial, *_, minimum = soa_numbers(rdata)
    wanted = Records(NS_TTL_S, tuple(sorted({encode_name(name) for name in zone.nameservers})))
    keeps_ns = not zone.nameservers or apex_node["NS"].rdatas == wanted.rdatas
    if keeps_ns and minimum == zone.negative_ttl_s:
        return apex_node
    new = rdata[:-4] + zone.negative_ttl_s.to_bytes(4, "big")
    new_soa = Records(max(SOA_TTL_S, zone.negative_ttl_s), (with_serial(new, next_serial(serial)),))
    return {**apex_node, "SOA": new_soa, "NS": apex_node["NS"] if keeps_ns else wanted}


def _address(place: HostPort) -> Node[bytes] | None:
    try:
        version = ipaddress.ip_address(place.host).version
    except ValueError:
        return None  # a name: its zone has the address
    if version == 4:
        return {"A": Records(NS_TTL_S, (socket.inet_pton(socket.AF_INET, place.host),))}
    return {"AAAA": Records(NS_TTL_S, (socket.inet_pton(socket.AF_INET6, place.host),))}
