"""A real process, real disk, SIGKILL: nothing acknowledged is lost, and a full disk loses nothing either."""

from __future__ import annotations

import itertools
import resource
import threading
import time
from pathlib import Path

import pytest

from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.transactions import AddRRs, RRsetAbsent, Transaction
from evenkeel.testing.servers import Server, embedded_server
from tests.conformance.arms import Wire, transferred
from tests.nameserver.strategies import ZONE

WRITERS = 4


def added(name: str) -> Transaction:
    rrset = RRset.of(name, RecordType.A, 60, "192.0.2.1")
    return Transaction(ZONE, (RRsetAbsent(name, RecordType.A),), (AddRRs(rrset),))


def write_until_dead(server: Server, writer: int, acknowledged: list[str], enough: threading.Event) -> None:
    try:
        with Wire(server) as wire:
            for number in itertools.count(len(acknowledged)):
                name = f"w{writer}-{number}-{time.monotonic_ns()}.{ZONE}"
                if wire.apply(added(name)) is Rcode.NOERROR:
                    acknowledged.append(name)
                if len(acknowledged) % 100 >= 99:
                    enough.set()
    except (ConnectionError, OSError):
        return  # it was killed


def test_sigkill_loses_no_acknowledged_update(tmp_path: Path) -> None:
    acknowledged: list[list[str]] = [[] for _ in range(WRITERS)]
    with embedded_server(tmp_path, [ZONE]) as server:
        serial = 0
        for _ in range(3):
            enough = threading.Event()
            writers = [
                threading.Thread(target=write_until_dead, args=(server, w, acknowledged[w], enough))
                for w in range(WRITERS)
            ]
            for each in writers:
                each.start()
            assert enough.wait(20)
            server.kill()
            for each in writers:
                each.join(20)
            server.restart()
            there = {name for name, type_, _ in transferred(server) if type_ == "A"}
            assert {name for names in acknowledged for name in names} <= there
            assert _serial(server) > serial
            serial = _serial(server)


def _serial(server: Server) -> int:
    import dns.message
    import dns.query

    reply = dns.query.udp(dns.message.make_query(ZONE, "SOA"), server.host, 10.0, server.port)
    return int(reply.answer[0][0].serial)


def test_a_stop_in_good_order_and_a_start_change_nothing(tmp_path: Path) -> None:
    with embedded_server(tmp_path, [ZONE]) as server:
        with Wire(server) as wire:
            assert wire.apply(added("a." + ZONE)) is Rcode.NOERROR
        before, serial = transferred(server), _serial(server)
        server.stop()
        server.restart()
        assert (transferred(server), _serial(server)) == (before, serial)


@pytest.mark.parametrize("spare_octets", [0, 30])
def test_a_full_disk_refuses_updates_keeps_answering_and_recovers(tmp_path: Path, spare_octets: int) -> None:
    with embedded_server(tmp_path, [ZONE]) as server, Wire(server) as wire:
        assert wire.apply(added("before." + ZONE)) is Rcode.NOERROR
        content = transferred(server)
        (journal,) = tmp_path.rglob("journal-*")
        unlimited = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        # No file may grow past this: a write fails, or is done in part, as it does when the disk is full.
        size = journal.stat().st_size
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + spare_octets, unlimited[1]))
        for number in range(3):
            assert wire.apply(added(f"during-{number}.{ZONE}")) is Rcode.SERVFAIL
        assert transferred(server) == content
        assert journal.stat().st_size == size
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)
        assert wire.apply(added("after." + ZONE)) is Rcode.NOERROR
        server.kill()
        server.restart()
        assert {name for name, type_, _ in transferred(server)} == {name for name, _, _ in content} | {"after." + ZONE}
