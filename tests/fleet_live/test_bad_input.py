"""What a fleet's parts make of frames, calls and clocks that are wrong: nothing is believed, nothing breaks."""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.adapters.agent.memory import Kept
from evenkeel.adapters.fleet_messages import (
    AheadFrame,
    CallFrame,
    ContactFrame,
    Desired,
    FencedFrame,
    GrantFrame,
    RefusedFrame,
    Report,
    WaitFrame,
    encoder,
    read_at_agent,
    read_at_manager,
)
from evenkeel.adapters.instances.keeper import boot_s
from evenkeel.adapters.table_service.client import TableServiceStore
from evenkeel.adapters.table_service.sqlite import SqliteTables
from evenkeel.api.serving import listen, serve
from evenkeel.api.tables import tables_app
from evenkeel.model.errors import Refusal, Unreachable
from evenkeel.model.fleet import (
    Granted,
    Host,
    Instance,
    InstanceSpec,
    InstanceState,
    Launched,
    LaunchRequest,
    first_generation,
)
from evenkeel.model.region import HostPort
from tests.fleet_live.fleets import AZ, Fleet, fleet, until

WEB = InstanceSpec("web", 1, 128)
BURST, BURST_TURNS = 10_000, 100  # a million in all
EVERY_FRAME = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5)), max_size=9).map(
        msgspec.msgpack.encode
    ),
    st.tuples(st.sampled_from([1, 2, 3, 11, 12, 13, 14, 15, 16]), st.lists(st.integers(-2, 2**63), max_size=8)).map(
        lambda told: msgspec.msgpack.encode([told[0], *told[1]])
    ),
)


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60.0):
            await body()

    asyncio.run(bounded())


# --- frames -------------------------------------------------------------------------------------------


@given(frame=EVERY_FRAME)
def test_a_frame_is_read_or_refused_and_nothing_else(frame: bytes) -> None:
    for read in (read_at_manager, read_at_agent):
        try:
            read(frame)
        except Refusal:
            continue


@pytest.mark.parametrize(
    "frame",
    [
        ContactFrame(-1),
        ContactFrame(1, generation=2**63),
        ContactFrame(1, epoch=2**31),
        GrantFrame(1, 1, 1, 30.0, 10.0, 1.0, 1.0),  # a manager's own
        Desired(1, 1),
    ],
)
def test_a_manager_refuses_numbers_that_no_agent_has_and_its_own_frames_come_back(frame: msgspec.Struct) -> None:
    with pytest.raises(Refusal):
        read_at_manager(encoder.encode(frame))


@pytest.mark.parametrize(
    "frame",
    [
        GrantFrame(2**31, 1, 1, 30.0, 10.0, 1.0, 1.0),
        GrantFrame(1, 2**63, 1, 30.0, 10.0, 1.0, 1.0),
        GrantFrame(1, 1, 1, math.inf, 10.0, 1.0, 1.0),
        GrantFrame(1, 1, 1, math.nan, 10.0, 1.0, 1.0),
        GrantFrame(1, 1, 1, -30.0, 10.0, 1.0, 1.0),
        WaitFrame(1, 1, math.inf, 1.0),
        CallFrame(-1, 1, 0.5),
        FencedFrame(2**40),
        RefusedFrame(1, -5),
        ContactFrame(1),  # an agent's own
    ],
)
def test_an_agent_refuses_numbers_that_no_manager_has_and_its_own_frames_come_back(frame: msgspec.Struct) -> None:
    with pytest.raises(Refusal):
        read_at_agent(encoder.encode(frame))


def test_forged_replayed_and_stale_frames_of_a_host_change_no_lease_and_no_instance(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            (name,) = await launched(world, "t-1")
            ahead = max(each.generation for each in world.store.by_name.values()) + 1000
            for host in ("a-1", "a-2"):
                forged = [
                    b"",
                    b"\xc1" * 100,
                    encoder.encode(ContactFrame(-1)),
                    encoder.encode(ContactFrame(1, generation=ahead, epoch=1)),  # a lease that nobody granted
                    encoder.encode(GrantFrame(9, ahead, 1, 1e6, 1e6, 1.0, 1.0)),
                    encoder.encode(AheadFrame(2**30)),
                    encoder.encode(Report(2**30, 2**30, ((name, "127.0.0.1:1"),), (), True)),  # another manager's
                    encoder.encode(Report(1, 0, (("i-nobody", "127.0.0.1:1"),), ("../../etc",), True)),
                ]
                world.manager.driver.on_frames(host, forged)
            world.manager.driver.on_frames("a-99", [encoder.encode(ContactFrame(1))])
            assert world.manager.driver.counts["malformed"] == 8
            assert world.manager.driver.counts["unknown host"] == 1
            await until(world.is_whole)
            await until(lambda: world.manager.instances.count() == {"running": 1})
            for host, each in world.agents.items():
                assert each.agent.generation <= world.store.by_name[host].generation, "it holds what is recorded"
            assert not world.manager.leases.is_superseded
            assert list(world.store.by_id) == [name]
            assert isinstance(await world.manager.launch(request("t-2")), Launched)

    run(body)


def test_a_host_whose_disk_was_lost_is_heard_again_however_many_contacts_it_had_made(tmp_path: Path) -> None:
    async def body() -> None:
        memory = tmp_path / "hosts" / "a-1" / "agent.json"
        memory.parent.mkdir(parents=True)
        memory.write_bytes(msgspec.json.encode(Kept(sequence=10**6)))
        async with fleet(tmp_path, hosts=1) as world:
            assert world.agents["a-1"].agent.sequence > 10**6
            await world.agents["a-1"].kill()
            memory.unlink()
            world.start_agent("a-1")
            await until(world.is_whole)

    run(body)


def test_a_million_stale_requests_in_a_burst_hold_one_place_a_host_and_delay_nobody(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path) as world:
            stale = [encoder.encode(ContactFrame(0))] * BURST
            dropped = world.manager.view().fleet.dropped
            for _ in range(BURST_TURNS):
                world.manager.driver.on_frames("a-1", stale)
                assert len(world.manager.driver._inbox) <= len(world.agents)
                await asyncio.sleep(0)
            assert world.is_whole()
            assert isinstance(await world.manager.launch(request("t-1")), Launched)
            status = world.manager.view().fleet
            assert (status.leased, status.queued, status.dropped) == (2, 0, dropped)

    run(body)


# --- a store that does, and is not heard -----------------------------------------------------------------


def test_grants_that_were_recorded_without_a_reply_lease_no_host_twice(tmp_path: Path) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=0) as world:
            world.start_agent("a-1")
            await until(lambda: "a-1" in world.store.by_name)
            world.store.loses_replies = True
            seen: list[int] = []
            for _ in range(40):
                seen.append(world.store.by_name["a-1"].generation)
                assert world.agents["a-1"].agent.generation <= seen[-1], "what a host holds is recorded"
                await asyncio.sleep(0.05)
            world.store.loses_replies = False
            await until(world.is_whole)
            assert seen == sorted(seen)
            assert world.agents["a-1"].agent.generation == world.store.by_name["a-1"].generation >= seen[-1]

    run(body)


@dataclass
class CutShort:
    """Stands between a caller and a front end. While `cuts`, what is asked is done, and the link ends wordlessly."""

    behind: HostPort
    cuts: bool = False
    cut: int = 0

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.behind.host, self.behind.port)

        async def ask() -> None:
            while octets := await reader.read(1 << 16):
                back.write(octets)

        asking = asyncio.create_task(ask())
        try:
            while octets := await there.read(1 << 16):
                if self.cuts:
                    self.cut += 1
                    return
                writer.write(octets)
        finally:
            asking.cancel()
            back.transport.abort()
            writer.transport.abort()


class At:
    """Every call goes to one front end."""

    async def addresses(self) -> tuple[str, ...]:
        return ("127.0.0.1",)


@asynccontextmanager
async def cut_short(tables: SqliteTables) -> AsyncIterator[tuple[TableServiceStore, CutShort]]:
    """A store behind a front end behind a link that can be cut."""
    stopping = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = HostPort("127.0.0.1", free.getsockname()[1])
    serving = asyncio.create_task(serve(tables_app(tables, "token", "front", Counter()), listen([address]), stopping))
    between = CutShort(address)
    server = await asyncio.start_server(between.attend, "127.0.0.1", 0)
    try:
        async with TableServiceStore(At(), server.sockets[0].getsockname()[1], "token") as store:
            await until_served(store)
            yield store, between
    finally:
        server.close()
        stopping.set()
        await serving


async def until_served(store: TableServiceStore) -> None:
    while True:
        try:
            await store.tenure(AZ)
        except Unreachable:
            await asyncio.sleep(0.05)
        else:
            return


def instance(name: str) -> Instance:
    return Instance(name, "demo", "t-1", WEB, AZ, "a-1", first_generation(1) + 1)


def test_every_write_that_was_done_without_a_reply_may_be_repeated(tmp_path: Path) -> None:
    tables = SqliteTables(tmp_path / "tables.sqlite")
    one = Granted(0, first_generation(1) + 1)

    async def body() -> None:
        async with cut_short(tables) as (store, between):
            assert await tables.take(AZ, "manager-a", 0, 1.0)
            writes: list[Callable[[], Awaitable[object]]] = [
                lambda: store.join(Host(0, "a-1", AZ, 8, 1024)),
                lambda: store.record_grants(AZ, 1, [one]),
                lambda: store.record_capacity(AZ, 1, 7.0),
                lambda: store.place(AZ, 1, [instance("i-1")]),
                lambda: store.set_instance(AZ, 1, "i-1", InstanceState.RUNNING, "127.0.0.1:1"),
                lambda: store.ask_to_stop("demo", "i-1"),
                lambda: store.set_instance(AZ, 1, "i-1", InstanceState.TERMINATED),
            ]
            for write in writes:
                between.cuts = True
                with pytest.raises(Unreachable):
                    await write()
                done = (await tables.hosts(AZ), await tables.instances(AZ), await tables.tenure(AZ))
                between.cuts = False
                await write()
                assert (await tables.hosts(AZ), await tables.instances(AZ), await tables.tenure(AZ)) == done
            assert between.cut >= len(writes)
            again = await store.place(AZ, 1, [instance("i-2")])
            assert [each.instance for each in again] == ["i-1"], "the token had its launch"

    try:
        run(body)
    finally:
        tables.close()


# --- clocks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [-3600.0, 3600.0, 1e7])
def test_front_ends_whose_clocks_differ_by_an_hour_launch_nothing_twice_and_end_no_lease(
    tmp_path: Path, off_s: float
) -> None:
    path, now_s = tmp_path / "tables.sqlite", 1_760_000_000.0
    right, wrong = SqliteTables(path, wall_s=lambda: now_s), SqliteTables(path, wall_s=lambda: now_s + off_s)

    async def body() -> None:
        await right.join(Host(0, "a-1", AZ, 8, 1024))
        assert await wrong.take(AZ, "manager-a", 0, 1.0)
        await wrong.record_grants(AZ, 1, [Granted(0, first_generation(1) + 1)])
        await right.place(AZ, 1, [instance("i-1")])
        await wrong.set_instance(AZ, 1, "i-1", InstanceState.TERMINATED)
        for tables in (right, wrong):
            assert [each.instance for each in await tables.place(AZ, 1, [instance("i-2")])] == ["i-1"]
            assert [each.state for each in await tables.launch_of("demo", "t-1")] == [InstanceState.TERMINATED]
            assert (await tables.hosts(AZ))[0].generation == first_generation(1) + 1

    try:
        run(body)
    finally:
        right.close()
        wrong.close()


# --- launches of absurd sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "absurd",
    [
        {"count": 0},
        {"count": -1},
        {"count": 10**9},
        {"spec": InstanceSpec("web", 0, 128)},
        {"spec": InstanceSpec("web", -4, 128)},
        {"spec": InstanceSpec("web", 2**40, 128)},
        {"spec": InstanceSpec("web", 1, 2**63)},
        {"spec": InstanceSpec("web", 1, -1)},
    ],
)
def test_a_manager_refuses_an_absurd_launch_whoever_asks_and_goes_on(tmp_path: Path, absurd: dict[str, object]) -> None:
    async def body() -> None:
        async with fleet(tmp_path, hosts=1) as world:
            with pytest.raises(Refusal):
                await world.manager.launch(replace(request("t-1"), **absurd))  # type: ignore[arg-type]  # fields of it
            assert not world.store.by_id
            assert isinstance(await world.manager.launch(request("t-2")), Launched)

    run(body)


def request(token: str, count: int = 1) -> LaunchRequest:
    return LaunchRequest("demo", token, WEB, AZ, count)


async def launched(world: Fleet, token: str) -> list[str]:
    outcome = await world.manager.launch(request(token))
    assert isinstance(outcome, Launched)
    names = [each.instance for each in outcome.instances]
    await until(lambda: all(world.store.by_id[name].state is InstanceState.RUNNING for name in names))
    assert all(each.agent.is_covered(boot_s()) for each in world.agents.values())
    return names
