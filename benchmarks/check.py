"""The explorer beside Spin on an equal model, and what `evenkeel check` promises to find or exhaust, and how soon.

    python -m benchmarks.check [--enactors 3] [--plans 6] [--quick]

The equal model is `promela/safe.pml`: the safe policy on one endpoint in the explorer's own steps, without any of its
reductions. Both sides have to store the very same number of states, or nothing is compared. Spin runs as its authors
have it run fast: `gcc -O3 -DSAFETY -DNOREDUCE`, a hash table large enough beforehand. Evenkeel's side runs the real
workflows, `GuardedZone` and zone twin, tabulating included; numba's compilation, once a machine, is left out, as is
gcc's. States a second are by each side's processor time: the machine may be shared; both wall times are printed too.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evenkeel.check.automation import Automation
from evenkeel.check.config import Config
from evenkeel.check.dns_properties import dns_properties
from evenkeel.check.search import Search, peak_memory
from evenkeel.check.verify import Report, Verdict, check
from evenkeel.model.policy import OCTOBER_2025, SAFE, DnsPolicy

PROMELA = Path(__file__).parent / "promela" / "safe.pml"
RATIO_BAR = 1.0
SPIN_DEADLINE_S = 600.0


@dataclass(frozen=True)
class Ran:
    states: int
    cpu_s: float
    wall_s: float

    @property
    def rate(self) -> float:
        return self.states / self.cpu_s


def kept(policy: DnsPolicy, keep: int) -> DnsPolicy:
    return replace(policy, keep_generations=keep, attempts_max=1)


def spin(enactors: int, plans: int) -> Ran:
    """Spin's own search of the equal model. Raises `SystemExit` where it is not installed."""
    if shutil.which("spin") is None or shutil.which("gcc") is None:
        raise SystemExit("error: spin and gcc are needed (Debian: apt install spin gcc)")
    with tempfile.TemporaryDirectory(prefix="spin-") as folder:
        shutil.copy(PROMELA, folder)
        sizes = [f"-DENACTORS={enactors}", f"-DPLANS={plans}", "-DKEEP=1"]
        subprocess.run(["spin", *sizes, "-a", PROMELA.name], cwd=folder, check=True, capture_output=True)
        compile_ = ["gcc", "-O3", "-w", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=8000", "-o", "pan", "pan.c"]
        subprocess.run(compile_, cwd=folder, check=True)
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        told = subprocess.run(
            ["./pan", "-m2000000", "-w25"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=SPIN_DEADLINE_S,
        ).stdout
        after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    found = re.search(r"(\S+) states, stored", told)
    if found is None or "errors: 0" not in told:
        raise SystemExit(f"error: Spin did not exhaust the model:\n{told}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(int(float(found[1])), cpu_s, wall_s)


def explorer(enactors: int, plans: int) -> Ran:
    """The same space, by the real code; warmed up on a small one."""
    for size in (2, plans):
        config = Config(policy=kept(SAFE, 1), enactors=enactors, plans=size, endpoints=1, fold_hopeless=False)
        model = Automation(config, dns_properties(config.policy, size, enactors))
        cpu, began = time.process_time(), time.perf_counter()
        space = Search(model, symmetric=False).run()
        ran = Ran(space.count, time.process_time() - cpu, time.perf_counter() - began)
    print(f"  {'':<26} component code ran {model.runs:,} times for {space.steps:,} steps")
    return ran


def beside_spin(enactors: int, plans: int) -> bool:
    print(f"equal model: {enactors} Enactors, {plans} plans, 1 endpoint, keep 1, no reductions")
    theirs = spin(enactors, plans)
    ours = explorer(enactors, plans)
    for name, ran in (("spin -O3", theirs), ("evenkeel", ours)):
        print(
            f"  {name:<26} {ran.states:>12,} states  {ran.cpu_s:7.2f} s of processor  {ran.wall_s:7.2f} s"
            f"  {ran.rate:>12,.0f} states/s"
        )
    if ours.states != theirs.states:
        print("  the two have not searched the same space: NOT COMPARABLE")
        return False
    ratio = ours.rate / theirs.rate
    print(f"  {ratio:.2f} x Spin's states/s; bar {RATIO_BAR:.1f} x", flush=True)
    return ratio >= RATIO_BAR


def found(title: str, config: Config, expected: Verdict, bar_s: float) -> bool:
    """One run of `check`, beside the time it may take."""
    cpu = time.process_time()
    report: Report = check(config)
    cpu = time.process_time() - cpu
    outcome = report.verdict.value + (f" ({report.property}, {len(report.trace)} steps)" if report.trace else "")
    print(
        f"  {title:<58} {outcome:<38} {report.states:>11,} states  {cpu:6.2f} s of processor"
        f"  {report.wall_s:6.2f} s  bar {bar_s:g} s  {report.memory_octets >> 20:,} MiB",
        flush=True,
    )
    return report.verdict is expected and cpu <= bar_s


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--enactors", type=int, default=3)
    parser.add_argument("--plans", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="without the run that takes half a minute")
    options = parser.parse_args(arguments)
    met = [beside_spin(options.enactors, options.plans)]
    october, safe = kept(OCTOBER_2025, 1), kept(SAFE, 1)
    print("what is found, and what is exhausted")
    found("(warm-up: the race in small)", Config(october, 2, 3, 1), Verdict.VIOLATED, 60.0)
    wide = kept(OCTOBER_2025, 20)
    met += [
        found("October's race, 3 x 6 x 3, keep 1", Config(october, 3, 6, 3), Verdict.VIOLATED, 1.0),
        found("October's race, 3 Enactors, 30 plans, keep 20", Config(wide, 3, 30, 3), Verdict.VIOLATED, 10.0),
        found("safe, 3 x 6 x 3, keep 1", Config(safe, 3, 6, 3), Verdict.HOLDS, 60.0),
        found("safe, 3 x plans without end x 3, keep 1", Config(safe, 3, 6, 3, unbounded=True), Verdict.HOLDS, 60.0),
    ]
    if not options.quick:
        faulty = Config(safe, 3, 6, 3, faults=1)
        met.append(found("safe, 3 x 6 x 3, one crash, loss or retry", faulty, Verdict.HOLDS, 60.0))
    print(f"peak memory {peak_memory() >> 20:,} MiB; bars: {'met' if all(met) else 'NOT MET'}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
