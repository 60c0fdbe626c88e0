"""Takes a trace again, step by step, over any zone server: the twin, or a real one.

Every process of the trace is there with the real code: its workflows as the trace's local states have them, its own
`GuardedZone`, and the server behind it. Each waits at its next call until the trace says that it is its turn, so the
order is the trace's, whatever the timing; what the server replies is compared with what was explored. A write that the
trace has under way is held back, and delivered at the step at which it lands.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from evenkeel.check.automation import PLANNER, STORE, Automation
from evenkeel.check.exchange import NODE, PLAN, SteadyClock, Unread, plan_at
from evenkeel.check.local_states import Enacting, Travelling
from evenkeel.check.model import EMPTY_SLOT
from evenkeel.check.story import EndpointShown, StoryStep, tell
from evenkeel.check.trace import Taken
from evenkeel.check.zone_steps import Step, word
from evenkeel.endpoints import layout
from evenkeel.endpoints.guarded_zone import LOCK_EXPIRY_MS, GuardedZone
from evenkeel.model.errors import CorruptFence, EvenkeelError, InputError
from evenkeel.model.plan import Plan, restamped
from evenkeel.model.transactions import Change, Commit, DeleteName, DeleteRRset, Transaction
from evenkeel.ports.zone import NodeReading, Reading, ZoneServer


class Diverged(EvenkeelError):
    """A server did something else than was explored."""


@dataclass(frozen=True, slots=True)
class Driven:
    """A step taken again: what the server replied, and what a client then gets from its endpoint."""

    number: int
    action: str
    endpoint: str
    answer: tuple[str, ...]


class Interposed:
    """A zone server that loses replies and keeps copies of writes, when it is told to."""

    def __init__(self, server: ZoneServer) -> None:
        self._server = server
        self.loses = False
        self.copies = False
        self.held: list[Transaction] = []

    async def read(self, endpoint: str) -> Reading:
        return await self._server.read(endpoint)

    async def read_node(self, node: str) -> NodeReading:
        return await self._server.read_node(node)

    async def nodes(self, endpoint: str) -> Sequence[str]:
        return await self._server.nodes(endpoint)

    async def frozen(self) -> str:
        return await self._server.frozen()

    async def commit(self, transaction: Transaction) -> Commit:
        if self.loses or self.copies:
            self.held.append(transaction)
        return Commit.UNKNOWN if self.loses else await self._server.commit(transaction)

    async def deliver(self, transaction: Transaction) -> Commit:
        """A write that was held lands."""
        return await self._server.commit(transaction)


class Counting:
    """Nonces that never repeat within one run."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def next(self) -> str:
        return f"{next(self._numbers):x}"


class Driver:
    """One trace over one server.

    Endpoints get names under `zone`, below `label` where there is one; `forget` takes their records away again.
    """

    def __init__(self, model: Automation, server: ZoneServer, zone: str, label: str = "") -> None:
        if model.config.step is not Step.CALL:
            raise InputError.one("--fine", "a trace of single exchanges cannot be driven", "explore it without")
        self._model = model
        self._zone = zone
        self._under = f"{label}.{zone}" if label else zone
        self._server = Interposed(server)
        self._bare = server
        self._nonces = Counting()
        self._under_way: dict[int, Transaction] = {}
        self._taken = 0
        self._hands: dict[int, tuple[GuardedZone, SteadyClock]] = {}

    async def run(self, way: Sequence[Taken]) -> list[Driven]:
        """Take every step that has not been taken yet. Raises `Diverged` at the first that ends otherwise."""
        driven = []
        told = list(zip(tell(self._model, way), way, strict=True))
        for story, step in told[self._taken :]:
            self._taken += 1
            reply = await self._take(step, story.action)
            if reply != story.action:
                raise Diverged(f"step {story.number}: explored {story.action!r}, got {reply!r}: {story.text}")
            answer = await self._compared(story)
            driven.append(Driven(story.number, story.action, story.endpoint, answer))
        return driven

    async def _take(self, step: Taken, action: str) -> str:
        if step.service == STORE or step.process == PLANNER:
            return action  # plans stand in memory: nothing of the store is on a server
        local = self._model.local_state(step.before.locals[step.process])
        if isinstance(local, Travelling):
            landed = await self._server.deliver(self._under_way.pop(step.process))
            return f"late {local.what}: {word(landed)}"
        if not isinstance(local, Enacting):
            raise InputError.one("trace", "a failover cannot be driven on one server", "explore it without")
        method = action.partition(": ")[0]
        if method.startswith("crash"):
            await self._crash(step, local, during="during" in method)
        else:
            action = await self._call(step, local, action)
        self._keep(step)
        return action

    def _keep(self, step: Taken) -> None:
        """What was held is under way in the slot that the step fills; a write that is certain to be refused is not."""
        held, self._server.held = self._server.held, []
        for slot in range(len(self._model.shape.processes), self._model.shape.locals):
            if held and step.outcome.sends and step.after.locals[slot] != step.before.locals[slot] == EMPTY_SLOT:
                self._under_way[slot] = held[0]

    async def _call(self, step: Taken, local: Enacting, action: str) -> str:
        method = self._model.call(local).method
        self._server.loses = action.endswith(": reply lost")
        self._server.copies = action.endswith(": sent twice")
        try:
            reply = await self._made(step, local)
        finally:
            lost, copied = self._server.loses, self._server.copies
            self._server.loses = self._server.copies = False
        if lost or copied:
            return action
        if f"{method}: {word(reply)}" != action and method == "look":
            # The trace had the lock of another expire before this look; a look changes nothing, so look again later.
            _, clock = self._hand(step.process)
            clock.now_ms += 2 * LOCK_EXPIRY_MS
            reply = await self._made(step, local)
        return f"{method}: {word(reply)}"

    async def _made(self, step: Taken, local: Enacting) -> Any:
        zone, _ = self._hand(step.process)
        call = self._model.call(local)
        endpoint = self._name(step.service - 1)
        node = layout.node_name(endpoint, layout.node_generation(local.nodes[0])) if local.nodes else ""
        stands_for: dict[Any, Any] = {PLAN: self._plan(local.plan), NODE: node}
        try:
            return await getattr(zone, call.method)(endpoint, *(stands_for.get(arg, arg) for arg in call.args[1:]))
        except CorruptFence as error:
            return error

    async def _crash(self, step: Taken, local: Enacting, during: bool) -> None:
        if during:
            self._server.loses = True
            try:
                await self._made(step, local)
            finally:
                self._server.loses = False
        self._hands.pop(step.process, None)

    def _hand(self, process: int) -> tuple[GuardedZone, SteadyClock]:
        if process not in self._hands:
            clock = SteadyClock()
            name = self._model.process_name(process)
            zone = GuardedZone(self._zone, self._server, self._model.config.policy, name, self._nonces, clock, Unread())
            self._hands[process] = (zone, clock)
        return self._hands[process]

    def _name(self, index: int) -> str:
        return f"{self._model.shape.services[1 + index]}.{self._under}"

    def _plan(self, generation: int) -> Plan:
        """The plan with every endpoint under its own name."""
        one = plan_at(generation, self._model.config.layout, self._model.config.answers)
        endpoints = {}
        for planned in one.endpoints.values():
            for index in range(self._model.config.endpoints):
                named = replace(planned, name=self._name(index), zone=self._zone)
                endpoints[named.name] = restamped(named, generation)
        return replace(one, endpoints=endpoints)

    async def _compared(self, story: StoryStep) -> tuple[str, ...]:
        """The endpoint as it stands, which has to be as explored."""
        if not story.endpoint:
            return ()
        index = self._model.shape.services.index(story.endpoint) - 1
        explored: EndpointShown = story.zone[index]
        name = self._name(index)
        reading = await self._bare.read(name)
        node = await self._bare.read_node(reading.target) if reading.target else None
        answer = node.a if node is not None else reading.a
        trees = tuple(layout.node_generation(each) for each in await self._bare.nodes(name))
        if (answer, trees) != (explored.answer, explored.trees):
            raise Diverged(
                f"step {story.number}: explored {explored.answer} with trees {explored.trees}, "
                f"the server has {answer} with {trees}: {story.text}"
            )
        return answer

    async def forget(self) -> None:
        """Take every record away that driving has left on the server."""
        for index in range(self._model.config.endpoints):
            name = self._name(index)
            owners = [name, layout.lock_name(name), layout.rollback_name(name), *await self._bare.nodes(name)]
            fence = layout.fence_name(name)
            gone: list[Change] = [DeleteName(owner) for owner in (*owners, layout.weights_name(name))]
            gone.append(DeleteRRset(fence, layout.TXT))
            fences = (await self._bare.read(name)).fences
            await self._bare.commit(Transaction(self._zone, (layout.stands(fence, layout.TXT, fences),), tuple(gone)))
