"""The nameserver as a component of a region: its own process, its key from the keys folder, its metrics and events."""

from __future__ import annotations

import base64
import json
import socket
import time
from dataclasses import replace
from pathlib import Path

from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.secrets import read_secret
from evenkeel.model.events import EventKind
from evenkeel.model.policy import OCTOBER_2025
from evenkeel.model.records import Rcode, RecordType, RRset
from evenkeel.model.region import Region
from evenkeel.model.transactions import AddRRs, Change, DeleteName, Transaction
from evenkeel.testing.servers import serves
from evenkeel.wire.tsig import TsigKey, sign, verify
from evenkeel.wire.update import encode_update
from tests.up.regions import small_region
from tests.up.test_run_component import ask, is_up, metrics_of, running, until

ENDPOINT, ZONE = "db.demo.example.", "demo.example."
PUBLISHED = (
    AddRRs(RRset.of(ENDPOINT, RecordType.A, 5, "192.0.2.1")),
    AddRRs(RRset.of("_fence." + ENDPOINT, RecordType.TXT, 1, "g=1;w=enactor-a;n=1")),
)


def update(region: Region, *changes: Change) -> Rcode:
    zone = region.zones[ZONE]
    secret = base64.b64decode(read_secret(region.state_dir, f"tsig-{zone.tsig_key}"))
    key, now_s = TsigKey(zone.tsig_key + ".", secret), int(time.time())
    message, mac = sign(encode_update(1, ZONE, [Transaction(ZONE, (), changes)]), key, now_s)
    with socket.create_connection((zone.primary.host, zone.primary.port), 10) as tcp, tcp.makefile("rb") as reader:
        tcp.sendall(len(message).to_bytes(2, "big") + message)
        reply = reader.read(int.from_bytes(reader.read(2), "big"))
    return Rcode(verify(reply, key, now_s, request_mac=mac)[0][3] & 15)


def is_serving(region: Region) -> bool:
    return is_up(metrics_of(region, "nameserver")) and serves(region.zones[ZONE].primary, ZONE, 0.2)


def test_it_serves_guards_tells_and_outlives_sigkill(tmp_path: Path) -> None:
    region = small_region(tmp_path)
    with running(region, "nameserver"):
        until(lambda: is_serving(region))
        assert update(region, *PUBLISHED) is Rcode.NOERROR
        assert update(region, DeleteName(ENDPOINT)) is Rcode.REFUSED
        status = json.loads(ask(metrics_of(region, "nameserver"), "/status"))
        assert status["zones"][ZONE]["names"] == 4
        assert status["updates"] == 2
        metrics = ask(metrics_of(region, "nameserver"), "/metrics")
        assert 'evenkeel_dns_updates_total{rcode="REFUSED"} 1.0' in metrics
        assert 'evenkeel_dns_zone_names{zone="demo.example."} 4.0' in metrics
    events = JournalReader(journal_folder(region.state_dir)).history()
    assert any(event.kind is EventKind.REFUSED and ENDPOINT in event.detail for event in events)
    with running(region, "nameserver"):
        until(lambda: serves(region.zones[ZONE].primary, ZONE, 0.2))
        assert update(region, DeleteName(ENDPOINT)) is Rcode.REFUSED  # its answer and its fence are still there


def test_under_october_2025_s_policy_an_endpoint_can_be_emptied(tmp_path: Path) -> None:
    region = replace(small_region(tmp_path), policy=OCTOBER_2025)
    with running(region, "nameserver"):
        until(lambda: is_serving(region))
        assert update(region, *PUBLISHED) is Rcode.NOERROR
        assert update(region, DeleteName(ENDPOINT)) is Rcode.NOERROR
