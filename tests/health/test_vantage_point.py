"""A whole vantage point beside listeners that go quiet, and its metrics."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from evenkeel.adapters.vantage_point import VantagePoint
from evenkeel.model.health import Opinion, Probe, ProbeKind, Standing
from evenkeel.model.region import LoadBalancer
from evenkeel.region.processes.vantage import ProbeMetrics
from tests.health.targets import free_port, listener, until

OK = b"HTTP/1.1 200 OK\r\n\r\n"


class Switchboard:
    """HTTP targets on one port, one a loopback address, that reply, or hang, or turn callers away as told."""

    def __init__(self) -> None:
        self.quiet: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if writer.get_extra_info("sockname")[0] not in self.quiet:
            writer.write(OK)
        await reader.read()


def balancers(port: int, count: int = 3) -> list[LoadBalancer]:
    probe = Probe(ProbeKind.HTTP, port, "/", interval_s=0.2, timeout_s=0.1, rise=2, fall=2, grace_s=0.0)
    return [LoadBalancer(f"lb-{k}", "a", ipv4=(f"127.0.0.{k + 31}",), probe=probe) for k in range(count)]


def test_a_vantage_that_loses_its_network_doubts_itself_and_fails_nobody() -> None:
    async def scene() -> tuple[list[Standing], list[str]]:
        board, standings, doubts = Switchboard(), list[Standing](), list[str]()

        def note(before: Standing, opinion: Opinion) -> None:
            standings.append(opinion.standing)

        async with listener(board.serve, "0.0.0.0") as port:
            point = VantagePoint("vantage-a", balancers(port), [], "", on_opinion=note, on_doubt=doubts.append)
            point.start()
            await until(lambda: standings.count(Standing.HEALTHY) == 3)
            board.quiet = {"127.0.0.31", "127.0.0.32", "127.0.0.33"}
            await until(lambda: doubts)
            await asyncio.sleep(1.0)  # twice what `fall` failures take
            assert point.view.count(Standing.FAILED) == 0
            board.quiet = {"127.0.0.33"}
            await until(lambda: point.view.count(Standing.HEALTHY) == 2)
            await until(lambda: point.view.count(Standing.FAILED) == 1)
            await point.stop()
        return standings, doubts

    standings, doubts = asyncio.run(scene())
    assert doubts == ["all 3 targets are silent from here", ""]
    assert standings.count(Standing.FAILED) <= 2  # what was counted before the last target fell silent


@pytest.mark.parametrize("what", ["evenkeel_probes_total", "evenkeel_probe_turns_total"])
def test_metrics_count_probes_and_turns(what: str) -> None:
    async def scene() -> str:
        async with listener(Switchboard().serve, "0.0.0.0") as port:
            dead = [LoadBalancer("dead", "a", ipv4=("127.0.0.40",), probe=balancers(free_port())[0].probe)]
            point = VantagePoint("vantage-a", [*balancers(port), *dead], [], "")
            registry = CollectorRegistry()
            registry.register(ProbeMetrics(point))
            point.start()
            await until(lambda: point.prober.counts.done >= 8)
            text = generate_latest(registry).decode()
            await point.stop()
            return text

    lines = dict(line.rsplit(" ", 1) for line in asyncio.run(scene()).splitlines() if line.startswith(what))
    if what == "evenkeel_probes_total":
        assert float(lines[what + '{outcome="ready"}']) >= 5
        assert float(lines[what + '{outcome="refused"}']) >= 1
    else:
        assert float(lines[what + '{of="started"}']) >= 8
