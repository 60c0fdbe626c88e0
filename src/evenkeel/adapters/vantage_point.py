"""One vantage point: probes every load balancer, keeps its opinions, tells every Planner.

Everything runs on one event loop; the loop's own time is the only clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from evenkeel.adapters.health_push import HealthPush
from evenkeel.adapters.probes.prober import Prober
from evenkeel.adapters.probes.reported import Mailbox, ReportIntake
from evenkeel.endpoints.vantage_view import VantageView, targets_of
from evenkeel.endpoints.verdicts import Observation
from evenkeel.model.health import Opinion, ProbeKind, Standing
from evenkeel.model.region import HostPort, LoadBalancer

EXPIRE_EVERY_S = 0.25
BEAT_S = 1.0


class VantagePoint:
    """Needs a running loop from its construction on.

    `on_opinion` is called for each change of standing, with what it was before; `on_doubt` when doubt begins, and
    with "" when it ends.
    """

    def __init__(
        self,
        name: str,
        load_balancers: Iterable[LoadBalancer],
        planners: Sequence[HostPort],
        token: str,
        *,
        on_opinion: Callable[[Standing, Opinion], None] = lambda before, opinion: None,
        on_doubt: Callable[[str], None] = lambda doubt: None,
        on_lag: Callable[[float], None] | None = None,
        in_flight_max: int = 0,
    ) -> None:
        """Raises `InputError` where a load balancer cannot be probed as it says."""
        balancers = tuple(load_balancers)
        self._loop = asyncio.get_running_loop()
        self.view = VantageView(name, targets_of(balancers), self._loop.time())
        mailbox = Mailbox(each.name for each in balancers if each.probe.kind is ProbeKind.REPORTED)
        self.reports = ReportIntake(mailbox)
        self.prober = Prober(
            name, self.view.targets, self._on_result, mailbox=mailbox, in_flight_max=in_flight_max, on_lag=on_lag
        )
        self.push = HealthPush(self.view, planners, token, self._forget_old)
        self._standings = {opinion.load_balancer: opinion.standing for opinion in self.view.opinions()}
        self._on_opinion = on_opinion
        self._on_doubt = on_doubt
        self._has_doubt = False
        self._looked_at_s = self._loop.time()
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin probing and telling."""
        self.prober.start()
        self.push.start()
        self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        """End; no result comes after it."""
        self.prober.stop()
        await self.push.stop()
        await self.reports.stop()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    def _on_result(self, index: int, seen: Observation, now_s: float) -> None:
        changed = self.view.take(index, seen, now_s)
        if changed or self.view.has_doubt is not self._has_doubt:
            self._tell(changed)

    def _tell(self, changed: Sequence[Opinion]) -> None:
        if self.view.has_doubt is not self._has_doubt:
            self._has_doubt = self.view.has_doubt
            self._on_doubt(self.view.doubt)
        for opinion in changed:
            before = self._standings[opinion.load_balancer]
            self._standings[opinion.load_balancer] = opinion.standing
            self._on_opinion(before, opinion)
        self.push.turned(changed)

    def _forget_old(self) -> None:
        now_s = self._loop.time()
        if now_s - self._looked_at_s < EXPIRE_EVERY_S:
            return
        self._looked_at_s = now_s
        changed = self.view.expire(now_s)
        if changed:
            self._tell(changed)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._forget_old()
            self.push.touched(self.view.take_touched())
