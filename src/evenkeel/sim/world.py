"""One run's world: clock, chance, trace, network, processes and hosts, by name."""

from __future__ import annotations

from evenkeel.model.errors import InputError
from evenkeel.sim.barriers import Barriers
from evenkeel.sim.chance import Latency, Streams
from evenkeel.sim.drags import Drags
from evenkeel.sim.network import Host, Network
from evenkeel.sim.process import Main, Process
from evenkeel.sim.scheduler import Simulator
from evenkeel.sim.trace import Noted, Trace


class World:
    """What everything in a run shares. `epoch_ms` is the wall-clock time at which virtual time begins."""

    def __init__(self, seed: int, default_latency: Latency, epoch_ms: int = 0, trace: Trace | None = None) -> None:
        self.simulator = Simulator()
        self.streams = Streams(seed)
        self.trace = trace or Trace()
        self.network = Network(self.simulator, self.streams, self.trace, default_latency)
        self.barriers = Barriers(self.simulator)
        self.drags = Drags()
        self.epoch_ms = epoch_ms
        self.processes: dict[str, Process] = {}
        self.hosts: dict[str, Host] = {}

    def add_process(self, name: str, main: Main) -> Process:
        process = self.processes[name] = Process(self, name, main)
        return process

    def add_host(self, host: Host) -> None:
        self.hosts[host.name] = host

    def party(self, name: str, where: str = "component") -> Process | Host:
        """A process or host. Raises `InputError` that names those there are."""
        found = self.processes.get(name) or self.hosts.get(name)
        if found is None:
            names = ", ".join([*self.hosts, *self.processes])
            raise InputError.one(where, f"there is no component {name!r} in this region", f"use one of {names}")
        return found

    def note(self, process: str, kind: str, detail: str = "", endpoint: str = "", generation: int = 0) -> None:
        """A notable event."""
        self.trace.note(Noted(self.simulator.now_us, process, kind, endpoint, generation, detail))

    @property
    def now_us(self) -> int:
        return self.simulator.now_us
