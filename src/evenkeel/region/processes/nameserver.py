"""The embedded nameserver as a process: every zone of the region that evenkeel serves itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from evenkeel.adapters.nameserver import quiet_collector
from evenkeel.adapters.nameserver.metrics import NameserverCollector
from evenkeel.adapters.nameserver.server import EmbeddedNameserver, Hooks, Settings
from evenkeel.model.events import EventKind
from evenkeel.model.policy import EmptyAnswer
from evenkeel.model.region import ServerKind
from evenkeel.region.keys import zone_key
from evenkeel.region.runtime import Runtime

REPLIES_A_SECOND = 5000  # over UDP to one client network; loopback is never limited
QUIET_S = 10.0  # a disk that fails is told once in this time


async def main(runtime: Runtime) -> None:
    """Serve until told to stop. Raises `InputError`, `CorruptZoneFile` or `Unreachable` where it cannot start."""
    region = runtime.region
    zones = [zone for zone in region.zones.values() if zone.server is ServerKind.EMBEDDED]
    keys = {zone.name: zone_key(region, zone) for zone in zones}
    settings = Settings(
        is_guarded=region.policy.empty_answer is EmptyAnswer.REFUSED,
        replies_a_second=REPLIES_A_SECOND,
        hooks=_hooks(runtime),
    )
    folder = Path(region.state_dir) / "nameserver"
    server = EmbeddedNameserver(zones, keys, folder, [zone.primary for zone in zones], settings)
    async with server:
        quiet_collector.settle()
        runtime.registry.register(NameserverCollector(server))
        _publish_status(runtime, server)
        runtime.log.info("serving", zones=[zone.name for zone in zones], at=[str(place) for place in server.places])
        await server.serve_until(runtime.stopping)


def _hooks(runtime: Runtime) -> Hooks:
    told_s = 0.0

    def refused(zone: str, reason: str) -> None:
        runtime.journal.record(EventKind.REFUSED, detail=reason, zone=zone)

    def disk_failed(zone: str, error: OSError) -> None:
        nonlocal told_s
        if time.monotonic() - told_s > QUIET_S:
            told_s = time.monotonic()
            detail = f"the zone's journal cannot be written: {error}"
            runtime.journal.record(EventKind.UNREACHABLE, detail=detail, zone=zone)
            runtime.log.error("disk failed, updates are answered SERVFAIL", zone=zone, error=str(error))

    return Hooks(refused=refused, disk_failed=disk_failed)


def _publish_status(runtime: Runtime, server: EmbeddedNameserver) -> None:
    rate = _Rate(server)
    runtime.status.update(
        places=[str(place) for place in server.places],
        zones=server.zones_status,
        secondaries=server.secondaries_status,
        queries=lambda: server.responder.counts.ready + server.responder.counts.queries,
        queries_a_second=rate.now,
        updates=lambda: sum(server.responder.counts.update_rcodes),
        updates_waiting=lambda: server.commits.waiting,
        tcp_connections=lambda: server.connections,
    )


class _Rate:
    """Questions a second since it was last asked for, at least a second ago."""

    def __init__(self, server: EmbeddedNameserver) -> None:
        self._counts = server.responder.counts
        self._loop = asyncio.get_running_loop()
        self._at_s, self._total, self._rate = self._loop.time(), 0, 0.0

    def now(self) -> float:
        now_s, total = self._loop.time(), self._counts.ready + self._counts.queries
        if now_s - self._at_s >= 1.0:
            self._rate = round((total - self._total) / (now_s - self._at_s), 1)
            self._at_s, self._total = now_s, total
        return self._rate
