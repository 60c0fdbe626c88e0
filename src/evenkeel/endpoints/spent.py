"""Clean-up's own share of an Enactor's work: how much it owes, and whose nodes go next.

Every publication in a layout `tree` leaves a node behind. Old nodes are taken away at leisure, while nothing waits to
be published; but a region that changes without pause leaves no leisure. So each publication owes clean-ups too, the
more the more nodes wait (a deficit counter, as in deficit round robin):

    owed += SHARE * nodes waiting / endpoints

    nodes waiting    a publication owes       what goes first
    few              next to no clean-up      whatever is to be published; leisure does it all
    1 an endpoint    one                      urgent changes, then what is owed, then routine changes
    2 an endpoint    two                      what is owed

From one node an endpoint on, every publication brings one node and takes at least one away, so routine changes never
take it further; urgent ones may go first until there are two. Beyond that nothing goes before what is owed, so
`nodes_max` stands: two for each of the zone's endpoints, and one for each look that is under way.

The counts are of this Enactor's publications. What one before it left behind, or another, is taken away along with
them, or at leisure: each endpoint is looked through once after the start.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container

SHARE = 1.0  # clean-ups that a publication owes where one node an endpoint waits
PRESSING_NODES = 2.0  # an endpoint: from here on, urgent changes wait for what is owed


class SpentNodes:
    """One zone's endpoints with nodes that may go. `share` 0: nothing is owed, and clean-up has leisure alone."""

    def __init__(self, share: float = SHARE) -> None:
        self.nodes = 0  # that wait: publications since the clean-up of each endpoint
        self.in_hand = 0  # endpoints that are being cleaned up
        self._share = share
        self._known: set[str] = set()
        self._nodes_of: dict[str, int] = {}  # 0: seen for the first time, whatever was left there by then
        self._ready: OrderedDict[str, None] = OrderedDict()  # the longest waiting first
        self._unsure: OrderedDict[str, None] = OrderedDict()  # likewise, those with 0
        self._again: dict[str, None] = {}  # refused or unanswered
        self._owed = 0.0

    @property
    def nodes_max(self) -> int:
        """The bound of `nodes`, but for the looks that are under way."""
        return int(PRESSING_NODES * len(self._known))

    @property
    def owed(self) -> int:
        """Clean-ups that are due whatever else waits, and could be done now."""
        return min(int(self._owed), len(self._ready))

    @property
    def ready(self) -> int:
        """Endpoints that could be cleaned up now."""
        return len(self._ready) + len(self._unsure)

    @property
    def presses(self) -> bool:
        """Whether what is owed goes before urgent changes."""
        return self.nodes > self.nodes_max

    def note(self, endpoint: str, publications: int) -> None:
        """A look at `endpoint` has ended, and so many publications of it have landed since the one before."""
        if endpoint not in self._known:
            self._known.add(endpoint)
            self._nodes_of[endpoint] = 0
        elif publications:
            self._nodes_of[endpoint] = self._nodes_of.get(endpoint, 0) + publications
            self.nodes += publications
            self._owed += publications * self._share * self.nodes / len(self._known)
            self._owed = min(self._owed, float(self.nodes))
        if endpoint in self._nodes_of:
            self._make_ready(endpoint)

    def take_owed(self, hold: Callable[[str], bool]) -> str | None:
        """An endpoint to clean up by what is owed; None where all are in other hands. `hold` takes it in hand."""
        name = self._first(self._ready, hold)
        if name is not None:
            self._owed = max(self._owed - 1.0, 0.0)
        return name

    def take(self, hold: Callable[[str], bool]) -> str | None:
        """An endpoint to clean up at leisure."""
        return self._first(self._ready, hold) or self._first(self._unsure, hold)

    def _first(self, names: OrderedDict[str, None], hold: Callable[[str], bool]) -> str | None:
        while names:
            name, _ = names.popitem(last=False)
            if hold(name):
                self.in_hand += 1
                return name
            # It is being looked at, and is ready again when that look is noted.
        return None

    def done(self, endpoint: str) -> None:
        """Its nodes have gone, or nothing more can be done about them before its next publication."""
        self.in_hand -= 1
        self._drop(endpoint)

    def put_back(self, endpoint: str) -> None:
        """Some of its nodes stood their ground: another try after the next `retry`."""
        self.in_hand -= 1
        self._again[endpoint] = None

    def retry(self) -> None:
        """What was put back is ready again."""
        again, self._again = self._again, {}
        for name in again:
            if name in self._nodes_of:
                self._make_ready(name)

    def forget_others(self, endpoints: Container[str]) -> None:
        """Forget all but `endpoints`: the plan no longer has them."""
        for name in [name for name in self._known if name not in endpoints]:
            self._known.discard(name)
            self._drop(name)

    def clear(self) -> None:
        """Nothing waits any more."""
        self.nodes, self._owed = 0, 0.0
        for names in (self._nodes_of, self._ready, self._unsure):
            names.clear()

    def _make_ready(self, endpoint: str) -> None:
        if self._nodes_of[endpoint]:
            self._unsure.pop(endpoint, None)
            self._ready[endpoint] = None
        else:
            self._unsure[endpoint] = None

    def _drop(self, endpoint: str) -> None:
        self.nodes -= self._nodes_of.pop(endpoint, 0)
        self._owed = min(self._owed, float(self.nodes))
        self._ready.pop(endpoint, None)
        self._unsure.pop(endpoint, None)
