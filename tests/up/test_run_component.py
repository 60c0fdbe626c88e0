"""One component in a process of its own: real processes of the demo backend, the smallest there is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.logs import log_path
from evenkeel.adapters.secrets import make_missing_secrets, secret_names
from evenkeel.adapters.status_client import fetch, fetch_status
from evenkeel.model.errors import Unreachable
from evenkeel.model.region import FleetSettings, HostPort, Region
from evenkeel.region.addresses import listens, purpose
from evenkeel.region.compiled import dump_compiled
from evenkeel.region.components import Kind, component, components, manager_names, manager_place
from evenkeel.region.config import load
from evenkeel.region.fleet import controls_of, links_of
from evenkeel.region.up import run_component_arguments
from tests.cli.running import evenkeel, write_region
from tests.up.regions import small_region

DEADLINE_S = 20.0
# What only the verbs of an operator need, and what an Enactor must be able to do without (DESIGN.md, Layers).
HEAVY = {"numpy", "pydantic", "typer", "rich", "fastapi", "sqlite3", "click", "uvloop"}


@contextmanager
def running(region: Region, name: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*run_component_arguments(name, compiled(region)), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def compiled(region: Region) -> Path:
    path = Path(region.state_dir) / "region.compiled"
    path.parent.mkdir(parents=True, exist_ok=True)
    make_missing_secrets(region.state_dir, secret_names(region))
    dump_compiled(region, path)
    return path


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold in time"
        time.sleep(0.02)


def metrics_of(region: Region, name: str) -> HostPort:
    address = component(region, name).metrics
    assert address is not None
    return address


def ask(address: HostPort, path: str) -> str:
    return asyncio.run(fetch(address, path, deadline_s=5.0)).decode()


def is_up(address: HostPort) -> bool:
    with suppress(Unreachable):
        ask(address, "/healthz")
        return True
    return False


def details(region: Region) -> list[str]:
    return [event.detail for event in JournalReader(journal_folder(region.state_dir)).poll()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_component_runs_until_it_is_told_to_stop_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    region = small_region(tmp_path)
    with running(region, "backend-1", "--log-to", "file") as process:
        until(lambda: is_up(metrics_of(region, "backend-1")))
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0
    assert details(region) == [f"pid {process.pid}", "told to stop"]
    log = [json.loads(line) for line in log_path(region.state_dir, "backend-1").read_text().splitlines()]
    assert [entry["event"] for entry in log] == ["started", "listening", "stopped"]
    assert all(entry["process"] == "backend-1" and entry["level"] == "info" and entry["at"] for entry in log)


def test_by_itself_a_component_logs_to_standard_error(tmp_path: Path) -> None:
    region = small_region(tmp_path)
    with running(region, "backend-1") as process:
        until(lambda: is_up(metrics_of(region, "backend-1")))
        process.terminate()
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert [json.loads(line)["event"] for line in errors.splitlines()] == ["started", "listening", "stopped"]


def test_metrics_status_and_health_are_served_on_loopback(tmp_path: Path) -> None:
    region = small_region(tmp_path)
    with running(region, "backend-1") as process:
        address = metrics_of(region, "backend-1")
        until(lambda: is_up(address))
        metrics = ask(address, "/metrics")
        assert "evenkeel_loop_lag_seconds" in metrics
        assert "process_resident_memory_bytes" in metrics
        status = asyncio.run(fetch_status(address, 5.0))
        assert (status["component"], status["region"], status["pid"]) == ("backend-1", "small", process.pid)
        assert json.loads(ask(address, "/healthz"))["ok"] is True
        with pytest.raises(Unreachable, match="404"):
            ask(address, "/etc/passwd")


def test_a_component_whose_metrics_port_is_taken_goes_on_without_until_it_is_free(tmp_path: Path) -> None:
    region = small_region(tmp_path)
    taken = metrics_of(region, "backend-1")
    blocker = socket.create_server((taken.host, taken.port))
    with running(region, "backend-1", "--log-to", "file") as process:
        until(lambda: "no metrics yet" in _text(log_path(region.state_dir, "backend-1")))
        until(lambda: "listening" in _text(log_path(region.state_dir, "backend-1")))
        blocker.close()
        until(lambda: is_up(taken))
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_a_component_that_fails_says_why_and_exits_with_1(tmp_path: Path) -> None:
    region = replace(small_region(tmp_path), backends=0)
    path = compiled(region)
    code = (
        "import sys, types\n"
        "module = types.ModuleType('evenkeel.region.processes.audit')\n"
        "async def main(runtime):\n    raise ZeroDivisionError('of no use')\n"
        "module.main = main\n"
        "sys.modules[module.__name__] = module\n"
        "from evenkeel.region.run_component import main\n"
        f"sys.exit(main(['audit', {str(path)!r}]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    failed = [json.loads(line) for line in result.stderr.splitlines() if '"failed"' in line]
    assert "ZeroDivisionError: of no use" in failed[0]["exception"]
    assert details(region)[-1] == "failed: ZeroDivisionError('of no use')"


def test_wrong_names_and_files_are_told_without_a_traceback(tmp_path: Path) -> None:
    region = small_region(tmp_path)
    path = compiled(region)
    for arguments, told in (
        (("nameserver-9", str(path)), "'nameserver-9' is not a component of region 'small'"),
        (("audit", str(tmp_path / "absent")), "cannot be read"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "evenkeel.region.run_component", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 2
        assert told in result.stderr
        assert "Traceback" not in result.stderr


def test_a_full_disk_stops_no_component(tmp_path: Path) -> None:
    region = small_region(tmp_path)
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from evenkeel.region.run_component import main\n"
        f"sys.exit(main(['backend-1', {str(compiled(region))!r}, '--log-to', 'file']))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        address = metrics_of(region, "backend-1")
        until(lambda: is_up(address))
        until(lambda: asyncio.run(fetch_status(address, 5.0))["journal_lost"] > 0)
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_components_are_named_in_the_order_they_start_with_a_port_each(tmp_path: Path) -> None:
    region = replace(small_region(tmp_path, backends=2), azs=("a", "b"), enactors=3, planners=2, metrics_port_base=9000)
    found = components(region)
    assert [each.name for each in found] == [
        *("nameserver", "plan-store", "backend-1", "backend-2"),
        *("planner-1", "planner-2", "vantage-a", "vantage-b"),
        *("enactor-a", "enactor-b", "enactor-a-2", "audit"),
    ]
    assert [each.metrics.port for each in found if each.metrics] == list(range(9000, 9012))
    assert [each.wave for each in found] == sorted(each.wave for each in found)
    assert all(each.metrics is None for each in components(replace(region, metrics_port_base=0)))


def test_each_managers_component_has_its_az_its_name_and_its_addresses(tmp_path: Path) -> None:
    links, controls = (tuple(HostPort("127.0.0.1", base + n) for n in range(4)) for base in (5331, 5351))
    fleet = FleetSettings("tables.demo.", links, controls, HostPort("127.0.0.1", 5340), managers_per_az=2)
    region = replace(small_region(tmp_path), azs=("a", "b"), fleet=fleet)
    found = [each for each in components(region) if each.kind is Kind.DROPLET_MANAGER]
    names = ["manager-a", "manager-b", "manager-a-2", "manager-b-2"]
    assert [each.name for each in found] == names
    assert [manager_place(region, name) for name in names] == [0, 1, 2, 3]
    assert manager_names(region, "b") == ("manager-b", "manager-b-2")
    assert links_of(region, "b") == (links[1], links[3])
    assert controls_of(region, "a") == (controls[0], controls[2])
    assert [listens(each, region) for each in found] == list(zip(links, controls, strict=True))
    assert purpose(found[2], region) == "keeps the leases of hosts in az a, or stands by"


def test_what_every_component_stands_on_imports_nothing_heavy() -> None:
    code = "import sys, evenkeel.region.run_component\nfrom evenkeel.adapters.logs import stderr_log\n"
    code += "stderr_log('x').info('y')\nprint(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not HEAVY & {name.partition(".")[0] for name in result.stdout.split()}


def test_run_becomes_the_component_and_carries_nothing_of_the_command_along(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    assert evenkeel("keys", path).returncode == 0
    region = load(path)
    with subprocess.Popen(
        [sys.executable, "-m", "evenkeel.cli.main", "run", "backend-1", str(path)], stderr=subprocess.PIPE
    ) as process:
        until(lambda: is_up(metrics_of(region, "backend-1")))
        assert "run_component" in _text(Path(f"/proc/{process.pid}/cmdline"))
        maps = _text(Path(f"/proc/{process.pid}/maps"))
        assert "msgspec" in maps
        assert "pydantic" not in maps
        process.terminate()
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    assert [json.loads(line)["event"] for line in errors.splitlines()] == ["started", "listening", "stopped"]


def test_a_state_folder_that_cannot_be_is_wrong_input(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    (tmp_path / "state").write_text("a file")
    for arguments in (("up", path, "--for", "1"), ("run", "audit", path), ("keys", path)):
        result = evenkeel(*arguments)
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
        assert "mend: " in result.stderr


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_component_ends_at_once_where_its_supervisor_is_gone_already(tmp_path: Path) -> None:
    region = small_region(tmp_path)
    with running(region, "backend-1", "--supervisor", str(os.getpid() + 1)) as process:
        assert process.wait(DEADLINE_S) == 1
