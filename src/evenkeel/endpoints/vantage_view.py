"""What one vantage point knows of all load balancers: a table that probes' results move, pure in time.

It answers with opinions, and with a doubt of its own: a vantage point to which *every* target is silent has
more likely lost its own network than seen all of them die at once, so it says so and has no vote until
anything answers again. A refusal is an answer: the network carried it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evenkeel.endpoints.verdicts import (
    Evidence,
    Observation,
    Outcome,
    TargetState,
    combine,
    expire,
    forget,
    newcomer,
    observe,
)
from evenkeel.model.health import Opinion, Probe, ProbeKind, Standing
from evenkeel.model.region import LoadBalancer

DOUBT_TARGETS_MIN = 2  # one silent target says nothing about who is at fault
DETAIL_CHARACTERS_MAX = 160


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to probe: an address of a load balancer ("" where it reports itself)."""

    load_balancer: str
    address: str
    probe: Probe

    @property
    def key(self) -> str:
        """Names the target for good: its place in the schedule hangs on it."""
        return f"{self.load_balancer}/{self.address}"


def targets_of(load_balancers: Iterable[LoadBalancer]) -> tuple[Target, ...]:
    """Every address of every load balancer; one target alone for a load balancer that reports itself."""
    targets: list[Target] = []
    for balancer in load_balancers:
        if balancer.probe.kind is ProbeKind.REPORTED:
            targets.append(Target(balancer.name, "", balancer.probe))
        else:
            addresses = (*balancer.ipv4, *balancer.ipv6)
            targets.extend(Target(balancer.name, address, balancer.probe) for address in addresses)
    return tuple(targets)


class VantageView:
    """The table. Targets are named by their index in `targets`."""

    def __init__(self, vantage: str, targets: Sequence[Target], now_s: float) -> None:
        self.vantage = vantage
        self.targets = tuple(targets)
        self._states: list[TargetState] = [newcomer(now_s)] * len(self.targets)
        self._of: dict[str, list[int]] = {}
        for index, target in enumerate(self.targets):
            self._of.setdefault(target.load_balancer, []).append(index)
        self._opinions = {name: self._opinion_now(name) for name in self._of}
        self._silence: list[bool | None] = [None] * len(self.targets)
        self._silent = 0
        self._heard = 0
        self._touched: set[str] = set()

    def take(self, index: int, seen: Observation, now_s: float) -> Sequence[Opinion]:
        """Take one result in; the opinions whose standing changed by it, almost always none."""
        had_doubt = self.has_doubt
        self._note_silence(index, seen)
        if self.has_doubt:
            return self._take_in_doubt(index, not had_doubt)
        before = self._states[index]
        after = observe(before, seen, self.targets[index].probe, now_s)
        self._states[index] = after
        if (after.standing, after.capacity, after.load) == (before.standing, before.capacity, before.load):
            return ()
        return self._refreshed([self.targets[index].load_balancer])

    def _take_in_doubt(self, index: int, is_beginning: bool) -> Sequence[Opinion]:
        # What led to the doubt is forgotten too: else the first answer after an isolation would find every
        # target failed, and this vantage point with its vote back.
        doubtful = range(len(self._states)) if is_beginning else (index,)
        for each in doubtful:
            self._states[each] = forget(self._states[each], "silent, as all targets are from here")
        return self._refreshed(sorted({self.targets[each].load_balancer for each in doubtful}))

    def expire(self, now_s: float) -> list[Opinion]:
        """Forget what is too old to be said; the opinions whose standing changed by it."""
        stale: set[str] = set()
        for index, state in enumerate(self._states):
            after = expire(state, self.targets[index].probe, now_s)
            if after is not state:
                self._states[index] = after
                stale.add(self.targets[index].load_balancer)
        return self._refreshed(sorted(stale))

    def opinions(self) -> tuple[Opinion, ...]:
        """All of them."""
        return tuple(self._opinions.values())

    def opinions_on(self, names: Iterable[str]) -> tuple[Opinion, ...]:
        """Those of `names`."""
        return tuple(self._opinions[name] for name in names)

    def take_touched(self) -> tuple[Opinion, ...]:
        """Opinions that changed in any way, reported load included, since this was last called."""
        touched = tuple(self._opinions[name] for name in sorted(self._touched))
        self._touched.clear()
        return touched

    @property
    def has_doubt(self) -> bool:
        """Whether every target that was probed is silent."""
        return self._silent == self._heard >= DOUBT_TARGETS_MIN

    @property
    def doubt(self) -> str:
        """Why this vantage point does not trust itself; "" where it does."""
        return f"all {self._heard} targets are silent from here" if self.has_doubt else ""

    def _note_silence(self, index: int, seen: Observation) -> None:
        if seen.outcome is Outcome.LATE:
            return
        before = self._silence[index]
        after = seen.evidence in (Evidence.SILENT, Evidence.OURS)
        self._silence[index] = after
        self._heard += before is None
        self._silent += int(after) - int(before or False)

    def _refreshed(self, names: Iterable[str]) -> list[Opinion]:
        """Bring the opinions of `names` up to date; those whose standing changed."""
        changed: list[Opinion] = []
        for name in names:
            before, after = self._opinions[name], self._opinion_now(name)
            if after == before:
                continue
            self._opinions[name] = after
            self._touched.add(name)
            if after.standing is not before.standing:
                changed.append(after)
        return changed

    def _opinion_now(self, name: str) -> Opinion:
        indices = self._of[name]
        states = [self._states[index] for index in indices]
        standing = combine(state.standing for state in states)
        speaker = next((k for k, state in enumerate(states) if state.standing is standing), 0)
        address = self.targets[indices[speaker]].address
        detail = f"{address} {states[speaker].why}".strip()[:DETAIL_CHARACTERS_MAX]
        return Opinion(
            name, self.vantage, standing, _known(s.capacity for s in states), _known(s.load for s in states), detail
        )

    def count(self, standing: Standing) -> int:
        """Load balancers of that standing."""
        return sum(opinion.standing is standing for opinion in self._opinions.values())


def _known(values: Iterable[float]) -> float:
    """What the first address reported that reported anything."""
    return next((value for value in values if value >= 0), -1.0)
