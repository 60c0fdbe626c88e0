"""kill -9 and SIGSTOP of processes by pid; whatever was stopped goes on at the end, however that comes about."""

from __future__ import annotations

import asyncio
import os
import signal


class Signals:
    """Used on one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.paused: set[int] = set()

    def kill(self, pid: int) -> bool:
        """Whether there was such a process."""
        return _sent(pid, signal.SIGKILL)

    def pause(self, pid: int, for_s: float) -> bool:
        """Stop it, and let it go on after `for_s`, or at `heal`."""
        if not _sent(pid, signal.SIGSTOP):
            return False
        self.paused.add(pid)
        task = asyncio.create_task(self._go_on(pid, for_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _go_on(self, pid: int, after_s: float) -> None:
        try:
            await asyncio.sleep(after_s)
        finally:
            _sent(pid, signal.SIGCONT)
            self.paused.discard(pid)

    async def heal(self) -> None:
        """Everything that is stopped goes on, now."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pid in tuple(self.paused):  # a task that was cancelled before its first step has resumed nothing
            _sent(pid, signal.SIGCONT)
        self.paused.clear()


def _sent(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
