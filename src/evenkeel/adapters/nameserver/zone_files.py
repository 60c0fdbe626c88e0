"""A zone on disk: `snapshot-<n>` holds the zone as it was when `journal-<n>` was begun.

    append     one frame a group of commits, written and synced before any of them is acknowledged
    rotate     a new journal; then, beside the running server, the snapshot that it starts from
    open       newest snapshot, then every journal from it on; a torn tail is cut, damage is reported

The snapshot and journal before the newest stay: for IXFR, and should the newest snapshot not be readable. Files are
read and written by one process at a time, which a lock ensures.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from evenkeel.adapters.nameserver.frames import frame, good_frame_after, read_frames
from evenkeel.model.errors import EvenkeelError, InputError
from evenkeel.nameserver.history import History, decode_delta, replay
from evenkeel.nameserver.zone_view import Node, Records
from evenkeel.wire.octets import name_text
from evenkeel.wire.records import type_code, type_name

FORMAT = "evenkeel zone 1"
SNAPSHOT_RRSETS_A_FRAME = 500  # one is encoded in about a millisecond, then queries have their turn
_NAME = re.compile(r"(snapshot|journal)-(\d{8})\Z")


class CorruptZoneFile(EvenkeelError):
    """A zone's file is damaged in a place that no crash explains."""

    exit_code = 2


class _Head(msgspec.Struct):
    """The first frame of every file."""

    format: str
    zone: str
    number: int


_Group = list[bytes]  # a journal's frame: encoded deltas
_RRset = tuple[bytes, int, int, tuple[bytes, ...]]  # name, type, TTL, rdatas
_encode = msgspec.msgpack.encode


class ZoneFiles:
    """One zone's folder. Methods block; they are for a thread, one at a time."""

    def __init__(self, folder: Path, apex: bytes) -> None:
        self.folder = folder
        self._zone = name_text(apex)
        self._number = 0
        self._journal = -1  # descriptor
        self._good_octets = 0  # of the journal: what is known to be durable
        self._is_broken = False
        self.snapshot_octets = 0
        self.torn_octets = 0  # cut off at the last opening
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock = _locked(folder / "lock")

    @property
    def journal_octets(self) -> int:
        return self._good_octets

    # --- opening --------------------------------------------------------------------------------------

    def load(self, history: History) -> dict[bytes, Node[bytes]] | None:
        """The zone; None for one that was never here. `history` takes the commits that led to it.

        Raises `CorruptZoneFile`. Leaves the journal open for appending.
        """
        snapshots, journals = self._numbers("snapshot"), self._numbers("journal")
        self._remove_drafts()
        if not snapshots:
            if journals and any(self._holds_commits(number) for number in journals):
                raise self._corrupt(self._path("journal", journals[0]), "there is no snapshot that it starts from")
            return None
        start, zone = self._newest_snapshot(snapshots)
        for number in journals:
            for encoded in self._read_journal(number, is_last=number == journals[-1]):
                delta = decode_delta(encoded)
                history.append(delta.old, delta.new, encoded)
                if number >= start:
                    replay(zone, delta)
        self._number = journals[-1] if journals and journals[-1] >= start else start
        self._open_journal()
        return dict(zone)

    def create(self, nodes: Mapping[bytes, Node[bytes]]) -> None:
        """Begin a zone that was never here. Raises `OSError`."""
        for number in self._numbers("journal"):
            self._path("journal", number).unlink()
        self._number = 1
        self.write_snapshot(1, nodes)
        self._open_journal()

    def _newest_snapshot(self, numbers: Sequence[int]) -> tuple[int, dict[bytes, dict[str, Records[bytes]]]]:
        failure: CorruptZoneFile | None = None
        for number in reversed(numbers):
            try:
                return number, self._read_snapshot(number)
            except CorruptZoneFile as error:
                failure = failure or error
        raise failure or self._corrupt(self.folder, "no snapshot")

    def _read_snapshot(self, number: int) -> dict[bytes, dict[str, Records[bytes]]]:
        path = self._path("snapshot", number)
        data = path.read_bytes()
        zone: dict[bytes, dict[str, Records[bytes]]] = {}
        ended = False
        for payload in self._payloads(path, data, number):
            rrsets = msgspec.msgpack.decode(payload, type=list[_RRset])
            ended = not rrsets  # the last frame is an empty one
            for name, code, ttl_s, rdatas in rrsets:
                zone.setdefault(name, {})[type_name(code)] = Records(ttl_s, rdatas)
        if not ended:
            raise self._corrupt(path, "it ends before its last frame")
        self.snapshot_octets = len(data)
        return zone

    def _read_journal(self, number: int, is_last: bool) -> list[bytes]:
        """Its encoded commits."""
        path = self._path("journal", number)
        data = path.read_bytes()
        end = 0
        groups: list[bytes] = []
        for position, (after, payload) in enumerate(read_frames(data)):
            end = after
            if position == 0:
                self._check_head(path, payload, number)
            else:
                groups += msgspec.msgpack.decode(payload, type=_Group)
        if end < len(data):
            behind = good_frame_after(data, end)
            if behind >= 0 or not is_last:
                raise self._corrupt(path, f"frame at offset {end} is damaged" + f", one at {behind} is whole" * is_last)
            self._cut(path, end, len(data))
        return groups

    def _cut(self, path: Path, end: int, found: int) -> None:
        """Remove a torn tail: what was never acknowledged."""
        self.torn_octets = found - end
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())

    def _payloads(self, path: Path, data: bytes, number: int) -> Iterator[bytes]:
        end = 0
        for position, (after, payload) in enumerate(read_frames(data)):
            end = after
            if position == 0:
                self._check_head(path, payload, number)
            else:
                yield payload
        if end != len(data):
            raise self._corrupt(path, f"frame at offset {end} is damaged")

    def _check_head(self, path: Path, payload: bytes, number: int) -> None:
        try:
            head = msgspec.msgpack.decode(payload, type=_Head)
        except msgspec.MsgspecError as error:
            raise self._corrupt(path, f"its head cannot be read: {error}") from error
        if head != _Head(FORMAT, self._zone, number):
            raise self._corrupt(path, f"its head says {head}, zone {self._zone} number {number} is expected")

    def _holds_commits(self, number: int) -> bool:
        data = self._path("journal", number).read_bytes()
        return sum(1 for _ in read_frames(data)) > 1

    def _corrupt(self, path: Path, what: str) -> CorruptZoneFile:
        return CorruptZoneFile(
            f"{path}: {what}; mend: put the zone's folder back from a backup, or move it away and publish anew "
            "(a fresh zone is begun, `evenkeel repair` and the Enactors fill it)"
        )

    # --- appending ------------------------------------------------------------------------------------

    def append(self, encoded: Sequence[bytes]) -> None:
        """Write one group of encoded deltas, durably. Raises `OSError`: then nothing of it is in the file."""
        self._mend()
        octets = frame(_encode(list(encoded)))
        try:
            _write_all(self._journal, octets)
            os.fdatasync(self._journal)
        except OSError:
            self._is_broken = True
            self._mend()
            raise
        self._good_octets += len(octets)

    def _mend(self) -> None:
        """Take back what a failed append left behind. Raises `OSError` while that fails."""
        if self._is_broken:
            os.ftruncate(self._journal, self._good_octets)
            os.fdatasync(self._journal)
            self._is_broken = False

    def _open_journal(self) -> None:
        path = self._path("journal", self._number)
        self._journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._good_octets = os.fstat(self._journal).st_size
        if not self._good_octets:
            self._is_broken = True  # until its head is durable
            head = frame(_encode(_Head(FORMAT, self._zone, self._number)))
            _write_all(self._journal, head)
            os.fsync(self._journal)
            self._good_octets = len(head)
            self._is_broken = False
        _sync_folder(self.folder)

    # --- compaction -----------------------------------------------------------------------------------

    def rotate(self) -> int:
        """Begin a new journal; its number, for `write_snapshot` with the zone as it is now. Raises `OSError`."""
        self._mend()
        previous, old_octets = self._journal, self._good_octets
        self._number += 1
        try:
            self._open_journal()
        except OSError:
            with contextlib.suppress(OSError):
                if self._journal != previous:
                    os.close(self._journal)
                self._path("journal", self._number).unlink(missing_ok=True)
            self._journal, self._good_octets, self._is_broken = previous, old_octets, False
            self._number -= 1
            raise
        os.close(previous)
        return self._number

    def write_snapshot(self, number: int, nodes: Mapping[bytes, Node[bytes]]) -> None:
        """The zone at the start of journal `number`; then what is no longer needed goes. Raises `OSError`."""
        path = self._path("snapshot", number)
        draft = path.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                for octets in self._snapshot_frames(number, nodes):
                    file.write(octets)
                    file.flush()
                file.flush()
                os.fsync(file.fileno())
                self.snapshot_octets = file.tell()
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        _sync_folder(self.folder)
        self._remove_before(number)

    def _snapshot_frames(self, number: int, nodes: Mapping[bytes, Node[bytes]]) -> Iterator[bytes]:
        yield frame(_encode(_Head(FORMAT, self._zone, number)))
        batch: list[_RRset] = []
        for name, node in nodes.items():
            batch += [(name, type_code(type_), each.ttl_s, each.rdatas) for type_, each in node.items()]
            if len(batch) >= SNAPSHOT_RRSETS_A_FRAME:
                yield frame(_encode(batch))
                batch = []
        if batch:
            yield frame(_encode(batch))
        yield frame(_encode([]))

    def _remove_before(self, number: int) -> None:
        """Keep the newest snapshot with its journals, and the one before with its."""
        kept = [each for each in self._numbers("snapshot") if each < number][-1:]
        oldest = kept[0] if kept else number
        for kind in ("snapshot", "journal"):
            for each in self._numbers(kind):
                if each < oldest:
                    self._path(kind, each).unlink(missing_ok=True)

    # --- the folder -----------------------------------------------------------------------------------

    def _path(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}-{number:08}"

    def _numbers(self, kind: str) -> list[int]:
        found = (_NAME.match(path.name) for path in self.folder.iterdir())
        return sorted(int(match[2]) for match in found if match and match[1] == kind)

    def _remove_drafts(self) -> None:
        for path in self.folder.glob("*.draft"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1
        os.close(self._lock)


def _locked(path: Path) -> int:
    """A descriptor that holds the lock at `path`. Raises `InputError` where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InputError.one(
            str(path), "another nameserver is running on this zone's files", "stop it, or use another state_dir"
        ) from error
    return descriptor


def _write_all(descriptor: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
