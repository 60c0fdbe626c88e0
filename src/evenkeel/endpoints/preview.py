"""What the next plan would change, for people and programs: a readable diff, and the checksum that an approval binds.

The checksum is over the whole next plan as clients would see it. Whatever moves what they would see, a change of health
or another Planner's plan, makes another checksum, and an approval of the old one no longer counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from evenkeel.endpoints.proposals import Change, Withheld
from evenkeel.model.plan import Answer, EndpointPlan, Lane, Plan, PlanDelta

LINES_MAX = 200


@dataclass(frozen=True, slots=True)
class Share:
    """An address with the share of its family's clients that it gets, before and after; 0 where it is not there."""

    address: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class EndpointPreview:
    """One endpoint. `shifted`: addresses that stay, and gain or lose against each other."""

    name: str
    lane: Lane
    why: str
    added: tuple[Share, ...]
    removed: tuple[Share, ...]
    shifted: tuple[Share, ...]
    other: str  # a changed TTL, zone or layout
    size_before: int
    size_after: int


@dataclass(frozen=True, slots=True)
class Preview:
    """The next plan beside the published one of generation `base_generation`."""

    base_generation: int
    checksum: str
    endpoints: tuple[EndpointPreview, ...]
    removed: tuple[str, ...]
    withheld: tuple[Withheld, ...]

    @property
    def is_empty(self) -> bool:
        return not self.endpoints and not self.removed

    def document(self) -> dict[str, object]:
        """For JSON: strings, numbers, lists and mappings only."""
        return asdict(self)

    def lines(self, limit: int = LINES_MAX) -> tuple[str, ...]:
        """At most `limit` lines, the last of which then says how many there are besides."""
        found = list(self._lines())
        if len(found) > limit:
            found[limit - 1 :] = [f"... and {len(found) - limit + 1} more lines"]
        return tuple(found)

    def _lines(self) -> Iterable[str]:
        for endpoint in self.endpoints:
            size = f"{endpoint.size_before} -> {endpoint.size_after}"
            yield f"{endpoint.name}  {size} addresses  [{endpoint.lane}: {endpoint.why}]"
            yield from (f"  - {share.address}  {share.before:.0%}" for share in endpoint.removed)
            yield from (f"  + {share.address}  {share.after:.0%}" for share in endpoint.added)
            yield from (f"  ~ {share.address}  {share.before:.0%} -> {share.after:.0%}" for share in endpoint.shifted)
            if endpoint.other:
                yield f"  ~ {endpoint.other}"
        yield from (f"{name}  no longer managed" for name in self.removed)
        for held in self.withheld:
            yield f"withheld: {held.load_balancer} stays at {held.endpoints} endpoints ({held.reason})"


def preview(
    published: Plan, changes: Sequence[Change], removed: Sequence[str] = (), withheld: Sequence[Withheld] = ()
) -> Preview:
    """`changes` beside what is published."""
    shown = tuple(_endpoint(published.endpoints.get(change.plan.name), change) for change in changes)
    plans = tuple(change.plan for change in changes)
    delta = PlanDelta(published.region, published.generation + 1, published.generation, "", plans, tuple(removed))
    return Preview(published.generation, published.apply(delta).checksum(), shown, tuple(removed), tuple(withheld))


def _endpoint(old: EndpointPlan | None, change: Change) -> EndpointPreview:
    new = change.plan
    before = old.answer if old is not None else Answer(new.answer.ttl_s)
    pairs = (
        (_weights(before.a, before.a_weights), _weights(new.answer.a, new.answer.a_weights)),
        (_weights(before.aaaa, before.aaaa_weights), _weights(new.answer.aaaa, new.answer.aaaa_weights)),
    )
    return EndpointPreview(
        name=new.name,
        lane=new.lane,
        why=change.why.text(),
        added=tuple(share for was, is_ in pairs for share in _shares(was, is_) if share.address not in was),
        removed=tuple(share for was, is_ in pairs for share in _shares(was, is_) if share.address not in is_),
        shifted=tuple(share for was, is_ in pairs for share in _shifted(was, is_)),
        other=_other(old, new),
        size_before=before.size,
        size_after=new.answer.size,
    )


def _weights(addresses: Sequence[str], weights: Sequence[int]) -> dict[str, int]:
    return dict(zip(addresses, weights, strict=True))


def _shares(was: Mapping[str, int], is_: Mapping[str, int]) -> list[Share]:
    total_was, total_is = sum(was.values()) or 1, sum(is_.values()) or 1
    addresses = sorted(was.keys() | is_.keys())
    return [Share(each, was.get(each, 0) / total_was, is_.get(each, 0) / total_is) for each in addresses]


def _shifted(was: Mapping[str, int], is_: Mapping[str, int]) -> list[Share]:
    """Of the addresses that stay, those whose part among these changed; not those that only gained by a removal."""
    staying = was.keys() & is_.keys()
    total_was, total_is = sum(was[each] for each in staying), sum(is_[each] for each in staying)
    moved = {each for each in staying if was[each] * total_is != is_[each] * total_was}
    return [share for share in _shares(was, is_) if share.address in moved]


def _other(old: EndpointPlan | None, new: EndpointPlan) -> str:
    if old is None:
        return ""
    pairs = (
        ("ttl", old.answer.ttl_s, new.answer.ttl_s),
        ("zone", old.zone, new.zone),
        ("layout", old.layout.value, new.layout.value),
    )
    return ", ".join(f"{what} {was} -> {is_}" for what, was, is_ in pairs if was != is_)
