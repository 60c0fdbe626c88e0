"""Domain names on the wire (RFC 1035 sections 3.1 and 4.1.4): labels, and pointers to earlier ones.

Reading folds to lowercase, as evenkeel writes names. A pointer may only lead backwards, so hostile messages
cannot make a reader loop.
"""

from __future__ import annotations

import re

from evenkeel.model.errors import EvenkeelError

POINTER = 0xC0
POINTABLE_OCTETS = 0x4000  # a pointer has 14 bits: names that begin later cannot be pointed at
_POINTERS_MAX = 64  # in one name; honest encoders use one
_TEXT_OCTETS_MAX = 1024  # 255 octets, each escaped as \DDD
_PLAIN = re.compile(rb"[a-zA-Z0-9_-]+\Z")


class Malformed(EvenkeelError):
    """A message from the network that does not follow its format; the sender's fault."""


def encode_name(name: str) -> bytes:
    """`name` (absolute, plain labels) without compression. Raises `ValueError` naming the bad label."""
    if name == ".":
        return b"\0"
    out = bytearray()
    for label in name.removesuffix(".").split("."):
        octets = label.encode("ascii")
        if not 0 < len(octets) < 64:
            raise ValueError(f"label {label!r} of {name!r} has {len(octets)} octets, 1 to 63 are allowed")
        out.append(len(octets))
        out += octets
    out.append(0)
    if len(out) > 255:
        raise ValueError(f"{name!r} takes {len(out)} octets, 255 are allowed")
    return bytes(out)


def read_name(wire: bytes, at: int, seen: dict[int, str]) -> tuple[str, int]:
    """The name at offset `at`, and the offset after it. `seen` remembers names by offset within one message.

    Raises `Malformed`; past the end of the message `IndexError`, which readers turn into `Malformed` once.
    """
    start = limit = at
    end = target = -1
    labels: list[str] = []
    pointers = 0
    octets = 1
    suffix = ""
    while length := wire[at]:
        if length >= POINTER:
            target = (length & 0x3F) << 8 | wire[at + 1]
            if end < 0:
                end = at + 2
            pointers += 1
            if target >= limit or pointers > _POINTERS_MAX:
                raise Malformed(f"name at offset {start}: pointer to {target} does not lead backwards")
            known = seen.get(target)
            if known is not None:
                suffix = known
                break
            at = limit = target
            continue
        if length > 63:
            raise Malformed(f"name at offset {start}: label type {length >> 6} is not defined")
        octets += length + 1
        if octets > 255:
            raise Malformed(f"name at offset {start} is longer than 255 octets")
        labels.append(_label_text(wire[at + 1 : at + 1 + length], length, start))
        at += length + 1
    else:
        if end < 0:
            end = at + 1
    name = ".".join(labels) + "." + suffix if labels else suffix or "."
    if suffix == ".":
        name = name[:-1] if labels else suffix
    if len(name) > _TEXT_OCTETS_MAX:
        raise Malformed(f"name at offset {start} is longer than 255 octets")
    seen[start] = name
    if target >= 0 and not labels:
        seen[target] = name
    return name, end


def _label_text(label: bytes, length: int, start: int) -> str:
    if _PLAIN.match(label):
        return label.decode("ascii").lower()
    if len(label) != length:
        raise Malformed(f"name at offset {start} runs past the end of the message")
    return "".join(_escaped(octet) for octet in label)


def _escaped(octet: int) -> str:
    """Presentation form of one octet of a label (RFC 1035 section 5.1), lowercase."""
    if octet in b'.\\"();@$':
        return "\\" + chr(octet)
    if 0x21 <= octet <= 0x7E:
        return chr(octet).lower()
    return f"\\{octet:03d}"


def skip_name(wire: bytes, at: int) -> int:
    """The offset after the name at `at`, without reading what its pointer leads to."""
    while length := wire[at]:
        if length >= POINTER:
            return at + 2
        if length > 63:
            raise Malformed(f"label type {length >> 6} at offset {at} is not defined")
        at += length + 1
    return at + 1
