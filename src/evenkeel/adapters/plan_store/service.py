"""The plan store over frames: callers ask, followers are told each new generation at once (see `wire`).

A generation is encoded once for all followers. Each caller has a bounded queue: one that does not keep up is cut, and
catches up when it connects again. What the store itself cannot do (disk full, say) is told to who asked; following
goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from evenkeel.adapters.frames import Link, LinkClosed, listen
from evenkeel.adapters.plan_store.wire import (
    DELTA,
    FOLLOW,
    HEAD,
    DeltaRows,
    Frame,
    body_of,
    delta_of,
    error_frame,
    frame,
    rows_of,
)
from evenkeel.model.errors import EvenkeelError, InternalError, Refusal
from evenkeel.model.plan import PlanDelta
from evenkeel.model.region import HostPort
from evenkeel.ports.plan_store import PlanStore, Proposed

FRAMES_WAITING_MAX = 256
CALLERS_MAX = 1024
IDLE_MAX_S = 60.0  # a client asks for the head every few seconds
HISTORY_MAX = 10_000
STOP_DEADLINE_S = 2.0  # for calls under way


@dataclass(eq=False, slots=True)
class _Caller:
    link: Link
    attending: asyncio.Task[None]
    waiting: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(FRAMES_WAITING_MAX))
    follows: bool = False
    is_cut: bool = False


class PlanStoreService:
    """Serves `store` to everybody who has the token. `on_appended` hears of each new generation."""

    def __init__(
        self,
        store: PlanStore,
        *,
        on_appended: Callable[[PlanDelta], None] = lambda delta: None,
        on_trouble: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._store = store
        self._on_appended = on_appended
        self._on_trouble = on_trouble
        self._callers: set[_Caller] = set()
        self._in_order = asyncio.Lock()  # what followers see is the order of the store
        self._catch_up: tuple[tuple[int, int], bytes] | None = None  # the last one encoded: many ask for the same
        self._server: asyncio.Server | None = None
        self.cut = 0

    @property
    def followers(self) -> int:
        return sum(caller.follows for caller in self._callers)

    async def start(self, address: HostPort, token: str) -> HostPort:
        """Listen; returns where (port 0 asks for any). Raises `OSError` where the address is taken."""
        self._server = await listen(address, token, self._attend)
        host, port = self._server.sockets[0].getsockname()[:2]
        return HostPort(host, port)

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        attending = [caller.attending for caller in self._callers]
        for caller in self._callers:
            caller.link.abort()
        if attending:
            await asyncio.wait(attending, timeout=STOP_DEADLINE_S)

    async def _attend(self, link: Link) -> None:
        if len(self._callers) >= CALLERS_MAX:
            return
        task = asyncio.current_task()
        if task is None:
            raise InternalError("a connection is attended outside of any task")
        caller = _Caller(link, task)
        self._callers.add(caller)
        sending = asyncio.create_task(self._send(caller))
        try:
            while not caller.is_cut:
                await self._handle(caller, await link.receive(Frame, IDLE_MAX_S))
        finally:
            caller.is_cut = True
            caller.follows = False
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._callers.discard(caller)

    async def _send(self, caller: _Caller) -> None:
        with contextlib.suppress(LinkClosed):
            while not caller.is_cut:
                await caller.link.send_encoded(await caller.waiting.get())
        caller.is_cut = True
        await caller.link.close()  # ends the receiving side too

    async def _handle(self, caller: _Caller, asked: Frame) -> None:
        try:
            if asked.kind == FOLLOW:
                await self._follow(caller, body_of(asked, int))
                return
            call = self._calls().get(asked.kind)
            if call is None:
                raise Refusal(f"the plan store does not know {asked.kind!r}")
            reply = frame(asked.number, "", await call(asked))
        except msgspec.MsgspecError as error:
            reply = error_frame(asked.number, Refusal(f"{asked.kind}: {error}"))
        except EvenkeelError as error:
            if not isinstance(error, Refusal):
                self._on_trouble(str(error))
            reply = error_frame(asked.number, error)
        self._put(caller, reply)

    def _calls(self) -> dict[str, Callable[[Frame], Awaitable[object]]]:
        store = self._store
        return {
            "append": self._append,
            "head": lambda asked: store.head(),
            "since": self._since,
            "plan_at": self._plan_at,
            "history": lambda asked: store.history(min(body_of(asked, int), HISTORY_MAX)),
            "raise_floor": self._raise_floor,
            "propose": lambda asked: store.propose(body_of(asked, Proposed)),
            "proposals": lambda asked: store.proposals(),
            "approve": lambda asked: store.approve(body_of(asked, str)),
        }

    async def _append(self, asked: Frame) -> bool:
        delta = delta_of(body_of(asked, DeltaRows))
        async with self._in_order:
            is_appended = await self._store.append(delta)
            if is_appended:
                self._tell(frame(0, DELTA, rows_of(delta)))
        if is_appended:
            self._on_appended(delta)
        return is_appended

    async def _since(self, asked: Frame) -> DeltaRows:
        return rows_of(await self._store.since(body_of(asked, int)))

    async def _plan_at(self, asked: Frame) -> DeltaRows:
        return rows_of((await self._store.plan_at(body_of(asked, int))).as_delta())

    async def _raise_floor(self, asked: Frame) -> None:
        async with self._in_order:
            await self._raise_floor_to(body_of(asked, int))

    async def _raise_floor_to(self, generation: int) -> None:
        head = await self._store.head()
        if generation > max(head.generation, head.floor):
            await self._store.raise_floor(generation)
            self._tell(frame(0, HEAD, await self._store.head()))

    async def _follow(self, caller: _Caller, generation: int) -> None:
        async with self._in_order:
            await self._raise_floor_to(generation)
            head = await self._store.head()
            self._put(caller, frame(0, HEAD, head))
            if head.generation > generation:  # else the caller knows more, and keeps it
                self._put(caller, await self._encoded_since(generation, head.generation))
            caller.follows = True

    async def _encoded_since(self, generation: int, newest: int) -> bytes:
        if self._catch_up is None or self._catch_up[0] != (generation, newest):
            self._catch_up = (generation, newest), frame(0, DELTA, rows_of(await self._store.since(generation)))
        return self._catch_up[1]

    def _tell(self, encoded: bytes) -> None:
        self._catch_up = None
        for caller in self._callers:
            if caller.follows:
                self._put(caller, encoded)

    def _put(self, caller: _Caller, encoded: bytes) -> None:
        """Queue a frame; a caller whose queue is full is cut."""
        try:
            caller.waiting.put_nowait(encoded)
        except asyncio.QueueFull:
            if not caller.is_cut:
                caller.is_cut = True
                self.cut += 1
                caller.link.abort()
