"""An agent and its link: joins where it has no certificate, connects, and connects again, ever more patiently.

Where an az has several managers one of them serves, and the others do not listen: a connection to them is refused by
their kernels, which costs them nothing. An agent tries them in turn, the one that served last first. While it has a
link it looks elsewhere now and then, and soon where its contacts stay unanswered (`Elsewhere`).

While there is no link the agent goes on: its instances run for as long as its lease lasts, and no longer.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from evenkeel.adapters import pki
from evenkeel.adapters.agent.agent import Agent
from evenkeel.adapters.fleet_messages import ContactFrame, JoinReply, JoinRequest, encoder, read_at_agent
from evenkeel.adapters.frames import LinkClosed
from evenkeel.adapters.links import tcp
from evenkeel.adapters.links.base import AgentLink
from evenkeel.model.errors import EvenkeelError, InternalError, Refusal, Unreachable
from evenkeel.model.region import HostPort

BACK_OFF_S = 0.2
BACK_OFF_MAX_S = 10.0
RECEIVE_MAX_S = 0.25
SILENCE_S = 2.0  # a contact that is unanswered for so long; a manager in peace answers within milliseconds
LOOK_SOON_S = 1.0
LOOK_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent belongs: its host, its manager, and what it shows them."""

    host: pki.Identity
    manager: pki.Identity
    addresses: tuple[HostPort, ...]  # of the managers that may serve, one or more
    credentials: pki.Credentials
    nats: str
    join_token: Callable[[], str]
    cpus: int
    memory_mib: int


async def join(place: Place, address: HostPort) -> None:
    """Get a certificate of the manager at `address`. Raises `Refusal` with its reason, `Unreachable`, `InputError`."""
    request = JoinRequest(
        place.join_token(), place.host.name, place.cpus, place.memory_mib, place.credentials.request()
    )
    context = pki.host_context(place.credentials, is_joining=True)
    frame = await tcp.ask_to_join(address, context, place.manager, msgspec.msgpack.encode(request))
    try:
        reply = msgspec.msgpack.decode(frame, type=JoinReply)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"manager at {address}: garbage instead of a certificate: {error}") from error
    if reply.refused:
        raise Refusal(reply.refused)
    place.credentials.accept(reply.certificate)


async def connect(place: Place, address: HostPort) -> AgentLink:
    """A link to the manager at `address`, after joining where that is due; over a NATS server, to whichever manager
    serves. Raises `Unreachable`, `Refusal`, `InputError`."""
    if place.credentials.is_due():
        await join(place, address)
    if place.nats:
        from evenkeel.adapters.links import nats  # an extra: only who uses it needs it

        return await nats.connect(place.nats, place.credentials, place.host, place.manager)
    return await tcp.connect(address, pki.host_context(place.credentials), place.manager)


@dataclass(slots=True)
class LinkState:
    """For status and journal."""

    is_up: bool = False
    manager: str = ""  # the address that serves, or was tried last
    trouble: str = ""
    breaks: int = 0


async def keep_linked(
    place: Place,
    agent: Agent,
    state: LinkState,
    clock: Callable[[], float],
    on_state: Callable[[bool, str], None],
    stopping: asyncio.Event,
    chance: random.Random,
) -> None:
    """Until `stopping` is set."""
    at, attempts, found = 0, 0, None  # found: a link that was made while the one before it was up
    troubles: dict[int, str] = {}
    while not stopping.is_set():
        state.manager = str(place.addresses[at])
        try:
            link = found or await connect(place, place.addresses[at])
        except (Unreachable, Refusal) as error:
            state.trouble = str(error)
            if troubles.get(at) != state.trouble:
                troubles[at] = state.trouble
                on_state(False, state.trouble)
            at = (at + 1) % len(place.addresses)
            attempts += 1
            rounds, rest = divmod(attempts, len(place.addresses))
            await _pause(agent, clock, stopping, _back_off_s(0 if rest else rounds, chance))
            continue
        attempts, found = 0, None
        troubles.clear()
        state.is_up, state.trouble = True, ""
        on_state(True, "")
        elsewhere = Elsewhere(place, at, clock(), chance)
        try:
            found, at = await _converse(agent, link, elsewhere, clock, stopping)
        except LinkClosed as error:
            state.trouble = str(error)
            state.breaks += 1
            on_state(False, state.trouble)
        finally:
            state.is_up = False
            await elsewhere.close()
            await link.close()
        if found is None:
            await _pause(agent, clock, stopping, _back_off_s(1, chance))


async def _converse(
    agent: Agent, link: AgentLink, elsewhere: Elsewhere, clock: Callable[[], float], stopping: asyncio.Event
) -> tuple[AgentLink | None, int]:
    """Until another manager is found to serve: the link to it, and the place of its address. Raises `LinkClosed`."""
    agent.linked(clock())
    while not stopping.is_set():
        for message in agent.tick(clock(), is_linked=True):
            await link.send(encoder.encode(message))
            if isinstance(message, ContactFrame):
                elsewhere.asked(clock())
        if elsewhere.look(clock()):
            return elsewhere.found()
        frame = await link.receive(min(RECEIVE_MAX_S, agent.next_in_s(clock()) + 0.001))
        if frame is None:
            continue
        try:
            heard = read_at_agent(frame)
        except Refusal as refusal:
            raise LinkClosed(str(refusal)) from refusal
        if heard.epoch >= agent.epoch:  # else by a manager whose time is over
            elsewhere.answered()
        for message in agent.heard(heard, clock()):
            await link.send(encoder.encode(message))
    return None, elsewhere.at


class Elsewhere:
    """Whether another manager serves than the one at place `at`, looked for while the link to that one is up.

    A manager that is stopped, or hangs, keeps its links; and one that recovers a fleet leaves contacts unanswered for
    long, so silence alone is no reason to end a link. What decides is that another one takes a link, handshake and all:
    those that stand by do not listen. Where all is well it is tried every `LOOK_EVERY_S` or so; a contact that stays
    unanswered makes it soon, and then less and less often.
    """

    def __init__(self, place: Place, at: int, now_s: float, chance: random.Random) -> None:
        self.at = at
        self._place, self._chance = place, chance
        # Over a NATS server whoever serves hears every host, and tells one with another's session to open a new one.
        self._has_others = len(place.addresses) > 1 and not place.nats
        self._next_s = now_s + self._spread_s(LOOK_EVERY_S)
        self._asked_at_s = math.inf  # the first contact since anything was heard
        self._tries = 0
        self._trying: asyncio.Task[AgentLink] | None = None
        self._where = at

    def asked(self, now_s: float) -> None:
        """A contact was sent."""
        self._asked_at_s = min(self._asked_at_s, now_s)

    def answered(self) -> None:
        """The manager of the link spoke."""
        self._asked_at_s, self._tries = math.inf, 0

    def look(self, now_s: float) -> bool:
        """Go on looking; whether another manager has taken a link."""
        if not self._has_others:
            return False
        if self._trying is not None:
            return self._is_found(now_s)
        if self._tries == 0 and now_s - self._asked_at_s >= SILENCE_S:
            self._tries = 1
            self._next_s = min(self._next_s, now_s + self._spread_s(LOOK_SOON_S))
        if now_s >= self._next_s:
            self._where = (self._where + 1) % len(self._place.addresses)
            if self._where == self.at:
                self._where = (self._where + 1) % len(self._place.addresses)
            self._trying = asyncio.ensure_future(connect(self._place, self._place.addresses[self._where]))
        return False

    def _is_found(self, now_s: float) -> bool:
        if self._trying is None or not self._trying.done():
            return False
        error, tried = self._trying.exception(), self._trying
        if error is None:
            return True
        if not isinstance(error, EvenkeelError):
            tried.result()
        self._trying = None
        wait_s = LOOK_EVERY_S
        if self._tries:
            wait_s = min(wait_s, LOOK_SOON_S * 2.0**self._tries)
            self._tries = min(self._tries + 1, 20)
        self._next_s = now_s + self._spread_s(wait_s)
        return False

    def found(self) -> tuple[AgentLink, int]:
        """What `look` has found, and where: the caller's from now on."""
        if self._trying is None:
            raise InternalError("nothing was found elsewhere")
        link, self._trying = self._trying.result(), None
        return link, self._where

    @property
    def is_trying(self) -> bool:
        return self._trying is not None

    async def close(self) -> None:
        """End what is still being tried."""
        if self._trying is None:
            return
        self._trying.cancel()
        (link,) = await asyncio.gather(self._trying, return_exceptions=True)
        if not isinstance(link, BaseException):
            await link.close()

    def _spread_s(self, delay_s: float) -> float:
        return delay_s * self._chance.uniform(0.5, 1.5)


async def _pause(agent: Agent, clock: Callable[[], float], stopping: asyncio.Event, delay_s: float) -> None:
    """Wait, and go on looking after the instances."""
    until_s = clock() + delay_s
    while not stopping.is_set() and clock() < until_s:
        agent.tick(clock(), is_linked=False)
        try:
            async with asyncio.timeout(min(RECEIVE_MAX_S, max(0.0, until_s - clock()))):
                await stopping.wait()
        except TimeoutError:
            continue


def _back_off_s(attempts: int, chance: random.Random) -> float:
    """Doubling, capped, and spread over all of it: a fleet that lost its manager must not come back in step.

    `attempts` counts rounds through all the addresses; 0 is for the rest between two of them.
    """
    full_s = min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(attempts, 10))
    return full_s * chance.uniform(0.1, 1.0)
