"""`python -m benchmarks.chaos [--minutes 30] [--seed N] [--servers embedded,bind,knot]`: see the package."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.chaos.faults import Faults
from evenkeel.adapters.dns.resolve import ServerResolver
from evenkeel.adapters.plan_store.client import PlanFollower
from evenkeel.endpoints.audit import audit_endpoint
from evenkeel.model.plan import Plan
from evenkeel.model.region import ServerKind
from evenkeel.testing.regions import ZONE, LiveRegion, running, token_of
from evenkeel.testing.watch import Seen, ask, inspect

PUBLISH_DEADLINE_S = 60.0
CONVERGE_DEADLINE_S = 90.0


async def converged(
    subject: LiveRegion, plans: PlanFollower, seen: Seen, deadline_s: float
) -> tuple[bool, Plan | None]:
    """Whether, with all faults over, every endpoint comes to show the newest plan at the primary."""
    give_up_at = time.monotonic() + deadline_s
    wrong: list[str] = ["not asked"]
    plan = None
    async with ServerResolver(deadline_s=1.0) as resolver:
        while wrong and time.monotonic() < give_up_at:
            await asyncio.sleep(1.0)
            plan = await plans.newest()
            if plan is None or not plan.endpoints:
                continue
            found = await asyncio.gather(
                *(audit_endpoint(name, each.answer, subject.primary, resolver) for name, each in plan.endpoints.items())
            )
            wrong = [f"{one.endpoint}: {one.finding.value} {one.detail}" for one in found if one.is_bad]
            wrong += [
                f"{name}: fence {seen.newest.get(name, 0)}, changed in {each.changed_in}"
                for name, each in plan.endpoints.items()
                if seen.newest.get(name, 0) < each.changed_in
            ]
    for line in wrong[:10]:
        seen.told.append(f"NOT CONVERGED {line}")
    return not wrong, plan


async def run_part(kind: ServerKind, minutes: float, seed: int) -> tuple[Seen, int, bool]:
    """One server's part: what was seen, plans made, and whether everything converged."""
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix=f"chaos-{kind.value}-") as folder, running(kind, Path(folder)) as subject:
        endpoints = sorted(subject.region.endpoints)
        stop_faults, stop_watching = asyncio.Event(), asyncio.Event()
        async with PlanFollower(subject.region.name, subject.region.plan_store, await token_of(subject)) as plans:
            watchers = [
                asyncio.create_task(ask(seen, subject.primary, endpoints, stop_watching)),
                asyncio.create_task(inspect(seen, subject.primary, endpoints, stop_watching)),
            ]
            is_published, plan = await converged(subject, plans, seen, PUBLISH_DEADLINE_S)
            if not is_published:
                seen.told.append("the region did not publish its first plan in time")
            first = plan.generation if plan is not None else 0
            faults = Faults(subject, seen, seed)
            troubles = [asyncio.create_task(work(stop_faults)) for work in (faults.run, faults.flap)]
            await _progress(seen, plans, minutes * 60)
            stop_faults.set()
            await asyncio.gather(*troubles)
            is_converged, plan = await converged(subject, plans, seen, CONVERGE_DEADLINE_S)
            stop_watching.set()
            await asyncio.gather(*watchers)
            made = (plan.generation if plan is not None else 0) - first
            if not subject.is_up():
                seen.told.append("the supervisor is gone")
                is_converged = False
        return seen, made, is_published and is_converged


async def _progress(seen: Seen, plans: PlanFollower, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(min(30.0, max(0.1, until - time.monotonic())))
        plan = await plans.newest()
        print(
            f"    {max(0, until - time.monotonic()):5.0f} s left, generation {plan.generation if plan else 0}, "
            f"{seen.answered} answers, {seen.empty} empty, {seen.regressed} regressed, "
            f"{seen.faults.total()} faults",
            flush=True,
        )


def report(kind: ServerKind, seen: Seen, plans: int, minutes: float, is_converged: bool) -> bool:
    """Print one part's counts; whether it is good."""
    print(f"\n{kind.value}: {minutes:g} minutes, {plans} plans ({plans / minutes:.0f} a minute)")
    print(f"    questions {seen.asked}, answered {seen.answered}, server away {seen.unanswered}")
    print(f"    EMPTY ANSWERS {seen.empty}, REGRESSIONS {seen.regressed}, CORRUPT FENCES {seen.corrupt}", end="")
    print(f" (of {seen.fences} fences read), CONVERGED {'yes' if is_converged else 'NO'}")
    print("    faults: " + ", ".join(f"{count} {name}" for name, count in sorted(seen.faults.items())))
    for line in seen.told[:20]:
        print(f"    {line}")
    return is_converged and not (seen.empty or seen.regressed or seen.corrupt)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="in all, shared by the servers")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults")
    parser.add_argument("--servers", default="embedded,bind,knot")
    asked = parser.parse_args()
    kinds = [ServerKind(name) for name in asked.servers.split(",")]
    each = asked.minutes / len(kinds)
    print(f"chaos: {asked.minutes:g} minutes on {', '.join(kinds)}; zone {ZONE}; seed {asked.seed}", flush=True)
    totals: Counter[str] = Counter()
    verdicts = []
    for kind in kinds:
        print(f"\n--- {kind.value}", flush=True)
        seen, plans, is_converged = asyncio.run(run_part(kind, each, asked.seed))
        verdicts.append(report(kind, seen, plans, each, is_converged))
        totals.update(empty=seen.empty, regressed=seen.regressed, corrupt=seen.corrupt, answered=seen.answered)
    print(
        f"\ntotal: {totals['answered']} answers, {totals['empty']} empty, {totals['regressed']} regressions, "
        f"{totals['corrupt']} corrupt fences; {'GOOD' if all(verdicts) else 'BAD'}"
    )
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
