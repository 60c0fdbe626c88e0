"""A health change among 500,000 records: how long until the next plan and its diff stand.

125,000 endpoints with 4 load balancers each, 5,000 load balancers. One of them fails (about 100 endpoints), a large one
fails (2,500 endpoints), and a routine pass looks at everything. Beside it, in the same run, a Planner in plain Python
does the same work the straightforward way: every answer anew, compared with the published one.

    python -m benchmarks.planner [--endpoints 125000]
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from evenkeel.endpoints.planning import PlanningTable, Proposal
from evenkeel.model.health import Health, Standing
from evenkeel.model.plan import Answer, Layout
from evenkeel.model.policy import SAFE
from evenkeel.model.region import Endpoint, HostPort, LoadBalancer, PlannerSettings, Region

MEMBERS = 4
AZS = ("a", "b", "c")
BAR_MS = 200.0
RUNS = 7


def make_region(endpoints: int, load_balancers: int, rng: random.Random) -> Region:
    lbs = {}
    for n in range(load_balancers):
        name = f"lb-{n:05}"
        lbs[name] = LoadBalancer(
            name,
            AZS[n % 3],
            ipv4=(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",),
            capacity=float(rng.choice([50, 100, 200])),
        )
    names = sorted(lbs)
    made = {}
    for n in range(endpoints):
        # The first one in 50 shares a large load balancer; the others draw at random.
        pool = rng.sample(names[1:], MEMBERS)
        if n % 50 == 0:
            pool[0] = names[0]
        name = f"acct-{n:06}.db.demo.example."
        made[name] = Endpoint(name, "demo.example.", Layout.TREE, tuple(pool))
    nowhere = HostPort("127.0.0.1", 1)
    settings = PlannerSettings(removals_share_max=0.34, warm_up_s=0.0)
    return Region(
        "demo", AZS, {}, lbs, made, SAFE, settings, nowhere, (nowhere,), "127.0.0.1", 0, 1, 3, 1.0, "/nowhere"
    )  # fmt: skip


class PlainPlanner:
    """The same rules in plain Python: members, capacity counted once, whole weights, and a diff with what is published.

    Without lanes, hysteresis, velocity and panic, which would only add to its work.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.published: dict[str, Answer] = {}

    def plan(self, health: dict[str, Health]) -> dict[str, Answer]:
        """What changes, by endpoint."""
        lbs = self.region.load_balancers
        members: dict[str, list[str]] = {}
        demand: dict[str, float] = {}
        for name, endpoint in self.region.endpoints.items():
            ready = [lb for lb in endpoint.load_balancers if health[lb].standing is Standing.HEALTHY]
            members[name] = ready or list(endpoint.load_balancers)
            for lb in members[name]:
                demand[lb] = demand.get(lb, 0.0) + endpoint.demand
        changed = {}
        for name, endpoint in self.region.endpoints.items():
            parts = {lb: health[lb].capacity * endpoint.demand / demand[lb] for lb in members[name]}
            peak = max(parts.values()) or 1.0
            pairs = sorted((lbs[lb].ipv4[0], max(1, round(16 * part / peak))) for lb, part in parts.items())
            answer = Answer(endpoint.ttl_s, tuple(a for a, _ in pairs), tuple(w for _, w in pairs))
            if self.published.get(name) != answer:
                changed[name] = answer
        return changed


def milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


class Bench:
    """A table at rest, and verdicts to move it with."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.now_s = 0.0
        self.health = {lb.name: Health(lb.name, Standing.HEALTHY, lb.capacity) for lb in region.load_balancers.values()}
        self.table = PlanningTable(region, 0.0)

    def plan(self, *, routine: bool = False) -> Proposal:
        self.table.observe(self.health, self.now_s)
        proposal = self.table.propose(self.now_s, routine=routine)
        self.table.accept(proposal, self.now_s)
        return proposal

    def fail(self, name: str) -> tuple[float, int]:
        """Milliseconds from the verdict to the delta, and how many endpoints it changes; all is well again after."""
        self.now_s += 100.0
        self.health[name] = replace(self.health[name], standing=Standing.FAILED)
        found: list[Proposal] = []
        took_ms = milliseconds(lambda: found.append(self.plan()))
        self.health[name] = replace(self.health[name], standing=Standing.HEALTHY)
        self.now_s += 100.0
        self.plan(routine=True)
        return took_ms, len(found[0].changes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoints", type=int, default=125_000)
    parser.add_argument("--load-balancers", type=int, default=5_000)
    asked = parser.parse_args()
    rng = random.Random(1)
    region = make_region(asked.endpoints, asked.load_balancers, rng)
    bench = Bench(region)
    print(f"{asked.endpoints} endpoints x {MEMBERS} = {asked.endpoints * MEMBERS} records, {asked.load_balancers} LBs")
    print(f"  first plan of everything       {milliseconds(lambda: bench.plan(routine=True)):9.1f} ms")
    gc.freeze()  # as the Planner's process does once it has its first plan

    names = rng.sample(sorted(region.load_balancers)[1:], RUNS)
    small = [bench.fail(name) for name in names]
    large = [bench.fail("lb-00000") for _ in range(RUNS)]
    routine = [milliseconds(lambda: bench.plan(routine=True)) for _ in range(RUNS)]
    idle = [milliseconds(bench.plan) for _ in range(RUNS)]

    plain = PlainPlanner(region)
    plain.published = plain.plan(bench.health)
    bench.health[names[0]] = replace(bench.health[names[0]], standing=Standing.FAILED)
    reference = [milliseconds(lambda: plain.plan(bench.health)) for _ in range(3)]

    plain_ms = statistics.median(reference)
    for what, runs in (("one of 5,000 fails", small), ("a large one fails", large)):
        took_ms, changed = statistics.median(ms for ms, _ in runs), runs[0][1]
        print(f"  {what:<22} {changed:>6}  {took_ms:9.1f} ms  plain {plain_ms:.0f} ms  {plain_ms / took_ms:6.0f}x")
    print(f"  routine pass, no change        {statistics.median(routine):9.1f} ms")
    print(f"  idle cycle                     {statistics.median(idle):9.1f} ms")
    median_ms, worst_ms = statistics.median(ms for ms, _ in large), max(ms for ms, _ in small + large)
    is_met = median_ms <= BAR_MS
    print(f"  a large one's failure: median {median_ms:.1f} ms, worst of all {worst_ms:.1f} ms")
    print(f"  bar {BAR_MS:g} ms (median): {'met' if is_met else 'MISSED'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
