"""A Planner's ear: who is heard, for how long, and what is made of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from evenkeel.adapters.frames import Link, LinkClosed, connect
from evenkeel.adapters.health_intake import HealthIntake
from evenkeel.adapters.health_messages import Hello, Opinions, Ping, Said
from evenkeel.adapters.vantage_point import VantagePoint
from evenkeel.endpoints.quorum import Turned
from evenkeel.model.health import Probe, ProbeKind, Standing
from evenkeel.model.region import HostPort, LoadBalancer
from tests.health.targets import hanging, listener, until

ANYWHERE = HostPort("127.0.0.1", 0)
TOKEN = "secret"
STALE_S = 1.0
HEALTHY, FAILED, UNKNOWN, NEW = Standing.HEALTHY, Standing.FAILED, Standing.UNKNOWN, Standing.NEW


@dataclass
class Listening:
    """An intake with what it told."""

    intake: HealthIntake
    address: HostPort
    turned: list[Turned] = field(default_factory=list)
    voices: list[tuple[str, bool, str]] = field(default_factory=list)

    async def standing(self, name: str = "lb") -> Standing:
        return (await self.intake.verdicts())[name].standing

    async def becomes(self, standing: Standing, name: str = "lb") -> None:
        async with asyncio.timeout(20):
            while await self.standing(name) is not standing:
                await self.intake.wait_changed(0.2)


@contextlib.asynccontextmanager
async def listening(
    *vantages: str, balancers: tuple[str, ...] = ("lb",), quorum: int = 2, stale_s: float = STALE_S
) -> AsyncIterator[Listening]:
    turned: list[Turned] = []
    voices: list[tuple[str, bool, str]] = []
    intake = HealthIntake(
        {name: LoadBalancer(name, "a") for name in balancers}, vantages, quorum, stale_s,
        on_turned=turned.append, on_voice=lambda *told: voices.append(told),
    )  # fmt: skip
    address = await intake.start(ANYWHERE, TOKEN)
    try:
        yield Listening(intake, address, turned, voices)
    finally:
        await intake.stop()


class Speaker:
    """A vantage point by hand: says what a test wants, and answers pings while told to."""

    def __init__(self, link: Link, vantage: str, echo: int) -> None:
        self.link = link
        self.vantage = vantage
        self.echo = echo
        self.doubt = ""
        self.answering: asyncio.Task[None] | None = None

    @classmethod
    async def introduce(cls, address: HostPort, vantage: str, **standings: Standing) -> Speaker:
        link = await connect(address, TOKEN)
        await link.send(Hello(vantage))
        speaker = cls(link, vantage, (await link.receive(Ping, 5.0)).number)
        await speaker.say(is_whole=True, **standings)
        speaker.answering = asyncio.create_task(speaker._answer())
        return speaker

    async def say(self, *, is_whole: bool = False, **standings: Standing) -> None:
        said = tuple(Said(name, standing, -1.0, -1.0, "by hand") for name, standing in standings.items())
        await self.link.send(Opinions(self.echo, self.doubt, is_whole, said))

    async def _answer(self) -> None:
        with contextlib.suppress(LinkClosed):
            while True:
                self.echo = (await self.link.receive(Ping, 20.0)).number
                await self.say()

    async def fall_silent(self) -> None:
        """Keeps the link, answers no more."""
        assert self.answering is not None
        self.answering.cancel()
        await asyncio.gather(self.answering, return_exceptions=True)

    async def leave(self) -> None:
        await self.fall_silent()
        await self.link.close()


def in_a_loop(scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene()

    asyncio.run(run())


def test_a_quorum_that_agrees_is_a_verdict_and_wakes_the_planner() -> None:
    async def scene() -> None:
        async with listening("vantage-a", "vantage-b", "vantage-c") as ear:
            assert await ear.standing() is NEW
            await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            b = await Speaker.introduce(ear.address, "vantage-b", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            await b.say(lb=FAILED)
            await Speaker.introduce(ear.address, "vantage-c", lb=FAILED)
            await ear.becomes(FAILED)
            assert [turned.after for turned in ear.turned] == [HEALTHY, FAILED]
            assert "vantage-c failed (by hand)" in ear.turned[-1].votes

    in_a_loop(scene)


def test_waiting_ends_at_once_with_the_names_or_empty_at_the_deadline() -> None:
    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as ear:
            assert await ear.intake.wait_changed(0.01) == frozenset()
            waiting = asyncio.create_task(ear.intake.wait_changed(20.0))
            await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            assert await waiting == {"lb"}
            assert await ear.intake.wait_changed(0.01) == frozenset()

    in_a_loop(scene)


def test_a_vantage_that_answers_no_pings_loses_its_vote_though_its_link_stands() -> None:
    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as ear:
            speaker = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            await speaker.fall_silent()
            await ear.becomes(UNKNOWN)
            assert ear.voices[-1][:2] == ("vantage-a", False)

    in_a_loop(scene)


def test_words_without_a_fresh_echo_make_nobody_fresh() -> None:
    """What lay in a buffer while a side was stopped must not count as new."""

    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as ear:
            speaker = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            await speaker.fall_silent()
            while await ear.standing() is HEALTHY:
                await speaker.say(lb=HEALTHY)  # the old echo again and again
                await asyncio.sleep(0.01)
            assert await ear.standing() is UNKNOWN
            await speaker.say(lb=FAILED)
            await until(lambda: "failed" in repr(ear.intake.opinions("lb")))
            assert await ear.standing() is UNKNOWN

    in_a_loop(scene)


def test_an_answer_to_a_ping_never_sent_ends_the_link() -> None:
    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as ear:
            speaker = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            await speaker.fall_silent()
            speaker.echo = 10**9
            await speaker.say(lb=FAILED)
            await until(lambda: not ear.intake.vantages()["vantage-a"]["linked"])
            assert await ear.standing() is HEALTHY

    in_a_loop(scene)


def test_a_lost_link_takes_no_vote_before_its_time() -> None:
    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as ear:
            speaker = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            await speaker.leave()
            await until(lambda: not ear.intake.vantages()["vantage-a"]["linked"])
            assert await ear.standing() is HEALTHY
            again = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            await asyncio.sleep(1.5 * STALE_S)
            assert await ear.standing() is HEALTHY
            await again.leave()
            await ear.becomes(UNKNOWN)

    in_a_loop(scene)


def test_a_vantage_in_doubt_of_itself_is_not_believed() -> None:
    async def scene() -> None:
        async with listening("vantage-a", "vantage-b", quorum=2) as ear:
            a = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            b = await Speaker.introduce(ear.address, "vantage-b", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            a.doubt = "all 7 targets are silent from here"
            await a.say(lb=FAILED)
            await b.say(lb=FAILED)
            await ear.becomes(UNKNOWN)
            assert ("vantage-a", False, a.doubt) in ear.voices
            a.doubt = ""
            await a.say(lb=FAILED)
            await ear.becomes(FAILED)

    in_a_loop(scene)


def test_a_vantage_that_started_anew_does_not_undo_a_verdict() -> None:
    async def scene() -> None:
        async with listening("vantage-a", "vantage-b", quorum=2) as ear:
            a = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            await Speaker.introduce(ear.address, "vantage-b", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            await a.leave()
            await Speaker.introduce(ear.address, "vantage-a", lb=NEW)
            await ear.becomes(UNKNOWN)  # leaves as published; never NEW, never FAILED
            assert [turned.after for turned in ear.turned] == [HEALTHY, UNKNOWN]

    in_a_loop(scene)


def test_a_second_link_of_one_vantage_replaces_the_first() -> None:
    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as ear:
            first = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            second = await Speaker.introduce(ear.address, "vantage-a", lb=FAILED)
            await ear.becomes(FAILED)
            assert first.answering is not None
            await first.answering  # its link was closed
            assert await ear.standing() is FAILED
            await second.leave()

    in_a_loop(scene)


def test_strangers_and_wrong_tokens_are_turned_away() -> None:
    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as ear:
            with pytest.raises(LinkClosed):
                await Speaker.introduce(ear.address, "vantage-z", lb=FAILED)
            link = await connect(ear.address, "guess")
            with pytest.raises(LinkClosed):
                await link.receive(Ping, 5.0)
            assert await ear.standing() is NEW

    in_a_loop(scene)


@pytest.mark.parametrize(
    "frame", [b"\x00\x00\x00\x05hello", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x02\x93\x01"]
)
def test_a_broken_frame_ends_its_link_and_nothing_else(frame: bytes) -> None:
    async def scene() -> None:
        async with listening("vantage-a", "vantage-b", quorum=2) as ear:
            a = await Speaker.introduce(ear.address, "vantage-a", lb=HEALTHY)
            await Speaker.introduce(ear.address, "vantage-b", lb=HEALTHY)
            await ear.becomes(HEALTHY)
            a.link._writer.write(frame)  # no public way to send a broken frame
            await until(lambda: not ear.intake.vantages()["vantage-a"]["linked"])
            assert await ear.standing() is HEALTHY
            await Speaker.introduce(ear.address, "vantage-a", lb=FAILED)
            await asyncio.sleep(1.5 * STALE_S)
            assert ear.intake.votes("lb") == {"vantage-a": FAILED, "vantage-b": HEALTHY}

    in_a_loop(scene)


def test_real_vantage_points_tell_every_planner_and_find_one_that_comes_later() -> None:
    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as one, listener(hanging) as port:
            later = HealthIntake({"lb": LoadBalancer("lb", "a")}, ["vantage-a"], 1, STALE_S)
            place = await later.start(ANYWHERE, TOKEN)
            await later.stop()
            probe = Probe(ProbeKind.TCP, port, interval_s=0.1, timeout_s=0.1, rise=2, fall=2, grace_s=0.0)
            balancer = LoadBalancer("lb", "a", ipv4=("127.0.0.1",), probe=probe)
            point = VantagePoint("vantage-a", [balancer], [one.address, place], TOKEN)
            point.start()
            await one.becomes(HEALTHY)
            late = HealthIntake({"lb": LoadBalancer("lb", "a")}, ["vantage-a"], 1, STALE_S)
            await late.start(place, TOKEN)
            await Listening(late, place).becomes(HEALTHY)
            await point.stop()
            await late.stop()

    in_a_loop(scene)


def test_a_planner_that_reads_nothing_holds_up_no_other() -> None:
    async def scene() -> None:
        async with listening("vantage-a", quorum=1) as ear, listener(hanging) as port:
            deaf = await asyncio.start_server(lambda reader, writer: asyncio.sleep(20), "127.0.0.1", 0)
            deaf_at = HostPort("127.0.0.1", deaf.sockets[0].getsockname()[1])
            probe = Probe(ProbeKind.TCP, port, interval_s=0.1, timeout_s=0.1, rise=2, fall=2, grace_s=0.0)
            balancer = LoadBalancer("lb", "a", ipv4=("127.0.0.1",), probe=probe)
            point = VantagePoint("vantage-a", [balancer], [deaf_at, ear.address], TOKEN)
            point.start()
            await ear.becomes(HEALTHY)
            await point.stop()
            deaf.close()

    in_a_loop(scene)
