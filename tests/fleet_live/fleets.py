"""A small fleet in one process: a manager over a faulty store, and agents with real links, files and instances."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from evenkeel.adapters import pki
from evenkeel.adapters.agent.agent import Agent
from evenkeel.adapters.agent.linking import LinkState, Place, keep_linked
from evenkeel.adapters.agent.memory import AgentMemory
from evenkeel.adapters.droplet_manager.joining import Register
from evenkeel.adapters.droplet_manager.manager import Manager, Seat, opened
from evenkeel.adapters.instances.host import HostInstances, demo_commands
from evenkeel.adapters.instances.keeper import boot_s
from evenkeel.fleet.takeover import take_over
from evenkeel.model.events import EventKind
from evenkeel.model.fleet_policy import SAFE_FLEET, FleetPolicy
from evenkeel.model.region import HostPort
from tests.fleet_live.authorities import REGION, Pki
from tests.fleet_live.stores import FaultyStore

AZ = "a"
TOKEN = "join-token"
QUICK = replace(SAFE_FLEET, term_s=3.0, term_max_s=20.0, poll_max_s=1.0, poll_min_s=0.2)


@dataclass
class Told:
    """A journal that remembers."""

    events: list[tuple[EventKind, str]] = field(default_factory=list)

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        self.events.append((kind, detail))

    def of(self, kind: EventKind) -> list[str]:
        return [detail for each, detail in self.events if each is kind]


@dataclass
class RunningAgent:
    """One agent, and how to end it as a kill would."""

    name: str
    agent: Agent
    instances: HostInstances
    state: LinkState
    task: asyncio.Task[None]
    lock: contextlib.ExitStack

    async def kill(self) -> None:
        """It is gone at once; its instances are not."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.lock.close()


@dataclass
class Fleet:
    """Everything in `folder`."""

    folder: Path
    policy: FleetPolicy = QUICK
    store: FaultyStore = field(default_factory=FaultyStore)
    journal: Told = field(default_factory=Told)
    state_check_s: float = 0.0
    nats: str = ""
    standbys: int = 0
    addresses: list[HostPort] = field(default_factory=list)  # of the managers that may serve
    agents: dict[str, RunningAgent] = field(default_factory=dict)
    _manager: Manager | None = None
    _running: asyncio.Task[None] | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        # Where another may serve some day, agents have to know its address before it listens.
        self.addresses = [free_port() if self.standbys else HostPort("127.0.0.1", 0) for _ in range(1 + self.standbys)]

    @property
    def address(self) -> HostPort:
        return self.addresses[0]

    @property
    def pki(self) -> Pki:
        return Pki(self.folder / "pki")

    @property
    def manager(self) -> Manager:
        assert self._manager is not None
        return self._manager

    # --- the manager ----------------------------------------------------------------------------------

    def seat(self, number: int = 0) -> Seat:
        return Seat(
            region=REGION,
            az=AZ,
            policy=self.policy,
            store=self.store,
            journal=self.journal,
            clock=asyncio.get_running_loop().time,
            address=self.addresses[number],
            credentials=self.pki.manager(AZ),
            authority=self.pki.authority,
            register=Register(self.folder / "register"),
            join_token=TOKEN,
            is_of_az=lambda host: host.startswith(f"{AZ}-"),
            state_check_s=self.state_check_s,
            nats=self.nats,
        )

    async def start_manager(self, seat: int = 0) -> Manager:
        tenure = await take_over(self.store, AZ, f"manager-a-{seat + 1}", self.policy.term_max_s)
        assert tenure is not None
        self._manager = await opened(self.seat(seat), tenure)
        self.addresses[seat] = self._manager.address
        self._running = asyncio.create_task(self._manager.run(self._stopping))
        return self._manager

    async def kill_manager(self) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self._manager = None

    # --- agents ---------------------------------------------------------------------------------------

    def place(self, name: str, token: str = TOKEN, folder: Path | None = None) -> Place:
        folder = folder or self.folder / "hosts" / name
        return Place(
            host=pki.Identity(REGION, pki.Role.HOST, name),
            manager=pki.Identity(REGION, pki.Role.MANAGER, AZ),
            addresses=tuple(self.addresses),
            credentials=pki.Credentials.at(folder, self.folder / "pki" / "ca" / "ca.pem"),
            nats=self.nats,
            join_token=lambda: token,
            cpus=4,
            memory_mib=1024,
        )

    def start_agent(self, name: str) -> RunningAgent:
        folder = self.folder / "hosts" / name
        folder.mkdir(parents=True, exist_ok=True)
        instances = HostInstances(folder, demo_commands("127.0.0.1"), os.getpid())
        lock = contextlib.ExitStack()
        lock.enter_context(instances.lock())
        agent = Agent(self.policy, instances, AgentMemory(folder), np.random.default_rng(1), boot_s())
        state = LinkState()
        task = asyncio.create_task(
            keep_linked(
                self.place(name), agent, state, boot_s, lambda is_up, why: None, self._stopping, random.Random(1)
            )
        )
        self.agents[name] = RunningAgent(name, agent, instances, state, task, lock)
        return self.agents[name]

    async def stop(self) -> None:
        self._stopping.set()
        tasks = [agent.task for agent in self.agents.values()]
        await asyncio.gather(*tasks, *([self._running] if self._running else []), return_exceptions=True)
        for agent in self.agents.values():
            agent.instances.covered_until(0.0)
            await agent.instances.end_all(5.0)
            agent.lock.close()

    def is_whole(self) -> bool:
        """Every agent holds a lease, by its own clock and by the manager's."""
        status = self.manager.view().fleet
        held = all(each.agent.is_covered(boot_s()) for each in self.agents.values())
        return held and status.leased == status.hosts == len(self.agents)


@contextlib.asynccontextmanager
async def fleet(folder: Path, hosts: int = 2, **more: object) -> AsyncIterator[Fleet]:
    """A manager and `hosts` agents, all leased."""
    made = Fleet(folder, **more)  # type: ignore[arg-type]  # what the caller gives are Fleet's own fields
    try:
        await made.start_manager()
        for number in range(hosts):
            made.start_agent(f"{AZ}-{number + 1}")
        await until(made.is_whole)
        yield made
    finally:
        await made.stop()


def free_port() -> HostPort:
    """Free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return HostPort("127.0.0.1", free.getsockname()[1])


async def until(holds: Callable[[], bool], deadline_s: float = 20.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not holds():  # noqa: ASYNC110 - what is waited for is spread over processes and has no event
            await asyncio.sleep(0.02)
