"""A region as its components take it: what region.toml says, checked and with every template expanded."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from evenkeel.model.fleet_policy import SAFE_FLEET, FleetPolicy
from evenkeel.model.health import Probe
from evenkeel.model.plan import Layout
from evenkeel.model.policy import DnsPolicy


class Approval(StrEnum):
    """Whether a plan needs an operator's word before it is published."""

    NONE = "none"
    REQUIRED = "required"  # a Planner appends only a plan whose checksum was approved


class ServerKind(StrEnum):
    EMBEDDED = "embedded"
    BIND = "bind"
    KNOT = "knot"
    RFC2136 = "rfc2136"  # any other server that takes dynamic updates


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where something listens. `host` is an address literal or a name; `port` 1 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Zone:
    """One DNS zone: its one writable primary, the secondaries behind it, and the key that signs updates."""

    name: str
    server: ServerKind
    primary: HostPort
    secondaries: tuple[HostPort, ...] = ()
    tsig_key: str = "evenkeel"  # name of the key; the secret stands in the keys folder, mode 0600
    nameservers: tuple[str, ...] = ()  # NS names, for zones that evenkeel serves itself
    negative_ttl_s: int = 5  # SOA minimum (RFC 2308)
    weighted_answers: int = 1  # embedded server: addresses drawn by weight into one reply


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """A place that endpoints can point to. `capacity` is in the operator's own unit."""

    name: str
    az: str
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    capacity: float = 100.0
    probe: Probe = field(default_factory=Probe)
    draining: bool = False


class EndpointKind(StrEnum):
    """What an endpoint is for; answers are made alike for all."""

    PUBLIC = "public"
    FIPS = "fips"  # only load balancers that meet FIPS 140 stand behind it
    IPV6 = "ipv6"
    ACCOUNT = "account"  # one customer's own


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A name that clients resolve, and the load balancers that may stand behind it."""

    name: str
    zone: str
    layout: Layout
    load_balancers: tuple[str, ...]
    ttl_s: int = 60
    ipv4: bool = True
    ipv6: bool = False
    demand: float = 1.0  # this endpoint's share of a shared load balancer, relative to the others'
    members_min: int = 1  # floor: never fewer load balancers than this, panic below
    members_max: int = 8  # answers stay small enough for a UDP reply
    kind: EndpointKind = EndpointKind.PUBLIC


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """How often the Planner looks, and how fast it may move."""

    cycle_s: float = 0.2
    routine_every_s: float = 30.0  # rebalancing waits for its turn; removals do not
    weight_steps: int = 16  # weights are whole numbers of 1..weight_steps
    weight_hysteresis: float = 0.2  # a change of share smaller than this is not published
    removals_share_max: float = 0.34  # of a pool's load balancers, removed within `removals_window_s`
    removals_window_s: float = 60.0
    panic_share: float = 0.5  # fewer ready than this: removing more would do harm, keep all
    quorum: int = 2  # vantage points that must agree before a load balancer is removed
    vantage_stale_s: float = 15.0  # a vantage point silent for longer is unknown
    warm_up_s: float = 30.0  # a first answer waits this long at most for every verdict on its pool
    load_aware: bool = False  # weights lean away from load balancers that report more load than their peers
    approval: Approval = Approval.NONE


@dataclass(frozen=True, slots=True)
class LaunchLimits:
    """What one account may ask of the launch API."""

    launches_per_s: float = 2.0  # instances, sustained
    launches_burst: int = 20
    reads_per_s: float = 20.0  # calls that change nothing
    count_max: int = 50  # instances of one launch


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """Hosts, their managers, the table service that these keep their state in, and the launch API.

    The table service is found by `endpoint`, one of the region's own: its front ends are that endpoint's load
    balancers, and each listens at the port at which its load balancer is probed.
    """

    endpoint: str
    managers: tuple[HostPort, ...]  # where managers take agents' links: one an az in their order, then the second ones
    controls: tuple[HostPort, ...]  # where they take launches, in the same order
    launch_api: HostPort
    policy: FleetPolicy = SAFE_FLEET
    hosts: int = 0  # demo hosts an az, each with an agent, that `evenkeel up` starts
    host_cpus: int = 8
    host_memory_mib: int = 2048
    instance_address: str = "127.0.0.1"  # at which a host's instances answer
    accounts: tuple[str, ...] = ("demo",)
    limits: LaunchLimits = field(default_factory=LaunchLimits)
    state_check_s: float = 0.0  # a manager's work on one host before it grants a lease, beside the store's
    nats: str = ""  # URL of a NATS server that carries the links; "": TCP
    database: str = ""  # PostgreSQL connection string; "": SQLite in the state folder
    managers_per_az: int = 1  # one of them has the az, the others stand by
    takeover_after_s: float = 5.0  # a standby takes over from a manager that has been silent for so long


@dataclass(frozen=True, slots=True)
class Region:
    """Everything region.toml says. Mappings are by name; endpoints have their templates expanded."""

    name: str
    azs: tuple[str, ...]
    zones: dict[str, Zone]
    load_balancers: dict[str, LoadBalancer]
    endpoints: dict[str, Endpoint]
    policy: DnsPolicy
    planner: PlannerSettings
    plan_store: HostPort
    health_intake: tuple[HostPort, ...]  # one a Planner: where vantage points report
    metrics_host: str
    metrics_port_base: int  # component k listens at base + k; 0: off
    planners: int
    enactors: int
    audit_every_s: float
    state_dir: str  # absolute: plan store, journals, keys, last good plans
    generations_kept: int = 1000  # history in the plan store
    report_intake: tuple[HostPort, ...] = ()  # one an az, in that order: where load balancers report themselves
    backends: int = 0  # `evenkeel up` starts this many demo backends for the load balancers' probes
    fleet: FleetSettings | None = None
