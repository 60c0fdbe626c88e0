"""The renewal workload of `benchmarks.rehearse` in happysim, for a Python 3.13 that has it.

    python3.13 -m venv V && V/bin/pip install happysim && HAPPYSIM_PYTHON=V/bin/python python -m benchmarks.rehearse

100,000 hosts renew every 60 s through 16 servers of 8 ms each. Imports nothing of evenkeel; prints renewals and
seconds.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

HOSTS, EVERY_S, SERVERS, SERVICE_S = 100_000, 60.0, 16, 0.008


def main(virtual_s: float) -> None:
    import happysimulator as happy  # type: ignore[import-not-found] # needs Python 3.13; see above
    from happysimulator.distributions import ConstantLatency  # type: ignore[import-not-found] # as above

    class Hosts(happy.Entity):  # type: ignore[misc] # as above
        """Where served renewals arrive; each host comes again after its interval."""

        def __init__(self) -> None:
            super().__init__("hosts")
            self.done = 0

        def handle_event(self, event: Any) -> list[Any]:
            self.done += 1
            again = event.time + happy.Duration.from_seconds(EVERY_S)
            return [happy.Event(time=again, event_type="renew", target=server)]

    hosts = Hosts()
    server = happy.Server("servers", concurrency=SERVERS, service_time=ConstantLatency(SERVICE_S), downstream=hosts)
    end = happy.Instant.from_seconds(virtual_s)
    simulation = happy.Simulation(entities=[server, hosts], end_time=end)
    draw = random.Random(1)
    first = (happy.Instant.from_seconds(draw.uniform(0.0, EVERY_S)) for _ in range(HOSTS))
    simulation.schedule([happy.Event(time=due, event_type="renew", target=server) for due in first])
    began = time.process_time()
    simulation.run()
    seconds = time.process_time() - began
    print(f"happysim: {hosts.done:,} renewals in {seconds:.1f} s of processor, {hosts.done / seconds:,.0f} renewals/s")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 120.0)
