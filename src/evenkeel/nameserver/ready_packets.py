"""Whole replies by whole questions: the shortest way there is.

A resolver asks the same question in the same octets but for the id. The octets after the id lead to an endless round
of the octets that follow the id in the reply, so that answering is one look-up and one concatenation. A ring's
packets go with the ring; those that end in the zone's SOA go with every update.

Only plain questions are kept: a lowercase name, no EDNS options, no signature; few forms of each, few in all. So a
stranger who varies what may be varied gains nothing but the longer way for himself.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

from evenkeel.nameserver.answers import OPT_RECORD, Ring

FORMS_MAX = 16  # of one question: flags, EDNS sizes
PACKETS_MAX = 100_000
EMPTYING_PAUSE_S = 5.0  # a full table is emptied this often at most; until then nothing more is kept


class ReadyPackets:
    """`ready` by the octets after the id; read it, but write through the methods only."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self.ready: dict[bytes, Callable[[], bytes]] = {}
        self._negatives: list[bytes] = []
        self._monotonic_s = monotonic_s
        self._may_empty_at_s = 0.0

    def keep(self, message: bytes, question_octets: bytes, ring: Ring, has_edns: bool, limit: int) -> None:
        """Have `message`, and those like it, answered from `ring` without delay, if all its replies fit `limit`."""
        if len(ring.packets) >= FORMS_MAX or not self._has_room():
            return
        head = ring.heads[(message[2] & 1) | (2 if has_edns else 0)] + question_octets
        end = ring.soa_tail() + (OPT_RECORD if has_edns else b"")
        if 2 + len(head) + max(map(len, ring.tails)) + len(end) > limit:
            return
        bodies = {tail: head + tail + end for tail in ring.tails}
        key = message[2:]
        self.ready[key] = cycle([bodies[tail] for tail in ring.tails]).__next__
        ring.packets.append(key)
        if ring.soa_at:
            self._negatives.append(key)

    def _has_room(self) -> bool:
        if len(self.ready) < PACKETS_MAX:
            return True
        if self._monotonic_s() < self._may_empty_at_s:
            return False
        self._may_empty_at_s = self._monotonic_s() + EMPTYING_PAUSE_S
        self.ready.clear()
        self._negatives.clear()
        return True

    def forget(self, ring: Ring) -> None:
        for key in ring.packets:
            self.ready.pop(key, None)
        ring.packets.clear()

    def forget_negatives(self) -> None:
        """The SOA has changed."""
        for key in self._negatives:
            self.ready.pop(key, None)
        self._negatives.clear()
