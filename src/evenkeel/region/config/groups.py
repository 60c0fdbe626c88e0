"""A group of load balancers, expanded into its members: names and addresses from patterns or in a row.

Members are numbered az by az: {i} counts in the az, {n} in the group, {k} counts the azs themselves; all from 1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evenkeel.region.config import patterns, texts
from evenkeel.region.config.limits import LOAD_BALANCERS_MAX
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.shapes import LoadBalancerGroupTable

_NAME_VARIABLES = ("group", "az", "i", "n")
_ADDRESS_VARIABLES = ("n", "i", "k")


@dataclass(frozen=True, slots=True)
class Member:
    """One load balancer of a group."""

    name: str
    az: str
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]


_Values = dict[str, str | int]
_Column = Callable[[_Values], tuple[str, ...]]


def expand(
    table: LoadBalancerGroupTable, azs: tuple[str, ...], place: Place, report: Report
) -> tuple[Member, ...] | None:
    """The members in order; None with one problem or more reported."""
    if table.count * len(azs) > LOAD_BALANCERS_MAX:
        what = f"{table.count} in each of {len(azs)} azs are more than {LOAD_BALANCERS_MAX} load balancers"
        report.add(place.at("count"), what, "split the region")
        return None
    if table.ipv4 is table.ipv4_first is table.ipv6 is table.ipv6_first is None:
        report.add(
            place, "the group has no addresses", 'add `ipv4 = "192.0.2.{n}"`, `ipv4-first` or their like for IPv6'
        )
        return None
    expansion = _Expansion(table, azs, place, report)
    names = expansion.column("member-names", table.member_names, texts.label, _NAME_VARIABLES, "az")
    ipv4 = expansion.addresses("ipv4", table.ipv4, table.ipv4_first, texts.ipv4_address)
    ipv6 = expansion.addresses("ipv6", table.ipv6, table.ipv6_first, texts.ipv6_address)
    if names is None or ipv4 is None or ipv6 is None:
        return None
    members = []
    for values in expansion.places():
        try:
            members.append(Member(names(values)[0], str(values["az"]), ipv4(values), ipv6(values)))
        except texts.BadText as error:
            report.add(place, f"member {values['n']}: {error.what}", error.mend)
            return None
    return tuple(members)


@dataclass(frozen=True, slots=True)
class _Expansion:
    table: LoadBalancerGroupTable
    azs: tuple[str, ...]
    place: Place
    report: Report

    def places(self) -> Iterator[_Values]:
        number = 0
        for az_number, az in enumerate(self.azs, 1):
            for number_in_az in range(1, self.table.count + 1):
                number += 1
                yield {"group": self.table.name, "az": az, "i": number_in_az, "n": number, "k": az_number}

    def addresses(
        self, key: str, pattern: str | None, first: str | None, door: Callable[[object], str]
    ) -> _Column | None:
        if pattern is not None and first is not None:
            self.report.add(self.place.at(key), f"`{key}` and `{key}-first` are both given", "keep one of them")
            return None
        if pattern is not None:
            return self.column(key, pattern, door, _ADDRESS_VARIABLES, "k")
        if first is not None:
            return _row(first, door)
        return lambda _: ()

    def column(
        self, key: str, text: str, door: Callable[[object], str], variables: tuple[str, ...], az_variable: str
    ) -> _Column | None:
        """How a member's text comes from its numbers, through `door`; None with a problem reported."""
        try:
            pattern = patterns.parse(text, variables)
        except texts.BadText as error:
            self.report.add(self.place.at(key), error.what, error.mend)
            return None
        asked = {variable for variable, _ in pattern.holes}
        tells_places = "i" in asked or self.table.count == 1
        tells_azs = az_variable in asked or len(self.azs) == 1
        if "n" not in asked and not (tells_places and tells_azs):
            what = f"{texts.shown(text)} gives several members the same text"
            self.report.add(self.place.at(key), what, f"put {{n}} into it, or {{{az_variable}}} and {{i}}")
            return None
        return lambda values: (door(pattern.fill(values)),)


def _row(first: str, door: Callable[[object], str]) -> _Column:
    start = ipaddress.ip_address(first)
    # No row runs past the last address: `door` refuses the blocks at the end of both families.
    return lambda values: (door(str(start + (int(values["n"]) - 1))),)
