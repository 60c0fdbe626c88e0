"""Real name servers on loopback, for tests, benchmarks and users' own: BIND, Knot and evenkeel's embedded one.

    with bind_server(folder, ["demo.example."]) as server:
        ...                      # server.address, server.key, server.zone("demo.example.")
        server.kill()            # SIGKILL; the data stays on disk
        server.restart()

Each is the real process with its data on disk, configured for dynamic updates that survive a SIGKILL, on loopback at a
port of its own, so that many run side by side. A server does not outlive whoever started it.
"""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from evenkeel.model.errors import EvenkeelError
from evenkeel.model.region import HostPort, ServerKind, Zone
from evenkeel.wire.names import encode_name
from evenkeel.wire.tsig import TsigKey

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 20.0
_START_ATTEMPTS = 5
_PORTS = (10_000, 32_000)
_SYSTEM_FOLDERS = os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
REQUIRE_SERVERS = "EVENKEEL_REQUIRE_SERVERS"  # set to 1: a test that lacks its server fails instead of being skipped

Zones = Iterable[str] | Mapping[str, str]  # names, or names with further lines of zone file


class ServerMissing(EvenkeelError):
    """The server's program is not installed on this machine."""


class ServerFailed(EvenkeelError):
    """The server did not start, or ended by itself; the message has the end of its log."""


def make_key(name: str = "evenkeel") -> TsigKey:
    """A fresh TSIG key."""
    return TsigKey(name + ".", secrets.token_bytes(32))


class Server:
    """One server process. Not for concurrent use."""

    def __init__(
        self,
        kind: ServerKind,
        folder: Path,
        zones: Mapping[str, str],
        key: TsigKey,
        configure: Callable[[Server], list[str]],
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.zones = dict(zones)
        self.key = key
        self.host = "127.0.0.1"
        self.port = 0
        self._configure = configure
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> HostPort:
        return HostPort(self.host, self.port)

    @property
    def pid(self) -> int:
        """Of the running process. Raises `ServerFailed` where there is none."""
        if self._process is None:
            raise ServerFailed(f"{self.kind}: not running")
        return self._process.pid

    @property
    def secret(self) -> str:
        """The key's secret as configuration files have it."""
        return base64.b64encode(self.key.secret).decode()

    def zone(self, name: str) -> Zone:
        """The zone as a region describes it."""
        return Zone(name, self.kind, self.address, tsig_key=self.key.name.removesuffix("."))

    def start(self) -> None:
        """Start at a free port, and wait until every zone is served. Raises `ServerFailed`."""
        for attempt in range(_START_ATTEMPTS):
            self.host, self.port = free_address()
            try:
                self._launch()
            except ServerFailed:
                if attempt == _START_ATTEMPTS - 1:
                    raise
                continue  # the port may have been taken in between
            return

    def restart(self) -> None:
        """Stop if it runs, and start at the same address on the same data. Raises `ServerFailed`."""
        self.stop()
        self._launch()

    def stop(self) -> None:
        """End it in good order (SIGTERM). Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL). Idempotent."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers. Returns once every thread stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + STOP_DEADLINE_S
        while not _is_stopped(self.pid):
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.kind}: process {self.pid} does not stop")
            time.sleep(0.001)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """The end of what the server has said."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def _launch(self) -> None:
        command = self._configure(self)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_dies_with_us(), *command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_DEADLINE_S
        for zone in self.zones:
            while not serves(self.address, zone):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise ServerFailed(f"{self.kind} did not come to serve {zone} at {self.address}:\n{self.log()}")
                time.sleep(0.02)

    def _end(self, signal_number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal_number)
            if signal_number != signal.SIGKILL:
                process.send_signal(signal.SIGCONT)  # a paused process takes its SIGTERM only then
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def bind_server(folder: Path, zones: Zones, key: TsigKey | None = None, *, notify: str = "") -> Iterator[Server]:
    """BIND as a primary. `notify`: "address port N" of a secondary. Raises `ServerMissing`, `ServerFailed`."""
    program = find_program("named", "bind9")
    yield from _running(
        ServerKind.BIND, folder, zones, key, lambda server: [program, "-f", "-c", _bind_conf(server, notify)]
    )


@contextmanager
def knot_server(folder: Path, zones: Zones, key: TsigKey | None = None) -> Iterator[Server]:
    """Knot DNS as a primary. Raises `ServerMissing`, `ServerFailed`."""
    program = find_program("knotd", "knot")
    # A Unix socket's path has at most 107 octets, and test folders are long.
    with tempfile.TemporaryDirectory(prefix="knot-") as run_folder:
        yield from _running(
            ServerKind.KNOT, folder, zones, key, lambda server: [program, "-c", _knot_conf(server, run_folder)]
        )


@contextmanager
def embedded_server(
    folder: Path, zones: Iterable[str], key: TsigKey | None = None, *, is_guarded: bool = True
) -> Iterator[Server]:
    """evenkeel's own nameserver, in a process of its own. `is_guarded`: it refuses to empty a fenced endpoint.

    Raises `ServerFailed`.
    """
    command = [sys.executable, "-m", "evenkeel.testing.serve_embedded"]
    yield from _running(
        ServerKind.EMBEDDED, folder, zones, key, lambda server: [*command, _embedded_conf(server, is_guarded)]
    )


def _running(
    kind: ServerKind, folder: Path, zones: Zones, key: TsigKey | None, configure: Callable[[Server], list[str]]
) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    named = zones if isinstance(zones, Mapping) else dict.fromkeys(zones, "")
    server = Server(kind, folder, named, key or make_key(), configure)
    server.start()
    try:
        yield server
    finally:
        server.kill()


# --- configurations -------------------------------------------------------------------------------------


def zone_text(zone: str, lines: str = "") -> str:
    """A zone file: SOA, NS, and `lines`."""
    soa = f"{zone} 60 IN SOA ns1.{zone} hostmaster.{zone} 1 3600 600 86400 5\n"
    return f"{soa}{zone} 60 IN NS ns1.{zone}\nns1.{zone} 60 IN A 127.0.0.1\n{lines}"


def _write_zones(server: Server) -> None:
    for zone, lines in server.zones.items():
        path = server.folder / f"{zone}zone"
        if not path.exists():
            path.write_text(zone_text(zone, lines))


def _bind_conf(server: Server, notify: str) -> str:
    _write_zones(server)
    key = server.key.name.removesuffix(".")
    also = f"also-notify {{ {notify}; }}; notify explicit;" if notify else "notify no;"
    zones = "".join(
        f'zone "{zone}" {{ type primary; file "{zone}zone"; check-names ignore; {also}'
        f' allow-update {{ key "{key}"; }}; allow-transfer {{ key "{key}"; }}; }};\n'
        for zone in server.zones
    )
    text = f"""
key "{key}" {{ algorithm hmac-sha256; secret "{server.secret}"; }};
controls {{ }};
options {{
    directory "{server.folder}"; pid-file none; session-keyfile "session.key";
    listen-on port {server.port} {{ {server.host}; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; empty-zones-enable no; notify-delay 0; notify-rate 1000;
    tcp-clients 1000; transfers-out 100; minimal-responses yes;
}};
logging {{ channel log {{ stderr; severity warning; print-time yes; }}; category default {{ log; }};
    category update-security {{ null; }}; category security {{ null; }}; category client {{ null; }}; }};
{zones}"""
    return _write(server.folder / "named.conf", text)


def _knot_conf(server: Server, run_folder: str) -> str:
    _write_zones(server)
    (server.folder / "db").mkdir(exist_ok=True)
    key = server.key.name.removesuffix(".")
    zones = "".join(f"  - domain: {zone}\n    file: {zone}zone\n" for zone in server.zones)
    # The journal holds every change since the zone file, which is written rarely: a commit costs one journal write.
    text = f"""
server:
    listen: {server.host}@{server.port}
    rundir: {run_folder}
    tcp-max-clients: 1000
    tcp-io-timeout: 20000
log:
  - target: stderr
    any: warning
database:
    storage: {server.folder}/db
    journal-db-max-size: 1G
key:
  - id: {key}
    algorithm: hmac-sha256
    secret: {server.secret}
acl:
  - id: evenkeel
    key: {key}
    action: [update, transfer]
template:
  - id: default
    storage: {server.folder}
    acl: evenkeel
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: changes
    journal-max-usage: 500M
    serial-policy: increment
zone:
{zones}"""
    return _write(server.folder / "knot.conf", text)


def _embedded_conf(server: Server, is_guarded: bool) -> str:
    conf = {
        "host": server.host,
        "port": server.port,
        "key": server.key.name,
        "secret": server.secret,
        "zones": list(server.zones),
        "state_dir": str(server.folder / "state"),
        "is_guarded": is_guarded,
    }
    return _write(server.folder / "embedded.json", json.dumps(conf))


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)  # it holds the key's secret
    return str(path)


# --- processes and ports --------------------------------------------------------------------------------


def find_program(name: str, package: str) -> str:
    """Where the program `name` is. Raises `ServerMissing` naming the Debian package."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + _SYSTEM_FOLDERS)
    if found is None:
        raise ServerMissing(f"{name} is not installed; mend (Debian): apt-get install {package}")
    return found


def free_address() -> tuple[str, int]:
    """127.0.0.1, and a port free there for both UDP and TCP.

    Drawn at random below the range that the kernel gives to outgoing connections, so that none of those takes the
    port while a server is being restarted.
    """
    host = "127.0.0.1"  # BIND listens at addresses that an interface has, which of 127.0.0.0/8 is this one
    while True:
        port = random.randint(*_PORTS)
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((host, port))
                udp.bind((host, port))
            except OSError:
                continue
            return host, port


def serves(address: HostPort, zone: str, deadline_s: float = 1.0) -> bool:
    """Whether the server answers for `zone` with authority."""
    query = struct.pack("!6H", 4711, 0, 1, 0, 0, 0) + encode_name(zone) + struct.pack("!HH", 6, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(deadline_s)
        try:
            udp.connect((address.host, address.port))
            udp.send(query)
            reply = udp.recv(4096)
        except OSError:
            return False
    return reply[:2] == query[:2] and reply[3] & 0xF == 0 and bool(reply[2] & 4) and reply[6:8] != b"\0\0"


def _is_stopped(pid: int) -> bool:
    """Whether all threads of a process are stopped (proc(5): state T)."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return bool(states) and all(state == "T" for state in states)


def _dies_with_us() -> list[str]:
    """A prefix by which the kernel ends the server when its starter ends, however that comes about."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
