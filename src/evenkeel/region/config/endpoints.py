"""The endpoints: templates expanded, pools resolved, and what may not be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evenkeel.model.plan import Layout
from evenkeel.model.policy import DnsPolicy
from evenkeel.model.region import Endpoint, EndpointKind, Zone
from evenkeel.region.config import patterns, texts
from evenkeel.region.config.accounts import accounts
from evenkeel.region.config.fields import Family
from evenkeel.region.config.limits import ENDPOINTS_MAX
from evenkeel.region.config.pools import EndpointEntry, Pool, Pools, addresses_max, usable
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.shapes import EndpointTemplateTable
from evenkeel.region.config.tables import Entry, Tables
from evenkeel.region.config.zones import reserved_label, zone_of

# Beside an endpoint of n octets stands at most `_weights.g<18 digits>._tree.`, which takes 35 octets more, and a name
# has at most 255 octets with the root's (RFC 1035 section 3.1), written without it at most 254 characters.
NAME_CHARACTERS_MAX = 254 - 35
FAULTS_SHOWN = 10  # of one template's names
_DEFAULT_FAMILIES = {EndpointKind.IPV6: (Family.IPV6,)}


def build_endpoints(
    tables: Tables, zones: dict[str, Zone], pools: Pools, policy: DnsPolicy, folder: Path, report: Report
) -> dict[str, Endpoint]:
    """Every endpoint by name. `folder` is where files of accounts are looked for."""
    building = _Building(zones, pools, policy, tables.zones.is_whole and not tables.zones.lost, report)
    for entry in tables.endpoints.entries:
        building.add(entry, [(entry.table.name, entry.place.at("name"))])
    for template in tables.templates.entries:
        building.add(template, _names(template, folder, report))
    if tables.endpoints.is_absent and tables.templates.is_absent:
        report.add(Place(), "there is no `[[endpoint]]`", "add one, or an `[[endpoint-template]]`")
    return building.endpoints


class _Building:
    def __init__(
        self, zones: dict[str, Zone], pools: Pools, policy: DnsPolicy, are_zones_whole: bool, report: Report
    ) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self._places: dict[str, Place] = {}
        self._zones = zones
        self._are_zones_whole = are_zones_whole
        self._pools = pools
        self._policy = policy
        self._nameservers = {name: zone.name for zone in zones.values() for name in zone.nameservers}
        self._report = report

    def add(self, entry: EndpointEntry, names: Iterator[tuple[str, Place]] | list[tuple[str, Place]]) -> None:
        table = entry.table
        families = frozenset(table.families or _DEFAULT_FAMILIES.get(table.kind, (Family.IPV4,)))
        pool = self._pools.resolve(entry)
        self._check_pool(entry, families, pool)
        faults, blamed = 0, entry.place
        for name, place in names:
            zone, problem = self._zone(name)
            if problem:
                faults += 1
                if faults <= FAULTS_SHOWN:
                    self._report.add(place, *problem)
                blamed = place
            if zone is None:
                continue
            self._places[name] = place
            self.endpoints[name] = Endpoint(
                name=name,
                zone=zone.name,
                layout=self._layout(entry, name, zone),
                load_balancers=pool.names,
                ttl_s=table.ttl_s,
                ipv4=Family.IPV4 in families,
                ipv6=Family.IPV6 in families,
                demand=table.demand,
                members_min=table.members_min,
                members_max=table.members_max,
                kind=table.kind,
            )
            if len(self.endpoints) > ENDPOINTS_MAX:
                self._report.add(place, f"more than {ENDPOINTS_MAX} endpoints", "split the region")
                break
        if faults > FAULTS_SHOWN:
            self._report.add(blamed, f"{faults - FAULTS_SHOWN} more of its names are at fault", "as above")

    def _zone(self, name: str) -> tuple[Zone | None, tuple[str, str] | None]:
        """The zone that `name` stands in, or None and why it cannot stand: what and mend."""
        zone = zone_of(name, self._zones)
        first = self._places.get(name)
        label = reserved_label(name)
        problem: tuple[str, str] | None = None
        if first is not None:
            problem = f"the endpoint {name} stands twice", f"it is there by {first}; remove one"
        elif zone is None:
            if self._are_zones_whole:
                zones = ", ".join(sorted(self._zones)[:8])
                problem = (
                    f"{name} stands in no zone of this region",
                    f"zones are: {zones}; add its zone, or mend the name",
                )
        elif label:
            problem = f"the label `{label}` is kept for evenkeel's own records", "use another name"
        elif name in self._nameservers:
            what = f"{name} is a nameserver of the zone {self._nameservers[name]}"
            problem = what, "give the nameserver a name of its own; it must not move with an endpoint"
        elif len(name) - 1 > NAME_CHARACTERS_MAX:
            what = f"{name} leaves no room for the records beside it"
            problem = what, f"use at most {NAME_CHARACTERS_MAX} characters"
        return (None, problem) if problem else (zone, None)

    def _layout(self, entry: EndpointEntry, name: str, zone: Zone) -> Layout:
        is_apex = name == zone.name
        if is_apex and entry.table.layout is Layout.TREE:
            what = f"{name} is its zone's apex, where no CNAME can stand (RFC 1034 section 3.6.2)"
            self._report.add(entry.place.at("layout"), what, 'use `layout = "flat"`, or leave it out')
        return entry.table.layout or (Layout.FLAT if is_apex else Layout.TREE)

    def _check_pool(self, entry: EndpointEntry, families: frozenset[Family], pool: Pool) -> None:
        table, place = entry.table, entry.place
        if table.members_min > table.members_max:
            what = f"members-min {table.members_min} is above members-max {table.members_max}"
            self._report.add(place.at("members-min"), what, "lower it")
        if not pool.is_whole or not entry.is_sound("families", "kind"):
            return
        for family in Family:
            if family in families and not any(pool.addresses[family]):
                what = f"no load balancer of the pool has an {family} address"
                mend = "give one such an address, or name the families it has in `families`"
                self._report.add(place.at("families") if table.families else place, what, mend)
        if table.kind is EndpointKind.FIPS and pool.not_fips:
            names = ", ".join(pool.not_fips[:3]) + (", ..." if len(pool.not_fips) > 3 else "")
            what = f"{len(pool.not_fips)} of the pool are not `fips = true`: {names}"
            self._report.add(place, what, "take them out of the pool, or mark them where it is so")
        self._check_sizes(entry, families, pool)

    def _check_sizes(self, entry: EndpointEntry, families: frozenset[Family], pool: Pool) -> None:
        table, place = entry.table, entry.place
        count = usable(pool, families)
        if entry.is_sound("members-min") and table.members_min > count:
            what = f"members-min {table.members_min} is above the pool's {count} load balancers"
            self._report.add(place.at("members-min"), what, "lower it, or add load balancers")
        most = addresses_max(pool, families, table.members_max)
        if 0 < most < self._policy.addresses_min:
            what = (
                f"an answer has at most {most} addresses, below the policy's addresses-min {self._policy.addresses_min}"
            )
            self._report.add(place, what, "no transaction could ever publish it: lower one or raise the other")
        if not self._pools.do_weights_fit(most):
            what = f"weights of {most} addresses do not fit the 255 octets of a text record"
            mend = "lower members-max, or weight-steps of [planner]"
            self._report.add(place.at("members-max"), what, mend)


def _names(entry: Entry[EndpointTemplateTable], folder: Path, report: Report) -> Iterator[tuple[str, Place]]:
    """The template's names, each with the place to blame."""
    try:
        pattern = patterns.parse(entry.table.name, ("account",), needed=("account",))
        texts.domain_name(pattern.fill({"account": "a"}))
    except texts.BadText as error:
        report.add(entry.place.at("name"), error.what, error.mend)
        return
    if not entry.is_sound("accounts"):
        return
    for account, place in accounts(entry, folder, report):
        text = pattern.fill({"account": account})
        try:
            yield texts.domain_name(text), place
        except texts.BadText as error:
            report.add(place, error.what, error.mend)
