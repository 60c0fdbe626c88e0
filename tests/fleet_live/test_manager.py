"""A manager and its agents over real links: leases, amnesty, launches, and what kills at any moment leave behind."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evenkeel.adapters.agent.linking import join
from evenkeel.adapters.instances.keeper import boot_s
from evenkeel.model.errors import EvenkeelError, Refusal, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.fleet import (
    HostState,
    InstanceSpec,
    InstanceState,
    InsufficientCapacity,
    Launched,
    LaunchRequest,
    Recovering,
    epoch_of,
)
from evenkeel.model.fleet_policy import OCTOBER_2025_FLEET
from tests.fleet_live.arms import nats_server
from tests.fleet_live.fleets import AZ, Fleet, fleet, until

WEB = InstanceSpec("web", 1, 128)


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90.0):
            await body()

    asyncio.run(bounded())


def request(token: str, count: int = 1, spec: InstanceSpec = WEB) -> LaunchRequest:
    return LaunchRequest("demo", token, spec, AZ, count)


async def launched(world: Fleet, token: str, count: int = 1) -> list[str]:
    """Launch, and wait until everything runs; the instances' names."""
    outcome = await world.manager.launch(request(token, count))
    assert isinstance(outcome, Launched)
    names = [each.instance for each in outcome.instances]
    await until(lambda: all(world.store.by_id[name].state is InstanceState.RUNNING for name in names))
    return names


def running_on_hosts(world: Fleet) -> list[str]:
    return sorted(name for each in world.agents.values() for name, at in each.instances.found().items() if at.is_up)


def test_hosts_join_are_leased_and_run_what_is_launched_which_answers_http(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            assert [host.name for host in await world.store.hosts(AZ)] == ["a-1", "a-2"]
            names = await launched(world, "t-1", count=2)
            hosts = {world.store.by_id[name].host for name in names}
            assert hosts == {"a-1", "a-2"}, "instances of one launch are spread"
            address = world.store.by_id[names[0]].address
            said = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{address}/", timeout=5).read())
            assert names[0].encode() in said
            assert running_on_hosts(world) == sorted(names)

    run(body)


def test_a_launch_repeated_under_its_token_gives_the_same_instances(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            outcomes = await asyncio.gather(*(world.manager.launch(request("t-1", 2)) for _ in range(5)))
            assert all(isinstance(each, Launched) for each in outcomes)
            assert len({each.instances for each in outcomes if isinstance(each, Launched)}) == 1
            assert len(world.store.by_id) == 2

    run(body)


def test_a_launch_whose_record_had_no_reply_is_found_by_its_repetition_and_runs_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            world.store.loses_replies = True
            with pytest.raises(Unreachable):
                await world.manager.launch(request("t-1"))
            world.store.loses_replies = False
            again = await world.manager.launch(request("t-1"))
            assert isinstance(again, Launched)
            assert len(world.store.by_id) == 1
            await until(lambda: running_on_hosts(world) == [again.instances[0].instance])

    run(body)


def test_a_terminated_instance_ends_and_its_room_is_free_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            (name,) = await launched(world, "t-1")
            full = await world.manager.launch(request("t-2", spec=InstanceSpec("web", 4, 128)))
            assert isinstance(full, InsufficientCapacity)
            await world.store.ask_to_stop("demo", name)
            await world.manager.stopped(name)
            await until(lambda: world.store.by_id[name].state is InstanceState.TERMINATED)
            assert running_on_hosts(world) == []
            assert isinstance(await world.manager.launch(request("t-3", spec=InstanceSpec("web", 4, 128))), Launched)

    run(body)


def test_a_listing_that_comes_late_does_not_bring_back_what_was_terminated_meanwhile(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            (name,) = await launched(world, "t-1")
            arrives = world.store.listing_waits = asyncio.Event()
            late = asyncio.create_task(world.manager.instances.read())
            await until(lambda: world.store.listing_waits is None)
            await world.store.ask_to_stop("demo", name)
            await world.manager.stopped(name)
            await until(lambda: world.store.by_id[name].state is InstanceState.TERMINATED)
            await until(lambda: world.manager.instances.count() == {})
            arrives.set()
            await late
            assert world.manager.instances.count() == {}
            await asyncio.sleep(1.0)
            assert running_on_hosts(world) == [], "it is not started again"
            assert isinstance(await world.manager.launch(request("t-2", spec=InstanceSpec("web", 4, 128))), Launched)

    run(body)


def test_while_the_store_is_lost_leases_stand_instances_run_and_launches_say_recovering(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            names = await launched(world, "t-1", count=2)
            generations = {each.name: each.generation for each in world.store.by_name.values()}
            world.store.is_lost = True
            await until(lambda: world.manager.storekeeper.is_lost)
            with pytest.raises(Unreachable):
                await world.manager.launch(request("t-2"))
            await asyncio.sleep(2 * world.policy.term_s)  # longer than any lease would last by itself
            assert world.is_whole()
            world.store.is_lost = False
            await until(lambda: not world.manager.storekeeper.is_lost)
            assert world.is_whole()
            assert running_on_hosts(world) == sorted(names)
            assert {each.name: each.generation for each in world.store.by_name.values()} == generations
            assert world.manager.view().fleet.amnesties == 1
            assert await launched(world, "t-3")
            assert "amnesty" in world.journal.of(EventKind.RECOVERED)[0]

    run(body)


def test_under_october_2025_the_clock_runs_leases_end_and_their_instances_are_fenced(tmp_path: Path) -> None:
    policy = replace(OCTOBER_2025_FLEET, term_s=4.0, request_timeout_s=1.0)

    async def body() -> None:
        async with fleet(tmp_path, policy=policy) as world:
            names = await launched(world, "t-1", count=2)
            world.store.is_lost = True
            await until(lambda: world.manager.view().fleet.leased == 0)
            await until(lambda: running_on_hosts(world) == [])
            world.store.is_lost = False
            await until(world.is_whole)
            await until(lambda: running_on_hosts(world) == sorted(names))
            await until(lambda: all(world.store.by_id[name].state is InstanceState.RUNNING for name in names))

    run(body)


def test_a_manager_that_is_killed_is_replaced_and_every_lease_and_instance_stands(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            names = await launched(world, "t-1", count=2)
            workloads = {
                name: at.workload for each in world.agents.values() for name, at in each.instances.found().items()
            }
            for epoch in (2, 3):
                await world.kill_manager()
                manager = await world.start_manager()
                assert manager.epoch == epoch
                await until(world.is_whole)
                await until(lambda: {each.agent.epoch for each in world.agents.values()} == {manager.epoch})  # noqa: B023
            assert running_on_hosts(world) == sorted(names)
            after = {name: at.workload for each in world.agents.values() for name, at in each.instances.found().items()}
            assert after == workloads, "none was started anew"

    run(body)


def test_an_agent_that_is_killed_comes_back_to_its_instances_and_starts_none_twice(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            await launched(world, "t-1", count=2)
            before = world.agents["a-1"].instances.found()
            sequence = world.agents["a-1"].agent.sequence
            await world.agents["a-1"].kill()
            again = world.start_agent("a-1")
            await until(world.is_whole)
            await until(lambda: again.agent.sequence > sequence)
            assert again.instances.found() == before

    run(body)


def test_launches_go_to_hosts_with_a_link_however_long_a_dead_ones_lease_stands(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            await world.kill_manager()
            await world.start_manager()
            await until(world.is_whole)
            await world.agents["a-1"].kill()
            await until(lambda: world.manager.view().linked == 1)
            assert world.manager.view().fleet.leased == 2, "the takeover lets its lease stand"
            outcome = await world.manager.launch(request("t-1", count=4))
            assert isinstance(outcome, Launched)
            assert {each.host for each in outcome.instances} == {"a-2"}
            assert isinstance(await world.manager.launch(request("t-2")), Recovering), "a-1 may come back"

    run(body)


def test_an_agent_that_stays_away_loses_its_instances_at_the_end_of_its_lease(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            (name,) = await launched(world, "t-1")
            gone = world.agents["a-1"]
            await gone.kill()
            left_s = gone.instances.covered_for_s()
            await until(lambda: running_on_hosts(world) == [], left_s + 5.0)
            await until(lambda: world.store.by_id[name].state is InstanceState.LOST, 60.0)
            outcome = await world.manager.launch(request("t-2"))
            assert isinstance(outcome, Recovering), "its room is not gone, it only waits for its lease"

    run(body)


def test_a_second_manager_fences_the_first_which_grants_nothing_more(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            first, running = world.manager, world._running
            assert await world.store.take(AZ, "manager-b", first.epoch, 20.0)
            assert running is not None
            await asyncio.wait_for(running, 20.0)
            assert first.leases.is_superseded
            with pytest.raises(EvenkeelError):
                await first.launch(request("t-1"))
            assert world.journal.of(EventKind.SUPERSEDED)
            world._manager = None
            await world.start_manager()
            await until(world.is_whole)
            await until(lambda: all(each.agent.epoch == 3 for each in world.agents.values()))

    run(body)


def test_generations_only_grow_and_none_is_given_twice(tmp_path: Path) -> None:
    async def body() -> None:
        policy = replace(OCTOBER_2025_FLEET, term_s=1.5, request_timeout_s=0.5)
        async with fleet(tmp_path, policy=policy) as world:
            seen: dict[str, list[int]] = {name: [] for name in world.agents}
            for _ in range(3):
                for name in world.agents:
                    seen[name].append(world.store.by_name[name].generation)
                world.store.is_lost = True
                await until(lambda: world.manager.view().fleet.leased == 0)
                world.store.is_lost = False
                await until(world.is_whole)
            for given in seen.values():
                assert given == sorted(set(given))
                assert all(epoch_of(generation) == 1 for generation in given)
            everything = [generation for given in seen.values() for generation in given]
            assert len(everything) == len(set(everything))

    run(body)


def test_draining_keeps_what_runs_and_retiring_ends_the_lease_for_good(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            names = await launched(world, "t-1", count=2)
            on_first = next(name for name in names if world.store.by_id[name].host == "a-1")
            await world.manager.set_state("a-1", HostState.DRAINING)
            for token in ("t-2", "t-3"):
                (name,) = await launched(world, token)
                assert world.store.by_id[name].host == "a-2"
            assert on_first in running_on_hosts(world)
            await world.manager.set_state("a-1", HostState.RETIRED)
            retired = world.agents["a-1"]
            await until(lambda: not retired.agent.is_covered(boot_s()), 40.0)
            await until(lambda: on_first not in running_on_hosts(world))
            with pytest.raises(Refusal):
                await world.manager.set_state("a-1", HostState.ACTIVE)

    run(body)


@pytest.mark.nats
def test_over_a_nats_server_it_is_the_same_fleet(tmp_path: Path) -> None:
    async def body(url: str) -> None:
        async with fleet(tmp_path, nats=url) as world:
            names = await launched(world, "t-1", count=2)
            await world.kill_manager()
            await world.start_manager()
            await until(world.is_whole)
            await until(lambda: {each.agent.epoch for each in world.agents.values()} == {2}, 40.0)
            await until(lambda: running_on_hosts(world) == sorted(names))
            await launched(world, "t-2")

    with nats_server(tmp_path) as url:
        run(lambda: body(url))


# --- joining ----------------------------------------------------------------------------------------


def test_a_newcomer_without_the_token_is_turned_away(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            with pytest.raises(EvenkeelError):
                await join(world.place("a-9", token="guessed"), world.address)
            assert "a-9" not in world.store.by_name

    run(body)


def test_a_newcomer_with_the_token_cannot_take_the_name_of_a_host_that_is_there(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            with pytest.raises(Refusal, match="another key"):
                await join(world.place("a-1", folder=tmp_path / "impostor"), world.address)
            await join(world.place("a-1"), world.address)  # the host itself may renew its certificate

    run(body)


@pytest.mark.parametrize("name", ["b-1", "a-", "a-1-", "a-1/../2", "A-1", "a-" + "1" * 80])
def test_names_that_are_none_of_the_az_are_refused(tmp_path: Path, name: str) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            with pytest.raises(EvenkeelError):
                await join(world.place(name, folder=tmp_path / "newcomer"), world.address)
            assert list(world.store.by_name) == ["a-1"]

    run(body)
