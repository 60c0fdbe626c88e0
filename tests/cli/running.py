"""Runs the command as a user would, in a process of its own, and keeps a small region's file for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.up.regions import LOOPBACK, free_ports, free_run

REGION = """\
[region]
name = "small"
azs = ["a"]

[[zone]]
name = "demo.example"
primary = "{loopback}:{dns}"

[plan-store]
listen = "{loopback}:{store}"

[planner]
count = 1
quorum = 1
health-intake = ["{loopback}:{intake}"]

[metrics]
port-base = {metrics}

[demo]
backends = 1

[[load-balancer]]
name = "edge-a-1"
az = "a"
ipv4 = ["{loopback}"]

[probe-defaults]
kind = "http"
port = {probed}
path = "/health"
interval-s = 0.2
timeout-s = 0.2
rise = 2
fall = 2
grace-s = 1.0

[[endpoint]]
name = "db.demo.example"
load-balancers = ["edge-a-1"]
ttl-s = 5
"""


def write_region(folder: Path) -> Path:
    """A region of one of each, on free ports; its state in `folder/state`."""
    dns, store, intake, probed = free_ports(4)
    text = REGION.format(loopback=LOOPBACK, dns=dns, store=store, intake=intake, probed=probed, metrics=free_run(8))
    path = folder / "region.toml"
    path.write_text(text)
    return path


def evenkeel(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command's outcome. Not on a terminal, 80 columns wide."""
    return subprocess.run(
        [sys.executable, "-m", "evenkeel.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1", **environment},
    )
