"""One zone as the workflows see it, over any server: decisions up, transactions down, the guard in between.

The same code stands over a real server's client and over a twin. It keeps what was read of an endpoint as the
ticket of the next write; nothing above it ever sees a fence's text. Every write that changes an answer passes
`guard.why_unsafe` here, below every caller (DESIGN.md, never empty).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evenkeel.endpoints import layout
from evenkeel.endpoints.guard import why_unsafe
from evenkeel.endpoints.layout import Standing, Target
from evenkeel.model.errors import CorruptFence, Refusal, WriteRejected
from evenkeel.model.events import EventKind
from evenkeel.model.fence import Fence, greatest_generation, only_fence
from evenkeel.model.plan import Plan
from evenkeel.model.policy import CleanUpBy, DnsPolicy, MissingPlan, StalenessCheck
from evenkeel.model.transactions import Commit, Transaction
from evenkeel.ports.clock import Clock, Nonces
from evenkeel.ports.journal import Journal
from evenkeel.ports.zone import Look, Write, ZoneServer

# October 2025's lock is taken over from a holder that has not released it for this long (an assumption: not public).
LOCK_EXPIRY_MS = 10_000

_WRITES = {Commit.APPLIED: Write.APPLIED, Commit.REFUSED: Write.SUPERSEDED, Commit.UNKNOWN: Write.UNKNOWN}


@dataclass(slots=True)
class Ticket:
    """What was read of an endpoint, and the write that hangs on it."""

    standing: Standing
    lock: str = ""  # ours, once taken
    is_drift: bool = False  # the fence vouches for the planned answer; what stands is a foreign hand's


class GuardedZone:
    """Implements `ports.zone.EnactorZone[Plan]` and `CleanUpZone[Plan]`, and what the levers need."""

    def __init__(
        self,
        zone: str,
        server: ZoneServer,
        policy: DnsPolicy,
        writer: str,
        nonces: Nonces,
        clock: Clock,
        journal: Journal,
    ) -> None:
        self.zone = zone
        self.writer = writer
        self.policy = policy
        # Told of every write of ours that landed, also where only the fence's nonce shows it.
        self.on_published: Callable[[str, int], None] = lambda endpoint, generation: None
        self._server = server
        self._nonces = nonces
        self._clock = clock
        self._journal = journal
        self.tickets: dict[str, Ticket] = {}  # open to whoever suspends a workflow and resumes it elsewhere
        self._unresolved: dict[str, str] = {}  # endpoint -> nonce of a write whose reply was lost

    # --- reading --------------------------------------------------------------------------------------

    async def standing(self, endpoint: str) -> Standing:
        """What clients get from the endpoint now."""
        reading = await self._server.read(endpoint)
        node = await self._server.read_node(reading.target) if reading.target else None
        return Standing(reading, node)

    async def frozen(self) -> str:
        return await self._server.frozen()

    async def fenced_generation(self, endpoint: str) -> int:
        """The greatest generation that the endpoint's fences show; 0 where there is none that can be read."""
        return greatest_generation((await self._server.read(endpoint)).fences)

    async def look(self, endpoint: str, plan: Plan) -> Look:
        planned = plan.endpoints.get(endpoint)
        if planned is None:
            return Look.ABSENT
        if await self._server.frozen():
            return Look.FROZEN
        standing = await self.standing(endpoint)
        try:
            fence = only_fence(standing.reading.fences, endpoint)
        except CorruptFence as error:
            self._journal.record(EventKind.FENCE_CORRUPT, endpoint=endpoint, detail=str(error))
            return Look.CORRUPT
        self.tickets[endpoint] = Ticket(standing)
        self._resolve_unknown(endpoint, fence)
        if fence is not None and fence.pinned:
            return Look.HELD
        if not self.policy.fenced:
            return self._look_unfenced(standing, fence, self._target(endpoint, plan), plan)
        if fence is None or fence.generation < planned.changed_in:
            return Look.BEHIND
        # At or past the change. Past the whole plan: someone with a newer one. Within it: only as planned is current,
        # anything else is a foreign hand's work and is put right.
        if fence.generation > plan.generation or layout.is_shown(self._target(endpoint, plan), standing):
            return Look.CURRENT
        self.tickets[endpoint].is_drift = True
        self._journal.record(
            EventKind.DRIFT, endpoint=endpoint, generation=plan.generation, detail="answer other than its fence says"
        )
        return Look.BEHIND

    def _look_unfenced(self, standing: Standing, fence: Fence | None, target: Target, plan: Plan) -> Look:
        """October 2025's order of things: is there still work, can the rollback pointer be set, is the lock free."""
        if layout.is_shown(target, standing):
            return Look.CURRENT
        stale = fence is not None and fence.generation >= plan.generation
        if stale and self.policy.staleness_check is StalenessCheck.BEFORE_EACH_WRITE:
            return Look.CURRENT
        if standing.is_dangling and self.policy.missing_plan is MissingPlan.WEDGE:
            self._journal.record(
                EventKind.WEDGED,
                endpoint=target.endpoint,
                generation=plan.generation,
                detail=f"the current plan {standing.reading.target} is missing, the rollback record cannot be set",
            )
            return Look.WEDGED
        return Look.BUSY if self._lock_is_held(standing) else Look.BEHIND

    def _lock_is_held(self, standing: Standing) -> bool:
        now_ms = self._clock.wall_ms()
        for text in standing.reading.locks:
            holder, _, epoch = text.partition(" ")
            if holder != self.writer and epoch.isdigit() and now_ms - int(epoch) < LOCK_EXPIRY_MS:
                return True
        return False

    def _resolve_unknown(self, endpoint: str, fence: Fence | None) -> None:
        """A write whose reply was lost has landed if the fence carries its nonce."""
        nonce = self._unresolved.pop(endpoint, None)
        if nonce is not None and fence is not None and fence.nonce == nonce:
            self.on_published(endpoint, fence.generation)

    # --- the Enactor's writes -------------------------------------------------------------------------

    def _target(self, endpoint: str, plan: Plan) -> Target:
        """Fenced, a node belongs to the generation that changed the answer; unfenced, every plan has its own tree."""
        planned = plan.endpoints[endpoint]
        return Target.of(planned, planned.changed_in if self.policy.fenced else plan.generation)

    async def build(self, endpoint: str, plan: Plan) -> Write:
        target = self._target(endpoint, plan)
        if not target.node:
            return Write.APPLIED
        ticket = self.tickets.get(endpoint)
        # Only the node that clients are pointed to already changes what they get.
        if ticket is not None and target.node == ticket.standing.reading.target and self._refuses(target, ticket, plan):
            return Write.UNSAFE
        return await self._attempt(endpoint, plan, layout.build_node(self.zone, target))

    async def flip(self, endpoint: str, plan: Plan) -> Write:
        target, ticket = self._target(endpoint, plan), self.tickets.pop(endpoint)
        if self._refuses(target, ticket, plan):
            return Write.UNSAFE
        fence = Fence(plan.generation, self.writer, self._nonces.next())
        write = await self._attempt(endpoint, plan, layout.flip(self.zone, target, ticket.standing, fence))
        return self._written(endpoint, fence, write)

    def _written(self, endpoint: str, fence: Fence, write: Write) -> Write:
        if write is Write.UNKNOWN:
            self._unresolved[endpoint] = fence.nonce
        elif write is Write.APPLIED:
            self.on_published(endpoint, fence.generation)
        return write

    def _refuses(self, target: Target, ticket: Ticket, plan: Plan) -> bool:
        reason = why_unsafe(self.policy, ticket.standing, target.answer, restores=ticket.is_drift)
        if reason:
            self._journal.record(EventKind.REFUSED, endpoint=target.endpoint, generation=plan.generation, detail=reason)
        return bool(reason)

    # --- the operators' writes (levers.py) --------------------------------------------------------------

    async def show(self, target: Target, standing: Standing, generation: int, pinned: bool) -> Write:
        """Put `target` in place of `standing`, fenced. Raises `Refusal` where that would leave too little."""
        reason = why_unsafe(self.policy, standing, target.answer, restores=True)
        if reason:
            raise Refusal(f"{target.endpoint}: refused, {reason}")
        fence = Fence(generation, self.writer, self._nonces.next(), pinned)
        return await self._commit(layout.flip(self.zone, target, standing, fence))

    async def refence(self, endpoint: str, standing: Standing, generation: int, pinned: bool) -> Write:
        """A new fence beside the same answer."""
        fence = Fence(generation, self.writer, self._nonces.next(), pinned)
        return await self._commit(layout.refence(self.zone, endpoint, standing, fence))

    async def set_frozen(self, reason: str) -> Write:
        """Set the kill switch, or clear it with an empty reason."""
        return await self._commit(layout.freeze(self.zone, reason))

    async def _attempt(self, endpoint: str, plan: Plan, transaction: Transaction) -> Write:
        """A write of the Enactor's. One that the server will not have is told, and holds up no other endpoint."""
        try:
            return await self._commit(transaction)
        except WriteRejected as error:
            self._journal.record(EventKind.REFUSED, endpoint=endpoint, generation=plan.generation, detail=str(error))
            return Write.UNSAFE

    async def _commit(self, transaction: Transaction) -> Write:
        return _WRITES[await self._server.commit(transaction)]

    # --- October 2025 ---------------------------------------------------------------------------------

    async def is_newer(self, endpoint: str, plan: Plan) -> bool:
        fences = (await self._server.read(endpoint)).fences
        return not fences or Fence.parse(fences[0]).generation < plan.generation

    async def lock(self, endpoint: str) -> Write:
        ticket = self.tickets[endpoint]
        ticket.lock = f"{self.writer} {self._clock.wall_ms()}"
        locks = ticket.standing.reading.locks
        return await self._commit(layout.take_lock(self.zone, endpoint, locks, ticket.lock))

    async def flip_locked(self, endpoint: str, plan: Plan) -> Write:
        target, ticket = self._target(endpoint, plan), self.tickets.pop(endpoint)
        if self._refuses(target, ticket, plan):
            return Write.UNSAFE
        fence = Fence(plan.generation, self.writer, self._nonces.next())
        transaction = layout.flip_locked(self.zone, target, ticket.standing, fence, ticket.lock)
        write = await self._attempt(endpoint, plan, transaction)
        return self._written(endpoint, fence, write)

    # --- clean-up -------------------------------------------------------------------------------------

    async def spent_nodes(self, endpoint: str, plan: Plan) -> Sequence[str]:
        nodes = await self._server.nodes(endpoint)
        if self.policy.clean_up is CleanUpBy.REACHABILITY:
            # Nodes past the fence are being built for a flip to come.
            fence = only_fence((await self._server.read(endpoint)).fences, endpoint)
            past = [node for node in nodes if fence is not None and layout.node_generation(node) < fence.generation]
            return past[: -self.policy.keep_generations or None]
        oldest_kept = plan.generation - self.policy.keep_generations
        return [node for node in nodes if layout.node_generation(node) < oldest_kept]

    async def is_referenced(self, endpoint: str, node: str) -> bool:
        standing = await self.standing(endpoint)
        only_fence(standing.reading.fences, endpoint)  # nothing goes while the fence is corrupt
        self.tickets[endpoint] = Ticket(standing)
        return node in (standing.reading.target, standing.reading.rollback)

    async def remove(self, endpoint: str, node: str) -> Write:
        standing = self.tickets.pop(endpoint).standing
        return await self._commit(layout.remove_node(self.zone, endpoint, node, standing))

    async def remove_unfenced(self, endpoint: str, node: str) -> Write:
        self.tickets.pop(endpoint, None)
        return await self._commit(layout.remove_node_by_age(self.zone, node))
