"""Keeps one workload while its host's lease lasts: `python -I -S keeper.py FOLDER LEASE WHILE_PID -- COMMAND...`.

Standard library alone, so that a host with a thousand instances spends its memory on them. The workload is told by
`INSTANCE_FOLDER` where to write `address` once it answers. Ends, and its workload with it (SIGTERM, then SIGKILL):

- when the lease is over, or its file cannot be read: exit code 10;
- on SIGTERM, which is how an agent stops an instance: exit code 0;
- when process WHILE_PID is gone (0: no such condition), or another keeper has the instance: exit code 11, 12.

A workload that ends by itself is started again, ever more slowly.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time

LEASE_OVER, ORPHANED, TAKEN = 10, 11, 12
POLL_S = 0.2
TERM_GRACE_S = 1.0
RESTART_MIN_S, RESTART_MAX_S = 0.2, 10.0
LOG_OCTETS_MAX = 1024 * 1024
LOCK_ATTEMPTS, LOCK_RETRY_S = 10, 0.02
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)


def boot_s() -> float:
    """Seconds since the machine started, sleep included: a lease runs out on a machine that sleeps, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def lease_left_s(path: str) -> float:
    """How long the lease in `path` still lasts; 0 where that is not known."""
    try:
        with open(path, encoding="ascii") as file:
            return float(file.read(64)) - boot_s()
    except (OSError, ValueError):
        return 0.0


def started_at(pid: int) -> str:
    """When process `pid` started, in ticks (proc(5)); "" where there is none. With the pid it names one process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


class Keeper:
    """One instance."""

    def __init__(self, folder: str, lease: str, while_pid: int, command: list[str]) -> None:
        self.folder = folder
        self.lease = lease
        self.command = command
        self.is_told_to_stop = False
        self._watched = os.pidfd_open(while_pid) if while_pid else -1
        self._workload: subprocess.Popen[bytes] | None = None
        self._attempts = 0
        self._start_at_s = 0.0
        self._told = ""

    def run(self) -> int:
        """Until there is a reason to end; the exit code."""
        while True:
            code = self._reason_to_end()
            if code is not None:
                self._end_workload()
                self._forget("running.json")
                return code
            self._keep()
            self._tell()
            self._wait(min(POLL_S, max(0.01, lease_left_s(self.lease))))

    def _reason_to_end(self) -> int | None:
        if self.is_told_to_stop:
            return 0
        if lease_left_s(self.lease) <= 0:
            return LEASE_OVER
        if self._watched >= 0 and select.select([self._watched], [], [], 0)[0]:
            return ORPHANED
        return None

    def _keep(self) -> None:
        """Start the workload where it does not run and its turn has come."""
        if self._workload is not None and self._workload.poll() is not None:
            self._workload = None
            delay_s = min(RESTART_MAX_S, RESTART_MIN_S * 2.0 ** min(self._attempts, 10))
            self._attempts += 1
            self._start_at_s = time.monotonic() + delay_s
        if self._workload is None and time.monotonic() >= self._start_at_s:
            self._forget("address")
            self._workload = self._started()

    def _started(self) -> subprocess.Popen[bytes] | None:
        log = os.open(
            os.path.join(self.folder, "workload.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640
        )
        keeper = os.getpid()
        try:
            if os.fstat(log).st_size > LOG_OCTETS_MAX:
                os.ftruncate(log, 0)
            return subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "INSTANCE_FOLDER": self.folder},
                start_new_session=True,
                preexec_fn=lambda: die_with(keeper),  # noqa: PLW1509 - this process has one thread
            )
        except OSError as error:
            os.write(log, f"cannot be started: {error}\n".encode())
            self._start_at_s = time.monotonic() + RESTART_MAX_S
            return None
        finally:
            os.close(log)

    def _tell(self) -> None:
        """Write what runs, where it answers: whole or not at all, and only what is new."""
        address = ""
        if self._workload is not None:
            try:
                with open(os.path.join(self.folder, "address"), encoding="ascii") as file:
                    address = file.read(128).strip()
            except OSError:
                pass  # not yet
        workload = self._workload.pid if self._workload is not None else 0
        told = json.dumps({"keeper": os.getpid(), "started": _OWN_START, "workload": workload, "address": address})
        if told != self._told:
            path = os.path.join(self.folder, "running.json")
            with open(path + ".draft", "w", encoding="ascii") as file:
                file.write(told)
            os.replace(path + ".draft", path)
            self._told = told

    def _end_workload(self) -> None:
        if self._workload is None or self._workload.poll() is not None:
            return
        grace_s = TERM_GRACE_S if self.is_told_to_stop else 0.0  # a lease that is over gives no grace
        if grace_s:
            _signal_group(self._workload.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._workload.wait(grace_s)
        _signal_group(self._workload.pid, signal.SIGKILL)
        self._workload.wait()

    def _forget(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, name))

    def _wait(self, wait_s: float) -> None:
        watched = [self._watched] if self._watched >= 0 else []
        try:
            select.select([*watched, _WAKING[0]], [], [], wait_s)
            os.read(_WAKING[0], 64)
        except (BlockingIOError, InterruptedError):
            pass


_OWN_START = started_at(os.getpid())
_WAKING = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies; end at once if it already has."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above, and nothing would end this one any more
        os._exit(1)


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def _is_taken(folder: str) -> bool:
    """Whether another keeper has the instance. The lock stays held until this process ends."""
    descriptor = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            time.sleep(LOCK_RETRY_S)  # the agent may be looking, which takes the lock for a moment
    return True


def main(arguments: list[str]) -> int:
    folder, lease, while_pid, dashes, *command = arguments
    if dashes != "--" or not command:
        print("usage: keeper.py FOLDER LEASE WHILE_PID -- COMMAND...", file=sys.stderr)
        return 2
    if _is_taken(folder):
        return TAKEN
    try:
        keeper = Keeper(folder, lease, int(while_pid), command)
    except ProcessLookupError:
        return ORPHANED

    def stop(number: int, frame: object) -> None:
        keeper.is_told_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.set_wakeup_fd(_WAKING[1], warn_on_full_buffer=False)
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
