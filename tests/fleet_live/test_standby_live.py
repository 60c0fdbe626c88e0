"""Two managers of one az, each a process of its own: the one that stands by takes over from one that is killed or
stopped, no lease ends, nothing is launched anew, and the one that comes back stands by."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evenkeel.adapters.droplet_manager.client import ManagerClient
from evenkeel.adapters.droplet_manager.control import RoleView
from evenkeel.adapters.instances.keeper import boot_s
from evenkeel.adapters.secrets import read_secret
from evenkeel.region.components import manager_names
from evenkeel.region.fleet import controls_of
from evenkeel.testing.fleets import RunningFleet, Workload, running_fleet

AZ = "a"
DEADLINE_S = 60.0
TAKEOVER_AFTER_S = 2.0
TERM_S = 12.0


@dataclass
class Watcher:
    """Looks at the hosts' own disks and at the kernel's processes all the time, whatever the managers believe."""

    fleet: RunningFleet
    workload: Workload
    wrong: list[str] = field(default_factory=list)
    looks: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        seen = dict.fromkeys(self.fleet.hosts, (0, 0))
        while not self._over.wait(0.05):
            self.looks += 1
            for host in self.fleet.hosts:
                if self.fleet.lease_ends_boot_s(host) <= boot_s():
                    self.wrong.append(f"the lease of {host} ended")
                held = self.fleet.held(host)
                if held < seen[host] or held[1] < seen[host][1]:
                    self.wrong.append(f"{host} went back from {seen[host]} to {held}")
                seen[host] = held
            if not self.workload.lives():
                self.wrong.append("the instance's process is gone")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


class Az:
    """The az's two managers, from outside."""

    def __init__(self, fleet: RunningFleet) -> None:
        self.fleet = fleet
        self.names = manager_names(fleet.region, AZ)

    def roles(self) -> dict[str, RoleView | None]:
        async def ask() -> tuple[RoleView | None, ...]:
            client = ManagerClient(
                controls_of(self.fleet.region, AZ), read_secret(self.fleet.region.state_dir, "fleet")
            )
            try:
                return await client.roles()
            finally:
                await client.close()

        return dict(zip(self.names, asyncio.run(ask()), strict=True))

    @property
    def holder(self) -> str:
        """The one that has it; "" where none or two say so."""
        holding = [name for name, role in self.roles().items() if role is not None and role.is_holder]
        return holding[0] if len(holding) == 1 else ""

    def epoch(self) -> int:
        path = Path(self.fleet.region.state_dir) / "tables" / "tables.sqlite"
        with contextlib.closing(sqlite3.connect(path, timeout=5.0)) as db:
            ((epoch,),) = db.execute("SELECT epoch FROM tenures WHERE az = ?", (AZ,)).fetchall()
        return int(epoch)

    def recorded(self) -> dict[str, int]:
        """The generations that the store has of the hosts."""
        path = Path(self.fleet.region.state_dir) / "tables" / "tables.sqlite"
        with contextlib.closing(sqlite3.connect(path, timeout=5.0)) as db:
            return dict(db.execute("SELECT name, generation FROM hosts").fetchall())

    def launch(self, token: str) -> None:
        """Again and again under one token, as a patient client does."""

        async def ask() -> bool:
            client = self.fleet.client("one")
            try:
                return (await client.launch(token)).status == 200
            finally:
                client.close()

        until(lambda: asyncio.run(ask()))

    def stands_by(self, name: str) -> bool:
        role = self.roles()[name]
        return role is not None and not role.is_holder and role.holder.partition("@")[0] == self.holder != name

    def hosts_obey(self, epoch: int) -> bool:
        return all(self.fleet.held(host)[1] == epoch for host in self.fleet.hosts)


def until(holds: Callable[[], bool], deadline_s: float = DEADLINE_S) -> float:
    """How long it took."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < deadline_s, "not within its deadline"
        time.sleep(0.1)
    return time.monotonic() - began_s


@pytest.fixture
def az(tmp_path: Path) -> Iterator[Az]:
    """Leased, with one instance that runs."""
    with running_fleet(tmp_path, hosts=2, term_s=TERM_S, managers_per_az=2, takeover_after_s=TAKEOVER_AFTER_S) as fleet:
        found = Az(fleet)
        until(fleet.are_covered)
        found.launch("t-1")
        until(lambda: len(fleet.workloads()) == 1)
        until(lambda: found.stands_by(next(name for name in found.names if name != found.holder)))
        yield found


@pytest.mark.slow
def test_a_killed_holder_is_taken_over_no_lease_ends_and_it_comes_back_as_a_standby(az: Az) -> None:
    (workload,) = az.fleet.workloads()
    first, epoch = az.holder, az.epoch()
    second = next(name for name in az.names if name != first)
    watcher = Watcher(az.fleet, workload)
    with watcher.watching():
        supervisor = az.fleet.process
        assert supervisor is not None
        supervisor.send_signal(signal.SIGSTOP)  # else it starts the manager again before it is missed
        os.kill(az.fleet.pids()[first], signal.SIGKILL)
        until(lambda: az.holder == second, 20.0)
        assert az.epoch() == epoch + 1, "taken over once"
        until(lambda: az.hosts_obey(epoch + 1), TERM_S)
        az.launch("t-2")
        supervisor.send_signal(signal.SIGCONT)
        until(lambda: az.stands_by(first))
        time.sleep(3 * TAKEOVER_AFTER_S)
        assert (az.holder, az.epoch()) == (second, epoch + 1), "nobody takes over from a holder that lives"
        until(lambda: len(az.fleet.workloads()) == 2)
    assert watcher.looks > 50
    assert not watcher.wrong, watcher.wrong[:5]


@pytest.mark.slow
def test_a_stopped_holder_is_taken_over_and_stands_by_when_it_wakes(az: Az) -> None:
    (workload,) = az.fleet.workloads()
    first, epoch = az.holder, az.epoch()
    second = next(name for name in az.names if name != first)
    pid = az.fleet.pids()[first]
    watcher = Watcher(az.fleet, workload)
    with watcher.watching():
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: az.holder == second, 20.0)
            until(lambda: az.hosts_obey(epoch + 1), TERM_S)  # their links to the stopped one are still up
            az.launch("t-2")
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: az.stands_by(first))
        time.sleep(3 * TAKEOVER_AFTER_S)
        assert (az.holder, az.epoch()) == (second, epoch + 1)
        assert az.fleet.pids()[first] == pid, "it stands by without having been started anew"
        assert az.hosts_obey(epoch + 1)
        held = {host: az.fleet.held(host)[0] for host in az.fleet.hosts}
        assert held == az.recorded(), "every host holds the one lease that is recorded"
    assert not watcher.wrong, watcher.wrong[:5]
