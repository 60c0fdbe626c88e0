"""An agent and its link: joins where it has no certificate, connects, and connects again, ever more patiently.

While there is no link the agent goes on: its instances run for as long as its lease lasts, and no longer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from evenkeel.adapters import pki
from evenkeel.adapters.agent.agent import Agent
from evenkeel.adapters.fleet_messages import JoinReply, JoinRequest, encoder, read_at_agent
from evenkeel.adapters.frames import LinkClosed
from evenkeel.adapters.links import tcp
from evenkeel.adapters.links.base import AgentLink
from evenkeel.model.errors import Refusal, Unreachable
from evenkeel.model.region import HostPort

BACK_OFF_S = 0.2
BACK_OFF_MAX_S = 10.0
RECEIVE_MAX_S = 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent belongs: its host, its manager, and what it shows them."""

    host: pki.Identity
    manager: pki.Identity
    address: HostPort
    credentials: pki.Credentials
    nats: str
    join_token: Callable[[], str]
    cpus: int
    memory_mib: int


async def join(place: Place) -> None:
    """Get a certificate. Raises `Refusal` with the manager's reason, `Unreachable`, `InputError`."""
    request = JoinRequest(
        place.join_token(), place.host.name, place.cpus, place.memory_mib, place.credentials.request()
    )
    context = pki.host_context(place.credentials, is_joining=True)
    frame = await tcp.ask_to_join(place.address, context, place.manager, msgspec.msgpack.encode(request))
    try:
        reply = msgspec.msgpack.decode(frame, type=JoinReply)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"manager at {place.address}: garbage instead of a certificate: {error}") from error
    if reply.refused:
        raise Refusal(reply.refused)
    place.credentials.accept(reply.certificate)


async def connect(place: Place) -> AgentLink:
    """A link, after joining where that is due. Raises `Unreachable`, `Refusal`, `InputError`."""
    if place.credentials.is_due():
        await join(place)
    if place.nats:
        from evenkeel.adapters.links import nats  # an extra: only who uses it needs it

        return await nats.connect(place.nats, place.credentials, place.host, place.manager)
    return await tcp.connect(place.address, pki.host_context(place.credentials), place.manager)


@dataclass(slots=True)
class LinkState:
    """For status and journal."""

    is_up: bool = False
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
    attempts = 0
    while not stopping.is_set():
        try:
            link = await connect(place)
        except (Unreachable, Refusal) as error:
            if str(error) != state.trouble:
                state.trouble = str(error)
                on_state(False, state.trouble)
            attempts += 1
            await _pause(agent, clock, stopping, _back_off_s(attempts, chance))
            continue
        attempts = 0
        state.is_up, state.trouble = True, ""
        on_state(True, "")
        try:
            await _converse(agent, link, clock, stopping)
        except LinkClosed as error:
            state.trouble = str(error)
            state.breaks += 1
            on_state(False, state.trouble)
        finally:
            state.is_up = False
            await link.close()
        await _pause(agent, clock, stopping, _back_off_s(1, chance))


async def _converse(agent: Agent, link: AgentLink, clock: Callable[[], float], stopping: asyncio.Event) -> None:
    agent.linked(clock())
    while not stopping.is_set():
        for message in agent.tick(clock(), is_linked=True):
            await link.send(encoder.encode(message))
        frame = await link.receive(min(RECEIVE_MAX_S, agent.next_in_s(clock()) + 0.001))
        if frame is None:
            continue
        try:
            heard = read_at_agent(frame)
        except Refusal as refusal:
            raise LinkClosed(str(refusal)) from refusal
        for message in agent.heard(heard, clock()):
            await link.send(encoder.encode(message))


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
    """Doubling, capped, and spread over all of it: a fleet that lost its manager must not come back in step."""
    full_s = min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(attempts, 10))
    return full_s * chance.uniform(0.1, 1.0)
