"""AXFR, IXFR and NOTIFY: to dnspython, and to real secondaries of BIND and Knot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.xfr
import dns.zone
import pytest

from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.region import HostPort
from evenkeel.model.transactions import AddRRs, DeleteName, DeleteRRset, Transaction
from evenkeel.testing.servers import (
    REQUIRE_SERVERS,
    Server,
    ServerMissing,
    embedded_server,
    find_program,
    free_address,
    serves,
)
from tests.conformance.arms import Wire
from tests.nameserver.strategies import ZONE

DEADLINE_S = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with embedded_server(tmp_path / "primary", [ZONE]) as running:
        yield running


def apply(server: Server, *changes: AddRRs | DeleteName | DeleteRRset) -> None:
    with Wire(server) as wire:
        assert wire.apply(Transaction(ZONE, (), changes)) is Rcode.NOERROR


def a(name: str, *addresses: str, ttl_s: int = 60) -> AddRRs:
    return AddRRs(RRset.of(name, RecordType.A, ttl_s, *addresses))


def keyring(server: Server) -> dict[dns.name.Name, dns.tsig.Key]:
    return {dns.name.from_text(server.key.name): dns.tsig.Key(server.key.name, server.key.secret, "hmac-sha256")}


def pull(server: Server, zone: dns.zone.Zone) -> None:
    """AXFR where `zone` is empty, else IXFR."""
    query, _ = dns.xfr.make_query(zone, keyring=keyring(server))
    dns.query.inbound_xfr(server.host, zone, query, port=server.port, timeout=DEADLINE_S, lifetime=DEADLINE_S)


def whole(server: Server) -> dns.zone.Zone:
    zone = dns.zone.Zone(ZONE)
    pull(server, zone)
    return zone


def ixfr_messages(server: Server, serial: int) -> list[dns.message.Message]:
    return list(dns.query.xfr(server.host, ZONE, "IXFR", port=server.port, serial=serial, keyring=keyring(server)))


def serial_of(server: Server) -> int:
    reply = dns.query.udp(dns.message.make_query(ZONE, "SOA"), server.host, DEADLINE_S, server.port)
    return int(reply.answer[0][0].serial)


def test_a_large_zone_comes_whole_over_many_signed_messages(server: Server) -> None:
    with Wire(server) as wire:
        for batch in range(10):
            names = [f"n{batch}-{n}.{ZONE}" for n in range(200)]
            changes = tuple(a(name, "192.0.2.1", "192.0.2.2") for name in names)
            assert wire.apply(Transaction(ZONE, (), changes)) is Rcode.NOERROR
    zone = whole(server)
    assert sum(1 for _ in zone.iterate_rdatas(dns.rdatatype.A)) == 2 * 2000 + 1


def test_an_ixfr_brings_a_copy_to_the_same_zone_as_an_axfr(server: Server) -> None:
    apply(server, a("one." + ZONE, "192.0.2.1"), a("two." + ZONE, "192.0.2.1", "192.0.2.2"))
    copy = whole(server)
    apply(server, DeleteName("one." + ZONE), a("three." + ZONE, "192.0.2.3"))
    apply(server, DeleteRRset("two." + ZONE, RecordType.A), a("two." + ZONE, "192.0.2.2", "192.0.2.9"))
    apply(server, a("three." + ZONE, "192.0.2.3", ttl_s=5))
    pull(server, copy)
    assert copy.to_text() == whole(server).to_text()


def test_an_ixfr_tells_only_what_changed_and_survives_a_restart(server: Server) -> None:
    names = [a(f"n{n}.{ZONE}", "192.0.2.1") for n in range(50)]
    apply(server, *names)
    serial = serial_of(server)
    apply(server, a("new." + ZONE, "192.0.2.1"))
    server.kill()
    server.restart()
    records = [rdata for message in ixfr_messages(server, serial) for rrset in message.answer for rdata in rrset]
    assert len(records) == 5  # SOA, old SOA, new SOA, the record, SOA


def test_an_ixfr_from_the_present_serial_is_the_soa_alone(server: Server) -> None:
    (message,) = ixfr_messages(server, serial_of(server))
    assert [rrset.rdtype for rrset in message.answer] == [dns.rdatatype.SOA]


def test_an_ixfr_from_a_serial_past_ours_is_the_soa_alone(server: Server) -> None:
    with pytest.raises(dns.xfr.SerialWentBackwards):  # which dnspython says of an SOA alone that is older than its own
        ixfr_messages(server, serial_of(server) + 5)


def test_an_ixfr_from_an_unknown_serial_is_the_whole_zone(server: Server) -> None:
    apply(server, a("one." + ZONE, "192.0.2.1"))
    copy = dns.zone.from_text(f"@ 60 SOA . . {serial_of(server) - 1000} 0 0 0 0\n@ 60 NS ns1", ZONE)
    pull(server, copy)
    assert copy.to_text() == whole(server).to_text()


def test_no_transfer_without_the_key(server: Server) -> None:
    zone = dns.zone.Zone(ZONE)
    query, _ = dns.xfr.make_query(zone)
    with pytest.raises(dns.xfr.TransferError):
        dns.query.inbound_xfr(server.host, zone, query, port=server.port, timeout=DEADLINE_S)


# --- real secondaries ---------------------------------------------------------------------------------------


def bind_conf(folder: Path, primary: Server, port: int) -> list[str]:
    text = f"""
        key "evenkeel" {{ algorithm hmac-sha256; secret "{primary.secret}"; }};
        controls {{ }};
        options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
          recursion no; pid-file none; session-keyfile none; }};
        zone "{ZONE}" {{ type secondary; file "zone"; masterfile-format text;
          primaries {{ 127.0.0.1 port {primary.port} key "evenkeel"; }}; }};
    """
    (folder / "named.conf").write_text(text)
    return [find_program("named", "bind9"), "-g", "-c", str(folder / "named.conf")]


def knot_conf(folder: Path, primary: Server, port: int) -> list[str]:
    text = f"""
server:
    listen: 127.0.0.1@{port}
    rundir: "{folder}"
key:
  - id: evenkeel
    algorithm: hmac-sha256
    secret: "{primary.secret}"
database:
    storage: "{folder}"
remote:
  - id: primary
    address: 127.0.0.1@{primary.port}
    key: evenkeel
acl:
  - id: notify
    address: 127.0.0.1
    key: evenkeel
    action: notify
zone:
  - domain: {ZONE}
    storage: "{folder}"
    master: primary
    acl: notify
"""
    (folder / "knot.conf").write_text(text)
    return [find_program("knotd", "knot"), "-c", str(folder / "knot.conf")]


SECONDARIES = {"bind": bind_conf, "knot": knot_conf}


@contextmanager
def process(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def until(check: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < deadline_s, f"not in time: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "kind", [pytest.param("bind", marks=pytest.mark.bind), pytest.param("knot", marks=pytest.mark.knot)]
)
def test_a_real_secondary_follows_by_notify(tmp_path: Path, kind: str) -> None:
    primary_folder, folder = tmp_path / "primary", tmp_path / kind
    primary_folder.mkdir()
    folder.mkdir()
    host, port = free_address()
    with embedded_server(primary_folder, [ZONE]) as primary:
        primary.stop()
        conf = json.loads((primary_folder / "embedded.json").read_text()) | {"secondaries": [[host, port]]}
        conf_path = primary_folder / "with-secondary.json"
        conf_path.write_text(json.dumps(conf))
        try:
            command = SECONDARIES[kind](folder, primary, port)
        except ServerMissing as missing:
            if os.environ.get(REQUIRE_SERVERS) == "1":
                pytest.fail(str(missing))
            pytest.skip(f"NOT TESTED against {kind}: {missing}")
        serve = [sys.executable, "-m", "evenkeel.testing.serve_embedded", str(conf_path)]
        with process(serve, primary_folder):
            until(lambda: serves(primary.address, ZONE), "the primary serves")
            with process(command, folder):
                check_that_it_follows(primary, HostPort(host, port))


def check_that_it_follows(primary: Server, secondary: HostPort) -> None:
    until(lambda: serves(secondary, ZONE), "the secondary has the zone")
    for number in range(5):
        address = f"192.0.2.{number + 1}"
        apply(primary, DeleteName("x." + ZONE), a("x." + ZONE, address))
        # Without NOTIFY it would take the SOA's refresh of a minute, which is past the deadline.
        until(partial(_shows, secondary, address), "the secondary follows")


def _shows(server: HostPort, address: str) -> bool:
    reply = dns.query.udp(dns.message.make_query("x." + ZONE, "A"), server.host, DEADLINE_S, server.port)
    return bool(reply.answer) and str(reply.answer[0][0]) == address
