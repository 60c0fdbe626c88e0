"""Which endpoint is looked at next, and by whom: two lanes, each name at most once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from evenkeel.model.plan import Lane


class EndpointQueue:
    """Names to look at: urgent ones first, each at most once, so never more than there are endpoints.

    A name that was taken is in hand until it is released: two looks at one endpoint at a time would write with one
    another's tickets. What is offered meanwhile waits for the release.
    """

    def __init__(self) -> None:
        # Ordered dicts: the first goes, and any goes, in constant time; a plain dict walks over its own gaps.
        self._urgent: OrderedDict[str, None] = OrderedDict()
        self._routine: OrderedDict[str, None] = OrderedDict()
        self._in_hand: dict[str, Lane | None] = {}  # with the lane in which it waits for its release

    def __len__(self) -> int:
        """Names that can be taken now."""
        return len(self._urgent) + len(self._routine)

    @property
    def has_urgent(self) -> bool:
        return bool(self._urgent)

    def offer(self, names: Iterable[str], lane: Lane) -> None:
        for name in names:
            if name in self._in_hand:
                if self._in_hand[name] is not Lane.URGENT:
                    self._in_hand[name] = lane
            elif lane is Lane.URGENT:
                self._routine.pop(name, None)
                self._urgent[name] = None
            elif name not in self._urgent:
                self._routine[name] = None

    def take(self) -> str | None:
        """The next name, in hand from now on; None where none waits."""
        for names in (self._urgent, self._routine):
            if names:
                name, _ = names.popitem(last=False)
                self._in_hand[name] = None
                return name
        return None

    def hold(self, name: str) -> bool:
        """Take this very name in hand, out of its turn and for other work than a look; False where it is in hand.

        One that waits is the first of its lane again when it is released.
        """
        if name in self._in_hand:
            return False
        lane = Lane.URGENT if name in self._urgent else Lane.ROUTINE if name in self._routine else None
        self._urgent.pop(name, None)
        self._routine.pop(name, None)
        self._in_hand[name] = lane
        return True

    def release(self, name: str, *, first: bool = False) -> None:
        """The work at `name` has ended; it waits again, at the end or `first`, where it is still to be looked at."""
        again = self._in_hand.pop(name)
        if again is not None:
            self.offer([name], again)
            if first:
                (self._urgent if again is Lane.URGENT else self._routine).move_to_end(name, last=False)

    def clear(self) -> None:
        """Nothing waits any more."""
        self._urgent.clear()
        self._routine.clear()
