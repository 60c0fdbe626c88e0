"""How long a fleet takes to get its leases back, as a multiple of the physical limit; in virtual time, one seed.

The sweep in every recovery that it is held to, and beside it, in the same run, designs that others use: Nomad-style
timers, full jitter, a token bucket, Gradient2, dropping what is late; and October 2025's own policy. The limit is work
over capacity: each live host once, and the launches that were served.

    python -m benchmarks.lease_recovery [--only NAME ...] [--small 1] [--peers] [--night] [--seeds 10000]

`--night` also rehearses act two with a million hosts for 15 hours under both policies, and prints time and memory.
`--seeds` runs that many random histories of faults in which no host may be leased twice.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

from evenkeel.sim.fleet.run import rehearse
from evenkeel.sim.fleet.scene import Measured, Scene
from evenkeel.sim.fleet.scenes import HOSTS, PEERS, PER_S, recoveries, smaller

BAR = 1.05
PEER_LASTS_S = 1600.0
NIGHT_S, NIGHT_MB = 60.0, 300.0


def text(measured: Measured) -> str:
    if measured.x_bound is None:
        return f"never ({measured.leased_share:.1%} leased after {measured.scene.lasts_s:.0f} s)"
    return f"{measured.x_bound:.3f}"


def show_sweep(only: list[str], small: float) -> bool:
    """One line a recovery; whether all are within the bar."""
    is_within = True
    print(f"{'the sweep':34} {'x limit':>8} {'limit':>8} {'messages':>9} {'renewals':>9} {'took':>7}")
    for name, scene in recoveries().items():
        if only and not any(part in name for part in only):
            continue
        began_s = time.process_time()
        measured = rehearse(smaller(scene, small) if small > 1 else scene)
        took_s = time.process_time() - began_s
        is_within &= measured.x_bound is not None and measured.x_bound <= BAR
        print(
            f"{name:34} {text(measured):>8} {measured.bound_s:6.0f} s {measured.messages / measured.hosts_alive:9.2f}"
            f" {measured.renewals / measured.hosts_alive:9.2f} {took_s:5.0f} s",
            flush=True,
        )
    print(f"bar: {BAR} in each; {'met' if is_within else 'MISSED'}. messages, renewals: a host; took: CPU seconds")
    return is_within


def show_peers(small: float) -> None:
    """What waits to be asked, in the base recovery and where the capacity halves."""
    print(f"\n{'designs that wait to be asked':40} {'base':>32} {'capacity halves':>32}")
    for name, policy in PEERS.items():
        row = []
        for capacity in (((0.0, PER_S),), recoveries()["capacity halves"].capacity):
            scene = Scene(name, HOSTS, capacity, policy, lasts_s=PEER_LASTS_S)
            row.append(text(rehearse(smaller(scene, small))))
        print(f"{name:40} {row[0]:>32} {row[1]:>32}", flush=True)


def show_night() -> bool:
    """The whole night of a million hosts, each policy in a process of its own."""
    is_within = True
    for policy in ("safe", "october-2025"):
        command = [sys.executable, "-m", "evenkeel.cli.main", "rehearse", "act-two", "--policy", policy, "--json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(command, capture_output=True, text=True, timeout=3600)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = json.loads(ran.stdout)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        figures, mb = told["figures"], told["peak_rss_mb"]
        is_within &= told["good"] and told["wall_s"] <= NIGHT_S and mb <= NIGHT_MB
        print(
            f"act two, {policy}: {figures['hosts']:,} hosts x {told['virtual_s'] / 3600:.0f} h in"
            f" {told['wall_s']:.0f} s"
            f" ({cpu_s:.0f} s CPU), {mb:.0f} MB; {figures['renewals']:,} renewals;"
            f" recovery {figures['lease_recovery_x_bound']} x limit; {'as' if told['good'] else 'NOT as'} expected"
        )
    print(f"bar: {NIGHT_S:.0f} s, {NIGHT_MB:.0f} MB; {'met' if is_within else 'MISSED'}")
    return is_within


def show_seeds(seeds: int) -> bool:
    """Random histories of faults against managers, hosts' tables and the store's twin."""
    from tests.fleet.test_fencing import run_seed  # the judge is the suite's own

    leased, broken = 0, []
    for seed in range(seeds):
        try:
            leased += run_seed(seed)
        except AssertionError as error:
            broken.append(f"seed {seed}: {error}")
    print(f"{seeds:,} seeds of 60 faults and messages: {leased:,} hosts leased, {len(broken)} broken")
    print("\n".join(broken[:10]))
    return not broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="recoveries whose names contain one of these")
    parser.add_argument("--small", type=float, default=1.0, help="fleets so many times smaller, workers too")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--night", action="store_true")
    parser.add_argument("--seeds", type=int, default=0)
    arguments = parser.parse_args()
    is_good = True
    if arguments.seeds:
        is_good &= show_seeds(arguments.seeds)
    elif arguments.night:
        is_good &= show_night()
    elif arguments.peers:
        show_peers(max(arguments.small, 10.0))
    else:
        is_good &= show_sweep(arguments.only, arguments.small)
        if not arguments.only:
            show_peers(max(arguments.small, 10.0))
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
