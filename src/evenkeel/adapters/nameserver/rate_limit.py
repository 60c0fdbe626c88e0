"""Response rate limiting over UDP: a bounded count of replies a second and client network (/24, or /56 of IPv6).

A server that answers forged questions is a weapon against whoever was forged. Loopback is never limited.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

NETWORKS_MAX = 65_536  # counted at once; when there are more, the count begins anew
SLIP_EVERY = 2  # of the replies over the rate, one in this many goes out truncated


class RateLimit:
    """Fixed windows of one second. `clock` is monotonic seconds."""

    def __init__(self, replies_a_second: int, clock: Callable[[], float]) -> None:
        self._limit = replies_a_second
        self._clock = clock
        self._window = 0
        self._counts: dict[str, int] = {}
        self._over = 0
        self.limited = 0  # replies held back, since the start

    def allows(self, host: str) -> bool:
        """Count one reply to `host`; whether it may go out whole."""
        network = host.rpartition(".")[0] or _network_v6(host)
        if network.startswith("127.") or host == "::1":
            return True
        window = int(self._clock())
        if window != self._window or len(self._counts) >= NETWORKS_MAX:
            self._window = window
            self._counts.clear()
        count = self._counts[network] = self._counts.get(network, 0) + 1
        if count <= self._limit:
            return True
        self.limited += 1
        return False

    def slips(self) -> bool:
        """Whether this reply over the rate goes out truncated rather than not at all."""
        self._over += 1
        return self._over % SLIP_EVERY == 0


def _network_v6(host: str) -> str:
    try:
        address = int(ipaddress.IPv6Address(host.partition("%")[0]))
    except ValueError:
        return host
    return f"{address >> 72:x}"
