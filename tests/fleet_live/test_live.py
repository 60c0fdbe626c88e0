"""A whole region with a fleet, every component its own process: the cascade, and kills at random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evenkeel.adapters.instances.keeper import started_at
from evenkeel.region.config import load
from evenkeel.region.up_state import read_up_state

DEADLINE_S = 60.0

REGION = """\
[region]
name = "fleet"
azs = ["a"]

[[zone]]
name = "demo.example"
primary = "{host}:5300"

[plan-store]
listen = "{host}:5310"

[planner]
count = 1
quorum = 1
health-intake = ["{host}:5311"]
cycle-s = 0.1

[metrics]
port-base = 0

[[load-balancer-group]]
name = "tables"
count = 2
ipv4-first = "{first}"

[probe-defaults]
kind = "http"
port = 5390
path = "/health"
interval-s = 0.3
timeout-s = 0.3
rise = 2
fall = 2
grace-s = 1.0

[[endpoint]]
name = "tables.demo.example"
groups = ["tables"]
ttl-s = 1

[fleet]
endpoint = "tables.demo.example"
hosts = 2
term-s = 6.0
manager-listen = ["{host}:5331"]
manager-control = ["{host}:5351"]
launch-api = "{host}:5340"
instance-address = "{host}"
launches-per-s = 1000.0
launches-burst = 1000
reads-per-s = 1000.0
"""


class Running:
    """The region, up."""

    def __init__(self, folder: Path) -> None:
        prefix = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}"
        self.path = folder / "region.toml"
        self.path.write_text(REGION.format(host=f"{prefix}.1", first=f"{prefix}.11"))
        self.region = load(self.path)
        self.output = folder / "up.out"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "evenkeel.cli.main", "up", str(self.path), "--no-view"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def pid(self, name: str) -> int:
        state = read_up_state(self.region.state_dir)
        return state.components[name].pid if state is not None else 0

    def signal(self, number: int, *names: str) -> None:
        for name in names:
            pid = self.pid(name)
            if pid:
                os.kill(pid, number)

    def ask(self, *arguments: str) -> tuple[int, Any]:
        """An `evenkeel` command with --json: its exit code, and what it said."""
        verb, *rest = arguments
        where = ["--region", str(self.path)] if verb == "terminate" else [str(self.path)]
        ran = subprocess.run(
            [sys.executable, "-m", "evenkeel.cli.main", verb, *rest, *where, "--json"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        return ran.returncode, json.loads(ran.stdout.splitlines()[0]) if ran.stdout else None

    def until(self, holds: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < deadline_s, self.output.read_text()[-4000:]
            time.sleep(0.3)

    def is_whole(self) -> bool:
        code, told = self.ask("leases")
        return code == 0 and [view["covered"] for view in told["azs"]] == [2]

    def launch(self, token: str) -> None:
        """Again and again under one token, as a patient client does."""
        self.until(lambda: self.ask("launch", "--token", token, "--wait", "0")[0] == 0)

    def instances(self) -> list[dict[str, Any]]:
        code, told = self.ask("instances")
        return list(told["instances"]) if code == 0 else []

    def keepers(self) -> list[str]:
        """Instances by their living keepers' command lines: twice where two keep one."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
            except OSError:
                continue
            if any(word.endswith(b"keeper.py") for word in words) and any(
                word.startswith(self.region.state_dir.encode()) for word in words
            ):
                found.append(next(Path(word.decode()).name for word in words if b"/i-" in word))
        return sorted(found)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    region = Running(tmp_path)
    try:
        region.until(region.is_whole)
        yield region
    finally:
        region.process.terminate()
        region.process.wait(30)
        region.until(lambda: region.keepers() == [])


@pytest.mark.slow
def test_the_cascade_a_lost_table_service_stops_launches_and_ends_no_lease(running: Running) -> None:
    running.launch("t-1")
    running.until(lambda: [each["state"] for each in running.instances()] == ["running"])
    (before,) = running.instances()
    code, told = running.ask("launch", "--count", "1000000")
    assert (code, told["kind"]) == (2, "InputError")
    tables = [running.pid("table-1"), running.pid("table-2")]
    for pid in tables:
        os.kill(pid, signal.SIGSTOP)
    try:
        running.until(lambda: running.ask("leases")[1]["azs"][0]["fleet"]["store_is_lost"])
        assert running.ask("launch", "--wait", "0")[0] in (1, 3)
        time.sleep(8.0)  # longer than a lease lasts by itself
        view = running.ask("leases")[1]["azs"][0]
        assert (view["fleet"]["leased"], view["covered"]) == (2, 2)
        said = urllib.request.urlopen(f"http://{before['address']}/", timeout=5.0).read().decode()
        assert before["instance"] in said, "what runs goes on"
    finally:
        for pid in tables:
            os.kill(pid, signal.SIGCONT)
    running.until(lambda: not running.ask("leases")[1]["azs"][0]["fleet"]["store_is_lost"])
    assert running.ask("leases")[1]["azs"][0]["fleet"]["amnesties"] >= 1
    assert running.instances() == [before]
    running.launch("t-2")


@pytest.mark.slow
def test_kills_at_random_moments_launch_nothing_twice_and_lose_nothing(running: Running) -> None:
    chance = random.Random(7)
    victims = ["manager-a", "agent-a-1", "agent-a-2", "table-1", "table-2", "launch-api", "nameserver"]
    tokens = [f"t-{number}" for number in range(6)]
    for token in tokens:
        running.signal(signal.SIGKILL, *chance.sample(victims, 2))
        running.launch(token)
    running.until(running.is_whole)
    running.until(lambda: [each["state"] for each in running.instances()] == ["running"] * len(tokens))
    found = running.instances()
    assert sorted(each["client_token"] for each in found) == tokens
    assert running.keepers() == sorted(each["instance"] for each in found)
    for each in found:
        assert each["instance"] in urllib.request.urlopen(f"http://{each['address']}/", timeout=5.0).read().decode()
    for each in found[:3]:
        running.signal(signal.SIGKILL, chance.choice(victims))
        running.until(lambda each=each: running.ask("terminate", each["instance"])[0] == 0)  # type: ignore[misc]  # a default binds it now
    left = sorted(each["instance"] for each in found[3:])
    running.until(lambda: running.keepers() == left)
    running.until(lambda: sorted(each["instance"] for each in running.instances()) == left)


@pytest.mark.slow
def test_instances_end_with_the_region_however_it_ends(tmp_path: Path) -> None:
    region = Running(tmp_path)
    try:
        region.until(region.is_whole)
        region.launch("t-1")
        region.until(lambda: len(region.keepers()) == 1)
        assert started_at(region.process.pid)
    finally:
        region.process.kill()
        region.process.wait(30)
    region.until(lambda: region.keepers() == [])
