"""A file of lines that never makes its writer wait, and never grows without bound.

`put` hands the line to a thread. When the disk is slow the queue takes it; when the queue or the disk is full the
line is dropped and counted, and once writing works again one line says how many were lost. At `octets_max` the
file is renamed to `<name>.1`, the one before that to `<name>.2`, and so on up to `kept`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

QUEUE_LINES_MAX = 10_000
QUEUE_OCTETS_MAX = 8 * 1024 * 1024
FILE_OCTETS_MAX = 8 * 1024 * 1024
FILES_KEPT = 2
RETRY_S = 1.0  # between attempts while the disk refuses
BATCH_LINES_MAX = 500


class LineFile:
    """Append-only. Several processes may append to one file: each batch is one `write` with O_APPEND."""

    def __init__(
        self,
        path: Path,
        *,
        octets_max: int = FILE_OCTETS_MAX,
        kept: int = FILES_KEPT,
        lost_line: Callable[[int, str], bytes] | None = None,
    ) -> None:
        """`lost_line(count, reason)` words the line that tells of dropped ones."""
        self.path = path
        self.lost = 0  # over the whole life, for metrics
        self._octets_max = octets_max
        self._kept = kept
        self._lost_line = lost_line
        self._queue: deque[bytes] = deque()
        self._queue_octets = 0
        self._untold = 0
        self._reason = ""
        self._descriptor = -1
        self._closing = False
        self._wakeup = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"lines-{path.name}", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> bool:
        """Queue `line` (without its newline). False when it had to be dropped."""
        with self._wakeup:
            is_full = len(self._queue) >= QUEUE_LINES_MAX or self._queue_octets + len(line) > QUEUE_OCTETS_MAX
            if is_full or self._closing:
                self._drop(1, self._reason or "the queue is full")
                return False
            self._queue.append(line)
            self._queue_octets += len(line)
            self._wakeup.notify()
        return True

    def close(self, deadline_s: float = 2.0) -> None:
        """Write what is queued, for as long as `deadline_s`, then let go."""
        with self._wakeup:
            self._closing = True
            self._wakeup.notify()
        self._thread.join(deadline_s)

    def _drop(self, count: int, reason: str) -> None:
        self.lost += count
        self._untold += count
        self._reason = reason

    def _run(self) -> None:
        while True:
            with self._wakeup:
                self._wakeup.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    break
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LINES_MAX))]
                self._queue_octets -= sum(map(len, batch))
            try:
                self._write(batch)
            except OSError as error:
                with self._wakeup:
                    self._drop(len(batch), error.strerror or repr(error))
                    if self._closing:
                        break
                    self._wakeup.wait(RETRY_S)
        self._release()

    def _write(self, batch: list[bytes]) -> None:
        self._open_or_rotate()
        lines = batch
        untold = self._untold
        if untold and self._lost_line is not None:
            lines = [self._lost_line(untold, self._reason), *batch]
        data = b"".join(line + b"\n" for line in lines)
        written = os.write(self._descriptor, data)
        if written != len(data):
            self._release()  # so that the torn line is ended before the next one
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} octets were written")
        with self._wakeup:
            self._untold -= untold
            if not self._untold:
                self._reason = ""

    def _open_or_rotate(self) -> None:
        if self._descriptor >= 0:
            if not self._is_current():
                self._release()  # another process rotated it
            elif os.fstat(self._descriptor).st_size >= self._octets_max:
                self._rotate()
        if self._descriptor < 0:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o640)
            try:
                self._mend_torn_tail()
            except OSError:
                self._release()  # so that it is tried again before the next line
                raise

    def _is_current(self) -> bool:
        try:
            return os.stat(self.path).st_ino == os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # of several writers, one rotates
        if self._is_current():
            for number in range(self._kept - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
            os.replace(self.path, f"{self.path}.1")
        self._release()

    def _mend_torn_tail(self) -> None:
        """While another process writes, the tail may look torn: an empty line then comes between, and says nothing."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # a writer was killed in mid-line: ours starts on its own

    def _release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def now_ms() -> int:
    """Wall-clock Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
