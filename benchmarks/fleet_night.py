"""Act two of October 2025 with a million hosts for 15 hours, under both policies: what came of it, time and memory.

Each policy in a process of its own, as a user runs it. October's night has to collapse by itself and to end when it
did; under `safe` every lease is held again at once, and had they all been lost, the sweep would bring them back at the
limit.

    python -m benchmarks.fleet_night
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

BAR_S, BAR_MB = 60.0, 300.0
DEADLINE_S = 900.0


def main() -> int:
    is_within = True
    for policy in ("safe", "october-2025"):
        command = [sys.executable, "-m", "evenkeel.cli.main", "rehearse", "act-two", "--policy", policy, "--json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = json.loads(ran.stdout)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        figures, mb = told["figures"], told["peak_rss_mb"]
        is_within &= told["good"] and told["wall_s"] <= BAR_S and mb <= BAR_MB
        print(
            f"act two, {policy}: {figures['hosts']:,} hosts x {told['virtual_s'] / 3600:.0f} h in"
            f" {told['wall_s']:.0f} s"
            f" ({cpu_s:.0f} s CPU), {mb:.0f} MB; {figures['renewals']:,} renewals;"
            f" recovery {figures['lease_recovery_x_bound']} x limit; {'as' if told['good'] else 'NOT as'} expected"
        )
    print(f"bar: {BAR_S:.0f} s, {BAR_MB:.0f} MB; {'met' if is_within else 'MISSED'}")
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
