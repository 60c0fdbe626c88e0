"""The instances of one host, as its agent sees them: made to be those that are wanted, found again after a restart.

Nothing here trusts memory: what runs is read from the keepers' own files, and a keeper is known by its pid together
with the time at which it started. Ending a keeper is asking; that it has ended is seen when its lock is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evenkeel.adapters.instances import keeper, workload
from evenkeel.model.errors import Refusal
from evenkeel.model.fleet import InstanceSpec

INSTANCES_MAX = 4096
_NAME = re.compile(r"i-[0-9a-z]{1,40}\Z")

Commands = Callable[[str, InstanceSpec], list[str]]  # instance, spec -> what a keeper runs


@dataclass(frozen=True, slots=True)
class Running:
    """One instance on this host. `address` is "" until it answers; `keeper` is a pid, 0 where none lives."""

    instance: str
    spec: InstanceSpec
    keeper: int = 0
    workload: int = 0
    address: str = ""

    @property
    def is_up(self) -> bool:
        return bool(self.keeper and self.workload and self.address)


class _Told(msgspec.Struct):
    """What a keeper writes of itself."""

    keeper: int
    started: str
    workload: int
    address: str


class HostInstances:
    """Everything in one folder. Not for two agents at once: `lock` holds a second one off."""

    def __init__(self, folder: Path, commands: Commands, while_pid: int = 0) -> None:
        self.folder = folder
        self._commands = commands
        self._while_pid = while_pid
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held for as long as the agent lives; the kernel frees it on any death. Raises `Refusal`, `OSError`."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Refusal(f"another agent keeps the instances in {self.folder}") from None
        finally:
            os.close(descriptor)

    # --- the lease --------------------------------------------------------------------------------------

    def covered_until(self, boot_s: float) -> None:
        """The host's lease lasts until then (`keeper.boot_s`); what is past fences everything at once."""
        path = self.folder / "lease"
        draft = path.with_name(".lease")
        draft.write_text(f"{boot_s:.3f}", encoding="ascii")
        draft.replace(path)

    def covered_for_s(self) -> float:
        """How long the lease still lasts, by the file that the keepers read."""
        return keeper.lease_left_s(str(self.folder / "lease"))

    # --- instances --------------------------------------------------------------------------------------

    def found(self) -> dict[str, Running]:
        """What is here, by instance: with or without a living keeper."""
        instances = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                if entry.is_dir() and _NAME.match(entry.name):
                    running = self._read(entry.name)
                    if running is not None:
                        instances[entry.name] = running
        return instances

    def make_be(self, wanted: Mapping[str, InstanceSpec]) -> None:
        """Start what is wanted and does not run, end what runs and is not wanted. Raises `Refusal`, `OSError`.

        Nothing is started without a lease. Call it again and again: one pass does what can be done now.
        """
        if len(wanted) > INSTANCES_MAX:
            raise Refusal(f"{len(wanted)} instances are more than the {INSTANCES_MAX} of one host")
        self._reap()
        here = self.found()
        for instance, running in here.items():
            if instance not in wanted:
                self._end(instance, running)
        if self.covered_for_s() <= 0:
            return
        for instance, spec in wanted.items():
            if instance not in here or not here[instance].keeper:
                self._start(instance, spec)

    def _start(self, instance: str, spec: InstanceSpec) -> None:
        if not _NAME.match(instance):
            raise Refusal(f"{instance!r:.100} is no instance")
        folder = self.folder / instance
        if instance in self._children or self._is_held(folder):
            return  # a keeper that has not written of itself yet
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        (folder / "spec.json").write_bytes(msgspec.json.encode(spec))
        arguments = [sys.executable, "-I", "-S", keeper.__file__, str(folder), str(self.folder / "lease")]
        self._children[instance] = subprocess.Popen(
            [*arguments, str(self._while_pid), "--", *self._commands(instance, spec)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends the agent does not end its instances
        )

    def _end(self, instance: str, running: Running) -> None:
        if running.keeper:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.keeper, signal.SIGTERM)
        elif not self._is_held(self.folder / instance):
            shutil.rmtree(self.folder / instance, ignore_errors=True)

    def _read(self, instance: str) -> Running | None:
        folder = self.folder / instance
        try:
            spec = msgspec.json.decode((folder / "spec.json").read_bytes(), type=InstanceSpec)
        except (OSError, msgspec.MsgspecError):
            spec = InstanceSpec()  # cut off while it was written: known by its name, started anew when wanted
        try:
            told = msgspec.json.decode((folder / "running.json").read_bytes(), type=_Told)
        except (OSError, msgspec.MsgspecError):
            return Running(instance, spec)
        if keeper.started_at(told.keeper) != told.started or not self._is_held(folder):
            return Running(instance, spec)  # it died without a word
        return Running(instance, spec, told.keeper, told.workload, told.address)

    def _is_held(self, folder: Path) -> bool:
        """Whether a keeper lives: only the kernel's word counts."""
        try:
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _reap(self) -> None:
        for instance in [name for name, child in self._children.items() if child.poll() is not None]:
            del self._children[instance]

    async def end_all(self, deadline_s: float) -> None:
        """End everything here and wait for it, at most `deadline_s`; what is left is killed."""
        for instance, running in self.found().items():
            self._end(instance, running)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while any(running.keeper for running in self.found().values()):  # noqa: ASYNC110 - another process's end
                    await asyncio.sleep(0.05)
        for running in self.found().values():
            if running.keeper:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(running.keeper, signal.SIGKILL)
        self._reap()


def demo_commands(address: str) -> Commands:
    """Instances of the demo: an HTTP server each, at a free port of `address`."""

    def command(instance: str, spec: InstanceSpec) -> list[str]:
        return [sys.executable, "-I", "-S", workload.__file__, instance, address]

    return command
