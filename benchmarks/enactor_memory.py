"""What an Enactor's process weighs with 10,000 endpoints: `python -m benchmarks.enactor_memory`. About a minute.

A whole region on Knot: 10,002 endpoints of up to 4 addresses, half of them in each layout, published from nothing and
then changed a few times. Prints resident memory now and at its peak, beside the bar of 60 MB.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from evenkeel.adapters.plan_store.client import PlanFollower
from evenkeel.model.region import ServerKind
from evenkeel.testing.regions import LiveRegion, running, token_of

ACCOUNTS = 5_000  # of each of two templates
BAR_MB = 60.0
PUBLISH_DEADLINE_S = 180.0


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident now, and at the peak."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024


async def settle(live: LiveRegion) -> int:
    """Wait for the first plan and a few more; the generation reached."""
    async with PlanFollower(live.region.name, live.region.plan_store, await token_of(live)) as plans:
        until = asyncio.get_running_loop().time() + PUBLISH_DEADLINE_S
        while asyncio.get_running_loop().time() < until:
            plan = await plans.newest()
            if plan is not None and len(plan.endpoints) == len(live.region.endpoints):
                break
            await asyncio.sleep(0.5)
        else:
            raise TimeoutError(f"no whole plan within {PUBLISH_DEADLINE_S:g} s")
        await asyncio.sleep(20.0)
        return plans.generation


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="memory-") as folder,
        running(ServerKind.KNOT, Path(folder), accounts=ACCOUNTS) as live,
    ):
        generation = asyncio.run(settle(live))
        print(f"{len(live.region.endpoints)} endpoints, generation {generation}")
        worst = 0.0
        for name, pid in sorted(live.pids().items()):
            if not name.startswith("backend"):
                now_mb, peak_mb = memory_mb(pid)
                worst = max(worst, peak_mb) if name.startswith("enactor") else worst
                print(f"  {name:12} {now_mb:6.1f} MB resident, {peak_mb:6.1f} MB at the peak")
    print(f"an Enactor at its peak: {worst:.1f} MB, {worst / BAR_MB:.2f} of the bar of {BAR_MB:g} MB")
    return 0 if worst <= BAR_MB else 1


if __name__ == "__main__":
    sys.exit(main())
