"""Instances: wanted ones run, others end; none runs twice, none without a lease; an agent's death changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evenkeel.adapters.instances.host import HostInstances, Running, demo_commands
from evenkeel.adapters.instances.keeper import boot_s
from evenkeel.model.errors import Refusal
from evenkeel.model.fleet import InstanceSpec

DEADLINE_S = 20.0
SPEC = InstanceSpec()


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


class World:
    """One host's instances, driven as its agent drives them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.instances = HostInstances(folder, demo_commands("127.0.0.1"), while_pid=os.getpid())
        self.seen: set[int] = set()

    def lease_for(self, seconds: float) -> None:
        self.instances.covered_until(boot_s() + seconds)

    def up(self, *names: str) -> dict[str, Running]:
        """Ask for `names` until just these are up."""

        def are_up() -> bool:
            self.instances.make_be(dict.fromkeys(names, SPEC))
            found = self.instances.found()
            self.seen |= {each.workload for each in found.values() if each.workload}
            return found.keys() == set(names) and all(each.is_up for each in found.values())

        until(are_up)
        return self.instances.found()

    def workloads(self) -> set[int]:
        return {each.workload for each in self.instances.found().values() if each.workload}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "a-1")
    yield world
    world.lease_for(-1.0)
    until(lambda: not any(is_alive(pid) for pid in world.seen))


def test_a_wanted_instance_answers_http_and_an_unwanted_one_ends_and_leaves_nothing(world: World) -> None:
    world.lease_for(60.0)
    running = world.up("i-1", "i-2")
    body = urllib.request.urlopen(f"http://{running['i-1'].address}/", timeout=5.0).read().decode()
    assert body.startswith(f"instance i-1 at {running['i-1'].address}")
    left = world.up("i-2")
    assert left["i-2"].workload == running["i-2"].workload
    assert not is_alive(running["i-1"].workload)
    assert not (world.folder / "i-1").exists()


def test_nothing_is_started_without_a_lease(world: World) -> None:
    world.instances.make_be({"i-1": SPEC})
    world.lease_for(-1.0)
    world.instances.make_be({"i-1": SPEC})
    assert world.instances.found() == {}


def test_the_end_of_the_lease_ends_every_instance_with_no_agent_to_help(world: World) -> None:
    world.lease_for(60.0)
    world.up("i-1")
    pids = world.workloads()
    world.lease_for(0.3)
    until(lambda: not any(is_alive(pid) for pid in pids))
    assert world.instances.covered_for_s() <= 0
    until(lambda: world.instances.found() == {"i-1": Running("i-1", SPEC)})
    world.lease_for(60.0)
    assert world.up("i-1")["i-1"].workload not in pids


def test_a_broken_or_missing_lease_is_no_lease(world: World) -> None:
    world.lease_for(60.0)
    world.up("i-1")
    pids = world.workloads()
    (world.folder / "lease").write_text("for ever")
    until(lambda: not any(is_alive(pid) for pid in pids))
    (world.folder / "lease").unlink()
    assert world.instances.covered_for_s() == 0


def test_an_agent_that_starts_again_finds_its_instances_and_starts_none_twice(world: World) -> None:
    world.lease_for(60.0)
    before = world.up("i-1", "i-2")
    again = World(world.folder)
    assert again.instances.found() == before
    for _ in range(5):
        again.instances.make_be(dict.fromkeys(before, SPEC))
    assert again.up("i-1", "i-2") == before


def test_a_second_keeper_leaves_an_instance_to_the_first(world: World) -> None:
    world.lease_for(60.0)
    before = world.up("i-1")
    (world.folder / "i-1" / "running.json").unlink()  # the agent no longer knows it, and starts it again
    again = World(world.folder)
    again.instances.make_be({"i-1": SPEC})
    time.sleep(0.5)
    assert is_alive(before["i-1"].workload)
    names = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
    keepers = [path for path in names if path.exists() and str(world.folder / "i-1").encode() in path.read_bytes()]
    assert len(keepers) == 1


def test_a_killed_keeper_takes_its_workload_along_and_is_replaced(world: World) -> None:
    world.lease_for(60.0)
    before = world.up("i-1")["i-1"]
    os.kill(before.keeper, signal.SIGKILL)
    until(lambda: not is_alive(before.workload))
    assert world.up("i-1")["i-1"].workload != before.workload


def test_a_workload_whose_keeper_died_before_it_could_ask_to_die_with_it_does_not_start() -> None:
    asks = "from evenkeel.adapters.instances.keeper import die_with; die_with({parent}); print('starts')"
    for parent, said in ((os.getpid(), "starts\n"), (os.getpid() + 1, "")):
        command = [sys.executable, "-c", asks.format(parent=parent)]
        assert subprocess.run(command, capture_output=True, text=True, timeout=30).stdout == said


def test_a_killed_workload_is_started_again_by_its_keeper(world: World) -> None:
    world.lease_for(60.0)
    before = world.up("i-1")["i-1"]
    os.kill(before.workload, signal.SIGKILL)
    until(lambda: world.workloads() - {before.workload} != set())
    after = world.up("i-1")["i-1"]
    assert after.keeper == before.keeper
    assert after.workload != before.workload


def test_a_recycled_pid_is_not_taken_for_a_keeper(world: World) -> None:
    folder = world.folder / "i-1"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text("{}")
    (folder / "running.json").write_text(f'{{"keeper": {os.getpid()}, "started": "1", "workload": 1, "address": "x"}}')
    assert world.instances.found()["i-1"].keeper == 0


def test_one_agent_a_host(world: World) -> None:
    with world.instances.lock():
        other = World(world.folder)
        with pytest.raises(Refusal, match="another agent"), other.instances.lock():
            pass


def test_names_that_are_no_instances_are_refused(world: World) -> None:
    world.lease_for(60.0)
    for name in ("../i-1", "i-", "i-" + "x" * 41, "i-a/b", "I-1", ""):
        with pytest.raises(Refusal):
            world.instances.make_be({name: SPEC})
