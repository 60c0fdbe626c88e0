"""The load balancers: groups expanded, probe defaults inherited, names and addresses unique in the region."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from evenkeel.model.health import Probe, ProbeKind
from evenkeel.model.region import LoadBalancer
from evenkeel.region.config import texts
from evenkeel.region.config.groups import expand
from evenkeel.region.config.limits import LOAD_BALANCERS_MAX
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.shapes import LoadBalancerGroupTable, LoadBalancerTable
from evenkeel.region.config.tables import Entry, Tables


@dataclass(frozen=True, slots=True)
class Described:
    """A load balancer, and what only the file needs of it."""

    value: LoadBalancer
    labels: dict[str, str]
    is_fips: bool
    place: Place


@dataclass(slots=True)
class LoadBalancers:
    """Everything that endpoints can refer to. `is_whole` False: some could not be read, so none is called unknown."""

    by_name: dict[str, Described] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)  # names of load balancers and groups that could not be read
    is_whole: bool = True
    addresses: dict[str, Described] = field(default_factory=dict)

    def may_be_lost(self, name: str) -> bool:
        """Whether a load balancer or group of that name may stand in the file, in a part that is at fault."""
        return not self.is_whole or name in self.lost or any(name.startswith(f"{group}-") for group in self.lost)


def build_load_balancers(tables: Tables, azs: tuple[str, ...], folder: Path, report: Report) -> LoadBalancers:
    """In the order of their names. `azs` empty: unknown, through a fault reported elsewhere."""
    found = LoadBalancers(
        lost=tables.load_balancers.lost | tables.groups.lost,
        is_whole=tables.load_balancers.is_whole and tables.groups.is_whole,
    )
    building = _Building(tables, azs, folder, found, report)
    for entry in tables.load_balancers.entries:
        building.add_one(entry)
    for group in tables.groups.entries:
        building.add_group(group)
    if len(found.by_name) > LOAD_BALANCERS_MAX:
        what = f"{len(found.by_name)} load balancers are more than {LOAD_BALANCERS_MAX}"
        report.add(Place(("load-balancer-group",)), what, "split the region")
    found.by_name = dict(sorted(found.by_name.items()))
    return found


class _Building:
    def __init__(
        self, tables: Tables, azs: tuple[str, ...], folder: Path, found: LoadBalancers, report: Report
    ) -> None:
        self._folder = folder
        self._defaults = tables.probe_defaults
        self._azs = azs
        self._found = found
        self._report = report

    def add_one(self, entry: Entry[LoadBalancerTable]) -> None:
        table, place = entry.table, entry.place
        self._check_az(table.az, place.at("az"))
        if not entry.is_sound("ipv4", "ipv6"):
            self._found.lost.add(table.name)
            return
        if not table.ipv4 and not table.ipv6:
            self._report.add(place, "the load balancer has no address", 'add `ipv4 = ["192.0.2.10"]` or `ipv6`')
        for key, addresses in (("ipv4", table.ipv4), ("ipv6", table.ipv6)):
            for index, address in enumerate(addresses):
                if address in addresses[:index]:
                    self._report.add(place.at(key, index), f"{address} stands twice", "remove one")
        value = LoadBalancer(
            table.name,
            table.az,
            tuple(sorted(table.ipv4)),
            tuple(sorted(table.ipv6)),
            table.capacity,
            self._probe(entry),
            table.draining,
        )
        self._keep(Described(value, table.labels, table.fips, place))

    def add_group(self, entry: Entry[LoadBalancerGroupTable]) -> None:
        table, place = entry.table, entry.place
        if table.name in self._found.groups:
            self._report.add(place, f"the group {table.name} stands twice", "rename one")
            return
        azs = tuple(table.azs) if table.azs else self._azs
        for index, az in enumerate(table.azs or ()):
            self._check_az(az, place.at("azs", index))
        is_sound = entry.is_sound("azs", "count", "member-names", "ipv4", "ipv4-first", "ipv6", "ipv6-first")
        members = expand(table, azs, place, self._report) if is_sound and azs else None
        if members is None:
            self._found.lost.add(table.name)
            return
        probe = self._probe(entry)
        for member in members:
            value = LoadBalancer(
                member.name, member.az, member.ipv4, member.ipv6, table.capacity, probe, table.draining
            )
            self._keep(Described(value, table.labels, table.fips, place))
        self._found.groups[table.name] = tuple(member.name for member in members)

    def _keep(self, described: Described) -> None:
        name = described.value.name
        first = self._found.by_name.get(name)
        if first:
            mend = f"it is there by {first.place}; rename one"
            self._report.add(described.place, f"the load balancer {name} stands twice", mend)
            return
        self._found.by_name[name] = described
        for address in described.value.ipv4 + described.value.ipv6:
            owner = self._found.addresses.setdefault(address, described)
            if owner is not described:
                what = f"{address} of {name} is an address of {owner.value.name} already"
                mend = "give each its own; one that two share would have its capacity counted twice"
                self._report.add(described.place, what, mend)

    def _check_az(self, az: str, place: Place) -> None:
        if self._azs and az not in self._azs:
            self._report.add(place, f"{texts.shown(az)} is no az of this region", f"azs are: {', '.join(self._azs)}")

    def _probe(self, entry: Entry[LoadBalancerTable] | Entry[LoadBalancerGroupTable]) -> Probe:
        given = self._defaults.table.model_dump(exclude_none=True) | entry.table.probe.model_dump(exclude_none=True)
        probe = Probe(**({"port": _default_port(given.get("kind"))} | given))
        own = entry.table.probe.model_fields_set
        if probe.authorities_file:
            probe = replace(probe, authorities_file=str((self._folder / probe.authorities_file).absolute()))
            if not Path(probe.authorities_file).is_file():
                place = entry.place.at("probe") if "authorities_file" in own else self._defaults.place
                what = f"{probe.authorities_file} is no file"
                self._report.add(place.at("authorities-file"), what, "give the path of a PEM file")
        if probe.timeout_s > probe.interval_s and self._defaults.is_sound("timeout-s", "interval-s"):
            self._report.add(
                self._defaults.place if own.isdisjoint(("timeout_s", "interval_s")) else entry.place.at("probe"),
                f"timeout-s {probe.timeout_s:g} is longer than interval-s {probe.interval_s:g}",
                "a probe has to end before the next one begins",
            )
        return probe


def _default_port(kind: ProbeKind | None) -> int:
    return 80 if kind is ProbeKind.HTTP else 443
