"""`python -m benchmarks [NAME ...]`: every measurement, one after the other, both sides of each in one run.

Each is a program of its own (`python -m benchmarks.NAME`) that ends with its figure beside its bar, and exits 0
where the bar is met. Machines are noisy: a bar that is missed once deserves a second run before it is believed.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time

# In the order of the docs; minutes are those of a 2-core machine.
MEASUREMENTS = {
    "first_publish": "first publish of 10,000 endpoints to BIND and Knot, beside octodns-sync (2 min)",
    "one_change": "one backend's failure among 50,000 endpoints, beside octodns-sync (4 min)",
    "detection_to_answer": "one backend's failure among 50,000 endpoints, detection to answer, whole region (3 min)",
    "nameserver": "queries/s of the embedded nameserver, beside BIND (2 min)",
    "planner": "a health change among 500,000 records, planned and diffed (1 min)",
    "enactor_memory": "memory of an Enactor at 10,000 endpoints (1 min)",
    "check": "the explorer's states/s, beside Spin on an equal model; the October race (2 min)",
    "probes": "10,000 probed targets at a 5 s interval (1 min)",
    "lease_recovery": "a fleet's recovery as a multiple of the limit, in virtual time, beside six designs (5 min)",
    "leases_live": "a recovery for real, every host's link from one process, beside October 2025's policy (2 min)",
    "fleet_night": "a million hosts for 15 hours, act two under both policies (2 min)",
    "leases_vs_etcd": "lease renewals/s on one core of a manager, beside etcd's keep-alives (1 min)",
    "rehearse": "virtual time beside SimPy, October act one, 1,000 seeds of the race (4 min)",
}
DEADLINE_S = 1800.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASUREMENTS, []], metavar="NAME", help=", ".join(MEASUREMENTS))
    names = parser.parse_args().names or list(MEASUREMENTS)
    outcomes = {}
    for name in names:
        if importlib.util.find_spec(f"benchmarks.{name}") is None:
            raise SystemExit(f"error: benchmarks/{name}.py is missing from this checkout")
        print(f"\n=== {name}: {MEASUREMENTS[name]}", flush=True)
        began = time.monotonic()
        ran = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], timeout=DEADLINE_S, check=False)
        outcomes[name] = ran.returncode
        print(f"    {time.monotonic() - began:.0f} s", flush=True)
    print("\n=== summary")
    for name, code in outcomes.items():
        print(f"  {'met   ' if code == 0 else 'MISSED'} {name}: {MEASUREMENTS[name]}")
    return 0 if not any(outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
