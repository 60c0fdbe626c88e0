"""A demo backend: a small HTTP/1.1 server that plays one load balancer, and can play it badly when told to.

| request | what it does |
| --- | --- |
| `GET /health`, or the probe's own path | 200 with `Evenkeel-Capacity` and `Evenkeel-Load` |
| `GET /` | says who it is |
| any `GET` | 503 while failing; no reply while hanging |
| `POST /-/drain`, `/-/undrain`, `/-/fail`, `/-/hang`, `/-/recover`, `/-/capacity/N` | from this machine only |

For demos and rehearsal of faults; it serves nothing of value.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from evenkeel.adapters.probes.reported import LoadReport
from evenkeel.model.region import LoadBalancer

HEAD_OCTETS_MAX = 8192
HEAD_DEADLINE_S = 5.0
HANG_MAX_S = 60.0
LOAD_WINDOW_S = 5.0
CONNECTIONS_MAX = 512
BACKLOG = 256


class Mood(Enum):
    """How it behaves."""

    READY = auto()
    FAILING = auto()
    HANGING = auto()


@dataclass(slots=True)
class DemoBackend:
    """One load balancer's stand-in. Load is what it was asked for other than probes, requests/s of late."""

    balancer: LoadBalancer
    mood: Mood = Mood.READY
    draining: bool = False
    capacity: float = -1.0  # as told; negative: as configured
    on_mood: Callable[[str], None] = lambda what: None
    _asked_at_s: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))
    _connections: int = 0

    def report(self) -> LoadReport:
        """What it would report of itself."""
        return LoadReport(
            self.balancer.name, self.mood is Mood.READY, self.draining, self.reported_capacity(), self.load()
        )

    def reported_capacity(self) -> float:
        return self.capacity if self.capacity >= 0 else self.balancer.capacity

    def load(self) -> float:
        """Requests a second over the last `LOAD_WINDOW_S`."""
        oldest_s = asyncio.get_running_loop().time() - LOAD_WINDOW_S
        while self._asked_at_s and self._asked_at_s[0] < oldest_s:
            self._asked_at_s.popleft()
        return round(len(self._asked_at_s) / LOAD_WINDOW_S, 2)

    async def listen(self, address: str) -> asyncio.Server:
        """Serve on `address` at the probe's port. Raises `OSError`."""
        return await asyncio.start_server(
            self._serve, address, self.balancer.probe.port, limit=HEAD_OCTETS_MAX, backlog=BACKLOG
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS_MAX:
                async with asyncio.timeout(HEAD_DEADLINE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                await self._reply(head, reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone, slow or hostile; a demo owes them nothing
        except asyncio.CancelledError:
            pass  # the process ends; asyncio's streams would print this one
        finally:
            self._connections -= 1
            writer.close()

    async def _reply(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, _, rest = head.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0].decode("ascii", "replace")
        is_probe = path == "/health" or (path == self.balancer.probe.path and path != "/")
        if method == b"POST" and path.startswith("/-/"):
            status, text = self._obey(path[3:], writer.get_extra_info("peername")[0])
        elif self.mood is Mood.HANGING:
            async with asyncio.timeout(HANG_MAX_S):
                await reader.read(1)  # until the caller gives up, so that hanging does not pile up connections
            return
        elif self.mood is Mood.FAILING:
            status, text = "503 Service Unavailable", "failing, as told"
        elif is_probe:
            status, text = "200 OK", "ready"
        elif path == "/":
            self._asked_at_s.append(asyncio.get_running_loop().time())
            status, text = "200 OK", self._who()
        else:
            status, text = "404 Not Found", "see / and /health"
        writer.write(self._encoded(status, text))
        await writer.drain()

    def _who(self) -> str:
        addresses = " ".join((*self.balancer.ipv4, *self.balancer.ipv6))
        return f"{self.balancer.name} in {self.balancer.az}, pid {os.getpid()}, at {addresses}"

    def _obey(self, order: str, peer: str) -> tuple[str, str]:
        if not ipaddress.ip_address(peer).is_loopback:
            return "403 Forbidden", "orders are taken from this machine only"
        if order in ("drain", "undrain"):
            self.draining = order == "drain"
        elif order in _MOODS:
            self.mood = _MOODS[order]
        elif order.startswith("capacity/") and order[9:].isdigit():
            self.capacity = float(order[9:])
        else:
            return "404 Not Found", "drain, undrain, fail, hang, recover or capacity/N"
        self.on_mood(f"{self.balancer.name}: {order}")
        return "200 OK", order

    def _encoded(self, status: str, text: str) -> bytes:
        body = text + "\n"
        drain = "Evenkeel-Drain: 1\r\n" if self.draining else ""
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            f"Evenkeel-Capacity: {self.reported_capacity():g}\r\nEvenkeel-Load: {self.load():g}\r\n{drain}"
            "Connection: close\r\n\r\n"
        )
        return (head + body).encode("ascii", "replace")


_MOODS = {"fail": Mood.FAILING, "hang": Mood.HANGING, "recover": Mood.READY}
