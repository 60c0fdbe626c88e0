"""Every reduction against the space without it, and the compiled search against the one in numpy: on small bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evenkeel.check import kernel
from evenkeel.check.automation import Automation
from evenkeel.check.config import Config
from evenkeel.check.dns_properties import dns_properties
from evenkeel.check.recovery import unrecoverable
from evenkeel.check.search import Search, Space
from evenkeel.check.zone_steps import Fault
from evenkeel.model.policy import OCTOBER_2025, SAFE, CleanUpBy, DnsPolicy

SAFE_1 = replace(SAFE, keep_generations=1, attempts_max=1)
OCTOBER_1 = replace(OCTOBER_2025, keep_generations=1, attempts_max=1)
MIXED = replace(OCTOBER_1, clean_up=CleanUpBy.REACHABILITY)
POLICIES = pytest.mark.parametrize("policy", [SAFE_1, OCTOBER_1, MIXED], ids=["safe", "october", "mixed"])


def explored(config: Config, **options: Any) -> Space:
    model = Automation(config, dns_properties(config.policy, config.plans, config.enactors))
    return Search(model, **options).run()


def zones(space: Space) -> set[Any]:
    """Every endpoint's every content that can be reached."""
    shape = space.model.shape
    found = set()
    columns = space.fields(slice(0, space.count))[:, shape.locals + 1 : shape.locals + len(shape.services)]
    for number in set(columns.reshape(-1).tolist()):
        found.add(space.model.service_state(1, number))
    return found


def broken(space: Space) -> set[str]:
    return {space.model.properties.always[bit].name for bit in space.broken}


def is_recoverable(space: Space) -> bool:
    goal = space.model.properties.recoverable
    assert goal is not None
    return not len(unrecoverable(space, goal))


def small(policy: DnsPolicy, **changes: Any) -> Config:
    return replace(Config(policy=policy, enactors=2, plans=3, endpoints=1), **changes)


@POLICIES
@pytest.mark.parametrize("faults", [0, 1])
def test_symmetry_loses_no_zone_and_no_verdict(policy: DnsPolicy, faults: int) -> None:
    config = small(policy, faults=faults, plans=3 - faults)
    reduced, whole = explored(config, symmetric=True), explored(config, symmetric=False)
    assert reduced.count < whole.count
    assert reduced.depth == whole.depth
    assert broken(reduced) == broken(whole)
    assert is_recoverable(reduced) is is_recoverable(whole)
    if policy is SAFE_1:  # elsewhere locks hold names, of which symmetry keeps one for all
        assert zones(reduced) == zones(whole)


def test_symmetry_has_as_many_states_as_the_whole_space_has_orbits() -> None:
    config = small(OCTOBER_1)
    reduced, whole = explored(config, symmetric=True), explored(config, symmetric=False)
    shape, tables = whole.model.shape, whole.tables
    orbits = set()
    for row in whole.fields(slice(0, whole.count)).tolist():
        images = []
        for o, order in enumerate(tables.orders.tolist()):
            image = list(row)
            for k in range(*shape.alike):
                image[k] = int(tables.exchanged[o, row[shape.alike[0] + order[k - shape.alike[0]]]])
            for k in range(shape.locals + 1, shape.locals + len(shape.services)):
                image[k] = int(tables.exchanged_service[o, row[k]])
            images.append(tuple(image))
        orbits.add(min(images))
    assert reduced.count == len(orbits)


@POLICIES
@pytest.mark.parametrize("faults", [0, 1])
def test_refusing_hopeless_writes_at_once_loses_no_zone_and_no_verdict(policy: DnsPolicy, faults: int) -> None:
    config = small(policy, faults=faults, plans=3 - faults)
    reduced, whole = (explored(replace(config, fold_hopeless=folds), symmetric=False) for folds in (True, False))
    assert reduced.count <= whole.count
    assert zones(reduced) == zones(whole)
    assert broken(reduced) == broken(whole)
    assert is_recoverable(reduced) is is_recoverable(whole)


def test_reductions_hold_with_a_failover_too() -> None:
    config = small(SAFE_1, plans=2, faults=1, fault_kinds=frozenset(Fault))
    whole = explored(replace(config, fold_hopeless=False), symmetric=False)
    for reduced in (
        explored(config),
        explored(replace(config, lazy_appends=True)),
        explored(config, compiled=False),
    ):
        assert zones(reduced) == zones(whole)
        assert broken(reduced) == broken(whole)
        assert is_recoverable(reduced) is is_recoverable(whole)


@POLICIES
@pytest.mark.parametrize("faults", [0, 1])
def test_appending_just_before_somebody_reads_loses_no_zone_and_no_verdict(policy: DnsPolicy, faults: int) -> None:
    config = small(policy, faults=faults, plans=3 - faults)
    reduced, whole = (explored(replace(config, lazy_appends=lazy), symmetric=False) for lazy in (True, False))
    assert reduced.count < whole.count
    assert zones(reduced) == zones(whole)
    assert broken(reduced) == broken(whole)
    assert is_recoverable(reduced) is is_recoverable(whole)


@pytest.mark.parametrize("faults", [0, 1])
def test_one_endpoint_stands_for_each(faults: int) -> None:
    one = explored(small(SAFE_1, plans=2, faults=faults))
    two = explored(small(SAFE_1, plans=2, faults=faults, endpoints=2))
    assert one.count < two.count
    assert zones(one) == zones(two)
    assert is_recoverable(one)
    assert is_recoverable(two)


@pytest.mark.skipif(not kernel.HAS_NUMBA, reason="numba, of the extra `fast`, is not installed")
@POLICIES
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_search_in_numpy_finds_what_the_compiled_one_finds(policy: DnsPolicy, symmetric: bool) -> None:
    config = small(policy, faults=1, plans=2)
    compiled = explored(config, symmetric=symmetric, compiled=True)
    plain = explored(config, symmetric=symmetric, compiled=False)
    assert (compiled.count, compiled.steps, compiled.depth) == (plain.count, plain.steps, plain.depth)
    assert broken(compiled) == broken(plain)
    assert is_recoverable(compiled) is is_recoverable(plain)
