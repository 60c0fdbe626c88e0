"""Clients of the plan store: `PlanFollower` for who reads plans, `PlanStoreClient` for who also asks and appends.

A follower keeps the newest plan in memory, told of each generation as it is made, and never goes back to an older one.
With a file for the last good plan it starts without the store, and goes on without it for as long as it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from evenkeel.adapters.frames import Link, LinkClosed, connect
from evenkeel.adapters.plan_store import last_good
from evenkeel.adapters.plan_store.wire import (
    DELTA,
    ERRORS,
    FOLLOW,
    HEAD,
    DeltaRows,
    Frame,
    body_of,
    delta_of,
    frame,
    plan_of,
    rows_of,
)
from evenkeel.model.errors import InternalError, Unfinished, Unreachable
from evenkeel.model.plan import Plan, PlanDelta
from evenkeel.model.region import HostPort
from evenkeel.ports.plan_store import GenerationInfo, Head, Proposed

T = TypeVar("T")

BACK_OFF_S = 0.1
BACK_OFF_MAX_S = 5.0
ASK_S = 5.0  # the head is asked for this often, so that a dead connection is found out
SILENCE_MAX_S = 15.0
SAVE_EVERY_S = 5.0
CHANGES_KEPT = 256  # generations whose changed names are remembered,
NAMES_KEPT = 20_000  # and names of all of them together; one generation at least, however large
CALL_DEADLINE_S = 3.0
BULK_DEADLINE_S = 30.0  # calls that carry a whole plan


class PlanFollower:
    """`ports.plans.PlanReader`, as an async context. Without `last_good_path` nothing is kept on disk.

    `on_state` hears of what is lost (False) and comes back (True), with the reason: the connection to the store, the
    writing of the last good plan.
    """

    def __init__(
        self,
        region: str,
        address: HostPort,
        token: str,
        last_good_path: Path | None = None,
        *,
        on_state: Callable[[bool, str], None] = lambda is_up, why: None,
        rng: random.Random | None = None,
    ) -> None:
        self._region, self._address, self._token = region, address, token
        self._last_good_path = last_good_path
        self._on_state = on_state
        self._rng = rng or random.Random()
        self._current: Plan | None = None
        self._changes: deque[tuple[int, int, frozenset[str]]] = deque(maxlen=CHANGES_KEPT)  # from, to, names
        self._newer = asyncio.Condition()
        self._link: Link | None = None
        self._up = asyncio.Event()  # connected, and the store's head is known
        self._sending = asyncio.Lock()
        self._head = Head(0, 0)
        self._unsaved = asyncio.Event()
        self._saving = asyncio.Lock()
        self._saved_generation = 0
        self._save_trouble = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._calls: dict[int, asyncio.Future[Frame]] = {}
        self._calls_made = 0
        self._is_told_down = False
        self.trouble = ""  # why the link is down, or the last good plan could not be read or written

    # --- for readers ------------------------------------------------------------------------------

    @property
    def current(self) -> Plan | None:
        """The newest plan known, None where there has never been one."""
        return self._current

    @property
    def generation(self) -> int:
        return self._current.generation if self._current else 0

    @property
    def is_up(self) -> bool:
        """Whether the store can be heard."""
        return self._up.is_set()

    async def newest(self) -> Plan | None:
        """See `ports.plans.PlanReader`. Answers from memory."""
        return self._current

    async def wait_newer(self, generation: int, deadline_s: float) -> Plan | None:
        """The newest plan, as soon as it is newer than `generation`; None after `deadline_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s), self._newer:
                await self._newer.wait_for(lambda: self.generation > generation)
                return self._current
        return None

    def changed_since(self, generation: int) -> frozenset[str]:
        """Names whose answer changed, or went, after `generation`; every name where that is not known any more."""
        names: set[str] = set()
        for before, after, changed in reversed(self._changes):
            if after <= generation:
                return frozenset(names)
            names |= changed
            if before == generation:
                return frozenset(names)
        if generation >= self.generation:
            return frozenset()
        return frozenset(self._current.endpoints) if self._current else frozenset()

    # --- life -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._last_good_path is not None:
            self._current, self.trouble = await asyncio.to_thread(last_good.load, self._last_good_path, self._region)
            self._saved_generation = self.generation
            self._tasks.append(asyncio.create_task(self._keep_saved(self._last_good_path)))
        self._tasks.append(asyncio.create_task(self._keep_connected()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._last_good_path is not None:
            await self._save(self._last_good_path)

    async def _keep_connected(self) -> None:
        back_off_s = BACK_OFF_S
        while True:
            try:
                await self._converse()
            except (Unreachable, msgspec.MsgspecError, InternalError) as error:
                is_lost = isinstance(error, LinkClosed)
                was_up = self._down(f"plan store {self._address}: {'the connection was lost' if is_lost else error}")
                back_off_s = BACK_OFF_S if was_up else min(2 * back_off_s, BACK_OFF_MAX_S)
            await asyncio.sleep(back_off_s * self._rng.uniform(0.5, 1.5))

    async def _converse(self) -> None:
        """One connection, from its opening to its end, which is an error."""
        link = await connect(self._address, self._token)
        self._link = link
        asking = asyncio.create_task(self._keep_asking())
        try:
            await self._send(frame(0, FOLLOW, self.generation))
            while True:
                await self._take(await link.receive(Frame, SILENCE_MAX_S))
        finally:
            asking.cancel()
            self._link = None
            self._up.clear()
            self._fail_calls()
            await link.close()

    def _down(self, why: str) -> bool:
        """Note why the store cannot be heard, and tell it once; whether it could be heard until now."""
        was_told, self._is_told_down, self.trouble = self._is_told_down, True, why
        if not was_told:
            self._on_state(False, why)
        return not was_told

    async def _keep_asking(self) -> None:
        with contextlib.suppress(Unreachable):
            while True:
                await asyncio.sleep(ASK_S)
                await self._send(frame(0, "head", None))

    async def _send(self, encoded: bytes) -> None:
        async with self._sending:
            if self._link is None:
                raise Unreachable(self.trouble or f"plan store {self._address}: not connected yet")
            await self._link.send_encoded(encoded)

    # --- what the store says ----------------------------------------------------------------------

    async def _take(self, got: Frame) -> None:
        if got.number:
            waiting = self._calls.pop(got.number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(got)
        elif got.kind == HEAD:
            self._head = body_of(got, Head)
            if not self._up.is_set():
                self._is_told_down, self.trouble = False, ""
                self._up.set()
                self._on_state(True, f"plan store {self._address}, generation {self._head.generation}")
        elif got.kind == DELTA:
            await self._take_delta(body_of(got, DeltaRows))

    async def _take_delta(self, rows: DeltaRows) -> None:
        self._head = Head(max(self._head.generation, rows.generation), self._head.floor)
        if rows.generation <= self.generation:
            return  # the store lost what this process still knows: never back
        if rows.previous == 0:
            plan = plan_of(rows)
            names = self._differences(plan)
        elif rows.previous == self.generation:
            delta = delta_of(rows)
            plan = (self._current or Plan.empty(self._region)).apply(delta)
            names = frozenset(endpoint.name for endpoint in delta.changed) | frozenset(delta.removed)
        else:
            await self._send(frame(0, FOLLOW, self.generation))
            return
        self._changes.append((self.generation, plan.generation, names))
        while len(self._changes) > 1 and sum(len(names) for _, _, names in self._changes) > NAMES_KEPT:
            self._changes.popleft()
        self._unsaved.set()
        async with self._newer:
            self._current = plan
            self._newer.notify_all()

    def _differences(self, plan: Plan) -> frozenset[str]:
        known = self._current.endpoints if self._current else {}
        changed = (name for name, endpoint in plan.endpoints.items() if endpoint.changed_in > self.generation)
        return frozenset(changed) | (known.keys() - plan.endpoints.keys())

    def _fail_calls(self) -> None:
        calls, self._calls = self._calls, {}
        for waiting in calls.values():
            if not waiting.done():
                waiting.set_exception(Unreachable(f"plan store {self._address}: the connection was lost"))

    # --- the last good plan -----------------------------------------------------------------------

    async def _keep_saved(self, path: Path) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            # Shielded: a write under way when this task is cancelled ends before the last one begins.
            await asyncio.shield(self._save(path))
            await asyncio.sleep(SAVE_EVERY_S)

    async def _save(self, path: Path) -> None:
        async with self._saving:
            plan = self._current
            if plan is None or plan.generation == self._saved_generation:
                return
            try:
                await asyncio.to_thread(last_good.save, path, plan)
            except OSError as error:
                self._unsaved.set()
                self._note_save(f"last good plan not saved: {path}: {error.strerror or error}")
            else:
                self._saved_generation = plan.generation
                self._note_save("")

    def _note_save(self, trouble: str) -> None:
        if bool(trouble) != bool(self._save_trouble):
            self._on_state(not trouble, trouble or "last good plan saved again")
        self._save_trouble = trouble


class PlanStoreClient(PlanFollower):
    """`ports.plan_store.PlannerStore`: a follower that also asks. A call waits for the connection at most as long as
    for the reply, then raises `Unreachable`; what the store refuses is raised as the error that it is there."""

    async def append(self, delta: PlanDelta) -> bool:
        """A lost reply raises `Unreachable`; whether it was appended then shows in the plans that follow."""
        return await self._call("append", rows_of(delta), bool, BULK_DEADLINE_S)

    async def head(self) -> Head:
        """From memory: the store pushes what moves it. Raises `Unreachable` while the store cannot be heard."""
        await self._await_up()
        return self._head

    async def since(self, generation: int) -> PlanDelta:
        return delta_of(await self._call("since", generation, DeltaRows, BULK_DEADLINE_S))

    async def plan_at(self, generation: int) -> Plan:
        return plan_of(await self._call("plan_at", generation, DeltaRows, BULK_DEADLINE_S))

    async def history(self, limit: int) -> tuple[GenerationInfo, ...]:
        return await self._call("history", limit, tuple[GenerationInfo, ...])

    async def raise_floor(self, generation: int) -> None:
        await self._call("raise_floor", generation, type(None))

    async def propose(self, proposed: Proposed) -> bool:
        return await self._call("propose", proposed, bool)

    async def proposals(self) -> tuple[Proposed, ...]:
        return await self._call("proposals", None, tuple[Proposed, ...])

    async def approve(self, checksum: str) -> None:
        await self._call("approve", checksum, type(None))

    async def _await_up(self) -> None:
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                await self._up.wait()
        except TimeoutError as error:
            raise Unreachable(self.trouble or f"plan store {self._address}: it does not answer") from error

    async def _call(self, kind: str, body: object, type_: type[T], deadline_s: float = CALL_DEADLINE_S) -> T:
        await self._await_up()
        self._calls_made += 1
        number = self._calls_made
        waiting = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(deadline_s):
                await self._send(frame(number, kind, body))
                got = await waiting
        except TimeoutError as error:
            raise Unreachable(f"plan store {self._address}: no reply to {kind!r} in {deadline_s:g} s") from error
        finally:
            self._calls.pop(number, None)
        if got.kind:
            raise ERRORS.get(got.kind, Unfinished)(body_of(got, str))
        return body_of(got, type_)
