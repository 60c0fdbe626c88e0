"""Lease renewals a second on one core: a droplet manager's beside etcd's lease keep-alives, in one run.

    python -m benchmarks.leases_vs_etcd [--hosts 800] [--seconds 8] [--interval 0.3]

The same shape for both: every host has a connection of its own and one lease, and renews it each `--interval` seconds,
one request in flight, over mutual TLS 1.3 with the same authority, keys and certificates. etcd is spoken to in gRPC,
one LeaseKeepAlive stream a connection (HTTP/2 by hand, so that the load costs little and neither side is helped).

What a core does is judged by the processor time that the server itself used, all its threads together: the machine does
other things too. The manager's renewals are real ones: each extends a lease in its table, none is an early repetition.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from evenkeel.adapters import pki
from evenkeel.adapters.droplet_manager.joining import Register
from evenkeel.adapters.droplet_manager.manager import Seat, opened
from evenkeel.adapters.fleet_messages import ContactFrame, GrantFrame, encoder, read_at_agent
from evenkeel.adapters.frames import LinkClosed
from evenkeel.adapters.links import tcp
from evenkeel.adapters.table_service.sqlite import SqliteTables
from evenkeel.model.events import EventKind
from evenkeel.model.fleet import Granted, Host, first_generation
from evenkeel.model.fleet_policy import SAFE_FLEET
from evenkeel.model.region import HostPort

BAR = 1.0
AZ, REGION = "a", "bench"
KEYS = 8  # hosts share so many certificates' keys; each has a certificate of its own
WARM_UP_S = 5.0
CONNECTING = 32  # at once
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measure:
    renewals: int
    seconds: float
    cpu_s: float
    resident_mib: float

    @property
    def per_core_s(self) -> float:
        return self.renewals / self.cpu_s

    def told(self, name: str) -> str:
        rate = self.renewals / self.seconds
        cost = 1e6 * self.cpu_s / self.renewals
        return (
            f"{name:<9} {rate:9,.0f} renewals/s offered and done, {cost:6.1f} us of a core each: "
            f"{self.per_core_s:9,.0f}/s on one core, {self.resident_mib:.0f} MiB"
        )


def cpu_s(pid: int) -> float:
    """Processor time of a process, all threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


# --- the manager ------------------------------------------------------------------------------------


class _Silent:
    def record(
        self, kind: EventKind, *, endpoint: str = "", generation: int = 0, detail: str = "", **fields: str
    ) -> None:
        """The measurement is of leases, not of the journal."""


def _seat(folder: Path, store: SqliteTables, port: int, interval_s: float) -> Seat:
    authority = pki.Authority.at(folder / "ca", REGION)
    return Seat(
        region=REGION,
        az=AZ,
        policy=replace(SAFE_FLEET, term_s=3 * interval_s, capacity_at_start=50_000.0, poll_min_s=0.01),
        store=store,
        journal=_Silent(),
        clock=time.monotonic,
        address=HostPort("127.0.0.1", port),
        credentials=manager_credentials(folder),
        authority=authority,
        register=Register(folder / "register"),
        join_token="",
        is_of_az=lambda host: True,
    )


def run_manager(folder: Path, port: int, hosts: int, interval_s: float, ready: Connection) -> None:
    """A process: a manager with `hosts` hosts whose leases are recorded already; counts its renewals when asked."""

    async def serve() -> None:
        store = SqliteTables(folder / "tables.sqlite")
        for number in range(hosts):
            await store.join(Host(0, f"{AZ}-{number}", AZ, 8, 1024))
        await store.take(AZ, "bench", 0, 600.0)
        await store.record_grants(AZ, 1, [Granted(n, first_generation(1) + 1 + n) for n in range(hosts)])
        await store.take(AZ, "bench", 1, 600.0)  # the next manager adopts them under the takeover's amnesty
        manager = await opened(_seat(folder, store, port, interval_s), await store.tenure(AZ))
        stopping = asyncio.Event()

        def told() -> None:
            if ready.recv() == "stop":
                stopping.set()
            else:
                status = manager.view().fleet
                ready.send((status.renewals, status.leased))

        asyncio.get_running_loop().add_reader(ready.fileno(), told)
        ready.send(os.getpid())
        await manager.run(stopping)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the component's process does
        runner.run(serve())


def manager_credentials(folder: Path) -> pki.Credentials:
    """Of whoever is called: the manager, and etcd in its turn."""
    authority = pki.Authority.at(folder / "ca", REGION)
    credentials = pki.Credentials.at(folder / "manager", folder / "ca" / "ca.pem")
    if credentials.is_due():
        credentials.accept(authority.issue(credentials.request(), pki.Identity(REGION, pki.Role.MANAGER, AZ)))
    return credentials


def host_contexts(folder: Path, hosts: int) -> list[ssl.SSLContext]:
    """A TLS context a host, each with that host's own certificate."""
    authority = pki.Authority.at(folder / "ca", REGION)
    keys = [pki.Credentials.at(folder / f"key-{n}", folder / "ca" / "ca.pem") for n in range(min(KEYS, hosts))]
    requests = [each.request() for each in keys]
    contexts = []
    for number in range(hosts):
        identity = pki.Identity(REGION, pki.Role.HOST, f"{AZ}-{number}")
        mine = replace(keys[number % len(keys)], certificate=folder / f"host-{number}.pem")
        mine.certificate.write_bytes(authority.issue(requests[number % len(requests)], identity))
        contexts.append(pki.host_context(mine))
    return contexts


async def one_host(number: int, address: HostPort, context: ssl.SSLContext, slots: asyncio.Semaphore) -> None:
    """Renews its lease, each time when its grant says."""
    loop, generation, epoch = asyncio.get_running_loop(), first_generation(1) + 1 + number, 2
    async with slots:
        link = await tcp.connect(address, context, pki.Identity(REGION, pki.Role.MANAGER, AZ), 60.0)
    for sequence in range(1, 1 << 30):
        began_s = loop.time()
        await link.send(encoder.encode(ContactFrame(sequence, generation, epoch)))
        next_s = 0.05
        while (frame := await link.receive(1.0)) is not None:
            message = read_at_agent(frame)
            if isinstance(message, GrantFrame) and message.answers == sequence:
                generation, epoch, next_s = message.generation, message.epoch, message.next_contact_s
                break
        await asyncio.sleep(max(0.0, began_s + next_s - loop.time()))


async def measure_manager(folder: Path, hosts: int, seconds: float, interval_s: float) -> Measure:
    port, (ours, theirs) = free_port(), multiprocessing.Pipe()
    contexts = host_contexts(folder, hosts)
    process = multiprocessing.get_context("spawn").Process(
        target=run_manager, args=(folder, port, hosts, interval_s, theirs), daemon=True
    )
    process.start()
    pid = await asyncio.to_thread(ours.recv)
    slots = asyncio.Semaphore(CONNECTING)
    address = HostPort("127.0.0.1", port)
    load = [asyncio.create_task(one_host(n, address, contexts[n], slots)) for n in range(hosts)]
    try:

        def ask() -> tuple[int, int]:
            ours.send("count")
            found: tuple[int, int] = ours.recv()
            return found

        async with asyncio.timeout(300.0):
            while (await asyncio.to_thread(ask))[0] < 3 * hosts:  # noqa: ASYNC110 - it is another process that counts
                await asyncio.sleep(0.5)
        await asyncio.sleep(WARM_UP_S)
        (before, _), cpu_before, began_s = await asyncio.to_thread(ask), cpu_s(pid), time.monotonic()
        await asyncio.sleep(seconds)
        (after, leased), cpu_after, ended_s = await asyncio.to_thread(ask), cpu_s(pid), time.monotonic()
        # On a busy machine the load itself may be late with a few, whose leases then end: they count against us.
        assert leased > 0.9 * hosts, f"only {leased} of {hosts} hosts hold a lease"
        return Measure(after - before, ended_s - began_s, cpu_after - cpu_before, resident_mib(pid))
    finally:
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
        ours.send("stop")
        await asyncio.to_thread(process.join, 10.0)
        process.kill()


# --- etcd -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def etcd_server(folder: Path) -> Iterator[tuple[int, int]]:
    """A real etcd with its data on disk; its pid and client port."""
    program = shutil.which("etcd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise SystemExit("error: etcd is not installed (Debian: apt-get install etcd-server)")
    port, peer = free_port(), free_port()
    url, peer_url = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    credentials = manager_credentials(folder)
    arguments = ["--data-dir", str(folder / "etcd"), "--listen-client-urls", url, "--advertise-client-urls", url]
    arguments += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
    arguments += ["--initial-cluster", f"default={peer_url}", "--client-cert-auth"]
    arguments += ["--cert-file", str(credentials.certificate), "--key-file", str(credentials.key)]
    arguments += ["--trusted-ca-file", str(credentials.authority)]
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline_s = time.monotonic() + 20.0
        while b"serving" not in (folder / "etcd.log").read_bytes() or not _listens(port):
            if time.monotonic() > deadline_s or process.poll() is not None:
                raise SystemExit("error: etcd did not start:\n" + (folder / "etcd.log").read_text()[-2000:])
            time.sleep(0.1)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 section 3.4
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack("!I", len(body))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + body


def _literal(name: bytes, value: bytes) -> bytes:
    """A header, neither indexed nor compressed (RFC 7541 section 6.2.2)."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _opening(path: bytes) -> bytes:
    headers = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", path), (b":authority", b"127.0.0.1")]
    headers += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    block = b"".join(_literal(*header) for header in headers)
    return _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, _END_HEADERS, 1, block)


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*octets, number))


def _message(body: bytes) -> bytes:
    """A gRPC message in a DATA frame of stream 1."""
    return _frame(_DATA, 0, 1, b"\0" + struct.pack("!I", len(body)) + body)


class Stream:
    """One gRPC call on a connection of its own; messages of it as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._taken = 0

    @classmethod
    async def open(cls, port: int, path: bytes, context: ssl.SSLContext) -> Stream:
        stream = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))
        stream._writer.write(_opening(path))
        return stream

    def send(self, body: bytes) -> None:
        self._writer.write(_message(body))

    async def receive(self) -> bytes:
        """The next message's body."""
        while True:
            head = await self._reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            body = await self._reader.readexactly(length)
            if kind == _SETTINGS and not flags & _ACK:
                self._writer.write(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                self._writer.write(_frame(_PING, _ACK, 0, body))
            elif kind == _GOAWAY or (kind == _HEADERS and flags & _END_STREAM):
                raise LinkClosed(f"etcd ended the stream: {body!r:.200}")
            elif kind == _DATA and length:
                self._taken += length
                if self._taken > 16_384:
                    more = struct.pack("!I", self._taken)
                    self._writer.write(_frame(_WINDOW, 0, 0, more) + _frame(_WINDOW, 0, 1, more))
                    self._taken = 0
                return body[5:]

    def close(self) -> None:
        self._writer.transport.abort()


async def one_lease(
    number: int, port: int, interval_s: float, context: ssl.SSLContext, slots: asyncio.Semaphore, done: list[int]
) -> None:
    """Grants itself a lease, then keeps it alive at the interval."""
    loop, lease = asyncio.get_running_loop(), number + 1
    async with slots:
        granting = await Stream.open(port, b"/etcdserverpb.Lease/LeaseGrant", context)
        granting.send(b"\x08" + _varint(600) + b"\x10" + _varint(lease))  # TTL, ID
        await granting.receive()
        granting.close()
        stream = await Stream.open(port, b"/etcdserverpb.Lease/LeaseKeepAlive", context)
    ask = b"\x08" + _varint(lease)
    await asyncio.sleep(random.random() * interval_s)
    while True:
        began_s = loop.time()
        stream.send(ask)
        await stream.receive()
        done[0] += 1
        await asyncio.sleep(max(0.0, began_s + interval_s - loop.time()))


async def measure_etcd(folder: Path, hosts: int, seconds: float, interval_s: float) -> Measure:
    with etcd_server(folder) as (pid, port):
        slots, done = asyncio.Semaphore(CONNECTING), [0]
        contexts = host_contexts(folder, hosts)
        for context in contexts:
            context.set_alpn_protocols(["h2"])
        load = [asyncio.create_task(one_lease(n, port, interval_s, contexts[n], slots, done)) for n in range(hosts)]
        try:
            async with asyncio.timeout(300.0):
                while done[0] < 3 * hosts:
                    ended = [task for task in load if task.done()]
                    for task in ended:
                        task.result()
                    await asyncio.sleep(0.5)
            await asyncio.sleep(WARM_UP_S)
            before, cpu_before, began_s = done[0], cpu_s(pid), time.monotonic()
            await asyncio.sleep(seconds)
            after, cpu_after, ended_s = done[0], cpu_s(pid), time.monotonic()
            return Measure(after - before, ended_s - began_s, cpu_after - cpu_before, resident_mib(pid))
        finally:
            for task in load:
                task.cancel()
            await asyncio.gather(*load, return_exceptions=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leases_vs_etcd", description=__doc__)
    parser.add_argument("--hosts", type=int, default=800)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--interval", type=float, default=0.3, help="between two renewals of a host")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = asyncio.run(measure_manager(folder, asked.hosts, asked.seconds, asked.interval))
        print(ours.told("evenkeel"), flush=True)
        theirs = asyncio.run(measure_etcd(folder, asked.hosts, asked.seconds, asked.interval))
        print(theirs.told("etcd"), flush=True)
    ratio = ours.per_core_s / theirs.per_core_s
    print(f"evenkeel / etcd: {ratio:.2f} on one core (bar {BAR:.1f})")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
