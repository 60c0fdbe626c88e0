"""A region with a fleet whose table service stands on PostgreSQL: its crash, and what is told of a wrong setting."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.lease_store import opening
from evenkeel.model.errors import InputError, Unreachable
from evenkeel.model.events import EventKind
from evenkeel.model.fleet import (
    Amnesty,
    Granted,
    Host,
    HostState,
    Instance,
    InstanceSpec,
    InstanceState,
    first_generation,
)
from evenkeel.testing.fleets import LaunchClient, Reply, RunningFleet, running_fleet, write_fleet_region
from evenkeel.testing.postgres import Cluster, cluster
from tests.servers import or_skipped

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[Cluster]:
    with or_skipped("PostgreSQL"), cluster() as running:
        yield running


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await holds():  # noqa: ASYNC110 - spread over processes, without an event
            await asyncio.sleep(0.2)


async def launched(client: LaunchClient, token: str) -> Reply:
    """Again and again under one token, as a patient client does."""
    reply = Reply(0, "")

    async def is_done() -> bool:
        nonlocal reply
        try:
            reply = await client.launch(token)
        except Unreachable:
            return False
        return reply.status == 200

    await until(is_done)
    return reply


def told(fleet: RunningFleet, kind: EventKind, words: str) -> bool:
    events = JournalReader(journal_folder(fleet.region.state_dir)).history()
    return any(event.kind is kind and words in event.detail for event in events)


@pytest.mark.slow
def test_a_postgres_that_is_killed_ends_no_lease_and_comes_back_with_everything(
    postgres: Cluster, tmp_path: Path
) -> None:
    async def body(fleet: RunningFleet) -> None:
        async def is_covered() -> bool:
            return fleet.are_covered()

        await until(is_covered)
        client = fleet.client("one")
        (instance,) = (await launched(client, "t-1")).instances

        async def runs() -> bool:
            reply = await client.described()
            return [each["state"] for each in reply.instances] == ["running"]

        await until(runs)
        (workload,) = fleet.workloads()
        postgres.kill()
        try:

            async def is_noticed() -> bool:
                return told(fleet, EventKind.UNREACHABLE, "the lease clock stands still")

            await until(is_noticed)
            await asyncio.sleep(6.0)  # longer than a lease lasts by itself
            assert fleet.are_covered()
            assert workload.lives(), "what runs goes on"
        finally:
            postgres.start()

        async def is_back() -> bool:
            return told(fleet, EventKind.RECOVERED, "amnesty")

        await until(is_back)
        assert [each["instance"] for each in (await launched(client, "t-1")).instances] == [instance["instance"]]
        await until(runs)
        assert workload.lives(), "it is the same process"
        await launched(client, "t-2")
        client.close()

    with running_fleet(tmp_path, hosts=2, term_s=4.0, database=postgres.dsn) as fleet:
        asyncio.run(body(fleet))


# --- wrong settings -------------------------------------------------------------------------------------


def ran(path: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "evenkeel.cli.main", *arguments, str(path)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    return done.returncode, done.stderr


def test_a_text_that_is_no_connection_string_is_told_before_anything_starts(tmp_path: Path) -> None:
    path = write_fleet_region(tmp_path, database="nonsense")
    code, said = ran(path, "up", "--no-view")
    assert code == 2
    assert "[fleet] database" in said
    assert 'write "host=... dbname=... user=..."' in said
    assert not (tmp_path / "state").exists()


def test_a_missing_driver_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "evenkeel.adapters.lease_store.postgres", raising=False)
    with pytest.raises(InputError, match=r"pip install 'evenkeel\[postgres\]'"):
        opening.opened("dbname=fleet")


async def checked(dsn: str) -> None:
    store = opening.opened(dsn)
    try:
        await opening.check(store)
    finally:
        store.close()


def test_a_database_a_role_and_a_grant_that_are_missing_are_told_with_their_mend(postgres: Cluster) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as db:
        db.execute("CREATE ROLE guest LOGIN")
        db.execute("CREATE ROLE idle NOLOGIN")
        db.execute("CREATE DATABASE bare")
    for dsn, what, mend in (
        (postgres.dsn.replace("dbname=postgres", "dbname=nowhere"), "nowhere", "create the role and the database"),
        (f"host={postgres.folder} user=stranger dbname=postgres", "stranger", "create the role and the database"),
        (f"host={postgres.folder} user=idle dbname=postgres", "idle", "give the role LOGIN"),
        (f"host={postgres.folder} user=guest dbname=bare", "permission denied", "grant the role"),
    ):
        with pytest.raises(InputError) as raised:
            asyncio.run(checked(dsn))
        assert "[fleet] database" in str(raised.value)
        assert what in str(raised.value)
        assert mend in str(raised.value)


def test_a_server_that_is_away_may_come_later_and_is_no_wrong_input(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(Unreachable):
        asyncio.run(checked(f"host={tmp_path} dbname=fleet user=fleet"))
    assert time.monotonic() - began_s < DEADLINE_S


async def worked(dsn: str) -> None:
    """Every call that writes."""
    store = opening.opened(dsn)
    try:
        await opening.check(store)
        await store.join(Host(0, "a-1", "a", 8, 1024))
        await store.set_state("a", "a-1", HostState.ACTIVE)
        assert await store.take("a", "manager-a", 0, 60.0)
        await store.beat("a", 1)
        await store.record_grants("a", 1, [Granted(0, first_generation(1) + 1)])
        await store.record_amnesty("a", Amnesty(1, first_generation(1) + 1, 60.0))
        await store.record_capacity("a", 1, 20.0)
        await store.place("a", 1, [Instance("i-1", "one", "t-1", InstanceSpec(), "a", "a-1", 1)])
        await store.set_instance("a", 1, "i-1", InstanceState.RUNNING)
        await store.ask_to_stop("one", "i-1")
        assert [each.state for each in await store.launch_of("one", "t-1")] == [InstanceState.STOPPING]
    finally:
        store.close()


def test_a_role_that_may_not_make_tables_works_on_those_that_were_made_for_it(postgres: Cluster) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as db:
        db.execute("CREATE ROLE fleet_owner LOGIN")
        db.execute("CREATE ROLE fleet_user LOGIN")
        db.execute("CREATE DATABASE fleet OWNER fleet_owner")
    asyncio.run(checked(f"host={postgres.folder} user=fleet_owner dbname=fleet"))
    with psycopg.connect(postgres.dsn.replace("dbname=postgres", "dbname=fleet"), autocommit=True) as db:
        db.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        db.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO fleet_user")
        db.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO fleet_user")
    asyncio.run(worked(f"host={postgres.folder} user=fleet_user dbname=fleet"))


def test_a_front_end_run_alone_ends_with_exit_code_2_at_a_wrong_database(postgres: Cluster, tmp_path: Path) -> None:
    dsn = postgres.dsn.replace("dbname=postgres", "dbname=nowhere")
    path = write_fleet_region(tmp_path, database=dsn)
    code, said = ran(path, "run", "table-1")
    assert code == 2, said
    assert "nowhere" in said
    assert "create the role and the database" in said
