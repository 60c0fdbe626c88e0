"""The tables of a scenario file: keys, types, ranges and defaults.

As in region.toml: a key is the attribute in kebab case, the text under it is what editors show, unknown keys are
errors. Moments are times of the day ("23:48") or spans after the start ("+10m"); spans are "90s", "10m", "1h30m".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from evenkeel.region.config.fields import ByValue, Table
from evenkeel.region.config.texts import BadText
from evenkeel.region.rehearsing import moments
from evenkeel.sim.invariants import Invariant
from evenkeel.sim.script import MilestoneEvent, StepKind

STEPS_MAX = 1_000
CLIENTS_MAX = 1_000_000_000
RESOLVERS_MAX = 200_000

T = TypeVar("T")


def _door(parse: Callable[[object], T]) -> Callable[[Any], T]:
    def validate(value: Any) -> T:
        try:
            return parse(value)
        except BadText as error:
            raise PydanticCustomError("text", "{what}", {"what": error.what, "mend": error.mend}) from error

    return validate


def _form(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": list(examples)})


Span = Annotated[int, PlainValidator(_door(moments.span_us)), _form(moments.SPAN_FORM, "90s", "1h30m")]
ClockTime = Annotated[int, PlainValidator(_door(moments.clock_s)), _form(moments.CLOCK_FORM, "23:48")]
Moment = Annotated[
    moments.Moment,
    PlainValidator(_door(moments.moment)),
    _form(rf"({moments.CLOCK_FORM}|\+?{moments.SPAN_FORM})", "23:48", "+10m"),
]
Share = Annotated[float, Field(ge=0, le=1)]
Pattern = Annotated[str, Field(min_length=1, max_length=255)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class ScenarioTable(Table):
    """The scenario itself."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    """One line that names it."""
    story: str = ""
    """What happens and why it matters, for people."""
    region: Annotated[str, Field(min_length=1, max_length=1024)]
    """The region's file, relative to this one."""
    starts: ClockTime = 0
    """The time of the day at which it begins."""
    clock: Annotated[str, Field(max_length=16)] = "UTC"
    """The name of that clock, for people."""
    lasts: Span
    """How long it goes on, in virtual time."""
    seed: Annotated[int, Field(ge=0, le=2**63)] = 1
    """The seed of all chance, unless one is given."""
    beside: list[str] = Field(default_factory=list, max_length=4)
    """Policies under which the report shows the same night beside it."""


class WorldTable(Table):
    """What surrounds the region."""

    latency: str = "cross-az"
    """One way through the network, by name; see docs/reference/scenario.md."""
    capacity_wobble: Share = 0.0
    """How far reported capacities move to either side: what makes the Planner plan anew."""
    wobble_every: Span = 60_000_000
    """How often they move."""
    account_cohorts: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Account endpoints are folded into this many, each as slow as all that it stands for; 0: each on its own."""
    accounts: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """The folded ones stand for this many; 0: for as many as the region's file has."""
    detect: Span = 10_000_000
    """Until the quorum has seen a load balancer fail or come back."""
    window: Span = 5_000_000
    """The step of the clients' tables."""


class LinkTable(Table):
    """The way between two components."""

    between: Annotated[list[Pattern], Field(min_length=2, max_length=2)]
    """Two components by name."""
    latency: str
    """One way, by name."""


class StepTable(Table):
    """One thing that happens."""

    at: Moment
    """When."""
    do: Annotated[StepKind, ByValue]
    """What."""
    name: Annotated[str, Field(max_length=64)] = ""
    """By which an assumption finds it."""
    component: Annotated[str, Field(max_length=255)] = ""
    """Whom: a component, an az, a load balancer; with `*` and `?` as in a shell."""
    other: Pattern = "*"
    """The other end of a link."""
    endpoint: Pattern = "*"
    """Which endpoints."""
    step: Annotated[str, Field(max_length=64)] = ""
    """`hold`: before which call of the zone it is held (`look`, `build`, `flip`, `flip_locked`, `remove`, ...)."""
    nth: Count = 1
    """`hold`: the n-th time that it comes there."""
    times: Count = 1
    """`lose-lock`: so many on each endpoint."""
    for_: Annotated[Span, Field(alias="for")] = 0
    """How long; to the end where it is left out."""
    extra: Span = 0
    """How much longer, or how far off."""
    every: Span = 30_000_000
    """`az-flap`: how long it is down, and then up."""
    share: Share = 0.0
    """Share of the messages."""
    keep: Annotated[int, Field(ge=0, le=64)] = 1
    """`bad-plan`: addresses left to each endpoint."""
    under: str = ""
    """Only with this policy; with all where it is left out."""
    why: str = ""
    """The story of it."""


class MustTable(Table):
    """What has to hold."""

    holds: Annotated[Invariant, ByValue]
    """The invariant."""
    by: Moment | None = None
    """`converged`: by when; at the end where it is left out."""
    within: Span = 30_000_000
    """`converged`: every endpoint is at or past the plan that was the newest so long before."""
    under: str = ""
    """Only with this policy; with all where it is left out."""


class MilestoneTable(Table):
    """A moment to compare with what is expected."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """For people."""
    event: Annotated[MilestoneEvent, ByValue]
    """What is looked for."""
    expected: Moment | None = None
    """When; left out, it is only told."""
    tolerance: Span = 120_000_000
    """How far off it may be."""
    endpoint: str = ""
    """Of which endpoints."""
    clients: str = ""
    """Of which clients."""
    step: Annotated[StepKind, ByValue] | None = None
    """`event = "step"`: which kind."""
    after: Moment | None = None
    """The first from then on."""
    under: str = ""
    """Only with this policy."""
    source: str = ""
    """Where the expected time is from."""


class ClientsTable(Table):
    """A population of clients."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """For people."""
    endpoint: Pattern
    """What they resolve."""
    clients: Annotated[int, Field(ge=1, le=CLIENTS_MAX)]
    """How many."""
    resolvers: Annotated[int, Field(ge=1, le=RESOLVERS_MAX)]
    """Caching resolvers they sit behind."""
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    """Of one client."""
    connection: Span = 60_000_000
    """Mean life of a connection; a new one needs an answer."""
    negative_ttl: Span | None = None
    """How long "there is none" is kept; as the zone says where it is left out."""
    stale: Span = 0
    """How long an old answer is used when nobody can be asked (RFC 8767)."""
    idle: Span = 0
    """Mean time from an answer's expiry to the next demand at a resolver."""
    retries: Annotated[int, Field(ge=0, le=16)] = 1
    """Further addresses tried when one does not answer."""
    obeys_override: bool = False
    """Whether their resolvers take an operator's override."""


class ChaosTable(Table):
    """Random faults that a search draws for each seed."""

    least: Annotated[int, Field(ge=0, le=100)] = 2
    """At least so many."""
    most: Annotated[int, Field(ge=1, le=100)] = 8
    """At most so many."""
    kinds: Annotated[list[Annotated[StepKind, ByValue]], Field(min_length=1)]
    """Of these kinds."""
    components: Annotated[list[Pattern], Field(min_length=1)]
    """On these components, by pattern."""
    from_: Annotated[Moment, Field(alias="from")] = moments.Moment()
    """Not before."""
    until: Moment
    """Over by then."""
    longest: Span
    """One lasts at most this long."""


class AssumptionTable(Table):
    """A quantity that is not known, chosen."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """For people."""
    value: float | str
    """What is assumed: a number, or a span such as "60s"."""
    sets: Annotated[list[str], Field(min_length=1, max_length=16)]
    """What it sets: `region.planner.cycle-s`, `scenario.world.detect`, `scenario.clients.*.negative-ttl`."""
    low: float | str | None = None
    """The least that is plausible."""
    high: float | str | None = None
    """The most that is plausible."""
    why: str
    """Why this value."""


class AssumptionsFile(Table):
    """A file of assumptions."""

    assumption: list[AssumptionTable] = Field(default_factory=list, max_length=200)


class ScenarioFile(Table):
    """A scenario of evenkeel: what happens to a region when, and what must hold."""

    scenario: ScenarioTable
    assumptions: str = ""
    """A file of assumptions, relative to this one."""
    world: WorldTable = WorldTable()
    link: list[LinkTable] = Field(default_factory=list, max_length=STEPS_MAX)
    step: list[StepTable] = Field(default_factory=list, max_length=STEPS_MAX)
    must: list[MustTable] = Field(default_factory=list, max_length=100)
    milestone: list[MilestoneTable] = Field(default_factory=list, max_length=100)
    clients: list[ClientsTable] = Field(default_factory=list, max_length=100)
    chaos: ChaosTable | None = None
