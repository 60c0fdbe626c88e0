"""One rehearsal: a scenario and a seed in, an outcome out; and what it comes to, as figures and as a verdict."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from evenkeel.model.region import Region, Zone
from evenkeel.region.components import Kind, components
from evenkeel.region.rehearsing.assumptions import Value, assumed
from evenkeel.region.rehearsing.policies import name_of, policy_named
from evenkeel.region.rehearsing.reading import Scenario
from evenkeel.sim.chance import Streams
from evenkeel.sim.clients import Stage, Suffered, capacity_lost, suffered
from evenkeel.sim.invariants import Invariant
from evenkeel.sim.milestones import Reached, reached
from evenkeel.sim.run import Cast, Rehearsal, Run
from evenkeel.sim.script import Clients, Script, Step
from evenkeel.sim.trace import Trace
from evenkeel.sim.watching import Moment, Violation

MINUTE_US = 60_000_000
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """One invariant, and how it stood up. `is_required`: the scenario asks for it under this policy."""

    invariant: Invariant
    is_required: bool
    broken: int
    first: Violation | None

    @property
    def holds(self) -> bool:
        return not self.broken


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rehearsal came to."""

    scenario: Scenario
    policy: str
    run: Run
    clients: dict[str, Suffered]
    capacity_lost: dict[str, list[tuple[int, int]]]  # by endpoint that clients ask for: moment, per mille
    milestones: list[Reached]
    judged: list[Judged]
    wall_s: float
    assumed: dict[str, Value]

    @property
    def is_good(self) -> bool:
        """Whether all that the scenario asks for came true."""
        return all(each.holds or not each.is_required for each in self.judged) and all(
            each.is_met for each in self.milestones
        )

    @property
    def failures(self) -> list[str]:
        """What did not come true, for people."""
        broken = [f"{each.invariant} is broken" for each in self.judged if each.is_required and not each.holds]
        missed = [f"milestone {each.milestone.name!r} is off" for each in self.milestones if not each.is_met]
        return broken + missed


def cast_of(region: Region) -> Cast:
    """The region's processes under their own names."""
    found = components(region)
    names = {kind: tuple(each.name for each in found if each.kind is kind) for kind in Kind}
    return Cast(enactors=names[Kind.ENACTOR], planners=names[Kind.PLANNER], audit="audit")


def rehearse(
    scenario: Scenario,
    *,
    seed: int | None = None,
    policy: str = "",
    steps: tuple[Step, ...] | None = None,
    others: dict[str, Value] | None = None,
    trace: Trace | None = None,
    on_progress: Progress = lambda now_us: None,
) -> Outcome:
    """Run `scenario`. `policy` "" is the region's own; `steps` take the place of the script's; `others` are values
    that take the place of assumptions'."""
    began_s = time.perf_counter()
    region, script = assumed(scenario.region, scenario.script, scenario.assumptions, others)
    if policy:
        region = replace(region, policy=policy_named(policy, region.policy))
    name = name_of(region.policy)
    chosen = script.steps if steps is None else steps
    script = replace(script, steps=tuple(step for step in chosen if step.under in ("", name)))
    seed = script.seed if seed is None else seed
    run = Rehearsal(region, cast_of(region), script, seed, trace).run(on_progress)
    clients = {each.name: _suffered(each, run, seed) for each in script.clients}
    return Outcome(
        scenario=scenario,
        policy=name,
        run=run,
        clients=clients,
        capacity_lost={each.endpoint: _capacity_lost(each.endpoint, run) for each in script.clients},
        milestones=reached([each for each in script.milestones if each.under in ("", name)], run, clients),
        judged=_judged(script, run, clients, name),
        wall_s=time.perf_counter() - began_s,
        assumed={each.name: (others or {}).get(each.name, each.value) for each in scenario.assumptions},
    )


def _judged(script: Script, run: Run, clients: dict[str, Suffered], policy: str) -> list[Judged]:
    required = {must.invariant for must in script.musts if must.under in ("", policy)}
    judged = []
    for invariant in Invariant:
        broken = run.counts[invariant]
        first = next((each for each in run.violations if each.invariant is invariant), None)
        if invariant is Invariant.CLIENTS_SERVED:
            failing = [each for each in clients.values() if each.failed]
            broken = len(failing)
            if failing:
                worst = min(failing, key=lambda each: each.first_failed_us)
                detail = f"{worst.failed:,} of {worst.requests:,} requests failed"
                first = Violation(worst.first_failed_us, invariant, worst.name, detail)
        judged.append(Judged(invariant, invariant in required, broken, first))
    return judged


# --- clients --------------------------------------------------------------------------------------------


def _suffered(population: Clients, run: Run, seed: int) -> Suffered:
    return suffered(population, _stage(population, run), Streams(seed))


def _stage(population: Clients, run: Run) -> Stage:
    endpoint = run.region.endpoints[population.endpoint]
    zone: Zone = run.region.zones[endpoint.zone]
    host = run.zone_hosts[zone.name]
    negative_s = population.negative_ttl_s if population.negative_ttl_s >= 0 else zone.negative_ttl_s
    return Stage(
        moments=_moments(population.endpoint, run),
        ttl_s=endpoint.ttl_s,
        negative_ttl_s=negative_s,
        host_changes=[(at_us, is_up) for at_us, name, is_up in run.happened.outages if name == host],
        address_changes=_address_changes(run),
        overrides=[each for each in run.happened.overrides if each.endpoint == population.endpoint],
        lasts_us=run.virtual_us,
        window_us=run.script.world.window_us,
    )


def _moments(endpoint: str, run: Run) -> list[Moment]:
    return run.moments.get(endpoint, [])


def _address_changes(run: Run) -> list[tuple[int, tuple[str, ...], bool]]:
    balancers = run.region.load_balancers
    return [(at_us, balancers[name].ipv4 + balancers[name].ipv6, is_up) for at_us, name, is_up in run.balancers]


def _capacity_lost(endpoint: str, run: Run) -> list[tuple[int, int]]:
    planned = run.region.endpoints[endpoint]
    capacity: dict[str, float] = {}
    for name in planned.load_balancers:
        balancer = run.region.load_balancers[name]
        addresses = (balancer.ipv4 if planned.ipv4 else ()) + (balancer.ipv6 if planned.ipv6 else ())
        for address in addresses:
            capacity[address] = balancer.capacity / len(addresses)
    # Endpoints offer some of their pool by design: what counts is the loss beside the best that was offered.
    moments = _moments(endpoint, run)
    offered = max((sum(capacity.get(each, 0.0) for each in moment.addresses) for moment in moments), default=0.0)
    scale = sum(capacity.values()) / offered if offered else 1.0
    return [
        (at_us, max(0, round(1000 - (1000 - lost) * scale)))
        for at_us, lost in capacity_lost(moments, capacity, _address_changes(run))
    ]


# --- as JSON ----------------------------------------------------------------------------------------------


def peak_rss_mb() -> float:
    """Of this process so far, in megabytes (Linux counts kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def figures(outcome: Outcome) -> dict[str, object]:
    """The figures that count."""
    run = outcome.run
    clients = {
        name: {
            "requests": each.requests,
            "failed_requests": each.failed,
            "failed_share": round(each.failed_share, 6),
            "no_answer_min": round(each.no_answer_min, 2),
            "worst_failing_share": each.worst / 1000,
        }
        for name, each in outcome.clients.items()
    }
    return {
        "failed_requests": sum(each.failed for each in outcome.clients.values()),
        "requests": sum(each.requests for each in outcome.clients.values()),
        "clients": clients,
        "empty_answers": run.counts[Invariant.NEVER_EMPTY],
        "empty_min": {name: round(us / MINUTE_US, 2) for name, us in run.empty_us.items() if us},
        "capacity_lost_share_max": {
            endpoint: max((lost for _, lost in lost_over_time), default=0) / 1000
            for endpoint, lost_over_time in outcome.capacity_lost.items()
        },
        "generations": run.plans[-1][1] if run.plans else 0,
        "transactions": run.commits,
        "transactions_refused": run.refusals,
        "endpoints": run.endpoints,
        "endpoints_simulated": len(run.region.endpoints),
        "records": run.records,
    }


def as_json(outcome: Outcome) -> dict[str, object]:
    """The outcome as `--json` prints it."""
    run = outcome.run
    return {
        "scenario": run.script.name,
        "title": run.script.title,
        "policy": outcome.policy,
        "good": outcome.is_good,
        "failures": outcome.failures,
        "digest": run.digest,
        "seed": run.seed,
        "virtual_s": run.virtual_us / 1_000_000,
        "wall_s": round(outcome.wall_s, 3),
        "events": run.events,
        "trace_lines": run.lines,
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "milestones": [_milestone_json(each) for each in outcome.milestones],
        "invariants": [_judged_json(each) for each in outcome.judged],
        "figures": figures(outcome),
        "assumptions": outcome.assumed,
    }


def _milestone_json(each: Reached) -> dict[str, object]:
    milestone = each.milestone
    is_expected, has_come = milestone.expected_us >= 0, each.at_us >= 0
    return {
        "name": milestone.name,
        "event": milestone.event.value,
        "expected_s": milestone.expected_us / 1_000_000 if is_expected else None,
        "at_s": each.at_us / 1_000_000 if has_come else None,
        "off_s": each.off_us / 1_000_000 if is_expected and has_come else None,
        "tolerance_s": milestone.tolerance_us / 1_000_000 if is_expected else None,
        "met": each.is_met,
    }


def _judged_json(each: Judged) -> dict[str, object]:
    first = each.first
    return {
        "name": each.invariant.value,
        "required": each.is_required,
        "holds": each.holds,
        "broken": each.broken,
        "first": {"at_s": first.at_us / 1_000_000, "endpoint": first.endpoint, "detail": first.detail}
        if first is not None
        else None,
    }
