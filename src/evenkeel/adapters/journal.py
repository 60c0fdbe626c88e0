"""The region's event journal: one file of JSON lines a process, `<state_dir>/journal/<process>.jsonl`.

Writing never waits for the disk and never ends a component (`adapters.lines`). Reading merges every process's
files by time, skips torn and foreign lines, and can follow as the files grow and rotate.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec

from evenkeel.adapters.lines import LineFile, now_ms
from evenkeel.model.events import Event, EventKind

READ_OCTETS = 1024 * 1024  # of one file, in one poll: a follower's memory stays bounded
TELL_AGAIN_MS = 60_000
STANDING_MAX = 100_000
_STANDING = frozenset({EventKind.REFUSED, EventKind.WEDGED, EventKind.FENCE_CORRUPT, EventKind.DRIFT})
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


def journal_folder(state_dir: str) -> Path:
    return Path(state_dir) / "journal"


class FileJournal:
    """`ports.journal.Journal`: stamps time and process, and hands the line to a thread.

    What stands, and is found anew at every look, is told once a minute and not each time: a plan that a safeguard
    refuses for 10,000 endpoints must not wash everything else out of the journal.
    """

    def __init__(self, state_dir: str, process: str) -> None:
        self.process = process
        self._lines = LineFile(journal_folder(state_dir) / f"{process}.jsonl", lost_line=self._lost_line)
        self._standing: dict[tuple[EventKind, str], tuple[int, int, str]] = {}  # when last told, and what

    @property
    def lost(self) -> int:
        """Events that could not be written in the life of this process."""
        return self._lines.lost

    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        at_ms = now_ms()
        if kind in _STANDING and self._is_told(at_ms, kind, endpoint, generation, detail):
            return
        self._lines.put(_encode(Event(at_ms, self.process, kind, endpoint, generation, detail, fields)))

    def _is_told(self, at_ms: int, kind: EventKind, endpoint: str, generation: int, detail: str) -> bool:
        last_ms, *last = self._standing.get((kind, endpoint), (0, 0, ""))
        if last == [generation, detail] and 0 <= at_ms - last_ms < TELL_AGAIN_MS:
            return True
        if len(self._standing) >= STANDING_MAX:
            self._standing.clear()
        self._standing[kind, endpoint] = (at_ms, generation, detail)
        return False

    def close(self) -> None:
        self._lines.close()

    def _lost_line(self, count: int, reason: str) -> bytes:
        detail = f"{count} events of the journal were lost: {reason}"
        return _encode(Event(now_ms(), self.process, EventKind.RECOVERED, detail=detail))


class JournalReader:
    """Reads the journals of every process: `history` first, if it is wanted, then `poll` for what is new.

    `since_ms` leaves out what is older. `skipped` counts lines that were no event: torn by a kill, or foreign.
    """

    def __init__(self, folder: Path, *, since_ms: int = 0, tail_octets: int | None = None) -> None:
        """`tail_octets` begins that far before each file's end; None reads the whole of it."""
        self.folder = folder
        self.since_ms = since_ms
        self.skipped = 0
        self._tail_octets = tail_octets
        self._offsets: dict[int, int] = {}  # by inode, so that a rotated file keeps its place

    def history(self) -> Iterator[Event]:
        """Everything on disk in order of time, holding one block a process in memory."""
        oldest_first = sorted(self.folder.glob("*.jsonl*"), key=_age_rank, reverse=True)
        processes: dict[str, list[Path]] = {}
        for path in oldest_first:
            processes.setdefault(path.name.partition(".jsonl")[0], []).append(path)
        streams = (chain.from_iterable(self._whole(path) for path in paths) for _, paths in sorted(processes.items()))
        return merge(*streams, key=lambda event: event.at_ms)

    def poll(self) -> list[Event]:
        """What is new, in order of time; at most `READ_OCTETS` of each file, so call again if there was something."""
        events: list[Event] = []
        present: set[int] = set()
        for path in sorted(self.folder.glob("*.jsonl*"), key=_age_rank, reverse=True):
            with contextlib.suppress(OSError), path.open("rb") as file:  # it may be rotated away meanwhile
                present.add(os.fstat(file.fileno()).st_ino)
                events += self._block(file)
        self._offsets = {inode: offset for inode, offset in self._offsets.items() if inode in present}
        events.sort(key=lambda event: event.at_ms)
        return events

    def _whole(self, path: Path) -> Iterator[Event]:
        with contextlib.suppress(OSError), path.open("rb") as file:
            while block := self._block(file):
                yield from block

    def _block(self, file: BinaryIO) -> list[Event]:
        """The events of the next complete lines; the offset moves behind them."""
        events: list[Event] = []
        while not events:
            lines = self._next_lines(file)
            if not lines:
                break
            for line in lines:
                event = self._event(line)
                if event is not None:
                    events.append(event)
        return events

    def _next_lines(self, file: BinaryIO) -> list[bytes]:
        state = os.fstat(file.fileno())
        offset = self._offsets.get(state.st_ino)
        is_cut = False
        if offset is None:
            offset = max(0, state.st_size - self._tail_octets) if self._tail_octets is not None else 0
            is_cut = offset > 0
        if offset > state.st_size:
            offset = 0  # truncated by somebody
        file.seek(offset)
        data = file.read(READ_OCTETS)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == READ_OCTETS:
            end = len(data)  # no event is that long: pass over it
        self._offsets[state.st_ino] = offset + end
        lines = data[:end].splitlines()
        return lines[1:] if is_cut else lines

    def _event(self, line: bytes) -> Event | None:
        if not line:
            return None
        try:
            event = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.skipped += 1
            return None
        return event if event.at_ms >= self.since_ms else None


def _age_rank(path: Path) -> tuple[int, str]:
    """Higher is older: `x.jsonl` 0, `x.jsonl.1` 1."""
    suffix = path.name.rpartition(".jsonl")[2]
    return (int(suffix[1:]) if suffix[1:].isdigit() else 0, path.name)
