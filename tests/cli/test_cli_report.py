"""`evenkeel report`: heard by a real intake; refused where nobody would take its word."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from evenkeel.adapters.probes.reported import Mailbox, ReportIntake
from evenkeel.adapters.secrets import make_missing_secrets, read_secret, secret_names
from evenkeel.endpoints.verdicts import Outcome
from evenkeel.model.health import Probe, ProbeKind
from evenkeel.model.region import HostPort
from evenkeel.region.config import load
from evenkeel.testing.servers import free_address

REGION = """
[region]
name = "reports"
azs = ["a"]

[[zone]]
name = "demo.example"

[[load-balancer]]
name = "edge"
az = "a"
ipv4 = ["127.0.0.11"]
probe = {{ kind = "reported" }}

[[load-balancer]]
name = "probed"
az = "a"
ipv4 = ["127.0.0.12"]

[vantage]
report-intake = ["127.0.0.1:{port}"]

[[endpoint]]
name = "db.demo.example"
load-balancers = ["edge", "probed"]
"""


def evenkeel(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "evenkeel.cli.main", *arguments]


def test_a_report_is_heard_with_what_it_says(tmp_path: Path) -> None:
    port = free_address()[1]
    path = tmp_path / "region.toml"
    path.write_text(REGION.format(port=port))
    region = load(path)
    make_missing_secrets(region.state_dir, secret_names(region))
    mailbox = Mailbox(["edge"])

    async def scenario() -> subprocess.CompletedProcess[str]:
        intake = ReportIntake(mailbox)
        await intake.start(HostPort("127.0.0.1", port), read_secret(region.state_dir, "report"))
        command = evenkeel("report", "edge", "--load", "12", "--capacity", "50", "-r", str(path), "--json")
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
        found = mailbox.look("edge", Probe(ProbeKind.REPORTED), asyncio.get_running_loop().time())
        assert (found.outcome, found.capacity, found.load) == (Outcome.READY, 50.0, 12.0)
        await intake.stop()
        return ran

    ran = asyncio.run(scenario())
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"load_balancer": "edge", "heard_by": [f"127.0.0.1:{port}"]}


def test_without_a_vantage_point_it_is_not_finished_and_a_probed_balancer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "region.toml"
    path.write_text(REGION.format(port=free_address()[1]))
    region = load(path)
    make_missing_secrets(region.state_dir, secret_names(region))
    unheard = subprocess.run(evenkeel("report", "edge", "-r", str(path)), capture_output=True, text=True, timeout=30)
    assert (unheard.returncode, "no vantage point takes reports" in unheard.stderr) == (3, True)
    refused = subprocess.run(evenkeel("report", "probed", "-r", str(path)), capture_output=True, text=True, timeout=30)
    assert (refused.returncode, "mend:" in refused.stderr) == (2, True)
