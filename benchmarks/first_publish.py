"""First publish of 10,000 endpoints x 4 addresses to BIND and to Knot, beside octodns-sync on the same servers.

    python -m benchmarks.first_publish [--endpoints 10000] [--rounds 3] [--servers bind,knot] [--layout flat]

Both sides start from a description on disk (YAML there, a plan here) and end when the last message has been
acknowledged; each works on a fresh server of the same kind with its data on disk. evenkeel goes through the whole
Enactor: looks, guards, fences, conditional transactions; it writes the address set and a fence to each endpoint, on
condition that neither stood. octoDNS writes the address sets alone, without conditions.

Two figures each: of the whole process, from its start to its end; and, for evenkeel, from the moment a running
Enactor has the plan, which is how it works in production. The ratios are octoDNS's whole process to either.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.octodns_peer import Octodns, make_environment
from benchmarks.publish_once import Done, Job
from evenkeel.adapters.plan_store import last_good
from evenkeel.model.plan import Answer, EndpointPlan, Layout, Plan
from evenkeel.testing.servers import Server, bind_server, knot_server

ZONE = "demo.example."
SERVERS = {"bind": bind_server, "knot": knot_server}
ADDRESSES = 4
BAR = 10.0


def addresses(number: int) -> tuple[str, ...]:
    return tuple(sorted(f"10.{number >> 16}.{number >> 8 & 255}.{(number & 63) * 4 + k}" for k in range(ADDRESSES)))


def plan_of(endpoints: int, layout: Layout) -> Plan:
    planned = {}
    for number in range(endpoints):
        name = f"e{number}.{ZONE}"
        planned[name] = EndpointPlan(name, ZONE, layout, Answer(60, addresses(number), (1,) * ADDRESSES), 1)
    return Plan("bench", 1, "bench", planned)


def evenkeel(folder: Path, server: Server, plan: Plan) -> tuple[float, Done]:
    """Seconds of the whole process, and what it says of itself."""
    last_good.save(folder / "plan", plan)
    job = Job(ZONE, server.kind, server.host, server.port, server.key.name, server.secret, str(folder / "plan"))
    path = folder / "job.json"
    path.write_text(json.dumps(asdict(job)))
    path.chmod(0o600)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.publish_once", str(path)], capture_output=True, text=True, timeout=600
    )
    took_s = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return took_s, Done(**json.loads(done.stdout))


def compare(kind: str, plan: Plan, rounds: int) -> bool:
    """Run both sides in turn, print their medians; whether the bar is met."""
    theirs: list[float] = []
    whole: list[float] = []
    ours: list[Done] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="first-publish-") as folder_name:
            folder = Path(folder_name)
            with SERVERS[kind](folder / "theirs", [ZONE]) as server:
                peer = Octodns(folder / "octodns", server, ZONE)
                peer.describe((name, planned.answer.a) for name, planned in plan.endpoints.items())
                theirs.append(peer.sync())
            with SERVERS[kind](folder / "ours", [ZONE]) as server:
                whole_s, done = evenkeel(folder, server, plan)
                whole.append(whole_s)
                ours.append(done)
    them_s, whole_s = statistics.median(theirs), statistics.median(whole)
    published_s = statistics.median(done.published_s for done in ours)
    cpu_us = statistics.median(done.cpu_s / done.endpoints * 1e6 for done in ours)
    print(f"{kind}: {len(plan.endpoints)} endpoints x {ADDRESSES} addresses, median of {rounds}")
    print(f"  octodns-sync                   {them_s:8.2f} s")
    print(f"  evenkeel, whole process        {whole_s:8.2f} s   {them_s / whole_s:6.1f} x")
    print(
        f"  evenkeel, running Enactor      {published_s:8.2f} s   {them_s / published_s:6.1f} x   "
        f"({len(plan.endpoints) / published_s:,.0f} endpoints/s, {cpu_us:.0f} us CPU each, "
        f"{ours[0].messages} messages, peak {max(done.rss_mb for done in ours):.0f} MB)"
    )
    return them_s / published_s >= BAR


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", default="bind,knot")
    parser.add_argument("--layout", choices=[layout.value for layout in Layout], default="flat")
    options = parser.parse_args(arguments)
    make_environment()
    plan = plan_of(options.endpoints, Layout(options.layout))
    met = [compare(kind, plan, options.rounds) for kind in options.servers.split(",")]
    print(f"bar: running Enactor at least {BAR:.0f} x octodns-sync: {'met' if all(met) else 'NOT MET'}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
