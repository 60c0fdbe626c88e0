"""Names kept as wire octets: lowercase, uncompressed, as a server keys them (RFC 1035 section 3.1, RFC 4343).

Lowering a whole name at once is safe: a length octet is at most 63 and `A` is 65.
"""

from __future__ import annotations

from collections.abc import Iterator

from evenkeel.wire.names import POINTABLE_OCTETS, POINTER, Malformed

NAME_OCTETS_MAX = 255
LABEL_OCTETS_MAX = 63
ROOT = b"\0"


def read_octets(wire: bytes, at: int, seen: dict[int, bytes]) -> tuple[bytes, int]:
    """The name at `at`, lowercase and uncompressed, and the offset after it. `seen` is this message's own.

    Raises `Malformed`; past the end of the message `IndexError`, which readers turn into `Malformed` once.
    """
    if wire[at] >= POINTER:  # by far the most frequent form in a batch of updates
        known = seen.get((wire[at] & 0x3F) << 8 | wire[at + 1])
        if known is not None:
            return known, at + 2
    return _walk(wire, at, seen)


def _walk(wire: bytes, start: int, seen: dict[int, bytes]) -> tuple[bytes, int]:
    parts: list[bytes] = []
    at = limit = start
    end = octets = 0
    while True:
        length = wire[at]
        if length >= POINTER:
            target = (length & 0x3F) << 8 | wire[at + 1]
            end = end or at + 2
            if target >= limit:
                raise Malformed(f"name at offset {start}: pointer to {target} does not lead backwards")
            known = seen.get(target)
            if known is not None:
                parts.append(known)
                break
            at = limit = target
            continue
        if length > LABEL_OCTETS_MAX:
            raise Malformed(f"name at offset {start}: label type {length >> 6} is not defined")
        octets += length + 1
        if octets > NAME_OCTETS_MAX:
            raise Malformed(f"name at offset {start} is longer than {NAME_OCTETS_MAX} octets")
        if at + 1 + length > len(wire):
            raise Malformed(f"name at offset {start} runs past the end of the message")
        parts.append(wire[at : at + 1 + length])
        at += 1 + length
        if not length:
            end = end or at
            break
    name = b"".join(parts).lower()
    if len(name) > NAME_OCTETS_MAX:
        raise Malformed(f"name at offset {start} is longer than {NAME_OCTETS_MAX} octets")
    seen[start] = name
    if wire[start] >= POINTER:
        seen[(wire[start] & 0x3F) << 8 | wire[start + 1]] = name
    return name, end


def is_at_or_under(name: bytes, parent: bytes) -> bool:
    """Whether `name` is `parent` or stands below it: the tails are equal, and the cut falls between labels."""
    if not name.endswith(parent):
        return False
    at, cut = 0, len(name) - len(parent)
    while at < cut:
        at += name[at] + 1
    return at == cut


def suffixes(name: bytes) -> Iterator[bytes]:
    """`name`, its parent, and so on up to the root."""
    at = 0
    while length := name[at]:
        yield name[at:]
        at += length + 1
    yield ROOT


def parent(name: bytes) -> bytes:
    """The name one label up; the root is its own parent."""
    return name[name[0] + 1 :] if name[0] else name


def name_text(name: bytes) -> str:
    """Presentation form (RFC 1035 section 5.1), for people."""
    labels = []
    at = 0
    while length := name[at]:
        labels.append("".join(map(_octet_text, name[at + 1 : at + 1 + length])))
        at += length + 1
    return ".".join(labels) + "."


def _octet_text(octet: int) -> str:
    if octet in b'.\\"();@$':
        return "\\" + chr(octet)
    return chr(octet) if 0x21 <= octet <= 0x7E else f"\\{octet:03d}"


class NameWriter:
    """Appends names to a message, pointing at what stands in it already (RFC 1035 section 4.1.4)."""

    __slots__ = ("_offsets", "out")

    def __init__(self, out: bytearray) -> None:
        self.out = out
        self._offsets: dict[bytes, int] = {}

    def note(self, name: bytes, at: int) -> None:
        """`name` stands uncompressed at offset `at`."""
        for suffix in suffixes(name):
            if suffix != ROOT and at < POINTABLE_OCTETS:
                self._offsets.setdefault(suffix, at)
            at += suffix[0] + 1

    def write(self, name: bytes) -> None:
        out, offsets = self.out, self._offsets
        for suffix in suffixes(name):
            at = offsets.get(suffix)
            if at is not None:
                out += (POINTER << 8 | at).to_bytes(2, "big")
                return
            if suffix != ROOT and len(out) < POINTABLE_OCTETS:
                offsets[suffix] = len(out)
            out += suffix[: suffix[0] + 1]
