"""A region with many endpoints alike, folded: one simulated endpoint stands for a cohort of them.

What is kept: the order and the length of every walk (an exchange about a cohort takes as long as those about its
members one after another), capacity shares (demand adds up), and all races, since a cohort's members would meet the
same Enactors at the same time but for their order within the cohort. What is lost: differences between members. Only
account endpoints are folded; public, FIPS and IPv6 ones are simulated each on its own.
"""

from __future__ import annotations

from dataclasses import replace

from evenkeel.model.region import Endpoint, EndpointKind, Region


def folded(region: Region, cohorts: int, accounts_wanted: int = 0) -> tuple[Region, dict[str, int]]:
    """The region with its account endpoints in `cohorts` (0: as it is), and how many each simulated one stands for.

    A cohort's members stand next to each other in name order, have one profile, and its first one stands for them.
    With `accounts_wanted` they stand for so many accounts in all, whatever the region's file has.
    """
    accounts = sorted(
        (each for each in region.endpoints.values() if each.kind is EndpointKind.ACCOUNT), key=lambda each: each.name
    )
    if not cohorts or len(accounts) <= cohorts:
        return region, {}
    endpoints = {each.name: each for each in region.endpoints.values() if each.kind is not EndpointKind.ACCOUNT}
    times: dict[str, int] = {}
    for number in range(cohorts):
        start, end = len(accounts) * number // cohorts, len(accounts) * (number + 1) // cohorts
        for first, members in _profiles(accounts[start:end]):
            count = max(1, members * accounts_wanted // len(accounts)) if accounts_wanted else members
            endpoints[first.name] = replace(first, demand=first.demand * count)
            times[first.name] = count
    return replace(region, endpoints=endpoints), times


def _profiles(members: list[Endpoint]) -> list[tuple[Endpoint, int]]:
    """The first of each profile among `members`, and how many have it."""
    found: dict[Endpoint, tuple[Endpoint, int]] = {}
    for member in members:
        profile = replace(member, name="")
        first, count = found.get(profile, (member, 0))
        found[profile] = (first, count + 1)
    return list(found.values())
