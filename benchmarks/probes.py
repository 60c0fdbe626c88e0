"""10,000 probed targets from one process at a 5 s interval: does the schedule hold, and at what cost?

    python -m benchmarks.probes [--targets 10000] [--interval 5] [--seconds 60] [--kind http] [--silent 0.5]

Every target has an address of its own in 127.0.0.0/8 and is served by real listeners in processes of their own.
The vantage point is the whole of it: probes, opinions, and a Planner's intake in a third process that it tells.
After a first interval to get going it prints, for the rest:

- turns due (by the clock alone) and probes done, and the ratio of the two;
- lag: how late turns came up, p50, p99, max;
- drift: by how much the last interval's turns are later than the first's, which would grow if anything drifted;
- CPU of the vantage process, as a share of one core, and its peak memory.

With `--silent` that share of the targets accepts and never replies, so that their probes run into the timeout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import select
import socket
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event

from evenkeel.adapters.health_intake import HealthIntake
from evenkeel.adapters.vantage_point import VantagePoint
from evenkeel.endpoints.verdicts import Outcome
from evenkeel.model.health import Probe, ProbeKind, Standing
from evenkeel.model.region import HostPort, LoadBalancer

REPLY = b"\r\n".join(
    [
        b"HTTP/1.1 200 OK",
        b"Evenkeel-Capacity: 100",
        b"Evenkeel-Load: 10",
        b"Content-Length: 3",
        b"Connection: close",
        b"",
        b"ok\n",
    ]
)
TOKEN = "benchmark"
BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Result:
    """Units in the names; `done_share` is done / due."""

    targets: int
    kind: str
    interval_s: float
    measured_s: float
    due: int
    done: int
    done_share: float
    probes_per_s: float
    lag_ms_p50: float
    lag_ms_p99: float
    lag_ms_max: float
    drift_ms: float
    cpu_share: float
    memory_mb: float
    in_flight_max: int
    healthy: int
    failed: int
    late: int


def addresses(count: int) -> Iterator[str]:
    """Distinct loopback addresses from 127.16.0.1 on."""
    for number in range(1, count + 1):
        yield f"127.{16 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"


def is_silent(address: str, share: float) -> bool:
    """Whether the target at `address` is one of those that never reply; spread evenly over the addresses."""
    return zlib.crc32(address.encode()) % 1000 < share * 1000


def serve(port: int, silent_share: float, stopping: Event) -> None:
    """A listener on every loopback address: replies to each request, closes when the prober does."""
    with socket.socket() as listening, select.epoll() as poll:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("0.0.0.0", port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
        poll.register(listening.fileno(), select.EPOLLIN)
        callers: dict[int, socket.socket] = {}
        while not stopping.is_set():
            for descriptor, _ in poll.poll(0.5):
                if descriptor == listening.fileno():
                    _accept(listening, poll, callers)
                else:
                    _answer(descriptor, silent_share, poll, callers)


def _accept(listening: socket.socket, poll: select.epoll, callers: dict[int, socket.socket]) -> None:
    while True:
        try:
            caller, _ = listening.accept()
        except OSError:
            return
        caller.setblocking(False)
        callers[caller.fileno()] = caller
        poll.register(caller.fileno(), select.EPOLLIN)


def _answer(descriptor: int, silent_share: float, poll: select.epoll, callers: dict[int, socket.socket]) -> None:
    caller = callers[descriptor]
    try:
        if caller.recv(4096):
            if not silent_share or not is_silent(caller.getsockname()[0], silent_share):
                caller.send(REPLY)
            return
    except OSError:
        pass  # the prober ends each connection with a reset
    poll.unregister(descriptor)
    callers.pop(descriptor).close()


def balancers(count: int, probe: Probe) -> list[LoadBalancer]:
    """One a target."""
    return [
        LoadBalancer(f"lb-{place}", "a", ipv4=(address,), probe=probe) for place, address in enumerate(addresses(count))
    ]


def take_opinions(port: int, count: int, probe: Probe, stopping: Event) -> None:
    """A Planner's intake, in a process of its own."""

    async def run() -> None:
        intake = HealthIntake({each.name: each for each in balancers(count, probe)}, ["vantage-a"], 1, 15.0)
        await intake.start(HostPort("127.0.0.1", port), TOKEN)
        while not stopping.is_set():
            await intake.wait_changed(0.5)
        await intake.stop()

    asyncio.run(run())


async def measure(count: int, probe: Probe, seconds: float, intake_port: int) -> Result:
    """Probe for one interval and then `seconds` more, and say what came of the latter."""
    lags: list[tuple[float, float]] = []
    loop = asyncio.get_running_loop()
    point = VantagePoint(
        "vantage-a",
        balancers(count, probe),
        [HostPort("127.0.0.1", intake_port)],
        TOKEN,
        on_lag=lambda lag_s: lags.append((loop.time(), lag_s)),
    )
    point.start()
    await asyncio.sleep(probe.interval_s)
    counts = point.prober.counts
    begun_s, cpu_s, done = loop.time(), time.process_time(), counts.done
    lags.clear()
    in_flight_max = 0
    while loop.time() < begun_s + seconds:
        await asyncio.sleep(min(0.1, begun_s + seconds - loop.time()))
        in_flight_max = max(in_flight_max, point.prober.in_flight)
    ended_s, cpu_s = loop.time(), time.process_time() - cpu_s
    measured_s = ended_s - begun_s
    # Each target is due once an interval, whatever the prober says of itself.
    due = round(count * measured_s / probe.interval_s)
    result = Result(
        targets=count,
        kind=probe.kind.value,
        interval_s=probe.interval_s,
        measured_s=round(measured_s, 2),
        due=due,
        done=counts.done - done,
        done_share=round((counts.done - done) / due, 5),
        probes_per_s=round((counts.done - done) / measured_s, 1),
        **_lags(lags, probe.interval_s),
        cpu_share=round(cpu_s / measured_s, 3),
        memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        in_flight_max=in_flight_max,
        healthy=point.view.count(Standing.HEALTHY),
        failed=point.view.count(Standing.FAILED),
        late=counts.outcomes[Outcome.LATE],
    )
    await point.stop()
    return result


def _lags(lags: Sequence[tuple[float, float]], interval_s: float) -> dict[str, float]:
    ordered = sorted(lag_s for _, lag_s in lags)
    first = [lag_s for at_s, lag_s in lags if at_s < lags[0][0] + interval_s]
    last = [lag_s for at_s, lag_s in lags if at_s > lags[-1][0] - interval_s]

    def ms(value_s: float) -> float:
        return round(1000 * value_s, 2)

    return {
        "lag_ms_p50": ms(ordered[len(ordered) // 2]),
        "lag_ms_p99": ms(ordered[len(ordered) * 99 // 100]),
        "lag_ms_max": ms(ordered[-1]),
        "drift_ms": ms(sorted(last)[len(last) // 2] - sorted(first)[len(first) // 2]),
    }


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("0.0.0.0", 0))
        port: int = held.getsockname()[1]
        return port


def run(count: int, interval_s: float, seconds: float, kind: ProbeKind, silent_share: float = 0.0) -> Result:
    """The whole benchmark, with listeners and intake in processes of their own."""
    context = multiprocessing.get_context("spawn")
    stopping = context.Event()
    port, intake_port = free_port(), free_port()
    probe = Probe(kind, port, "/health", interval_s=interval_s, timeout_s=2.0, rise=3, fall=3)
    helpers = [
        context.Process(target=serve, args=(port, silent_share, stopping), daemon=True),
        context.Process(target=take_opinions, args=(intake_port, count, probe, stopping), daemon=True),
    ]
    for helper in helpers:
        helper.start()
    try:
        _await_listening(port)
        return asyncio.run(measure(count, probe, seconds, intake_port))
    finally:
        stopping.set()
        for helper in helpers:
            helper.join(5.0)


def _await_listening(port: int, deadline_s: float = 20.0) -> None:
    give_up_s = time.monotonic() + deadline_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.05)


def main(arguments: Sequence[str] | None = None) -> Result:
    """Print the figures; `--json` for machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kind", choices=("tcp", "http"), default="http")
    parser.add_argument("--silent", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    result = run(asked.targets, asked.interval, asked.seconds, ProbeKind(asked.kind), asked.silent)
    if asked.json:
        print(json.dumps(asdict(result)))
    else:
        for name, value in asdict(result).items():
            print(f"{name:>14}  {value}")
    return result


if __name__ == "__main__":
    main()
