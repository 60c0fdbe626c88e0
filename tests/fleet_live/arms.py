"""The kinds of agent link, each with its two ends, for the one conformance body."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evenkeel.adapters import pki as certificates
from evenkeel.adapters.links import nats as nats_links
from evenkeel.adapters.links import tcp
from evenkeel.adapters.links.base import AgentLink, ManagerLinks
from evenkeel.model.region import HostPort
from tests.fleet_live.authorities import REGION, Pki

AZ = "a"
START_DEADLINE_S = 10.0


@dataclass
class Heard:
    """What reached a manager."""

    frames: list[tuple[str, bytes]] = field(default_factory=list)
    linked: list[tuple[str, bool]] = field(default_factory=list)

    def on_frames(self, host: str, frames: Sequence[bytes]) -> None:
        self.frames += [(host, frame) for frame in frames]

    def on_linked(self, host: str, is_up: bool) -> None:
        self.linked.append((host, is_up))

    def of(self, host: str) -> list[bytes]:
        return [frame for name, frame in self.frames if name == host]


@dataclass
class Arm:
    """One kind of link: makes managers' ends and agents' ends."""

    pki: Pki
    url: str = ""  # of a NATS server; "": TCP
    address: HostPort = field(default_factory=lambda: HostPort("127.0.0.1", 0))

    @contextlib.asynccontextmanager
    async def manager(self, heard: Heard) -> AsyncIterator[ManagerLinks]:
        credentials = self.pki.manager(AZ)
        links: nats_links.NatsManagerLinks | tcp.TcpManagerLinks
        if self.url:
            links = nats_links.NatsManagerLinks(
                self.url, credentials, REGION, AZ, on_frames=heard.on_frames, on_linked=heard.on_linked
            )
        else:
            links = tcp.TcpManagerLinks(
                self.address, credentials, REGION, on_frames=heard.on_frames, on_linked=heard.on_linked
            )
        await links.start()
        if isinstance(links, tcp.TcpManagerLinks):
            self.address = links.address
        try:
            yield links
        finally:
            await links.stop()

    async def agent(self, host: str, credentials: certificates.Credentials | None = None) -> AgentLink:
        """A link of `host`, with other credentials than its own where they are given."""
        credentials = credentials or self.pki.host(host)
        manager = certificates.Identity(REGION, certificates.Role.MANAGER, AZ)
        if self.url:
            return await nats_links.connect(
                self.url, credentials, certificates.Identity(REGION, certificates.Role.HOST, host), manager
            )
        return await tcp.connect(self.address, certificates.host_context(credentials), manager)


def nats_server_program() -> str:
    program = shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        if os.environ.get("EVENKEEL_REQUIRE_SERVERS") == "1":
            pytest.fail("nats-server is not installed (Debian: nats-server)")
        pytest.skip("nats-server is not installed (Debian: nats-server)")
    return program


@contextlib.contextmanager
def nats_server(folder: Path) -> Iterator[str]:
    """A real NATS server on loopback; its URL."""
    program = nats_server_program()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "nats.log"
    process = subprocess.Popen([program, "-a", "127.0.0.1", "-p", str(port), "-l", str(log)], stdin=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + START_DEADLINE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            assert time.monotonic() < deadline_s, log.read_text() if log.exists() else "no log"
            time.sleep(0.05)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(START_DEADLINE_S)
