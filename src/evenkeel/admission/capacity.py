"""What a worker can do a second, learnt from how its time goes (RECOVERY.md, the sweep, 5).

A worker that is never idle shows its capacity: what it did. One that is idle although work was held back shows only
that it can do more, so the estimate grows until it bites. One that is idle because there was nothing to do shows
nothing, and nothing is concluded. So the estimate starts low, finds its level within seconds, and follows a
capacity that changes, up or down.
"""

from __future__ import annotations

EVERY_S = 0.5
UNITS_MIN = 10.0  # fewer make a poor sample: a slow worker is watched for longer
EVERY_MAX_S = 5.0
BUSY_IDLE_SHARE = 0.02
NEARLY_IDLE_SHARE = 0.2
JUMP_DOWN, JUMP_UP = 0.7, 1.4  # a sample off by more replaces the estimate
SMOOTHING = 0.3
MOSTLY_IDLE_SHARE = 0.5
GROWTH_SLOW, GROWTH_FAST, GROWTH_LEAP = 1.03, 1.25, 2.0
PER_S_MIN, PER_S_MAX = 0.1, 1e7


class CapacityEstimate:
    """Units of work a second, were all of the worker's time spent on work."""

    def __init__(self, start_per_s: float) -> None:
        self.per_s = min(max(start_per_s, PER_S_MIN), PER_S_MAX)
        self._clear()

    def _clear(self) -> None:
        self._done = self._over_s = self._idle_s = self._admission_s = 0.0
        self._was_held_back = False

    def done(self, units: float) -> None:
        """Work was finished."""
        self._done += units

    def spent(self, idle_s: float, admission_s: float, over_s: float, held_back: bool) -> bool:
        """Of the last `over_s`, the worker was idle for `idle_s`, and messages took `admission_s`; `held_back`: there
        was work that the estimate kept from it. Whether the estimate was looked at anew."""
        self._idle_s += max(idle_s, 0.0)
        self._admission_s += max(admission_s, 0.0)
        self._over_s += max(over_s, 0.0)
        self._was_held_back |= held_back
        is_due = self._over_s >= EVERY_S and (self._done >= UNITS_MIN or self._over_s >= EVERY_MAX_S)
        if not is_due and not (self._over_s >= EVERY_S and self._idle_s >= NEARLY_IDLE_SHARE * self._over_s):
            return False
        self._look()
        self._clear()
        return True

    def _look(self) -> None:
        idle = self._idle_s / self._over_s
        if idle < BUSY_IDLE_SHARE:
            self._sample(self._done / max(self._over_s - self._admission_s, 0.05 * self._over_s))
        elif self._was_held_back:
            is_near, is_far = idle < NEARLY_IDLE_SHARE, idle > MOSTLY_IDLE_SHARE
            self.per_s *= GROWTH_SLOW if is_near else GROWTH_LEAP if is_far else GROWTH_FAST
        # What was done in this time, idle or not, can be done.
        self.per_s = min(max(self.per_s, self._done / self._over_s, PER_S_MIN), PER_S_MAX)

    def _sample(self, per_s: float) -> None:
        if self._done < UNITS_MIN and per_s < self.per_s:
            # Too little came of it to tell a slow worker from a long job: go half of the way.
            self.per_s = max(per_s, self.per_s / 2)
        elif not JUMP_DOWN <= per_s / self.per_s <= JUMP_UP:
            self.per_s = per_s
        else:
            self.per_s += SMOOTHING * (per_s - self.per_s)
