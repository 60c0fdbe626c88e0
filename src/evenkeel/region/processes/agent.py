"""`agent-<az>-<label>`: one host's agent. Its host's name is `<az>-<label>`."""

from __future__ import annotations

import random

import numpy as np

from evenkeel.adapters import pki
from evenkeel.adapters.agent.agent import Agent
from evenkeel.adapters.agent.linking import LinkState, Place, keep_linked
from evenkeel.adapters.agent.memory import AgentMemory
from evenkeel.adapters.instances.host import HostInstances, demo_commands
from evenkeel.adapters.instances.keeper import boot_s
from evenkeel.model.events import EventKind
from evenkeel.region.components import host_az
from evenkeel.region.fleet import fleet_of, host_credentials, host_folder, links_of
from evenkeel.region.runtime import Runtime


async def main(runtime: Runtime) -> None:
    """Keep the lease and the instances until told to stop; the instances go on for as long as the lease lasts."""
    region, fleet = runtime.region, fleet_of(runtime.region)
    host = runtime.component.removeprefix("agent-")
    az = host_az(region, host)
    folder = host_folder(region, host)
    instances = HostInstances(folder, demo_commands(fleet.instance_address), runtime.supervisor)
    place = Place(
        host=pki.Identity(region.name, pki.Role.HOST, host),
        manager=pki.Identity(region.name, pki.Role.MANAGER, az),
        addresses=links_of(region, az),
        credentials=host_credentials(region, host),
        nats=fleet.nats,
        join_token=lambda: runtime.secret("join"),
        cpus=fleet.host_cpus,
        memory_mib=fleet.host_memory_mib,
    )
    with instances.lock():
        agent = Agent(
            fleet.policy,
            instances,
            AgentMemory(folder),
            np.random.default_rng(),
            boot_s(),
            on_trouble=lambda why: runtime.log.error("instances", error=why),
        )
        state = LinkState()
        _publish(runtime, agent, instances, state, host)
        await keep_linked(place, agent, state, boot_s, _Teller(runtime).tell, runtime.stopping, random.Random())


class _Teller:
    """Says when the manager is lost and found; the first try is no news."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._was_up = False

    def tell(self, is_up: bool, why: str) -> None:
        self._runtime.log.info("link", up=is_up, why=why)
        if is_up:
            self._was_up = True
        elif self._was_up:
            self._was_up = False
            self._runtime.journal.record(EventKind.UNREACHABLE, detail=f"the link to the manager is down: {why}")


def _publish(runtime: Runtime, agent: Agent, instances: HostInstances, state: LinkState, host: str) -> None:
    runtime.status.update(
        host=host,
        linked=lambda: state.is_up,
        manager=lambda: state.manager,
        trouble=lambda: state.trouble,
        lease_left_s=lambda: round(agent.lease_left_s(boot_s()), 3),
        generation=lambda: agent.generation,
        epoch=lambda: agent.epoch,
        eta_s=lambda: agent.eta_s,
        counts=lambda: {name: getattr(agent.counts, name) for name in agent.counts.__slots__},
        instances=lambda: {name: each.address for name, each in instances.found().items()},
    )
