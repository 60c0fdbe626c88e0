"""Watches the zones of a run at every commit: judges them, and keeps the answers over time for clients and report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from evenkeel.sim.invariants import Invariant, Shown, shown, why_empty, why_fence_back, why_not_one_fence
from evenkeel.sim.trace import Noted
from evenkeel.sim.world import World
from evenkeel.sim.zone_host import ZoneHost

KEPT_MAX = 1000  # violations of one kind that are told one by one


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant, at the moment it broke."""

    at_us: int
    invariant: Invariant
    endpoint: str
    detail: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What an endpoint shows from `at_us` on."""

    at_us: int
    generation: int
    writer: str
    addresses: tuple[str, ...]
    weights: str
    by: str = ""  # who changed it: the writer, or who took the records away

    @property
    def is_empty(self) -> bool:
        return not self.addresses


@dataclass(slots=True)
class _Endpoint:
    generation: int = 0
    moments: list[Moment] = field(default_factory=list)
    broken: set[Invariant] = field(default_factory=set)


class Watch:
    """One run's judge."""

    def __init__(self, world: World, zones: Mapping[str, ZoneHost]) -> None:
        self.violations: list[Violation] = []
        self.counts: dict[Invariant, int] = dict.fromkeys(Invariant, 0)
        self._world = world
        self._endpoints: dict[str, _Endpoint] = {}
        for host in zones.values():
            host.watch = self._watcher(host)
        world.trace.listeners.append(self._hear)

    def _watcher(self, host: ZoneHost) -> Callable[[Iterable[str]], None]:
        def watch(endpoints: Iterable[str]) -> None:
            for endpoint in endpoints:
                self._judge(shown(host.zone, endpoint), host.caller)

        return watch

    def _judge(self, now: Shown, by: str) -> None:
        endpoint = self._endpoints.setdefault(now.endpoint, _Endpoint())
        if not now.fences and not endpoint.moments:
            return  # its node is being built; it was never published
        self._check(endpoint, Invariant.NEVER_EMPTY, now, why_empty(now))
        self._check(endpoint, Invariant.ONE_FENCE, now, why_not_one_fence(now))
        why_back = why_fence_back(endpoint.generation, now)
        self._check(endpoint, Invariant.FENCE_NEVER_BACK, now, why_back)
        endpoint.generation = max(endpoint.generation, now.generation)
        moment = Moment(self._world.now_us, now.generation, now.writer, now.addresses, now.weights, by)
        last = endpoint.moments[-1] if endpoint.moments else None
        if last is None or (last.generation, last.writer, last.addresses, last.weights) != (
            moment.generation,
            moment.writer,
            moment.addresses,
            moment.weights,
        ):
            endpoint.moments.append(moment)

    def _check(self, endpoint: _Endpoint, invariant: Invariant, now: Shown, why: str) -> None:
        """Told once each time it breaks, not for as long as it stays broken."""
        if not why:
            endpoint.broken.discard(invariant)
        elif invariant not in endpoint.broken:
            endpoint.broken.add(invariant)
            self.violate(invariant, now.endpoint, why)

    def violate(self, invariant: Invariant, endpoint: str, detail: str) -> None:
        """Note a broken invariant at this moment."""
        self.counts[invariant] += 1
        if self.counts[invariant] <= KEPT_MAX:
            self.violations.append(Violation(self._world.now_us, invariant, endpoint, detail))
            self._world.note("judge", "violated", f"{invariant}: {detail}", endpoint)

    def _hear(self, noted: Noted) -> None:
        """An Enactor that says it is wedged has found what it cannot mend."""
        if noted.kind == "wedged":
            endpoint = self._endpoints.setdefault(noted.endpoint, _Endpoint())
            if Invariant.NO_WEDGE not in endpoint.broken:
                endpoint.broken.add(Invariant.NO_WEDGE)
                self.violate(Invariant.NO_WEDGE, noted.endpoint, f"{noted.process}: {noted.detail}")

    def moments(self, endpoint: str) -> list[Moment]:
        """What the endpoint showed over time; empty where it was never published."""
        found = self._endpoints.get(endpoint)
        return found.moments if found is not None else []

    def endpoints(self) -> list[str]:
        return sorted(name for name, each in self._endpoints.items() if each.moments)

    def empty_us(self, endpoint: str, until_us: int) -> int:
        """For how long it had no address."""
        total, moments = 0, self.moments(endpoint)
        for moment, after in zip(moments, [*moments[1:], None], strict=True):
            if moment.is_empty:
                total += (after.at_us if after is not None else until_us) - moment.at_us
        return total
