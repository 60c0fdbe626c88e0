"""How a recovery goes: when it will be over, and how far above the physical limit it runs.

The limit is work over capacity. What was done so far had taken at least `bound_s` at the capacity measured while it was
done; what is still to do takes `eta_s` at the capacity of now.
"""

from __future__ import annotations

from dataclasses import dataclass

BEGINS_SHARE = 0.001  # of the fleet without a lease: a host that joins or reboots is no recovery


@dataclass(slots=True)
class Progress:
    """One recovery after another; the last one's figures stand until the next begins."""

    began_s: float | None = None  # of the one that runs
    took_s: float = 0.0  # of the last one that ended
    bound_s: float = 0.0
    recoveries: int = 0

    def look(self, missing: int, hosts: int, now_s: float) -> None:
        """`missing` hosts that answer, or may answer, are without a lease."""
        if self.began_s is None and missing > max(1.0, BEGINS_SHARE * hosts):
            self.began_s, self.bound_s, self.recoveries = now_s, 0.0, self.recoveries + 1
        elif self.began_s is not None and missing == 0:
            self.took_s, self.began_s = now_s - self.began_s, None

    def done(self, units: float, capacity_per_s: float) -> None:
        """Establishments were finished."""
        if self.began_s is not None:
            self.bound_s += units / capacity_per_s

    def elapsed_s(self, now_s: float) -> float:
        return now_s - self.began_s if self.began_s is not None else 0.0

    def x_bound(self, eta_s: float, now_s: float) -> float:
        """Of the recovery that runs, or of the last one; 0 where there was none, or before anything is done."""
        if self.began_s is None:
            return self.took_s / self.bound_s if self.bound_s else 0.0
        bound_s = self.bound_s + eta_s
        return (self.elapsed_s(now_s) + eta_s) / bound_s if self.bound_s else 0.0
