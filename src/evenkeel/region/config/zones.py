"""The zones: defaults by kind of server, and what may not be."""

from __future__ import annotations

from evenkeel.model.region import HostPort, ServerKind, Zone
from evenkeel.region.config.report import Report
from evenkeel.region.config.shapes import ZoneTable
from evenkeel.region.config.tables import Entry, Rows

# The embedded server's default: a port that needs no privilege.
EMBEDDED_PRIMARY = HostPort("127.0.0.1", 5300)
# First labels of the records that stand beside endpoints and zones (evenkeel.endpoints.layout).
RESERVED_LABELS = frozenset({"_fence", "_lock", "_tree", "_weights", "_rollback", "_freeze"})
UNSPECIFIED = frozenset({"0.0.0.0", "::"})


def build_zones(rows: Rows[ZoneTable], report: Report) -> dict[str, Zone]:
    """Every zone by name."""
    zones: dict[str, Zone] = {}
    first: dict[str, Entry[ZoneTable]] = {}
    for entry in rows.entries:
        name = entry.table.name
        if name in first:
            report.add(entry.place, f"the zone {name} stands twice", f"it is there as {first[name].place}; remove one")
            continue
        first[name] = entry
        zones[name] = _zone(entry, report)
    return zones


def zone_of(name: str, zones: dict[str, Zone]) -> Zone | None:
    """The zone with the longest name that `name` is at or under."""
    while name:
        zone = zones.get(name)
        if zone:
            return zone
        name = name.partition(".")[2]
    return None


def reserved_label(name: str) -> str:
    """A label of `name` that evenkeel keeps for the records beside an endpoint; "" where there is none."""
    return next((label for label in name.split(".") if label in RESERVED_LABELS), "")


def _zone(entry: Entry[ZoneTable], report: Report) -> Zone:
    table, place = entry.table, entry.place
    label = reserved_label(table.name)
    if label:
        report.add(place.at("name"), f"the label `{label}` is kept for evenkeel's own records", "use another name")
    is_embedded = table.server is ServerKind.EMBEDDED
    primary = table.primary or EMBEDDED_PRIMARY
    if table.primary is None and not is_embedded and entry.is_sound("primary"):
        mend = 'add `primary = "192.0.2.53:53"`, the one server that takes updates'
        report.add(place, f"a zone on {table.server} needs its `primary`", mend)
    servers = (primary, *table.secondaries)
    for index, server in enumerate(table.secondaries):
        if server in servers[: index + 1]:
            report.add(place.at("secondaries", index), f"{server} is named twice in this zone", "remove it")
    if primary.host in UNSPECIFIED and not is_embedded:
        report.add(place.at("primary"), f"{primary} is no address to ask", "use the server's own address")
    for index, server in enumerate(table.secondaries):
        if server.host in UNSPECIFIED:
            report.add(place.at("secondaries", index), f"{server} is no address to ask", "use the server's own address")
    nameservers = tuple(table.nameservers) or ((f"ns1.{table.name}",) if is_embedded else ())
    for index, nameserver in enumerate(table.nameservers):
        if nameserver in nameservers[:index]:
            report.add(place.at("nameservers", index), f"{nameserver} is named twice", "remove one")
    return Zone(
        name=table.name,
        server=table.server,
        primary=primary,
        secondaries=tuple(table.secondaries),
        tsig_key=table.tsig_key,
        nameservers=nameservers,
        negative_ttl_s=table.negative_ttl_s,
        weighted_answers=table.weighted_answers,
    )
