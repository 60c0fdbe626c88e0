"""What an agent's disk keeps: a contact's number is never used twice, an epoch seen is never forgotten.

The lease itself is kept too, so that an agent that is killed and started again goes on with it; it means nothing after
the machine was started anew, for its end is told in the machine's own time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from evenkeel.adapters.pki import write_whole

BLOCK = 1000  # contacts whose numbers are reserved at once: one write for all of them
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Kept(msgspec.Struct, frozen=True):
    sequence: int = 0  # no number above it has been used
    epoch: int = 0
    generation: int = 0
    ends_boot_s: float = 0.0
    boot: str = ""


class AgentMemory:
    """`<folder>/agent.json`. Raises `OSError` where it cannot be written: an agent that forgets is no agent."""

    def __init__(self, folder: Path, wall_s: Callable[[], float] = time.time) -> None:
        self._path = folder / "agent.json"
        self._boot = BOOT_ID.read_text(encoding="ascii").strip()
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            # A host may have been here before, on a disk that is lost, and its manager takes nothing below the last
            # number for news. No host makes a thousand contacts a second, so the time is above them all.
            found = Kept(int(wall_s() * 1000))
        self.kept = found if found.boot == self._boot else Kept(found.sequence, found.epoch, boot=self._boot)

    def reserve(self, sequence: int) -> None:
        """Before contact number `sequence` is sent."""
        if sequence > self.kept.sequence:
            self._write(msgspec.structs.replace(self.kept, sequence=sequence + BLOCK))

    def lease(self, epoch: int, generation: int, ends_boot_s: float) -> None:
        """What is held now. Only a new lease or epoch is worth a write: of a renewal the keepers' own file tells."""
        kept = self.kept
        if (epoch, generation) != (kept.epoch, kept.generation):
            self._write(Kept(kept.sequence, epoch, generation, ends_boot_s, self._boot))

    def _write(self, kept: Kept) -> None:
        write_whole(self._path, msgspec.json.encode(kept), 0o600)
        self.kept = kept
