"""Response rate limiting over UDP: a bounded count of replies a second and client network (/24, or /56 of IPv6).

A server that answers forged questions is a weapon against whoever was forged. Loopback is never limited.
"""

from __future__ import annotations

from collections.abc import Callable

NETWORKS_MAX = 65_536  # counted at once; when there are more, the count begins anew
_LOOPBACK_V6 = bytes(15) + b"\1"
SLIP_EVERY = 2  # of the replies over the rate, one in this many goes out truncated


class RateLimit:
    """Fixed windows of one second. `clock` is monotonic seconds."""

    def __init__(self, replies_a_second: int, clock: Callable[[], float]) -> None:
        self._limit = replies_a_second
        self._clock = clock
        self._window = 0
        self._counts: dict[bytes, int] = {}
        self._over = 0
        self.limited = 0  # replies held back, since the start

    def allows(self, address: bytes) -> bool:
        """Count one reply to `address`, of 4 octets or 16; whether it may go out whole."""
        if address[0] == 127 if len(address) == 4 else address == _LOOPBACK_V6:
            return True
        network = address[:3] if len(address) == 4 else address[:7]
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
