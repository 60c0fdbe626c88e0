"""Health of load balancers: what a vantage point sees, and what a quorum of them decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProbeKind(StrEnum):
    TCP = "tcp"
    HTTP = "http"
    HTTPS = "https"
    REPORTED = "reported"  # the load balancer reports itself


class Standing(StrEnum):
    """One vantage point's or the quorum's opinion of a load balancer."""

    NEW = "new"  # not yet ready once: neither counted nor published
    HEALTHY = "healthy"
    FAILED = "failed"
    UNKNOWN = "unknown"  # late or no word: never a reason to remove
    DRAINING = "draining"  # told to take no new clients


@dataclass(frozen=True, slots=True)
class Probe:
    """How a load balancer is probed. `port`, `path`, `host` as the kind needs them; times in seconds."""

    kind: ProbeKind = ProbeKind.TCP
    port: int = 443
    path: str = "/"
    host: str = ""
    interval_s: float = 5.0
    timeout_s: float = 2.0
    rise: int = 3
    fall: int = 3
    grace_s: float = 30.0  # a newcomer's failures do not count for this long
    verify_tls: bool = True
    authorities_file: str = ""  # PEM, for `verify_tls`; "" for the system's


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one vantage point says of one load balancer, with what the balancer reported of itself.

    `capacity` and `load` are in the operator's own unit (requests/s, say); negative means not reported.
    """

    load_balancer: str
    vantage: str
    standing: Standing
    capacity: float = -1.0
    load: float = -1.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The quorum's verdict on one load balancer, as the Planner takes it."""

    load_balancer: str
    standing: Standing
    capacity: float  # reported, else configured
    load: float = -1.0
