"""The table service over real sockets: found through DNS, compare-and-set kept, refusals and outages told apart."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from evenkeel.adapters.table_service.client import TableServiceStore
from evenkeel.adapters.table_service.found import EmptyEndpoint
from evenkeel.adapters.table_service.http import HttpCaller
from evenkeel.adapters.table_service.sqlite import SqliteTables
from evenkeel.adapters.table_service.wire import CALLS, PREFIX, REQUEST_OCTETS_MAX
from evenkeel.api.serving import listen, serve
from evenkeel.api.tables import tables_app
from evenkeel.model.errors import Refusal, Unreachable
from evenkeel.model.fleet import (
    Amnesty,
    Granted,
    Host,
    HostState,
    Instance,
    InstanceSpec,
    InstanceState,
)
from evenkeel.model.region import HostPort
from evenkeel.ports.fleet import LeaseStore, Superseded
from tests.fleet_live.stores import FaultyStore

TOKEN = "tables-token"


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30.0):
            await body()

    asyncio.run(bounded())


def free_port(*hosts: str) -> int:
    """A port that is free at each of `hosts`."""
    with socket.create_server((hosts[0], 0)) as free:
        return int(free.getsockname()[1])


@contextlib.asynccontextmanager
async def front_end(store: LeaseStore, host: str, port: int, counts: Counter[str] | None = None) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    app = tables_app(store, TOKEN, f"front end {host}", Counter() if counts is None else counts)
    serving = asyncio.create_task(serve(app, listen([HostPort(host, port)]), stopping))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        stopping.set()
        await serving


class Names:
    """What DNS says, as ordered."""

    def __init__(self, *addresses: str) -> None:
        self.now = addresses

    async def addresses(self) -> tuple[str, ...]:
        if not self.now:
            raise EmptyEndpoint("tables.demo.example. has no address")
        return self.now


@contextlib.asynccontextmanager
async def service(store: LeaseStore, *hosts: str) -> AsyncIterator[tuple[TableServiceStore, Names]]:
    """Front ends at `hosts`, and a client of them."""
    hosts = hosts or ("127.0.0.1",)
    port, names = free_port(*hosts), Names(*hosts)
    async with contextlib.AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(front_end(store, host, port))
        client = await stack.enter_async_context(TableServiceStore(names, port, TOKEN, deadline_s=1.0))
        yield client, names


def instance(name: str) -> Instance:
    return Instance(name, "demo", "t-1", InstanceSpec(), "a", "a-1", 7)


@pytest.fixture(name="tables")
def _tables(tmp_path: Path) -> SqliteTables:
    return SqliteTables(tmp_path / "tables.sqlite")


def test_every_call_of_the_port_is_a_call_of_the_service() -> None:
    names = {name for name in vars(LeaseStore) if not name.startswith("_")} | {"tenure", "take", "beat"}
    assert names == CALLS.keys()


def test_whatever_the_port_says_goes_through_the_service_and_back(tables: SqliteTables) -> None:
    async def body() -> None:
        async with service(tables) as (store, _):
            assert (await store.tenure("a")).epoch == 0
            assert await store.take("a", "manager-a", 0, 60.0)
            assert not await store.take("a", "manager-b", 0, 60.0)
            host = await store.join(Host(0, "a-1", "a", 4, 1024))
            assert await store.join(Host(9, "a-1", "a", 8, 2048)) == Host(0, "a-1", "a", 8, 2048)
            assert await store.join(Host(0, "a-2", "a", 4, 1024)) == Host(1, "a-2", "a", 4, 1024)
            await store.record_grants("a", 1, [Granted(0, 7), Granted(1, 8)])
            await store.record_grants("a", 1, [Granted(0, 5)])
            assert [each.generation for each in await store.hosts("a")] == [7, 8]
            await store.record_amnesty("a", Amnesty(1, 8, 30.0))
            await store.record_capacity("a", 1, 123.5)
            await store.beat("a", 1)
            tenure = await store.tenure("a")
            assert (tenure.amnesty, tenure.capacity_per_s, tenure.beat) == (Amnesty(1, 8, 30.0), 123.5, 1)
            assert (await store.set_state("a", "a-1", HostState.DRAINING)).state is HostState.DRAINING
            assert await store.place("a", 1, [instance("i-1"), instance("i-2")])
            assert [each.instance for each in await store.place("a", 1, [instance("i-3")])] == ["i-1", "i-2"]
            assert [each.instance for each in await store.launch_of("demo", "t-1")] == ["i-1", "i-2"]
            moved = await store.set_instance("a", 1, "i-1", InstanceState.RUNNING, "127.0.0.1:1")
            assert moved is not None
            assert moved.address == "127.0.0.1:1"
            assert await store.ask_to_stop("other", "i-1") is None
            stopping = await store.ask_to_stop("demo", "i-1")
            assert stopping is not None
            assert stopping.state is InstanceState.STOPPING
            still = await store.set_instance("a", 1, "i-1", InstanceState.RUNNING, "x")
            assert still is not None
            assert still.state is InstanceState.STOPPING
            await store.set_instance("a", 1, "i-1", InstanceState.TERMINATED)
            assert {each.instance: each.state for each in await store.instances("a")} == {
                "i-1": InstanceState.TERMINATED,
                "i-2": InstanceState.PENDING,
            }
            assert host.number == 0

    run(body)


def test_what_was_acknowledged_is_there_after_a_restart_of_the_store(tables: SqliteTables, tmp_path: Path) -> None:
    async def body() -> None:
        await tables.take("a", "manager-a", 0, 60.0)
        await tables.join(Host(0, "a-1", "a", 4, 1024))
        again = SqliteTables(tmp_path / "tables.sqlite")  # the first one is not closed: as after a kill
        assert (await again.tenure("a")).epoch == 1
        assert [host.name for host in await again.hosts("a")] == ["a-1"]
        again.close()
        tables.close()

    run(body)


def test_a_manager_whose_epoch_is_over_writes_nothing(tables: SqliteTables) -> None:
    async def body() -> None:
        async with service(tables) as (store, _):
            await store.take("a", "manager-a", 0, 60.0)
            await store.join(Host(0, "a-1", "a", 4, 1024))
            await store.take("a", "manager-b", 1, 60.0)
            for write in (
                store.record_grants("a", 1, [Granted(0, 99)]),
                store.record_amnesty("a", Amnesty(1, 9, 1.0)),
                store.record_capacity("a", 1, 1.0),
                store.place("a", 1, [instance("i-1")]),
                store.set_instance("a", 1, "i-1", InstanceState.RUNNING),
            ):
                with pytest.raises(Superseded):
                    await write
            assert (await store.hosts("a"))[0].generation == 0
            assert not await store.instances()

    run(body)


def test_of_many_managers_that_take_an_az_at_once_one_gets_it(tmp_path: Path) -> None:
    async def body() -> None:
        stores = [SqliteTables(tmp_path / "tables.sqlite") for _ in range(4)]
        taken = await asyncio.gather(*(store.take("a", f"manager-{n}", 0, 1.0) for n, store in enumerate(stores)))
        assert sum(taken) == 1
        for store in stores:
            store.close()

    run(body)


def test_a_retired_host_and_one_of_another_az_are_refused_in_words(tables: SqliteTables) -> None:
    async def body() -> None:
        async with service(tables) as (store, _):
            await store.join(Host(0, "a-1", "a", 4, 1024))
            await store.set_state("a", "a-1", HostState.RETIRED)
            with pytest.raises(Refusal, match="retired"):
                await store.join(Host(0, "a-1", "a", 4, 1024))
            with pytest.raises(Refusal, match="no host"):
                await store.set_state("b", "a-1", HostState.ACTIVE)

    run(body)


def test_an_empty_answer_is_an_outage_of_its_own_and_ends_with_the_answer(tables: SqliteTables) -> None:
    async def body() -> None:
        async with service(tables) as (store, names):
            there, names.now = names.now, ()
            with pytest.raises(EmptyEndpoint):
                await store.tenure("a")
            names.now = there
            assert (await store.tenure("a")).epoch == 0

    run(body)


def test_a_call_goes_on_at_another_front_end_where_one_is_gone(tables: SqliteTables) -> None:
    async def body() -> None:
        async with service(tables, "127.0.0.1") as (store, names):
            names.now = ("127.0.0.2", "127.0.0.3", "127.0.0.1")  # nobody listens at the first two
            assert (await store.tenure("a")).epoch == 0
            assert await store.take("a", "manager-a", 0, 1.0)

    run(body)


def test_a_takeover_without_a_reply_is_not_repeated_behind_the_callers_back() -> None:
    async def body() -> None:
        faulty = FaultyStore(loses_replies=True)
        async with service(faulty, "127.0.0.1", "127.0.0.2") as (store, _):
            with pytest.raises(Unreachable):
                await store.take("a", "manager-a", 0, 1.0)
            assert faulty.calls == 1

    run(body)


def test_the_stores_outage_is_told_as_one(tables: SqliteTables) -> None:
    async def body() -> None:
        async with service(FaultyStore(is_lost=True)) as (store, _):
            with pytest.raises(Unreachable, match="as ordered"):
                await store.tenure("a")

    run(body)


def test_hostile_requests_change_nothing_and_break_nothing(tables: SqliteTables) -> None:
    async def body() -> None:
        port, counts = free_port("127.0.0.1"), Counter[str]()
        address, caller = HostPort("127.0.0.1", port), HttpCaller(1 << 20)
        good = {"Authorization": f"Bearer {TOKEN}"}
        async with front_end(tables, "127.0.0.1", port, counts):
            take = msgspec.msgpack.encode(("a", "mallory", 0, 1.0))

            async def status(path: str, headers: dict[str, str], body: bytes) -> int:
                return (await caller.request(address, "POST", path, headers, body, 5.0)).status

            assert await status(PREFIX + "take", {}, take) == 401
            assert await status(PREFIX + "take", {"Authorization": "Bearer guessed"}, take) == 401
            assert await status(PREFIX + "take", good, b"\xc1") == 400
            assert await status(PREFIX + "take", good, msgspec.msgpack.encode(("a", 7))) == 400
            assert await status(PREFIX + "nothing", good, take) == 404
            huge = {**good, "X-Padding": "x" * 200_000}
            with contextlib.suppress(Unreachable):
                assert await status(PREFIX + "take", huge, take) >= 400
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            lie = f"POST {PREFIX}take HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            writer.write(f"{lie}Content-Length: {REQUEST_OCTETS_MAX + 1}\r\n\r\n".encode())
            assert b" 413 " in await reader.readline()
            writer.close()
            assert (await tables.tenure("a")).epoch == 0
            assert await status(PREFIX + "take", good, take) == 200
        caller.close()

    run(body)


def test_health_says_whether_the_store_answers(tables: SqliteTables) -> None:
    async def body() -> None:
        port, caller = free_port("127.0.0.1"), HttpCaller(1 << 20)
        faulty = FaultyStore()
        async with front_end(faulty, "127.0.0.1", port):
            address = HostPort("127.0.0.1", port)
            assert (await caller.request(address, "GET", "/health", {}, b"", 5.0)).status == 200
            faulty.is_lost = True
            assert (await caller.request(address, "GET", "/health", {}, b"", 5.0)).status == 503
        caller.close()

    run(body)
