"""The Planner's table: region, health and the published plan as arrays, from which the next answers follow.

    table = PlanningTable(region, now_s)
    table.adopt(published_plan, now_s)      what everybody sees; hysteresis and velocity are measured against it
    table.observe(verdicts, now_s)
    proposal = table.propose(now_s, routine=...)
    table.accept(proposal, now_s)           once the store has appended it

`propose` changes nothing that a caller can see: without `accept` it says the same again. The same calls with the same
values make the same plan. Time is passed in. Only endpoints that a change concerns are looked at, but for a routine
pass, which looks at all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from evenkeel.admission.velocity import VelocityWindow, removals_max
from evenkeel.endpoints import members
from evenkeel.endpoints.answers import NOTHING_FOREIGN, Foreign
from evenkeel.endpoints.members import Hold, Limits, View
from evenkeel.endpoints.observed import Observed
from evenkeel.endpoints.pools import Flags, Floats, Ints, Standings, pools_of
from evenkeel.endpoints.proposals import Change, Why, Withheld
from evenkeel.endpoints.published import Memo, Published
from evenkeel.endpoints.weights import capacity_parts, drifted, lean_away, whole_weights
from evenkeel.model.health import Health
from evenkeel.model.plan import EndpointPlan, Lane, Plan, PlanDelta
from evenkeel.model.region import Region
from evenkeel.ports.plan_store import Head

# What another Planner has just taken out counts as unknown here for as long as the two may not have heard the same;
# else this one, a moment behind, would put it back, and the velocity limit would keep it there.
VIEWS_DIFFER_S = 5.0

_URGENT = Why.FAILED | Why.DRAINED | Why.STAND_IN


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """The next plan, told as what changes. Empty (`is_empty`) where nothing does: then no generation is spent.

    What follows `withheld` is the table's own, for `accept`.
    """

    region: str
    generation: int
    previous: int
    changes: tuple[Change, ...]
    removed: tuple[str, ...]
    withheld: tuple[Withheld, ...]
    routine: bool
    looked_at: Ints
    unsettled: Ints
    weight: Ints
    spent: Ints
    foreign: Mapping[int, Foreign]

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.removed

    @property
    def lane(self) -> Lane:
        urgent = any(change.plan.lane is Lane.URGENT for change in self.changes)
        return Lane.URGENT if urgent else Lane.ROUTINE

    def delta(self, planner: str) -> PlanDelta:
        """For the plan store, in `planner`'s name."""
        changed = tuple(change.plan for change in self.changes)
        return PlanDelta(self.region, self.generation, self.previous, planner, changed, self.removed)


@dataclass(frozen=True, slots=True)
class _Step:
    """One pass over some endpoints: `member` and `hold` by edge of the view, the rest by endpoint of it."""

    view: View
    member: Flags
    hold: Standings
    unsettled: Flags
    why: Ints


class PlanningTable:
    """All endpoints of `region` at once. `started_s` is when the wait for first verdicts began."""

    def __init__(self, region: Region, started_s: float) -> None:
        self.pools = pools_of(region)
        self.generation = 0
        self.routine_at_s = -math.inf  # when this table last saw a routine change, or made a routine pass
        self.withheld: tuple[Withheld, ...] = ()
        self._region = region
        self._settings = region.planner
        self._warm_at_s = started_s + region.planner.warm_up_s
        self._head: Head | None = None
        self._observed = Observed(self.pools)
        self._published = Published(self.pools)
        self._dirty: Flags = np.ones(len(self.pools.endpoints), dtype=np.bool_)
        self._unsettled: Flags = np.zeros(len(self.pools.endpoints), dtype=np.bool_)
        self._look_again_s = math.inf
        self._barred_until_s: Floats = np.full(len(self.pools.edge_lb), -math.inf)
        self._moves_max = removals_max(self.pools.size, region.planner.removals_share_max)
        self._velocity = VelocityWindow(self._moves_max, region.planner.removals_window_s)

    # --- what the table is told -------------------------------------------------------------------

    def adopt(self, plan: Plan, now_s: float) -> None:
        """Take `plan` as what is published. Urgent removals that it brings count against the velocity limit.

        The first plan adopted brings none; so a Planner that starts adopts an earlier plan first, and forgets nothing.
        """
        if plan.generation == self.generation:
            return
        known = self.generation if plan.generation > self.generation else 0
        for name in self._published.plans.keys() - plan.endpoints.keys():
            self._forget(name)
        spent: list[int] = []
        for endpoint in plan.endpoints.values():
            if endpoint.changed_in <= known:
                continue
            number, lost = self._published.take(endpoint)
            if number is not None:
                self._dirty[number] = True
                self._barred_until_s[lost] = now_s + VIEWS_DIFFER_S
                spent += [number] * len(lost) if endpoint.lane is Lane.URGENT else []
            if known and endpoint.lane is Lane.ROUTINE:
                self.routine_at_s = now_s
        self._velocity.spend(np.array(spent, dtype=np.int32), now_s)
        self.generation = plan.generation

    def stand_on(self, head: Head) -> None:
        """Where the store stands. One that lost plans gets everything anew, above all that anybody knows: an Enactor
        takes an endpoint only from a generation that is above the endpoint's fence."""
        self._head = head

    def observe(self, verdicts: Mapping[str, Health], now_s: float) -> bool:
        """Take the quorum's verdicts; whether any standing changed. A load balancer without one is unknown."""
        changed = self._observed.take(verdicts, now_s)
        if len(changed):
            self._dirty[self.pools.endpoints_behind(changed)] = True
        return bool(len(changed))

    # --- what follows from it ---------------------------------------------------------------------

    def propose(self, now_s: float, *, routine: bool) -> Proposal:
        """The next plan as things stand; with `routine`, also what is not urgent."""
        head = self._head or Head(self.generation, 0)
        restore = max(head.floor, self.generation) > head.generation
        numbers = self._to_look_at(now_s, everything=routine or restore)
        if not len(numbers) and not routine:
            return self._nothing_new(head, numbers)
        step = self._step(numbers, now_s, routine)
        weight, chosen = self._weigh(step, routine)
        foreign = self._let_go(weight, chosen) if routine else {}
        if restore:
            answering = np.flatnonzero(np.add.reduceat(weight, self.pools.start[:-1])).tolist()
            chosen = {number: Why.RESTORED | chosen.get(number, Why.RESTORED) for number in answering}
        generation = max(self.generation, head.floor) + 1
        return Proposal(
            region=self._region.name,
            generation=generation,
            previous=min(self.generation, head.generation),  # an older one than the head is refused there
            changes=self._changes(chosen, weight, foreign, generation),
            removed=tuple(sorted(self._published.surplus)) if routine else (),
            withheld=self._withheld(step) if len(step.view.numbers) else self.withheld,
            routine=routine,
            looked_at=step.view.numbers,
            unsettled=step.view.numbers[step.unsettled],
            weight=weight,
            spent=step.view.numbers[step.view.segment[step.view.bad & ~step.member]],
            foreign=foreign,
        )

    def _nothing_new(self, head: Head, none: Ints) -> Proposal:
        """Nothing has happened since the last look: most cycles end here, at no cost."""
        return Proposal(
            region=self._region.name,
            generation=max(self.generation, head.floor) + 1,
            previous=min(self.generation, head.generation),
            changes=(),
            removed=(),
            withheld=self.withheld,
            routine=False,
            looked_at=none,
            unsettled=none,
            weight=self._published.weight,
            spent=none,
            foreign={},
        )

    def accept(self, proposal: Proposal, now_s: float) -> None:
        """The proposal is published, or had nothing to publish."""
        if not proposal.is_empty:
            self.generation = proposal.generation
        plans = {change.plan.name: change.plan for change in proposal.changes}
        self._published.replace(proposal.weight, plans, proposal.foreign)
        for name in proposal.removed:
            self._forget(name)
        self._dirty[proposal.looked_at] = False
        self._unsettled[proposal.looked_at] = False
        self._unsettled[proposal.unsettled] = True
        self._velocity.spend(proposal.spent, now_s)
        self.withheld = proposal.withheld
        if proposal.routine:
            self.routine_at_s = now_s
        self._look_again_s = math.inf
        if self._unsettled.any():
            barred = self._barred_until_s[self._barred_until_s > now_s]
            moments = (self._velocity.frees_at_s(), self._warm_at_s, *barred.tolist()[:1])
            self._look_again_s = min((moment for moment in moments if moment > now_s), default=math.inf)

    def is_settled(self, now_s: float) -> bool:
        """Whether every load balancer has a verdict, or has had its time: nothing routine is decided before."""
        return self._observed.is_decided or now_s >= self._warm_at_s

    @property
    def published(self) -> Plan:
        """What the table takes as published. The mapping is the table's own: not to be kept."""
        return Plan(self._region.name, self.generation, "", self._published.plans)

    @property
    def verdicts(self) -> Mapping[str, Health]:
        """The verdicts last observed, by load balancer."""
        return self._observed.verdicts

    # --- within -----------------------------------------------------------------------------------

    def _forget(self, name: str) -> None:
        number = self._published.forget(name)
        if number is not None:
            self._dirty[number] = True

    def _to_look_at(self, now_s: float, *, everything: bool) -> Ints:
        if everything:
            return np.arange(len(self.pools.endpoints), dtype=np.int32)
        if self._dirty.any() or now_s >= self._look_again_s:
            return np.flatnonzero(self._dirty | self._unsettled).astype(np.int32)
        return np.zeros(0, dtype=np.int32)

    def _step(self, numbers: Ints, now_s: float, routine: bool) -> _Step:
        """Members of endpoints `numbers` as they are to be next."""
        pools, settings = self.pools, self._settings
        view = members.view_of(pools, numbers, self._observed.standing, self._published.weight > 0)
        barred = self._barred_until_s[view.edges] > now_s
        view.standing[barred & (view.standing == members.HEALTHY)] = members.UNKNOWN
        share_max = self._region.policy.removed_share_max
        limits = Limits(settings.panic_share, share_max, self._velocity.left(numbers, now_s))
        urgent = members.urgent_members(pools, view, limits, self._observed.bad_since_s)
        member = urgent.member
        gone, come = view.member & ~member, member & ~view.member
        why = np.where(view.count(gone & (view.standing == members.FAILED)) > 0, Why.FAILED, 0)
        why |= np.where(view.count(gone & (view.standing == members.DRAINING)) > 0, Why.DRAINED, 0)
        why |= np.where(view.count(come) > 0, Why.STAND_IN, 0)
        if routine:
            best = members.routine_members(pools, replace(view, member=member), self._moves_max[numbers], share_max)
            best = np.where((why > 0)[view.segment], member, best)  # one kind of step at a time
            why |= np.where(view.count(best & ~member) > 0, Why.ADDED, 0)
            why |= np.where(view.count(member & ~best) > 0, Why.MOVED, 0)
            member = best
        blank = view.count(view.member) == 0
        waiting = blank & self._awaits_verdicts(view, now_s)
        starting = blank & ~waiting
        if starting.any():
            first = members.first_members(pools, view, settings.panic_share)
            member = np.where(starting[view.segment], first, member)
            why = np.where(starting, Why.FIRST, why)
        return _Step(view, member, urgent.hold, urgent.unsettled | waiting, why.astype(np.int32))

    def _awaits_verdicts(self, view: View, now_s: float) -> Flags:
        """A first answer waits for verdicts on its pool, and the first plan for those on all pools; for a time."""
        undecided = _is_undecided(view)
        awaits: Flags = view.count(undecided) > 0
        if now_s >= self._warm_at_s:
            awaits[:] = False
        elif self.generation == 0:
            awaits[:] = undecided.any()
        return awaits

    def _weigh(self, step: _Step, routine: bool) -> tuple[Ints, dict[int, Why]]:
        """The weights to publish, and the endpoints they change, with why.

        An endpoint whose members change takes its present weights along; else weights move in routine passes only,
        and only past the hysteresis.
        """
        view, settings = step.view, self._settings
        published = self._published.weight
        why = step.why
        if not why.any() and not (routine and len(view.numbers)):
            return published, {}
        member = published > 0
        member[view.edges] = step.member
        parts = capacity_parts(self.pools, member, self._observed.capacity)
        if settings.load_aware:
            parts = lean_away(self.pools, parts, self._observed.capacity, self._observed.load)
        fresh = whole_weights(self.pools, member, parts, settings.weight_steps)
        if routine:
            off = drifted(self.pools, published, parts, settings.weight_steps, settings.weight_hysteresis)
            # What is remembered of a load balancer without a verdict differs between Planners; they would take turns.
            unsure = view.count(step.member & _is_undecided(view)) > 0
            why = np.where(off[view.numbers] & (why == 0) & ~unsure, Why.WEIGHTS, why)
        moved = np.zeros(len(self.pools.endpoints), dtype=np.bool_)
        moved[view.numbers[why > 0]] = True
        weight = np.where(moved[self.pools.edge_endpoint], fresh, published)
        concerned = np.flatnonzero(why)
        reasons = {reason: Why(reason) for reason in np.unique(why).tolist()}
        pairs = zip(view.numbers[concerned].tolist(), why[concerned].tolist(), strict=True)
        return weight, {number: reasons[reason] for number, reason in pairs}

    def _let_go(self, weight: Ints, chosen: dict[int, Why]) -> dict[int, Foreign]:
        """Stale endpoints join `chosen`. Of their foreign addresses half may leave in one plan, and no more than that
        the answer as a whole stays within what one plan may take."""
        kept = {}
        for number in sorted(self._published.stale):
            edges = slice(int(self.pools.start[number]), int(self.pools.start[number + 1]))
            ours = self.pools.addresses[edges]
            grows_by = int(ours[weight[edges] > 0].sum() - ours[self._published.weight[edges] > 0].sum())
            size = self._published.plans[self.pools.endpoints[number].name].answer.size
            foreign = self._published.foreign.get(number, NOTHING_FOREIGN)
            may_go = max(0, int(size * self._region.policy.removed_share_max) + grows_by)
            kept[number] = foreign.without(min(may_go, max(1, foreign.size // 2)))
            chosen[number] = chosen.get(number, Why(0)) | Why.CONFIGURATION
        return kept

    def _changes(
        self, chosen: Mapping[int, Why], weight: Ints, foreign: Mapping[int, Foreign], generation: int
    ) -> tuple[Change, ...]:
        if not chosen:
            return ()
        changes = []
        published, memo = self._published, Memo()
        numbers = sorted(chosen)
        edges, segment = self.pools.edges_of(np.array(numbers, dtype=np.int32))
        members_count = np.bincount(segment, weights=weight[edges] > 0, minlength=len(numbers)).tolist()
        for number, count in zip(numbers, members_count, strict=True):
            why = chosen[number]
            if not count:
                continue  # foreign addresses only, and no member yet to take over from them: they stay
            endpoint = self.pools.endpoints[number]
            left = foreign.get(number, published.foreign.get(number, NOTHING_FOREIGN))
            answer = published.render(number, weight, left, memo)
            old = published.plans.get(endpoint.name)
            same = old is not None and old.answer == answer and published.is_as_configured(number)
            if same and not why.value & Why.RESTORED.value:
                continue
            lane = Lane.URGENT if why.value & _URGENT.value else Lane.ROUTINE
            plan = EndpointPlan(endpoint.name, endpoint.zone, endpoint.layout, answer, generation, lane)
            changes.append(Change(plan, why))
        return tuple(changes)

    def _withheld(self, step: _Step) -> tuple[Withheld, ...]:
        held = np.flatnonzero(step.hold)
        pairs = np.stack([self.pools.edge_lb[step.view.edges[held]], step.hold[held]])
        kinds, counts = np.unique(pairs, axis=1, return_counts=True)
        return tuple(
            Withheld(self.pools.load_balancers[lb].name, Hold(hold).name.lower(), int(count))
            for (lb, hold), count in zip(kinds.T.tolist(), counts.tolist(), strict=True)
        )


def _is_undecided(view: View) -> Flags:
    undecided: Flags = (view.standing == members.NEW) | (view.standing == members.UNKNOWN)
    return undecided
