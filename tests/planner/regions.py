"""Small regions to plan for, and a Planner's day in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from evenkeel.endpoints.planning import PlanningTable, Proposal
from evenkeel.model.health import Health, Standing
from evenkeel.model.plan import EndpointPlan, Layout, Plan
from evenkeel.model.policy import SAFE
from evenkeel.model.region import Endpoint, HostPort, LoadBalancer, PlannerSettings, Region

AZS = ("a", "b", "c")
ZONE = "demo.example."
DB = "db.demo.example."
WARM_UP_S = 30.0


def balancers(count: int, **others: object) -> dict[str, LoadBalancer]:
    """lb-1 at 192.0.2.1 in az a, lb-2 at .2 in az b, and so on."""
    made = (
        LoadBalancer(
            name=f"lb-{n}",
            az=AZS[(n - 1) % len(AZS)],
            ipv4=(f"192.0.2.{n}",),
            ipv6=(f"2001:db8::{n:x}",),
        )
        for n in range(1, count + 1)
    )
    return {lb.name: replace(lb, **others) for lb in made}  # type: ignore[arg-type]  # the caller names real fields


def endpoint(name: str = DB, pool: Iterable[str] = (), **others: object) -> Endpoint:
    made = Endpoint(name, ZONE, Layout.TREE, tuple(pool))
    return replace(made, **others)  # type: ignore[arg-type]  # the caller names real fields


def region(
    load_balancers: Mapping[str, LoadBalancer],
    endpoints: Iterable[Endpoint] = (),
    settings: PlannerSettings | None = None,
) -> Region:
    """Endpoints without a pool of their own have every load balancer in theirs."""
    everyone = tuple(load_balancers)
    made = [replace(each, load_balancers=each.load_balancers or everyone) for each in endpoints or [endpoint()]]
    nowhere = HostPort("127.0.0.1", 1)
    return Region(
        name="demo",
        azs=AZS,
        zones={},
        load_balancers=dict(load_balancers),
        endpoints={each.name: each for each in made},
        policy=SAFE,
        planner=settings or PlannerSettings(warm_up_s=WARM_UP_S),
        plan_store=nowhere,
        health_intake=(nowhere,),
        metrics_host="127.0.0.1",
        metrics_port_base=0,
        planners=1,
        enactors=3,
        audit_every_s=1.0,
        state_dir="/nowhere",
    )


@dataclass
class Day:
    """A Planner's table, the health it sees, and time that passes as told. Starts with everybody healthy."""

    region: Region
    now_s: float = 0.0
    table: PlanningTable = field(init=False)
    health: dict[str, Health] = field(init=False)

    def __post_init__(self) -> None:
        self.table = PlanningTable(self.region, self.now_s)
        self.health = {
            lb.name: Health(lb.name, Standing.HEALTHY, lb.capacity) for lb in self.region.load_balancers.values()
        }

    def mark(self, standing: Standing, *names: str) -> Day:
        for name in names or tuple(self.health):
            self.health[name] = replace(self.health[name], standing=standing)
        return self

    def capacity(self, **of: float) -> Day:
        """By name, underscores for hyphens."""
        for name, capacity in of.items():
            lb = name.replace("_", "-")
            self.health[lb] = replace(self.health[lb], capacity=capacity)
        return self

    def plan(self, after_s: float = 0.0, *, routine: bool = False) -> Proposal:
        """Plan, `after_s` later, and have it appended."""
        proposal = self.propose(after_s, routine=routine)
        self.table.accept(proposal, self.now_s)
        return proposal

    def propose(self, after_s: float = 0.0, *, routine: bool = False) -> Proposal:
        self.now_s += after_s
        self.table.observe(dict(self.health), self.now_s)
        return self.table.propose(self.now_s, routine=routine)

    def published(self) -> Plan:
        plan = self.table.published
        return replace(plan, endpoints=dict(plan.endpoints))

    def of(self, name: str = DB) -> EndpointPlan:
        return self.table.published.endpoints[name]

    def members(self, name: str = DB) -> set[str]:
        """Names of the load balancers in the published answer, by their IPv4 addresses."""
        addresses = self.of(name).answer.addresses()
        return {lb.name for lb in self.region.load_balancers.values() if addresses & {*lb.ipv4, *lb.ipv6}}

    def shares(self, name: str = DB) -> dict[str, float]:
        """By load balancer, the share of IPv4 clients."""
        answer = self.of(name).answer
        weights = dict(zip(answer.a, answer.a_weights, strict=True))
        total = sum(weights.values())
        found = {}
        for lb in self.region.load_balancers.values():
            weight = sum(weights.get(address, 0) for address in lb.ipv4)
            if weight:
                found[lb.name] = weight / total
        return found

    def restarted(self) -> Day:
        """Another Planner in the place of this one: it knows what is published, and nothing else."""
        other = Day(self.region, self.now_s)
        other.table.adopt(self.published(), self.now_s)
        other.health = dict(self.health)
        return other
