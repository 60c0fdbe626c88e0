"""A whole region of real processes on loopback, for fault tests: its region.toml, its components, its zone server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evenkeel.adapters.secrets import read_secret, secret_path
from evenkeel.model.region import HostPort, Region, ServerKind
from evenkeel.region.config import load
from evenkeel.testing.servers import Server, bind_server, knot_server

ZONE = "chaos.example."
STOP_DEADLINE_S = 30.0

_REGION = """
[region]
name = "chaos"
azs = ["a", "b", "c"]
state-dir = "{state_dir}"

[policy]
preset = "{policy}"

[[zone]]
name = "{zone}"
server = "{server}"
primary = "{primary}"

[[load-balancer-group]]
name = "edge"
count = 2
ipv4-first = "{first}"
fips = true

[probe-defaults]
kind = "http"
port = {probe_port}
path = "/health"
interval-s = 0.4
timeout-s = 0.4
rise = 2
fall = 2
grace-s = 2.0

[demo]
backends = 6

[[endpoint]]
name = "db.{zone}"
groups = ["edge"]
ttl-s = 1

[[endpoint]]
name = "flat.{zone}"
layout = "flat"
groups = ["edge"]
ttl-s = 1

[[endpoint-template]]
name = "{{account}}.db.{zone}"
accounts = {{ count = {accounts}, pattern = "acct-{{n:04}}" }}
groups = ["edge"]
members-max = 4
ttl-s = 1

[[endpoint-template]]
name = "{{account}}.flat.{zone}"
layout = "flat"
accounts = {{ count = {accounts}, pattern = "acct-{{n:04}}" }}
groups = ["edge"]
members-max = 4
ttl-s = 1

[planner]
health-intake = ["{host}:{intake_1}", "{host}:{intake_2}"]
cycle-s = 0.1
routine-every-s = 0.5
removals-window-s = 3.0
warm-up-s = 5.0
vantage-stale-s = 3.0

[plan-store]
listen = "{host}:{store}"

[metrics]
port-base = 0

[audit]
every-s = 1.0
"""


@dataclass(slots=True)
class LiveRegion:
    """A running region."""

    kind: ServerKind
    folder: Path
    region: Region
    server: Server | None  # None: the embedded one, a component of the region itself
    process: subprocess.Popen[bytes]

    @property
    def primary(self) -> HostPort:
        return self.region.zones[ZONE].primary

    def pids(self) -> dict[str, int]:
        """Running components by name, as the supervisor says."""
        try:
            state = json.loads((Path(self.region.state_dir) / "up.json").read_text())
        except (OSError, ValueError):
            return {}
        return {name: each["pid"] for name, each in state["components"].items() if each["pid"]}

    def is_up(self) -> bool:
        return self.process.poll() is None


async def token_of(region: LiveRegion) -> str:
    """The plan store's token, once the region's first start has made it. Raises `InputError`."""
    path = secret_path(region.region.state_dir, "plan-store")
    for _ in range(200):
        if path.exists():
            break
        await asyncio.sleep(0.1)
    return read_secret(region.region.state_dir, "plan-store")


@contextlib.contextmanager
def running(
    kind: ServerKind, folder: Path, policy: str = "safe", accounts: int = 20, more: str = ""
) -> Iterator[LiveRegion]:
    """The region with its zone server, until the block ends; its processes end with it. `more`: further TOML."""
    with contextlib.ExitStack() as stack:
        server: Server | None = None
        if kind is ServerKind.BIND:
            server = stack.enter_context(bind_server(folder / "server", [ZONE]))
        elif kind is ServerKind.KNOT:
            server = stack.enter_context(knot_server(folder / "server", [ZONE]))
        path = _write_region(kind, folder, policy, accounts, server, more)
        region = load(path)
        if server is not None:
            _give_key(region, server)
        process = subprocess.Popen(
            [sys.executable, "-m", "evenkeel.cli.main", "up", str(path), "--no-view"],
            stdin=subprocess.DEVNULL,
            stdout=(folder / "up.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        try:
            yield LiveRegion(kind, folder, region, server, process)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its components die with it
        process.wait()


def _write_region(kind: ServerKind, folder: Path, policy: str, accounts: int, server: Server | None, more: str) -> Path:
    """Everything at loopback addresses drawn at random, so that several regions run side by side."""
    prefix = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
    host = f"{prefix}.1"
    primary = server.address if server is not None else HostPort(host, 5300)
    text = _REGION.format(
        state_dir=folder / "state",
        policy=policy,
        zone=ZONE.removesuffix("."),
        server=kind.value,
        primary=primary,
        host=host,
        store=5310,
        intake_1=5311,
        intake_2=5312,
        first=f"{prefix}.11",
        probe_port=5380,
        accounts=accounts,
    )
    path = folder / "region.toml"
    path.write_text(text + more.format(prefix=prefix))
    return path


def _give_key(region: Region, server: Server) -> None:
    """The zone server's key, where the region's components look for it."""
    zone = region.zones[ZONE]
    path = secret_path(region.state_dir, f"tsig-{zone.tsig_key}")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(server.secret + "\n")
