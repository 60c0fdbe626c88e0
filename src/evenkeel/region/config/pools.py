"""Which load balancers may stand behind an endpoint: by name, by group, by what they are; the three add up."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from evenkeel.region.config import texts
from evenkeel.region.config.fields import Family
from evenkeel.region.config.load_balancers import Described, LoadBalancers
from evenkeel.region.config.report import Place, Report
from evenkeel.region.config.shapes import EndpointTable, EndpointTemplateTable, SelectTable
from evenkeel.region.config.tables import Entry

EndpointEntry = Entry[EndpointTable] | Entry[EndpointTemplateTable]
TEXT_OCTETS_MAX = 255  # one character-string of a TXT record (RFC 1035 section 3.3)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A resolved pool. `addresses`: how many of each family, one number a load balancer, in the order of `names`."""

    names: tuple[str, ...]
    addresses: dict[Family, tuple[int, ...]]
    not_fips: tuple[str, ...]
    is_whole: bool = True  # False: something it refers to is at fault, so nothing is said of its size


# Thousands of endpoints ask the same of one pool.
@lru_cache(1024)
def usable(pool: Pool, families: frozenset[Family]) -> int:
    """Load balancers with an address of one of `families`."""
    return sum(any(counts) for counts in zip(*(pool.addresses[family] for family in families), strict=True))


@lru_cache(1024)
def addresses_max(pool: Pool, families: frozenset[Family], members_max: int) -> int:
    """The most that an answer of `members_max` load balancers can hold."""
    return sum(sum(sorted(pool.addresses[family], reverse=True)[:members_max]) for family in families)


class Pools:
    """Resolves pools; endpoints that ask for the same get the same one, object and all."""

    def __init__(self, load_balancers: LoadBalancers, weight_steps: int, report: Report) -> None:
        self._known = load_balancers
        self._weight_steps = weight_steps
        self._report = report
        self._resolved: dict[object, Pool] = {}

    def resolve(self, entry: EndpointEntry) -> Pool:
        """What is wrong with it is reported, at each endpoint anew."""
        table = entry.table
        asked = (tuple(table.load_balancers), tuple(table.groups), repr(table.select))
        pool = self._resolved.get(asked)
        if pool is None or not pool.is_whole or not entry.is_sound("load-balancers", "groups", "select"):
            pool = self._pool(entry)
            self._resolved[asked] = pool
        return pool

    def do_weights_fit(self, addresses: int) -> bool:
        """Whether the weights of so many addresses fit one text, `a=16,3,..;aaaa=..`."""
        octets_a_weight = len(str(self._weight_steps)) + 1
        return len("a=;aaaa=") + addresses * octets_a_weight <= TEXT_OCTETS_MAX

    def _pool(self, entry: EndpointEntry) -> Pool:
        table, place = entry.table, entry.place
        is_whole = entry.is_sound("load-balancers", "groups", "select")
        if not table.load_balancers and not table.groups and table.select is None:
            if not entry.doubtful:  # else a misspelt key may well be the pool
                self._report.add(place, "the endpoint has no pool", "add `load-balancers`, `groups` or `select`")
            is_whole = False
        names: dict[str, None] = {}
        for index, name in enumerate(table.load_balancers):
            if name in self._known.by_name:
                names[name] = None
            else:
                is_whole = False
                self._unknown("load balancer", name, place.at("load-balancers", index), list(self._known.by_name))
        for index, group in enumerate(table.groups):
            if group in self._known.groups:
                names.update(dict.fromkeys(self._known.groups[group]))
            else:
                is_whole = False
                self._unknown("group", group, place.at("groups", index), list(self._known.groups))
        if table.select is not None:
            names.update(dict.fromkeys(self._selected(table.select, place.at("select"))))
            is_whole = is_whole and self._known.is_whole and not self._known.lost
        chosen = [self._known.by_name[name] for name in names if name in self._known.by_name]
        return _described(chosen, is_whole)

    def _selected(self, select: SelectTable, place: Place) -> list[str]:
        names = [name for name, each in self._known.by_name.items() if _is_selected(each, select)]
        if not names and self._known.is_whole and not self._known.lost:
            self._report.add(place, "selects no load balancer", "see their names, azs and labels")
        return names

    def _unknown(self, kind: str, name: str, place: Place, known: list[str]) -> None:
        if self._known.may_be_lost(name):
            return  # its fault is reported where it stands
        self._report.add(place, f"there is no {kind} {texts.shown(name)}", texts.did_you_mean(name, known, f"{kind}s"))


def _is_selected(each: Described, select: SelectTable) -> bool:
    return (
        (select.name is None or fnmatchcase(each.value.name, select.name))
        and (select.azs is None or each.value.az in select.azs)
        and all(each.labels.get(key) == value for key, value in select.labels.items())
    )


def _described(chosen: list[Described], is_whole: bool) -> Pool:
    return Pool(
        names=tuple(each.value.name for each in chosen),
        addresses={
            Family.IPV4: tuple(len(each.value.ipv4) for each in chosen),
            Family.IPV6: tuple(len(each.value.ipv6) for each in chosen),
        },
        not_fips=tuple(each.value.name for each in chosen if not each.is_fips),
        is_whole=is_whole and bool(chosen),
    )
