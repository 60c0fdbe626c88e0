"""The night of October 2025 on a real server: `python -m benchmarks.chaos.october [--server bind] [--policy safe]`.

The same region and workload as the chaos run. One Enactor is delayed (SIGSTOP in the middle of its walk, while plans
move on; then SIGCONT); nothing else is done to it. Under `october-2025` records come to point at nothing and the
region wedges; `evenkeel repair --all` mends it. Under `safe` the same delay does nothing. Takes up to 5 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chaos.faults import Faults
from evenkeel.adapters.journal import JournalReader, journal_folder
from evenkeel.adapters.plan_store.client import PlanFollower
from evenkeel.model.events import EventKind
from evenkeel.model.region import ServerKind
from evenkeel.testing.regions import LiveRegion, running, token_of
from evenkeel.testing.watch import Seen, ask

DELAYED = "enactor-a"
PLANS_MEANWHILE = 8  # well past what clean-up keeps
ATTEMPTS_MAX = 8
WAIT_S = 60.0
SETTLE_S = 12.0


async def _delay_once(subject: LiveRegion, plans: PlanFollower) -> bool:
    """Stop the Enactor as a plan reaches it, let others move on, let it go on. Whether plans moved on enough."""
    generation = plans.generation
    if await plans.wait_newer(generation, WAIT_S) is None:
        return False
    pid = subject.pids().get(DELAYED, 0)
    if not pid:
        return False
    await asyncio.sleep(0.02)
    os.kill(pid, signal.SIGSTOP)
    try:
        stale = plans.generation
        print(f"    {DELAYED} stopped in the middle of generation {stale}", flush=True)
        until = time.monotonic() + WAIT_S
        while plans.generation < stale + PLANS_MEANWHILE and time.monotonic() < until:
            await plans.wait_newer(plans.generation, 5.0)
    finally:
        os.kill(pid, signal.SIGCONT)
    print(f"    {DELAYED} goes on; the newest generation is {plans.generation}", flush=True)
    return True


async def night(kind: ServerKind, policy: str) -> tuple[Seen, int, bool]:
    """What clients saw, how often an Enactor reported itself wedged, and whether repair mended everything."""
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="october-") as folder, running(kind, Path(folder), policy) as subject:
        endpoints = sorted(name for name in subject.region.endpoints if ".flat" not in name and "flat." not in name)
        stop_asking, stop_flapping = asyncio.Event(), asyncio.Event()
        async with PlanFollower(subject.region.name, subject.region.plan_store, await token_of(subject)) as plans:
            asking = asyncio.create_task(ask(seen, subject.primary, endpoints, stop_asking))
            await plans.wait_newer(0, WAIT_S)
            await asyncio.sleep(5.0)
            flapping = asyncio.create_task(Faults(subject, seen, seed=1).flap(stop_flapping))
            for _ in range(ATTEMPTS_MAX):
                if not await _delay_once(subject, plans):
                    continue
                await asyncio.sleep(SETTLE_S)
                if seen.empty:
                    break
            stop_flapping.set()
            await flapping
            events = JournalReader(journal_folder(subject.region.state_dir)).history()
            wedged = sum(event.kind is EventKind.WEDGED for event in events)
            empty = seen.empty
            mended = await _repair(subject, seen) if empty else True
            stop_asking.set()
            await asking
            seen.empty = empty
    return seen, wedged, mended


async def _repair(subject: LiveRegion, seen: Seen) -> bool:
    command = [sys.executable, "-m", "evenkeel.cli.main", "repair", "--all", "-r", str(subject.folder / "region.toml")]
    print("    evenkeel repair --all -r region.toml", flush=True)
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)
    print("        " + "\n        ".join((ran.stdout + ran.stderr).strip().splitlines()[-12:]), flush=True)
    await asyncio.sleep(2.0)
    before = seen.empty
    await asyncio.sleep(5.0)
    return seen.empty == before


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos.october", description=__doc__)
    parser.add_argument("--server", default="embedded", choices=[kind.value for kind in ServerKind][:3])
    parser.add_argument("--policy", default="october-2025", choices=["october-2025", "safe"])
    asked = parser.parse_args()
    print(f"one Enactor delayed, policy {asked.policy}, on {asked.server}", flush=True)
    seen, wedged, mended = asyncio.run(night(ServerKind(asked.server), asked.policy))
    print(f"    {seen.answered} answers, {seen.empty} EMPTY ANSWERS, {wedged} reports of a wedge", flush=True)
    for line in seen.told[:5]:
        print(f"    {line}")
    if asked.policy == "safe":
        return 0 if not (seen.empty or wedged) else 1
    print(f"    the record emptied: {bool(seen.empty)}; wedged: {bool(wedged)}; repair mended it: {mended}")
    return 0 if seen.empty and wedged and mended else 1


if __name__ == "__main__":
    sys.exit(main())
