"""The head of an HTTP/1.x reply (RFC 9112), read from octets that nobody vouches for.

Only the status and evenkeel's own three headers are of interest; the body is never read. Whatever a peer sends,
the answer is a reply, "not whole yet", or `MalformedReply`.

| header | meaning |
| --- | --- |
| `Evenkeel-Capacity` | what the load balancer can carry, in the operator's unit |
| `Evenkeel-Load` | what it carries now, same unit |
| `Evenkeel-Drain: 1` | it wants no new clients |
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

HEAD_OCTETS_MAX = 16 * 1024
QUANTITY_MAX = 1e15
_BEGINNING = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_OURS = re.compile(rb"\nevenkeel-(capacity|load|drain)[ \t]*:[ \t]*([^\r\n]{0,64})", re.IGNORECASE)


class MalformedReply(ValueError):
    """Not the head of an HTTP/1.x reply, or a longer one than is read."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What was learnt. Negative: not reported."""

    status: int
    capacity: float = -1.0
    load: float = -1.0
    draining: bool = False


def read_head(octets: bytes | bytearray) -> HttpReply | None:
    """The reply at the start of `octets`, or None while its head is not whole. Raises `MalformedReply`."""
    start = 0
    while True:
        if octets[start : start + len(_BEGINNING)] != _BEGINNING[: len(octets) - start]:
            raise MalformedReply(f"not HTTP/1.x: {bytes(octets[start : start + 24])!r}")
        end = _head_end(octets, start)
        if end < 0:
            if len(octets) >= HEAD_OCTETS_MAX:
                raise MalformedReply(f"head of more than {HEAD_OCTETS_MAX} octets")
            return None
        line = _STATUS_LINE.match(octets, start, end)
        if line is None:
            raise MalformedReply(f"no status line: {bytes(octets[start : start + 24])!r}")
        status = int(line[1])
        # An interim reply announces the final one (RFC 9110 section 15.2); 101 was not asked for.
        if not 100 <= status < 200:
            return _with_headers(status, bytes(octets[line.end() - 1 : end]))
        start = end


def _head_end(octets: bytes | bytearray, start: int) -> int:
    """Where the octets after the empty line begin; -1 where there is none yet. A bare LF ends a line, too."""
    ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := octets.find(mark, start)) >= 0]
    return min(ends, default=-1)


def _with_headers(status: int, head: bytes) -> HttpReply:
    found = {name.lower(): value for name, value in _OURS.findall(head)}
    if not found:
        return HttpReply(status)
    return HttpReply(
        status,
        quantity(found.get(b"capacity", b"")),
        quantity(found.get(b"load", b"")),
        found.get(b"drain", b"").strip() == b"1",
    )


def quantity(text: bytes) -> float:
    """A finite number of 0 to `QUANTITY_MAX`; -1 for anything else."""
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if math.isfinite(value) and 0 <= value <= QUANTITY_MAX else -1.0
