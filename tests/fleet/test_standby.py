"""When a standby takes over: the watch rule in virtual time, over the store's twin."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from evenkeel.fleet.standby import Watch, look
from evenkeel.model.errors import Unreachable
from evenkeel.model.fleet import Tenure
from evenkeel.twins.lease_store import TwinLeaseStore

AZ = "a"
AFTER_S = 5.0
EXTEND_S = 60.0


@dataclass
class World:
    """A store that can be away or lose the replies to takeovers, and one clock."""

    now_s: float = 1000.0
    is_away: bool = False
    loses_replies: bool = False
    reply_s: float = 0.0  # what a reply takes, half of it on the way there
    twin: TwinLeaseStore = field(default_factory=lambda: TwinLeaseStore(lambda: 0.0))

    def watch(self, name: str, *, goes_first: bool = True) -> Watch:
        return Watch(name, AFTER_S, lambda: self.now_s, goes_first)

    def look(self, watch: Watch) -> Tenure | None:
        """As the process does it."""
        try:
            return asyncio.run(look(self, watch, AZ, watch.manager, EXTEND_S))
        except Unreachable:
            watch.lost()
            return None

    def looks_for(self, watch: Watch, duration_s: float, beats: int | None = None) -> float | None:
        """A look a second, and a beat of `beats`' epoch before each; after how long the az was taken."""
        began_s = self.now_s
        while self.now_s - began_s <= duration_s:
            if beats is not None:
                asyncio.run(self.twin.beat(AZ, beats))
            if self.look(watch) is not None:
                return self.now_s - began_s
            self.now_s += 1.0
        return None

    def held_by(self, name: str) -> int:
        """Taken at once by `name`; its epoch."""
        epoch = self.twin.state.tenure(AZ).epoch
        assert asyncio.run(self.twin.take(AZ, name, epoch, EXTEND_S))
        return epoch + 1

    @property
    def holder(self) -> tuple[int, str]:
        tenure = self.twin.state.tenure(AZ)
        return tenure.epoch, tenure.manager

    # --- ports.fleet.TenureStore ------------------------------------------------------------------------

    async def tenure(self, az: str) -> Tenure:
        if self.is_away:
            raise Unreachable("the store is away, as ordered")
        self.now_s += self.reply_s / 2
        seen = await self.twin.tenure(az)
        self.now_s += self.reply_s / 2
        return seen

    async def take(self, az: str, manager: str, seen_epoch: int, extend_s: float) -> bool:
        taken = await self.twin.take(az, manager, seen_epoch, extend_s)
        if self.loses_replies:
            raise Unreachable("the reply is lost, as ordered")
        return taken

    async def beat(self, az: str, epoch: int) -> None:
        await self.twin.beat(az, epoch)


def test_an_az_that_nobody_ever_managed_is_taken_at_once() -> None:
    world = World()
    assert world.looks_for(world.watch("one"), 0.0) == 0.0
    assert world.holder == (1, "one")


def test_where_the_first_manager_never_comes_up_another_takes_the_az_after_a_while() -> None:
    world = World()
    assert world.looks_for(world.watch("two", goes_first=False), 2 * AFTER_S) == AFTER_S
    assert world.holder == (1, "two")


def test_a_holder_whose_beat_advances_is_left_alone() -> None:
    world = World()
    epoch = world.held_by("one")
    assert world.looks_for(world.watch("two"), 100 * AFTER_S, beats=epoch) is None
    assert world.holder == (1, "one")


def test_a_holder_that_is_silent_is_taken_over_after_just_that_long() -> None:
    world = World()
    epoch, watch = world.held_by("one"), world.watch("two")
    assert world.looks_for(watch, 20.0, beats=epoch) is None
    assert world.looks_for(watch, 2 * AFTER_S) == AFTER_S - 1.0, "counted from the last look that saw a new beat"
    assert world.holder == (2, "two")


def test_a_manager_that_was_restarted_takes_its_own_tenure_back_at_once() -> None:
    world = World()
    world.held_by("one")
    assert world.looks_for(world.watch("one"), 0.0) == 0.0
    assert world.holder == (2, "one")


def test_a_manager_that_was_restarted_and_finds_another_in_its_place_stands_by() -> None:
    world = World()
    world.held_by("one")
    epoch = world.held_by("two")
    assert world.looks_for(world.watch("one"), 10 * AFTER_S, beats=epoch) is None


def test_a_manager_that_was_superseded_stands_by_and_takes_nothing_back() -> None:
    world = World()
    one = world.watch("one")
    assert world.look(one) is not None
    epoch = world.held_by("two")
    one.superseded()
    assert world.looks_for(one, 10 * AFTER_S, beats=epoch) is None
    assert world.looks_for(one, 2 * AFTER_S) is not None, "until that one is silent in its turn"


def test_two_processes_under_one_name_do_not_take_over_from_each_other_without_end() -> None:
    world = World()
    first, second = world.watch("one"), world.watch("one")
    assert world.look(first) is not None
    assert world.look(second) is not None, "it cannot be told from the first one, restarted"
    first.superseded()
    assert world.looks_for(first, 10 * AFTER_S, beats=2) is None
    assert world.holder == (2, "one")


def test_a_takeover_whose_reply_was_lost_is_taken_up_at_the_next_look() -> None:
    world = World()
    world.held_by("one")
    watch = world.watch("two")
    world.loses_replies = True
    assert world.looks_for(watch, AFTER_S) is None
    assert world.holder == (2, "two")
    world.loses_replies = False
    assert world.looks_for(watch, 0.0) == 0.0
    assert world.holder == (3, "two")


def test_a_store_that_is_away_is_no_reason_to_take_over() -> None:
    world = World()
    epoch, watch = world.held_by("one"), world.watch("two")
    assert world.looks_for(watch, 2.0, beats=epoch) is None
    world.is_away = True
    assert world.looks_for(watch, 100 * AFTER_S) is None
    world.is_away = False
    assert world.look(watch) is None, "the holder could not be heard, so it has not been silent yet"
    assert world.looks_for(watch, AFTER_S - 2.0) is None
    assert world.looks_for(watch, 100 * AFTER_S, beats=epoch) is None


def test_a_standby_that_was_stopped_has_not_listened_meanwhile() -> None:
    """Stopped between the store's reply and its reading, which is then an hour old."""
    world = World(reply_s=7200.0)
    epoch, watch = world.held_by("one"), world.watch("two")
    for _ in range(3):
        assert world.look(watch) is None
        asyncio.run(world.beat(AZ, epoch))


MOMENTS = st.lists(
    st.tuples(st.floats(0.0, 4.0), st.floats(0.0, 3.0), st.booleans()),  # rest, how long a reply takes, holder lives
    min_size=1,
    max_size=40,
)


@given(moments=MOMENTS)
def test_however_late_replies_are_only_a_holder_that_was_silent_for_so_long_is_taken_over(
    moments: list[tuple[float, float, bool]],
) -> None:
    world = World()
    epoch = world.held_by("one")
    beaten_at_s = world.now_s
    watch = world.watch("two")

    for rest_s, world.reply_s, lives in moments:
        if world.look(watch) is not None:
            assert world.now_s - beaten_at_s >= AFTER_S
            return
        world.now_s += rest_s
        if lives:
            asyncio.run(world.beat(AZ, epoch))
            beaten_at_s = world.now_s
