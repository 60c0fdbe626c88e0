"""The time by which a server judges signatures, for a machine whose own clock may be wrong.

TSIG signatures carry a time, and a server refuses what is more than 300 s off (BADTIME, RFC 8945 section 5.2.3). Its
refusal is signed and says its own time. An Enactor takes that as the time to sign with from then on: it has to bring a
region back even where time synchronisation is among what has failed. Nothing else goes by this clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class ServerClock:
    """Unix time in seconds, as one server has it."""

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self.offset_s = 0.0

    def now_s(self) -> float:
        return self._wall_s() + self.offset_s

    def set_by(self, server_time_s: int) -> None:
        """The server has said its time, under a signature that held."""
        self.offset_s = server_time_s - self._wall_s()
