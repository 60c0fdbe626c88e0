"""One body for every kind of agent link: what arrives is authentic, in order, once, and bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from evenkeel.adapters.frames import LinkClosed
from evenkeel.adapters.links.base import DOWN_OCTETS_MAX, FRAMES_BURST, UP_OCTETS_MAX, AgentLink
from evenkeel.model.errors import EvenkeelError, Unreachable
from tests.fleet_live.arms import Arm, Heard, nats_server
from tests.fleet_live.authorities import Pki

DEADLINE_S = 10.0


@pytest.fixture(params=["tcp", pytest.param("nats", marks=pytest.mark.nats)])
def arm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arm]:
    pki = Pki(tmp_path)
    if request.param == "tcp":
        yield Arm(pki)
        return
    with nats_server(tmp_path) as url:
        yield Arm(pki, url)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for is another object's, without an event
            await asyncio.sleep(0.01)


async def closes(link: AgentLink) -> bool:
    """Whether the link's other side ends it."""
    with contextlib.suppress(LinkClosed):
        while await link.receive(DEADLINE_S) is not None:
            pass
        return False
    return True


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60.0):
            await body()

    asyncio.run(bounded())


def test_frames_go_both_ways_in_order_under_the_name_of_the_certificate(arm: Arm) -> None:
    async def body() -> None:
        heard = Heard()
        async with arm.manager(heard) as manager:
            link = await arm.agent("a-1")
            sent = [b"frame %d" % number for number in range(50)]
            for frame in sent:
                await link.send(frame)
            await until(lambda: len(heard.frames) == 50)
            assert heard.of("a-1") == sent
            assert manager.linked == 1
            assert manager.is_linked("a-1")
            assert all(manager.send("a-1", frame) for frame in sent)
            assert [await link.receive(DEADLINE_S) for _ in sent] == sent
            await link.close()

    run(body)


def test_a_frame_to_a_host_without_a_link_is_dropped_and_said_so(arm: Arm) -> None:
    async def body() -> None:
        async with arm.manager(Heard()) as manager:
            assert not manager.send("a-1", b"hello")
            assert not manager.is_linked("a-1")

    run(body)


def test_an_empty_and_the_largest_frames_arrive(arm: Arm) -> None:
    async def body() -> None:
        heard = Heard()
        async with arm.manager(heard) as manager:
            link = await arm.agent("a-1")
            await link.send(b"")
            await link.send(b"x" * (UP_OCTETS_MAX - 1))
            await until(lambda: len(heard.frames) == 2)
            assert manager.send("a-1", b"y" * (DOWN_OCTETS_MAX - 4096))
            assert await link.receive(DEADLINE_S) == b"y" * (DOWN_OCTETS_MAX - 4096)
            assert not manager.send("a-1", b"y" * (DOWN_OCTETS_MAX + 1))
            await link.close()

    run(body)


def test_a_frame_beyond_the_bound_does_not_arrive(arm: Arm) -> None:
    async def body() -> None:
        heard = Heard()
        async with arm.manager(heard):
            link = await arm.agent("a-1")
            await link.send(b"first")
            await until(lambda: len(heard.frames) == 1)
            with contextlib.suppress(EvenkeelError):
                await link.send(b"x" * (2 * UP_OCTETS_MAX))
                assert await closes(link)
            assert heard.of("a-1") == [b"first"]
            await link.close()

    run(body)


def test_a_host_that_sends_too_many_frames_is_cut_and_may_come_back(arm: Arm) -> None:
    async def body() -> None:
        heard = Heard()
        async with arm.manager(heard) as manager:
            link = await arm.agent("a-1")
            with contextlib.suppress(LinkClosed):
                for _ in range(int(FRAMES_BURST) * 4):
                    await link.send(b"again")
            assert await closes(link)
            await link.close()
            assert manager.refused["too many frames"] >= 1
            again = await arm.agent("a-1")
            await again.send(b"sorry")
            await until(lambda: heard.of("a-1")[-1:] == [b"sorry"])
            await again.close()

    run(body)


def test_a_host_of_another_region_is_refused(arm: Arm, tmp_path: Path) -> None:
    async def body() -> None:
        heard = Heard()
        foreign = Pki(tmp_path / "elsewhere", "elsewhere").host("a-1")
        ours = Pki(tmp_path).authority.certificate
        assert ours != Pki(tmp_path / "elsewhere").authority.certificate
        async with arm.manager(heard):
            with contextlib.suppress(EvenkeelError):
                link = await arm.agent("a-1", foreign)
                await link.send(b"let me in")
                assert await closes(link)
        assert heard.frames == []

    run(body)


def test_a_host_cannot_speak_under_anothers_name(arm: Arm) -> None:
    async def body() -> None:
        heard = Heard()
        async with arm.manager(heard):
            with contextlib.suppress(Unreachable):
                link = await arm.agent("a-1", arm.pki.host("a-2"))  # a-1 by its own word, a-2 by its certificate
                await link.send(b"I am a-1")
                await until(lambda: bool(heard.frames))
                await link.close()
        assert heard.of("a-1") == []

    run(body)


def test_an_agent_believes_no_manager_but_its_own(arm: Arm) -> None:
    async def body() -> None:
        credentials = arm.pki.host("a-9")
        genuine = arm.pki.manager

        def usurped(az: str = "a") -> object:
            return credentials  # a host's certificate where the manager's should be

        object.__setattr__(arm.pki, "manager", usurped)
        try:
            async with arm.manager(Heard()):
                with pytest.raises(Unreachable):
                    await arm.agent("a-1")
        finally:
            object.__setattr__(arm.pki, "manager", genuine)

    run(body)


def test_a_new_link_of_a_host_takes_the_place_of_the_old_one(arm: Arm) -> None:
    async def body() -> None:
        heard = Heard()
        async with arm.manager(heard) as manager:
            old = await arm.agent("a-1")
            await old.send(b"old")
            await until(lambda: heard.of("a-1") == [b"old"])
            new = await arm.agent("a-1")
            await new.send(b"new")
            await until(lambda: heard.of("a-1") == [b"old", b"new"])
            assert manager.linked == 1
            assert manager.send("a-1", b"hello")
            assert await new.receive(DEADLINE_S) == b"hello"
            await old.close()
            await asyncio.sleep(0.1)
            assert manager.is_linked("a-1")
            await new.close()

    run(body)


def test_a_manager_that_restarts_is_found_again(arm: Arm) -> None:
    async def body() -> None:
        heard = Heard()
        async with arm.manager(heard):
            link = await arm.agent("a-1")
            await link.send(b"before")
            await until(lambda: len(heard.frames) == 1)
        async with arm.manager(heard):
            with contextlib.suppress(LinkClosed):
                await link.send(b"into the void")
            assert await closes(link)
            await link.close()
            again = await arm.agent("a-1")
            await again.send(b"after")
            await until(lambda: heard.of("a-1") == [b"before", b"after"])
            await again.close()

    run(body)


def test_a_dropped_link_ends_at_the_agent(arm: Arm) -> None:
    async def body() -> None:
        heard = Heard()
        async with arm.manager(heard) as manager:
            link = await arm.agent("a-1")
            await link.send(b"hello")
            await until(lambda: manager.is_linked("a-1"))
            manager.drop("a-1")
            assert await closes(link)
            await until(lambda: heard.linked == [("a-1", True), ("a-1", False)])
            await link.close()

    run(body)


def test_receiving_gives_up_at_its_deadline(arm: Arm) -> None:
    async def body() -> None:
        async with arm.manager(Heard()):
            link = await arm.agent("a-1")
            assert await link.receive(0.05) is None
            await link.close()

    run(body)
