"""Checksummed frames in a file: magic, length, CRC-32, payload.

A writer appends a frame and syncs it before it writes the next, so after a crash only the last frame can be torn. A
bad frame with a good one somewhere behind it is therefore damage, never a torn tail.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

MAGIC = b"\xe5EKF"  # its first octet begins no UTF-8 text and no msgpack document that evenkeel writes
HEAD = struct.Struct("!4sII")
PAYLOAD_OCTETS_MAX = 1 << 28


def frame(payload: bytes) -> bytes:
    return HEAD.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def read_frame(data: bytes, at: int) -> bytes | None:
    """The payload of the frame at offset `at`; None where no whole and good frame stands there."""
    if len(data) - at < HEAD.size:
        return None
    magic, length, checksum = HEAD.unpack_from(data, at)
    end = at + HEAD.size + length
    if magic != MAGIC or length > PAYLOAD_OCTETS_MAX or end > len(data):
        return None
    payload = data[at + HEAD.size : end]
    return payload if zlib.crc32(payload) == checksum else None


def read_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Good frames from the start on, each with the offset after it; ends at the first that is not."""
    at = 0
    while (payload := read_frame(data, at)) is not None:
        at += HEAD.size + len(payload)
        yield at, payload


def good_frame_after(data: bytes, at: int) -> int:
    """The offset of a good frame behind offset `at`; -1 where there is none."""
    at = data.find(MAGIC, at + 1)
    while at >= 0:
        if read_frame(data, at) is not None:
            return at
        at = data.find(MAGIC, at + 1)
    return -1
