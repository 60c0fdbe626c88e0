"""How long a fleet takes to get its leases back, as a multiple of the physical limit; in virtual time, one seed.

The sweep in every recovery that it is held to, and beside it, in the same run, designs that others use: Nomad-style
timers, full jitter, a token bucket, Gradient2, dropping what is late; and October 2025's own policy. The limit is work
over capacity: each live host once, and the launches that were served.

    python -m benchmarks.lease_recovery [--only NAME ...] [--small 1] [--peers] [--seeds 10000]

`--seeds` runs that many random histories of faults in which no host may be leased twice.
"""

from __future__ import annotations

import argparse
import time

from evenkeel.sim.fleet.run import rehearse
from evenkeel.sim.fleet.scene import Measured, Scene
from evenkeel.sim.fleet.scenes import HOSTS, PEERS, PER_S, recoveries, smaller

BAR = 1.05
PEER_LASTS_S = 1600.0


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
    parser.add_argument("--seeds", type=int, default=0)
    arguments = parser.parse_args()
    is_good = True
    if arguments.seeds:
        is_good &= show_seeds(arguments.seeds)
    elif arguments.peers:
        show_peers(max(arguments.small, 10.0))
    else:
        is_good &= show_sweep(arguments.only, arguments.small)
        if not arguments.only:
            show_peers(max(arguments.small, 10.0))
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
