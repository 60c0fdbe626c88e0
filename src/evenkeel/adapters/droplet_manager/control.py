"""How the launch API and the operators reach a manager: numbered calls over `adapters.frames`.

Whoever has the region's `fleet` token may call. A call has a deadline at the caller and is not repeated by this module:
a launch is made harmless by its own token, the others change nothing or may be said twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from evenkeel.adapters.frames import Link, LinkClosed, connect, listen
from evenkeel.model.errors import EvenkeelError, Refusal, Unreachable
from evenkeel.model.fleet import (
    FleetStatus,
    Host,
    HostState,
    InsufficientCapacity,
    Launched,
    LaunchOutcome,
    LaunchRequest,
    Recovering,
    RequestLimitExceeded,
)
from evenkeel.model.region import HostPort

CALL_OCTETS_MAX = 1024 * 1024
CALLS_MAX = 4096  # of one caller, at once
IDLE_MAX_S = 3600.0
CALL_DEADLINE_S = 5.0
LAUNCH_MARGIN_S = 5.0  # beyond the manager's own launch deadline
_OUTCOMES: dict[str, type[LaunchOutcome]] = {
    kind.__name__: kind for kind in (Launched, InsufficientCapacity, RequestLimitExceeded, Recovering)
}


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


class _Asked(msgspec.Struct, frozen=True, array_like=True):
    number: int
    call: str
    body: msgspec.Raw


class _Told(msgspec.Struct, frozen=True, array_like=True):
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


_ERRORS: dict[str, type[EvenkeelError]] = {"Refusal": Refusal, "Unreachable": Unreachable}


class ControlService:
    """Serves one manager's desk."""

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
                asked = await link.receive(_Asked, IDLE_MAX_S, CALL_OCTETS_MAX)
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

    async def _answer(self, link: Link, sending: asyncio.Lock, asked: _Asked) -> None:
        kind, result = "", None  # type: str, object
        try:
            known = self._calls.get(asked.call)
            if known is None:
                raise Refusal(f"a manager does not know {asked.call!r:.50}")
            result = await known[1](msgspec.msgpack.decode(asked.body, type=known[0]))
        except msgspec.MsgspecError as error:
            kind, result = "Refusal", f"{asked.call}: {error}"
        except EvenkeelError as error:
            kind = next((name for name, known_kind in _ERRORS.items() if isinstance(error, known_kind)), "Unreachable")
            result = str(error)
        told = _Told(asked.number, kind, msgspec.Raw(msgspec.msgpack.encode(result)))
        with contextlib.suppress(LinkClosed):
            async with sending:
                await link.send(told)


def _told_as_pair(launch: Callable[[LaunchRequest], Awaitable[LaunchOutcome]]) -> Callable[..., Awaitable[object]]:
    async def told(request: LaunchRequest) -> object:
        outcome = await launch(request)
        return type(outcome).__name__, outcome

    return told


class ManagerClient:
    """Calls to one manager; connects when it is called, and again after a break. Raises `Unreachable`, `Refusal`."""

    def __init__(self, address: HostPort, token: str, launch_deadline_s: float = 30.0) -> None:
        self._address, self._token = address, token
        self._launch_deadline_s = launch_deadline_s + LAUNCH_MARGIN_S
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[_Told]] = {}
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._receiving: asyncio.Task[None] | None = None

    async def launch(self, request: LaunchRequest) -> LaunchOutcome:
        kind, outcome = await self._call("launch", request, tuple[str, msgspec.Raw], self._launch_deadline_s)
        if kind not in _OUTCOMES:
            raise Unreachable(f"manager at {self._address}: garbage instead of an outcome")
        return msgspec.msgpack.decode(outcome, type=_OUTCOMES[kind])

    async def stopped(self, instance: str) -> None:
        await self._call("stopped", instance, None)

    async def status(self) -> ManagerView:
        found: ManagerView = await self._call("status", None, ManagerView)
        return found

    async def hosts(self) -> tuple[HostView, ...]:
        found: tuple[HostView, ...] = await self._call("hosts", None, tuple[HostView, ...])
        return found

    async def set_state(self, name: str, state: HostState) -> Host:
        found: Host = await self._call("set_state", (name, state), Host)
        return found

    async def throttle(self, per_s: float) -> None:
        await self._call("throttle", per_s, None)

    async def restart(self) -> int:
        gone: int = await self._call("restart", None, int)
        return gone

    async def close(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)

    async def _call(self, call: str, body: object, result: Any, deadline_s: float = CALL_DEADLINE_S) -> Any:
        number = next(self._numbers)
        reply: asyncio.Future[_Told] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(deadline_s):
                link = await self._connected()
                self._waiting[number] = reply
                async with self._sending:
                    await link.send(_Asked(number, call, msgspec.Raw(msgspec.msgpack.encode(body))))
                told = await reply
            if told.kind:
                raise _ERRORS.get(told.kind, Unreachable)(msgspec.msgpack.decode(told.body, type=str))
            return msgspec.msgpack.decode(told.body, type=result)
        except TimeoutError:
            raise Unreachable(f"manager at {self._address}: no answer to {call} within {deadline_s:g} s") from None
        except msgspec.MsgspecError as error:
            raise Unreachable(f"manager at {self._address}: garbage instead of an answer: {error}") from error
        finally:
            self._waiting.pop(number, None)

    async def _connected(self) -> Link:
        async with self._connecting:
            if self._link is None:
                self._link = await connect(self._address, self._token)
                self._receiving = asyncio.create_task(self._receive(self._link))
            return self._link

    async def _receive(self, link: Link) -> None:
        why: Unreachable = LinkClosed(f"manager at {self._address}: closed here")
        try:
            while True:
                told = await link.receive(_Told, None)
                waiting = self._waiting.pop(told.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(told)
        except LinkClosed as error:
            why = error
        finally:
            self._link = None
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(why)
            link.abort()
