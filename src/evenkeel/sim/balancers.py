"""Load balancers in virtual time: which are up, what they can carry, and what the quorum says of them a while later."""

from __future__ import annotations

from evenkeel.model.health import Health, Standing
from evenkeel.model.region import Region
from evenkeel.sim.ports import Verdicts
from evenkeel.sim.world import World

MILLE = 1000


class Balancers:
    """The truth about load balancers, and the verdicts that follow it after `detect_us`."""

    def __init__(self, world: World, region: Region, detect_us: int) -> None:
        self.verdicts = Verdicts(
            {lb.name: Health(lb.name, Standing.HEALTHY, lb.capacity) for lb in region.load_balancers.values()}
        )
        self.is_up = dict.fromkeys(region.load_balancers, True)
        self.changes: list[tuple[int, str, bool]] = []  # moment, load balancer, up from then on
        self._world = world
        self._region = region
        self._detect_us = detect_us

    def in_az(self, az: str) -> list[str]:
        return [lb.name for lb in self._region.load_balancers.values() if lb.az == az]

    def set_up(self, name: str, is_up: bool) -> None:
        """It fails, or comes back; the quorum notices unless it changes again before that."""
        if self.is_up[name] is is_up:
            return
        self.is_up[name] = is_up
        self.changes.append((self._world.now_us, name, is_up))
        self._world.simulator.call_after(self._detect_us, self._detect, (name, is_up))

    def _detect(self, seen: tuple[str, bool]) -> None:
        name, is_up = seen
        if self.is_up[name] is not is_up:
            return
        health = self.verdicts.verdicts[name]
        standing = Standing.HEALTHY if is_up else Standing.FAILED
        if health.standing is not standing:
            self._world.note("quorum", "health", f"{name} {health.standing} -> {standing}")
            self.verdicts.set(Health(name, standing, health.capacity))

    def wobble(self, per_mille: int, every_us: int) -> None:
        """From now on capacities as reported move by up to `per_mille` to either side, every `every_us`."""
        stream = self._world.streams.stream("capacity")

        def tick(_: object) -> None:
            for lb in self._region.load_balancers.values():
                moved = MILLE + stream.randrange(-per_mille, per_mille + 1)
                health = self.verdicts.verdicts[lb.name]
                self.verdicts.set(Health(lb.name, health.standing, lb.capacity * moved / MILLE))
            self._world.simulator.call_after(every_us, tick)

        if per_mille:
            tick(None)
