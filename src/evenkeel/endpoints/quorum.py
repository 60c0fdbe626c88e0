"""The quorum's table: opinions of all vantage points in, verdicts out. Pure; who is heard is the caller's to say.

A vantage point that is not heard (silent for too long, or in doubt about itself) keeps its last opinions here but
votes `UNKNOWN` until it is heard again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evenkeel.endpoints.verdicts import decide
from evenkeel.model.health import Health, Opinion, Standing
from evenkeel.model.region import LoadBalancer


@dataclass(frozen=True, slots=True)
class Turned:
    """One verdict's change of standing, and what each vantage point said at that moment."""

    load_balancer: str
    before: Standing
    after: Standing
    votes: str


class Quorum:
    """Verdicts on the load balancers of one region. `verdicts` always holds every one of them."""

    def __init__(self, load_balancers: Mapping[str, LoadBalancer], vantages: Sequence[str], quorum: int) -> None:
        self.verdicts = {
            balancer.name: Health(balancer.name, _shown(balancer, Standing.NEW), balancer.capacity)
            for balancer in load_balancers.values()
        }
        self._load_balancers = dict(load_balancers)
        self._quorum = quorum
        self._decided = dict.fromkeys(self.verdicts, Standing.NEW)
        self._opinions: dict[str, dict[str, Opinion]] = {vantage: {} for vantage in vantages}
        self._heard: set[str] = set()
        self._changed: set[str] = set()

    @property
    def heard(self) -> frozenset[str]:
        """Vantage points that have a vote now."""
        return frozenset(self._heard)

    def say(self, vantage: str, opinions: Iterable[Opinion], *, is_whole: bool = False) -> list[Turned]:
        """Take opinions in; `is_whole` where they replace all that was said before."""
        known = self._opinions[vantage]
        said = {opinion.load_balancer: opinion for opinion in opinions if opinion.load_balancer in self.verdicts}
        names = set(said) | set(known) if is_whole else set(said)
        if is_whole:
            known.clear()
        known.update(said)
        return self._decide_again(names) if vantage in self._heard else []

    def hear(self, vantage: str, is_heard: bool) -> list[Turned]:
        """Give a vantage point its vote, or take it."""
        if is_heard == (vantage in self._heard):
            return []
        (self._heard.add if is_heard else self._heard.discard)(vantage)
        return self._decide_again(self._opinions[vantage])

    def take_changed(self) -> frozenset[str]:
        """Load balancers whose verdict changed in any way since this was last called."""
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed

    def votes(self, name: str) -> dict[str, Standing]:
        """What each vantage point's vote is now."""
        return {vantage: self._vote(vantage, name) for vantage in self._opinions}

    def opinions(self, name: str) -> dict[str, Opinion]:
        """What each vantage point said last of `name`, heard or not."""
        return {vantage: said[name] for vantage, said in self._opinions.items() if name in said}

    def _vote(self, vantage: str, name: str) -> Standing:
        opinion = self._opinions[vantage].get(name)
        return opinion.standing if opinion is not None and vantage in self._heard else Standing.UNKNOWN

    def _decide_again(self, names: Iterable[str]) -> list[Turned]:
        turned: list[Turned] = []
        for name in sorted(names):
            before = self.verdicts[name]
            votes = [self._vote(vantage, name) for vantage in self._opinions]
            self._decided[name] = decide(self._decided[name], votes, self._quorum)
            standing = _shown(self._load_balancers[name], self._decided[name])
            heard = [self._opinions[vantage].get(name) for vantage in sorted(self._heard)]
            opinions = [opinion for opinion in heard if opinion is not None]
            # With nobody to report it, what was reported last stands: a silence is no change of capacity.
            capacity = _middle((opinion.capacity for opinion in opinions), before.capacity)
            load = _middle((opinion.load for opinion in opinions), before.load)
            after = Health(name, standing, capacity, load)
            if after == before:
                continue
            self.verdicts[name] = after
            self._changed.add(name)
            if after.standing is not before.standing:
                turned.append(Turned(name, before.standing, after.standing, self._votes_text(name)))
        return turned

    def _votes_text(self, name: str) -> str:
        parts = []
        for vantage, said in self._opinions.items():
            opinion = said.get(name)
            if vantage not in self._heard:
                parts.append(f"{vantage} not heard")
            elif opinion is None:
                parts.append(f"{vantage} has no opinion")
            else:
                parts.append(f"{vantage} {opinion.standing} ({opinion.detail})")
        return "; ".join(parts)


def _shown(balancer: LoadBalancer, decided: Standing) -> Standing:
    """The operator's word to drain stands above every opinion but a failure."""
    return Standing.DRAINING if balancer.draining and decided is not Standing.FAILED else decided


def _middle(values: Iterable[float], otherwise: float) -> float:
    """The lower median of what was reported: one odd report moves nothing."""
    reported = sorted(value for value in values if value >= 0)
    return reported[(len(reported) - 1) // 2] if reported else otherwise
