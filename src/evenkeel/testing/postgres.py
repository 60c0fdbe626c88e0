"""A PostgreSQL cluster of our own, as a user that may run one, on a socket in a folder of its own.

with cluster() as database:
    ...                      # database.dsn
    database.kill()          # SIGKILL of the server and of every one of its processes
    database.start()
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from evenkeel.testing.servers import ServerFailed, ServerMissing

SECONDS_MAX = 60


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise ServerMissing("PostgreSQL is not installed (Debian: postgresql)")
    return found[-1].parent


class Cluster:
    """One server; `dsn` names a database in it. Programs that fail raise `ServerFailed`."""

    def __init__(self, folder: Path, user: str) -> None:
        self.folder, self._user, self._programs = folder, user, _programs()
        self.dsn = f"host={folder} user={user} dbname=postgres"

    def run(self, program: str, *arguments: str) -> None:
        """As the cluster's user; PostgreSQL refuses to run as root."""
        command = [str(self._programs / program), *arguments]
        if os.getuid() == 0:
            command = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups", *command]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=SECONDS_MAX, cwd=self.folder
        )
        if done.returncode:
            raise ServerFailed(f"{program}: {done.stderr or done.stdout}")

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c max_connections=20"
        self.run("pg_ctl", "-D", self.data, "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self, how: str = "fast") -> None:
        """`immediate` is a crash: what is not on the disk is lost."""
        self.run("pg_ctl", "-D", self.data, "-w", "-m", how, "stop")

    def kill(self) -> None:
        """SIGKILL to every process of the server; returns when all are gone, so that it can be started again."""
        server = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        pids = [server, *_children(server)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline_s = time.monotonic() + SECONDS_MAX
        while any(_runs(pid) for pid in pids) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        # Where nobody reaps orphans, as in many containers, the dead server's pid still counts as taken, and the next
        # one would not start. All of it is known to be dead here.
        for left in (self.folder / "data" / "postmaster.pid", *self.folder.glob(".s.PGSQL.*")):
            left.unlink()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    """Whether there is such a process, one that waits to be reaped apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A running cluster, gone afterwards. Raises `ServerMissing`."""
    _programs()
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    # A socket needs a short path.
    folder = Path(tempfile.mkdtemp(prefix="evenkeel-pg-", dir="/tmp"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, user, user)
        made = Cluster(folder, user)
        made.run("initdb", "-D", made.data, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C")
        made.start()
        try:
            yield made
        finally:
            with contextlib.suppress(ServerFailed):
                made.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
