"""How long this process was not looking: a stalled loop must not be taken for a silent target.

Somebody who means to wake at a given time says so with `expect`, and `woke` when it did; what lies between is time in
which a reply could have come and nobody would have read it. The reason does not matter: a busy machine,
SIGSTOP, a long callback.
"""

from __future__ import annotations

ABSENCE_MIN_S = 0.005  # below this it is ordinary scheduling


class LoopWatch:
    """Adds up absences. Times are the loop's seconds."""

    def __init__(self, now_s: float) -> None:
        self._expected_s = now_s
        self._absent_s = 0.0

    def expect(self, at_s: float) -> None:
        """The next `woke` should be at `at_s`."""
        self._expected_s = at_s

    def woke(self, now_s: float) -> float:
        """Now awake; how late, in seconds."""
        late_s = max(0.0, now_s - self._expected_s)
        if late_s > ABSENCE_MIN_S:
            self._absent_s += late_s
        self._expected_s = now_s
        return late_s

    def absent_s(self, now_s: float) -> float:
        """All absence up to now, an unfinished one included; differences of it are what callers use."""
        late_s = now_s - self._expected_s
        return self._absent_s + (late_s if late_s > ABSENCE_MIN_S else 0.0)
