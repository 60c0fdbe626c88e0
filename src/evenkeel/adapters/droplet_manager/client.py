"""Calls to the manager of an az, wherever it stands: of its processes one has the az, the others stand by.

A call goes to the process that served last, and on to the next where that one stands by, cannot be reached or breaks
off; any call may be said twice (`control`). One that stays unanswered for `PATIENCE_S` makes the client ask the others
who has the az: a process may be stopped with its connections up. Nothing of this is done where there is one process.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from evenkeel.adapters.droplet_manager.control import ERRORS, Asked, HostView, ManagerView, RoleView, Told
from evenkeel.adapters.frames import Link, LinkClosed, connect
from evenkeel.model.errors import Unreachable
from evenkeel.model.fleet import (
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

CALL_DEADLINE_S = 5.0
CONNECT_DEADLINE_S = 2.0
ROLE_DEADLINE_S = 1.0
PATIENCE_S = 2.0
LAUNCH_MARGIN_S = 5.0  # beyond the manager's own launch deadline
_OUTCOMES: dict[str, type[LaunchOutcome]] = {
    kind.__name__: kind for kind in (Launched, InsufficientCapacity, RequestLimitExceeded, Recovering)
}


class _Moved(Unreachable):
    """A process does not answer, and the one at place `to` has the az by now."""

    def __init__(self, text: str, to: int) -> None:
        super().__init__(text)
        self.to = to


class ManagerClient:
    """Raises `Unreachable` where no process has the az or answers, else what the manager raised. Used on one event
    loop."""

    def __init__(self, addresses: Sequence[HostPort], token: str, launch_deadline_s: float = 30.0) -> None:
        """`addresses`: of all processes that may have the az, one or more."""
        self._lines = tuple(_Line(address, token) for address in addresses)
        self._serves = 0  # place of the one that served last
        self._look: asyncio.Future[tuple[RoleView | None, ...]] | None = None  # at who has the az
        self._looked_at_s = 0.0
        self._launch_deadline_s = launch_deadline_s + LAUNCH_MARGIN_S

    async def launch(self, request: LaunchRequest) -> LaunchOutcome:
        kind, outcome = await self._call("launch", request, tuple[str, msgspec.Raw], self._launch_deadline_s)
        if kind not in _OUTCOMES:
            raise Unreachable(f"manager at {self._lines[self._serves].address}: garbage instead of an outcome")
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

    async def roles(self) -> tuple[RoleView | None, ...]:
        """What each process is, in the order of the addresses; None for one that does not answer."""
        return tuple(await asyncio.gather(*map(_role, self._lines)))

    async def close(self) -> None:
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
        for line in self._lines:
            await line.close()

    # --- to the one that serves ---------------------------------------------------------------------------

    async def _call(self, call: str, body: object, result: Any, deadline_s: float = CALL_DEADLINE_S) -> Any:
        ends_s = asyncio.get_running_loop().time() + deadline_s
        troubles: list[Unreachable] = []
        places = deque((self._serves + offset) % len(self._lines) for offset in range(len(self._lines)))
        while places and len(troubles) < 2 * len(self._lines):
            place = places.popleft()
            try:
                found = await self._patiently(place, call, body, result, ends_s)
            except _Moved as moved:
                troubles.append(moved)
                places.appendleft(moved.to)  # even where it stood by a moment ago
                continue
            except Unreachable as error:
                troubles.append(error)
                continue
            self._serves = place
            return found
        if len(troubles) == 1:
            raise troubles[0]
        self._serves = (self._serves + 1) % len(self._lines)  # so that a deadline is not spent on the same one again
        raise Unreachable("; ".join(dict.fromkeys(map(str, troubles))))

    async def _patiently(self, place: int, call: str, body: object, result: Any, ends_s: float) -> Any:
        """The call at one process, given up where another has the az meanwhile."""
        line, clock = self._lines[place], asyncio.get_running_loop().time
        task = asyncio.ensure_future(line.call(call, body, result, max(0.0, ends_s - clock())))
        try:
            while len(self._lines) > 1:
                await asyncio.wait({task}, timeout=PATIENCE_S)
                if task.done():
                    break
                moved_to = await self._other_holder(place)
                if moved_to is not None and not task.done():  # else the answer came meanwhile
                    raise _Moved(f"manager at {line.address}: no answer to {call}, and another has the az", moved_to)
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # one that failed meanwhile has been heard, too

    async def _other_holder(self, place: int) -> int | None:
        """Where the az is by now, if not with the one at `place`. However many calls wait, one look serves them all."""
        now_s = asyncio.get_running_loop().time()
        if self._look is None or now_s - self._looked_at_s >= PATIENCE_S:
            self._looked_at_s = now_s
            self._look = asyncio.ensure_future(self.roles())
        roles = await asyncio.shield(self._look)
        holding = [number for number, role in enumerate(roles) if role is not None and role.is_holder]
        return None if place in holding or not holding else holding[0]


async def _role(line: _Line) -> RoleView | None:
    try:
        found: RoleView = await line.call("role", None, RoleView, ROLE_DEADLINE_S)
    except Unreachable:
        return None
    return found


class _Line:
    """Numbered calls to one process; connects when it is called, and again after a break."""

    def __init__(self, address: HostPort, token: str) -> None:
        self.address, self._token = address, token
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Told]] = {}
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._receiving: asyncio.Task[None] | None = None

    async def call(self, call: str, body: object, result: Any, deadline_s: float) -> Any:
        """Raises `StandsBy`, else `Unreachable`, else what the process raised."""
        number = next(self._numbers)
        reply: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(deadline_s):
                link = await self._connected()
                self._waiting[number] = reply
                async with self._sending:
                    await link.send(Asked(number, call, msgspec.Raw(msgspec.msgpack.encode(body))))
                told = await reply
            if told.kind:
                raise ERRORS.get(told.kind, Unreachable)(msgspec.msgpack.decode(told.body, type=str))
            return msgspec.msgpack.decode(told.body, type=result)
        except TimeoutError:
            raise Unreachable(f"manager at {self.address}: no answer to {call} within its deadline") from None
        except msgspec.MsgspecError as error:
            raise Unreachable(f"manager at {self.address}: garbage instead of an answer: {error}") from error
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)

    async def _connected(self) -> Link:
        async with self._connecting:
            if self._link is None:
                self._link = await connect(self.address, self._token, CONNECT_DEADLINE_S)
                self._receiving = asyncio.create_task(self._receive(self._link))
            return self._link

    async def _receive(self, link: Link) -> None:
        why: Unreachable = LinkClosed(f"manager at {self.address}: closed here")
        try:
            while True:
                told = await link.receive(Told, None)
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
