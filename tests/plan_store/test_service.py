"""Following the store over real sockets: pushes, losses, comebacks, and callers that do not behave."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import msgspec
import pytest

from evenkeel.adapters.frames import Link, LinkClosed, connect
from evenkeel.adapters.plan_store import client, last_good, service
from evenkeel.adapters.plan_store.client import PlanFollower, PlanStoreClient
from evenkeel.adapters.plan_store.service import PlanStoreService
from evenkeel.adapters.plan_store.wire import Frame, frame
from evenkeel.model.errors import Refusal, StoreUnwritable, Unreachable
from evenkeel.model.plan import Plan, PlanDelta
from evenkeel.model.region import HostPort
from evenkeel.ports.plan_store import Head, PlanStore
from evenkeel.twins.plan_store import TwinPlanStore
from tests.plan_store.arms import ANYWHERE, KEPT, REGION, TOKEN, WallClock, delta, served_by

SOON_S = 10.0  # a deadline for what must happen, not a measure


def run(body: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(bounded())


def twin() -> TwinPlanStore:
    return TwinPlanStore(REGION, KEPT, WallClock())


def follower(address: HostPort, last_good_path: Path | None = None) -> PlanFollower:
    return PlanFollower(REGION, address, TOKEN, last_good_path, rng=random.Random(1))


async def newer(who: PlanFollower, generation: int) -> Plan:
    plan = await who.wait_newer(generation, SOON_S)
    assert plan is not None
    return plan


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not holds():  # noqa: ASYNC110 - what is waited for here announces itself to nobody
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def restartable(store: PlanStore) -> AsyncIterator[tuple[HostPort, Callable[[], Coroutine[None, None, None]]]]:
    """A service, and a call that stops it and starts it again at the same address."""
    running = PlanStoreService(store)
    address = await running.start(ANYWHERE, TOKEN)

    async def restart() -> None:
        nonlocal running
        await running.stop()
        running = PlanStoreService(store)
        await running.start(address, TOKEN)

    try:
        yield address, restart
    finally:
        await running.stop()


def test_a_follower_has_the_plan_on_connecting_and_each_new_one_as_it_is_made() -> None:
    async def body() -> None:
        store = twin()
        await store.append(delta(0, "db", "web"))
        async with served_by(store) as address, follower(address) as reader:
            assert len((await newer(reader, 0)).endpoints) == 2
            async with PlanStoreClient(REGION, address, TOKEN) as writer:
                assert await writer.append(delta(1, "db"))
                assert (await newer(reader, 1)).generation == 2
                assert reader.changed_since(1) == {"db.demo.example."}

    run(body)


def test_who_loses_an_append_knows_the_winner_s_plan_by_then() -> None:
    async def body() -> None:
        async with (
            served_by(twin()) as address,
            PlanStoreClient(REGION, address, TOKEN) as one,
            PlanStoreClient(REGION, address, TOKEN) as other,
        ):
            for previous in range(20):
                outcomes = await asyncio.gather(one.append(delta(previous, "a")), other.append(delta(previous, "b")))
                assert sorted(outcomes) == [False, True]
                assert one.generation == previous + 1
                assert other.generation == previous + 1

    run(body)


def test_a_follower_catches_up_after_the_store_was_away() -> None:
    async def body() -> None:
        store = twin()
        states: list[bool] = []
        async with restartable(store) as (address, restart):
            reader = PlanFollower(REGION, address, TOKEN, on_state=lambda is_up, why: states.append(is_up))
            async with reader:
                await store.append(delta(0, "db", "web"))
                await until(lambda: reader.is_up)
                await restart()
                await store.append(delta(1, "web"))
                await store.append(delta(2, "db", removed=("web",)))
                plan = await newer(reader, 1)
                assert (plan.generation, set(plan.endpoints)) == (3, {"db.demo.example."})
        assert states == [True, False, True]

    run(body)


def test_changed_names_since_a_generation_are_known_or_else_every_name_is_given() -> None:
    async def body() -> None:
        store = twin()
        await store.append(delta(0, "a", "b", "c"))
        async with served_by(store) as address, follower(address) as reader:
            await newer(reader, 0)
            async with PlanStoreClient(REGION, address, TOKEN) as writer:
                await writer.append(delta(1, "a"))
                await writer.append(delta(2, "b"))
                await writer.append(delta(3, "d", removed=("c",)))
                await newer(reader, 3)
            assert reader.changed_since(1) == {
                "a.demo.example.",
                "b.demo.example.",
                "c.demo.example.",
                "d.demo.example.",
            }
            assert reader.changed_since(3) == {"c.demo.example.", "d.demo.example."}
            assert reader.changed_since(4) == frozenset()
            assert reader.changed_since(0) == {f"{n}.demo.example." for n in "abcd"}
            assert reader.changed_since(-1) == {f"{n}.demo.example." for n in "abd"}

    run(body)


def test_a_follower_never_goes_back_when_the_store_lost_its_plans() -> None:
    async def body() -> None:
        store = twin()
        async with restartable(store) as (address, restart):
            await store.append(delta(0, "db", generation=146))
            async with follower(address) as reader, PlanStoreClient(REGION, address, TOKEN) as writer:
                await newer(reader, 0)
                await newer(writer, 0)
                store.state = twin().state
                await restart()
                await until(lambda: store.state.floor == 146)
                assert reader.generation == 146
                assert not await writer.append(delta(0, "db"))
                assert await writer.append(delta(0, "db", generation=147))
                assert (await newer(reader, 146)).generation == 147

    run(body)


def test_a_raised_floor_is_told_to_everybody_who_follows() -> None:
    async def body() -> None:
        async with served_by(twin()) as address, PlanStoreClient(REGION, address, TOKEN) as planner:
            assert await planner.head() == Head(0, 0)
            async with PlanStoreClient(REGION, address, TOKEN) as enactor:
                await enactor.raise_floor(146)
                await until(lambda: planner._head == Head(0, 146))
            assert await planner.head() == Head(0, 146)

    run(body)


# --- the last good plan on disk -----------------------------------------------------------------------


def test_a_follower_starts_from_its_last_good_plan_with_the_store_gone(tmp_path: Path) -> None:
    async def body() -> None:
        store, path = twin(), tmp_path / "last-good" / "enactor-a.plan"
        await store.append(delta(0, "db", "web"))
        async with served_by(store) as address, follower(address, path) as reader:
            before = await newer(reader, 0)
        async with follower(HostPort("127.0.0.1", free_port()), path) as alone:
            assert await alone.newest() == before
            assert alone.changed_since(0) == {"db.demo.example.", "web.demo.example."}
            assert not alone.is_up

    run(body)


@pytest.mark.parametrize("damage", [b"", b"junk", b"evenkeel last good plan 1\n" + b"x" * 500])
def test_a_damaged_last_good_plan_is_as_good_as_none_and_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    async def body() -> None:
        store, path = twin(), tmp_path / "enactor-a.plan"
        path.write_bytes(damage)
        async with follower(HostPort("127.0.0.1", free_port()), path) as alone:
            assert await alone.newest() is None
        await store.append(delta(0, "db"))
        async with served_by(store) as address, follower(address, path) as reader:
            await newer(reader, 0)
        plan, why = last_good.load(path, REGION)
        assert (plan is not None and plan.generation, why) == (1, "")

    run(body)


def test_another_region_s_last_good_plan_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "enactor-a.plan"
    last_good.save(path, Plan("elsewhere", 7, "planner-1", {}))
    plan, why = last_good.load(path, REGION)
    assert plan is None
    assert "elsewhere" in why


def test_every_truncation_of_a_last_good_plan_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "enactor-a.plan"
    last_good.save(path, Plan.empty(REGION).apply(delta(0, "db")))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert last_good.load(path, REGION)[0] is None


# --- who does not behave --------------------------------------------------------------------------------


def test_without_the_token_there_is_nothing_to_hear() -> None:
    async def body() -> None:
        store = twin()
        await store.append(delta(0, "db"))
        async with served_by(store) as address:
            async with PlanFollower(REGION, address, "another-token") as stranger:
                await until(lambda: stranger.trouble != "")
                assert stranger.current is None
            async with PlanStoreClient(REGION, address, TOKEN) as known:
                assert (await known.head()).generation == 1

    run(body)


@pytest.mark.parametrize(
    "junk", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x03abc", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x01\xc1"]
)
def test_junk_ends_that_connection_and_no_other(junk: bytes) -> None:
    async def body() -> None:
        store = twin()
        async with served_by(store) as address, PlanStoreClient(REGION, address, TOKEN) as good:
            await good.head()
            hello = msgspec.msgpack.encode(TOKEN)
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(struct.pack("!I", len(hello)) + hello + junk)
            writer.write_eof()
            async with asyncio.timeout(SOON_S):
                await reader.read()
            writer.close()
            assert await good.append(delta(0, "db"))

    run(body)


@pytest.mark.parametrize("kind", ["append", "follow", "plan_at", "history", "propose", "approve", "no such call"])
def test_a_call_with_the_wrong_body_is_refused_and_the_connection_goes_on(kind: str) -> None:
    async def body() -> None:
        async with served_by(twin()) as address:
            link = await connect(address, TOKEN)
            await link.send_encoded(frame(1, kind, {"not": "this"}))
            reply = await link.receive(Frame, SOON_S)
            assert (reply.number, reply.kind) == (1, "refusal")
            await link.send_encoded(frame(2, "head", None))
            assert (await link.receive(Frame, SOON_S)).number == 2
            await link.close()

    run(body)


def test_a_follower_that_does_not_read_is_cut_and_the_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FRAMES_WAITING_MAX", 4)

    async def body() -> None:
        running = PlanStoreService(twin())
        address = await running.start(ANYWHERE, TOKEN)
        stuck = await never_reads(address)
        async with follower(address) as reader, PlanStoreClient(REGION, address, TOKEN) as writer:
            await until(lambda: running.followers == 3)
            names = [f"name-that-takes-room-{n}" for n in range(20_000)]
            for previous in range(8):
                assert await writer.append(delta(previous, *names))
                if running.cut:
                    break
            await until(lambda: running.cut == 1)
            assert (await newer(reader, previous)).generation == previous + 1
        with contextlib.suppress(LinkClosed):
            await stuck.close()
        await running.stop()

    run(body)


async def never_reads(address: HostPort) -> Link:
    """Follows from a socket whose buffer is soon full."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (address.host, address.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=2)
    link = Link(reader, writer)
    await link.send(TOKEN)
    await link.send_encoded(frame(0, "follow", 0))
    return link


def test_a_store_that_cannot_write_tells_who_asked_and_its_followers_follow_on() -> None:
    class Full(TwinPlanStore):
        is_full = False

        async def append(self, step: PlanDelta) -> bool:
            if self.is_full:
                raise StoreUnwritable("plans.sqlite: database or disk is full")
            return await super().append(step)

    async def body() -> None:
        store, told = Full(REGION, KEPT, WallClock()), list[str]()
        running = PlanStoreService(store, on_trouble=told.append)
        address = await running.start(ANYWHERE, TOKEN)
        async with PlanStoreClient(REGION, address, TOKEN) as writer, follower(address) as reader:
            store.is_full = True
            with pytest.raises(StoreUnwritable, match="full"):
                await writer.append(delta(0, "db"))
            assert len(told) == 1
            store.is_full = False
            assert await writer.append(delta(0, "db"))
            await newer(reader, 0)
        await running.stop()

    run(body)


def test_calls_end_with_unreachable_when_the_store_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CALL_DEADLINE_S", 0.2)

    async def body() -> None:
        async with PlanStoreClient(REGION, HostPort("127.0.0.1", free_port()), TOKEN) as lonely:
            with pytest.raises(Unreachable, match="plan store"):
                await lonely.history(1)

    run(body)


def test_a_call_whose_connection_is_lost_does_not_wait_for_ever() -> None:
    async def body() -> None:
        asked = asyncio.Event()

        class Slow(TwinPlanStore):
            async def history(self, limit: int) -> tuple[()]:
                asked.set()
                await asyncio.sleep(3600)
                return ()

        running = PlanStoreService(Slow(REGION, KEPT, WallClock()))
        address = await running.start(ANYWHERE, TOKEN)
        async with PlanStoreClient(REGION, address, TOKEN) as asker:
            call = asyncio.create_task(asker.history(1))
            await asked.wait()
            for caller in list(running._callers):
                caller.link.abort()
            with pytest.raises(Unreachable, match="lost"):
                await call
        await running.stop()

    run(body)


def test_a_refusal_is_a_refusal_at_the_caller() -> None:
    async def body() -> None:
        async with served_by(twin()) as address, PlanStoreClient(REGION, address, TOKEN) as asker:
            with pytest.raises(Refusal, match="7"):
                await asker.plan_at(7)

    run(body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_last_good_plan_that_cannot_be_written_is_told_and_following_goes_on(tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "file").write_text("in the way")
        store, told = twin(), list[str]()
        await store.append(delta(0, "db"))
        async with served_by(store) as address:
            reader = PlanFollower(
                REGION, address, TOKEN, tmp_path / "file" / "a.plan", on_state=lambda is_up, why: told.append(why)
            )
            async with reader:
                assert (await newer(reader, 0)).generation == 1
                await until(lambda: any("not saved" in why for why in told))

    run(body)
