"""`evenkeel up`: a whole region of real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import pytest

from evenkeel.region.config import load
from evenkeel.region.up_state import UpState, is_up, read_up_state
from tests.cli.running import evenkeel, write_region

DEADLINE_S = 60.0
ENDPOINT = "db.demo.example."


class Running:
    """A region that is up, in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.region = load(path)
        self.output = path.parent / "up.out"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "evenkeel.cli.main", "up", str(path), "--no-view"],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )

    @property
    def state(self) -> UpState:
        state = read_up_state(self.region.state_dir)
        assert state is not None
        return state

    def pids(self) -> list[int]:
        return [component.pid for component in self.state.components.values() if component.pid]

    def answer(self) -> list[str]:
        (zone,) = self.region.zones.values()
        query = dns.message.make_query(ENDPOINT, "A")
        with contextlib.suppress(OSError, dns.exception.DNSException):
            reply = dns.query.udp(query, zone.primary.host, timeout=1.0, port=zone.primary.port)
            return [item.address for each in reply.answer if each.rdtype == dns.rdatatype.A for item in each]
        return []

    def until_answered(self) -> None:
        until(lambda: self.answer() == ["127.0.0.1"], self.output)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_S)


def until(holds: Callable[[], bool], output: Path) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, output.read_text()
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    region = Running(write_region(tmp_path))
    try:
        yield region
    finally:
        region.process.kill()
        region.process.wait()


def test_a_region_comes_up_answers_heals_and_goes_down_without_a_trace(running: Running) -> None:
    running.until_answered()
    output = running.output.read_text()
    assert "region small: 7 components" in output
    assert f"try:  dig @127.0.0.1 -p {running.region.zones['demo.example.'].primary.port} {ENDPOINT} A" in output

    # A second one on the same state is refused, and disturbs nothing.
    second = evenkeel("up", running.path, "--no-view", "--json")
    assert second.returncode == 1
    assert f"the region is up already (pid {running.process.pid}" in json.loads(second.stdout)["error"]
    assert is_up(running.region.state_dir)

    # Every process of evenkeel's own is back after a kill, and so is the answer.
    before = {name: component.pid for name, component in running.state.components.items() if "backend" not in name}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def are_back() -> bool:
        now = running.state.components
        return all(now[name].pid not in (0, pid) and now[name].restarts >= 1 for name, pid in before.items())

    until(are_back, running.output)
    running.until_answered()

    status = json.loads(evenkeel("status", running.path, "--json").stdout)
    assert [(each["name"], each["state"], each["a"]) for each in status["endpoints"]] == [
        (ENDPOINT, "current", ["127.0.0.1"])
    ]
    assert status["generation"] == status["endpoints"][0]["generation"] >= 1
    assert status["components"].keys() == running.state.components.keys()
    assert evenkeel("audit", running.path).returncode == 0
    plan = evenkeel("plan", running.path, "--json")
    assert json.loads(plan.stdout).get("proposals") == [], plan.stdout + plan.stderr  # none awaits an approval

    pids = running.pids()
    assert len(pids) == 7
    assert running.end() == 0
    assert not any(is_alive(pid) for pid in pids)
    assert not is_up(running.region.state_dir)
    assert "enactor-a was ended by SIGKILL" in running.output.read_text()


def test_nothing_is_left_of_a_region_whose_supervisor_is_killed_and_it_comes_up_again(running: Running) -> None:
    running.until_answered()
    pids = running.pids()
    os.kill(pids[0], signal.SIGSTOP)
    running.process.kill()
    running.process.wait()
    until(lambda: not any(is_alive(pid) for pid in pids), running.output)

    again = Running(running.path)
    try:
        again.until_answered()
    finally:
        assert again.end() == 0


def test_levers_work_on_a_running_region_and_are_told_in_its_journal(running: Running) -> None:
    running.until_answered()

    def pull(*arguments: str) -> tuple[int, dict[str, object]]:
        result = evenkeel(*arguments, "--json")
        (outcome,) = json.loads(result.stdout)["outcomes"]
        return result.returncode, outcome

    path = str(running.path)
    code, frozen = pull("freeze", path, "--reason", "a test")
    assert (code, frozen["changed"], frozen["detail"]) == (0, True, "frozen: a test")
    code, refused = pull("pin", ENDPOINT, "-r", path)
    assert (code, refused["error"]) == (1, "Refusal")
    assert json.loads(evenkeel("status", path, "--json").stdout)["frozen"] == {"demo.example.": "a test"}
    assert pull("thaw", path)[0] == 0
    assert pull("pin", ENDPOINT, "-r", path)[1]["changed"] is True
    assert json.loads(evenkeel("status", path, "--json").stdout)["endpoints"][0]["state"] == "held"
    assert pull("pin", ENDPOINT, "-r", path)[1]["changed"] is False
    assert pull("unpin", ENDPOINT, "-r", path)[1]["changed"] is True
    assert pull("repair", ENDPOINT, "-r", path)[1]["changed"] is False
    assert running.end() == 0
    told = [json.loads(line) for line in evenkeel("events", path, "--last", "0", "--json").stdout.splitlines()]
    assert [each["kind"] for each in told if each["process"] == "operator"] == [
        *("frozen", "refused", "thawed", "pinned", "unpinned")
    ]


def test_a_plan_is_seen_before_it_is_published_and_needs_its_approval_where_the_file_says_so(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    path.write_text(path.read_text().replace("[planner]", '[planner]\napproval = "required"'))
    running = Running(path)
    try:
        outlook: dict[str, Any] = {}

        def is_proposed() -> bool:
            result = evenkeel("plan", path, "--json")
            outlook.update(json.loads(result.stdout))
            return bool(outlook.get("proposals"))

        until(is_proposed, running.output)
        assert outlook["published"]["generation"] == 0
        assert [each["name"] for each in outlook["next"]["endpoints"]] == [ENDPOINT]
        assert running.answer() == []

        refused = evenkeel("plan", path, "--approve", "0123456789abcdef")
        assert (refused.returncode, refused.stderr[:7]) == (1, "error: ")
        (proposal,) = outlook["proposals"]
        assert proposal["checksum"] == outlook["next"]["checksum"]
        assert evenkeel("plan", path, "--approve", proposal["checksum"]).returncode == 0
        running.until_answered()
        assert evenkeel("plan", path).stdout == "published: plan 1 by planner-1\nnext: no change\n"

        # A changed file shows what it would change, before the region is started with it.
        path.write_text(path.read_text().replace("ttl-s = 5", "ttl-s = 7"))
        shown = evenkeel("plan", path).stdout
        assert "ttl 5 -> 7" in shown
        assert "next: 1 endpoints changed, 0 removed" in shown
    finally:
        running.process.kill()
        running.process.wait()


def test_it_ends_by_itself_after_the_time_it_is_given_and_prints_json_lines(tmp_path: Path) -> None:
    result = evenkeel("up", write_region(tmp_path), "--for", "0.5", "--json")
    assert result.returncode == 0, result.stderr
    first, *events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["name"] for each in first["components"]][:2] == ["nameserver", "plan-store"]
    assert {"kind", "process", "at_ms"} <= events[0].keys()


def test_what_is_asked_of_a_region_that_is_down_is_told_as_such(tmp_path: Path) -> None:
    path = write_region(tmp_path)
    evenkeel("keys", path)
    status = evenkeel("status", path, "--json")
    assert status.returncode == 3
    picture = json.loads(status.stdout)
    assert picture["endpoints"][0]["state"] == "unreachable"
    assert len(picture["notes"]) == 3
    assert {component["state"] for component in picture["components"].values()} == {"no answer"}
    assert evenkeel("pin", ENDPOINT, "-r", path).returncode == 3
