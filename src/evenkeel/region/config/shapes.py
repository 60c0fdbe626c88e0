"""The tables of region.toml: their keys, types, ranges and defaults.

One class a table, one attribute a key; the text under an attribute is what editors and the reference show for it. A
key is the attribute in kebab case. Types are strict (`"60"` is no number) and unknown keys are errors. What takes more
than one table to judge stands in the modules beside this one.

None as a default means that it depends: on the preset, on what is inherited, or on the number of azs.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from evenkeel.model.fleet_policy import FleetPreset
from evenkeel.model.health import ProbeKind
from evenkeel.model.plan import Layout
from evenkeel.model.policy import CleanUpBy, DnsPreset, EmptyAnswer, Lock, MissingPlan, StalenessCheck
from evenkeel.model.region import Approval, EndpointKind, ServerKind
from evenkeel.region.config.fields import (
    Amount,
    ByValue,
    DomainName,
    Family,
    Host,
    HttpHost,
    HttpPath,
    IPv4,
    IPv6,
    KeyName,
    Label,
    Listener,
    Port,
    Seconds,
    Share,
    Table,
    TtlSeconds,
    ZoneServer,
)
from evenkeel.region.config.limits import (
    ACCOUNTS_MAX,
    ADDRESSES_MAX,
    AZS_MAX,
    BACKENDS_MAX,
    DAY_S,
    ENDPOINTS_MAX,
    GROUPS_MAX,
    HOSTS_MAX,
    LOAD_BALANCERS_MAX,
    MANAGERS_MAX,
    PROCESSES_MAX,
    TEMPLATES_MAX,
    ZONES_MAX,
)
from evenkeel.region.config.texts import PORT_MAX


class RegionTable(Table):
    """The region itself."""

    stand_ins: ClassVar[dict[str, Any]] = {"name": "unnamed", "azs": ["unknown"]}

    name: Label
    """The region's name; it stands in every plan, so that a plan of another region is never taken for ours."""
    azs: Annotated[list[Label], Field(min_length=1, max_length=AZS_MAX)]
    """Availability zones. Each gets a vantage point, and by default an Enactor."""
    state_dir: Annotated[str, Field(min_length=1, max_length=1024)] = "state"
    """Folder of plan store, journals, logs and keys; relative to this file."""


class PolicyTable(Table):
    """How Enactors and clean-up behave: a preset, and switches that differ from it."""

    preset: Annotated[DnsPreset, ByValue] = DnsPreset.SAFE
    """The switches not given here: `safe`, or what ran in October 2025."""
    staleness_check: Annotated[StalenessCheck, ByValue] | None = None
    """When an Enactor compares its plan with what is published."""
    lock: Annotated[Lock, ByValue] | None = None
    """Mutual exclusion of Enactors, beside the compare in the transaction."""
    clean_up: Annotated[CleanUpBy, ByValue] | None = None
    """What makes an old plan's records go."""
    missing_plan: Annotated[MissingPlan, ByValue] | None = None
    """What an Enactor does where the published plan's records are gone."""
    empty_answer: Annotated[EmptyAnswer, ByValue] | None = None
    """Whether a transaction may leave an endpoint without an answer."""
    keep_generations: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Nodes of an endpoint that clean-up leaves besides the current one and the rollback target."""
    removed_share_max: Share | None = None
    """The largest share of an endpoint's addresses that one transaction may take away."""
    addresses_min: Annotated[int, Field(ge=1, le=64)] | None = None
    """The number of addresses below which no transaction takes an endpoint."""
    attempts_max: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Compare-and-set rounds an Enactor spends on an endpoint in one cycle."""


class ZoneTable(Table):
    """A DNS zone, its writable primary and the key that signs updates."""

    name: DomainName
    """The zone's apex."""
    server: Annotated[ServerKind, ByValue] = ServerKind.EMBEDDED
    """Who serves it: evenkeel itself (`embedded`), or a server that takes dynamic updates (RFC 2136)."""
    primary: ZoneServer | None = None
    """The one writable server, as `host:port`; port 53 by default. Embedded: where to listen, 127.0.0.1:5300."""
    secondaries: list[ZoneServer] = Field(default_factory=list, max_length=32)
    """Servers fed by the primary; the audit asks them too, and the embedded server notifies them."""
    tsig_key: KeyName = "evenkeel"
    """Name of the key that signs updates (hmac-sha256); its secret stands in `<state-dir>/keys/tsig-<name>`."""
    nameservers: list[DomainName] = Field(default_factory=list, max_length=13)
    """Embedded: the zone's NS names; `ns1.<zone>` by default."""
    negative_ttl_s: TtlSeconds = 5
    """Embedded: how long resolvers keep \"there is none\" (RFC 2308), in seconds."""
    weighted_answers: Annotated[int, Field(ge=1, le=32)] = 1
    """Embedded: addresses drawn by weight into one reply."""


class ProbeTable(Table):
    """How load balancers are probed; a load balancer's own `probe` has the same keys, for what differs."""

    kind: Annotated[ProbeKind, ByValue] | None = None
    """`tcp`: a connection opens; `http`, `https`: a request is answered 2xx or 3xx; `reported`: it reports itself."""
    port: Port | None = None
    """443 by default, 80 for `http`."""
    path: HttpPath | None = None
    """What `http` and `https` ask for; `/` by default."""
    host: HttpHost | None = None
    """Host header, and the name a certificate must carry; the address by default. Sent, never resolved."""
    interval_s: Seconds | None = None
    """Seconds between two probes from one vantage point; 5 by default."""
    timeout_s: Seconds | None = None
    """Seconds after which a probe has failed; 2 by default, at most `interval-s`."""
    rise: Annotated[int, Field(ge=1, le=100)] | None = None
    """Successes in a row that make it healthy; 3 by default."""
    fall: Annotated[int, Field(ge=1, le=100)] | None = None
    """Failures in a row that make it failed; 3 by default."""
    grace_s: Annotated[float, Field(ge=0, le=DAY_S)] | None = None
    """Seconds in which a newcomer's failures do not count; 30 by default."""
    verify_tls: bool | None = None
    """Whether `https` checks the certificate; true by default."""
    authorities_file: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Certificates (PEM) of the authorities to trust, relative to this file; the system's by default."""


class _Balancing(Table):
    """What a load balancer and a group of them share."""

    capacity: Amount = 100.0
    """Capacity in a unit of your own (requests/s, say), until it reports one itself."""
    draining: bool = False
    """Takes no new clients: it leaves the answers as far as the floors allow."""
    fips: bool = False
    """Meets FIPS 140; endpoints of kind `fips` take no others."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=32)
    """Free texts by which an endpoint's `select` finds it."""
    probe: ProbeTable = ProbeTable()
    """How it is probed, where that differs from [probe-defaults]."""


class LoadBalancerTable(_Balancing):
    """A place that endpoints can point to."""

    name: Label
    """Its name, unique in the region."""
    az: Label
    """The az it stands in."""
    ipv4: list[IPv4] = Field(default_factory=list, max_length=ADDRESSES_MAX)
    """Its IPv4 addresses."""
    ipv6: list[IPv6] = Field(default_factory=list, max_length=ADDRESSES_MAX)
    """Its IPv6 addresses."""


class LoadBalancerGroupTable(_Balancing):
    """Several load balancers alike: `count` in each az, with addresses from a pattern or in a row."""

    name: Label
    """The group's name; endpoints take all its members by it."""
    azs: Annotated[list[Label], Field(min_length=1, max_length=AZS_MAX)] | None = None
    """The azs it stands in; all of the region's by default."""
    count: Annotated[int, Field(ge=1, le=LOAD_BALANCERS_MAX)] = 1
    """Members in each az."""
    member_names: str = "{group}-{az}-{i}"
    """Pattern of the members' names: {group}, {az}, {i} (counts in the az from 1), {n} (counts in the group from 1)."""
    ipv4: str | None = None
    """Pattern of IPv4 addresses, such as `127.0.1.{n}` or `10.{k}.0.{i}`: {n} and {i} as above, {k} counts the azs."""
    ipv4_first: IPv4 | None = None
    """The first of a row of IPv4 addresses, one a member."""
    ipv6: str | None = None
    """Pattern of IPv6 addresses; numbers are written in decimal."""
    ipv6_first: IPv6 | None = None
    """The first of a row of IPv6 addresses, one a member."""


class SelectTable(Table):
    """Load balancers by what they are; all that is given must hold."""

    name: Annotated[str, Field(min_length=1)] | None = None
    """Pattern of names, with `*` and `?` as in a shell."""
    azs: Annotated[list[Label], Field(min_length=1, max_length=AZS_MAX)] | None = None
    """Azs they stand in."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=32)
    """Labels they carry."""


class _Pooling(Table):
    """What an endpoint and a template of endpoints share."""

    layout: Annotated[Layout, ByValue] | None = None
    """`tree` (a CNAME to the plan's node) or `flat` (addresses at the name itself); `tree`, and `flat` at an apex."""
    load_balancers: list[Label] = Field(default_factory=list, max_length=LOAD_BALANCERS_MAX)
    """Pool: load balancers by name. Added up with `groups` and `select`."""
    groups: list[Label] = Field(default_factory=list, max_length=GROUPS_MAX)
    """Pool: all members of these groups."""
    select: SelectTable | None = None
    """Pool: load balancers by az, label or pattern of names."""
    families: Annotated[list[Annotated[Family, ByValue]], Field(min_length=1, max_length=2)] | None = None
    """Families of addresses in its answers; `["ipv4"]`, and `["ipv6"]` for kind `ipv6`."""
    ttl_s: TtlSeconds = 60
    """Seconds for which resolvers keep an answer."""
    demand: Amount = 1.0
    """Its share of a shared load balancer, relative to other endpoints'."""
    members_min: Annotated[int, Field(ge=1, le=64)] = 1
    """Floor: never fewer load balancers than this in its answer."""
    members_max: Annotated[int, Field(ge=1, le=64)] = 8
    """Never more load balancers than this in its answer, which keeps a UDP reply small."""


class EndpointTable(_Pooling):
    """A name that clients resolve, and the load balancers behind it."""

    name: DomainName
    """The name; it stands in the region's zone with the longest match."""
    kind: Annotated[EndpointKind, ByValue] = EndpointKind.PUBLIC
    """`fips`: only load balancers with `fips = true`; `ipv6`: IPv6 addresses unless `families` says otherwise."""


class AccountsTable(Table):
    """The accounts of a template: exactly one of `names`, `file` and `count`."""

    names: Annotated[list[str], Field(min_length=1, max_length=ENDPOINTS_MAX)] | None = None
    """The accounts, one label each."""
    file: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """A file of them, one a line, `#` begins a comment; relative to this file."""
    count: Annotated[int, Field(ge=1, le=ENDPOINTS_MAX)] | None = None
    """So many, named by `pattern`."""
    pattern: str = "{n}"
    """With `count`: their names; {n} counts from `first`, {n:06} pads with zeros."""
    first: Annotated[int, Field(ge=0, le=10**12)] = 1
    """With `count`: the first number."""


class EndpointTemplateTable(_Pooling):
    """One endpoint an account."""

    name: str
    """Pattern of the names, with {account} in it: `{account}.db.demo.example`."""
    kind: Annotated[EndpointKind, ByValue] = EndpointKind.ACCOUNT
    """As for an endpoint."""
    accounts: AccountsTable
    """Whose endpoints these are."""


class VantageTable(Table):
    """The vantage points, one an az."""

    report_intake: Annotated[list[Listener], Field(min_length=1, max_length=AZS_MAX)] | None = None
    """Where load balancers with a `reported` probe report, one address an az; 127.0.0.1:5321 and on by default."""


class PlannerTable(Table):
    """How many Planners there are, how often they look and how fast they may move."""

    count: Annotated[int, Field(ge=1, le=PROCESSES_MAX)] | None = None
    """Planners; redundant ones agree by compare-and-set. As many as `health-intake` names, else 2."""
    health_intake: Annotated[list[Listener], Field(min_length=1, max_length=PROCESSES_MAX)] | None = None
    """Where each Planner takes vantage points' reports; 127.0.0.1:5311 and on by default."""
    cycle_s: Seconds = 0.2
    """Seconds between two looks when nothing happens; a health change is looked at at once."""
    routine_every_s: Seconds = 30.0
    """Seconds that rebalancing waits for its turn; removals do not."""
    weight_steps: Annotated[int, Field(ge=1, le=100)] = 16
    """Weights are whole numbers of 1 to this."""
    weight_hysteresis: Annotated[float, Field(ge=0, le=1)] = 0.2
    """A relative change of weight smaller than this is not published."""
    removals_share_max: Share = 0.34
    """Share of a pool's load balancers that may be removed within `removals-window-s`."""
    removals_window_s: Seconds = 60.0
    """Seconds over which removals are counted."""
    panic_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """With a smaller share of a pool ready than this, nothing is removed."""
    quorum: Annotated[int, Field(ge=1, le=AZS_MAX)] | None = None
    """Vantage points that must agree before a load balancer is removed; 2, and 1 in a region of one az."""
    vantage_stale_s: Seconds = 15.0
    """A vantage point silent for longer is unknown."""
    warm_up_s: Annotated[float, Field(ge=0, le=DAY_S)] = 30.0
    """Seconds that an endpoint's first answer waits at most for a verdict on every member of its pool."""
    load_aware: bool = False
    """Whether weights lean away from load balancers that report more load than their peers."""
    approval: Annotated[Approval, ByValue] = Approval.NONE
    """`required`: a plan is published only once its checksum has been approved."""


class EnactorTable(Table):
    """The Enactors."""

    count: Annotated[int, Field(ge=1, le=PROCESSES_MAX)] | None = None
    """Redundant Enactors; one an az by default."""


class PlanStoreTable(Table):
    """The plan store."""

    listen: Listener = Field(default="127.0.0.1:5310", validate_default=True)
    """Where Planners and Enactors reach it."""
    generations_kept: Annotated[int, Field(ge=10, le=1_000_000)] = 1_000
    """Generations of history."""


class AuditTable(Table):
    """The audit."""

    every_s: Seconds = 5.0
    """Seconds between two walks over every endpoint at every server."""


class MetricsTable(Table):
    """Metrics and status of every process."""

    host: Host = "127.0.0.1"
    """Where every process answers HTTP."""
    port_base: Annotated[int, Field(ge=0, le=PORT_MAX)] = 5400
    """The k-th process answers at this port + k; 0 turns it off."""


class FleetTable(Table):
    """Hosts with leases, the instances on them, and the launch API. The fleet is there where `endpoint` is given."""

    endpoint: DomainName | None = None
    """The endpoint by which managers find their table service; its load balancers are the service's front ends."""
    policy: Annotated[FleetPreset, ByValue] | None = None
    """How leases are kept and recovered: `safe`, or as in October 2025; as the preset of [policy] by default."""
    term_s: Seconds | None = None
    """Seconds that a lease lasts, until a recovery stretches it; 300 by default."""
    managers_per_az: Annotated[int, Field(ge=1, le=MANAGERS_MAX)] = 1
    """Managers of each az, each a process of its own: one has the az, the others stand by for it."""
    takeover_after_s: Annotated[float, Field(ge=2, le=3600)] = 5.0
    """A manager that stands by takes over from one that the store has not heard of for so many seconds."""
    manager_listen: Annotated[list[Listener], Field(min_length=1, max_length=AZS_MAX * MANAGERS_MAX)] | None = None
    """Where the manager of each az takes its agents' links (mutual TLS), then the second manager of each, and so on;
    127.0.0.1:5331 and on by default."""
    manager_control: Annotated[list[Listener], Field(min_length=1, max_length=AZS_MAX * MANAGERS_MAX)] | None = None
    """Where they take launches from the launch API, in the same order; 127.0.0.1:5351 and on by default."""
    launch_api: Listener = Field(default="127.0.0.1:5340", validate_default=True)
    """Where the launch API answers HTTP."""
    hosts: Annotated[int, Field(ge=0, le=HOSTS_MAX)] = 0
    """So many demo hosts in each az, each with an agent, are started by `evenkeel up`."""
    host_cpus: Annotated[int, Field(ge=1, le=4096)] = 8
    """Processors of a host that this file's agents report, to be shared out to instances."""
    host_memory_mib: Annotated[int, Field(ge=1, le=2**26)] = 2048
    """Memory of a host, in MiB."""
    instance_address: Host = "127.0.0.1"
    """Address of a host at which its instances answer."""
    accounts: Annotated[list[Label], Field(min_length=1, max_length=ACCOUNTS_MAX)] = ["demo"]  # noqa: RUF012 - copied
    """Accounts of the launch API; each one's token stands in `<state-dir>/keys/account-<name>`."""
    launches_per_s: Amount = 2.0
    """Instances a second that one account may launch."""
    launches_burst: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Instances that an account which has launched none for a while may launch at once."""
    reads_per_s: Amount = 20.0
    """Calls a second of one account that launch nothing."""
    count_max: Annotated[int, Field(ge=1, le=10_000)] = 50
    """The most instances of one launch."""
    state_check_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Seconds that a manager works on a host before it grants a lease; lets a small fleet recover like a large one."""
    nats: Annotated[str, Field(max_length=1024)] = ""
    """URL of a NATS server that carries the agents' links in place of TCP (extra `nats`)."""
    database: Annotated[str, Field(max_length=1024)] = ""
    """PostgreSQL connection string of the table service (extra `postgres`); SQLite in the state folder by default."""


class DemoTable(Table):
    """Load balancers to play with."""

    backends: Annotated[int, Field(ge=0, le=BACKENDS_MAX)] = 0
    """So many processes of `evenkeel up` play the load balancers; with one for each, each can be killed alone."""


class RegionFile(Table):
    """A region of evenkeel: endpoints, the load balancers behind them, zones, policies and processes."""

    region: RegionTable
    policy: PolicyTable = Field(default_factory=PolicyTable)
    zone: Annotated[list[ZoneTable], Field(min_length=1, max_length=ZONES_MAX)]
    probe_defaults: ProbeTable = Field(default_factory=ProbeTable)
    load_balancer: list[LoadBalancerTable] = Field(default_factory=list, max_length=LOAD_BALANCERS_MAX)
    load_balancer_group: list[LoadBalancerGroupTable] = Field(default_factory=list, max_length=GROUPS_MAX)
    endpoint: list[EndpointTable] = Field(default_factory=list, max_length=ENDPOINTS_MAX)
    endpoint_template: list[EndpointTemplateTable] = Field(default_factory=list, max_length=TEMPLATES_MAX)
    vantage: VantageTable = Field(default_factory=VantageTable)
    planner: PlannerTable = Field(default_factory=PlannerTable)
    enactor: EnactorTable = Field(default_factory=EnactorTable)
    plan_store: PlanStoreTable = Field(default_factory=PlanStoreTable)
    audit: AuditTable = Field(default_factory=AuditTable)
    metrics: MetricsTable = Field(default_factory=MetricsTable)
    fleet: FleetTable = Field(default_factory=FleetTable)
    demo: DemoTable = Field(default_factory=DemoTable)
