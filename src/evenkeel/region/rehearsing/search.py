"""Many seeds of one scenario, in parallel processes; the first that breaks is shrunk to the fewest faults.

Each worker reads the scenario's files itself, so nothing but seeds and verdicts travels between processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from evenkeel.model.errors import InputError
from evenkeel.model.policy import DnsPolicy
from evenkeel.region.rehearsing.assumptions import assumed
from evenkeel.region.rehearsing.chaos import drawn
from evenkeel.region.rehearsing.policies import policy_named
from evenkeel.region.rehearsing.reading import Scenario, read_scenario
from evenkeel.region.rehearsing.rehearse import Outcome, as_json, cast_of, rehearse
from evenkeel.region.rehearsing.shrink import shrunk
from evenkeel.sim.script import FAULTS, Step
from evenkeel.sim.trace import Trace

CHUNK = 10  # seeds a task
IN_FLIGHT = 4  # tasks a worker


@dataclass(frozen=True, slots=True)
class Found:
    """A seed that breaks what the scenario asks for."""

    seed: int
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The first seed that broke, with the fewest faults that still break it, and what then happens."""

    seed: int
    drawn: tuple[Step, ...]
    kept: tuple[Step, ...]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search came to."""

    seeds: int
    found: tuple[Found, ...]
    shrunk: Shrunk | None

    @property
    def is_good(self) -> bool:
        return not self.found


def faults_of(scenario: Scenario, seed: int, policy: str = "") -> tuple[Step, ...]:
    """The faults that `seed` draws, in place of the script's own; what operators do in the script stays."""
    region, script = assumed(scenario.region, scenario.script, scenario.assumptions)
    if script.chaos is None:
        return script.steps
    chosen: DnsPolicy = policy_named(policy, region.policy) if policy else region.policy
    others = tuple(step for step in script.steps if step.kind not in FAULTS)
    return others + drawn(script.chaos, cast_of(region), chosen, seed)


def rehearse_seed(scenario: Scenario, seed: int, policy: str = "") -> Outcome:
    """One seed of the search, exactly as the search runs it."""
    return rehearse(scenario, seed=seed, policy=policy, steps=faults_of(scenario, seed, policy))


def search(
    scenario: Scenario,
    seeds: range,
    policy: str = "",
    *,
    workers: int = 0,
    stop_at_first: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, found: None,
) -> Searched:
    """Run every seed. `on_progress` hears how many are done and how many broke. `workers` 0: one a core.

    Raises `InputError` for a scenario without `[chaos]`, whose seeds would differ by latencies alone.
    """
    if scenario.script.chaos is None:
        mend = "add a `[chaos]` table that says which faults a seed may draw"
        raise InputError.one(str(scenario.path), "has no random faults to search", mend)
    found: list[Found] = []
    done = 0
    for count, broken in _verdicts(scenario.path, seeds, policy, workers or os.cpu_count() or 1):
        done += count
        found += broken
        on_progress(done, len(found))
        if found and stop_at_first:
            break
    found.sort(key=lambda each: each.seed)
    return Searched(done, tuple(found), shrink_seed(scenario, found[0].seed, policy) if found else None)


def shrink_seed(scenario: Scenario, seed: int, policy: str = "") -> Shrunk:
    """The fewest of the seed's faults that still break something."""
    faults = faults_of(scenario, seed, policy)

    def run(steps: tuple[Step, ...]) -> Outcome:
        return rehearse(scenario, seed=seed, policy=policy, steps=steps)

    kept = shrunk(faults, lambda steps: not run(steps).is_good)
    return Shrunk(seed, faults, kept, run(kept))


def _verdicts(path: Path, seeds: range, policy: str, workers: int) -> Iterator[tuple[int, list[Found]]]:
    chunks = iter([seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)])
    # Spawned, not forked: a fork would copy whatever threads and terminals this process holds.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running: set[Future[tuple[int, list[Found]]]] = set()
        try:
            while True:
                while len(running) < workers * IN_FLIGHT and (chunk := next(chunks, None)) is not None:
                    running.add(pool.submit(_run_chunk, str(path), chunk, policy))
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(ended, key=lambda each: each.result()[0]):
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@cache
def _scenario(path: str) -> Scenario:
    """Read once a process; clients' tables are left out where no invariant asks for them."""
    scenario = read_scenario(Path(path))
    return replace(scenario, script=replace(scenario.script, milestones=()))


def _run_chunk(path: str, seeds: range, policy: str) -> tuple[int, list[Found]]:
    found = []
    for seed in seeds:
        outcome = rehearse_seed(_scenario(path), seed, policy)
        if not outcome.is_good:
            found.append(Found(seed, tuple(outcome.failures)))
    return len(seeds), found


def rehearse_once(
    scenario: Scenario,
    seed: int | None = None,
    policy: str = "",
    trace_path: Path | None = None,
    on_progress: Callable[[int], None] = lambda now_us: None,
) -> Outcome:
    """As the command line asks: the script as it stands, or, with a seed of a search, that seed's faults."""
    steps = faults_of(scenario, seed, policy) if seed is not None else None
    if trace_path is None:
        return rehearse(scenario, seed=seed, policy=policy, steps=steps, on_progress=on_progress)
    with trace_path.open("w", encoding="utf-8") as file:
        trace = Trace(file.write)
        return rehearse(scenario, seed=seed, policy=policy, steps=steps, trace=trace, on_progress=on_progress)


def searched_json(searched: Searched) -> dict[str, object]:
    """A search as `--json` prints it."""
    shrunk_to = searched.shrunk
    return {
        "seeds": searched.seeds,
        "good": searched.is_good,
        "broken": len(searched.found),
        "found": [{"seed": each.seed, "why": list(each.why)} for each in searched.found[:1000]],
        "shrunk": {
            "seed": shrunk_to.seed,
            "faults_drawn": len(shrunk_to.drawn),
            "faults": [{"at_s": step.at_us / 1_000_000, "what": step.text()} for step in shrunk_to.kept],
            "outcome": as_json(shrunk_to.outcome),
        }
        if shrunk_to is not None
        else None,
    }
