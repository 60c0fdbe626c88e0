"""What one account may ask for in a time: token buckets, one an account and kind of call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Fills at `per_s` up to `burst`. `take` either takes all that is asked or nothing."""

    per_s: float
    burst: float
    _left: float = -1.0  # negative: full, at the first look
    _at_s: float = 0.0

    def take(self, amount: float, now_s: float) -> float:
        """0 where it was taken; else the seconds after which it can be, were nobody else to ask.

        An amount above the burst is let through when the bucket is full, and leaves a debt: large launches are rare
        rather than impossible.
        """
        if self._left == -1.0:
            self._left = self.burst
        else:
            self._left = min(self.burst, self._left + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        needed = min(amount, self.burst)
        if self._left < needed:
            return max((needed - self._left) / self.per_s, 0.001)
        self._left -= amount
        return 0.0


class Quotas:
    """Buckets by account, made as accounts come; accounts are known ones, so there is a bound."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._buckets: dict[str, Bucket] = {}

    def take(self, account: str, amount: float, now_s: float) -> float:
        """See `Bucket.take`."""
        bucket = self._buckets.setdefault(account, Bucket(self._per_s, self._burst))
        return bucket.take(amount, now_s)
