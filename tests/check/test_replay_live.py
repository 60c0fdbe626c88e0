"""`evenkeel check --replay TRACE --region region.toml` as a user calls it, beside a region of real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.exception
import dns.query
import dns.tsigkeyring
import pytest

from evenkeel.adapters.secrets import read_secret
from evenkeel.model.region import ServerKind
from evenkeel.testing.regions import ZONE, LiveRegion, running
from evenkeel.testing.servers import serves

UP_WITHIN_S = 60.0
OCTOBER = ["--policy", "october-2025", "--enactors", "2", "--plans", "3", "--endpoints", "1", "--keep", "1"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegion]:
    with running(ServerKind.EMBEDDED, tmp_path_factory.mktemp("region"), accounts=1) as region:
        deadline = time.monotonic() + UP_WITHIN_S
        while not (serves(region.primary, ZONE) and _published(region)):
            assert region.is_up(), (region.folder / "up.log").read_text()
            assert time.monotonic() < deadline, "the region has not published"
            time.sleep(0.1)
        yield region


def evenkeel(*args: str) -> tuple[int, Any]:
    command = [sys.executable, "-m", "evenkeel.cli.main", "check", *args, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """October's policy found wanting, with the server's guard (nothing is emptied, all the same) or without."""
    code, report = evenkeel(*OCTOBER, *(["--server-guard"] if request.param == "guarded" else []))
    assert (code, report["verdict"]) == (1, "violated")
    path: Path = tmp_path_factory.mktemp("trace") / f"{request.param}.json"
    path.write_text(json.dumps(report))
    return path


def names(region: LiveRegion) -> set[str]:
    """Every owner in the zone, by a signed transfer."""
    keys = dns.tsigkeyring.from_text({"evenkeel": read_secret(region.region.state_dir, "tsig-evenkeel")})
    place = region.primary
    messages = dns.query.xfr(place.host, ZONE, port=place.port, keyring=keys, relativize=False, lifetime=10.0)
    return {str(rrset.name) for message in messages for rrset in message.answer}


def _published(region: LiveRegion) -> bool:
    try:
        return f"_fence.db.{ZONE}" in names(region)
    except (OSError, dns.exception.DNSException):
        return False


GUARDED = pytest.mark.parametrize("trace", ["guarded"], indirect=True)


@GUARDED
def test_a_trace_goes_the_same_on_the_regions_own_server_and_leaves_nothing_there(
    live: LiveRegion, trace: Path
) -> None:
    zone = ZONE.removesuffix(".").upper()  # as somebody may well write it
    code, said = evenkeel("--replay", str(trace), "--region", str(live.folder / "region.toml"), "--zone", zone)
    assert (code, said["same"], len(said["steps"])) == (0, True, 14)
    assert [step["answer"] for step in said["steps"][-3:]] == [["10.0.0.2"], ["10.0.0.2"], ["10.0.0.1"]]
    assert not {name for name in names(live) if "check-" in name}
    assert f"_fence.db.{ZONE}" in names(live)


@GUARDED
@pytest.mark.parametrize("options", [["--zone", "elsewhere.example."], []])
def test_a_zone_that_the_region_has_not_is_wrong_input(live: LiveRegion, trace: Path, options: list[str]) -> None:
    code, said = evenkeel("--replay", str(trace), "--region", str(live.folder / "region.toml"), *options)
    assert (code, said["kind"]) == (2, "InputError")
    assert ZONE in said["error"]


@pytest.mark.parametrize("trace", ["unguarded"], indirect=True)
def test_the_embedded_servers_guard_refuses_the_race_and_the_command_says_so(live: LiveRegion, trace: Path) -> None:
    code, said = evenkeel("--replay", str(trace), "--region", str(live.folder / "region.toml"), "--zone", ZONE)
    assert (code, said["kind"]) == (1, "Diverged")
    assert "explore with --server-guard" in said["error"]
    assert not {name for name in names(live) if "check-" in name}
