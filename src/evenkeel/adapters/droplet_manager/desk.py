"""What a manager's process answers to the launch API and the operators, whether it has its az or stands by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from evenkeel.adapters.droplet_manager.control import HostView, ManagerView, RoleView, StandsBy
from evenkeel.adapters.droplet_manager.manager import Manager
from evenkeel.fleet.standby import NOTHING_SEEN
from evenkeel.model.fleet import Host, HostState, LaunchOutcome, LaunchRequest, Tenure
from evenkeel.ports.fleet import Superseded

T = TypeVar("T")


class Desk:
    """`control.ManagerDesk`. `manager` is of the tenure under way, None while there is none; `seen` is who has the az,
    as the process last read it; `waits_for` says in words what a process without a tenure waits for."""

    def __init__(self, component: str, az: str) -> None:
        self.component, self.az = component, az
        self.manager: Manager | None = None
        self.seen: Tenure = NOTHING_SEEN
        self.waits_for = "the table service"

    async def launch(self, request: LaunchRequest) -> LaunchOutcome:
        return await self._by_holder(lambda manager: manager.launch(request))

    async def stopped(self, instance: str) -> None:
        await self._by_holder(lambda manager: manager.stopped(instance))

    async def status(self) -> ManagerView:
        return await self._by_holder(lambda manager: manager.status())

    async def hosts(self) -> tuple[HostView, ...]:
        return await self._by_holder(lambda manager: manager.hosts())

    async def set_state(self, name: str, state: HostState) -> Host:
        return await self._by_holder(lambda manager: manager.set_state(name, state))

    async def throttle(self, per_s: float) -> None:
        await self._by_holder(lambda manager: manager.throttle(per_s))

    async def restart(self) -> int:
        return await self._by_holder(lambda manager: manager.restart())

    async def role(self) -> RoleView:
        return self.view()

    def view(self) -> RoleView:
        is_holder = self.manager is not None and not self.manager.leases.is_superseded
        return RoleView(self.component, self.az, is_holder, self.seen.manager, self.seen.epoch, self.waits_for)

    async def _by_holder(self, call: Callable[[Manager], Awaitable[T]]) -> T:
        """Raises `StandsBy` in place of what a manager without its az says."""
        manager = self.manager
        if manager is None or manager.leases.is_superseded:
            raise StandsBy(f"{self.component} stands by for az {self.az}: {self._who()}")
        try:
            return await call(manager)
        except Superseded as error:
            raise StandsBy(f"{self.component} no longer has az {self.az}: {error}") from error

    def _who(self) -> str:
        if self.waits_for:
            return f"it waits for {self.waits_for}"
        return f"{self.seen.manager} has it in epoch {self.seen.epoch}" if self.seen.epoch else "nobody has it yet"
