"""What every kind of agent link gives its two ends.

- **Authentic.** A frame reaches `on_frames` under the name of the host whose key sent it, at most once and in order.
  What is forged, replayed, or claims another's name does not arrive, and is counted in `refused`.
- **Bounded.** A frame is at most `UP_OCTETS_MAX` upwards and `DOWN_OCTETS_MAX` downwards; a side that does not take
  what it is sent is cut at `UNSENT_OCTETS_MAX`; a host that sends more than `FRAMES_BURST` and `FRAMES_PER_S` is cut.
- **Lossy across a break.** What was in flight when a link broke may be lost; what is sent over it is made to bear that
  (idempotent, or asked for again).
- One link a host: a new one takes the place of the old one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

UP_OCTETS_MAX = 256 * 1024
DOWN_OCTETS_MAX = 1024 * 1024
UNSENT_OCTETS_MAX = 4 * 1024 * 1024
FRAMES_PER_S = 50.0  # of one host, sustained; an agent at its busiest sends a few
FRAMES_BURST = 200.0

OnFrames = Callable[[str, Sequence[bytes]], None]  # host, frames in order; must not wait
OnLinked = Callable[[str, bool], None]  # host, whether its link is now up
OnJoin = Callable[[bytes], Awaitable[bytes]]  # a newcomer's request -> the reply; raises `Refusal`


class ManagerLinks(Protocol):
    """The manager's end of all its hosts' links."""

    refused: Counter[str]  # what was not let in, by reason

    @property
    def linked(self) -> int:
        """Hosts with a link."""
        ...

    async def start(self) -> None:
        """Take links from now on. Raises `OSError` or `Unreachable` where that cannot be."""
        ...

    async def stop(self) -> None: ...

    def send(self, host: str, frame: bytes) -> bool:
        """Queue a frame; False where the host has no link, or its link has just been cut for not taking frames."""
        ...

    def is_linked(self, host: str) -> bool: ...

    def drop(self, host: str) -> None:
        """End the host's link."""
        ...


class AgentLink(Protocol):
    """An agent's end, while it lasts. One sender and one receiver at a time."""

    async def send(self, frame: bytes) -> None:
        """Raises `LinkClosed`."""
        ...

    async def receive(self, deadline_s: float) -> bytes | None:
        """The next frame; None where none comes by then. Raises `LinkClosed`."""
        ...

    async def close(self) -> None: ...


class Allowance:
    """How many frames one host may still send: a token bucket, refilled as it is looked at."""

    __slots__ = ("_at_s", "_left")

    def __init__(self, now_s: float) -> None:
        self._left = FRAMES_BURST
        self._at_s = now_s

    def takes(self, frames: int, now_s: float) -> bool:
        """Whether so many more are within it."""
        self._left = min(FRAMES_BURST, self._left + (now_s - self._at_s) * FRAMES_PER_S) - frames
        self._at_s = now_s
        return self._left >= 0
