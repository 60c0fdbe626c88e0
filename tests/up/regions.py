"""A small region on free loopback ports."""

from __future__ import annotations

import random
import socket
from dataclasses import replace
from pathlib import Path

from evenkeel.model.health import Probe, ProbeKind
from evenkeel.model.plan import Layout
from evenkeel.model.policy import SAFE
from evenkeel.model.region import Endpoint, HostPort, LoadBalancer, PlannerSettings, Region, ServerKind, Zone

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all held at once, so that no two are alike."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def free_run(count: int) -> int:
    """The first of `count` free ports in a row; tests that run beside each other begin to look in different places."""
    places = range(20_000, 32_000, count)
    start = random.randrange(len(places))
    for turn in range(len(places)):
        first = places[(start + turn) % len(places)]
        sockets: list[socket.socket] = []
        try:
            sockets += [socket.create_server((LOOPBACK, first + number)) for number in range(count)]
            return first
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
    raise RuntimeError(f"no {count} free ports in a row")


def small_region(state_dir: Path, *, backends: int = 1, has_metrics: bool = True) -> Region:
    """One zone, one endpoint, one load balancer, one of each component."""
    dns, store, intake, probed = free_ports(4)
    zone = Zone("demo.example.", ServerKind.EMBEDDED, HostPort(LOOPBACK, dns))
    probe = Probe(ProbeKind.HTTP, probed, "/health", interval_s=0.2, timeout_s=0.5, rise=2, fall=2, grace_s=1.0)
    balancer = LoadBalancer("edge-a-1", "a", (LOOPBACK,), probe=probe)
    endpoint = Endpoint("db.demo.example.", zone.name, Layout.TREE, (balancer.name,), ttl_s=5)
    region = Region(
        name="small",
        azs=("a",),
        zones={zone.name: zone},
        load_balancers={balancer.name: balancer},
        endpoints={endpoint.name: endpoint},
        policy=SAFE,
        planner=replace(PlannerSettings(), quorum=1),
        plan_store=HostPort(LOOPBACK, store),
        health_intake=(HostPort(LOOPBACK, intake),),
        metrics_host=LOOPBACK,
        metrics_port_base=0,
        planners=1,
        enactors=1,
        audit_every_s=1.0,
        state_dir=str(state_dir),
        backends=backends,
    )
    return replace(region, metrics_port_base=free_run(8)) if has_metrics else region
