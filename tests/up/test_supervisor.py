"""The supervisor, over real child processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evenkeel.adapters.journal import FileJournal, JournalReader, journal_folder
from evenkeel.adapters.logs import file_log, log_path
from evenkeel.model.region import HostPort
from evenkeel.region import supervisor as supervisor_module
from evenkeel.region.supervisor import Program, Supervisor, backoff_s, describe_exit

DEADLINE_S = 20.0
SLEEPER = "import time\ntime.sleep(600)"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"
)
FAILING = "import sys\nprint('no such zone', file=sys.stderr)\nsys.exit(7)"


SUPERVISE = """
import asyncio, json, os, sys
from pathlib import Path
from evenkeel.adapters.journal import FileJournal
from evenkeel.adapters.logs import stderr_log
from evenkeel.region.supervisor import Program, Supervisor

child = '''
import sys, time
from evenkeel.region.run_component import die_with
die_with(int(sys.argv[1]))
open(sys.argv[2], "w")
time.sleep(600)
'''
folder = Path(sys.argv[1])
command = (sys.executable, "-c", child, str(os.getpid()))

def told(states):
    (folder / "draft").write_text(json.dumps({name: state.pid for name, state in states.items()}))
    (folder / "draft").replace(folder / "pids")

programs = [Program(name, (*command, str(folder / name))) for name in ("one", "two")]
supervisor = Supervisor(programs, folder / "log", FileJournal(str(folder), "up"), stderr_log("up"), told)
asyncio.run(supervisor.run(asyncio.Event()))
"""


def program(name: str, code: str, wave: int = 0, ready_at: HostPort | None = None) -> Program:
    return Program(name, (sys.executable, "-S", "-c", code), wave, ready_at)


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - what it waits for is another process
            await asyncio.sleep(0.01)


def supervise(
    tmp_path: Path, programs: list[Program], body: Callable[[Supervisor, asyncio.Event], Awaitable[None]]
) -> list[str]:
    """Run `body` beside a supervisor of `programs`, then stop it; returns the details of its journal."""
    journal = FileJournal(str(tmp_path), "up")
    log, lines = file_log(str(tmp_path), "up")
    supervisor = Supervisor(programs, tmp_path / "log", journal, log, chance=random.Random(1))

    async def both() -> None:
        stopping = asyncio.Event()
        running = asyncio.create_task(supervisor.run(stopping))
        try:
            await body(supervisor, stopping)
        finally:
            stopping.set()
            await asyncio.wait_for(running, DEADLINE_S)

    asyncio.run(both())
    journal.close()
    lines.close()
    return [event.detail for event in JournalReader(journal_folder(str(tmp_path))).poll()]


def pid_of(supervisor: Supervisor, name: str) -> int:
    return supervisor.states()[name].pid


def test_a_killed_program_is_started_again_and_the_journal_says_so(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _: asyncio.Event) -> None:
        await until(lambda: pid_of(supervisor, "enactor-a") > 0)
        first = pid_of(supervisor, "enactor-a")
        os.kill(first, signal.SIGKILL)
        await until(lambda: pid_of(supervisor, "enactor-a") not in (0, first))
        assert supervisor.states()["enactor-a"].restarts == 1

    details = supervise(tmp_path, [program("enactor-a", SLEEPER)], body)
    assert details[0].startswith("enactor-a was ended by SIGKILL; starts again in ")
    assert details[1].startswith("enactor-a started again, pid ")


def test_a_program_that_fails_at_once_is_retried_with_growing_delays_and_hinders_no_other(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _: asyncio.Event) -> None:
        await until(lambda: supervisor.states()["audit"].restarts >= 3)
        assert supervisor.states()["planner-1"].state == "running"
        assert supervisor.states()["planner-1"].restarts == 0

    details = supervise(tmp_path, [program("audit", FAILING), program("planner-1", SLEEPER)], body)
    assert details[0].startswith("audit exited with code 7 (no such zone); starts again in 0.")
    assert "no such zone" in (tmp_path / "log" / "audit.stderr").read_text()


def test_a_program_that_is_to_stay_down_for_a_while_does(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _: asyncio.Event) -> None:
        await until(lambda: pid_of(supervisor, "backend-1") > 0)
        os.kill(pid_of(supervisor, "backend-1"), signal.SIGKILL)
        await until(lambda: supervisor.states()["backend-1"].state == "backing-off")

    backend = replace(program("backend-1", SLEEPER), down_s=600.0)
    assert supervise(tmp_path, [backend], body) == ["backend-1 was ended by SIGKILL; starts again in 600.0 s"]


def test_words_of_an_earlier_failure_are_not_told_again(tmp_path: Path) -> None:
    once = (
        "import os, sys, time\n"
        "if not os.path.exists(MARK):\n    open(MARK, 'w')\n    sys.exit('first')\ntime.sleep(600)"
    )
    once = once.replace("MARK", repr(str(tmp_path / "mark")))

    async def body(supervisor: Supervisor, _: asyncio.Event) -> None:
        await until(lambda: supervisor.states()["audit"].restarts == 1 and pid_of(supervisor, "audit") > 0)
        os.kill(pid_of(supervisor, "audit"), signal.SIGKILL)
        await until(lambda: supervisor.states()["audit"].restarts == 2)

    stops = [detail for detail in supervise(tmp_path, [program("audit", once)], body) if "starts again" in detail]
    assert stops[0].startswith("audit exited with code 1 (first); ")
    assert stops[1].startswith("audit was ended by SIGKILL; ")


def test_a_program_that_cannot_be_started_is_reported_and_tried_again(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _: asyncio.Event) -> None:
        await until(lambda: supervisor.states()["audit"].restarts >= 2)

    details = supervise(tmp_path, [Program("audit", ("/nonexistent/evenkeel",))], body)
    assert "audit could not be started" in details[0]


def test_stopping_ends_every_program_later_waves_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    note = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    open({str(order)!r}, 'a').write('NAME\\n')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"open({str(order)!r} + '.NAME', 'w')\n"
        "time.sleep(600)"
    )
    programs = [program(name, note.replace("NAME", name), wave) for wave, name in enumerate(("store", "planner"))]

    async def body(_: Supervisor, __: asyncio.Event) -> None:
        await until(lambda: all((tmp_path / f"order.{name}").exists() for name in ("store", "planner")))

    supervise(tmp_path, programs, body)
    assert order.read_text().split() == ["planner", "store"]


def test_a_program_deaf_to_sigterm_is_killed_after_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_DEADLINE_S", 0.5)
    pids: list[int] = []

    async def body(supervisor: Supervisor, _: asyncio.Event) -> None:
        await until(lambda: "deaf" in _text(tmp_path / "log" / "deaf.stderr"))
        pids.append(pid_of(supervisor, "deaf"))

    supervise(tmp_path, [program("deaf", STUBBORN)], body)
    assert not is_alive(pids[0])


def test_a_stopped_program_is_left_alone_until_the_end_and_then_ended(tmp_path: Path) -> None:
    pids: list[int] = []

    async def body(supervisor: Supervisor, _: asyncio.Event) -> None:
        await until(lambda: pid_of(supervisor, "enactor-a") > 0)
        pids.append(pid_of(supervisor, "enactor-a"))
        os.kill(pids[0], signal.SIGSTOP)
        await asyncio.sleep(0.2)
        assert pid_of(supervisor, "enactor-a") == pids[0]

    supervise(tmp_path, [program("enactor-a", SLEEPER)], body)
    assert not is_alive(pids[0])


def test_a_wave_that_never_gets_ready_holds_the_next_one_back_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "WAVE_WAIT_S", 0.2)
    never = HostPort("127.0.0.1", 1)  # nothing listens there

    async def body(supervisor: Supervisor, _: asyncio.Event) -> None:
        await until(lambda: pid_of(supervisor, "second") > 0)

    supervise(tmp_path, [program("first", SLEEPER, 0, never), program("second", SLEEPER, 1)], body)
    assert "not ready yet" in log_path(str(tmp_path), "up").read_text()


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """Also one that is stopped, which no pipe or signal handler would end."""
    script = tmp_path / "supervise.py"
    script.write_text(SUPERVISE)
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    try:
        pids = _wait_for_pids(tmp_path / "pids")
        _until(lambda: all((tmp_path / name).exists() for name in ("one", "two")))
        os.kill(pids[0], signal.SIGSTOP)
    finally:
        process.kill()
        process.wait()
    _until(lambda: not any(is_alive(pid) for pid in pids))


def test_the_delay_doubles_to_a_cap_and_is_jittered() -> None:
    chance = random.Random(7)
    delays = [[backoff_s(attempt, chance) for _ in range(200)] for attempt in range(1, 12)]
    assert 0.05 <= min(delays[0]) < max(delays[0]) <= 0.1
    assert 0.1 <= min(delays[1]) < max(delays[1]) <= 0.2
    assert 2.5 <= min(delays[-1]) < max(delays[-1]) <= 5.0
    assert backoff_s(10_000, chance) <= 5.0


def test_how_a_program_ended_is_told_in_words() -> None:
    assert describe_exit(3) == "exited with code 3"
    assert describe_exit(-9) == "was ended by SIGKILL"
    assert describe_exit(-250) == "was ended by signal 250"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold in time"
        time.sleep(0.02)


def _wait_for_pids(path: Path) -> list[int]:
    found: list[int] = []

    def all_run() -> bool:
        text = _text(path)
        found[:] = list(json.loads(text).values()) if text else []
        return len(found) == 2 and all(found)

    _until(all_run)
    return found
