"""Vantage points and demo backends as the processes they are: killed, stopped, told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evenkeel.adapters.health_intake import HealthIntake
from evenkeel.adapters.secrets import make_missing_secrets, read_secret, secret_names
from evenkeel.model.health import Probe, ProbeKind, Standing
from evenkeel.model.policy import SAFE
from evenkeel.model.region import HostPort, LoadBalancer, PlannerSettings, Region
from evenkeel.region.compiled import dump_compiled
from evenkeel.region.processes.backend import dealt_to
from tests.health.targets import free_port

AZS = ("a", "b", "c")
QUICK = {"interval_s": 0.2, "timeout_s": 0.2, "rise": 2, "fall": 2, "grace_s": 1.0}
HEALTHY, FAILED, UNKNOWN, DRAINING = Standing.HEALTHY, Standing.FAILED, Standing.UNKNOWN, Standing.DRAINING
DEADLINE_S = 30.0


def region_of(state_dir: Path) -> Region:
    """Four load balancers, one of each kind that a demo backend plays, three vantage points."""
    port = free_port()
    http = Probe(ProbeKind.HTTP, port, "/health", **QUICK)  # type: ignore[arg-type]  # fields by name
    balancers = (
        LoadBalancer("lb-1", "a", ("127.0.0.21",), capacity=70.0, probe=http),
        LoadBalancer("lb-2", "b", ("127.0.0.22",), probe=http),
        LoadBalancer("lb-3", "c", ("127.0.0.23",), probe=replace(http, kind=ProbeKind.TCP)),
        LoadBalancer("lb-4", "a", ("127.0.0.24",), capacity=40.0, probe=replace(http, kind=ProbeKind.REPORTED)),
    )
    return Region(
        name="probed", azs=AZS, zones={}, load_balancers={each.name: each for each in balancers}, endpoints={},
        policy=SAFE, planner=replace(PlannerSettings(), vantage_stale_s=2.0),
        plan_store=HostPort("127.0.0.1", free_port()), health_intake=(HostPort("127.0.0.1", free_port()),),
        metrics_host="127.0.0.1", metrics_port_base=0, planners=1, enactors=1, audit_every_s=1.0,
        state_dir=str(state_dir), report_intake=tuple(HostPort("127.0.0.1", free_port()) for _ in AZS),
        backends=len(balancers),
    )  # fmt: skip


class Processes:
    """The region's vantage points and backends."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self._compiled = Path(region.state_dir) / "region.msgpack"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        make_missing_secrets(region.state_dir, secret_names(region))
        dump_compiled(region, self._compiled)

    def start(self, *names: str) -> None:
        for name in names:
            command = [sys.executable, "-m", "evenkeel.region.run_component", name, str(self._compiled)]
            self._running[name] = subprocess.Popen([*command, "--log-to", "file", "--supervisor", str(os.getpid())])

    def send(self, name: str, number: signal.Signals) -> None:
        self._running[name].send_signal(number)
        if number is signal.SIGKILL:
            self._running.pop(name).wait(10)

    def stop_all(self) -> dict[str, int]:
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        return {name: process.wait(10) for name, process in self._running.items()}

    def kill_all(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait(10)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(region_of(tmp_path))
    try:
        yield found
    finally:
        found.kill_all()


class Ear:
    """The Planner's intake of the region, in the test's own process."""

    def __init__(self, region: Region) -> None:
        self.told: list[tuple[str, Standing]] = []
        self.intake = HealthIntake.for_region(
            region, on_turned=lambda turned: self.told.append((turned.load_balancer, turned.after))
        )

    async def become(self, **standings: Standing) -> None:
        """Wait until each load balancer, named with `_` for `-`, is as said."""
        wanted = {name.replace("_", "-"): standing for name, standing in standings.items()}
        now: dict[str, Standing] = {}
        try:
            async with asyncio.timeout(DEADLINE_S):
                while now != wanted:
                    await self.intake.wait_changed(0.2)
                    verdicts = await self.intake.verdicts()
                    now = {name: verdicts[name].standing for name in wanted}
        except TimeoutError:
            raise AssertionError(f"wanted {wanted}, got {now}: {self.intake.vantages()}") from None


@contextlib.asynccontextmanager
async def listening(region: Region) -> AsyncIterator[Ear]:
    ear = Ear(region)
    await ear.intake.start(region.health_intake[0], read_secret(region.state_dir, "health"))
    try:
        yield ear
    finally:
        await ear.intake.stop()


async def order(region: Region, name: str, what: str) -> None:
    """Tell a demo backend how to behave."""
    balancer = region.load_balancers[name]
    request = urllib.request.Request(f"http://{balancer.ipv4[0]}:{balancer.probe.port}/-/{what}", method="POST")
    with await asyncio.to_thread(urllib.request.urlopen, request, timeout=5) as reply:
        assert reply.status == 200


ALL = {"lb_1": HEALTHY, "lb_2": HEALTHY, "lb_3": HEALTHY, "lb_4": HEALTHY}
EVERYBODY = (*(f"backend-{k}" for k in (1, 2, 3, 4)), *(f"vantage-{az}" for az in AZS))


def test_backends_are_dealt_out_so_that_each_load_balancer_has_one() -> None:
    region = replace(region_of(Path("unused")), backends=3)
    dealt = [[each.name for each in dealt_to(region, number)] for number in (1, 2, 3)]
    assert dealt == [["lb-1", "lb-4"], ["lb-2"], ["lb-3"]]


def test_killed_backends_fail_whoever_of_the_vantages_dies_too(processes: Processes) -> None:
    async def scene() -> None:
        async with listening(processes.region) as ear:
            processes.start(*EVERYBODY)
            await ear.become(**ALL)
            verdicts = await ear.intake.verdicts()
            assert (verdicts["lb-1"].capacity, verdicts["lb-4"].capacity) == (70.0, 40.0)

            for backend in ("backend-1", "backend-3", "backend-4"):  # probed by HTTP, by TCP, reporting itself
                processes.send(backend, signal.SIGKILL)
            await ear.become(lb_1=FAILED, lb_2=HEALTHY, lb_3=FAILED, lb_4=FAILED)

            processes.send("vantage-a", signal.SIGKILL)
            processes.start("backend-1", "backend-3", "backend-4")
            await ear.become(**ALL)  # two of three are a quorum

            processes.send("vantage-b", signal.SIGKILL)
            processes.send("backend-2", signal.SIGKILL)
            await ear.become(lb_1=UNKNOWN, lb_2=UNKNOWN, lb_3=UNKNOWN, lb_4=UNKNOWN)

            processes.start("vantage-a")
            await ear.become(lb_1=HEALTHY, lb_2=FAILED, lb_3=HEALTHY, lb_4=HEALTHY)

    asyncio.run(scene())
    assert set(processes.stop_all().values()) == {0}
    journal = (Path(processes.region.state_dir) / "journal" / "vantage-c.jsonl").read_text()
    assert "lb-1 healthy -> failed: 127.0.0.21 refused (2 of 2)" in journal


def test_stopped_vantages_fail_nobody_when_they_wake(processes: Processes) -> None:
    """SIGSTOP of two of three for longer than anything is fresh: on waking, all of their probes are overdue."""

    async def scene() -> None:
        async with listening(processes.region) as ear:
            processes.start(*EVERYBODY)
            await ear.become(**ALL)
            for vantage in ("vantage-a", "vantage-b"):
                processes.send(vantage, signal.SIGSTOP)
            await ear.become(lb_1=UNKNOWN, lb_2=UNKNOWN, lb_3=UNKNOWN, lb_4=UNKNOWN)
            for vantage in ("vantage-a", "vantage-b"):
                processes.send(vantage, signal.SIGCONT)
            await ear.become(**ALL)
            assert not [told for told in ear.told if told[1] is FAILED]

    asyncio.run(scene())


def test_a_backend_drains_fails_hangs_and_recovers_as_told(processes: Processes) -> None:
    async def scene() -> None:
        region = processes.region
        async with listening(region) as ear:
            processes.start("backend-1", "vantage-a", "vantage-b")
            await ear.become(lb_1=HEALTHY)
            for what, standing in (
                ("drain", DRAINING), ("undrain", HEALTHY), ("fail", FAILED), ("recover", HEALTHY), ("hang", FAILED),
                ("recover", HEALTHY),
            ):  # fmt: skip
                await order(region, "lb-1", what)
                await ear.become(lb_1=standing)

    asyncio.run(scene())
    assert set(processes.stop_all().values()) == {0}


def test_a_backend_says_who_it_is(processes: Processes) -> None:
    async def scene() -> str:
        region = processes.region
        balancer = region.load_balancers["lb-1"]
        processes.start("backend-1")
        url = f"http://{balancer.ipv4[0]}:{balancer.probe.port}/"
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    with await asyncio.to_thread(urllib.request.urlopen, url, timeout=5) as reply:
                        text: str = reply.read().decode()
                        return text
                except OSError:
                    await asyncio.sleep(0.05)

    assert asyncio.run(scene()).startswith("lb-1 in a, pid ")
