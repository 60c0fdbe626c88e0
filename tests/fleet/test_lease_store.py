"""One body, three arms: the lease store's twin, SQLite, and a real PostgreSQL are the same store."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenkeel.adapters.table_service.sqlite import SqliteTables
from evenkeel.model.errors import Refusal, Unreachable
from evenkeel.model.fleet import (
    Amnesty,
    Granted,
    Host,
    HostState,
    Instance,
    InstanceSpec,
    InstanceState,
    Tenure,
    first_generation,
)
from evenkeel.ports.fleet import LeaseStore, Superseded
from evenkeel.testing.servers import REQUIRE_SERVERS, ServerMissing
from evenkeel.twins.lease_store import TwinLeaseStore
from tests.fleet.postgres import Cluster, cluster

Body = Callable[[LeaseStore, str], Awaitable[None]]
_azs = (f"az-{number}" for number in itertools.count())


class Clock:
    """Wall-clock seconds that move when told to."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    pytest.importorskip("psycopg", reason="NOT TESTED against PostgreSQL: psycopg is not installed (extra postgres)")
    try:
        with cluster() as running:
            yield running
    except ServerMissing as missing:
        if os.environ.get(REQUIRE_SERVERS) == "1":
            pytest.fail(str(missing))
        pytest.skip(f"NOT TESTED against PostgreSQL: {missing}")


Opener = Callable[[], Any]


@pytest.fixture(params=["twin", "sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Opener:
    """Opens the store; what was opened before sees the same data (but for the twin, which is the same one)."""
    if request.param == "twin":
        twin = TwinLeaseStore(clock)
        return lambda: twin
    if request.param == "sqlite":
        return lambda: SqliteTables(tmp_path / "tables.sqlite", wall_s=clock)
    from evenkeel.adapters.lease_store.postgres import PostgresLeaseStore  # only where psycopg is

    dsn = request.getfixturevalue("postgres").dsn
    return lambda: PostgresLeaseStore(dsn, wall_s=clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run(opened: Opener, body: Body) -> None:
    store = opened()
    try:
        asyncio.run(_run(store, body))
    finally:
        if hasattr(store, "close"):
            store.close()


async def _run(store: LeaseStore, body: Body) -> None:
    await body(store, next(_azs))


def host(az: str, number: int = 0) -> Host:
    return Host(0, f"host-{number}.{az}", az, 8, 4096)


def instance(az: str, number: int = 1, launch: str = "t") -> Instance:
    return Instance(f"i-{az}-{launch}-{number}", f"acct-{az}", launch, InstanceSpec(), az, f"host-0.{az}", 5)


async def seated(store: LeaseStore, az: str, hosts: int = 1) -> int:
    """Hosts have joined, a manager has taken over; its epoch."""
    for number in range(hosts):
        await store.join(host(az, number))
    seen = await store.tenure(az)
    assert await store.take(az, "one", seen.epoch, 60.0)
    return seen.epoch + 1


def test_an_az_that_nobody_managed_has_epoch_0_and_no_hosts(opened: Opener) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        assert await store.tenure(az) == Tenure()
        assert list(await store.hosts(az)) == []

    run(opened, body)


def test_of_those_that_saw_the_same_epoch_the_first_takes_over(opened: Opener) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        assert await store.take(az, "one", 0, 60.0)
        assert not await store.take(az, "two", 0, 60.0)
        tenure = await store.tenure(az)
        assert (tenure.epoch, tenure.manager, tenure.amnesty) == (1, "one", Amnesty(1, 0, 60.0))
        assert await store.take(az, "two", 1, 90.0)
        assert (await store.tenure(az)).manager == "two"

    run(opened, body)


def test_a_takeover_writes_the_amnesty_for_every_lease_recorded_so_far(opened: Opener) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        epoch = await seated(store, az, hosts=2)
        newest = first_generation(epoch) + 2
        await store.record_grants(az, epoch, [Granted(0, newest - 1), Granted(1, newest)])
        await store.record_capacity(az, epoch, 123.5)
        assert await store.take(az, "two", epoch, 30.0)
        tenure = await store.tenure(az)
        assert tenure == Tenure(epoch + 1, "two", Amnesty(epoch + 1, newest, 30.0), 123.5)

    run(opened, body)


def test_a_manager_that_lives_advances_the_beat_of_its_own_epoch_and_nothing_else(opened: Opener) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        epoch = await seated(store, az)
        before = await store.tenure(az)
        assert before.beat == 0
        await store.beat(az, epoch)
        once = await store.tenure(az)
        assert once.beat > 0
        assert replace(once, beat=0) == before
        await store.beat(az, epoch)
        assert (await store.tenure(az)).beat > once.beat
        for over in (epoch - 1, epoch + 1):
            with pytest.raises(Superseded):
                await store.beat(az, over)
        assert await store.take(az, "two", epoch, 60.0), "a beat is no reason for a takeover to fail"
        assert (await store.tenure(az)).beat == 0, "each epoch counts from 0"
        with pytest.raises(Superseded):
            await store.beat(az + "-b", 1)

    run(opened, body)


def test_a_superseded_manager_writes_nothing(opened: Opener) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        old = await seated(store, az)
        await store.take(az, "two", old, 60.0)
        writes: Sequence[Awaitable[object]] = (
            store.record_grants(az, old, [Granted(0, first_generation(old) + 1)]),
            store.record_amnesty(az, Amnesty(old, 99, 60.0)),
            store.record_capacity(az, old, 5.0),
            store.beat(az, old),
            store.place(az, old, [instance(az)]),
            store.set_instance(az, old, "i-1", InstanceState.RUNNING),
        )
        for write in writes:
            with pytest.raises(Superseded):
                await write
        assert (await store.hosts(az))[0].generation == 0
        assert await store.tenure(az) == Tenure(old + 1, "two", Amnesty(old + 1, 0, 60.0), beat=0)
        assert list(await store.instances(az)) == []

    run(opened, body)


def test_generations_only_grow_and_a_repetition_does_no_harm(opened: Opener) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        epoch = await seated(store, az, hosts=2)
        first = first_generation(epoch)
        for _ in range(2):
            await store.record_grants(az, epoch, [Granted(0, first + 5), Granted(1, first + 6)])
        await store.record_grants(az, epoch, [Granted(0, first + 4)])
        await store.record_grants(az, epoch, [])
        assert [each.generation for each in await store.hosts(az)] == [first + 5, first + 6]

    run(opened, body)


def test_hosts_keep_their_numbers_and_a_retired_name_is_not_used_again(opened: Opener) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        assert [(await store.join(host(az, number))).number for number in range(3)] == [0, 1, 2]
        bigger = await store.join(Host(77, host(az, 1).name, az, 16, 8192))
        assert (bigger.number, bigger.cpus, bigger.memory_mib) == (1, 16, 8192)
        assert (await store.set_state(az, host(az, 1).name, HostState.DRAINING)).state is HostState.DRAINING
        assert (await store.join(host(az, 1))).state is HostState.DRAINING
        await store.set_state(az, host(az, 1).name, HostState.RETIRED)
        assert (await store.join(host(az, 3))).number == 3
        for refused in (
            store.join(host(az, 1)),
            store.set_state(az, host(az, 1).name, HostState.ACTIVE),
            store.set_state(az, "nobody", HostState.ACTIVE),
            store.join(Host(0, host(az, 0).name, az + "-other", 1, 1)),
        ):
            with pytest.raises(Refusal):
                await refused

    run(opened, body)


def test_a_launch_is_recorded_once_a_token_in_any_az(opened: Opener) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        epoch = await seated(store, az)
        launch = (instance(az, 1), instance(az, 2))
        assert await store.place(az, epoch, launch) == launch
        assert await store.place(az, epoch, [instance(az, 3)]) == launch
        other = az + "-b"
        other_epoch = await seated(store, other)
        assert await store.place(other, other_epoch, [instance(az, 4)]) == launch
        assert await store.launch_of(f"acct-{az}", "t") == launch
        assert await store.launch_of(f"acct-{az}", "never") == ()
        with pytest.raises(Refusal):
            await store.place(az, epoch, [instance(az, 1, "x"), instance(az, 2, "y")])

    run(opened, body)


def test_an_instance_goes_one_way(opened: Opener, clock: Clock) -> None:
    async def body(store: LeaseStore, az: str) -> None:
        epoch, mine = await seated(store, az), instance(az)
        await store.place(az, epoch, [mine])
        running = await store.set_instance(az, epoch, mine.instance, InstanceState.RUNNING, "192.0.2.1:80")
        assert running is not None
        assert (running.state, running.address) == (InstanceState.RUNNING, "192.0.2.1:80")
        assert await store.ask_to_stop("somebody else", mine.instance) is None
        stopping = await store.ask_to_stop(mine.account, mine.instance)
        assert stopping is not None
        assert stopping.state is InstanceState.STOPPING
        for late in (InstanceState.RUNNING, InstanceState.LOST):
            still = await store.set_instance(az, epoch, mine.instance, late)
            assert still is not None
            assert still.state is InstanceState.STOPPING
        await store.set_instance(az, epoch, mine.instance, InstanceState.TERMINATED)
        over = await store.set_instance(az, epoch, mine.instance, InstanceState.RUNNING)
        assert over is not None
        assert over.state is InstanceState.TERMINATED
        assert await store.set_instance(az, epoch, "i-unknown", InstanceState.RUNNING) is None
        assert len(await store.instances(az)) == len(await store.instances(account=mine.account)) == 1
        clock.now_s += 3601
        assert list(await store.instances(az)) == []

    run(opened, body)


def test_what_was_acknowledged_is_there_for_the_next_connection(opened: Opener) -> None:
    az = next(_azs)

    async def write(store: LeaseStore, _: str) -> None:
        epoch = await seated(store, az)
        await store.record_grants(az, epoch, [Granted(0, first_generation(epoch) + 9)])
        await store.place(az, epoch, [instance(az)])

    async def read(store: LeaseStore, _: str) -> None:
        assert (await store.hosts(az))[0].generation == first_generation(1) + 9
        assert len(await store.instances(az)) == 1

    run(opened, write)
    run(opened, read)


def test_of_many_who_take_over_at_once_one_does(opened: Opener) -> None:
    stores = [opened() for _ in range(4)]
    az = next(_azs)

    async def all_at_once() -> list[bool]:
        return list(await asyncio.gather(*(store.take(az, f"m{n}", 0, 60.0) for n, store in enumerate(stores))))

    try:
        assert sorted(asyncio.run(all_at_once())) == [False, False, False, True]
    finally:
        for store in stores:
            if hasattr(store, "close"):
                store.close()


def test_a_postgres_that_crashed_is_unreachable_and_then_has_all_it_acknowledged(postgres: Cluster) -> None:
    from evenkeel.adapters.lease_store.postgres import PostgresLeaseStore

    async def body() -> None:
        store, az = PostgresLeaseStore(postgres.dsn), next(_azs)
        epoch = await seated(store, az)
        await store.record_grants(az, epoch, [Granted(0, first_generation(epoch) + 1)])
        postgres.stop("immediate")
        try:
            for _ in range(2):
                with pytest.raises(Unreachable):
                    await store.tenure(az)
        finally:
            postgres.start()
        assert (await store.hosts(az))[0].generation == first_generation(epoch) + 1
        assert (await store.tenure(az)).epoch == epoch
        store.close()

    asyncio.run(body())


# --- stores that an earlier version made --------------------------------------------------------------


def test_a_file_from_before_the_beat_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tables.sqlite"

    async def write(store: LeaseStore) -> None:
        assert await store.take("a", "one", 0, 60.0)

    async def read(store: LeaseStore) -> None:
        await store.beat("a", 1)
        assert await store.tenure("a") == Tenure(1, "one", Amnesty(1, 0, 60.0), beat=1)

    before = SqliteTables(path)
    asyncio.run(write(before))
    before.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE tenures DROP COLUMN beat")
        db.execute("PRAGMA user_version = 1")
    for _ in range(2):
        after = SqliteTables(path)
        try:
            asyncio.run(read(after))
        finally:
            after.close()
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE tenures SET beat = 0")
            db.commit()


def test_a_database_from_before_the_beat_is_taken_as_it_is(postgres: Cluster) -> None:
    import psycopg

    from evenkeel.adapters.lease_store.postgres import PostgresLeaseStore

    az = next(_azs)

    async def body() -> None:
        old = PostgresLeaseStore(postgres.dsn)
        assert await old.take(az, "one", 0, 60.0)
        old.close()
        with psycopg.connect(postgres.dsn) as db:
            db.execute("ALTER TABLE tenures DROP COLUMN beat")
            db.execute("UPDATE evenkeel_fleet SET version = 1")
        for beats in (1, 2):
            store = PostgresLeaseStore(postgres.dsn)
            await store.beat(az, 1)
            assert (await store.tenure(az)).beat == beats
            store.close()

    asyncio.run(body())


# --- random requests, beside the twin -------------------------------------------------------------------

REQUEST = st.one_of(
    st.tuples(st.just("take"), st.sampled_from(["one", "two"]), st.integers(0, 3)),
    st.tuples(st.just("join"), st.integers(0, 2), st.integers(1, 9)),
    st.tuples(st.just("state"), st.integers(0, 2), st.sampled_from(list(HostState))),
    st.tuples(st.just("grant"), st.integers(1, 3), st.integers(0, 3), st.integers(1, 5)),
    st.tuples(st.just("place"), st.integers(1, 3), st.sampled_from("xy"), st.integers(1, 2)),
    st.tuples(st.just("set"), st.integers(1, 3), st.sampled_from("xy"), st.sampled_from(list(InstanceState))),
    st.tuples(st.just("stop"), st.sampled_from("xy")),
    st.tuples(st.just("beat"), st.integers(1, 3)),
)


async def asked(store: LeaseStore, az: str, request: tuple[Any, ...]) -> object:
    """The reply, or the kind of the refusal."""
    name, *values = request
    try:
        if name == "take":
            return await store.take(az, values[0], values[1], 60.0)
        if name == "join":
            return await store.join(Host(0, host(az, values[0]).name, az, values[1], 64))
        if name == "state":
            return await store.set_state(az, host(az, values[0]).name, values[1])
        if name == "grant":
            granted = Granted(values[1], first_generation(values[0]) + values[2])
            await store.record_grants(az, values[0], [granted])
            return None
        if name == "place":
            return await store.place(az, values[0], [instance(az, n, values[1]) for n in range(values[2])])
        if name == "beat":
            await store.beat(az, values[0])
            return None
        if name == "set":
            return await store.set_instance(az, values[0], f"i-{az}-{values[1]}-0", values[2])
        return await store.ask_to_stop(f"acct-{az}", f"i-{az}-{values[0]}-0")
    except Refusal as refusal:
        return type(refusal)


async def everything(store: LeaseStore, az: str) -> tuple[object, ...]:
    instances = sorted(await store.instances(az), key=lambda each: each.instance)
    return await store.tenure(az), list(await store.hosts(az)), instances


@given(requests=st.lists(REQUEST, max_size=25))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_requests_get_the_twins_replies(opened: Opener, clock: Clock, requests: list[tuple[Any, ...]]) -> None:
    twin = TwinLeaseStore(clock)

    async def body(store: LeaseStore, az: str) -> None:
        for request in requests:
            assert await asked(store, az, request) == await asked(twin, az, request), request
        assert await everything(store, az) == await everything(twin, az)

    run(opened, body)
