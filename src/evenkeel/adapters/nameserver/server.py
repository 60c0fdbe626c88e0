"""The embedded authoritative nameserver, as one object on a running event loop.

    async with EmbeddedNameserver(zones, keys, state_dir, (HostPort("127.0.0.1", 5300),)) as server:
        ...

UDP and TCP on the same port of every listening place. Zones are durable in `state_dir`, one folder each; a zone
that is not there yet begins with SOA and NS. Reply addresses: a reply leaves from the address that it is bound to, so
on a machine with several addresses listen at each rather than at a wildcard.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from evenkeel.adapters.nameserver.commits import Commits, DurableZone
from evenkeel.adapters.nameserver.fresh_zone import as_configured, fresh_zone
from evenkeel.adapters.nameserver.notify import Notifier
from evenkeel.adapters.nameserver.rate_limit import RateLimit
from evenkeel.adapters.nameserver.tcp import TcpConnection, TcpService
from evenkeel.adapters.nameserver.udp import UdpListener, bound_socket, udp_listener
from evenkeel.adapters.nameserver.zone_files import ZoneFiles
from evenkeel.model.errors import InputError, InternalError, Unreachable
from evenkeel.model.region import HostPort, Zone
from evenkeel.nameserver.answers import ServedZone
from evenkeel.nameserver.history import Delta, History, changes_between, encode_delta
from evenkeel.nameserver.ready_packets import ReadyPackets
from evenkeel.nameserver.responder import Responder, TransferWork
from evenkeel.nameserver.store import ZoneStore
from evenkeel.nameserver.transfer import full_zone, increments, messages
from evenkeel.nameserver.zone_view import Node
from evenkeel.wire.names import encode_name
from evenkeel.wire.octets import name_text
from evenkeel.wire.records import is_newer_serial, soa_numbers
from evenkeel.wire.tsig import TsigKey

HISTORY_OCTETS_MAX = 16 << 20  # of a zone's encoded commits, for IXFR
TCP_BACKLOG = 256
STOP_S = 10.0  # for what is being written when the server is told to stop
PORT_ATTEMPTS = 20  # to find one port that is free for UDP and TCP, when any will do


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told: a guard's refusal with its reason, a commit, a disk that failed. Zone names are texts."""

    refused: Callable[[str, str], None] = lambda zone, reason: None
    committed: Callable[[str], None] = lambda zone: None
    disk_failed: Callable[[str, OSError], None] = lambda zone, error: None


@dataclass(frozen=True, slots=True)
class Settings:
    """`is_guarded`: no update may empty a fenced endpoint. `replies_a_second`: over UDP to one network; 0: no limit."""

    is_guarded: bool = True
    replies_a_second: int = 0
    hooks: Hooks = field(default_factory=Hooks)


class EmbeddedNameserver:
    """Serves `zones`; `keys` by zone name sign updates and transfers. Port 0 in `places` takes a free one."""

    def __init__(
        self,
        zones: Sequence[Zone],
        keys: Mapping[str, TsigKey],
        state_dir: Path,
        places: Sequence[HostPort],
        settings: Settings | None = None,
    ) -> None:
        self._configured = {encode_name(zone.name): zone for zone in zones}
        self._keys = keys
        self._state_dir = state_dir
        self._asked = tuple(dict.fromkeys(places))
        self._settings = settings or Settings()
        self._zones: dict[bytes, DurableZone] = {}
        self._served: dict[bytes, ServedZone] = {}
        self._packets = ReadyPackets(time.monotonic)
        self._listeners: list[UdpListener] = []
        self._servers: list[asyncio.Server] = []
        self._notifiers: list[Notifier] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.limit = (
            RateLimit(self._settings.replies_a_second, time.monotonic) if self._settings.replies_a_second else None
        )
        zone_keys = {encode_name(name): key for name, key in keys.items()}
        self.responder = Responder(self._served, zone_keys, self._may_transfer, _now_s, self._packets)
        self.commits = Commits(self._zones, self.responder, self)
        self._tcp = TcpService(self.responder, self.commits.submit, self._stream, _now_s)
        self._committing: asyncio.Task[None] | None = None
        self.places: tuple[HostPort, ...] = ()  # where it listens, once started

    # --- start and stop ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the zones, then listen. Raises `InputError`, `CorruptZoneFile` or `Unreachable` (a port is taken)."""
        try:
            for apex, zone in self._configured.items():
                durable = await asyncio.to_thread(self._open, apex, zone)
                self._zones[apex], self._served[apex] = durable, durable.served
            self._committing = asyncio.create_task(self.commits.run())
            for place in self._asked:
                await self._listen(place)
        except BaseException:
            await self.stop()
            raise

    def _open(self, apex: bytes, zone: Zone) -> DurableZone:
        files = ZoneFiles(self._state_dir / zone.name.rstrip("."), apex)
        history = History(HISTORY_OCTETS_MAX)
        nodes = files.load(history)
        if nodes is None:
            nodes = fresh_zone(zone, int(time.time()))
            files.create(nodes)
        store = ZoneStore(apex, nodes)
        configured = as_configured(zone, store.node(apex))
        if configured is not store.node(apex):
            _commit_alone(store, files, history, {apex: configured})
        served = ServedZone(store, self._packets, zone.weighted_answers)
        return DurableZone(served, files, history, self._settings.is_guarded)

    async def _listen(self, place: HostPort) -> None:
        udp, tcp = _bound_pair(place)
        self._listeners.append(udp_listener(udp, self.responder, self.commits.submit, self.limit))
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: TcpConnection(self._tcp), sock=tcp, backlog=TCP_BACKLOG)
        self._servers.append(server)
        here = HostPort(place.host, udp_port(udp))
        self.places = (*self.places, here)
        if len(self.places) == 1:
            self._begin_notifying()

    def _begin_notifying(self) -> None:
        for apex, zone in self._configured.items():
            key = self._keys.get(zone.name)
            for secondary in zone.secondaries:
                notifier = Notifier(apex, secondary, self.places[0].host, key, self._soa_of(apex))
                self._notifiers.append(notifier)
                self._tasks.append(asyncio.create_task(notifier.run()))
                notifier.changed()  # what was committed just before the last stop may not have been told

    def _soa_of(self, apex: bytes) -> Callable[[], tuple[int, bytes]]:
        store = self._zones[apex].served.store
        return lambda: (store.soa.ttl_s, store.soa.rdatas[0])

    async def serve_until(self, stopping: asyncio.Event) -> None:
        """Return once `stopping` is set. Raises what ended the commits, should they ever end by themselves."""
        if self._committing is None:
            raise InternalError("the nameserver was not started")
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait({told, self._committing}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if self._committing.done():
            self._committing.result()
            raise InternalError("the nameserver's commits ended")

    async def stop(self) -> None:
        """Stop listening, finish what is being written, close the files. May be called twice."""
        for listener in self._listeners:
            listener.close()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        self.commits.stop()
        if self._committing is not None:
            await asyncio.wait({self._committing}, timeout=STOP_S)
        await self.commits.close()
        self._tcp.close()
        for durable in self._zones.values():
            durable.files.close()
        self._listeners, self._servers, self._tasks, self._zones = [], [], [], {}

    async def __aenter__(self) -> EmbeddedNameserver:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- transfers --------------------------------------------------------------------------------------

    def _may_transfer(self, apex: bytes, host: str) -> bool:
        return any(secondary.host == host for secondary in self._configured[apex].secondaries)

    def _stream(self, work: TransferWork) -> Iterator[bytes]:
        """The transfer's messages, unsigned; whatever is committed meanwhile does not show in them."""
        store = work.zone.store
        encoded: list[bytes] | None = None
        if work.serial >= 0:
            is_current = not is_newer_serial(store.serial, work.serial)  # or past ours: RFC 1995 section 2
            encoded = [] if is_current else self._zones[store.apex].history.since(work.serial)
        if encoded is None:
            records = full_zone(store.apex, store.soa, store.picture())
        else:
            records = increments(store.apex, store.soa, encoded)
        return messages(work.message_id, work.question_octets, store.apex, records)

    # --- what the commits say (commits.Watcher) -----------------------------------------------------------

    def refused(self, zone: bytes, reason: str) -> None:
        self._settings.hooks.refused(name_text(zone), reason)

    def committed(self, zone: bytes) -> None:
        for notifier in self._notifiers:
            if notifier.apex == zone:
                notifier.changed()
        self._settings.hooks.committed(name_text(zone))

    def disk_failed(self, zone: bytes, error: OSError) -> None:
        self._settings.hooks.disk_failed(name_text(zone), error)

    # --- for people ---------------------------------------------------------------------------------------

    def zones_status(self) -> dict[str, dict[str, int]]:
        """By zone: serial, names, octets on disk, history."""
        return {
            name_text(apex): {
                "serial": durable.served.store.serial,
                "names": len(durable.served.store),
                "journal_octets": durable.files.journal_octets,
                "snapshot_octets": durable.files.snapshot_octets,
                "history_commits": len(durable.history),
            }
            for apex, durable in self._zones.items()
        }

    def secondaries_status(self) -> dict[str, dict[str, object]]:
        return {
            each.label: {"sent": each.sent, "answered": each.answered, "last_error": each.last_error}
            for each in self._notifiers
        }

    @property
    def connections(self) -> int:
        return len(self._tcp.connections)


def _commit_alone(store: ZoneStore, files: ZoneFiles, history: History, nodes: dict[bytes, Node[bytes]]) -> None:
    """A change of the server's own, before it serves. `nodes` bring the new serial. Raises `OSError`."""
    changes, old = changes_between(store, nodes), store.serial
    new = soa_numbers(nodes[store.apex]["SOA"].rdatas[0])[0]
    encoded = encode_delta(Delta(old, new, changes))
    files.append([encoded])
    store.apply(nodes)
    history.append(old, new, encoded)


def _now_s() -> int:
    return int(time.time())


def udp_port(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port


def _bound_pair(place: HostPort) -> tuple[socket.socket, socket.socket]:
    """Sockets for UDP and TCP at one port. Raises `Unreachable`."""
    for attempt in range(PORT_ATTEMPTS):
        try:
            udp = bound_socket(place, socket.SOCK_DGRAM)
        except OSError as error:
            raise Unreachable(
                f"cannot listen at {place} (UDP): {error.strerror}; mend: free it or use another"
            ) from error
        try:
            return udp, bound_socket(HostPort(place.host, udp_port(udp)), socket.SOCK_STREAM)
        except OSError as error:
            udp.close()
            if place.port or attempt == PORT_ATTEMPTS - 1:
                raise Unreachable(
                    f"cannot listen at {place} (TCP): {error.strerror}; mend: free it or use another"
                ) from error
    raise InputError.one("places", f"no free port at {place.host}")
