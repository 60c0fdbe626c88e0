"""Updates on their way to disk: evaluated one by one, synced together, then applied and acknowledged (group commit).

    submit -> waiting -> [ admit, evaluate on a staged zone ] -> journal, synced in a thread -> apply -> reply

Between any two updates the event loop has its turn, so queries wait for one update at most. An update is
acknowledged only when it is on disk and served; whatever was evaluated beside a change that could not be written
is answered SERVFAIL, and nothing of it is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from evenkeel.adapters.nameserver.zone_files import ZoneFiles
from evenkeel.model.records import Rcode
from evenkeel.nameserver.answers import ServedZone
from evenkeel.nameserver.history import Delta, History, encode_delta
from evenkeel.nameserver.responder import AdmittedUpdate, Responder, UpdateWork
from evenkeel.nameserver.staging import Staging, stage
from evenkeel.nameserver.store import Staged, ZoneStore
from evenkeel.nameserver.zone_view import Node

WAITING_MAX = 4096  # updates; more are answered SERVFAIL at once
GROUP_UPDATES_MAX = 256
GROUP_OCTETS_MAX = 1 << 20  # of encoded changes in one group
TURN_S = 0.001  # evaluation goes on for this long before queries have their turn again
COMPACT_OCTETS_MIN = 8 << 20  # a journal is compacted once it is this large, and twice its snapshot
COMPACT_PAUSE_S = 10.0  # between two compactions of a zone, failed ones included

Send = Callable[[bytes], None]


class Watcher(Protocol):
    """Who is told what the commits did."""

    def refused(self, zone: bytes, reason: str) -> None: ...

    def committed(self, zone: bytes) -> None: ...

    def disk_failed(self, zone: bytes, error: OSError) -> None: ...


@dataclass(slots=True)
class DurableZone:
    """A zone that is served, its files and its history."""

    served: ServedZone
    files: ZoneFiles
    history: History
    is_guarded: bool
    last_compaction_s: float = -COMPACT_PAUSE_S


@dataclass(slots=True)
class _Done:
    """An update that was evaluated: its reply waits for the disk."""

    send: Send
    admitted: AdmittedUpdate
    staging: Staging
    encoded: bytes  # for the journal; empty where nothing changed


@dataclass(slots=True)
class _Group:
    """What one zone commits together."""

    zone: DurableZone
    staged: Staged
    done: list[_Done] = field(default_factory=list)
    octets: int = 0


class Commits:
    """All zones' commits. `submit` from the event loop; `run` is its task."""

    def __init__(self, zones: Mapping[bytes, DurableZone], responder: Responder, watcher: Watcher) -> None:
        self._zones = zones
        self._responder = responder
        self._watcher = watcher
        self._waiting: deque[tuple[UpdateWork, Send]] = deque()
        self._arrived = asyncio.Event()
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._compactor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
        self._compacting: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, work: UpdateWork, send: Send) -> bool:
        """Queue an update; `send` takes its reply, some time. False where too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            return False
        self._waiting.append((work, send))
        self._arrived.set()
        return True

    async def run(self) -> None:
        """Until `stop`; a group that is being written is finished first."""
        while not self._stopping:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting and not self._stopping:
                for group in await self._evaluate():
                    await self._write(group)
                    await self._compact_if_due(group.zone)

    def stop(self) -> None:
        """Have `run` end; updates that wait stay without a reply, as if the server had died."""
        self._stopping = True
        self._arrived.set()

    # --- evaluation -----------------------------------------------------------------------------------

    async def _evaluate(self) -> list[_Group]:
        """Take from the queue until it is empty or a group is full."""
        groups: dict[bytes, _Group] = {}
        turn_began_s = time.monotonic()
        for _ in range(GROUP_UPDATES_MAX):
            if not self._waiting:
                break
            work, send = self._waiting.popleft()
            admitted = self._responder.admit(work)
            turn_began_s = await _turn(turn_began_s)
            if isinstance(admitted, bytes):
                send(admitted)
                continue
            self._stage(self._group(groups, admitted.zone.store), admitted, send)
            if sum(group.octets for group in groups.values()) > GROUP_OCTETS_MAX:
                break
            turn_began_s = await _turn(turn_began_s)
        return list(groups.values())

    def _group(self, groups: dict[bytes, _Group], store: ZoneStore) -> _Group:
        group = groups.get(store.apex)
        if group is None:
            group = groups[store.apex] = _Group(self._zones[store.apex], Staged(store))
        return group

    def _stage(self, group: _Group, admitted: AdmittedUpdate, send: Send) -> None:
        staging = stage(group.staged, admitted.decoded.update, group.zone.is_guarded)
        if staging.reason:
            self._watcher.refused(group.staged.apex, staging.reason)
        if not staging.nodes and not group.octets:
            send(admitted.reply(staging.rcode))  # it hangs on nothing that is not durable yet
            return
        encoded = b""
        if staging.nodes:
            encoded = encode_delta(Delta(staging.old_serial, staging.new_serial, list(staging.changes)))
            group.octets += len(encoded)
        group.done.append(_Done(send, admitted, staging, encoded))

    # --- to disk, then to the clients -------------------------------------------------------------------

    async def _write(self, group: _Group) -> None:
        zone, apex = group.zone, group.staged.apex
        encoded = [done.encoded for done in group.done if done.encoded]
        try:
            if encoded:
                await asyncio.get_running_loop().run_in_executor(self._disk, zone.files.append, encoded)
        except OSError as error:
            self._watcher.disk_failed(apex, error)
            for done in group.done:
                done.send(done.admitted.reply(Rcode.SERVFAIL))
            return
        turn_began_s = time.monotonic()
        for done in group.done:
            staging = done.staging
            if done.encoded:
                zone.served.apply(staging.nodes)
                zone.history.append(staging.old_serial, staging.new_serial, done.encoded)
            done.send(done.admitted.reply(staging.rcode))
            turn_began_s = await _turn(turn_began_s)
        if encoded:
            self._watcher.committed(apex)

    # --- compaction -----------------------------------------------------------------------------------

    async def _compact_if_due(self, zone: DurableZone) -> None:
        """Begin a new journal, here between two groups; the snapshot it starts from is written beside the traffic."""
        files, now_s = zone.files, time.monotonic()
        due = files.journal_octets > max(COMPACT_OCTETS_MIN, 2 * files.snapshot_octets)
        busy = self._compacting is not None and not self._compacting.done()
        if not due or busy or now_s - zone.last_compaction_s < COMPACT_PAUSE_S:
            return
        zone.last_compaction_s = now_s
        try:
            number = await asyncio.get_running_loop().run_in_executor(self._disk, files.rotate)
        except OSError as error:
            self._watcher.disk_failed(zone.served.store.apex, error)
            return
        picture = zone.served.store.picture()
        self._compacting = asyncio.create_task(self._write_snapshot(zone, number, picture))

    async def _write_snapshot(self, zone: DurableZone, number: int, picture: Mapping[bytes, Node[bytes]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._compactor, zone.files.write_snapshot, number, picture)
        except OSError as error:
            self._watcher.disk_failed(zone.served.store.apex, error)

    async def close(self) -> None:
        """After `run` has ended: wait for the disk."""
        if self._compacting is not None:
            await asyncio.wait({self._compacting}, timeout=10.0)
        self._disk.shutdown(wait=True)
        self._compactor.shutdown(wait=True)


async def _turn(began_s: float) -> float:
    """Let queries have their turn once ours has lasted long enough; when the present one began."""
    if time.monotonic() - began_s <= TURN_S:
        return began_s
    await asyncio.sleep(0)
    return time.monotonic()
