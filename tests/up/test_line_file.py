"""Lines to disk: never waited for, bounded, whole."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evenkeel.adapters import lines as lines_module
from evenkeel.adapters.lines import LineFile

DEADLINE_S = 20.0


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold in time"
        time.sleep(0.005)


def lost_line(count: int, reason: str) -> bytes:
    return f"lost {count}: {reason}".encode()


def test_lines_arrive_in_the_order_they_were_put(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "deep" / "down" / "x")
    for number in range(2000):
        assert file.put(b"%d" % number)
    file.close()
    assert (tmp_path / "deep" / "down" / "x").read_bytes().split() == [b"%d" % number for number in range(2000)]


def test_a_full_file_is_rotated_and_only_so_many_are_kept(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "x", octets_max=1000, kept=2)
    for number in range(400):
        file.put(b"%0100d" % number)
        until(lambda: not file._queue)  # one line a batch, so that every bound is met
    file.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.1", "x.2"]
    assert all(path.stat().st_size <= 1200 for path in tmp_path.iterdir())
    assert b"399" in (tmp_path / "x").read_bytes() + (tmp_path / "x.1").read_bytes()


def test_a_line_torn_by_a_kill_is_ended_before_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"whole\nto")
    file = LineFile(tmp_path / "x")
    file.put(b"next")
    file.close()
    assert (tmp_path / "x").read_bytes() == b"whole\nto\nnext\n"


def test_several_writers_share_one_file_and_tear_no_line(tmp_path: Path) -> None:
    def write(name: bytes) -> None:
        file = LineFile(tmp_path / "x", octets_max=20_000, kept=9)
        for number in range(300):
            file.put(name * 60 + b" %d" % number)
        file.close()

    writers = [threading.Thread(target=write, args=(bytes([65 + number]),)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = [line for path in tmp_path.iterdir() for line in path.read_bytes().splitlines() if line]
    assert sorted(found) == sorted(letter * 60 + b" %d" % n for letter in (b"A", b"B", b"C", b"D") for n in range(300))


FULL_DISK = """
import resource, sys, time
from pathlib import Path
from evenkeel.adapters import lines
lines.RETRY_S = 0.01
file = lines.LineFile(Path(sys.argv[1]), lost_line=lambda count, reason: f"lost {count}: {reason}".encode())
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))  # the disk takes 50 octets of the file, no more
def wait(holds):
    end = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
for number in range(10):
    lost = file.lost
    size = file.path.stat().st_size if file.path.exists() else 0
    file.put(b"%020d" % number)
    wait(lambda: file.lost > lost or file.path.exists() and file.path.stat().st_size >= size + 21)
print(file.lost)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
file.put(b"after")
file.close()
"""


def test_a_full_disk_loses_lines_but_no_process_and_says_how_many(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "x")], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "8\n"
    written = (tmp_path / "x").read_bytes().splitlines()
    assert written[:2] == [b"%020d" % 0, b"%020d" % 1]
    assert written[-2].startswith(b"lost 8: ")
    assert written[-1] == b"after"


def test_a_stuck_disk_holds_nobody_up_and_the_queue_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "QUEUE_LINES_MAX", 100)
    fifo = tmp_path / "x"
    os.mkfifo(fifo)  # opening it hangs until somebody reads: as stuck as a disk can be
    monkeypatch.setattr(LineFile, "_mend_torn_tail", lambda self: None)
    blocked = os.open(fifo, os.O_RDWR)
    os.set_blocking(blocked, False)
    try:
        while True:
            os.write(blocked, b"x" * 65536)
    except BlockingIOError:
        pass
    file = LineFile(fifo)
    put = [file.put(b"y" * 5000) for _ in range(1000)]
    assert put.count(True) <= 100 + lines_module.BATCH_LINES_MAX
    assert file.lost == put.count(False) > 0
    file.close(deadline_s=0.1)
    os.close(blocked)
