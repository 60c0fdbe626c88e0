"""Whatever happens to health, in whatever order: what the Planner never does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel.admission.velocity import removals_max
from evenkeel.endpoints.pools import pools_of
from evenkeel.endpoints.weights import capacity_parts, drifted, lean_away, whole_weights
from evenkeel.model.health import Standing
from evenkeel.model.plan import PlanDelta
from evenkeel.model.region import Endpoint, LoadBalancer, PlannerSettings, Region
from tests.planner.regions import Day, balancers, endpoint, region

WINDOW_S = 60.0
FAMILIES = st.sampled_from([(True, True), (True, False), (False, True)])
STANDINGS = st.sampled_from(list(Standing))


@st.composite
def regions(draw: st.DrawFn) -> Region:
    lbs: dict[str, LoadBalancer] = {}
    for name, lb in balancers(draw(st.integers(1, 9))).items():
        four, six = draw(FAMILIES)
        capacity = draw(st.sampled_from([0.0, 1.0, 10.0, 100.0, 1000.0]))
        more = tuple(f"198.51.100.{lb.ipv4[0].split('.')[-1]}" for _ in range(draw(st.integers(0, 1))))
        lbs[name] = replace(lb, ipv4=lb.ipv4 + more if four else (), ipv6=lb.ipv6 if six else (), capacity=capacity)
    endpoints: list[Endpoint] = []
    for number in range(draw(st.integers(1, 5))):
        pool = draw(st.lists(st.sampled_from(sorted(lbs)), min_size=1, unique=True))
        four, six = draw(FAMILIES)
        usable = [lb for lb in pool if (four and lbs[lb].ipv4) or (six and lbs[lb].ipv6)]
        if usable:
            made = endpoint(f"n{number}.demo.example.", pool, ipv4=four, ipv6=six)
            members_min = draw(st.integers(1, len(usable)))
            endpoints.append(
                replace(
                    made,
                    members_min=members_min,
                    members_max=draw(st.integers(members_min, 9)),
                    demand=draw(st.sampled_from([0.5, 1.0, 7.0])),
                )
            )
    planner = PlannerSettings(
        removals_share_max=draw(st.sampled_from([0.1, 0.34, 1.0])),
        removals_window_s=WINDOW_S,
        panic_share=draw(st.sampled_from([0.0, 0.5, 0.9])),
        warm_up_s=10.0,
    )
    return region(lbs, endpoints or [endpoint(pool=sorted(lbs), ipv4=True, ipv6=True)], planner)


# One step: load balancers (by number) that get a standing, a new capacity for one, time, and the kind of pass.
STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 8), STANDINGS), max_size=4),
        st.sampled_from([None, 0.0, 5.0, 80.0, 130.0]),
        st.sampled_from([0.1, 5.0, 20.0, 70.0]),
        st.booleans(),
    ),
    max_size=14,
)
Step = tuple[list[tuple[int, Standing]], float | None, float, bool]


def apply(day: Day, step: Step) -> None:
    standings, capacity, _, _ = step
    names = sorted(day.health)
    for number, standing in standings:
        day.mark(standing, names[number % len(names)])
        if capacity is not None:
            name = names[number % len(names)]
            day.health[name] = replace(day.health[name], capacity=capacity)


@dataclass
class Watcher:
    """Holds every plan against what must never be."""

    day: Day
    sizes: dict[str, int] = field(default_factory=dict)
    removals: list[tuple[float, str]] = field(default_factory=list)
    members: dict[str, set[str]] = field(default_factory=dict)

    def check(self, routine: bool) -> None:
        for name, plan in self.day.table.published.endpoints.items():
            configured = self.day.region.endpoints[name]
            before, now = self.members.get(name), self.day.members(name)
            size = plan.answer.size
            assert size >= 1
            assert now <= set(configured.load_balancers)
            assert len(now) <= configured.members_max + 2  # one more a family keeps that family alive
            if before is not None:
                self._check_step(configured, before, now, routine)
            self.members[name] = now
        assert self.members.keys() == self.day.table.published.endpoints.keys()

    def _check_step(self, configured: Endpoint, before: set[str], now: set[str], routine: bool) -> None:
        health = self.day.health
        assert len(now) >= min(len(before), configured.members_min)
        assert self._addresses(configured, before) - self._addresses(configured, now) <= (
            self.day.region.policy.removed_share_max * self._addresses(configured, before)
        )
        gone = before - now
        assert all(health[lb].standing not in (Standing.UNKNOWN, Standing.NEW) for lb in gone)
        assert all(health[lb].standing is Standing.HEALTHY for lb in now - before)
        bad = [lb for lb in gone if health[lb].standing is not Standing.HEALTHY]
        if not routine:
            assert len(bad) == len(gone)
        self.removals += [(self.day.now_s, configured.name)] * len(bad)
        recent = [at for at, name in self.removals if name == configured.name and at > self.day.now_s - WINDOW_S]
        pools = self.day.table.pools
        number = pools.number_of[configured.name]
        limit = removals_max(pools.size, self.day.region.planner.removals_share_max)[number]
        assert len(recent) <= limit

    def _addresses(self, configured: Endpoint, members: set[str]) -> int:
        lbs = [self.day.region.load_balancers[name] for name in members]
        return sum(len(lb.ipv4) * configured.ipv4 + len(lb.ipv6) * configured.ipv6 for lb in lbs)


@settings(max_examples=100, deadline=None)
@given(regions(), STEPS)
def test_no_history_of_health_empties_an_endpoint_or_breaks_a_limit(made: Region, steps: list[Step]) -> None:
    day = Day(made)
    watcher = Watcher(day)
    for step in steps:
        apply(day, step)
        day.plan(step[2], routine=step[3])
        watcher.check(step[3])
    day.plan(20.0)
    watcher.check(False)
    assert set(day.table.published.endpoints) == set(made.endpoints)


@settings(max_examples=40, deadline=None)
@given(regions(), STEPS)
def test_the_same_input_makes_the_same_plans(made: Region, steps: list[Step]) -> None:
    def told() -> list[PlanDelta]:
        day = Day(made)
        plans: list[PlanDelta] = []
        for step in steps:
            apply(day, step)
            plans.append(day.plan(step[2], routine=step[3]).delta("planner-1"))
        return plans

    assert told() == told()


@settings(max_examples=50, deadline=None)
@given(regions(), STEPS)
def test_with_health_at_rest_plans_come_to_rest_and_a_restart_finds_nothing_to_do(
    made: Region, steps: list[Step]
) -> None:
    day = Day(made)
    for step in steps:
        apply(day, step)
        day.plan(step[2], routine=step[3])
    for _ in range(24):  # pools have 9 members at most, and each window lets one go
        day.plan(WINDOW_S + 2.0, routine=True)
    assert day.plan(WINDOW_S + 2.0, routine=True).is_empty
    if all(each.standing not in (Standing.NEW, Standing.UNKNOWN) for each in day.health.values()):
        assert day.restarted().plan(routine=True).is_empty


@settings(max_examples=40, deadline=None)
@given(regions(), STEPS, STEPS)
def test_two_planners_with_different_views_do_not_undo_each_other_for_ever(
    made: Region, mine: list[Step], yours: list[Step]
) -> None:
    one, other = Day(made), Day(made)
    turns: list[tuple[Day, Day]] = [(one, other), (other, one)] * 10
    for (planner, reader), step in zip(turns, [*mine, *yours], strict=False):
        apply(planner, step)
        reader.now_s = planner.now_s = max(planner.now_s, reader.now_s)
        planner.plan(step[2], routine=step[3])
        reader.table.adopt(planner.published(), planner.now_s)
    other.health = one.health
    generations = []
    for _ in range(24):
        for planner, reader in ((one, other), (other, one)):
            planner.now_s = max(one.now_s, other.now_s)
            planner.plan(WINDOW_S + 2.0, routine=True)
            reader.table.adopt(planner.published(), planner.now_s)
        generations.append(one.table.generation)
    assert generations[-1] == generations[-2]


@settings(max_examples=100, deadline=None)
@given(regions(), st.data())
def test_the_parts_of_a_load_balancer_sum_up_to_its_capacity(made: Region, data: st.DataObject) -> None:
    pools = pools_of(made)
    member = np.array(data.draw(st.lists(st.booleans(), min_size=len(pools.edge_lb), max_size=len(pools.edge_lb))))
    capacity = np.array([lb.capacity for lb in pools.load_balancers])
    parts = capacity_parts(pools, member, capacity)
    totals = np.bincount(pools.edge_lb, weights=parts, minlength=len(capacity))
    serving = np.bincount(pools.edge_lb, weights=member, minlength=len(capacity)) > 0
    assert np.allclose(totals, np.where(serving, capacity, 0.0))
    weights = whole_weights(pools, member, parts, 16)
    assert ((weights >= 1) == member).all()
    assert (weights <= 16).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(1.0, 1000.0), min_size=2, max_size=8),
    st.lists(st.lists(st.floats(-1.0, 1.0), min_size=8, max_size=8), min_size=1, max_size=6),
)
def test_a_wobble_of_capacity_within_the_hysteresis_is_published_once_at_most(
    capacities: list[float], wobbles: list[list[float]]
) -> None:
    # A share moves by (1 + w) / (1 - w) at most when every capacity moves by w: 0.045 keeps it within 0.2 of any other.
    day = Day(region(balancers(len(capacities), capacity=1.0)))

    def wobble(by: list[float]) -> None:
        for number, name in enumerate(sorted(day.health)):
            day.health[name] = replace(day.health[name], capacity=capacities[number] * (1 + 0.045 * by[number]))

    wobble(wobbles[0])
    day.plan(routine=True)
    generation = day.table.generation
    for by in wobbles:
        wobble(by)
        day.plan(60.0, routine=True)
    assert day.table.generation == generation


def test_leaning_away_from_load_settles() -> None:
    pools = pools_of(region(balancers(4)))
    capacity, member = np.full(4, 100.0), np.ones(4, dtype=np.bool_)
    parts = capacity_parts(pools, member, capacity)
    elsewhere = np.array([40.0, 0.0, 0.0, 0.0])  # load of lb-1 that weights do not move
    weight = whole_weights(pools, member, parts, 16)
    published = 0
    for _ in range(50):
        share = np.zeros(4)
        share[pools.edge_lb] = weight / weight.sum()
        leaning = lean_away(pools, parts, capacity, elsewhere + 160.0 * share)
        if drifted(pools, weight, leaning, 16, 0.2).any():
            weight = whole_weights(pools, member, leaning, 16)
            published += 1
    assert published <= 3
    assert weight[pools.edge_lb == 0] < weight[pools.edge_lb == 1]
