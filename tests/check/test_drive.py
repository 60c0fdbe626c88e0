"""A trace taken again: over the twin in virtual time, and over real name servers, with the same outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from evenkeel.adapters.dns.resolve import ServerResolver
from evenkeel.adapters.dns.zone_client import ZoneClient
from evenkeel.check.automation import Automation
from evenkeel.check.config import Config
from evenkeel.check.dns_properties import dns_properties
from evenkeel.check.drive import Diverged, Driver
from evenkeel.check.search import Search
from evenkeel.check.trace import Taken, way_that_breaks, way_to
from evenkeel.check.verify import check
from evenkeel.check.way import Asked, find_way
from evenkeel.model.errors import InputError
from evenkeel.model.policy import OCTOBER_2025, SAFE
from evenkeel.testing.servers import Server
from evenkeel.twins.zone import TwinZoneServer, ZoneState
from tests.servers import BIND, KNOT, ZONE, running

OCTOBER = Config(policy=replace(OCTOBER_2025, keep_generations=1, attempts_max=1), enactors=2, plans=3, endpoints=1)
SAFE_1 = Config(policy=replace(SAFE, keep_generations=1, attempts_max=1), enactors=2, plans=3, endpoints=1)


def race() -> tuple[Automation, list[Taken]]:
    model = Automation(OCTOBER, dns_properties(OCTOBER.policy, 3, 2))
    space = Search(model, stop_when=lambda space: "found" if 0 in space.broken else "").run()
    return model, way_that_breaks(space, space.broken[0])


@pytest.fixture(scope="module", params=["embedded", BIND, KNOT])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(request.param, tmp_path_factory.mktemp(request.param))


def twin() -> TwinZoneServer:
    return TwinZoneServer(ZoneState.of(ZONE, guarded=False))


def test_the_race_empties_the_record_on_a_real_server(server: Server) -> None:
    model, way = race()

    async def drive() -> None:
        zone = server.zone(ZONE)
        async with ZoneClient(zone, server.key) as client, ServerResolver() as resolver:
            driver = Driver(model, client, ZONE)
            before = await driver.run(way[:-1])
            assert before[-1].answer == ("10.0.0.1",)
            name = f"endpoint-1.{ZONE}"
            assert (await resolver.addresses(zone.primary, name, True, False)).a == ("10.0.0.1",)
            await driver.run(way)
            assert (await resolver.addresses(zone.primary, name, True, False)).is_empty
            await driver.forget()
            assert not (await client.read(name)).fences

    asyncio.run(drive())


def test_the_race_empties_the_record_in_virtual_time() -> None:
    model, way = race()
    assert asyncio.run(Driver(model, twin(), ZONE).run(way))[-1].answer == ()


@pytest.mark.parametrize("faults", [0, 1, 2])
def test_every_deepest_way_through_the_safe_space_goes_the_same_over_the_twin(faults: int) -> None:
    config = replace(SAFE_1, faults=faults, plans=3 if faults < 2 else 2)
    model = Automation(config, dns_properties(config.policy, config.plans, 2))
    space = Search(model).run()
    for state in range(space.count - 1, 0, -max(1, space.count // 200)):
        asyncio.run(Driver(model, twin(), ZONE).run(way_to(space, state)))


def test_a_trace_read_from_a_file_is_the_trace_that_was_written() -> None:
    report = check(OCTOBER)
    model = Automation(OCTOBER, dns_properties(OCTOBER.policy, 3, 2))
    way = find_way(model, [Asked(step.process, step.endpoint, step.action) for step in report.trace])
    assert asyncio.run(Driver(model, twin(), ZONE).run(way))[-1].answer == ()


def test_a_trace_that_cannot_be_is_wrong_input() -> None:
    model = Automation(OCTOBER, dns_properties(OCTOBER.policy, 3, 2))
    impossible = [Asked("planner", "", "append: applied"), Asked("enactor-a", "endpoint-1", "lock: applied")]
    with pytest.raises(InputError, match="step 2: enactor-a cannot do 'lock: applied'"):
        find_way(model, impossible)


def test_a_server_that_behaves_otherwise_is_found_out() -> None:
    model, way = race()
    guarded = TwinZoneServer(ZoneState.of(ZONE, guarded=True))
    with pytest.raises(Diverged, match="explored 'remove_unfenced: applied', got 'remove_unfenced: superseded'"):
        asyncio.run(Driver(model, guarded, ZONE).run(way))
