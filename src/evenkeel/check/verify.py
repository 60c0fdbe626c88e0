"""Checks the DNS automation: one search, every property judged, and the trace of the worst that was found."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from evenkeel.check.automation import Automation
from evenkeel.check.config import Config
from evenkeel.check.dns_properties import dns_properties
from evenkeel.check.model import Properties
from evenkeel.check.recovery import unrecoverable
from evenkeel.check.search import Bounds, Progress, Search, Space
from evenkeel.check.story import StoryStep, tell
from evenkeel.check.trace import Taken, way_that_breaks, way_to
from evenkeel.check.way import as_asked, find_way, unreduced
from evenkeel.check.zone_steps import Fault, Step
from evenkeel.model.errors import InputError, InternalError
from evenkeel.model.plan import Layout
from evenkeel.model.policy import CleanUpBy, DnsPolicy, Lock

# Once something is broken, how much further to look for something worse: states, and as a multiple of those so far.
PATIENCE_STATES = 3_000_000
PATIENCE_FACTOR = 20

# With more plans than this a part of the space is searched for a violation first: the one in which few plans are read.
PLANS_PROBED_FROM = 8

# With no more, and clean-up by age, a smaller bound is searched first, for the worst property and up to so many states.
PROBE_STATES = 200_000

MANY = 1 << 30  # plans, where they go on without end


class Verdict(StrEnum):
    HOLDS = "holds"
    VIOLATED = "violated"
    INCOMPLETE = "incomplete"  # a bound was met first: nothing is said of what lies beyond

    @property
    def exit_code(self) -> int:
        return {Verdict.HOLDS: 0, Verdict.VIOLATED: 1, Verdict.INCOMPLETE: 3}[self]


class Reduction(StrEnum):
    """What makes the space smaller and loses no verdict (docs/explanation/check.md); each can be switched off."""

    SYMMETRY = "symmetry"  # Enactors are alike
    ENDPOINTS = "endpoints"  # one endpoint stands for each, where the policy passes nothing from one to the next
    APPENDS = "appends"  # partial order: the Planner appends just before somebody reads
    HOPELESS = "hopeless"  # partial order: a write that is certain to be refused waits for nobody


@dataclass(frozen=True, slots=True)
class Judged:
    """One property's verdict; `steps` of the shortest trace where it is violated, else 0."""

    name: str
    kind: str  # always, sometimes, recoverable
    says: str
    verdict: Verdict
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `evenkeel check` says, in the words of its JSON."""

    verdict: Verdict
    property: str  # the worst that is violated, "" where none is
    states: int
    transitions: int
    depth: int
    states_per_s: float
    wall_s: float
    memory_octets: int
    component_runs: int
    table_entries: int
    stopped: str
    enactors: int
    plans: int  # with `unbounded`: those that the trace takes, 0 where there is none
    unbounded: bool  # plans without end
    endpoints: int
    endpoints_explored: int
    plans_read: tuple[int, ...]  # where a part of the space was enough to find a violation: the only plans read there
    keep: int
    faults: int
    fault_kinds: tuple[Fault, ...]
    policy: DnsPolicy
    layout: Layout
    step: Step
    server_guard: bool
    reductions: tuple[Reduction, ...]
    properties: tuple[Judged, ...]
    trace: tuple[StoryStep, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to check, and how."""

    names: tuple[str, ...] = ()  # properties; empty: all
    reductions: frozenset[Reduction] = frozenset(Reduction)
    bounds: Bounds = field(default_factory=Bounds)


def check(
    config: Config,
    wanted: Wanted | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    properties: Properties | None = None,
) -> Report:
    """Explore `config` and judge it. Raises `InputError` for a property that does not exist."""
    wanted = wanted or Wanted()
    if config.unbounded:
        return _unbounded(config, wanted, on_progress, properties)
    explored = _sliced(config, wanted)
    all_of = _chosen(properties or dns_properties(config.policy, config.plans, config.enactors), wanted.names)
    fewer = _few_plans(config)
    if fewer < config.plans <= PLANS_PROBED_FROM and all_of.always and Reduction.APPENDS in wanted.reductions:
        part = replace(explored, plans=fewer)
        brief = replace(wanted, bounds=replace(wanted.bounds, states_max=min(PROBE_STATES, wanted.bounds.states_max)))
        probed = _explored(config, part, brief, all_of, on_progress)
        if probed.property == all_of.always[0].name:
            return replace(probed, plans_read=tuple(range(1, fewer + 1)))
    if config.plans > PLANS_PROBED_FROM and Reduction.APPENDS in wanted.reductions:
        part = replace(explored, lazy_appends=True, plans_read=_telling(config))
        probed = _explored(config, part, wanted, all_of, on_progress)
        if any(each.verdict is Verdict.VIOLATED and each.kind == "always" for each in probed.properties):
            return probed
    return _explored(config, explored, wanted, all_of, on_progress)


def _unbounded(
    config: Config,
    wanted: Wanted,
    on_progress: Callable[[Progress], None] | None,
    properties: Properties | None,
) -> Report:
    """Plans without end. What is found there is looked for again among few plans, for a trace that is so in full."""
    _refuse_unless_ordered(config, wanted)
    chosen = _chosen(properties or dns_properties(config.policy, MANY, config.enactors), wanted.names)
    model, space = _searched(_sliced(config, wanted), wanted, chosen, on_progress)
    goal = chosen.recoverable
    stuck = goal is not None and space.complete and len(unrecoverable(space, goal))
    if not space.broken and not stuck:
        judged, way = _judge(model, space)
        return _report(replace(config, plans=0), model.config, wanted, model, space, judged, way)
    for plans in itertools.count(1):
        report = check(replace(config, plans=plans, unbounded=False), wanted, on_progress, properties)
        kinds = {each.kind for each in report.properties if each.verdict is Verdict.VIOLATED}
        if kinds & {"always", "recoverable"} or report.verdict is Verdict.INCOMPLETE:
            return replace(report, unbounded=True)
    raise InternalError("plans have come to an end")  # pragma: no cover - there are always more


def _refuse_unless_ordered(config: Config, wanted: Wanted) -> None:
    """Raises `InputError` where generations are told apart by more than their order, or the quotient is not proved."""
    if not can_slice(config) or config.policy.lock is not Lock.NONE:
        raise InputError.one(
            "--unbounded",
            "this policy compares plans by more than their order (clean-up by age counts how far apart they are)",
            "--policy safe, or --plans N",
        )
    if config.step is not Step.CALL or (config.faults and Fault.FAILOVER in config.fault_kinds):
        raise InputError.one("--unbounded", "it goes neither with --fine nor with --failover", "--plans N")
    if config.answers or config.notes_published or config.nonce:
        raise InputError.one("--unbounded", "every plan has to have an answer of its own", "--plans N")
    if Reduction.ENDPOINTS not in wanted.reductions and config.endpoints > 1:
        raise InputError.one("--unbounded", "it is proved of one endpoint that stands for each", "--endpoints 1")


def _explored(
    config: Config,
    explored: Config,
    wanted: Wanted,
    properties: Properties,
    on_progress: Callable[[Progress], None] | None,
) -> Report:
    model, space = _searched(explored, wanted, properties, on_progress)
    judged, way = _judge(model, space)
    return _report(config, explored, wanted, model, space, judged, way)


def _searched(
    explored: Config,
    wanted: Wanted,
    properties: Properties,
    on_progress: Callable[[Progress], None] | None,
) -> tuple[Automation, Space]:
    model = Automation(explored, properties)
    space = Search(
        model,
        symmetric=Reduction.SYMMETRY in wanted.reductions,
        bounds=wanted.bounds,
        stop_when=_Enough(),
        on_progress=on_progress,
    ).run()
    return model, space


def _few_plans(config: Config) -> int:
    """The fewest plans of which clean-up by age takes one away; all of them where it does not go by age."""
    return config.plans if can_slice(config) else config.policy.keep_generations + 2


def _telling(config: Config) -> frozenset[int]:
    """Of many plans the few between which ages differ most: what they show is true, and is found soon."""
    kept = config.policy.keep_generations
    return frozenset({1, min(kept + 2, config.plans), config.plans})


def told(model: Automation, way: Sequence[Taken]) -> tuple[Automation, list[Taken]]:
    """The way as it goes without reductions, and the automation that it goes through."""
    whole = unreduced(model)
    return whole, find_way(whole, as_asked(model, way))


def can_slice(config: Config) -> bool:
    """Whether nothing passes from one endpoint to the next: every endpoint's work begins with the newest plan."""
    return config.policy.fenced and config.policy.clean_up is CleanUpBy.REACHABILITY


def _sliced(config: Config, wanted: Wanted) -> Config:
    folds = Reduction.HOPELESS in wanted.reductions
    # Where a violation is looked for, appends are steps like any other: the shortest trace counts them too.
    lazy = Reduction.APPENDS in wanted.reductions and can_slice(config)
    config = replace(config, fold_hopeless=folds, lazy_appends=lazy)
    if Reduction.ENDPOINTS in wanted.reductions and can_slice(config):
        return replace(config, endpoints=1)
    return config


def _chosen(properties: Properties, names: Sequence[str]) -> Properties:
    if not names:
        return properties
    goal = properties.recoverable
    known = {each.name for each in properties.always} | {each.name for each in properties.sometimes}
    known |= {goal.name} if goal else set()
    if unknown := sorted(set(names) - known):
        raise InputError.one("--property", f"there is no property {unknown[0]!r}", f"one of {', '.join(sorted(known))}")
    return Properties(
        tuple(each for each in properties.always if each.name in names),
        (),
        tuple(each for each in properties.sometimes if each.name in names),
        goal if goal is not None and goal.name in names else None,
    )


class _Enough:
    """Stops once the worst property is broken, or one is and patience with the search for a worse one is at its end."""

    def __init__(self) -> None:
        self._give_up_at = 0

    def __call__(self, space: Space) -> str:
        if not space.broken:
            return ""
        if 0 in space.broken:
            return "a violation was found"
        if not self._give_up_at:
            self._give_up_at = max(PATIENCE_STATES, PATIENCE_FACTOR * space.count)
        return "a violation was found" if space.count > self._give_up_at else ""


Way = tuple[str, list[Taken]]  # the property's name, the steps


def _judge(model: Automation, space: Space) -> tuple[list[Judged], Way | None]:
    judged: list[Judged] = []
    ways: list[Way] = []
    undecided = Verdict.HOLDS if space.complete else Verdict.INCOMPLETE
    for bit, always in enumerate(model.properties.always):
        found = space.broken.get(bit)
        if found is not None:
            ways.append((always.name, way_that_breaks(space, found)))
        verdict = undecided if found is None else Verdict.VIOLATED
        judged.append(Judged(always.name, "always", always.says, verdict, _length(model, ways) if found else 0))
    goal = model.properties.recoverable
    if goal is not None:
        stuck: list[int] = unrecoverable(space, goal).tolist() if space.complete else []
        if len(stuck):
            ways.append((goal.name, way_to(space, stuck[0])))
        verdict = Verdict.VIOLATED if len(stuck) else undecided
        judged.append(Judged(goal.name, "recoverable", goal.says, verdict, _length(model, ways) if stuck else 0))
    labels = space.labels()
    for sometimes in model.properties.sometimes:
        is_seen = any(sometimes.seen(label) for label in labels)
        verdict = Verdict.HOLDS if is_seen else Verdict.VIOLATED if space.complete else Verdict.INCOMPLETE
        judged.append(Judged(sometimes.name, "sometimes", sometimes.says, verdict))
    return judged, ways[0] if ways else None


def _length(model: Automation, ways: Sequence[Way]) -> int:
    return len(as_asked(model, ways[-1][1]))


def _report(
    config: Config,
    explored: Config,
    wanted: Wanted,
    model: Automation,
    space: Space,
    judged: Sequence[Judged],
    way: Way | None,
) -> Report:
    verdicts = {each.verdict for each in judged}
    worst = next((each for each in (Verdict.VIOLATED, Verdict.INCOMPLETE) if each in verdicts), Verdict.HOLDS)
    broken = way[0] if way else next((each.name for each in judged if each.verdict is Verdict.VIOLATED), "")
    return Report(
        verdict=worst,
        property=broken,
        states=space.count,
        transitions=space.steps,
        depth=space.depth,
        states_per_s=round(space.count / max(space.seconds, 1e-9)),
        wall_s=round(space.seconds, 3),
        memory_octets=space.memory,
        component_runs=model.runs,
        table_entries=space.tables.size,
        stopped=space.stopped,
        enactors=config.enactors,
        plans=config.plans,
        unbounded=config.unbounded,
        endpoints=config.endpoints,
        endpoints_explored=explored.endpoints,
        plans_read=tuple(sorted(explored.plans_read)),
        keep=config.policy.keep_generations,
        faults=config.faults,
        fault_kinds=tuple(sorted(config.fault_kinds)),
        policy=config.policy,
        layout=config.layout,
        step=config.step,
        server_guard=config.server_guard,
        reductions=tuple(sorted(wanted.reductions)),
        properties=tuple(judged),
        trace=tell(*told(model, way[1])) if way else (),
    )


def config_of(report: Report) -> Config:
    """The configuration that a report's trace was found in."""
    return Config(
        policy=report.policy,
        enactors=report.enactors,
        plans=report.plans,
        endpoints=report.endpoints_explored,
        layout=report.layout,
        step=report.step,
        faults=report.faults,
        fault_kinds=frozenset(report.fault_kinds),
        server_guard=report.server_guard,
    )
