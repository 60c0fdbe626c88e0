"""A whole region with a fleet on loopback, every component its own process, for fault tests.

    with running_fleet(folder, azs=2, hosts=3) as fleet:
        await fleet.client("demo").launch("token-1")
        os.kill(fleet.pids()["manager-a"], signal.SIGKILL)

Its instances are real processes too; `workloads` says which of them live, by the kernel's word alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import msgspec

from evenkeel.adapters.instances.keeper import __file__ as _keeper_file
from evenkeel.adapters.instances.keeper import boot_s, started_at
from evenkeel.adapters.instances.workload import __file__ as _workload_file
from evenkeel.adapters.secrets import read_secret
from evenkeel.adapters.table_service.http import HttpCaller
from evenkeel.model.region import Region
from evenkeel.region.config import load
from evenkeel.region.fleet import fleet_of, host_folder
from evenkeel.region.up_state import compiled_path, read_up_state

AZS_MAX = 3
STOP_DEADLINE_S = 30.0
REPLY_OCTETS_MAX = 16 * 1024 * 1024

_REGION = """\
[region]
name = "fleet"
azs = {azs}
state-dir = "{state_dir}"

[[zone]]
name = "fleet.example"
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
azs = ["a"]
count = 2
ipv4-first = "{first}"

[probe-defaults]
kind = "http"
port = 5390
path = "/health"
interval-s = 0.5
timeout-s = 0.5
rise = 2
fall = 2
grace-s = 1.0

[[endpoint]]
name = "tables.fleet.example"
groups = ["tables"]
ttl-s = 1

[fleet]
endpoint = "tables.fleet.example"
hosts = {hosts}
host-cpus = {host_cpus}
term-s = {term_s}
managers-per-az = {managers_per_az}
takeover-after-s = {takeover_after_s}
manager-listen = {managers}
manager-control = {controls}
launch-api = "{host}:5340"
instance-address = "{host}"
database = "{database}"
accounts = ["one", "two"]
launches-per-s = 1000.0
launches-burst = 1000
reads-per-s = 1000.0
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """Of the launch API."""

    status: int
    code: str  # of the error, "" for none
    instances: tuple[dict[str, Any], ...] = ()


class LaunchClient:
    """One account at the launch API, one call after the other. Raises `Unreachable`: then it may have been done."""

    def __init__(self, region: Region, account: str) -> None:
        self._address = fleet_of(region).launch_api
        self._token = read_secret(region.state_dir, f"account-{account}")
        self._http = HttpCaller(REPLY_OCTETS_MAX)

    async def launch(self, token: str, count: int = 1, az: str = "", deadline_s: float = 15.0) -> Reply:
        body = {"client_token": token, "count": count, "az": az}
        return await self._call("POST", "/v1/instances", body, deadline_s)

    async def described(self, deadline_s: float = 15.0) -> Reply:
        return await self._call("GET", "/v1/instances", None, deadline_s)

    async def terminate(self, instance: str, deadline_s: float = 15.0) -> Reply:
        return await self._call("DELETE", f"/v1/instances/{instance}", None, deadline_s)

    def close(self) -> None:
        self._http.close()

    async def _call(self, method: str, path: str, body: object, deadline_s: float) -> Reply:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        sent = json.dumps(body).encode() if body is not None else b""
        reply = await self._http.request(self._address, method, path, headers, sent, deadline_s)
        told = json.loads(reply.body) if reply.body else {}
        code = told.get("error", {}).get("code", "")
        one = (told,) if "instance" in told else ()
        return Reply(reply.status, code, tuple(told.get("instances", one)))


@dataclass(frozen=True, slots=True)
class Workload:
    """One living process of an instance. `started` tells it from a later one with the same pid."""

    instance: str
    host: str
    pid: int
    started: str
    keeper: int  # pid of the one above it, 0 where that is gone

    def lives(self) -> bool:
        return started_at(self.pid) == self.started and _stat(self.pid)[0] not in ("Z", "X", "")


@dataclass(slots=True)
class RunningFleet:
    """The region, up. `start` and `stop` may be called again and again: its state stays."""

    folder: Path
    region: Region
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "up.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "evenkeel.cli.main", "up", str(self.folder / "region.toml"), "--no-view"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> None:
        """In good order; whatever is left after the deadline dies with its supervisor. Idempotent."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def pids(self) -> dict[str, int]:
        """Running components by name, as the supervisor says."""
        state = read_up_state(self.region.state_dir)
        known = {name: each.pid for name, each in state.components.items()} if state is not None else {}
        return {name: pid for name, pid in known.items() if self._is_ours(pid, name)}

    def _is_ours(self, pid: int, name: str) -> bool:
        """Whether it is the component still: a pid is used again, and whoever has it is not to be killed."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return name.encode() in words and os.fsencode(str(compiled_path(self.region.state_dir))) in words

    def client(self, account: str) -> LaunchClient:
        """Raises `InputError` until the region's first start has made the account's token."""
        return LaunchClient(self.region, account)

    @property
    def hosts(self) -> list[str]:
        return [f"{az}-{n + 1}" for az in self.region.azs for n in range(fleet_of(self.region).hosts)]

    def lease_ends_boot_s(self, host: str) -> float:
        """When the lease of `host` ends by its own word (CLOCK_BOOTTIME), which is what its keepers obey; 0: none."""
        with contextlib.suppress(OSError, ValueError):
            return float((host_folder(self.region, host) / "lease").read_text(encoding="ascii"))
        return 0.0

    def held(self, host: str) -> tuple[int, int]:
        """The generation that `host` holds or held last, and the greatest epoch it has seen, by its own disk."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            kept = msgspec.json.decode((host_folder(self.region, host) / "agent.json").read_bytes())
            return kept["generation"], kept["epoch"]
        return 0, 0

    def are_covered(self) -> bool:
        """Whether every host holds a lease, by its own word."""
        return all(self.lease_ends_boot_s(host) > boot_s() for host in self.hosts)

    def workloads(self) -> list[Workload]:
        """Every living process of an instance of this region."""
        hosts = os.fsencode(str(Path(self.region.state_dir) / "fleet")) + b"/"
        return [found for entry in os.listdir("/proc") if entry.isdigit() and (found := _workload(entry, hosts))]


def _workload(entry: str, hosts: bytes) -> Workload | None:
    try:
        words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        if os.fsencode(_workload_file) not in words[:6] or any(b"keeper.py" in word for word in words):
            return None
        folder = os.fsencode(os.readlink(f"/proc/{entry}/cwd")).removesuffix(b" (deleted)")
    except OSError:
        return None
    if not folder.startswith(hosts):
        return None
    host, _, instance = folder.removeprefix(hosts).decode().partition("/")
    found = Workload(instance, host, int(entry), started_at(int(entry)), _keeper_of(int(entry), hosts))
    return found if found.lives() else None


def _keeper_of(pid: int, hosts: bytes) -> int:
    """Its parent, if that is a keeper of these hosts: an orphan's is some other process, not to be touched."""
    parent = _stat(pid)[1]
    try:
        words = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return 0
    is_keeper = os.fsencode(_keeper_file) in words and any(word.startswith(hosts) for word in words)
    return int(parent) if is_keeper else 0


def _stat(pid: int) -> tuple[str, str]:
    """proc(5): state (R, S, Z for one that waits to be reaped) and parent; "" where there is no such process."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return "", ""
    return state, parent


class Shape(TypedDict, total=False):
    """Of a fleet's region; each has a default."""

    azs: int
    hosts: int
    host_cpus: int
    term_s: float
    database: str  # a PostgreSQL DSN; "" for SQLite
    managers_per_az: int
    takeover_after_s: float


def write_fleet_region(
    folder: Path,
    *,
    azs: int = 1,
    hosts: int = 2,
    host_cpus: int = 8,
    term_s: float = 6.0,
    database: str = "",
    managers_per_az: int = 1,
    takeover_after_s: float = 5.0,
) -> Path:
    """region.toml at loopback addresses drawn at random, so that several regions run side by side."""
    names = ["a", "b", "c"][: max(1, min(azs, AZS_MAX))]
    prefix = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
    host = f"{prefix}.1"
    path = folder / "region.toml"
    path.write_text(
        _REGION.format(
            azs=json.dumps(names),
            state_dir=folder / "state",
            host=host,
            first=f"{prefix}.11",
            hosts=hosts,
            host_cpus=host_cpus,
            term_s=term_s,
            managers_per_az=managers_per_az,
            takeover_after_s=takeover_after_s,
            managers=json.dumps([f"{host}:{5401 + n}" for n in range(len(names) * managers_per_az)]),
            controls=json.dumps([f"{host}:{5451 + n}" for n in range(len(names) * managers_per_az)]),
            database=database,
        )
    )
    return path


@contextlib.contextmanager
def running_fleet(folder: Path, **shape: Unpack[Shape]) -> Iterator[RunningFleet]:
    """Up until the block ends; its processes and its instances end with it."""
    path = write_fleet_region(folder, **shape)
    fleet = RunningFleet(folder, load(path))
    fleet.start()
    try:
        yield fleet
    finally:
        fleet.stop()
        deadline_s = time.monotonic() + STOP_DEADLINE_S
        while fleet.workloads() and time.monotonic() < deadline_s:
            time.sleep(0.1)
