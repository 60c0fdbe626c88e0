"""How callers and agents find the manager that serves, where several may: over real sockets, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from evenkeel.adapters.agent.linking import Elsewhere
from evenkeel.adapters.droplet_manager.client import PATIENCE_S, ManagerClient
from evenkeel.adapters.droplet_manager.control import ControlService, HostView, ManagerView, RoleView, StandsBy
from evenkeel.adapters.droplet_manager.desk import Desk
from evenkeel.adapters.droplet_manager.manager import opened
from evenkeel.adapters.instances.keeper import boot_s
from evenkeel.adapters.links.tcp import TcpManagerLinks
from evenkeel.fleet.takeover import take_over
from evenkeel.model.errors import Refusal, Unreachable
from evenkeel.model.fleet import Host, HostState, Launched, LaunchOutcome, LaunchRequest, Tenure
from evenkeel.model.region import HostPort
from evenkeel.ports.fleet import Superseded
from evenkeel.region.processes.droplet_manager import check_can_listen
from tests.fleet_live.arms import nats_server
from tests.fleet_live.authorities import REGION
from tests.fleet_live.fleets import AZ, Fleet, fleet, until
from tests.fleet_live.stores import FaultyStore
from tests.fleet_live.test_manager import request, run

TOKEN = "fleet-token"


@dataclass
class Process:
    """A manager's process that answers as ordered. While `hangs` it takes calls and says nothing."""

    name: str
    is_holder: bool = False
    hangs: bool = False
    refuses: bool = False
    called: list[str] = field(default_factory=list)

    async def _answer(self, call: str) -> None:
        self.called.append(call)
        if self.hangs:
            await asyncio.Event().wait()
        if not self.is_holder:
            raise StandsBy(f"{self.name} stands by")
        if self.refuses:
            raise Refusal(f"{self.name} refuses")

    async def launch(self, request: LaunchRequest) -> LaunchOutcome:
        await self._answer("launch")
        return Launched(())

    async def stopped(self, instance: str) -> None:
        await self._answer("stopped")

    async def status(self) -> ManagerView:
        raise AssertionError("not asked here")

    async def hosts(self) -> tuple[HostView, ...]:
        await self._answer("hosts")
        return ()

    async def set_state(self, name: str, state: HostState) -> Host:
        raise AssertionError("not asked here")

    async def throttle(self, per_s: float) -> None:
        await self._answer("throttle")

    async def restart(self) -> int:
        await self._answer("restart")
        return 7

    async def role(self) -> RoleView:
        if self.hangs:
            await asyncio.Event().wait()
        return RoleView(self.name, AZ, self.is_holder)


@contextlib.asynccontextmanager
async def client_of(*processes: Process) -> AsyncIterator[tuple[ManagerClient, list[ControlService]]]:
    services = [ControlService(process) for process in processes]
    addresses = [await service.start(HostPort("127.0.0.1", 0), TOKEN) for service in services]
    client = ManagerClient(addresses, TOKEN)
    try:
        yield client, services
    finally:
        await client.close()
        for service in services:
            await service.stop()


def with_clients(
    processes: Sequence[Process], body: Callable[[ManagerClient, list[ControlService]], Awaitable[None]]
) -> None:
    async def whole() -> None:
        async with client_of(*processes) as (client, services):
            await body(client, services)

    run(whole)


# --- callers ----------------------------------------------------------------------------------------


def test_a_call_goes_to_the_manager_that_serves_and_the_next_one_goes_there_at_once() -> None:
    standby, holder = Process("one"), Process("two", is_holder=True)

    async def body(client: ManagerClient, _: list[ControlService]) -> None:
        for _again in range(3):
            assert await client.launch(request("t-1")) == Launched(())
        assert (standby.called, holder.called) == (["launch"], ["launch"] * 3)

    with_clients([standby, holder], body)


def test_where_all_stand_by_each_of_them_is_named() -> None:
    async def body(client: ManagerClient, _: list[ControlService]) -> None:
        with pytest.raises(Unreachable, match=r"one stands by; two stands by"):
            await client.hosts()

    with_clients([Process("one"), Process("two")], body)


def test_what_the_manager_that_serves_refuses_is_not_asked_of_the_others() -> None:
    standby = Process("two")

    async def body(client: ManagerClient, _: list[ControlService]) -> None:
        with pytest.raises(Refusal, match="one refuses"):
            await client.throttle(5.0)
        assert standby.called == []

    with_clients([Process("one", is_holder=True, refuses=True), standby], body)


def test_a_call_moves_on_from_a_process_that_is_gone() -> None:
    first, second = Process("one", is_holder=True), Process("two")

    async def body(client: ManagerClient, services: list[ControlService]) -> None:
        assert await client.restart() == 7
        await services[0].stop()
        second.is_holder = True
        assert await client.restart() == 7
        assert await client.roles() == (None, RoleView("two", AZ, True))

    with_clients([first, second], body)


def test_a_call_that_hangs_is_said_to_the_manager_that_has_taken_over_meanwhile() -> None:
    first, second = Process("one", is_holder=True), Process("two")

    async def body(client: ManagerClient, _: list[ControlService]) -> None:
        assert await client.launch(request("t-1")) == Launched(())
        first.hangs = True
        launching = asyncio.ensure_future(client.launch(request("t-2")))
        await asyncio.sleep(PATIENCE_S / 2)
        assert not launching.done(), "one that does not answer may still have it: the other stands by"
        second.is_holder = True
        assert await launching == Launched(())
        assert second.called == ["launch"]

    with_clients([first, second], body)


def test_an_answer_that_comes_while_one_looks_for_another_manager_is_heard() -> None:
    @dataclass
    class Waking(Process):
        """Answers what hangs when it is asked what it is, and is slow to say that."""

        woken: asyncio.Event = field(default_factory=asyncio.Event)

        async def launch(self, request: LaunchRequest) -> LaunchOutcome:
            self.called.append("launch")
            await self.woken.wait()
            raise StandsBy(f"{self.name} stands by")

        async def role(self) -> RoleView:
            self.woken.set()
            await asyncio.sleep(0.2)
            return await Process.role(self)

    async def body() -> None:
        unheard: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unheard.append(told["message"]))
        first, second = Waking("one"), Process("two", is_holder=True)
        async with client_of(first, second) as (client, _):
            assert await client.launch(request("t-1")) == Launched(())
        assert (first.called, second.called) == (["launch"], ["launch"])
        gc.collect()
        await asyncio.sleep(0)
        assert unheard == []

    run(body)


def test_many_calls_that_wait_in_line_ask_once_who_has_the_az() -> None:
    """A manager that recovers its fleet lets launches wait; that must be no storm upon the one that stands by."""

    @dataclass
    class Busy(Process):
        roles: int = 0

        async def launch(self, request: LaunchRequest) -> LaunchOutcome:
            await asyncio.sleep(1.5 * PATIENCE_S)
            return Launched(())

        async def role(self) -> RoleView:
            self.roles += 1
            return await Process.role(self)

    holder, standby = Busy("one", is_holder=True), Busy("two")

    async def body(client: ManagerClient, _: list[ControlService]) -> None:
        outcomes = await asyncio.gather(*(client.launch(request(f"t-{n}")) for n in range(50)))
        assert outcomes == [Launched(())] * 50
        assert standby.roles == 1

    with_clients([holder, standby], body)


def test_a_manager_that_is_superseded_in_the_middle_of_a_call_stands_by_for_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            desk = Desk("manager-a", AZ)
            with pytest.raises(StandsBy, match="waits for the table service"):
                await desk.status()
            desk.manager, desk.waits_for = world.manager, ""
            assert desk.view().is_holder
            assert (await desk.status()).fleet.leased == 2
            assert await world.store.take(AZ, "manager-a-2@there", 1, 20.0)
            with pytest.raises(StandsBy, match="epoch 1"):
                await desk.launch(request("t-1"))
            desk.seen = Tenure(2, "manager-a-2@there")
            with pytest.raises(StandsBy, match="manager-a-2@there has it in epoch 2"):
                await desk.hosts()
            assert not desk.view().is_holder

    run(body)


# --- agents -----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def mute(world: Fleet) -> AsyncIterator[TcpManagerLinks]:
    """A manager that keeps its links and answers nothing, as one that is stopped does."""
    links = TcpManagerLinks(
        HostPort("127.0.0.1", 0), world.pki.manager(AZ), REGION, on_frames=lambda host, frames: None
    )
    await links.start()
    try:
        yield links
    finally:
        await links.stop()


def test_an_agent_goes_on_to_the_manager_that_listens(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, standbys=1) as world:
            await world.kill_manager()
            await world.start_manager(seat=1)
            await until(world.is_whole)
            await until(lambda: {each.agent.epoch for each in world.agents.values()} == {2})
            assert {each.state.manager for each in world.agents.values()} == {str(world.addresses[1])}
            assert all(each.agent.counts.expired == 0 for each in world.agents.values())

    run(body)


def test_an_agent_leaves_a_manager_that_keeps_its_link_and_is_mute_once_another_serves(tmp_path: Path) -> None:
    async def body() -> None:
        world = Fleet(tmp_path, standbys=1)
        try:
            async with mute(world) as silent:
                world.addresses[0] = silent.address
                world.pki.issued_joined("a-1", world.folder / "hosts" / "a-1")
                await world.store.join(Host(0, "a-1", AZ, 4, 1024))
                agent = world.start_agent("a-1")
                await until(lambda: agent.state.is_up)
                await asyncio.sleep(4.0)
                assert agent.state.is_up, "silence alone ends no link: a manager that recovers is silent too"
                assert (agent.state.breaks, silent.linked) == (0, 1)
                await world.start_manager(seat=1)
                await until(world.is_whole)
                assert agent.state.manager == str(world.addresses[1])
                await until(lambda: silent.linked == 0)
        finally:
            await world.stop()

    run(body)


def test_an_agent_that_is_answered_looks_elsewhere_seldom_and_one_that_is_not_soon(tmp_path: Path) -> None:
    async def body() -> None:
        world = Fleet(tmp_path, standbys=1)
        place = replace(world.place("a-1"), addresses=(HostPort("127.0.0.1", 1), HostPort("127.0.0.1", 2)))
        tries = {True: 0, False: 0}
        for is_answered in tries:
            elsewhere, now_s = Elsewhere(place, 0, 0.0, random.Random(3)), 0.0
            while now_s < 300.0:
                now_s += 0.5
                elsewhere.asked(now_s)
                if is_answered:
                    elsewhere.answered()
                was_trying = elsewhere.is_trying
                assert not elsewhere.look(now_s)
                tries[is_answered] += elsewhere.is_trying and not was_trying
                await asyncio.sleep(0.001)
            await elsewhere.close()
        assert 5 <= tries[True] <= 20
        assert tries[True] < tries[False] <= 40, "at first every second, then less and less often"

    run(body)


@pytest.mark.nats
def test_over_a_nats_server_agents_come_over_to_whichever_manager_serves(tmp_path: Path) -> None:
    async def body(url: str) -> None:
        async with fleet(tmp_path, nats=url, standbys=1) as world:
            await world.kill_manager()
            await world.start_manager(seat=1)
            await until(lambda: {each.agent.epoch for each in world.agents.values()} == {2}, 40.0)
            await until(world.is_whole)

    with nats_server(tmp_path) as url:
        run(lambda: body(url))


# --- the process ------------------------------------------------------------------------------------


def test_a_manager_that_could_not_take_links_finds_out_before_it_takes_the_az(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            with pytest.raises(OSError, match="in use"):
                check_can_listen(world.address)
            await world.kill_manager()
            check_can_listen(world.address)

    run(body)


def test_a_manager_lives_by_its_beat_while_it_still_reads_its_inventory(tmp_path: Path) -> None:
    class SlowStore(FaultyStore):
        async def hosts(self, az: str) -> Sequence[Host]:
            await asyncio.sleep(2.5)
            return await FaultyStore.hosts(self, az)

    async def body() -> None:
        world = Fleet(tmp_path, store=SlowStore())
        tenure = await take_over(world.store, AZ, "manager-a", 20.0)
        assert tenure is not None
        manager = await opened(world.seat(), tenure)
        beats = world.store.tenures[AZ].beat
        assert beats >= 3
        await manager.close_links()

    run(body)


def test_a_manager_that_is_taken_over_while_it_reads_its_inventory_opens_no_links(tmp_path: Path) -> None:
    class Overtaken(FaultyStore):
        async def hosts(self, az: str) -> Sequence[Host]:
            assert await self.take(az, "manager-b", 1, 20.0)
            await asyncio.Event().wait()
            return ()

    async def body() -> None:
        world = Fleet(tmp_path, store=Overtaken())
        tenure = await take_over(world.store, AZ, "manager-a", 20.0)
        assert tenure is not None
        with pytest.raises(Superseded):
            await opened(world.seat(), tenure)

    run(body)


def test_the_lease_of_a_host_goes_on_under_each_manager_in_turn(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, standbys=1) as world:
            for turn in range(3):
                await world.kill_manager()
                manager = await world.start_manager(seat=(turn + 1) % 2)
                await until(lambda: {each.agent.epoch for each in world.agents.values()} == {manager.epoch})  # noqa: B023
                await until(world.is_whole)
            assert all(each.agent.is_covered(boot_s()) for each in world.agents.values())
            assert all(each.agent.counts.expired == 0 for each in world.agents.values())

    run(body)
