"""What changed from serial to serial: the journal's entries, and the source of IXFR (RFC 1995)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from evenkeel.nameserver.zone_view import Node, Records, ZoneView
from evenkeel.wire.records import type_code, type_name


class Change(msgspec.Struct, array_like=True, gc=False):
    """One RRset, before and after; absent is an empty list."""

    name: bytes
    type: int
    old_ttl_s: int
    old: tuple[bytes, ...]
    new_ttl_s: int
    new: tuple[bytes, ...]


class Delta(msgspec.Struct, array_like=True, gc=False):
    """One commit: the zone went from serial `old` to `new`."""

    old: int
    new: int
    changes: list[Change]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Delta)


def encode_delta(delta: Delta) -> bytes:
    return _encoder.encode(delta)


def decode_delta(octets: bytes) -> Delta:
    """Raises `msgspec.DecodeError`."""
    return _decoder.decode(octets)


def changes_between(view: ZoneView[bytes, bytes], nodes: Mapping[bytes, Node[bytes]]) -> list[Change]:
    """What differs once `nodes` replace what `view` shows, RRset by RRset."""
    changes = []
    nothing: Records[bytes] = Records(0, ())
    for name, node in nodes.items():
        old_node = view.node(name)
        for type_ in old_node.keys() | node.keys():
            old, new = old_node.get(type_, nothing), node.get(type_, nothing)
            if old != new:
                changes.append(Change(name, type_code(type_), old.ttl_s, old.rdatas, new.ttl_s, new.rdatas))
    return changes


def replay(zone: dict[bytes, dict[str, Records[bytes]]], delta: Delta) -> None:
    """Mutates `zone` as the commit did."""
    for change in delta.changes:
        node = zone.setdefault(change.name, {})
        if change.new:
            node[type_name(change.type)] = Records(change.new_ttl_s, change.new)
        else:
            node.pop(type_name(change.type), None)
        if not node:
            del zone[change.name]


class History:
    """The latest commits, encoded, bounded by octets; the oldest go first."""

    def __init__(self, octets_max: int) -> None:
        self._octets_max = octets_max
        self._entries: deque[tuple[int, int, bytes]] = deque()
        self.octets = 0

    def append(self, old: int, new: int, encoded: bytes) -> None:
        if self._entries and self._entries[-1][1] != old:
            self._entries.clear()  # a gap: what stands before it leads nowhere
            self.octets = 0
        self._entries.append((old, new, encoded))
        self.octets += len(encoded)
        while self.octets > self._octets_max:
            self.octets -= len(self._entries.popleft()[2])

    def since(self, serial: int) -> list[bytes] | None:
        """The encoded commits that lead from `serial` to now, oldest first; None where they are not all here."""
        found: list[bytes] = []
        for old, _, encoded in reversed(self._entries):
            found.append(encoded)
            if old == serial:
                return found[::-1]
        return None

    def __len__(self) -> int:
        return len(self._entries)


def decoded(encoded: Iterable[bytes]) -> Iterator[Delta]:
    return map(decode_delta, encoded)
