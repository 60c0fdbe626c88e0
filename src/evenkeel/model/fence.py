"""The fence that stands beside each endpoint: `_fence.<endpoint> TXT "g=146;w=enactor-b;n=<nonce>"`.

Exactly one record, lowercase (PowerDNS compares TXT prerequisites without regard to case, DNS.md). The
generation only ever grows; the nonce makes every value unique, so that a late duplicate of an old write
never meets the value it expects; `p=1` marks an endpoint that an operator holds in place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from evenkeel.model.errors import CorruptFence

_FORM = re.compile(r"g=(\d{1,18});w=([a-z0-9._-]{1,64});n=([0-9a-z]{1,32})(;p=1)?\Z")


class Fence(msgspec.Struct, frozen=True, gc=False):
    """Who published which generation last."""

    generation: int
    writer: str
    nonce: str
    pinned: bool = False

    def text(self) -> str:
        pin = ";p=1" if self.pinned else ""
        return f"g={self.generation};w={self.writer};n={self.nonce}{pin}"

    @classmethod
    def parse(cls, text: str) -> Fence:
        """Raises `CorruptFence` where `text` is not a fence."""
        match = _FORM.match(text)
        if match is None:
            raise CorruptFence(f"{text!r} is not a fence; expected 'g=<generation>;w=<writer>;n=<nonce>'")
        return cls(int(match[1]), match[2], match[3], match[4] is not None)


def only_fence(texts: Sequence[str], endpoint: str) -> Fence | None:
    """The endpoint's fence, or None where there is none yet. Raises `CorruptFence` on two, or on a broken one."""
    if not texts:
        return None
    if len(texts) > 1:
        raise CorruptFence(
            f"_fence.{endpoint} has {len(texts)} records {sorted(texts)}, exactly one is allowed; "
            f"see which answer is right, then `evenkeel repair {endpoint}`"
        )
    return Fence.parse(texts[0])


def greatest_generation(texts: Sequence[str]) -> int:
    """The greatest generation among fences, broken ones passed over; 0 where none can be read."""
    matches = (_FORM.match(text) for text in texts)
    return max((int(match[1]) for match in matches if match), default=0)
