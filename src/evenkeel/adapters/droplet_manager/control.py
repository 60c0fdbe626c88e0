"""How the launch API and the operators reach a manager: numbered calls over `adapters.frames`. The callers' side is
`client`.

Whoever has the region's `fleet` token may call. Any call may be said twice: a launch is made harmless by its own token,
the others change nothing or come to the same. A manager that stands by answers every call but `role` with `StandsBy`:
nothing was done, and it is to be said to another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from evenkeel.adapters.frames import Link, LinkClosed, listen
from evenkeel.model.errors import EvenkeelError, Refusal, Unreachable
from evenkeel.model.fleet import (
    FleetStatus,
    Host,
    HostState,
    LaunchOutcome,
    LaunchRequest,
)
from evenkeel.model.region import HostPort

CALL_OCTETS_MAX = 1024 * 1024
CALLS_MAX = 4096  # of one caller, at once
IDLE_MAX_S = 3600.0


class StandsBy(Unreachable):
    """Another manager has the az, or none yet; the text says who."""


class HostView(msgspec.Struct, frozen=True):
    """One host as its manager sees it."""

    host: Host
    is_leased: bool
    is_linked: bool
    cpus_free: int
    memory_free_mib: int


class ManagerView(msgspec.Struct, frozen=True):
    """A manager's status: of its leases, and of what hangs on them."""

    fleet: FleetStatus
    linked: int
    covered: int  # hosts that hold a lease by their own word
    draining: int
    instances: dict[str, int]
    launches_waiting: int
    store_trouble: str = ""
    manager: str = ""  # who has the az: its component and machine


class RoleView(msgspec.Struct, frozen=True):
    """What one manager's process is to its az. `holder` and `epoch`: who has it, by the store's last word."""

    component: str
    az: str
    is_holder: bool
    holder: str = ""
    epoch: int = 0
    waits_for: str = ""  # what a manager that does not have the az waits for


class Asked(msgspec.Struct, frozen=True, array_like=True):
    number: int
    call: str
    body: msgspec.Raw


class Told(msgspec.Struct, frozen=True, array_like=True):
    number: int
    kind: str  # "" or the name of an error
    body: msgspec.Raw


class ManagerDesk(Protocol):
    """What a manager does when it is called."""

    async def launch(self, request: LaunchRequest) -> LaunchOutcome: ...

    async def stopped(self, instance: str) -> None:
        """A user asked for the end of an instance, and the store has it."""
        ...

    async def status(self) -> ManagerView: ...

    async def hosts(self) -> tuple[HostView, ...]: ...

    async def set_state(self, name: str, state: HostState) -> Host: ...

    async def throttle(self, per_s: float) -> None:
        """October 2025's remedy: let in so many requests a second; 0 lifts it. Raises `Refusal`."""
        ...

    async def restart(self) -> int:
        """October 2025's other remedy: throw the queue away; how many requests went. Raises `Refusal`."""
        ...

    async def role(self) -> RoleView: ...


# The first that fits is what is told.
ERRORS: dict[str, type[EvenkeelError]] = {"StandsBy": StandsBy, "Refusal": Refusal, "Unreachable": Unreachable}


class ControlService:
    """Serves the desk of one manager's process."""

    def __init__(self, desk: ManagerDesk) -> None:
        self._server: asyncio.Server | None = None
        self._links: set[Link] = set()
        self._calls: Mapping[str, tuple[Any, Callable[..., Awaitable[object]]]] = {
            "launch": (LaunchRequest, _told_as_pair(desk.launch)),
            "stopped": (str, desk.stopped),
            "status": (None, lambda _: desk.status()),
            "hosts": (None, lambda _: desk.hosts()),
            "set_state": (tuple[str, HostState], lambda asked: desk.set_state(*asked)),
            "throttle": (float, desk.throttle),
            "restart": (None, lambda _: desk.restart()),
            "role": (None, lambda _: desk.role()),
        }

    async def start(self, address: HostPort, token: str) -> HostPort:
        """Listen; returns where. Raises `OSError`."""
        self._server = await listen(address, token, self._attend)
        return HostPort(address.host, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.abort()

    async def _attend(self, link: Link) -> None:
        self._links.add(link)
        sending = asyncio.Lock()
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                asked = await link.receive(Asked, IDLE_MAX_S, CALL_OCTETS_MAX)
                if len(under_way) >= CALLS_MAX:
                    return
                task = asyncio.create_task(self._answer(link, sending, asked))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        finally:
            self._links.discard(link)
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _answer(self, link: Link, sending: asyncio.Lock, asked: Asked) -> None:
        kind, result = "", None  # type: str, object
        try:
            known = self._calls.get(asked.call)
            if known is None:
                raise Refusal(f"a manager does not know {asked.call!r:.50}")
            result = await known[1](msgspec.msgpack.decode(asked.body, type=known[0]))
        except msgspec.MsgspecError as error:
            kind, result = "Refusal", f"{asked.call}: {error}"
        except EvenkeelError as error:
            kind = next((name for name, known_kind in ERRORS.items() if isinstance(error, known_kind)), "Unreachable")
            result = str(error)
        told = Told(asked.number, kind, msgspec.Raw(msgspec.msgpack.encode(result)))
        with contextlib.suppress(LinkClosed):
            async with sending:
                await link.send(told)


def _told_as_pair(launch: Callable[[LaunchRequest], Awaitable[LaunchOutcome]]) -> Callable[..., Awaitable[object]]:
    async def told(request: LaunchRequest) -> object:
        outcome = await launch(request)
        return type(outcome).__name__, outcome

    return told
